//! The record of one flow: two directions of translation, and what the handshake left behind.
//!
//! Owns: [`Flow`], [`Half`], sequence arithmetic. Does not own: where records live (`table`), what changes them.
//!
//! Sequence numbers of a half are in its sender's own numbering, for both halves:
//!
//! ```text
//!       acked            next              edge
//!  -------+----------------+-----------------+------->   sequence numbers of this half's sender
//!  received by the other   | sent, in flight | may be sent
//! ```

use super::state::{Class, Side, State};
use super::{BackendId, Traffic};
use crate::flow::FlowKey;
use crate::flow_table::Record;
use crate::link::Link;
use crate::ports::PortLease;
use crate::time::Instant;

/// Least window that segments are checked against, in bytes: before window scaling this was the greatest, and
/// probes below a closed window must pass.
pub(super) const WINDOW_CHECK_BYTES_MIN: u32 = 65_535;

/// Whether `a` comes before `b` in sequence space.
#[inline]
pub(super) const fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// The later of two sequence numbers.
#[inline]
pub(super) const fn later(a: u32, b: u32) -> u32 {
    if is_before(a, b) { b } else { a }
}

/// One direction: what one side sends, and how it reads on the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Half {
    /// The number after the last one sent through us.
    pub(super) next: u32,
    /// The first number that the other side has not acknowledged.
    pub(super) acked: u32,
    /// The first number beyond the widest window that this side was told of.
    pub(super) edge: u32,
    /// The number after this side's FIN; means something once `State::has_fin`.
    pub(super) fin_end: u32,
    /// The widest window this side was told of, in bytes.
    pub(super) window_max: u32,
    /// Added to this side's sequence numbers on their way to the other.
    pub(super) seq_add: u32,
    /// Added to this side's timestamps on their way to the other.
    pub(super) ts_add: u32,
    /// This side's last TSval, in its own clock.
    pub(super) ts_last: u32,
    /// This side's last window field.
    pub(super) window: u16,
    /// How far this side shifts its windows.
    pub(super) scale: u8,
    /// How far the other side believes that they are shifted.
    pub(super) scale_told: u8,
    /// What was passed on.
    pub(super) traffic: Traffic,
}

impl Half {
    /// A sequence number of this side as the other one sees it.
    #[inline]
    pub(super) const fn outward(&self, seq: u32) -> u32 {
        seq.wrapping_add(self.seq_add)
    }

    /// What the other side calls `seq`, in this side's numbering.
    #[inline]
    pub(super) const fn inward(&self, seq: u32) -> u32 {
        seq.wrapping_sub(self.seq_add)
    }

    /// The window behind a field that this side sent, in bytes.
    #[inline]
    pub(super) const fn window_bytes(&self, field: u16) -> u32 {
        (field as u32) << self.scale
    }

    /// A window field of this side as the other one must read it: never more than was offered, except that an open
    /// window stays open. (A window of less than one unit, which only a nearly full receiver has, would become
    /// zero; a sender would then wait for its persist timer. The one unit overstates it by under 128 bytes.)
    #[inline]
    pub(super) const fn window_told(&self, field: u16) -> u16 {
        let bytes = self.window_bytes(field);
        let told = bytes >> self.scale_told;
        match (bytes, told) {
            (0, _) => 0,
            (_, 0) => 1,
            (_, told) if told > 0xffff => 0xffff,
            (_, told) => told as u16,
        }
    }

    /// Lower slack when checking what this side sends.
    #[inline]
    pub(super) const fn window_check(&self) -> u32 {
        if self.window_max > WINDOW_CHECK_BYTES_MIN { self.window_max } else { WINDOW_CHECK_BYTES_MIN }
    }

    /// Whether a segment of this side lies where its receiver may want it: not wholly beyond the window, not
    /// older than one window. Wide enough for retransmissions, keep-alives and window probes.
    #[inline]
    pub(super) const fn is_in_window(&self, seq: u32, end: u32) -> bool {
        !is_before(self.edge, seq) && !is_before(end, self.acked.wrapping_sub(self.window_check()))
    }

    /// Whether the other side may acknowledge `ack` (RFC 5961 §5.2): nothing unsent, nothing ancient.
    #[inline]
    pub(super) const fn is_plausible_ack(&self, ack: u32) -> bool {
        !is_before(self.next, ack) && !is_before(ack, self.acked.wrapping_sub(self.window_check()))
    }

    /// Remembers an acknowledgement by the other side, with the window (in bytes) that this side was told.
    #[inline]
    pub(super) fn on_acked(&mut self, ack: u32, window: u32) {
        self.acked = later(self.acked, ack);
        self.edge = later(self.edge, ack.wrapping_add(window));
        if window > self.window_max {
            self.window_max = window;
        }
    }
}

/// Where the PROXY header of a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyHeader {
    /// The backend wants none.
    None,
    /// To be sent before any data.
    Due,
    /// Sent this many times, not yet acknowledged.
    Sent(u8),
    /// The backend has it.
    Acked,
}

/// Packets of our own that a flow has to send, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending(u8);

impl Pending {
    pub(super) const SYN: Self = Self(1);
    pub(super) const PROXY_HEADER: Self = Self(2);
    pub(super) const RESET_BACKEND: Self = Self(4);
    pub(super) const RESET_CLIENT: Self = Self(8);

    pub(super) fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Takes `other` out and says whether it was in.
    pub(super) fn take(&mut self, other: Self) -> bool {
        let was = self.contains(other);
        self.0 &= !other.0;
        was
    }

