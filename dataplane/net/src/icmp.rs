//! ICMP errors that we send: built from nothing, or passed on for a flow with addresses translated.
//!
//! Owns: the message with its quoted packet ([`emit`]), bounds on path MTUs ([`mtu_for`]). Does not own: reading
//! errors (`wire::icmp`), which flow they concern (`splice`, `udp`), echo and neighbour discovery (the kernel).
//! RFC 792, 1191, 4443, 5927 (attacks), 8201. The quote holds the IP header and 8 bytes of L4: what RFC 792 asks
//! for and what every stack needs to find its socket.

use core::net::IpAddr;

use crate::egress::{self, Egress, HOP_LIMIT, ip_header_len};
use crate::flow::FlowKey;
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::wire::checksum::{self, Sum};
use crate::wire::icmp::{ERROR_HEADER_BYTES, ErrorKind, type_v4, type_v6};
use crate::wire::{ipv4, ipv6, protocol};

/// Least IPv4 path MTU that is believed. Linux's `min_pmtu`: below it a forged error would only make the sender
/// cut its data to crumbs (RFC 5927 §7).
pub const MTU_V4_MIN: u32 = 552;
/// Least IPv6 path MTU (RFC 8200 §5); an error that says less is not believed (RFC 8201 §4).
pub const MTU_V6_MIN: u32 = ipv6::MTU_BYTES_MIN as u32;

/// Bytes of the L4 header in the quote.
const QUOTE_L4_BYTES: usize = 8;

/// The packet that an error is about, as its sender sent it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quote {
    /// Its flow, in the direction in which it was sent.
    pub(crate) key: FlowKey,
    /// Second word of its L4 header: the TCP sequence number, or UDP length and checksum.
    pub(crate) second: u32,
    /// Bytes after its IP header.
    pub(crate) payload_len: u16,
}

/// Writes an error for the sender of `quote` into `packet` and returns the port. It comes from the address that the
/// packet was sent to. `None` when it does not fit or is of no kind that we pass on.
pub(crate) fn emit(
    packet: &mut PacketBuf<'_>,
    link: &Link,
    kind: ErrorKind,
    quote: &Quote,
) -> Option<PortId> {
    let (source, destination) = (quote.key.destination.addr, quote.key.source.addr);
    let (message, code, rest) = match destination {
        IpAddr::V4(_) => code_v4(kind),
        IpAddr::V6(_) => code_v6(kind),
    }?;
    let quote_len = ip_header_len(destination) + QUOTE_L4_BYTES;
    let len = ERROR_HEADER_BYTES + quote_len;
    let protocol = if destination.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
    let egress = Egress { link, source, destination, hop_limit: HOP_LIMIT, may_fragment: false };
    let at = egress::emit(packet, &egress, protocol, 0, len)?;
    let bytes = packet.bytes_mut().get_mut(at..)?;
    crate::wire::icmp::emit_error(bytes, message, code, rest)?;
    emit_quote(bytes.get_mut(ERROR_HEADER_BYTES..)?, quote)?;
    let pseudo = match destination {
        IpAddr::V4(_) => Sum::ZERO,
        IpAddr::V6(_) => checksum::pseudo(source, destination, protocol, len),
    };
    let sum = pseudo.add_bytes(bytes).checksum();
    bytes.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    Some(link.port)
}

fn emit_quote(buffer: &mut [u8], quote: &Quote) -> Option<()> {
    let key = &quote.key;
    let protocol = key.protocol as u8;
    let payload_len = quote.payload_len;
    let at = match (key.source.addr, key.destination.addr) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => ipv4::Repr {
            source,
            destination,
            protocol,
            payload_len,
            ttl: HOP_LIMIT,
            dscp_ecn: 0,
            ident: 0,
            dont_fragment: true,
        }
        .emit(buffer)?,
        (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6::Repr {
            source,
            destination,
            next_header: protocol,
            payload_len,
            hop_limit: HOP_LIMIT,
            traffic_class: 0,
            flow_label: 0,
        }
        .emit(buffer)?,
        _ => return None,
    };
    let l4 = buffer.get_mut(at..)?.first_chunk_mut::<QUOTE_L4_BYTES>()?;
    l4[..2].copy_from_slice(&key.source.port.to_be_bytes());
    l4[2..4].copy_from_slice(&key.destination.port.to_be_bytes());
    l4[4..].copy_from_slice(&quote.second.to_be_bytes());
    Some(())
}

