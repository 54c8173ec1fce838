//! PROXY protocol version 2: tells a backend whom a connection or datagram is from.
//!
//! Owns: the header for TCP and UDP over IPv4 and IPv6, without TLVs, written and read. Does not own: where it is
//! put into a stream (`splice`, `udp`). Specification: haproxy `doc/proxy-protocol.txt`, section 2.2.
//!
//! ```text
//! | signature, 12 bytes | version 2, command | family, transport | length | source | destination | ports |
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::flow::{Endpoint, FlowKey, Protocol};

/// Bytes before the addresses.
const FIXED_BYTES: usize = 16;
/// Length of a header with IPv4 addresses.
pub const HEADER_BYTES_V4: usize = FIXED_BYTES + 2 * 4 + 2 * 2;
/// Length of a header with IPv6 addresses; the longest that is written here.
pub const HEADER_BYTES_MAX: usize = FIXED_BYTES + 2 * 16 + 2 * 2;

/// The twelve bytes that no other protocol starts with.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

const VERSION_2: u8 = 0x20;
const COMMAND_LOCAL: u8 = 0;
const COMMAND_PROXY: u8 = 1;
const FAMILY_INET: u8 = 0x10;
const FAMILY_INET6: u8 = 0x20;
const TRANSPORT_STREAM: u8 = 1;
const TRANSPORT_DGRAM: u8 = 2;

/// Length of the header for a flow whose addresses are of this family.
pub const fn header_len(source: IpAddr) -> usize {
    match source {
        IpAddr::V4(_) => HEADER_BYTES_V4,
        IpAddr::V6(_) => HEADER_BYTES_MAX,
    }
}

/// Writes the header for `key` (client to listener) and returns it. Addresses of two families, which no flow has,
/// are written as IPv6 with the IPv4 one mapped.
pub fn emit<'a>(key: &FlowKey, buffer: &'a mut [u8; HEADER_BYTES_MAX]) -> &'a [u8] {
    let transport = match key.protocol {
        Protocol::Tcp => TRANSPORT_STREAM,
        Protocol::Udp => TRANSPORT_DGRAM,
    };
    buffer[..12].copy_from_slice(&SIGNATURE);
    buffer[12] = VERSION_2 | COMMAND_PROXY;
    let (family, len) = match (key.source.addr, key.destination.addr) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            buffer[16..20].copy_from_slice(&source.octets());
            buffer[20..24].copy_from_slice(&destination.octets());
            (FAMILY_INET, HEADER_BYTES_V4)
        }
        (source, destination) => {
            buffer[16..32].copy_from_slice(&v6(source).octets());
            buffer[32..48].copy_from_slice(&v6(destination).octets());
            (FAMILY_INET6, HEADER_BYTES_MAX)
        }
    };
    buffer[13] = family | transport;
    buffer[14..16].copy_from_slice(&((len - FIXED_BYTES) as u16).to_be_bytes());
    buffer[len - 4..len - 2].copy_from_slice(&key.source.port.to_be_bytes());
    buffer[len - 2..len].copy_from_slice(&key.destination.port.to_be_bytes());
    &buffer[..len]
}

fn v6(addr: IpAddr) -> Ipv6Addr {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped(),
        IpAddr::V6(addr) => addr,
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The proxy speaks for itself (health check), or names a family that is not IP.
    Local,
    /// The flow is from this client to this listener.
    Proxied(FlowKey),
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// More bytes are needed.
    Incomplete,
    /// No more bytes can make it a header.
    Invalid,
}

/// Reads a header from the front of `bytes`; answers with its meaning and its length, TLVs included.
///
/// # Errors
/// [`ParseError`].
pub fn parse(bytes: &[u8]) -> Result<(Message, usize), ParseError> {
    let signature_len = bytes.len().min(SIGNATURE.len());
    if bytes[..signature_len] != SIGNATURE[..signature_len] {
        return Err(ParseError::Invalid);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Err(ParseError::Incomplete);
    };
    let body_len = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let command = fixed[12] ^ VERSION_2;
    if command > COMMAND_PROXY {
        return Err(ParseError::Invalid);
    }
    let body = rest.get(..body_len).ok_or(ParseError::Incomplete)?;
    let len = FIXED_BYTES + body_len;
    if command == COMMAND_LOCAL {
        return Ok((Message::Local, len));
    }
    let protocol = match fixed[13] & 0x0f {
        TRANSPORT_STREAM => Protocol::Tcp,
        TRANSPORT_DGRAM => Protocol::Udp,
        0 => return Ok((Message::Local, len)),
        _ => return Err(ParseError::Invalid),
    };
    let key = match fixed[13] & 0xf0 {
        FAMILY_INET => addresses(protocol, body, |bytes: &[u8; 4]| Ipv4Addr::from(*bytes).into()),
        FAMILY_INET6 => addresses(protocol, body, |bytes: &[u8; 16]| Ipv6Addr::from(*bytes).into()),
        0x00 | 0x30 => return Ok((Message::Local, len)),
        _ => None,
    };
    key.map(|key| (Message::Proxied(key), len)).ok_or(ParseError::Invalid)
}

