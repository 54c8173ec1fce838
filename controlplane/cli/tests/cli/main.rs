//! The built `secbeat` against an orchestrator that says what each test wants: stdout, stderr, exit codes, and what
//! was asked.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

mod access;
mod ban;
mod connect;
mod event;
mod fleet;
mod node;
mod policy;
mod reference;
mod rules;
mod server;
mod top;
