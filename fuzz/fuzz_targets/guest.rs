//! Files of WebAssembly: core module, component, or a reason.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| airlock::guest::fuzz(bytes));
