//! The record of one connection (its transmission control block), 512 bytes with its slot.
//!
//! Owns: [`Connection`] and its [`Marks`]; what can be said from the record alone (window to advertise, timestamp to
//! send). Does not own: the sending side's numbers (`send::Sender`, embedded), what waits in chunks.
//!
//! ```text
//! line 0   key, state, marks, RCV.NXT, edge promised, last ACK sent          every segment
//! line 1   timestamps, ranges, chain, delayed ACK, wheel, last heard         every segment
//! line 2.. Sender                                                            every ACK, every segment out
//! last     link, user, account, keep-alive                                   segments out; seldom
//! ```

use core::ops::BitOr;

use super::assembler::NO_SET;
use super::chain::Chain;
use super::send::Sender;
use super::seq::{distance, is_after, is_before};
use super::state::State;
use crate::flow::FlowKey;
use crate::link::Link;
use crate::time::Instant;

/// Never: a deadline that is not set.
pub(super) const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// What is due, and what is agreed on: bits of one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u32);

impl Marks {
    /// Timestamps are in use (RFC 7323).
    pub(super) const TIMESTAMPS: Self = Self(1);
    /// SACK is in use (RFC 2018).
    pub(super) const SACK: Self = Self(1 << 1);
    /// ECN is in use (RFC 3168).
    pub(super) const ECN: Self = Self(1 << 2);
    /// A packet came marked "congestion experienced" and the peer has not answered with CWR.
    pub(super) const ECN_ECHO: Self = Self(1 << 3);
    /// An ACK is to be sent in this turn.
    pub(super) const ACK_NOW: Self = Self(1 << 4);
    /// A RST is to be sent.
    pub(super) const RESET: Self = Self(1 << 5);
    /// A keep-alive probe is to be sent.
    pub(super) const PROBE: Self = Self(1 << 6);
    /// In the list of connections with something to send.
    pub(super) const TRANSMIT_LISTED: Self = Self(1 << 7);
    /// In the list of connections with events.
    pub(super) const EVENT_LISTED: Self = Self(1 << 8);
    /// `Event::Readable` is due.
    pub(super) const READABLE: Self = Self(1 << 9);
    /// `Event::Writable` is due.
    pub(super) const WRITABLE: Self = Self(1 << 10);
    /// `Event::PeerFinished` is due.
    pub(super) const PEER_FINISHED: Self = Self(1 << 11);
    /// `Event::Closed` is due.
    pub(super) const CLOSED: Self = Self(1 << 12);
    /// `send` took less than all: the owner waits for `Event::Writable`.
    pub(super) const WANTS_ROOM: Self = Self(1 << 13);
    /// The peer's FIN has arrived, and everything before it.
    pub(super) const FIN_ARRIVED: Self = Self(1 << 14);
    /// The owner takes no more data: `close` was called.
    pub(super) const DETACHED: Self = Self(1 << 15);
    /// A duplicate is to be reported with the next ACK (`dsack`).
    pub(super) const DSACK: Self = Self(1 << 16);
    /// Data waits for the peer's acknowledgement, and `progress_at` runs.
    pub(super) const WAITS: Self = Self(1 << 17);
    /// `ts_recent` holds a value.
    pub(super) const TS_RECENT: Self = Self(1 << 18);
    /// The window that was told last is smaller than a segment.
    pub(super) const WINDOW_CLOSED: Self = Self(1 << 19);
    /// A FIN was seen at `fin_seq`; something before it may be missing.
    pub(super) const FIN_SEEN: Self = Self(1 << 20);
    /// It has left the table, and its owner is still to take what is stored before it is told.
    pub(super) const ENDED: Self = Self(1 << 21);
    /// It has left the table, and `Event::Closed` was made due, once.
    pub(super) const TOLD: Self = Self(1 << 22);

    /// Every event.
    pub(super) const EVENTS: Self =
        Self(Self::READABLE.0 | Self::WRITABLE.0 | Self::PEER_FINISHED.0 | Self::CLOSED.0);
    /// What the stack itself sends, beside the sender's segments.
    pub(super) const SENDS: Self = Self(Self::ACK_NOW.0 | Self::RESET.0 | Self::PROBE.0);

    pub(super) fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    pub(super) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Takes `other` out and says whether it was in.
    pub(super) fn take(&mut self, other: Self) -> bool {
        let was = self.intersects(other);
        self.remove(other);
        was
    }

    /// With `other`, if `is_set`.
    pub(super) const fn with(self, other: Self, is_set: bool) -> Self {
        if is_set { Self(self.0 | other.0) } else { self }
    }
}

impl BitOr for Marks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One connection.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Connection {
    /// Client to listener, as received.
    pub(super) key: FlowKey,
    pub(super) state: State,
    /// Shift of our windows.
    pub(super) scale_ours: u8,
    pub(super) marks: Marks,
    /// RCV.NXT: the next number expected in order.
    pub(super) rcv_nxt: u32,
    /// The right edge of the window, the furthest ever promised: never taken back (RFC 9293 §3.8.6.2.1).
    pub(super) rcv_edge: u32,
    /// What our last segment acknowledged.
    pub(super) ack_sent: u32,
    /// Bytes that may wait for the owner: what the window is made of.
    pub(super) rcv_buffer: u32,

