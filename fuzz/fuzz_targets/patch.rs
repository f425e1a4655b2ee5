//! Patches: what is made of two trees makes the second of the first.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::tempdir().expect("a directory");
    airlock::runner::fuzz_patch(dir.path(), bytes);
});
