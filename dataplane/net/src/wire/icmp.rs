//! ICMP and ICMPv6 errors, and the packet they are about (RFC 792, RFC 4443, RFC 1191, RFC 8201).
//!
//! Owns: telling errors from the rest, and the view of the embedded ("inner") packet: which flow it belongs to
//! and where its fields lie for rewriting. Does not own: echo, neighbour discovery (the kernel answers them) or
//! what an error does to a flow. An inner packet is cut short by routers, so only the first 8 bytes of its L4
//! header are required and nothing is checksummed.

use core::net::IpAddr;

use super::headers::{Headers, IpVersion};
use super::{be16, be32, ipv4, ipv6, protocol};
use crate::flow::{Endpoint, FlowKey, Protocol};
use crate::verdict::DropReason;

/// Length of an error's header, in bytes; the inner packet follows.
pub const ERROR_HEADER_BYTES: usize = 8;

/// ICMPv4 message types.
pub mod type_v4 {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Code of [`UNREACHABLE`]: fragmentation needed and "don't fragment" set.
    pub const CODE_FRAGMENTATION_NEEDED: u8 = 4;
}

/// ICMPv6 message types.
pub mod type_v6 {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// First of the neighbour discovery messages (RFC 4861), router solicitation.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Last of the neighbour discovery messages, redirect.
    pub const REDIRECT: u8 = 137;
}

/// What an ICMP error reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A header field of the inner packet could not be processed.
    ParameterProblem,
    /// A link on the way carries at most `mtu` bytes; 0 when an old router did not say (RFC 1191 §4).
    TooBig {
        /// MTU of the next hop, in bytes, as reported and not bounded.
        mtu: u32,
    },
    /// Hop limit or reassembly time exceeded.
    TimeExceeded,
    /// Host, network, protocol or port unreachable, or prohibited; with the message's code.
    Unreachable {
        /// The ICMP code.
        code: u8,
    },
}

/// The packet inside an error: one that we, or one of our peers, sent. Offsets count from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Offset of the inner IP header.
    pub ip: usize,
    /// Offset of the inner L4 header; at least 8 bytes of it are there.
    pub l4: usize,
    /// IP version, the same as the error's.
    pub version: IpVersion,
    /// The inner packet's flow, in the direction in which it was sent.
    pub flow: FlowKey,
    /// TCP sequence number of the inner segment; 0 for UDP.
    pub seq: u32,
}

/// A parsed ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What it reports.
    pub kind: ErrorKind,
    /// What it is about.
    pub inner: Inner,
}

impl Error {
    /// Parses the ICMP message of a parsed frame. `Ok(None)` when the message is not an error, or is about a
    /// protocol other than TCP and UDP or about a later fragment: those are for the kernel.
    ///
    /// # Errors
    /// [`DropReason::Truncated`] or [`DropReason::Malformed`] when the inner packet is too short or broken.
    pub fn parse(frame: &[u8], headers: &Headers) -> Result<Option<Self>, DropReason> {
        if headers.fragment.is_some() {
            return Ok(None);
        }
        let message = frame.get(..headers.end).ok_or(DropReason::Truncated)?;
        let kind = match headers.protocol {
            protocol::ICMP => kind_v4(message, headers.l4),
            protocol::ICMPV6 => kind_v6(message, headers.l4),
            _ => None,
        };
        let Some(kind) = kind else { return Ok(None) };
        let ip = headers.l4 + ERROR_HEADER_BYTES;
        let inner = match headers.version {
            IpVersion::V4 => inner_v4(message, ip)?,
            IpVersion::V6 => inner_v6(message, ip)?,
        };
        Ok(inner.map(|inner| Self { kind, inner }))
    }
}

fn kind_v4(frame: &[u8], at: usize) -> Option<ErrorKind> {
    let code = *frame.get(at + 1)?;
    match *frame.get(at)? {
        type_v4::UNREACHABLE if code == type_v4::CODE_FRAGMENTATION_NEEDED => {
            Some(ErrorKind::TooBig { mtu: u32::from(be16(frame, at + 6)?) })
        }
        type_v4::UNREACHABLE => Some(ErrorKind::Unreachable { code }),
        type_v4::TIME_EXCEEDED => Some(ErrorKind::TimeExceeded),
        type_v4::PARAMETER_PROBLEM => Some(ErrorKind::ParameterProblem),
        _ => None,
    }
}

fn kind_v6(frame: &[u8], at: usize) -> Option<ErrorKind> {
    match *frame.get(at)? {
        type_v6::UNREACHABLE => Some(ErrorKind::Unreachable { code: *frame.get(at + 1)? }),
        type_v6::PACKET_TOO_BIG => Some(ErrorKind::TooBig { mtu: be32(frame, at + 4)? }),
        type_v6::TIME_EXCEEDED => Some(ErrorKind::TimeExceeded),
        type_v6::PARAMETER_PROBLEM => Some(ErrorKind::ParameterProblem),
        _ => None,
    }
}

fn inner_v4(frame: &[u8], ip: usize) -> Result<Option<Inner>, DropReason> {
    let packet = ipv4::Packet::new_checked(frame.get(ip..).ok_or(DropReason::Truncated)?)?;
    if packet.fragment_offset() != 0 {
        return Ok(None);
    }
    let addrs = (IpAddr::V4(packet.source()), IpAddr::V4(packet.destination()));
    inner_l4(frame, ip, ip + packet.header_len(), IpVersion::V4, packet.protocol(), addrs)
}

fn inner_v6(frame: &[u8], ip: usize) -> Result<Option<Inner>, DropReason> {
    let packet = ipv6::Packet::new_checked(frame.get(ip..).ok_or(DropReason::Truncated)?)?;
    let walk = ipv6::walk_extensions(frame, ip + ipv6::HEADER_BYTES, packet.next_header())?;
    if walk.fragment.is_some_and(|fragment| fragment.offset != 0) {
        return Ok(None);
    }
    let addrs = (IpAddr::V6(packet.source()), IpAddr::V6(packet.destination()));
    inner_l4(frame, ip, walk.l4, IpVersion::V6, walk.protocol, addrs)
}

fn inner_l4(
    frame: &[u8],
    ip: usize,
    l4: usize,
    version: IpVersion,
    protocol: u8,
    (source, destination): (IpAddr, IpAddr),
) -> Result<Option<Inner>, DropReason> {
    let protocol = match protocol {
        protocol::TCP => Protocol::Tcp,
        protocol::UDP => Protocol::Udp,
        _ => return Ok(None),
    };
    let ports = be32(frame, l4).ok_or(DropReason::Truncated)?;
    let second = be32(frame, l4 + 4).ok_or(DropReason::Truncated)?;
    let flow = FlowKey {
        protocol,
        source: Endpoint { addr: source, port: (ports >> 16) as u16 },
        destination: Endpoint { addr: destination, port: ports as u16 },
    };
    let seq = if protocol == Protocol::Tcp { second } else { 0 };
    Ok(Some(Inner { ip, l4, version, flow, seq }))
}

/// Writes the 8-byte header of an error into the front of `buffer` with a zero checksum; `None` when it does not
/// fit. `rest` is the second word: 0, or the MTU (for IPv4 in its lower half).
pub fn emit_error(buffer: &mut [u8], kind: u8, code: u8, rest: u32) -> Option<usize> {
    let header = buffer.first_chunk_mut::<ERROR_HEADER_BYTES>()?;
    header[0] = kind;
    header[1] = code;
    header[2..4].fill(0);
    header[4..].copy_from_slice(&rest.to_be_bytes());
    Some(ERROR_HEADER_BYTES)
}
