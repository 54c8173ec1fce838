//! TCP headers (RFC 9293 §3.1) and their options (RFC 9293 §3.2, 7323, 2018).
//!
//! Owns: [`Flags`] and which combinations are plausible, the view [`Segment`], the options of a received
//! segment with their positions for rewriting ([`Options`]), and the options of a SYN or SYN-ACK in the order
//! Linux writes them ([`SynOptions`]). Does not own: sequence arithmetic, states, checksums (`wire::checksum`).

use core::fmt;
use core::ops::{BitAnd, BitOr, Not};

use super::{be16, be32};
use crate::verdict::DropReason;

mod options;

pub use options::{OPTIONS_BYTES_MAX, Options, SackBlock, SackBlocks, SynOptions, Timestamps};

/// Length of a header without options, in bytes.
pub const HEADER_BYTES_MIN: usize = 20;

/// Length of a header with all the options it can carry, in bytes.
pub const HEADER_BYTES_MAX: usize = 60;

/// Maximum segment size to assume over IPv4 when the peer names none (RFC 9293 §3.7.1), in bytes.
pub const MSS_DEFAULT_V4: u16 = 536;

/// Maximum segment size to assume over IPv6 when the peer names none (RFC 9293 §3.7.1), in bytes.
pub const MSS_DEFAULT_V6: u16 = 1220;

/// Largest window scale (RFC 7323 §2.3); a greater one received counts as this.
pub const WINDOW_SCALE_MAX: u8 = 14;

/// The control bits of a segment.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// No bit set.
    pub const NONE: Self = Self(0);
    /// No more data from sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment field is significant.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is significant.
    pub const URG: Self = Self(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);
    /// SYN and ACK.
    pub const SYN_ACK: Self = Self(0x12);
    /// RST and ACK.
    pub const RST_ACK: Self = Self(0x14);
    /// FIN and ACK.
    pub const FIN_ACK: Self = Self(0x11);

    /// Whether all bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether this is the first segment of a connection: SYN without ACK, RST and FIN.
    #[inline]
    pub const fn is_initial_syn(self) -> bool {
        self.0 & 0x17 == 0x02
    }

    /// Whether a real stack sends this combination. PSH, ECE and CWR go with everything.
    ///
    /// Plausible are SYN, SYN+URG, SYN+ACK, RST, RST+ACK, and ACK with any of FIN and URG. That leaves out
    /// SYN+FIN, SYN+RST, FIN+RST, FIN alone, the null and the Xmas scan.
    #[inline]
    pub const fn is_plausible(self) -> bool {
        const fn bit(flags: u8) -> u64 {
            1 << (flags & 0x37)
        }
        const PLAUSIBLE: u64 = bit(0x02)
            | bit(0x22)
            | bit(0x12)
            | bit(0x04)
            | bit(0x14)
            | bit(0x10)
            | bit(0x30)
            | bit(0x11)
            | bit(0x31);
        PLAUSIBLE & bit(self.0) != 0
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl BitAnd for Flags {
    type Output = Self;
    fn bitand(self, rhs: Self) -> Self {
        Self(self.0 & rhs.0)
    }
}

impl Not for Flags {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let mut separator = "";
        for (bit, name) in NAMES.iter().enumerate() {
            if self.0 >> bit & 1 != 0 {
                write!(f, "{separator}{name}")?;
                separator = "+";
            }
        }
        if self.0 == 0 { f.write_str("none") } else { Ok(()) }
    }
}

/// A view of a TCP header, its options and payload.
#[derive(Clone, Copy, Debug)]
pub struct Segment<T>(T);

