//! The program `secbeat-orchestrator`.

fn main() {}
