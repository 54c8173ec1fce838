//! Packets longer than a frame: datagrams put together from fragments, and what must be cut to leave.
//!
//! Owns: the one buffer of a worker for them. Does not own: reassembly and cutting (`net::fragment`), the frames that
//! the pieces go into (`worker`). A fragment is checked against the lists before it is kept, and the whole packet
//! goes through everything that an unfragmented one does, so fragments bypass nothing.

use secbeat_net::fragment::{FRAME_BYTES_MAX, Split};
use secbeat_net::link::PortId;
use secbeat_net::packet::PacketBuf;
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::{self, Headers, ethernet};

use super::{Fate, Origin, Pipeline};
use crate::telemetry::counters::Counter;

/// Room in front of a whole packet for headers that are longer than those it came with: PROXY header (52 bytes for
/// IPv6) and VLAN tags. Bytes.
const HEADROOM_BYTES: usize = 128;

/// A packet of up to 64 KiB, and where it lies in its buffer.
#[derive(Debug)]
pub struct Whole {
    buffer: Box<[u8]>,
    start: usize,
    len: usize,
}

impl Default for Whole {
    fn default() -> Self {
        let buffer = vec![0; HEADROOM_BYTES + FRAME_BYTES_MAX].into_boxed_slice();
        Self { buffer, start: HEADROOM_BYTES, len: 0 }
    }
}

impl Whole {
    /// The packet as a frame.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.start + self.len).unwrap_or_default()
    }

    /// Copies a frame that must be cut. False when it does not fit, which no received frame can be.
    #[must_use]
    pub fn copy_from(&mut self, frame: &[u8]) -> bool {
        self.start = HEADROOM_BYTES;
        let Some(room) = self.buffer.get_mut(HEADROOM_BYTES..HEADROOM_BYTES + frame.len()) else {
            return false;
        };
        room.copy_from_slice(frame);
        self.len = frame.len();
        true
    }
}

impl Pipeline {
    /// Keeps a fragment, or goes on with the packet that it completes.
    pub(super) fn judge_fragment(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        port: PortId,
        origin: Origin,
        now: Instant,
    ) -> Result<Fate, DropReason> {
        // Lists and rules as far as they apply without ports; those with ports see the whole packet.
        self.filter(headers, now)?;
        let room = self.whole.buffer.len() - HEADROOM_BYTES;
        let mut whole = PacketBuf::new(&mut self.whole.buffer, HEADROOM_BYTES, room);
        if !self.fragments.handle(packet.bytes(), headers, &mut whole, now)? {
            return Ok(Fate::Consumed);
        }
        self.page.count(Counter::Reassembled);
        let len = whole.len();
        if packet.set_len(len) {
            // It fits where its last piece lies, and goes on like any other.
            packet.bytes_mut().copy_from_slice(whole.bytes());
            let headers = wire::parse(packet.bytes())?;
            return self.judge_whole(packet, &headers, port, origin, now);
        }
        self.judge_long(len, port, origin, now)
    }

    /// A whole packet that is longer than a frame: it is sent on or handed over in pieces, and cannot wait.
    fn judge_long(
        &mut self,
        len: usize,
        port: PortId,
        origin: Origin,
        now: Instant,
    ) -> Result<Fate, DropReason> {
        let mut buffer = core::mem::take(&mut self.whole.buffer);
        let mut packet = PacketBuf::new(&mut buffer, HEADROOM_BYTES, len);
        let fate = wire::parse(packet.bytes())
            .and_then(|headers| self.judge_whole(&mut packet, &headers, port, origin, now));
        let (start, len) = (packet.start(), packet.len());
        self.whole = Whole { buffer, start, len };
        match fate? {
            Fate::Transmit(port) => Ok(Fate::TransmitWhole(port)),
            Fate::HandOver(owner) => Ok(Fate::HandOverWhole(owner)),
            Fate::Hold(_) => Err(DropReason::Fragment),
            // The RST is in the buffer, not in the frame; a client that cuts its segments can do without.
            Fate::Reset(reason, _) => Err(reason),
            fate => Ok(fate),
        }
    }

    /// Whether a frame must be cut to leave by `port`.
    pub fn must_split(&self, frame: &[u8], port: PortId) -> bool {
        let mtu = self.policy.mtu(port);
        // A full-sized frame without tags needs no parsing to be told from one that is too long.
        frame.len() > usize::from(mtu) + ethernet::HEADER_BYTES && Split::is_needed(frame, mtu)
    }

    /// Cuts the packet in the buffer for `port`. Each call of the result's `poll_piece` writes one piece.
    pub fn split(&mut self, port: PortId) -> Option<Split<'_>> {
        self.fragment_ident = self.fragment_ident.wrapping_add(1);
        Split::new(self.whole.bytes(), self.policy.mtu(port), self.fragment_ident)
    }
}