impl<T: AsRef<[u8]>> Segment<T> {
    /// A view of `bytes`, which start with a TCP header and end with the payload: `&frame[headers.l4..headers.end]`.
    ///
    /// # Errors
    /// [`DropReason::Truncated`] when the header with its options does not fit, [`DropReason::Malformed`] when
    /// the data offset is below 5 words.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self, DropReason> {
        let slice = bytes.as_ref();
        if slice.len() < HEADER_BYTES_MIN {
            return Err(DropReason::Truncated);
        }
        let header_len = usize::from(slice[12] >> 4) * 4;
        if header_len < HEADER_BYTES_MIN {
            return Err(DropReason::Malformed);
        }
        if slice.len() < header_len { Err(DropReason::Truncated) } else { Ok(Self(bytes)) }
    }

    #[inline]
    fn word(&self, at: usize) -> u16 {
        be16(self.0.as_ref(), at).unwrap_or(0)
    }

    /// Source port.
    #[inline]
    pub fn source_port(&self) -> u16 {
        self.word(0)
    }

    /// Destination port.
    #[inline]
    pub fn destination_port(&self) -> u16 {
        self.word(2)
    }

    /// Sequence number.
    #[inline]
    pub fn seq(&self) -> u32 {
        be32(self.0.as_ref(), 4).unwrap_or(0)
    }

    /// Acknowledgment number; meaningful only with [`Flags::ACK`].
    #[inline]
    pub fn ack(&self) -> u32 {
        be32(self.0.as_ref(), 8).unwrap_or(0)
    }

    /// Length of the header with its options, in bytes.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.0.as_ref()[12] >> 4) * 4
    }

    /// Control bits.
    #[inline]
    pub fn flags(&self) -> Flags {
        Flags(self.0.as_ref()[13])
    }

    /// Window as sent, not scaled.
    #[inline]
    pub fn window(&self) -> u16 {
        self.word(14)
    }

    /// Checksum as stored.
    #[inline]
    pub fn checksum(&self) -> u16 {
        self.word(16)
    }

    /// Urgent pointer.
    #[inline]
    pub fn urgent(&self) -> u16 {
        self.word(18)
    }

    /// The bytes of the options.
    #[inline]
    pub fn option_bytes(&self) -> &[u8] {
        self.0.as_ref().get(HEADER_BYTES_MIN..self.header_len()).unwrap_or(&[])
    }

    /// The options; see [`Options::parse`].
    ///
    /// # Errors
    /// [`DropReason::Malformed`] when an option's length is impossible.
    #[inline]
    pub fn options(&self) -> Result<Options, DropReason> {
        Options::parse(self.option_bytes())
    }

    /// The payload.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        self.0.as_ref().get(self.header_len()..).unwrap_or(&[])
    }

    /// Sequence numbers the segment takes: its payload, plus one for SYN and one for FIN.
    #[inline]
    pub fn sequence_len(&self) -> u32 {
        let flags = self.flags();
        self.payload().len() as u32
            + u32::from(flags.contains(Flags::SYN))
            + u32::from(flags.contains(Flags::FIN))
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Segment<T> {
    #[inline]
    fn put16(&mut self, at: usize, value: u16) {
        self.0.as_mut()[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }

    #[inline]
    fn put32(&mut self, at: usize, value: u32) {
        self.0.as_mut()[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// Sets the source port. No setter of this view updates the checksum; collect the changes in a
    /// [`Delta`](super::checksum::Delta) and set it once.
    #[inline]
    pub fn set_source_port(&mut self, port: u16) {
        self.put16(0, port);
    }

    /// Sets the destination port.
    #[inline]
    pub fn set_destination_port(&mut self, port: u16) {
        self.put16(2, port);
    }

    /// Sets the sequence number.
    #[inline]
    pub fn set_seq(&mut self, seq: u32) {
        self.put32(4, seq);
    }

    /// Sets the acknowledgment number.
    #[inline]
    pub fn set_ack(&mut self, ack: u32) {
        self.put32(8, ack);
    }

    /// Sets the control bits.
    #[inline]
    pub fn set_flags(&mut self, flags: Flags) {
        self.0.as_mut()[13] = flags.0;
    }

    /// Sets the window as sent, not scaled.
    #[inline]
    pub fn set_window(&mut self, window: u16) {
        self.put16(14, window);
    }

    /// Sets the checksum field.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        self.put16(16, checksum);
    }

    /// Sets the urgent pointer.
    #[inline]
    pub fn set_urgent(&mut self, urgent: u16) {
        self.put16(18, urgent);
    }

    /// Sets four bytes at `offset` from the start of the header, inside the options: for a timestamp or a SACK
    /// edge at a position that [`Options`] named. Returns false, changing nothing, outside the options.
    #[inline]
    pub fn set_option_u32(&mut self, offset: usize, value: u32) -> bool {
        let fits =
            offset >= HEADER_BYTES_MIN && offset.checked_add(4).is_some_and(|end| end <= self.header_len());
        if fits {
            self.put32(offset, value);
        }
        fits
    }

    /// The payload, writable.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let header_len = self.header_len();
        self.0.as_mut().get_mut(header_len..).unwrap_or(&mut [])
    }
}

/// The values of a header; options follow as ready-made bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Control bits.
    pub flags: Flags,
    /// Window as sent, not scaled.
    pub window: u16,
}

impl Repr {
    /// Reads a header; its options are left to [`Segment::options`].
    ///
    /// # Errors
    /// As [`Segment::new_checked`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        let segment = Segment::new_checked(bytes)?;
        Ok(Self {
            source_port: segment.source_port(),
            destination_port: segment.destination_port(),
            seq: segment.seq(),
            ack: segment.ack(),
            flags: segment.flags(),
            window: segment.window(),
        })
    }

    /// Writes header and `options` (a multiple of 4 bytes, at most [`OPTIONS_BYTES_MAX`]) into the front of
    /// `buffer` with a zero checksum, and returns the header's length. `None` when it does not fit.
    #[inline]
    pub fn emit(&self, buffer: &mut [u8], options: &[u8]) -> Option<usize> {
        let header_len = HEADER_BYTES_MIN + options.len();
        if options.len() > OPTIONS_BYTES_MAX || !options.len().is_multiple_of(4) {
            return None;
        }
        let (header, rest) = buffer.split_first_chunk_mut::<HEADER_BYTES_MIN>()?;
        rest.get_mut(..options.len())?.copy_from_slice(options);
        header[..2].copy_from_slice(&self.source_port.to_be_bytes());
        header[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        header[4..8].copy_from_slice(&self.seq.to_be_bytes());
        header[8..12].copy_from_slice(&self.ack.to_be_bytes());
        header[12] = ((header_len / 4) as u8) << 4;
        header[13] = self.flags.0;
        header[14..16].copy_from_slice(&self.window.to_be_bytes());
        header[16..20].fill(0);
        Some(header_len)
    }
}
