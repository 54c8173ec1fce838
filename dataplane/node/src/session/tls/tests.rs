//! A node's TLS against rustls' client, in memory: no socket, no thread, no clock but the one passed in.
//!
//! `site` makes certificates and configurations in a directory of its own; `pair` moves bytes between both ends in
//! pieces of any size. The tests are by topic beside this file.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod certificates;
mod cost;
mod handshake;
mod hostile;
mod limits;
mod misdirected;
mod pair;
mod records;
mod session;
mod site;
