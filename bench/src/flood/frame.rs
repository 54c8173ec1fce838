//! Forged frames: templates of each kind, and filling in what differs from packet to packet.
//!
//! Built here from the RFCs (791, 8200, 9293, 768) and not with the product's own header code, so that both
//! would have to be wrong in the same way for a mistake to stay hidden.

use std::net::IpAddr;

use super::Kind;

const ETHERNET_BYTES: usize = 14;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6_FRAGMENT: u8 = 44;

/// TCP flag bits.
pub(crate) mod flag {
    /// SYN
    pub(crate) const SYN: u8 = 0x02;
    /// RST
    pub(crate) const RST: u8 = 0x04;
    /// ACK
    pub(crate) const ACK: u8 = 0x10;
}

/// Everything about a frame that does not come from its kind.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// Link-layer source.
    pub(crate) mac_source: [u8; 6],
    /// Link-layer destination: the next hop.
    pub(crate) mac_destination: [u8; 6],
    /// IP source.
    pub(crate) source: IpAddr,
    /// IP destination, of the same family.
    pub(crate) destination: IpAddr,
    /// Source port.
    pub(crate) source_port: u16,
    /// Destination port.
    pub(crate) destination_port: u16,
}

/// The TCP part of a frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segment<'a> {
    /// Flag bits, see [`flag`].
    pub(crate) flags: u8,
    /// Sequence number.
    pub(crate) sequence: u32,
    /// Acknowledgement number.
    pub(crate) acknowledgement: u32,
    /// Window field.
    pub(crate) window: u16,
    /// Options, a multiple of 4 bytes.
    pub(crate) options: &'a [u8],
    /// Data.
    pub(crate) payload: &'a [u8],
}

/// What a Linux client offers: MSS 1460, SACK permitted, timestamps, window scale 7.
pub(crate) const SYN_OPTIONS: [u8; 20] =
    [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0, 1, 3, 3, 7];

/// The frames of a flood of `kind`: one, or a few that are sent in turn.
pub(crate) fn templates(kind: Kind, addresses: &Addresses) -> Vec<Vec<u8>> {
    let segment = |flags, options| Segment {
        flags,
        sequence: 0x1000_0000,
        acknowledgement: if flags & flag::ACK != 0 { 0x2000_0000 } else { 0 },
        window: 64240,
        options,
        payload: &[],
    };
    match kind {
        Kind::Syn => vec![tcp(addresses, &segment(flag::SYN, &SYN_OPTIONS))],
        Kind::Ack => vec![tcp(addresses, &segment(flag::ACK, &[]))],
        Kind::Rst => vec![tcp(addresses, &segment(flag::RST, &[]))],
        Kind::Udp => vec![udp(addresses, &[0x55; 32])],
        // First and middle pieces of segments whose last piece never comes.
        Kind::Fragment => vec![fragment(addresses, 0), fragment(addresses, 64), fragment(addresses, 512)],
    }
}

/// A TCP frame with right checksums.
pub(crate) fn tcp(addresses: &Addresses, segment: &Segment<'_>) -> Vec<u8> {
    let header_len = 20 + segment.options.len();
    let mut l4 = Vec::with_capacity(header_len + segment.payload.len());
    l4.extend_from_slice(&addresses.source_port.to_be_bytes());
    l4.extend_from_slice(&addresses.destination_port.to_be_bytes());
    l4.extend_from_slice(&segment.sequence.to_be_bytes());
    l4.extend_from_slice(&segment.acknowledgement.to_be_bytes());
    l4.extend_from_slice(&[(header_len as u8 / 4) << 4, segment.flags]);
    l4.extend_from_slice(&segment.window.to_be_bytes());
    l4.extend_from_slice(&[0; 4]);
    l4.extend_from_slice(segment.options);
    l4.extend_from_slice(segment.payload);
    finish(addresses, TCP, 16, l4)
}

/// A UDP frame with right checksums.
pub(crate) fn udp(addresses: &Addresses, payload: &[u8]) -> Vec<u8> {
    let mut l4 = Vec::with_capacity(8 + payload.len());
    l4.extend_from_slice(&addresses.source_port.to_be_bytes());
    l4.extend_from_slice(&addresses.destination_port.to_be_bytes());
    l4.extend_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    l4.extend_from_slice(&[0; 2]);
    l4.extend_from_slice(payload);
    finish(addresses, UDP, 6, l4)
}

/// A piece of a TCP segment, 64 bytes at `offset`, with more to come (RFC 791 §3.2, RFC 8200 §4.5).
fn fragment(addresses: &Addresses, offset: u16) -> Vec<u8> {
    let mut piece = vec![0xaa; 64];
    if offset == 0 {
        piece[..2].copy_from_slice(&addresses.source_port.to_be_bytes());
        piece[2..4].copy_from_slice(&addresses.destination_port.to_be_bytes());
        piece[12..14].copy_from_slice(&[0x50, flag::ACK]);
    }
    let mut frame = if addresses.source.is_ipv4() {
        ip(addresses, TCP, &piece)
    } else {
        let mut with_header = vec![TCP, 0];
        with_header.extend_from_slice(&(offset | 1).to_be_bytes());
        with_header.extend_from_slice(&[0; 4]);
        with_header.extend_from_slice(&piece);
        ip(addresses, IPV6_FRAGMENT, &with_header)
    };
    if addresses.source.is_ipv4() {
        frame[ETHERNET_BYTES + 6..ETHERNET_BYTES + 8].copy_from_slice(&(0x2000 | (offset / 8)).to_be_bytes());
        set_ipv4_checksum(&mut frame);
    }
    frame
}

