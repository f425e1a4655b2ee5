use super::*;

const HEADER: &[u8] = b"\0asm\x01\0\0\0";

fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

const COMMAND: &str =
    r#"(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))) (func (export "_start")))"#;
const COMPONENT: &str = r#"(component
  (core module $m (func (export "run") (result i32) (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))"#;

#[test]
fn forms_are_told_by_their_first_bytes() {
    assert_eq!(Form::of(&module(COMMAND)), Ok(Form::Core));
    assert_eq!(Form::of(&module(COMPONENT)), Ok(Form::Component));
    for (bytes, why) in [
        (b"".as_slice(), NotAGuest::Empty),
        (b"(module)", NotAGuest::Text),
        (b" ;; text\n  (component)", NotAGuest::Text),
        (b"\x7fELF\x02\x01\x01", NotAGuest::Precompiled),
        (b"#!/bin/sh\n", NotAGuest::Foreign),
        (b"\0asm\x02\0\0\0", NotAGuest::Version(2)),
    ] {
        assert_eq!(Form::of(bytes), Err(why));
    }
    assert!(matches!(Form::of(b"\0asm\x01"), Err(NotAGuest::Broken(_))));
}

#[test]
fn facts_name_what_a_guest_wants_and_offers() {
    let facts = inspect(&module(COMMAND)).unwrap();
    assert_eq!(facts.imports, ["wasi_snapshot_preview1.sched_yield"]);
    assert_eq!((facts.exports, facts.functions), (vec!["_start".to_owned()], 1));
    let facts = inspect(&module(COMPONENT)).unwrap();
    assert_eq!((facts.form, facts.exports), (Form::Component, vec!["wasi:cli/run@0.2.0".to_owned()]));
}

#[test]
fn a_library_is_no_command() {
    assert!(matches!(check(&module("(module (func (export \"add\")))")), Err(NotAGuest::NoCommand(_))));
    assert!(matches!(check(&module("(component)")), Err(NotAGuest::NoCommand(_))));
}

#[test]
fn what_is_cut_off_or_noise_never_panics() {
    for whole in [module(COMMAND), module(COMPONENT)] {
        // From some point on only what nobody needs is missing.
        for end in 0..whole.len() {
            let checked = check(&whole[..end]);
            assert!(end > 8 || checked.is_err(), "{end}");
        }
    }
    let mut state = 7_u32;
    for _ in 0..2_000 {
        let mut noise = HEADER.to_vec();
        for _ in 0..64 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.push((state >> 24) as u8);
        }
        let _ = check(&noise);
    }
}

#[test]
fn a_reason_is_one_line() {
    // Found by fuzzing: a component that holds what should be a module and has no magic number.
    let found = b"\0asm\x0d\0\x01\0\x01\x04\x01`\0\0 \0\0\0\x07\n\x01\x06_start\0\0\n\x04\x01\x02\x08m";
    fuzz(found);
    let reason = check(found).unwrap_err().to_string();
    assert!(reason.contains("bad magic number") && !reason.contains('\n'), "{reason}");
}

#[test]
fn every_bundled_guest_has_a_name_of_its_own() {
    for guest in BUNDLED {
        assert_eq!(bundled(guest.name).map(|found| found.about), Some(guest.about));
    }
    assert!(bundled("nobody").is_none());
}
