//! Code that is no guest, that is too much for a compiler, or that somebody else compiled.

use std::{fmt::Write as _, fs, path::PathBuf, time::Instant};

use airlock::domain::Verdict;

use super::{
    rig::{Guest, Outcome},
    wat::core,
};
use crate::tests;

tests![
    what_is_no_guest_is_refused_with_the_reason,
    fifty_thousand_functions_compile_within_the_bound,
    a_function_of_two_megabytes_is_refused,
    compiled_code_is_used_again_and_tampered_code_is_not,
    a_refusal_is_remembered,
    a_file_that_is_not_the_registered_one_is_refused,
    what_nobody_offers_cannot_be_imported,
];

fn hello() -> Vec<u8> {
    wat::parse_str(core(&[], "")).unwrap()
}

/// The reason of a refusal.
fn reason(outcome: &Outcome) -> &str {
    match &outcome.verdict {
        Verdict::Refused { reason } => reason,
        _ => panic!("{outcome:#?}"),
    }
}

fn what_is_no_guest_is_refused_with_the_reason() {
    let whole = hello();
    let mut noise = vec![0_u8; 4_096];
    let mut state = 1_u32;
    for byte in &mut noise {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    let headed = [&whole[..8], &noise].concat();
    let truncated: Vec<Vec<u8>> = [1, 7, 9, whole.len() / 2, whole.len() - 1].map(|n| whole[..n].to_vec()).into();
    for code in
        [Vec::new(), noise, headed, b"(module)".to_vec(), b"\x7fELF\x02\x01".to_vec()].into_iter().chain(truncated)
    {
        let outcome = Guest::bytes(code.clone()).run();
        assert!(!reason(&outcome).is_empty(), "{} bytes: {outcome:#?}", code.len());
    }
    Guest::bytes(whole).run().succeeded();
}

fn fifty_thousand_functions_compile_within_the_bound() {
    let with = |n: u32| {
        let mut functions = String::new();
        for n in 0..n {
            write!(functions, "(func (result i32) (i32.const {n}))").unwrap();
        }
        Guest::wat(&format!("(module {functions} (func (export \"_start\")))")).run()
    };
    let since = Instant::now();
    with(50_000).succeeded();
    let seconds = since.elapsed().as_secs();
    assert!(seconds < 90, "{seconds} s");
    // More than anybody's compiler should be asked for.
    let outcome = with(250_000);
    assert!(reason(&outcome).contains("250001 functions"), "{outcome:#?}");
}

fn a_function_of_two_megabytes_is_refused() {
    let body = "(drop (i32.const 1))".repeat((2 << 20) / 3 + 100);
    let outcome = Guest::wat(&format!("(module (func (export \"_start\") {body}))")).run();
    assert!(reason(&outcome).contains("bytes in one function"), "{outcome:#?}");
    // The control: a hundredth of it.
    let body = "(drop (i32.const 1))".repeat((2 << 20) / 300);
    Guest::wat(&format!("(module (func (export \"_start\") {body}))")).run().succeeded();
}

fn compiled(guest: &Guest) -> PathBuf {
    let entries = fs::read_dir(guest.cache()).unwrap().flatten().map(|entry| entry.path());
    let mut compiled: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "cwasm")).collect();
    assert_eq!(compiled.len(), 1);
    compiled.remove(0)
}

fn compiled_code_is_used_again_and_tampered_code_is_not() {
    let guest = Guest::bytes(hello());
    assert!(guest.run().succeeded().log.contains("compiled"));
    let path = compiled(&guest);
    assert!(!guest.run().succeeded().log.contains("compiled"));
    let whole = fs::read(&path).unwrap();
    for n in [whole.len() / 2, whole.len() - 1, 100] {
        let mut changed = whole.clone();
        changed[n] ^= 1;
        fs::write(&path, changed).unwrap();
        let outcome = guest.run();
        assert!(outcome.succeeded().log.contains("was changed"), "{n}: {outcome:#?}");
        // The salt and the tag at the end are new.
        let again = fs::read(&path).unwrap();
        assert_eq!((again.len(), &again[..again.len() - 48]), (whole.len(), &whole[..whole.len() - 48]));
    }
    // Another guest's code, rightly signed, under this one's name.
    let other = Guest::wat(&core(&["other\\n"], "(call $exit (i32.const 9))"));
    assert_eq!(other.run().code(), 9);
    fs::copy(compiled(&other), &path).unwrap();
    assert!(guest.run().succeeded().log.contains("was changed"));
}

fn a_refusal_is_remembered() {
    let mut text = String::from("(module ");
    for n in 0..5 {
        write!(text, "(memory {n})").unwrap();
    }
    // Valid, but more than one memory is more than a module gets.
    let guest = Guest::wat(&format!("{text} (func (export \"_start\")))"));
    assert!(!matches!(guest.run().verdict, Verdict::Exited { .. }));
    let bad = Guest::bytes([&hello()[..8], &[11, 200, 1, 0][..]].concat());
    let first = bad.run();
    let again = bad.run();
    assert_eq!(first.verdict, again.verdict);
    assert!(!reason(&first).is_empty());
}

fn a_file_that_is_not_the_registered_one_is_refused() {
    let guest = Guest::bytes(hello());
    guest.run().succeeded();
    let outcome = guest.run_with(|path| fs::write(path, core(&[], "")).unwrap());
    assert!(reason(&outcome).contains("import it again"), "{outcome:#?}");
}

fn what_nobody_offers_cannot_be_imported() {
    let text = r#"(module (import "env" "system" (func (param i32) (result i32))) (func (export "_start")))"#;
    assert!(reason(&Guest::wat(text).run()).contains("env"));
}
