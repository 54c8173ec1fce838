//! See `secbeat_net::wire::fuzz::tcp_options`; its corpus is replayed by `dataplane/net/tests/corpus.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_net::wire::fuzz::tcp_options(bytes));
