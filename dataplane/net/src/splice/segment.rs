//! A received segment, read once.
//!
//! Owns: [`Arrived`], what the rest of splice asks about a segment. Does not own: the bytes.

use crate::packet::PacketBuf;
use crate::verdict::DropReason;
use crate::wire::Headers;
use crate::wire::tcp::{Flags, Options, Segment};

/// The fields of a received segment that decisions are made on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: Flags,
    pub(super) window: u16,
    /// Bytes of payload.
    pub(super) len: u32,
    pub(super) options: Options,
}

impl Arrived {
    /// Reads the segment.
    ///
    /// # Errors
    /// `Truncated` or `Malformed`, as the views say; `Malformed` for options that cannot be.
    pub(super) fn read(packet: &PacketBuf<'_>, headers: &Headers) -> Result<Self, DropReason> {
        let l4 = packet.bytes().get(headers.l4..headers.end).ok_or(DropReason::Truncated)?;
        let segment = Segment::new_checked(l4)?;
        Ok(Self {
            seq: segment.seq(),
            ack: segment.ack(),
            flags: segment.flags(),
            window: segment.window(),
            len: segment.payload().len() as u32,
            options: segment.options()?,
        })
    }

    pub(super) fn has(&self, flags: Flags) -> bool {
        self.flags.intersects(flags)
    }

    /// The sequence number after the segment.
    pub(super) fn end(&self) -> u32 {
        let controls = u32::from(self.has(Flags::SYN)) + u32::from(self.has(Flags::FIN));
        self.seq.wrapping_add(self.len).wrapping_add(controls)
    }

    /// Whether it carries nothing but an acknowledgement.
    pub(super) fn is_pure_ack(&self) -> bool {
        self.len == 0 && !self.has(Flags::SYN | Flags::FIN | Flags::RST | Flags::URG)
    }
}
