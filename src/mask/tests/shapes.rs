use std::sync::Arc;

use super::masked;
use crate::mask::MaskSet;

fn shapes() -> Arc<MaskSet> {
    MaskSet::new([], true)
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
