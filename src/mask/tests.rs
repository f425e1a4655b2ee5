mod forms;
mod shapes;

use std::sync::Arc;

use proptest::prelude::*;

use super::{MASK, MaskSet, View, Word, patterns::Patterns};

fn set(secrets: &[&str]) -> Arc<MaskSet> {
    MaskSet::new(secrets.iter().map(|secret| secret.as_bytes()), false)
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
        assert!(masker.held() <= 128 << 10);
    }
    masker.push(b"\nafter", &mut out);
    assert_eq!((out.as_slice(), masker.take_refused()), (&b"::add-mask *****\nafter"[..], 1));
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
        super::forms::each(secret.as_bytes(), &mut |form| all.push(form.to_vec()));
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
