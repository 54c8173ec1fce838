//! Fuzzes `h1` of `secbeat-http`; the body is shared with the corpus replay in `tests/corpus.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_http::fuzz::h1_body(bytes));
