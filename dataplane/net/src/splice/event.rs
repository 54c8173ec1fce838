//! What a splice tells its owner: a bounded queue of findings about flows.
//!
//! Owns: [`Event`] and its queue. Does not own: what is done about them. The queue holds what one turn can
//! produce; the owner empties it every turn, and what finds no room is counted (`SpliceCounters::events_lost`).

use core::time::Duration;

use super::{BackendId, FlowId};
use crate::flow::FlowKey;

/// Bytes and packets in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Payload bytes forwarded, retransmissions included.
    pub bytes: u64,
    /// Packets forwarded.
    pub packets: u64,
}

/// Why a backend could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// It answered our SYN with RST.
    Refused,
    /// It answered nothing, for all our SYNs.
    Timeout,
    /// A router, or the backend, says by ICMP that it cannot be reached.
    Unreachable,
    /// It has no link-layer address, or left the policy.
    NoLink,
    /// It answered the handshake but never took the PROXY header.
    ProxyHeader,
}

/// Why a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// FIN both ways, both acknowledged.
    Finished,
    /// RST from the client.
    ClientReset,
    /// RST from the backend.
    BackendReset,
    /// Nothing was said for the idle timeout.
    IdleTimeout,
    /// The client's ACK never came (pass-through), or the owner never decided after `BackendFailed`.
    HandshakeTimeout,
    /// The backend could not be opened and the owner gave up.
    BackendFailed,
    /// The owner ended it ([`super::Splice::abort`]).
    Aborted,
    /// It was the oldest half-open flow when the table was full.
    Evicted,
}

/// A finding about a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A flow was opened; our SYN goes out.
    Opened {
        /// The flow.
        flow: FlowId,
        /// The caller's number.
        tag: u32,
        /// The backend being opened.
        backend: BackendId,
    },
    /// Both sides completed the handshake.
    Established {
        /// The flow.
        flow: FlowId,
        /// The caller's number.
        tag: u32,
        /// Client to listener.
        key: FlowKey,
        /// The backend that answered.
        backend: BackendId,
        /// From our first SYN to this backend to its SYN-ACK; in pass-through to the client's ACK of it.
        connect_time: Duration,
    },
    /// Frames held for this flow may be handled again, in order.
    Release {
        /// The flow.
        flow: FlowId,
    },
    /// The backend cannot be opened; call [`super::Splice::retry`] with another or [`super::Splice::abort`].
    BackendFailed {
        /// The flow.
        flow: FlowId,
        /// The caller's number.
        tag: u32,
        /// The backend that failed.
        backend: BackendId,
        /// How it failed.
        reason: FailReason,
    },
    /// The flow ended; comes exactly once per flow. Frames still held for it are dropped by the owner.
    Closed {
        /// The flow; the id is dead or lingers in TIME-WAIT.
        flow: FlowId,
        /// The caller's number.
        tag: u32,
        /// Client to listener.
        key: FlowKey,
        /// The last backend.
        backend: BackendId,
        /// Why.
        reason: CloseReason,
        /// Client to backend.
        to_backend: Traffic,
        /// Backend to client.
        to_client: Traffic,
        /// From `open` to now.
        lifetime: Duration,
    },
}
