use std::sync::Arc;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE},
};
use proptest::prelude::*;

use super::{MASK, MaskSet, View, Word, forms, patterns::Patterns};

fn set(secrets: &[&str]) -> Arc<MaskSet> {
    MaskSet::new(secrets.iter().map(|secret| secret.as_bytes()), false)
}

fn shapes() -> Arc<MaskSet> {
    MaskSet::new([], true)
}

/// What a stream in these pieces comes out as.
fn stream<'a>(set: &Arc<MaskSet>, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut masker = set.masker();
    let mut out = Vec::new();
    for piece in pieces {
        masker.push(piece, &mut out);
    }
    masker.finish(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The result of one piece, after making sure that no other way of cutting gives another.
fn masked(fresh: impl Fn() -> Arc<MaskSet>, text: &str) -> String {
    let text = text.as_bytes();
    let once = stream(&fresh(), [text]);
    for at in 0..=text.len() {
        assert_eq!(stream(&fresh(), [&text[..at], &text[at..]]), once, "cut at {at}");
    }
    for size in [1, 2, 3, 5, 7, 64] {
        assert_eq!(stream(&fresh(), text.chunks(size)), once, "pieces of {size}");
    }
    once
}

fn hidden(secrets: &[&str], text: &str) -> String {
    masked(|| set(secrets), text)
}

#[test]
fn a_secret_becomes_five_asterisks_wherever_the_text_is_cut() {
    assert_eq!(hidden(&["hunter22"], "pw=hunter22;"), "pw=*****;");
    assert_eq!(hidden(&["hunter22"], "hunter2 hunter22hunter22 hunter"), "hunter2 ********** *****");
    assert_eq!(hidden(&["pa.s+(w)[o]*rd"], "a pa.s+(w)[o]*rd z paxs+"), "a ***** z paxs+");
    assert_eq!(hidden(&["geheim—ß"], "x geheim—ß x"), "x ***** x");
    assert_eq!(hidden(&["abc", ""], "abc"), "abc", "too short to be a secret");
}

#[test]
fn no_byte_of_overlapping_secrets_survives() {
    assert_eq!(hidden(&["abcd", "cdef"], "xabcdefx"), "x*****x");
    assert_eq!(hidden(&["abcd", "abcdefgh"], "abcdefg abcdefgh "), "*****efg ***** ");
    assert_eq!(hidden(&["bcde", "abcdefgh"], "abcdefg_abcdefgh_"), "a*****fg_*****_");
    assert_eq!(hidden(&["aaaa"], "xaaaaaaaaax"), "x*****x");
    assert_eq!(hidden(&["abab", "baba"], "xabababax"), "x*****x");
}

#[test]
fn only_what_may_be_the_beginning_of_a_secret_is_held_back() {
    let mut masker = set(&["hunter22", "hunter22-and-more"]).masker();
    let mut out = Vec::new();
    masker.push(b"login: ", &mut out);
    assert_eq!((out.as_slice(), masker.held()), (&b"login: "[..], 0));
    masker.push(b"hhun", &mut out);
    assert_eq!((out.as_slice(), masker.held()), (&b"login: h"[..], 3));
    masker.push(b"ter22", &mut out);
    assert_eq!((out.as_slice(), masker.held()), (&b"login: h"[..], 8));
    masker.push(b"!", &mut out);
    assert_eq!((out.as_slice(), masker.held()), (&b"login: h*****!"[..], 0));
}

#[test]
fn a_secret_that_was_printed_does_not_wait_for_a_longer_one_inside_it() {
    let mut masker = set(&["hunter22", "r22-more"]).masker();
    let mut out = Vec::new();
    masker.push(b"hunter22", &mut out);
    assert_eq!((out.as_slice(), masker.held()), (&b"*****"[..], 3));
    masker.push(b"-mor", &mut out);
    masker.push(b"e.", &mut out);
    assert_eq!(out, b"*****.");
}

#[test]
fn half_a_secret_at_the_end_is_masked_from_four_bytes_on() {
    assert_eq!(hidden(&["hunter22"], "pw=hunt"), "pw=*****");
    assert_eq!(hidden(&["hunter22"], "pw=hun"), "pw=hun");
    assert_eq!(hidden(&["hunter22", "abcd", "cdefgh"], "abcd"), "*****");
    assert_eq!(hidden(&["abcd", "cdefgh"], "abcdef"), "*****");
    assert_eq!(hidden(&["xhun", "hunter22"], "xhunt"), "*****");
}

#[test]
fn text_that_is_whole_may_end_as_a_secret_begins() {
    let set = set(&["production-password"]);
    assert_eq!(set.mask_text("deploy to production"), "deploy to production");
    assert_eq!(set.mask_text("is production-password"), "is *****");
    assert!(set.contains_secret("production-password") && !set.contains_secret("production"));
    assert_eq!(set.mask_text("::add-mask visible"), "::add-mask visible", "no commands in texts of ours");
}

#[test]
fn debug_output_shows_no_secret() {
    let set = set(&["hunter22"]);
    let mut masker = set.masker();
    masker.push(b"hunte", &mut Vec::new());
    assert!(!format!("{set:?} {masker:?}").contains("hunt"));
}

#[test]
fn base64_is_found_in_every_alignment_and_alphabet() {
    let secret = "s3cr3t>>>???value";
    for before in ["", "u", "us", "user:", "user:x"] {
        for after in ["", "\n", "x", "/more"] {
            let plain = format!("{before}{secret}{after}");
            for encoded in [STANDARD.encode(&plain), STANDARD_NO_PAD.encode(&plain), URL_SAFE.encode(&plain)] {
                let out = hidden(&[secret], &format!("Authorization: Basic {encoded} end"));
                assert!(out.contains(MASK) && out.ends_with(" end"), "{out}");
                let shown = out.trim_start_matches("Authorization: Basic ").trim_end_matches(" end").replace(MASK, "");
                let around = (before.len() + after.len()) * 4 / 3 + 6;
                assert!(shown.len() <= around, "{shown} is left of {encoded}");
            }
        }
    }
    assert_eq!(hidden(&["hunter22"], &STANDARD.encode("hunter22")), MASK, "padding and last bits too");
    assert_eq!(hidden(&["hunter22"], &STANDARD.encode("hunter22\n")), "*****K", "the line end's own bits stay");
    assert_eq!(hidden(&["hunter2"], &STANDARD.encode("hunter2\n")), "*****o=");
}

#[test]
fn wrapped_base64_of_a_long_secret_is_found() {
    let secret = "0123456789 The quick brown fox jumps over the lazy dog, again and again and again; ".repeat(4);
    for width in [64, 76] {
        for before in 0..60 {
            let encoded = STANDARD.encode(format!("{}{secret}", "-".repeat(before)));
            let lines = encoded.as_bytes().chunks(width).map(|line| str::from_utf8(line).unwrap());
            let out = set(&[&secret]).mask_text(&lines.collect::<Vec<_>>().join("\n"));
            let shown = out.replace(MASK, "").replace('\n', "");
            let ends = before * 4 / 3 + 2 * super::forms::WINDOW + 4;
            assert!(shown.len() <= ends, "{width} {before}: {out}");
        }
    }
}

#[test]
fn the_usual_escapes_are_found() {
    let secret = "a b/c\"d'e<f>&é$\\g+😀";
    let json = serde_json::to_string(secret).unwrap();
    let go = r#"a b/c\"d'e\u003cf\u003e\u0026é$\\g+😀"#;
    let ascii = r#"a b/c\"d'e<f>&\u00e9$\\g+\ud83d\ude00"#;
    let both = r#"a b\/c\"d'e\u003Cf\u003E\u0026\u00E9$\\g+\uD83D\uDE00"#;
    let gson = r#"a b/c\"d\u0027e\u003cf\u003e\u0026é$\\g+😀"#;
    let nested = serde_json::to_string(&json).unwrap();
    let component = "a%20b%2Fc%22d'e%3Cf%3E%26%C3%A9%24%5Cg%2B%F0%9F%98%80";
    let form = "a+b%2fc%22d%27e%3cf%3e%26%c3%a9%24%5cg%2b%f0%9f%98%80";
    let strict = "a%20b%2Fc%22d%27e%3Cf%3E%26%C3%A9%24%5Cg%2B%F0%9F%98%80";
    let single = "'a b/c\"d'\\''e<f>&é$\\g+😀'";
    let dash = "'a b/c\"d'\"'\"'e<f>&é$\\g+😀'";
    let double = "\"a b/c\\\"d'e<f>&é\\$\\\\g+😀\"";
    let backslashes = "a\\ b/c\\\"d\\'e\\<f\\>\\&é\\$\\\\g+😀";
    let dollar = "$'a b/c\"d\\'e<f>&é$\\\\g+😀'";
    let lower = hex::encode(secret);
    let upper = hex::encode_upper(secret);
    for form in [
        secret,
        &json,
        go,
        ascii,
        both,
        gson,
        &nested,
        component,
        form,
        strict,
        single,
        dash,
        double,
        backslashes,
        dollar,
        &lower,
        &upper,
    ] {
        let out = set(&[secret]).mask_text(&format!("<{form}>"));
        let rest = out.replace(MASK, "").replace(['<', '>', '"', '\'', '$', '\\'], "");
        assert_eq!(rest, "", "{form} came out as {out}");
    }
    assert_eq!(hidden(&[secret], &format!("[{go}] [{form}] [{lower}]")), "[*****] [*****] [*****]");
    assert_eq!(hidden(&["db${pass}word"], "x = \"db$${pass}word\""), "x = \"*****\"");
    assert_eq!(hidden(&["two\nlines"], "two\\nlines"), MASK);
}

#[test]
fn each_long_line_of_a_secret_is_one() {
    let key = "-----BEGIN THING-----\n  MIIEowIBAAKCAQEA\nshort\nab cd ef gh\n-----END THING-----\n";
    assert_eq!(
        hidden(&[key], "x MIIEowIBAAKCAQEA y\nshort\nab cd ef gh\nab cd ef\n"),
        "x ***** y\nshort\n*****\nab cd ef\n"
    );
    assert_eq!(hidden(&[key], key), "*****\n", "the whole is one");
    assert_eq!(hidden(&[key], &key.trim().replace('\n', "\r\n")), "*****\r\n  *****\r\nshort\r\n*****\r\n*****");
    assert_eq!(hidden(&["token-of-a-file\n"], "is token-of-a-file."), "is *****.", "its line end is no secret");
}

#[test]
fn a_long_secret_is_masked_whole_and_held_back_a_little() {
    let secret: String = (0..4_000_u32).map(|n| char::from(b'!' + (n * n % 89) as u8)).collect();
    let set = set(&[&secret]);
    assert_eq!(stream(&set, [format!("<{secret}>").as_bytes()]), "<*****>");
    assert_eq!(stream(&set, format!("<{secret}>").as_bytes().chunks(100)), "<*****>");
    let mut masker = set.masker();
    masker.push(&secret.as_bytes()[..3_000], &mut Vec::new());
    assert!(masker.held() < 256);
}

#[test]
fn words_are_masked_from_their_command_on_and_in_it() {
    let text = "hunter22\n::add-mask hunter22 \tx1 correct\r\nhunter22 correct x1 Y29ycmVjdA==\n";
    assert_eq!(
        masked(|| set(&[]), text),
        "hunter22\n::add-mask ***** \t***** *****\r\n***** ***** x1 *****\n",
        "a word of two characters is hidden in its line and not taken"
    );
    let none = set(&[]);
    let mut masker = none.masker();
    masker.push(text.as_bytes(), &mut Vec::new());
    assert_eq!(masker.take_refused(), 1);
    let words: Vec<_> = none.added().iter().map(|word| word.expose().clone()).collect();
    assert_eq!(words, ["hunter22", "correct"]);
}

#[test]
fn a_command_is_one_only_at_the_beginning_of_a_line() {
    let text = " ::add-mask hunter22\n::add-masks hunter22\n::add-mask\nhunter22";
    assert_eq!(masked(|| set(&[]), text), text);
    assert_eq!(masked(|| set(&[]), "::add-mask hunter22"), "::add-mask *****", "even without a line end");
    assert_eq!(masked(|| set(&[]), "::add-ma"), "::add-ma");
}

#[test]
fn one_streams_words_are_masked_in_the_others() {
    let set = set(&[]);
    let (mut first, mut second) = (set.masker(), set.masker());
    let mut out = Vec::new();
    second.push(b"a hunter22 ", &mut out);
    first.push(b"::add-mask hunter22\n", &mut Vec::new());
    second.push(b"b hunter22 ", &mut out);
    assert_eq!(out, b"a hunter22 b ***** ");
    assert_eq!(set.mask_text("hunter22"), MASK);
}

#[test]
fn a_run_adds_a_thousand_words_and_no_more() {
    let set = set(&[]);
    let mut masker = set.masker();
    let mut out = Vec::new();
    for n in 0..1_002 {
        masker.push(format!("::add-mask word-{n:05}\n").as_bytes(), &mut out);
    }
    assert!(!String::from_utf8(out).unwrap().contains("word-"));
    assert_eq!(masker.take_refused(), 2);
    assert_eq!(set.mask_text("word-00000 word-00999 word-01001"), "***** ***** word-01001");
    let again = Word::new("word-00007".to_owned());
    assert_eq!(set.add(&[again]), 0, "a word twice is one");
}

#[test]
fn a_command_without_end_is_masked_without_end() {
    let set = set(&[]);
    let mut masker = set.masker();
    let mut out = Vec::new();
    masker.push(b"::add-mask ", &mut out);
    for _ in 0..40 {
        masker.push(&vec![b'x'; 64 << 10], &mut out);
        assert!(masker.held() <= 1 << 20);
    }
    masker.push(b"\nafter", &mut out);
    assert_eq!(out, b"::add-mask *****\nafter");
}

#[test]
fn well_known_shapes_are_masked() {
    let long = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0";
    for secret in [
        "AKIAIOSFODNN7EXAMPLE".to_owned(),
        format!("ghp_{}", &long[..36]),
        format!("github_pat_{long}_{long}"),
        format!("glpat-{}", &long[..20]),
        "xoxb-1234567890-abcdefghij".to_owned(),
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fw-pMeJf36POk6yJV_adQssw5c".to_owned(),
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,4E\n\nMIIEow+/IBAA\nKCAQ==\n-----END RSA PRIVATE KEY-----".to_owned(),
        "-----BEGIN PRIVATE KEY-----\\nMIIEow+/IBAA\\nKCAQ==\\n-----END PRIVATE KEY-----".to_owned(),
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: X 1\n\nlQOYBF\n=aB3d\n-----END PGP PRIVATE KEY BLOCK-----".to_owned(),
    ] {
        assert_eq!(masked(shapes, &format!("is {secret}, so\n{secret}")), "is *****, so\n*****");
        assert_eq!(shapes().mask_text(&format!("({secret}) ({secret})")), "(*****) (*****)");
    }
}

#[test]
fn the_names_of_well_known_secrets_stay_visible() {
    let long = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8S9t0";
    for (text, out) in [
        (format!("AccountName=a;AccountKey={long}==;Suffix=b"), "AccountName=a;AccountKey=*****;Suffix=b"),
        (format!("SharedAccessSignature=sv=2020&sig={long}; x"), "SharedAccessSignature=*****; x"),
        (format!("https://hooks.slack.com/services/T00/B00/{long} ok"), "https://hooks.slack.com/services/***** ok"),
        (format!("AWS_SECRET_ACCESS_KEY={long}\n"), "AWS_SECRET_ACCESS_KEY=*****\n"),
        (format!("{{\"SecretAccessKey\": \"{long}\"}}"), "{\"SecretAccessKey\": \"*****\"}"),
        (format!("aws_secret_access_key = {long}"), "aws_secret_access_key = *****"),
        (format!("abc8Q~{} x", &long[..33]), "abc***** x"),
    ] {
        assert_eq!(masked(shapes, &text), out);
        assert_eq!(shapes().mask_text(&text), out);
    }
}

#[test]
fn what_only_resembles_a_shape_is_left_alone() {
    for text in [
        "XAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLEX AKIAIOSFODNN7 ghp_short eyJhbGciOiJIUzI1NiJ9.x ",
        "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----\n--------\n",
        "expected '-----BEGIN PRIVATE KEY' here; secret_access_key_id of the secretary; 8Q~ AccountKey=x ",
    ] {
        assert_eq!(masked(shapes, text), text);
    }
    let out = masked(shapes, "no -----BEGIN PRIVATE KEY----- in the file\nnext line\n");
    assert_eq!(out, "no *****the file\nnext line\n", "what follows a marker is shown again soon");
}

#[test]
fn a_token_that_is_cut_off_is_masked() {
    assert_eq!(masked(shapes, "x ghp_A1b2C3"), "x *****");
    assert_eq!(masked(shapes, "x -----BEGIN RSA PRIVATE KEY-----\nMII"), "x *****");
    assert_eq!(masked(shapes, "x -----BEGIN RSA"), "x -----BEGIN RSA", "nothing secret yet");
    assert_eq!(masked(shapes, "----"), "----");
}

#[test]
fn shapes_and_secrets_that_overlap_are_one() {
    let fresh = || MaskSet::new([&b"9j0K1l2; rest"[..]], true);
    let long = "A1b2C3d4E5f6G7h8I9j0K1l2";
    assert_eq!(masked(fresh, &format!("AccountKey={long}; rest.")), "AccountKey=*****.");
}

/// Every pattern's every occurrence, merged where they overlap: slow, and plainly right.
fn naive(patterns: &[Vec<u8>], text: &[u8], cut: bool) -> Vec<u8> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for start in 0..text.len() {
        let rest = &text[start..];
        let end =
            patterns.iter().filter(|pattern| rest.starts_with(pattern)).map(|pattern| start + pattern.len()).max();
        let begun = cut && rest.len() >= 4 && patterns.iter().any(|pattern| pattern.starts_with(rest));
        let Some(end) = end.max(begun.then_some(text.len())) else { continue };
        match found.last_mut().filter(|(_, last)| start < *last) {
            Some((_, last)) => *last = end.max(*last),
            None => found.push((start, end)),
        }
    }
    let mut out = Vec::new();
    let mut done = 0;
    for (start, end) in found {
        out.extend_from_slice(&text[done..start]);
        out.extend_from_slice(MASK.as_bytes());
        done = end;
    }
    out.extend_from_slice(&text[done..]);
    out
}

