//! See `secbeat_pktio::pcap::fuzz`; its corpus is replayed by the unit tests of `secbeat-pktio`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secbeat_pktio::pcap::fuzz(bytes));