/// Type, code and second word of an ICMPv4 error. Parameter problems are about header fields that end with us.
fn code_v4(kind: ErrorKind) -> Option<(u8, u8, u32)> {
    match kind {
        ErrorKind::TooBig { mtu } => {
            Some((type_v4::UNREACHABLE, type_v4::CODE_FRAGMENTATION_NEEDED, mtu.min(0xffff)))
        }
        ErrorKind::Unreachable { code } => Some((type_v4::UNREACHABLE, code, 0)),
        ErrorKind::TimeExceeded => Some((type_v4::TIME_EXCEEDED, 0, 0)),
        ErrorKind::ParameterProblem => None,
    }
}

fn code_v6(kind: ErrorKind) -> Option<(u8, u8, u32)> {
    match kind {
        ErrorKind::TooBig { mtu } => Some((type_v6::PACKET_TOO_BIG, 0, mtu)),
        ErrorKind::Unreachable { code } => Some((type_v6::UNREACHABLE, code, 0)),
        ErrorKind::TimeExceeded => Some((type_v6::TIME_EXCEEDED, 0, 0)),
        ErrorKind::ParameterProblem => None,
    }
}

/// An error of one family as the other family says it (RFC 7915 §4.2 and §5.2, the cases that occur here).
pub(crate) fn translate_kind(kind: ErrorKind, from_v6: bool, to_v6: bool) -> ErrorKind {
    match kind {
        ErrorKind::Unreachable { code } if from_v6 != to_v6 => {
            let code = match (to_v6, code) {
                (true, 3) => 4,
                (true, 9 | 10 | 13) => 1,
                (true, _) => 0,
                (false, 4) => 3,
                (false, 1) => 10,
                (false, _) => 1,
            };
            ErrorKind::Unreachable { code }
        }
        kind => kind,
    }
}

/// The MTU to tell a sender of family `to`, when a link on the other side, of family `from`, carries `mtu` bytes:
/// corrected for the difference of the IP headers and bounded. `None` when it must not be believed.
pub(crate) fn mtu_for(mtu: u32, from: IpAddr, to: IpAddr) -> Option<u32> {
    let mtu = match from {
        IpAddr::V4(_) => mtu.max(MTU_V4_MIN),
        IpAddr::V6(_) if mtu < MTU_V6_MIN => return None,
        IpAddr::V6(_) => mtu,
    };
    Some(match (from, to) {
        (IpAddr::V4(_), IpAddr::V6(_)) => (mtu + 20).max(MTU_V6_MIN),
        (IpAddr::V6(_), IpAddr::V4(_)) => mtu - 20,
        _ => mtu,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Endpoint, Protocol};
    use crate::wire::{self, icmp::Error};

    fn quote(source: &str, destination: &str) -> Quote {
        let endpoint = |text: &str, port| Endpoint { addr: text.parse().unwrap(), port };
        let key = FlowKey {
            protocol: Protocol::Tcp,
            source: endpoint(source, 4000),
            destination: endpoint(destination, 80),
        };
        Quote { key, second: 0x0102_0304, payload_len: 1480 }
    }

    #[test]
    fn error_reads_back_in_both_families() {
        let header = [0; 14];
        let link = Link::new(PortId(1), 1500, &header).unwrap();
        for quote in [quote("10.0.0.1", "10.0.0.2"), quote("2001:db8::1", "2001:db8::2")] {
            for kind in
                [ErrorKind::TooBig { mtu: 1400 }, ErrorKind::Unreachable { code: 3 }, ErrorKind::TimeExceeded]
            {
                let mut memory = [0; 300];
                let mut packet = PacketBuf::new(&mut memory, 20, 0);
                assert_eq!(emit(&mut packet, &link, kind, &quote), Some(PortId(1)));
                let headers = wire::parse(packet.bytes()).unwrap();
                let checksum = checksum::verify_l4(&headers, packet.bytes());
                assert_eq!(checksum, checksum::L4Checksum::Valid);
                assert_eq!(headers.destination, quote.key.source.addr);
                let error = Error::parse(packet.bytes(), &headers).unwrap().unwrap();
                assert_eq!(error.kind, kind);
                assert_eq!((error.inner.flow, error.inner.seq), (quote.key, quote.second));
            }
        }
    }

    #[test]
    fn path_mtu_is_bounded_and_corrected_between_families() {
        let v4 = IpAddr::from([10, 0, 0, 1]);
        let v6: IpAddr = "::1".parse().unwrap();
        assert_eq!(mtu_for(1400, v4, v4), Some(1400));
        assert_eq!(mtu_for(0, v4, v4), Some(552));
        assert_eq!(mtu_for(68, v4, v6), Some(1280));
        assert_eq!(mtu_for(1400, v4, v6), Some(1420));
        assert_eq!(mtu_for(1400, v6, v4), Some(1380));
        assert_eq!(mtu_for(1279, v6, v6), None, "would make the sender use atomic fragments");
    }
}
