//! `.airlock/config.yaml`: no input makes the parser panic, and every mistake has its place.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| airlock::manifest::fuzz(bytes));
