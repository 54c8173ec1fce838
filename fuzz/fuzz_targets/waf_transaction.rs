//! Fuzzes `transaction` of `secbeat-waf`; the body is shared with the corpus replay in `tests/engine.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_waf::transaction::fuzz::fuzz(bytes));
