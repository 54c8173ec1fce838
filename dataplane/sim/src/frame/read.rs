//! A frame read as a packet, with nothing taken on trust.

use super::{Datagram, LinkHeader, Options, Packet, Payload, Segment, folded, pseudo_header_sum, sum};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a frame cannot be read: a host would drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not IP, or a protocol no simulated host speaks.
    Foreign,
    /// It ends too early, or a length is impossible.
    Length,
    /// The IPv4 header checksum is wrong.
    IpChecksum,
    /// The checksum of the TCP, UDP or ICMP part is wrong.
    BodyChecksum,
    /// A TCP option is broken.
    Option,
}

/// Reads a frame.
///
/// # Errors
/// When a host would drop it, see [`Unreadable`].
pub fn read(frame: &[u8]) -> Result<Packet, Unreadable> {
    let (link, is_v6, ip) = read_link(frame)?;
    if is_v6 { read_v6(link, ip) } else { read_v4(link, ip) }
}

fn take(bytes: &[u8], len: usize) -> Result<(&[u8], &[u8]), Unreadable> {
    bytes.split_at_checked(len).ok_or(Unreadable::Length)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn read_link(frame: &[u8]) -> Result<(LinkHeader, bool, &[u8]), Unreadable> {
    let (addresses, mut rest) = take(frame, 12)?;
    let mut vlans = Vec::new();
    loop {
        let (kind, after) = take(rest, 2)?;
        rest = after;
        match u16_at(kind, 0) {
            0x8100 | 0x88a8 if vlans.len() < 2 => {
                let (tag, after) = take(rest, 2)?;
                vlans.push(u16_at(tag, 0) & 0x0fff);
                rest = after;
            }
            kind @ (0x0800 | 0x86dd) => {
                let mut link = LinkHeader { destination: [0; 6], source: [0; 6], vlans };
                link.destination.copy_from_slice(&addresses[..6]);
                link.source.copy_from_slice(&addresses[6..]);
                return Ok((link, kind == 0x86dd, rest));
            }
            _ => return Err(Unreadable::Foreign),
        }
    }
}

fn read_v4(link: LinkHeader, ip: &[u8]) -> Result<Packet, Unreadable> {
    let (fixed, _) = take(ip, 20)?;
    let header_len = usize::from(fixed[0] & 0x0f) * 4;
    let total_len = usize::from(u16_at(fixed, 2));
    if fixed[0] >> 4 != 4 || header_len < 20 || total_len < header_len {
        return Err(Unreadable::Length);
    }
    let (packet, _padding) = take(ip, total_len)?;
    let (header, body) = take(packet, header_len)?;
    if folded(sum(header)) != 0 {
        return Err(Unreadable::IpChecksum);
    }
    let address = |at: usize| IpAddr::V4(Ipv4Addr::from(u32_at(header, at)));
    let (source, destination) = (address(12), address(16));
    let fragment = u16_at(header, 6);
    let (offset, more) = ((fragment & 0x1fff) * 8, fragment & 0x2000 != 0);
    let payload = if offset != 0 || more {
        let id = u32::from(u16_at(header, 4));
        Payload::Fragment { protocol: header[9], id, offset, more, bytes: body.to_vec() }
    } else {
        read_body(source, destination, header[9], body)?
    };
    Ok(Packet { link, source, destination, hop_limit: header[8], payload })
}

fn read_v6(link: LinkHeader, ip: &[u8]) -> Result<Packet, Unreadable> {
    let (header, rest) = take(ip, 40)?;
    if header[0] >> 4 != 6 {
        return Err(Unreadable::Length);
    }
    let (body, _padding) = take(rest, usize::from(u16_at(header, 4)))?;
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let (source, destination) = (address(8), address(24));
    let payload = if header[6] == 44 {
        let (extension, bytes) = take(body, 8)?;
        let offset = u16_at(extension, 2);
        Payload::Fragment {
            protocol: extension[0],
            id: u32_at(extension, 4),
            offset: offset & !7,
            more: offset & 1 != 0,
            bytes: bytes.to_vec(),
        }
    } else {
        read_body(source, destination, header[6], body)?
    };
    Ok(Packet { link, source, destination, hop_limit: header[7], payload })
}

/// Reads what an unfragmented or reassembled packet carries.
///
/// # Errors
/// As [`read`].
pub fn read_body(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    body: &[u8],
) -> Result<Payload, Unreadable> {
    let pseudo = if protocol == 1 { 0 } else { pseudo_header_sum(source, destination, protocol, body.len()) };
    let has_checksum = !(protocol == 17 && body.len() >= 8 && u16_at(body, 6) == 0 && source.is_ipv4());
    if has_checksum && folded(pseudo + sum(body)) != 0 {
        return Err(Unreadable::BodyChecksum);
    }
    match protocol {
        6 => read_segment(body).map(Payload::Tcp),
        17 => read_datagram(body).map(Payload::Udp),
        1 | 58 => {
            let (header, rest) = take(body, 4)?;
            Ok(Payload::Icmp { kind: header[0], code: header[1], rest: rest.to_vec() })
        }
        _ => Err(Unreadable::Foreign),
    }
}

fn read_segment(body: &[u8]) -> Result<Segment, Unreadable> {
    let (fixed, _) = take(body, 20)?;
    let header_len = usize::from(fixed[12] >> 4) * 4;
    if header_len < 20 {
        return Err(Unreadable::Length);
    }
    let (header, data) = take(body, header_len)?;
    Ok(Segment {
        source_port: u16_at(header, 0),
        destination_port: u16_at(header, 2),
        seq: u32_at(header, 4),
        ack: u32_at(header, 8),
        flags: header[13],
        window: u16_at(header, 14),
        options: read_options(&header[20..])?,
        data: data.to_vec(),
    })
}

fn read_options(mut bytes: &[u8]) -> Result<Options, Unreadable> {
    let mut options = Options::default();
    while let Some(&kind) = bytes.first() {
        if kind == 0 {
            break;
        }
        if kind == 1 {
            bytes = &bytes[1..];
            continue;
        }
        let len = usize::from(*bytes.get(1).ok_or(Unreadable::Option)?);
        if len < 2 || len > bytes.len() {
            return Err(Unreadable::Option);
        }
        let (option, rest) = bytes.split_at(len);
        bytes = rest;
        match (kind, len) {
            (2, 4) => options.mss = Some(u16_at(option, 2)),
            (3, 3) => options.window_scale = Some(option[2]),
            (4, 2) => options.sack_permitted = true,
            (8, 10) => options.timestamps = Some((u32_at(option, 2), u32_at(option, 6))),
            (5, _) if (len - 2).is_multiple_of(8) => {
                let blocks = option[2..].chunks(8);
                options.sack = blocks.map(|block| (u32_at(block, 0), u32_at(block, 4))).collect();
            }
            (2..=5 | 8, _) => return Err(Unreadable::Option),
            _ => {}
        }
    }
    Ok(options)
}

fn read_datagram(body: &[u8]) -> Result<Datagram, Unreadable> {
    let (header, _) = take(body, 8)?;
    let len = usize::from(u16_at(header, 4));
    if len < 8 || len > body.len() {
        return Err(Unreadable::Length);
    }
    Ok(Datagram {
        source_port: u16_at(header, 0),
        destination_port: u16_at(header, 2),
        data: body[8..len].to_vec(),
    })
}
