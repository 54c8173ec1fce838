//! See `secbeat_config::fuzz`; its corpus is replayed by `config/tests/mistakes.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_config::fuzz(bytes));
