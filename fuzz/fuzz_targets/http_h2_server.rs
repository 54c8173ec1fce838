//! Fuzzes `h2` of `secbeat-http`; the body is shared with the corpus replay in `tests/h2/corpus.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_http::h2::fuzz::server(bytes));
