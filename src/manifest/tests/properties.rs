//! Promises about any input.

use proptest::prelude::*;

use super::{
    super::{fuzz, parse, parse_size, split_command},
    first,
};

/// Pieces that files are made of, right and wrong.
const PIECES: &[&str] = &[
    "tasks:",
    "stacks:",
    "report:",
    "type:",
    "run:",
    "command:",
    "timeout:",
    "mounts:",
    "airlock:",
    "network:",
    "variables:",
    "env:",
    "before_init:",
    "environment:",
    "native",
    "wasi:x",
    "\n",
    "\n  ",
    "\n    ",
    "\n      ",
    "\t",
    " ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    ": ",
    "? ",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "&a ",
    "*a",
    "<<: ",
    "!x ",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "#",
    "~",
    "true",
    "yes",
    "0",
    "90000",
    "64MiB",
    "\u{feff}",
    "\r",
    "\r\n",
    "\u{85}",
    "\u{2028}",
    "\0",
    "é",
    "\\",
    "@",
    "`",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused_at_a_place_inside_them(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz(&bytes);
    }

    #[test]
    fn any_text_is_read_or_refused_at_a_place_inside_it(text in "\\PC{0,200}|(.|\n|\r|\t){0,200}") {
        fuzz(text.as_bytes());
    }

    #[test]
    fn any_pieces_of_files_are_read_or_refused_at_a_place_inside_them(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..80)
    ) {
        fuzz(pieces.concat().as_bytes());
    }

    #[test]
    fn a_valid_file_with_one_character_changed_is_read_or_refused_inside_it(at in 0_usize..1_000, c in any::<char>()) {
        let mut text: Vec<char> = VALID.chars().collect();
        let at = at % text.len();
        text[at] = c;
        fuzz(text.iter().collect::<String>().as_bytes());
    }

    #[test]
    fn words_that_are_quoted_come_back_as_they_were(words in proptest::collection::vec("[^\0]{0,12}", 0..6)) {
        let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
        prop_assert_eq!(split_command(&quoted.join(" ")).unwrap().words, words);
    }

    #[test]
    fn any_command_has_words_or_a_reason(text in "\\PC{0,60}|[ab'\"\\\\ \n$`|]{0,40}") {
        if let Err(error) = split_command(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_text_is_a_size_or_has_a_reason(text in "[0-9]{0,25}[ .A-Za-z]{0,5}") {
        if let Ok(bytes) = parse_size(&text) {
            prop_assert_eq!(parse_size(&bytes.to_string()), Ok(bytes));
        }
    }
}

const VALID: &str = "stacks:\n  shop: &s\n    before_init: [a, \"b\"]\n    environment: {A: 'x'}\n  \
                     other: {<<: *s}\ntasks:\n  report:\n    type: wasi:x\n    run:\n      command: |\n        \
                     a 'b c'\n      timeout: 60\n    mounts: {data: {source: tmp}}\n    airlock: {memory: 64MiB}\n";

#[test]
fn the_file_that_is_changed_is_valid() {
    assert!(parse("c.yaml", VALID.as_bytes()).is_ok());
}

// ── Attacks ─────────────────────────────────────────────────────────────────────────────────
fn refused(text: &str) -> String {
    fuzz(text.as_bytes());
    first(&parse("c.yaml", text.as_bytes()).unwrap_err())
}

#[test]
fn aliases_of_aliases_do_not_unfold_without_bound() {
    let mut text = "a: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let aliases = vec![format!("*a{}", n - 1); 9].join(", ");
        text.push_str(&format!("b{n}: &a{n} [{aliases}]\n"));
    }
    assert!(refused(&text).contains("the file unfolds to more than 20000 keys and values"));
    let long = format!("a: &a '{}'\nb: [{}]\n", "x".repeat(400_000), ["*a"; 8].join(", "));
    assert!(refused(&long).contains("the file unfolds to more than 2097152 bytes of text"));
}

#[test]
fn nothing_is_nested_deeper_than_the_limit_by_brackets_indentation_or_aliases() {
    assert!(refused(&"[".repeat(500_000)).ends_with("this is nested too deeply"));
    assert!(refused(&"- ".repeat(250_000)).ends_with("this is nested too deeply"));
    let steps: String = (0..200).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    assert!(refused(&steps).ends_with("this is nested too deeply"));
    let mut chain = "a: &a0 [x]\n".to_owned();
    for n in 1..6_000 {
        chain.push_str(&format!("b{n}: &a{n} [*a{}]\n", n - 1));
    }
    assert!(refused(&chain).ends_with("this is nested too deeply"));
}

#[test]
fn long_files_many_keys_and_many_mistakes_are_cut_short() {
    let long = format!("# {}\n", "x".repeat(600_000));
    assert_eq!(refused(&long), "1:1: : the file has 600003 bytes");
    let many: String = (0..9_000).map(|n| format!("k{n}: 1\n")).collect();
    let error = parse("c.yaml", many.as_bytes()).unwrap_err();
    assert_eq!((error.mistakes.len(), error.more), (50, 8_950));
    assert!(error.to_string().ends_with("\nand 8950 more"));
    assert!(refused(&format!("{}: 1\n", "k".repeat(600))).ends_with("a key has 600 bytes"));
    assert!(
        refused(&format!("tasks: {{a: {{type: native, run: {{command: {}}}}}}}\n", "x".repeat(40_000)))
            .ends_with("this has 40000 bytes")
    );
}

#[test]
fn what_is_not_utf_8_is_refused_at_the_byte() {
    let of = |bytes: &[u8]| first(&parse("c.yaml", bytes).unwrap_err());
    assert_eq!(of(b"tasks:\r\n  r\xff: 1\n"), "2:4: : the byte 0xff is not UTF-8 here");
    assert_eq!(of("a: é\u{feff}".as_bytes()).split(':').next(), Some("1"));
    assert_eq!(of(&[0xff, 0xfe, b'a', 0]), "1:1: : the file is UTF-16");
    assert!(parse("c.yaml", "\u{feff}tasks: {}\n".as_bytes()).is_ok());
}
