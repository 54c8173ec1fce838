//! Fuzzes `body::json` of `secbeat-waf`; the body is shared with the corpus replay in `tests/body.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_waf::body::fuzz::fuzz_json(bytes));
