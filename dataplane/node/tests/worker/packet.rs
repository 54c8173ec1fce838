//! Segments and datagrams as tests write them; IPv4 only.

#![allow(dead_code, reason = "shared by the tests and by an example; neither uses all of it")]

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use secbeat_net::wire::checksum::{L4Checksum, complete_l4, verify_l4};
use secbeat_net::wire::ethernet::{self, MacAddr, ether_type};
use secbeat_net::wire::tcp::{self, Flags, SynOptions, Timestamps};
use secbeat_net::wire::{self, ipv4, protocol, udp};

/// A TCP segment and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) flags: Flags,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) timestamps: Option<Timestamps>,
    pub(crate) mss: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    pub(crate) payload: Vec<u8>,
}

impl Segment {
    pub(crate) fn new(source: SocketAddr, destination: SocketAddr, flags: Flags, seq: u32, ack: u32) -> Self {
        Self {
            source,
            destination,
            flags,
            seq,
            ack,
            window: 64_000,
            timestamps: None,
            mss: None,
            window_scale: None,
            sack_permitted: false,
            payload: Vec::new(),
        }
    }

    /// With the options of a Linux SYN.
    pub(crate) fn with_syn_options(mut self, clock: u32) -> Self {
        self.mss = Some(1_460);
        self.window_scale = Some(7);
        self.sack_permitted = true;
        self.timestamps = Some(Timestamps { value: clock, echo: 0 });
        self
    }

    pub(crate) fn with_payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    pub(crate) fn with_timestamps(mut self, value: u32, echo: u32) -> Self {
        self.timestamps = Some(Timestamps { value, echo });
        self
    }

    pub(crate) fn frame(&self, source: [u8; 6], destination: [u8; 6]) -> Vec<u8> {
        let mut options = [0; tcp::OPTIONS_BYTES_MAX];
        let len = SynOptions {
            mss: self.mss,
            window_scale: self.window_scale,
            sack_permitted: self.sack_permitted,
            timestamps: self.timestamps,
        }
        .emit(&mut options);
        let mut l4 = vec![0; tcp::HEADER_BYTES_MAX + self.payload.len()];
        let header = tcp::Repr {
            source_port: self.source.port(),
            destination_port: self.destination.port(),
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
        };
        let at = header.emit(&mut l4, &options[..len]).expect("room");
        l4[at..at + self.payload.len()].copy_from_slice(&self.payload);
        l4.truncate(at + self.payload.len());
        packet(self.source, self.destination, protocol::TCP, &l4, source, destination)
    }

    /// Parses a frame that a worker sent; its checksums must be right.
    pub(crate) fn parse(frame: &[u8]) -> Self {
        let headers = wire::parse(frame).expect("a packet");
        assert_eq!(verify_l4(&headers, frame), L4Checksum::Valid, "TCP checksum");
        let segment = tcp::Segment::new_checked(&frame[headers.l4..headers.end]).expect("a segment");
        let options = segment.options().expect("options");
        Self {
            source: SocketAddr::new(headers.source, headers.source_port),
            destination: SocketAddr::new(headers.destination, headers.destination_port),
            flags: segment.flags(),
            seq: segment.seq(),
            ack: segment.ack(),
            window: segment.window(),
            timestamps: options.timestamps,
            mss: options.mss,
            window_scale: options.window_scale,
            sack_permitted: options.sack_permitted,
            payload: segment.payload().to_vec(),
        }
    }
}

/// A UDP datagram and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) payload: Vec<u8>,
}

impl Datagram {
    pub(crate) fn new(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Self {
        Self { source, destination, payload: payload.to_vec() }
    }

    pub(crate) fn frame(&self, source: [u8; 6], destination: [u8; 6]) -> Vec<u8> {
        let mut l4 = vec![0; 8 + self.payload.len()];
        let ports = (self.source.port(), self.destination.port());
        udp::emit(&mut l4, ports.0, ports.1, self.payload.len() as u16).expect("room");
        l4[8..].copy_from_slice(&self.payload);
        packet(self.source, self.destination, protocol::UDP, &l4, source, destination)
    }

    pub(crate) fn parse(frame: &[u8]) -> Self {
        let headers = wire::parse(frame).expect("a packet");
        assert_eq!(verify_l4(&headers, frame), L4Checksum::Valid, "UDP checksum");
        Self {
            source: SocketAddr::new(headers.source, headers.source_port),
            destination: SocketAddr::new(headers.destination, headers.destination_port),
            payload: frame[headers.payload..headers.end].to_vec(),
        }
    }
}

/// A router's word that `segment` is too long for its next link.
pub(crate) fn too_big(segment: &Segment, router: SocketAddr, mtu: u16, mac: [u8; 6]) -> Vec<u8> {
    let quoted = segment.frame(mac, mac);
    let mut icmp = vec![3, 4, 0, 0, 0, 0];
    icmp.extend_from_slice(&mtu.to_be_bytes());
    icmp.extend_from_slice(&quoted[14..14 + 20 + 20]);
    let sum = icmp.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    icmp[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet(router, segment.source, protocol::ICMP, &icmp, mac, mac)
}

fn v4(addr: IpAddr) -> Ipv4Addr {
    match addr {
        IpAddr::V4(addr) => addr,
        IpAddr::V6(_) => panic!("these tests speak IPv4"),
    }
}

fn packet(
    source: SocketAddr,
    destination: SocketAddr,
    protocol: u8,
    l4: &[u8],
    source_mac: [u8; 6],
    destination_mac: [u8; 6],
) -> Vec<u8> {
    let mut frame = vec![0; 14 + 20];
    ethernet::emit(&mut frame, MacAddr(destination_mac), MacAddr(source_mac), ether_type::IPV4)
        .expect("room");
    let ip = ipv4::Repr {
        source: v4(source.ip()),
        destination: v4(destination.ip()),
        protocol,
        payload_len: l4.len() as u16,
        ttl: 64,
        dscp_ecn: 0,
        ident: 1,
        dont_fragment: true,
    };
    ip.emit(&mut frame[14..]).expect("room");
    frame.extend_from_slice(l4);
    let headers = wire::parse(&frame).expect("a packet");
    assert!(protocol == protocol::ICMP || complete_l4(&headers, &mut frame));
    frame
}
