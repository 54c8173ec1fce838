//! The HTTP/2 server side against a client made of raw frames: what it should do, and what it should not let be done.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod corpus;
mod drain;
mod flood;
mod flow;
mod frames;
mod memory;
mod peer;
mod requests;
mod slow;
