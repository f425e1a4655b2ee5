use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE},
};

use super::{hidden, set, stream};
use crate::mask::{MASK, forms};

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
            let ends = before * 4 / 3 + 2 * forms::WINDOW + 4;
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
