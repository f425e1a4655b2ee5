//! What a runner leaves: logs with their index, packed logs, the records of a chain.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.first() == Some(&b'{') {
        airlock::protocol::fuzz(bytes);
    } else {
        let dir = tempfile::tempdir().expect("a directory");
        airlock::log::fuzz(dir.path(), bytes);
    }
});
