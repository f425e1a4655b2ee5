//! The JSON stream of a log: everything once, resumable at every item.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::tempdir().expect("a directory");
    airlock::http::compat::fuzz_log(dir.path(), bytes);
});
