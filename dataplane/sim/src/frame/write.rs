//! A packet written as a frame.

use super::{Datagram, LinkHeader, Options, Packet, Payload, Segment, folded, pseudo_header_sum, sum};
use core::net::IpAddr;

/// The frame of a packet, with all lengths and checksums right.
pub fn write(packet: &Packet) -> Vec<u8> {
    let (protocol, body) = body(packet);
    let fragment = match &packet.payload {
        Payload::Fragment { protocol, id, offset, more, .. } => Some((*protocol, *id, *offset, *more)),
        _ => None,
    };
    let mut frame = Vec::with_capacity(64 + body.len());
    write_link(&packet.link, packet.source.is_ipv6(), &mut frame);
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let (id, flags) = fragment.map_or((0, 0x4000), |(_, id, offset, more)| {
                (id as u16, (offset / 8) | if more { 0x2000 } else { 0 })
            });
            let start = frame.len();
            frame.extend([0x45, 0]);
            frame.extend(((20 + body.len()) as u16).to_be_bytes());
            frame.extend(id.to_be_bytes());
            frame.extend(flags.to_be_bytes());
            frame.extend([packet.hop_limit, protocol, 0, 0]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
            let checksum = folded(sum(&frame[start..]));
            frame[start + 10..start + 12].copy_from_slice(&checksum.to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let extension = if fragment.is_some() { 8 } else { 0 };
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(((body.len() + extension) as u16).to_be_bytes());
            frame.extend([if extension > 0 { 44 } else { protocol }, packet.hop_limit]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
            if let Some((protocol, id, offset, more)) = fragment {
                frame.extend([protocol, 0]);
                frame.extend((offset | u16::from(more)).to_be_bytes());
                frame.extend(id.to_be_bytes());
            }
        }
        _ => unreachable!("both addresses of a packet are of one family"),
    }
    frame.extend(body);
    frame
}

/// A TCP segment or UDP datagram without its IP header, checksum included: what fragments are cut from.
pub fn body(packet: &Packet) -> (u8, Vec<u8>) {
    let (protocol, mut bytes, at) = match &packet.payload {
        Payload::Tcp(segment) => (6, segment_bytes(segment), 16),
        Payload::Udp(datagram) => (17, datagram_bytes(datagram), 6),
        Payload::Icmp { kind, code, rest } => {
            let protocol = if packet.source.is_ipv6() { 58 } else { 1 };
            (protocol, [&[*kind, *code, 0, 0], &rest[..]].concat(), 2)
        }
        Payload::Fragment { protocol, bytes, .. } => return (*protocol, bytes.clone()),
    };
    let pseudo = match protocol {
        1 => 0,
        _ => pseudo_header_sum(packet.source, packet.destination, protocol, bytes.len()),
    };
    let checksum = match folded(pseudo + sum(&bytes)) {
        // RFC 768: zero means "no checksum".
        0 if protocol == 17 => 0xffff,
        checksum => checksum,
    };
    bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    (protocol, bytes)
}

fn write_link(link: &LinkHeader, is_v6: bool, frame: &mut Vec<u8>) {
    frame.extend(link.destination);
    frame.extend(link.source);
    let outer: u16 = if link.vlans.len() > 1 { 0x88a8 } else { 0x8100 };
    for (index, vlan) in link.vlans.iter().enumerate() {
        let kind: u16 = if index == 0 { outer } else { 0x8100 };
        frame.extend(kind.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    let kind: u16 = if is_v6 { 0x86dd } else { 0x0800 };
    frame.extend(kind.to_be_bytes());
}

fn segment_bytes(segment: &Segment) -> Vec<u8> {
    let options = options_bytes(&segment.options);
    let header_len = 20 + options.len();
    let mut bytes = Vec::with_capacity(header_len + segment.data.len());
    bytes.extend(segment.source_port.to_be_bytes());
    bytes.extend(segment.destination_port.to_be_bytes());
    bytes.extend(segment.seq.to_be_bytes());
    bytes.extend(segment.ack.to_be_bytes());
    bytes.extend([(header_len as u8 / 4) << 4, segment.flags]);
    bytes.extend(segment.window.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(options);
    bytes.extend(&segment.data);
    bytes
}

fn options_bytes(options: &Options) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mss) = options.mss {
        bytes.extend([2, 4]);
        bytes.extend(mss.to_be_bytes());
    }
    if options.sack_permitted {
        bytes.extend([1, 1, 4, 2]);
    }
    if let Some((value, echo)) = options.timestamps {
        bytes.extend([1, 1, 8, 10]);
        bytes.extend(value.to_be_bytes());
        bytes.extend(echo.to_be_bytes());
    }
    if let Some(shift) = options.window_scale {
        bytes.extend([1, 3, 3, shift]);
    }
    // Three blocks fit beside timestamps, four without (RFC 2018 §3).
    let blocks = &options.sack[..options.sack.len().min(3)];
    if !blocks.is_empty() {
        bytes.extend([1, 1, 5, 2 + 8 * blocks.len() as u8]);
        for (left, right) in blocks {
            bytes.extend(left.to_be_bytes());
            bytes.extend(right.to_be_bytes());
        }
    }
    bytes
}

fn datagram_bytes(datagram: &Datagram) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + datagram.data.len());
    bytes.extend(datagram.source_port.to_be_bytes());
    bytes.extend(datagram.destination_port.to_be_bytes());
    bytes.extend(((8 + datagram.data.len()) as u16).to_be_bytes());
    bytes.extend([0; 2]);
    bytes.extend(&datagram.data);
    bytes
}