    /// TS.Recent (RFC 7323 §4.3).
    pub(super) ts_recent: u32,
    /// When `ts_recent` was set, in seconds since the stack's origin.
    pub(super) ts_recent_secs: u32,
    /// What our clock in milliseconds is ahead of by in TSval.
    pub(super) ts_offset: u32,
    /// Largest segment received of late: what "a full segment" is for delayed ACKs.
    pub(super) rcv_mss: u16,
    /// Set of ranges out of order, or `NO_SET`.
    pub(super) ranges: u16,
    /// In-order bytes that the owner has not taken.
    pub(super) queue: Chain,
    /// Shift of the peer's windows.
    pub(super) scale_theirs: u8,
    pub(super) keep_alive_probes: u8,
    /// ACKs that are still sent at once: a client that has just begun grows its window by them, or holds back the
    /// rest of its request (Nagle). Ends when we answer within the time of a delayed ACK: then answers carry the
    /// ACKs.
    pub(super) quick_acks: u8,
    pub(super) listener: u16,
    /// When a delayed ACK is due.
    pub(super) ack_at: Instant,
    /// When the wheel wakes this connection; at or before all of its deadlines.
    pub(super) wake_at: Instant,
    /// When the peer was heard last.
    pub(super) heard_at: Instant,

    pub(super) sender: Sender,

    /// The way to the client.
    pub(super) link: Link,
    /// Milliseconds (low half) at which the last challenge ACK was sent.
    pub(super) challenged_ms: u32,
    /// The owner's number.
    pub(super) user: u64,
    /// When the peer last took [`super::PROGRESS_BYTES`], or all there was.
    pub(super) progress_at: Instant,
    /// What was acknowledged then.
    pub(super) progress_una: u32,
    /// The edge that was promised when the present round of window growth began, and when that was in milliseconds.
    pub(super) round_edge: u32,
    pub(super) round_ms: u32,
    /// The number of the peer's FIN, once seen.
    pub(super) fin_seq: u32,
    /// When the owner is told to try `send` again although nothing is in flight: chunks were short.
    pub(super) retry_at: Instant,
    /// The duplicate to report (RFC 2883).
    pub(super) dsack: (u32, u32),
    pub(super) opened: Instant,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// Why it ended, as an index into `CloseReason::ALL`.
    pub(super) close_reason: u8,
}

impl Connection {
    /// Our TSval at `now` (RFC 7323 §5.4: a millisecond clock).
    pub(super) fn clock(&self, now: Instant) -> u32 {
        (now.as_millis() as u32).wrapping_add(self.ts_offset)
    }

    pub(super) fn has_ranges(&self) -> bool {
        self.ranges != NO_SET
    }

    /// What the peer may still send, in bytes from RCV.NXT.
    pub(super) fn rcv_window(&self) -> u32 {
        distance(self.rcv_nxt, self.rcv_edge)
    }

    /// The edge that the buffer allows, which may lie before the one that was promised.
    fn edge_wanted(&self, buffer: u32) -> u32 {
        self.rcv_nxt.wrapping_add(buffer.saturating_sub(self.queue.len()))
    }

    /// By how much the window would open if it were told now; zero when that is too little to tell (silly window
    /// avoidance, RFC 9293 §3.8.6.2.2).
    pub(super) fn window_gain(&self, buffer: u32) -> u32 {
        let gain = distance(self.rcv_edge, self.edge_wanted(buffer));
        if gain >= u32::from(self.rcv_mss).min(buffer / 2).max(1) { gain } else { 0 }
    }

    /// The window field of a segment sent now; moves the promised edge. What a shift cuts off is not told, but stays
    /// promised.
    pub(super) fn window_field(&mut self, buffer: u32) -> u16 {
        if self.window_gain(buffer) > 0 {
            self.rcv_edge = self.edge_wanted(buffer);
        }
        let field = (self.rcv_window() >> self.scale_ours).min(0xffff);
        let told = self.rcv_nxt.wrapping_add(field << self.scale_ours);
        if field == 0xffff {
            // More than the field can say was never promised.
            self.rcv_edge = told;
        }
        field as u16
    }

    /// Whether a segment from `seq` to `end` lies, at least with a part, in the window; `end` counts SYN and FIN.
    /// As Linux, looks back to what our last segment acknowledged, so that a segment which crossed it still brings its
    /// acknowledgement, and takes an empty segment at the edge itself.
    pub(super) fn is_in_window(&self, seq: u32, end: u32) -> bool {
        !is_before(end, self.ack_sent) && !is_after(seq, self.rcv_edge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_stays_small() {
        // What the research promised: 100,000 connections in 51 MB.
        assert!(size_of::<Connection>() <= 504, "{}", size_of::<Connection>());
        assert!(size_of::<Sender>() <= 264, "{}", size_of::<Sender>());
    }
}
