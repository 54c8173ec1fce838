//! IPv4 headers (RFC 791), options carried along but never obeyed.
//!
//! Owns: view, setters that keep the header checksum right, emit. Does not own: fragments (`crate::fragment`).

use core::net::Ipv4Addr;

use super::checksum::{self, Delta};
use super::{be16, be32};
use crate::verdict::DropReason;

/// Length of a header without options, in bytes.
pub const HEADER_BYTES_MIN: usize = 20;

/// Length of a header with all the options it can carry, in bytes.
pub const HEADER_BYTES_MAX: usize = 60;

/// "Don't fragment" in the flags-and-offset word.
pub const DONT_FRAGMENT: u16 = 0x4000;

/// "More fragments" in the flags-and-offset word.
pub const MORE_FRAGMENTS: u16 = 0x2000;

/// A view of an IPv4 header and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// A view of `bytes`, which start with an IPv4 header.
    ///
    /// # Errors
    /// [`DropReason::Truncated`] when the header does not fit, [`DropReason::Malformed`] when its version or
    /// length is impossible.
    pub fn new_checked(bytes: T) -> Result<Self, DropReason> {
        let slice = bytes.as_ref();
        if slice.len() < HEADER_BYTES_MIN {
            return Err(DropReason::Truncated);
        }
        let header_len = usize::from(slice[0] & 0x0f) * 4;
        if slice[0] >> 4 != 4 || header_len < HEADER_BYTES_MIN {
            return Err(DropReason::Malformed);
        }
        if slice.len() < header_len { Err(DropReason::Truncated) } else { Ok(Self(bytes)) }
    }

    fn word(&self, at: usize) -> u16 {
        be16(self.0.as_ref(), at).unwrap_or(0)
    }

    fn addr(&self, at: usize) -> Ipv4Addr {
        Ipv4Addr::from(be32(self.0.as_ref(), at).unwrap_or(0))
    }

    /// Length of the header with its options, in bytes.
    pub fn header_len(&self) -> usize {
        usize::from(self.0.as_ref()[0] & 0x0f) * 4
    }

    /// DSCP and ECN.
    pub fn dscp_ecn(&self) -> u8 {
        self.0.as_ref()[1]
    }

    /// Length of header and payload, in bytes.
    pub fn total_len(&self) -> u16 {
        self.word(2)
    }

    /// Identification.
    pub fn ident(&self) -> u16 {
        self.word(4)
    }

    /// Whether routers must not fragment the packet.
    pub fn dont_fragment(&self) -> bool {
        self.word(6) & DONT_FRAGMENT != 0
    }

    /// Whether more fragments follow.
    pub fn more_fragments(&self) -> bool {
        self.word(6) & MORE_FRAGMENTS != 0
    }

    /// Fragment offset in bytes.
    pub fn fragment_offset(&self) -> u16 {
        (self.word(6) & 0x1fff) * 8
    }

    /// Time to live.
    pub fn ttl(&self) -> u8 {
        self.0.as_ref()[8]
    }

    /// Protocol of the payload.
    pub fn protocol(&self) -> u8 {
        self.0.as_ref()[9]
    }

    /// Header checksum as stored.
    pub fn checksum(&self) -> u16 {
        self.word(10)
    }

    /// Source address.
    pub fn source(&self) -> Ipv4Addr {
        self.addr(12)
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv4Addr {
        self.addr(16)
    }

    /// Whether the header checksum is right.
    pub fn is_checksum_valid(&self) -> bool {
        self.0.as_ref().get(..self.header_len()).is_some_and(|header| checksum::internet(header) == 0)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Writes a word without touching the checksum.
    fn put(&mut self, at: usize, value: u16) {
        self.0.as_mut()[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }

    /// Replaces a word and updates the header checksum (RFC 1624).
    fn replace(&mut self, at: usize, value: u16) {
        let mut delta = Delta::NONE;
        delta.replace_u16(self.word(at), value);
        self.put(at, value);
        let updated = delta.apply(self.checksum());
        self.put(10, updated);
    }

    /// Sets DSCP and ECN; updates the checksum.
    pub fn set_dscp_ecn(&mut self, value: u8) {
        self.replace(0, (self.word(0) & 0xff00) | u16::from(value));
    }

    /// Sets the length of header and payload in bytes; updates the checksum.
    pub fn set_total_len(&mut self, len: u16) {
        self.replace(2, len);
    }

    /// Sets identification; updates the checksum.
    pub fn set_ident(&mut self, ident: u16) {
        self.replace(4, ident);
    }

    /// Sets the fragment word: offset in bytes (a multiple of 8), whether more follow, whether routers may not
    /// fragment; updates the checksum.
    pub fn set_fragment(&mut self, offset: u16, more: bool, dont_fragment: bool) {
        let more = if more { MORE_FRAGMENTS } else { 0 };
        let dont = if dont_fragment { DONT_FRAGMENT } else { 0 };
        self.replace(6, (offset / 8) | more | dont);
    }

    /// Sets time to live; updates the checksum.
    pub fn set_ttl(&mut self, ttl: u8) {
        self.replace(8, (self.word(8) & 0x00ff) | u16::from(ttl) << 8);
    }

    /// Sets the source address; updates the header checksum. The L4 checksum changes with it.
    pub fn set_source(&mut self, addr: Ipv4Addr) {
        self.replace_addr(12, addr);
    }

    /// Sets the destination address; updates the header checksum. The L4 checksum changes with it.
    pub fn set_destination(&mut self, addr: Ipv4Addr) {
        self.replace_addr(16, addr);
    }

    fn replace_addr(&mut self, at: usize, addr: Ipv4Addr) {
        let mut delta = Delta::NONE;
        delta.replace_u32(u32::from(self.addr(at)), u32::from(addr));
        self.0.as_mut()[at..at + 4].copy_from_slice(&addr.octets());
        let updated = delta.apply(self.checksum());
        self.put(10, updated);
    }

    /// Computes and stores the header checksum.
    pub fn fill_checksum(&mut self) {
        self.put(10, 0);
        let len = self.header_len();
        let checksum = self.0.as_ref().get(..len).map_or(0, checksum::internet);
        self.put(10, checksum);
    }
}

/// The legal values of an IPv4 header without options, of a packet that is not a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Bytes after the header.
    pub payload_len: u16,
    /// Time to live.
    pub ttl: u8,
    /// DSCP and ECN.
    pub dscp_ecn: u8,
    /// Identification. May be 0 when the packet cannot be fragmented (RFC 6864 §4.1).
    pub ident: u16,
    /// Whether routers must not fragment.
    pub dont_fragment: bool,
}

impl Repr {
    /// Reads a header; options are skipped.
    ///
    /// # Errors
    /// As [`Packet::new_checked`], and [`DropReason::Truncated`] when the total length is below the header's.
    pub fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        let packet = Packet::new_checked(bytes)?;
        let payload_len = packet.total_len().checked_sub(packet.header_len() as u16);
        Ok(Self {
            source: packet.source(),
            destination: packet.destination(),
            protocol: packet.protocol(),
            payload_len: payload_len.ok_or(DropReason::Truncated)?,
            ttl: packet.ttl(),
            dscp_ecn: packet.dscp_ecn(),
            ident: packet.ident(),
            dont_fragment: packet.dont_fragment(),
        })
    }

    /// Writes the header with its checksum into the front of `buffer` and returns its length; `None` when it
    /// does not fit or the packet would be longer than 65,535 bytes.
    #[inline]
    pub fn emit(&self, buffer: &mut [u8]) -> Option<usize> {
        let header = buffer.first_chunk_mut::<HEADER_BYTES_MIN>()?;
        let total_len = self.payload_len.checked_add(HEADER_BYTES_MIN as u16)?;
        header[0] = 0x45;
        header[1] = self.dscp_ecn;
        header[2..4].copy_from_slice(&total_len.to_be_bytes());
        header[4..6].copy_from_slice(&self.ident.to_be_bytes());
        let fragment = if self.dont_fragment { DONT_FRAGMENT } else { 0 };
        header[6..8].copy_from_slice(&fragment.to_be_bytes());
        header[8] = self.ttl;
        header[9] = self.protocol;
        header[10..12].fill(0);
        header[12..16].copy_from_slice(&self.source.octets());
        header[16..20].copy_from_slice(&self.destination.octets());
        let checksum = checksum::internet_header(header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        Some(HEADER_BYTES_MIN)
    }
}
