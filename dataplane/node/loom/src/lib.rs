//! The node's lock-free parts in every interleaving of two or three threads.
//!
//! Owns: the models. Does not own: the code, which is the node's, compiled here a second time from the same files with
//! the model checker's atomics (`sync` chooses). Without `--cfg loom` this crate is empty. Run with `scripts/loom.sh`.
#![forbid(unsafe_code)]
#![cfg(all(loom, test))]
#![allow(unreachable_pub, reason = "public in the node")]

#[path = "../../src/sync.rs"]
mod sync;

/// What the node's files expect beside them.
mod event {
    pub(crate) type WorkerId = u16;
}

#[path = "../../src/forefront/board.rs"]
mod board;
#[path = "../../src/handover/hint.rs"]
mod hint;
#[path = "../../src/handover/inbox.rs"]
mod inbox;
#[path = "../../src/telemetry/number.rs"]
mod number;
#[path = "../../src/worker/published.rs"]
mod published;

mod models;
