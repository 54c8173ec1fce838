//! See `secbeat_node::session::tls::client_hello::fuzz`; its corpus is replayed by the tests of `session::tls`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_node::session::tls::client_hello::fuzz(bytes));
