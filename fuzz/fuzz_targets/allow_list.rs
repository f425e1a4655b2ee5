//! The HTTP allow-list and the proxy's requests: one host, one spelling, nothing that is not listed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| airlock::egress::fuzz(bytes));
