//! `secbeat-node`: the mitigation node.
#![forbid(unsafe_code)]
fn main() {}
