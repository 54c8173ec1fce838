//! See `secbeat_net::wire::fuzz::segment`; its corpus is replayed by `dataplane/net/tests/corpus.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_net::wire::fuzz::segment(bytes));
