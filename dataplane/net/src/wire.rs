//! Headers on the wire: one parse of a frame, and views that read and write fields in place.
//!
//! Owns: where each header of a frame lies and what its bits mean. Does not own: what to do about it, flows, or
//! the buffers. [`parse`] walks a frame once and answers with offsets ([`Headers`]); the per-header modules
//! read, write and emit single headers. Byte order is host order everywhere outside this module.
//!
//! What can panic: nothing, on any bytes. A view (`tcp::Segment`, `ipv4::Packet` ...) is made only by
//! `new_checked`, which fails with [`DropReason`](crate::verdict::DropReason) when the bytes are too short for
//! the header they claim; getters and setters then stay inside what was checked. Emitting into a buffer that
//! is too short returns `None`.
//!
//! Cost: `parse` is one pass without allocation, about 15 ns for IPv4 + TCP; see `benches/packet_path.rs`.

pub mod checksum;
pub mod ethernet;
#[doc(hidden)]
pub mod fuzz;
pub mod headers;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod tcp;
pub mod udp;

pub use headers::{Fragment, Headers, IpVersion, parse, parse_ip};

/// IP protocol numbers that SecBeat looks at (IANA "Assigned Internet Protocol Numbers").
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// Two bytes at `at`, big-endian; `None` past the end.
#[inline]
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// Four bytes at `at`, big-endian; `None` past the end.
#[inline]
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}
