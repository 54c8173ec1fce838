//! `secbeat-bench`: lab, traffic generator, impairment relay and measurements.
#![forbid(unsafe_code)]
fn main() {}