fn finish(addresses: &Addresses, protocol: u8, checksum_at: usize, mut l4: Vec<u8>) -> Vec<u8> {
    let pseudo = pseudo_sum(addresses.source, addresses.destination, protocol, l4.len());
    let checksum = match !fold(pseudo + sum(&l4)) {
        0 if protocol == UDP => 0xffff,
        checksum => checksum,
    };
    l4[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
    ip(addresses, protocol, &l4)
}

fn ip(addresses: &Addresses, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_BYTES + 40 + payload.len());
    frame.extend_from_slice(&addresses.mac_destination);
    frame.extend_from_slice(&addresses.mac_source);
    match (addresses.source, addresses.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend_from_slice(&[0x08, 0x00, 0x45, 0]);
            frame.extend_from_slice(&(20 + payload.len() as u16).to_be_bytes());
            frame.extend_from_slice(&[0, 0, 0, 0, 64, protocol, 0, 0]);
            frame.extend_from_slice(&source.octets());
            frame.extend_from_slice(&destination.octets());
            set_ipv4_checksum(&mut frame);
        }
        (source, destination) => {
            let v6 = |address: IpAddr| match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            frame.extend_from_slice(&[protocol, 64]);
            frame.extend_from_slice(&v6(source));
            frame.extend_from_slice(&v6(destination));
        }
    }
    frame.extend_from_slice(payload);
    frame
}

fn set_ipv4_checksum(frame: &mut [u8]) {
    let header = &mut frame[ETHERNET_BYTES..ETHERNET_BYTES + 20];
    header[10..12].copy_from_slice(&[0; 2]);
    let checksum = !fold(sum(header));
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Sum of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1).
fn pseudo_sum(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> u64 {
    let address = |address| match address {
        IpAddr::V4(v4) => sum(&v4.octets()),
        IpAddr::V6(v6) => sum(&v6.octets()),
    };
    address(source) + address(destination) + u64::from(protocol) + len as u64
}

/// Sum of 16-bit words, big endian, not folded; an odd last byte is padded (RFC 1071).
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let words: u64 = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum();
    words + rest.first().map_or(0, |&last| u64::from(last) << 8)
}

/// Folds a sum to 16 bits.
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(family: u8) -> Addresses {
        let (source, destination) = if family == 4 {
            ("10.10.1.2".parse().unwrap(), "10.99.0.1".parse().unwrap())
        } else {
            ("fd00:10:1::2".parse().unwrap(), "fd99::1".parse().unwrap())
        };
        Addresses {
            mac_source: [2, 0, 0, 0, 0, 1],
            mac_destination: [2, 0, 0, 0, 0, 2],
            source,
            destination,
            source_port: 4000,
            destination_port: 80,
        }
    }

    /// Verifies as a receiver does: the sum over pseudo-header and segment is all ones.
    fn l4_is_valid(frame: &[u8], family: u8, protocol: u8) -> bool {
        let at = ETHERNET_BYTES + if family == 4 { 20 } else { 40 };
        let addresses = addresses(family);
        let pseudo = pseudo_sum(addresses.source, addresses.destination, protocol, frame.len() - at);
        fold(pseudo + sum(&frame[at..])) == 0xffff
    }

    #[test]
    fn every_template_has_right_checksums_in_both_families() {
        for family in [4, 6] {
            for (kind, protocol) in [(Kind::Syn, TCP), (Kind::Ack, TCP), (Kind::Rst, TCP), (Kind::Udp, UDP)] {
                for frame in templates(kind, &addresses(family)) {
                    assert!(l4_is_valid(&frame, family, protocol), "{kind:?} IPv{family}");
                }
            }
            for frame in Kind::ALL.iter().flat_map(|&kind| templates(kind, &addresses(family))) {
                if family == 4 {
                    assert_eq!(fold(sum(&frame[ETHERNET_BYTES..ETHERNET_BYTES + 20])), 0xffff);
                } else {
                    let payload = u16::from_be_bytes([frame[18], frame[19]]);
                    assert_eq!(usize::from(payload), frame.len() - ETHERNET_BYTES - 40);
                }
            }
        }
    }

    #[test]
    fn fragments_never_end_their_datagram() {
        for frame in templates(Kind::Fragment, &addresses(4)) {
            assert_ne!(frame[ETHERNET_BYTES + 6] & 0x20, 0);
        }
        for frame in templates(Kind::Fragment, &addresses(6)) {
            assert_eq!(frame[ETHERNET_BYTES + 6], IPV6_FRAGMENT);
            assert_eq!(frame[ETHERNET_BYTES + 40 + 3] & 1, 1);
        }
    }
}
