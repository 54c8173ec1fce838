//! See `secbeat_node::api::request::fuzz`; its corpus is replayed by the tests of that module.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_node::api::request::fuzz(bytes));
