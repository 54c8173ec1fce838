//! What happened on a connection, in the order in which it happened.

use super::violation::{Reason, Violation};

/// A request and its answer on one connection (RFC 9113 §5). Odd, rising, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(super) u32);

impl StreamId {
    /// The number on the wire.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// The inverse of [`StreamId::value`], for callers that keep it as a number.
    pub const fn from_value(value: u32) -> Self {
        Self(value)
    }
}

/// Something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request head, checked: [`Server::request`](super::Server::request). `end`: it has no body, no
    /// [`Event::End`] follows.
    Request {
        /// Its stream.
        stream: StreamId,
        /// Whether it is complete.
        end: bool,
    },
    /// Body bytes to take: [`Server::peek_body`](super::Server::peek_body).
    Data {
        /// Their stream.
        stream: StreamId,
    },
    /// The request is complete; its last bytes may still wait in `peek_body`, its trailers in `trailers`.
    End {
        /// Its stream.
        stream: StreamId,
    },
    /// The stream is gone and must not be named again: the client reset it, or we did through the client's fault
    /// (the violation comes before). Streams that the caller ends get no such event.
    Reset {
        /// The stream.
        stream: StreamId,
        /// Why.
        reason: Reason,
    },
    /// There is room again after a short [`Server::send`](super::Server::send).
    Writable {
        /// The stream.
        stream: StreamId,
    },
    /// To be counted. `stream`: the one it ends; none: it ends the connection.
    Violation {
        /// The stream, if it is the stream's fault.
        stream: Option<StreamId>,
        /// What it was.
        violation: Violation,
    },
    /// The client said GOAWAY: it opens no further stream.
    Draining,
    /// The connection is over: write what [`Server::output`](super::Server::output) holds, then close. All streams
    /// are gone; no further event.
    Closed {
        /// What the client was told, or told us.
        reason: Reason,
    },
}
