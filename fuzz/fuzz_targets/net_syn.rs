//! See `secbeat_net::syncookie::fuzz::syn`; its corpus is replayed by `dataplane/net/tests/corpus.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_net::syncookie::fuzz::syn(bytes));
