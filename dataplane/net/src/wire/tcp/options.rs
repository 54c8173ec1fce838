//! TCP options: what a received segment carries and where, and the options of a SYN in Linux's order.
//!
//! Owns: MSS (RFC 9293 §3.2), window scale and timestamps (RFC 7323), SACK permitted and SACK (RFC 2018).
//! Every other kind (Fast Open, MPTCP, MD5 ...) is skipped by its length. As in Linux, an option of a known kind
//! with a wrong length is skipped, and of two options of one kind the last one counts.

use super::{HEADER_BYTES_MIN, WINDOW_SCALE_MAX};
use crate::verdict::DropReason;
use crate::wire::{be16, be32};

/// Longest options of a segment, in bytes: the data offset counts at most 15 words.
pub const OPTIONS_BYTES_MAX: usize = 40;

mod kind {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const MSS: u8 = 2;
    pub(super) const WINDOW_SCALE: u8 = 3;
    pub(super) const SACK_PERMITTED: u8 = 4;
    pub(super) const SACK: u8 = 5;
    pub(super) const TIMESTAMPS: u8 = 8;
}

/// The timestamps option of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub value: u32,
    /// TSecr: the peer's clock, echoed; meaningful only with ACK.
    pub echo: u32,
}

/// Where the SACK blocks of a segment lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SackBlocks {
    /// Offset of the first block from the start of the TCP header, in bytes. Each block is 8 bytes: left edge,
    /// right edge.
    pub offset: usize,
    /// Number of blocks, 1 to 4.
    pub count: usize,
}

impl SackBlocks {
    /// Offsets of all edges from the start of the TCP header, in bytes: left, right, left ...
    pub fn edge_offsets(self) -> impl Iterator<Item = usize> {
        (0..self.count * 2).map(move |edge| self.offset + edge * 4)
    }
}

/// One SACK block: received data beyond the cumulative ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SackBlock {
    /// First sequence number of the block.
    pub left: u32,
    /// Sequence number after the block.
    pub right: u32,
}

/// The options of a received segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Largest segment the sender takes, in bytes. A value of 0 counts as absent.
    pub mss: Option<u16>,
    /// Shift of the sender's windows, at most [`WINDOW_SCALE_MAX`].
    pub window_scale: Option<u8>,
    /// Whether the sender understands SACK.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// Offset of TSval from the start of the TCP header, in bytes; TSecr is 4 further. Present exactly when
    /// `timestamps` is.
    pub timestamps_offset: Option<usize>,
    /// SACK blocks.
    pub sack: Option<SackBlocks>,
}

impl Options {
    /// Parses option bytes: the part of the header after the first 20 bytes. Offsets in the answer count from
    /// the start of the TCP header.
    ///
    /// # Errors
    /// [`DropReason::Malformed`] when an option's length is below 2 or leaves the header.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        // Nearly every segment of an open connection carries exactly this (RFC 7323 appendix A).
        if bytes.len() == 12 && bytes.starts_with(&[kind::NOP, kind::NOP, kind::TIMESTAMPS, 10]) {
            let mut options = Self::default();
            options.take_timestamps(bytes, 2);
            return Ok(options);
        }
        Self::parse_slow(bytes)
    }

    fn parse_slow(bytes: &[u8]) -> Result<Self, DropReason> {
        let mut options = Self::default();
        let mut at = 0;
        while let Some(&kind) = bytes.get(at) {
            match kind {
                kind::END => break,
                kind::NOP => {
                    at += 1;
                    continue;
                }
                _ => {}
            }
            let len = usize::from(*bytes.get(at + 1).ok_or(DropReason::Malformed)?);
            if len < 2 || at + len > bytes.len() {
                return Err(DropReason::Malformed);
            }
            options.take(bytes, at, kind, len);
            at += len;
        }
        Ok(options)
    }

    #[inline]
    fn take(&mut self, bytes: &[u8], at: usize, kind: u8, len: usize) {
        match (kind, len) {
            (kind::MSS, 4) => self.mss = be16(bytes, at + 2).filter(|mss| *mss != 0),
            (kind::WINDOW_SCALE, 3) => {
                self.window_scale = bytes.get(at + 2).map(|scale| (*scale).min(WINDOW_SCALE_MAX));
            }
            (kind::SACK_PERMITTED, 2) => self.sack_permitted = true,
            (kind::TIMESTAMPS, 10) => self.take_timestamps(bytes, at),
            (kind::SACK, 10 | 18 | 26 | 34) => {
                self.sack = Some(SackBlocks { offset: HEADER_BYTES_MIN + at + 2, count: (len - 2) / 8 });
            }
            _ => {}
        }
    }

    #[inline]
    fn take_timestamps(&mut self, bytes: &[u8], at: usize) {
        if let (Some(value), Some(echo)) = (be32(bytes, at + 2), be32(bytes, at + 6)) {
            self.timestamps = Some(Timestamps { value, echo });
            self.timestamps_offset = Some(HEADER_BYTES_MIN + at + 2);
        }
    }

    /// The SACK blocks of the segment these options were parsed from; `segment` starts with the TCP header.
    pub fn sack_blocks<'a>(&self, segment: &'a [u8]) -> impl Iterator<Item = SackBlock> + 'a {
        let (offset, count) = self.sack.map_or((0, 0), |sack| (sack.offset, sack.count));
        (0..count).filter_map(move |index| {
            let at = offset + index * 8;
            Some(SackBlock { left: be32(segment, at)?, right: be32(segment, at + 4)? })
        })
    }
}

