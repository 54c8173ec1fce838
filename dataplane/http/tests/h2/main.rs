//! The HTTP/2 server side against a client made of raw frames: what it should do, and what it should not let be done.

mod client;
mod drain;
mod flood;
mod flow;
mod frames;
mod memory;
mod peer;
mod requests;
mod slow;
