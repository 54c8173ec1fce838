//! Fuzzes `transform` of `secbeat-waf`; the body is shared with the corpus replay in `tests/transform_corpus.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_waf::transform::fuzz::fuzz(bytes));
