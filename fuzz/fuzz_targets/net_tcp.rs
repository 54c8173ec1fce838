//! Fuzzes a whole `tcp::Stack` of `secbeat-net`; the body is shared with the corpus replay in `tests/corpus_flows.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_net::tcp::fuzz::stack(bytes));
