//! See `secbeat_config::policy::fuzz`; its corpus is replayed by `config/tests/policy.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_config::policy::fuzz(bytes));