/// The options of a SYN or SYN-ACK to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SynOptions {
    /// Largest segment we take, in bytes.
    pub mss: Option<u16>,
    /// Shift of our windows.
    pub window_scale: Option<u8>,
    /// Whether we understand SACK.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
}

impl SynOptions {
    /// Writes the options in the order and padding of Linux, so that our SYN and SYN-ACK pass wherever its do,
    /// and returns their length in bytes (a multiple of 4, at most 20):
    ///
    /// ```text
    /// timestamps:    mss | sackOK ts | nop wscale        without SACK: mss | nop nop ts | nop wscale
    /// no timestamps: mss | nop nop sackOK | nop wscale
    /// ```
    #[inline]
    pub fn emit(&self, buffer: &mut [u8; OPTIONS_BYTES_MAX]) -> usize {
        let mut len = 0;
        let mut push = |word: [u8; 4]| {
            buffer[len..len + 4].copy_from_slice(&word);
            len += 4;
        };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            push([kind::MSS, 4, high, low]);
        }
        if let Some(Timestamps { value, echo }) = self.timestamps {
            if self.sack_permitted {
                push([kind::SACK_PERMITTED, 2, kind::TIMESTAMPS, 10]);
            } else {
                push([kind::NOP, kind::NOP, kind::TIMESTAMPS, 10]);
            }
            push(value.to_be_bytes());
            push(echo.to_be_bytes());
        } else if self.sack_permitted {
            push([kind::NOP, kind::NOP, kind::SACK_PERMITTED, 2]);
        }
        if let Some(scale) = self.window_scale {
            push([kind::NOP, kind::WINDOW_SCALE, 3, scale]);
        }
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_linux_syn_are_read() {
        // mss 1460, sackOK, TS val 0x01020304 ecr 0, nop, wscale 7: as sent by Linux.
        let bytes = [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];
        let options = Options::parse(&bytes).unwrap();
        assert_eq!(options.mss, Some(1460));
        assert_eq!(options.window_scale, Some(7));
        assert!(options.sack_permitted);
        assert_eq!(options.timestamps, Some(Timestamps { value: 0x0102_0304, echo: 0 }));
        assert_eq!(options.timestamps_offset, Some(28));
        let written = SynOptions {
            mss: options.mss,
            window_scale: options.window_scale,
            sack_permitted: true,
            timestamps: options.timestamps,
        };
        let mut buffer = [0; OPTIONS_BYTES_MAX];
        let len = written.emit(&mut buffer);
        assert_eq!(buffer[..len], bytes);
    }

    #[test]
    fn established_segment_takes_the_short_way_to_the_same_answer() {
        let bytes = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8];
        let options = Options::parse(&bytes).unwrap();
        assert_eq!(options, Options::parse_slow(&bytes).unwrap());
        assert_eq!(options.timestamps_offset, Some(24));
    }

    #[test]
    fn sack_blocks_are_found_after_timestamps() {
        let mut segment = vec![0u8; 20];
        segment.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 5, 18]);
        segment.extend([0, 0, 0, 10, 0, 0, 0, 20, 0, 0, 0, 30, 0, 0, 0, 40]);
        let options = Options::parse(&segment[20..]).unwrap();
        let sack = options.sack.unwrap();
        assert_eq!((sack.offset, sack.count), (36, 2));
        assert_eq!(sack.edge_offsets().collect::<Vec<_>>(), [36, 40, 44, 48]);
        let blocks: Vec<_> = options.sack_blocks(&segment).collect();
        assert_eq!(blocks, [SackBlock { left: 10, right: 20 }, SackBlock { left: 30, right: 40 }]);
    }

    #[test]
    fn options_that_leave_the_header_are_malformed() {
        for bytes in [&[2u8][..], &[2, 0], &[2, 1, 0, 0], &[2, 5, 0, 0], &[8, 10, 0, 0], &[1, 1, 1, 254]] {
            assert_eq!(Options::parse(bytes), Err(DropReason::Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn unknown_and_wrong_sized_options_are_skipped_and_the_last_of_a_kind_counts() {
        let bytes = [34, 4, 9, 9, 2, 3, 1, 3, 3, 200, 2, 4, 0, 0, 2, 4, 5, 0, 0, 2, 1];
        let options = Options::parse(&bytes).unwrap();
        assert_eq!(options.mss, Some(1280));
        assert_eq!(options.window_scale, Some(WINDOW_SCALE_MAX));
        // Nothing after the end-of-list option is read, not even its impossible length.
        assert!(!options.sack_permitted);
    }
}
