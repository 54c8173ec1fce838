//! What a stack tells the owner of its connections.
//!
//! Owns: [`Event`], [`Closed`], [`CloseReason`]. Does not own: their order and when they are due (`tcp::notify`).
//! Events are kept as bits of their connection and never lost: a connection that ended keeps its slot until its
//! [`Event::Closed`] was taken.

use core::net::IpAddr;

use super::ConnectionId;
use crate::time::Instant;

/// Something that happened to a connection. `user` is what [`Stack::set_user`](super::Stack::set_user) stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Stored in-order data appeared where none was: take it with `peek` and `consume`, until `peek` is empty.
    Readable {
        /// Which.
        connection: ConnectionId,
        /// The owner's number.
        user: u64,
    },
    /// There is room again after `send` took less than all.
    Writable {
        /// Which.
        connection: ConnectionId,
        /// The owner's number.
        user: u64,
    },
    /// The peer's FIN has arrived and all data before it was taken: there will be no more.
    PeerFinished {
        /// Which.
        connection: ConnectionId,
        /// The owner's number.
        user: u64,
    },
    /// The connection is gone; its id names nothing from now on.
    Closed(Closed),
}

/// The account of a connection that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Which.
    pub connection: ConnectionId,
    /// The owner's number.
    pub user: u64,
    /// Why.
    pub reason: CloseReason,
    /// The listener it was opened for.
    pub listener: u16,
    /// The client's address.
    pub client: IpAddr,
    /// When it was opened.
    pub opened: Instant,
    /// Bytes received in order.
    pub bytes_in: u64,
    /// Bytes that the client acknowledged.
    pub bytes_out: u64,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Both sides finished (or the peer is in TIME-WAIT for us).
    Finished,
    /// The peer sent a RST.
    PeerReset,
    /// The owner called `abort`.
    Aborted,
    /// The peer sent data after the owner had called `close`.
    DataAfterClose,
    /// Retransmissions were not acknowledged.
    Unreachable,
    /// Keep-alives were not answered.
    KeepAlive,
    /// The peer did not take the data that waits for it: a closed window, or one byte at a time.
    Stalled,
    /// As [`CloseReason::Stalled`], earlier than usual because memory is short.
    MemoryPressure,
    /// The peer did not finish within the limit after we did.
    FinWaitTimeout,
}

impl CloseReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Finished,
        Self::PeerReset,
        Self::Aborted,
        Self::DataAfterClose,
        Self::Unreachable,
        Self::KeepAlive,
        Self::Stalled,
        Self::MemoryPressure,
        Self::FinWaitTimeout,
    ];

    /// The label value in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::PeerReset => "peer_reset",
            Self::Aborted => "aborted",
            Self::DataAfterClose => "data_after_close",
            Self::Unreachable => "unreachable",
            Self::KeepAlive => "keep_alive",
            Self::Stalled => "stalled",
            Self::MemoryPressure => "memory_pressure",
            Self::FinWaitTimeout => "fin_wait_timeout",
        }
    }
}
