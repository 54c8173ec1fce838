//! Frames as the simulation reads and writes them: with code of its own, so that a mistake of `net::wire` is seen.

use core::net::IpAddr;

/// Bytes of an Ethernet header.
pub(crate) const LINK_BYTES: usize = 14;

/// The two ends, as addresses and ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) client: IpAddr,
    pub(crate) server: IpAddr,
    pub(crate) client_port: u16,
    pub(crate) server_port: u16,
}

impl Ends {
    pub(crate) fn ip_header_len(&self) -> usize {
        if self.client.is_ipv4() { 20 } else { 40 }
    }
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}

fn pseudo_sum(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> u32 {
    sum(&octets(source)) + sum(&octets(destination)) + u32::from(protocol) + len as u32
}

/// Ethernet and IP around `payload`; `checksum_at` is where in it the checksum goes.
fn wrap(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8], checksum_at: usize) -> Vec<u8> {
    let mut payload = payload.to_vec();
    payload[checksum_at..checksum_at + 2].fill(0);
    // The checksum of ICMP for IPv4 has no pseudo header.
    let pseudo = if protocol == 1 { 0 } else { pseudo_sum(source, destination, protocol, payload.len()) };
    let checksum = !fold(pseudo + sum(&payload));
    payload[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    if source.is_ipv4() {
        frame.extend([8, 0]);
        let total = (20 + payload.len()) as u16;
        let mut ip = vec![0x45, 0];
        ip.extend(total.to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
        ip.extend(octets(source));
        ip.extend(octets(destination));
        let checksum = !fold(sum(&ip));
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        frame.extend(ip);
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((payload.len() as u16).to_be_bytes());
        frame.extend([protocol, 64]);
        frame.extend(octets(source));
        frame.extend(octets(destination));
    }
    frame.extend(payload);
    frame
}

/// A frame from the client with this TCP segment; the checksum is filled in.
pub(crate) fn from_client(ends: &Ends, segment: &[u8]) -> Vec<u8> {
    wrap(ends.client, ends.server, 6, segment, 16)
}

/// A frame from the server with this TCP segment; the checksum is filled in.
pub(crate) fn from_server(ends: &Ends, segment: &[u8]) -> Vec<u8> {
    wrap(ends.server, ends.client, 6, segment, 16)
}

/// A router's answer to `frame`, which came from the server: it does not fit `mtu`.
pub(crate) fn too_big(ends: &Ends, frame: &[u8], mtu: u16) -> Vec<u8> {
    let quoted = &frame[LINK_BYTES..(LINK_BYTES + ends.ip_header_len() + 8).min(frame.len())];
    let router = ends.client;
    let (kind, code, protocol) = if router.is_ipv4() { (3, 4, 1) } else { (2, 0, 58) };
    let mut message = vec![kind, code, 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(quoted);
    wrap(router, ends.server, protocol, &message, 2)
}

/// The TCP segment of a frame between these ends if both checksums are right; `is_from_client` tells the direction.
pub(crate) fn segment_of(ends: &Ends, frame: &[u8], is_from_client: bool) -> Option<Vec<u8>> {
    let (source, destination) =
        if is_from_client { (ends.client, ends.server) } else { (ends.server, ends.client) };
    let ip = frame.get(LINK_BYTES..)?;
    let segment = if source.is_ipv4() {
        let len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        if ip[0] != 0x45 || fold(sum(&ip[..20])) != 0xffff || ip[9] != 6 {
            return None;
        }
        ip.get(20..len)?
    } else {
        let len = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
        if ip[0] >> 4 != 6 || ip[6] != 6 {
            return None;
        }
        ip.get(40..40 + len)?
    };
    let pseudo = pseudo_sum(source, destination, 6, segment.len());
    (segment.len() >= 20 && fold(pseudo + sum(segment)) == 0xffff).then(|| segment.to_vec())
}

/// The fields of a segment that the checks look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// Bytes of payload.
    pub(crate) len: u32,
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;

pub(crate) fn fields(segment: &[u8]) -> Fields {
    let word =
        |at: usize| u32::from_be_bytes([segment[at], segment[at + 1], segment[at + 2], segment[at + 3]]);
    let header_len = usize::from(segment[12] >> 4) * 4;
    Fields {
        seq: word(4),
        ack: word(8),
        flags: segment[13],
        window: u16::from_be_bytes([segment[14], segment[15]]),
        len: (segment.len() - header_len) as u32,
    }
}

/// Moves the numbers of a segment: `seq` and, in what answers, `ack` with the SACK edges.
pub(crate) fn shift(segment: &mut [u8], seq: u32, ack: u32) {
    let add = |segment: &mut [u8], at: usize, by: u32| {
        let value = u32::from_be_bytes([segment[at], segment[at + 1], segment[at + 2], segment[at + 3]]);
        segment[at..at + 4].copy_from_slice(&value.wrapping_add(by).to_be_bytes());
    };
    add(segment, 4, seq);
    if segment[13] & ACK != 0 {
        add(segment, 8, ack);
    }
    let end = usize::from(segment[12] >> 4) * 4;
    let mut at = 20;
    while at < end {
        match segment[at] {
            0 => break,
            1 => at += 1,
            kind => {
                let len = usize::from(segment[at + 1]);
                if kind == 5 {
                    (at + 2..at + len).step_by(4).for_each(|edge| add(segment, edge, ack));
                }
                at += len;
            }
        }
    }
}
