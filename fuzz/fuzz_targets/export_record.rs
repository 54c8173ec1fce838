//! See `secbeat_export::fuzz`; its corpus is replayed by the tests of that crate.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_export::fuzz(bytes));
