//! A received segment, read once.
//!
//! Owns: [`Arrived`], what the stack asks about a segment. Does not own: its bytes.

use arrayvec::ArrayVec;

use super::assembler::SACK_BLOCKS_MAX;
use crate::packet::PacketBuf;
use crate::verdict::DropReason;
use crate::wire::Headers;
use crate::wire::tcp::{Flags, Options, SackBlock, Segment};

/// The fields of a received segment that decisions are made on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: Flags,
    pub(super) window: u16,
    /// Offset of the payload in the frame.
    pub(super) start: usize,
    /// Bytes of payload.
    pub(super) len: u32,
    pub(super) options: Options,
    /// Whether the packet was marked "congestion experienced" (RFC 3168).
    pub(super) is_ce: bool,
}

impl Arrived {
    /// Reads the segment.
    ///
    /// # Errors
    /// `Truncated` or `Malformed`, as the views say; `Malformed` for options that cannot be.
    #[inline]
    pub(super) fn read(packet: &PacketBuf<'_>, headers: &Headers) -> Result<Self, DropReason> {
        let l4 = packet.bytes().get(headers.l4..headers.end).ok_or(DropReason::Truncated)?;
        let segment = Segment::new_checked(l4)?;
        Ok(Self {
            seq: segment.seq(),
            ack: segment.ack(),
            flags: segment.flags(),
            window: segment.window(),
            start: headers.l4 + segment.header_len(),
            len: segment.payload().len() as u32,
            options: segment.options()?,
            is_ce: headers.dscp_ecn & 3 == 3,
        })
    }

    #[inline]
    pub(super) fn has(&self, flags: Flags) -> bool {
        self.flags.intersects(flags)
    }

    /// The number after the payload.
    pub(super) fn data_end(&self) -> u32 {
        self.seq.wrapping_add(self.len)
    }

    /// The number after the segment.
    pub(super) fn end(&self) -> u32 {
        let controls = u32::from(self.has(Flags::SYN)) + u32::from(self.has(Flags::FIN));
        self.data_end().wrapping_add(controls)
    }

    /// The SACK blocks, read from the frame.
    pub(super) fn sack(
        &self,
        packet: &PacketBuf<'_>,
        headers: &Headers,
    ) -> ArrayVec<SackBlock, SACK_BLOCKS_MAX> {
        if self.options.sack.is_none() {
            return ArrayVec::new();
        }
        let l4 = packet.bytes().get(headers.l4..headers.end).unwrap_or(&[]);
        self.options.sack_blocks(l4).take(SACK_BLOCKS_MAX).collect()
    }
}