fn all_forms(secrets: &[String]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for secret in secrets {
        forms::each(secret.as_bytes(), &mut |form| all.push(form.to_vec()));
    }
    all.retain(|form| form.len() >= 4);
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_masker_agrees_with_a_naive_one(
        secrets in prop::collection::vec("[ab/ ]{4,7}", 1..5),
        text in "[ab/ %20F]{0,80}",
        cuts in prop::collection::vec(0_usize..80, 0..6),
    ) {
        let set = MaskSet::new(secrets.iter().map(String::as_bytes), false);
        let forms = all_forms(&secrets);
        prop_assert_eq!(set.mask_text(&text).into_bytes(), naive(&forms, text.as_bytes(), false));
        let mut cuts: Vec<_> = cuts.into_iter().map(|at| at.min(text.len())).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]);
        prop_assert_eq!(stream(&set, pieces).into_bytes(), naive(&forms, text.as_bytes(), true));
    }

    #[test]
    fn patterns_are_found_as_comparing_each_would(
        patterns in prop::collection::vec("[ab]{4,9}", 0..20),
        text in "[ab]{1,12}",
    ) {
        let mut set = Patterns::default();
        for pattern in &patterns {
            set.add(pattern.as_bytes());
        }
        set.sort();
        let longest = patterns.iter().filter(|pattern| text.starts_with(*pattern)).map(String::len).max();
        prop_assert_eq!(set.longest(text.as_bytes()), longest);
        let goes_on = patterns.iter().any(|pattern| pattern.starts_with(&text) && *pattern != text);
        prop_assert_eq!(set.goes_on(text.as_bytes()), goes_on);
    }

    #[test]
    fn pieces_make_no_difference_to_shapes_and_commands(
        parts in prop::collection::vec(prop_oneof![
            Just("::add-mask "), Just("hunter22"), Just("\n"), Just(" "), Just("AKIA"), Just("IOSFODNN7EXAMPLE"),
            Just("-----BEGIN "), Just("PRIVATE KEY"), Just("-----"), Just("MIIE"), Just("-----END "), Just("eyJ"),
            Just("hbGciOiJIUzI1"), Just("."), Just("AccountKey="), Just("A1b2C3d4E5f6G7h8I9j0"), Just("8Q~"),
            Just("secret_access_key"), Just("="),
        ], 0..14),
        size in 1_usize..20,
    ) {
        let fresh = || MaskSet::new([&b"E5f6 G7"[..], &b"7EXAMPLE\n-"[..]], true);
        let text = parts.concat();
        prop_assert_eq!(stream(&fresh(), text.as_bytes().chunks(size)), stream(&fresh(), [text.as_bytes()]));
    }
}

#[test]
fn views_of_a_set_grow_without_losing_anything() {
    let set = set(&["given-one"]);
    for n in 0..100 {
        set.add(&[Word::new(format!("w{n:03}"))]);
        let view: Arc<View> = set.current();
        assert!(view.sets.len() <= 9);
        for m in 0..=n {
            assert_eq!(set.mask_text(&format!("-w{m:03}-")), "-*****-");
        }
    }
    assert_eq!(set.mask_text("given-one"), MASK);
}
