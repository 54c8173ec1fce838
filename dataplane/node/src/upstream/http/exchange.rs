//! One request and its response.
//!
//! ```text
//!   Waiting (no connection to be had) --> Under way --> Over (complete, or failed)
//!        ^------ connection lost, safe to send again ------'
//! ```
//!
//! Owns: what must be remembered to send it again elsewhere. Does not own: the connection. Kept in a box that goes back
//! to a pool with its buffers, so that a warm worker allocates nothing for a request.

use core::net::SocketAddr;
use core::time::Duration;

use arrayvec::ArrayVec;
use secbeat_net::time::Instant;

use super::event::Failure;
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use crate::slab::Key;
use crate::upstream::{BackendId, TRIES_MAX};

/// Where an exchange stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waits in the queue since then.
    Waiting(Instant),
    /// Has a connection.
    UnderWay(Key),
    /// Needs none any more.
    Over,
}

/// One request and its response.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) user: u64,
    pub(super) group: usize,
    pub(super) hash: u64,
    pub(super) client: Option<(SocketAddr, SocketAddr)>,
    pub(super) stage: Stage,
    /// Backends that failed it.
    pub(super) tried: ArrayVec<BackendId, TRIES_MAX>,
    /// Connections used, reused ones that turned out dead among them.
    pub(super) connections: u32,
    /// A used connection was dead: the next one is to be new.
    pub(super) wants_new: bool,
    pub(super) is_idempotent: bool,
    pub(super) is_last: bool,
    pub(super) response_timeout: Duration,
    pub(super) backend: Option<BackendId>,
    /// The last reason why a backend could not be had.
    pub(super) failure: Option<Failure>,
    /// Bytes held as last added to the worker's sum.
    pub(super) accounted: usize,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
}

impl Exchange {
    pub(super) fn new() -> Self {
        Self {
            user: 0,
            group: 0,
            hash: 0,
            client: None,
            stage: Stage::Over,
            tried: ArrayVec::new(),
            connections: 0,
            wants_new: false,
            is_idempotent: false,
            is_last: false,
            response_timeout: Duration::ZERO,
            backend: None,
            failure: None,
            accounted: 0,
            outgoing: Outgoing::new(),
            incoming: Incoming::new(),
        }
    }

    /// The connection it has.
    pub(super) fn connection(&self) -> Option<Key> {
        match self.stage {
            Stage::UnderWay(key) => Some(key),
            Stage::Waiting(_) | Stage::Over => None,
        }
    }

    /// A backend failed it.
    pub(super) fn note_tried(&mut self, id: BackendId) {
        // Full only if more tries are allowed than there are places; then the last ones may be tried twice.
        let _ = self.tried.try_push(id);
    }

    /// Whether another connection may have the request: no byte of a response came, and either the backend cannot have
    /// acted on it, or acting twice is the same as once (RFC 9110 §9.2.2).
    pub(super) fn can_be_sent_again(&self) -> bool {
        !self.incoming.has_begun()
            && self.outgoing.can_be_sent_again()
            && (self.is_idempotent || !self.outgoing.has_sent())
    }
}
