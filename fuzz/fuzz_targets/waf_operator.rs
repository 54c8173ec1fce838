//! Fuzzes `operator` and `libinjection` of `secbeat-waf`; the body is shared with the replay in `tests/operator.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_waf::operator::fuzz::fuzz(bytes));