    pub(super) fn clear(&mut self) {
        self.0 = 0;
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What the client offered in its handshake, for our SYN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    pub(super) mss: u16,
    pub(super) window_scale: Option<u8>,
    pub(super) sack_permitted: bool,
    pub(super) timestamps: bool,
    pub(super) ecn: bool,
}

/// Who answers the client's SYN, as far as the flow must remember it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandshakeKind {
    Proxied {
        /// Our initial sequence number towards the client.
        isn: u32,
        /// TSval of our SYN-ACK.
        ts: u32,
        /// How far the client believes our windows are shifted.
        scale: u8,
    },
    PassThrough,
}

/// One spliced flow.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) state: State,
    pub(super) pending: Pending,
    pub(super) proxy: ProxyHeader,
    /// SYNs sent to the present backend.
    pub(super) syns: u8,
    /// Whether the caller holds frames of this flow.
    pub(super) is_holding: bool,
    /// Whether a RST was passed on that was in window but not exact, and nothing valid was said since.
    pub(super) is_suspect: bool,
    /// Whether timestamps are translated.
    pub(super) has_timestamps: bool,
    /// Whether the backend did not take up an option that the client was promised: it is blanked.
    pub(super) blank_timestamps: bool,
    pub(super) blank_sack: bool,
    pub(super) blank_ecn: bool,
    /// Whether the client's own address is the source towards the backend.
    pub(super) is_transparent: bool,
    /// Client to listener.
    pub(super) client_key: FlowKey,
    /// Backend to our source: how its answers look.
    pub(super) backend_key: FlowKey,
    pub(super) client_link: Link,
    pub(super) client: Half,
    pub(super) backend: Half,
    pub(super) handshake: HandshakeKind,
    pub(super) offer: Offer,
    pub(super) backend_id: BackendId,
    /// The port of our slice; `None` in transparent mode.
    pub(super) lease: Option<PortLease>,
    pub(super) client_isn: u32,
    /// The backend's initial sequence number; means something once it answered.
    pub(super) backend_isn: u32,
    /// Our initial sequence number towards the backend.
    pub(super) iss: u32,
    /// Milliseconds (low half) at which the last challenge ACK was sent.
    pub(super) challenged_ms: u32,
    pub(super) tag: u32,
    pub(super) opened: Instant,
    /// First SYN to the present backend.
    pub(super) connecting: Instant,
    /// Last valid segment of either side.
    pub(super) active: Instant,
    /// When our SYN or PROXY header is sent again.
    pub(super) retransmit: Instant,
}

impl Record for Flow {
    fn key(&self, side: Side) -> &FlowKey {
        match side {
            Side::Client => &self.client_key,
            Side::Backend => &self.backend_key,
        }
    }

    fn set_backend_key(&mut self, key: FlowKey) {
        self.backend_key = key;
    }

    fn class(&self) -> Class {
        self.state.class()
    }
}

impl Flow {
    pub(super) fn half(&self, side: Side) -> &Half {
        match side {
            Side::Client => &self.client,
            Side::Backend => &self.backend,
        }
    }

    pub(super) fn half_mut(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Backend => &mut self.backend,
        }
    }

    pub(super) fn is_pass_through(&self) -> bool {
        self.handshake == HandshakeKind::PassThrough
    }

    /// Length of the PROXY header in front of the client's data; zero when there is none.
    pub(super) fn proxy_header_len(&self) -> u32 {
        match self.proxy {
            ProxyHeader::None => 0,
            _ => crate::proxy_protocol::header_len(self.client_key.source.addr) as u32,
        }
    }

    /// Whether the client's data may go to the backend: nothing of ours must come before it.
    pub(super) fn is_ready_for_data(&self) -> bool {
        self.proxy != ProxyHeader::Due
    }

    /// Our next sequence number towards the backend, for packets of our own.
    pub(super) fn backend_seq(&self) -> u32 {
        let data = self.client.outward(self.client.next);
        if self.proxy == ProxyHeader::Due { data.wrapping_sub(self.proxy_header_len()) } else { data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_stays_small() {
        // 320 bytes and 32 in the index and 16 in the wheel: a million flows fit 370 MB.
        assert!(size_of::<Flow>() <= 320, "{}", size_of::<Flow>());
    }

    #[test]
    fn sequence_numbers_compare_across_the_wrap() {
        assert!(is_before(u32::MAX, 0));
        assert!(!is_before(0, u32::MAX));
        assert_eq!(later(u32::MAX - 5, 3), 3);
    }

    #[test]
    fn window_is_never_overstated_and_never_closed_by_rounding() {
        for (scale, told) in [(0, 7), (7, 7), (10, 7), (14, 0), (0, 0), (3, 7)] {
            let half = Half { scale, scale_told: told, ..Half::default() };
            for field in [0, 1, 2, 100, 127, 128, 129, 1000, 0x7fff, 0xffff] {
                let real = half.window_bytes(field);
                let read = u32::from(half.window_told(field)) << told;
                assert_eq!(read == 0, real == 0, "{field} shifted by {scale} read by {told}");
                assert!(read <= real.max(if real > 0 { 1 << told } else { 0 }));
                assert!(read >= real.min(0xffff << told).saturating_sub((1 << told) - 1));
            }
        }
    }

    #[test]
    fn keep_alive_and_window_probe_are_in_window() {
        let mut half = Half { next: 1000, acked: 1000, edge: 1000, ..Half::default() };
        assert!(half.is_in_window(999, 999), "keep-alive");
        assert!(half.is_in_window(1000, 1001), "probe of a closed window");
        assert!(!half.is_in_window(1001, 1002), "beyond it");
        half.on_acked(1000, 500);
        assert!(half.is_in_window(1500, 1501));
        assert!(!half.is_in_window(1501, 1502));
        assert!(!half.is_in_window(1000u32.wrapping_sub(70_000), 1000u32.wrapping_sub(69_000)));
    }
}