fn addresses<const N: usize>(
    protocol: Protocol,
    body: &[u8],
    addr: impl Fn(&[u8; N]) -> IpAddr,
) -> Option<FlowKey> {
    let (source, rest) = body.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let ports = rest.first_chunk::<4>()?;
    Some(FlowKey {
        protocol,
        source: Endpoint { addr: addr(source), port: u16::from_be_bytes([ports[0], ports[1]]) },
        destination: Endpoint { addr: addr(destination), port: u16::from_be_bytes([ports[2], ports[3]]) },
    })
}

/// Body of the fuzz target `net_proxy_protocol`: any bytes, and what was read is written back the same.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    if let Ok((message, len)) = parse(bytes) {
        assert!(len <= bytes.len());
        if let Message::Proxied(key) = message {
            let mut buffer = [0; HEADER_BYTES_MAX];
            let written = emit(&key, &mut buffer);
            assert_eq!(parse(written), Ok((message, written.len())));
            assert!(written.len() <= len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(protocol: Protocol, source: &str, destination: &str) -> FlowKey {
        let source: core::net::SocketAddr = source.parse().unwrap();
        let destination: core::net::SocketAddr = destination.parse().unwrap();
        FlowKey {
            protocol,
            source: Endpoint { addr: source.ip(), port: source.port() },
            destination: Endpoint { addr: destination.ip(), port: destination.port() },
        }
    }

    #[test]
    fn tcp4_header_has_the_bytes_of_the_specification() {
        let mut buffer = [0; HEADER_BYTES_MAX];
        let written = emit(&key(Protocol::Tcp, "192.0.2.7:56324", "198.51.100.1:443"), &mut buffer);
        let golden = [
            0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, // signature
            0x21, 0x11, 0x00, 0x0c, // version 2 PROXY, TCP over IPv4, 12 bytes
            192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb,
        ];
        assert_eq!(written, golden);
    }

    #[test]
    fn every_family_and_transport_reads_back() {
        let keys = [
            (0x11, key(Protocol::Tcp, "192.0.2.7:1", "198.51.100.1:2")),
            (0x12, key(Protocol::Udp, "192.0.2.7:1", "198.51.100.1:53")),
            (0x21, key(Protocol::Tcp, "[2001:db8::1]:65535", "[2001:db8::2]:2")),
            (0x22, key(Protocol::Udp, "[2001:db8::1]:1", "[2001:db8::2]:443")),
        ];
        for (code, key) in keys {
            let mut buffer = [0; HEADER_BYTES_MAX];
            let written = emit(&key, &mut buffer).to_vec();
            assert_eq!(written[13], code);
            assert_eq!(written.len(), header_len(key.source.addr));
            assert_eq!(parse(&written), Ok((Message::Proxied(key), written.len())));
            for cut in 0..written.len() {
                assert_eq!(parse(&written[..cut]), Err(ParseError::Incomplete), "cut at {cut}");
            }
        }
    }

    #[test]
    fn tlvs_are_counted_and_skipped() {
        let mut buffer = [0; HEADER_BYTES_MAX];
        let key = key(Protocol::Tcp, "192.0.2.7:1", "198.51.100.1:2");
        let mut bytes = emit(&key, &mut buffer).to_vec();
        bytes.extend([0x04, 0, 1, 0, b'G']);
        bytes[15] += 4;
        assert_eq!(parse(&bytes), Ok((Message::Proxied(key), HEADER_BYTES_V4 + 4)));
    }

    #[test]
    fn local_and_unknown_families_carry_no_client() {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0x20, 0x00, 0, 0]);
        assert_eq!(parse(&bytes), Ok((Message::Local, 16)));
        bytes[12] = 0x21;
        assert_eq!(parse(&bytes), Ok((Message::Local, 16)));
        bytes[13] = 0x11;
        assert_eq!(parse(&bytes), Err(ParseError::Invalid), "no room for the addresses");
        bytes[12] = 0x11;
        assert_eq!(parse(&bytes), Err(ParseError::Invalid), "version 1");
        assert_eq!(parse(b"GET / HTTP/1.1"), Err(ParseError::Invalid));
    }
}
