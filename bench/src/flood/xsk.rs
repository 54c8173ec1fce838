//! Transmitting through AF_XDP: up to 2.3 M packets/s on a veth; works where live frames do not.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use anyhow::{Context, Result};
use secbeat_pktio::live::Randomize;
use secbeat_pktio::xsk::{XskConfig, XskInterface, XskIo};
use secbeat_pktio::{PacketIo, Port};

use super::frame::{fold, sum};

const PORT: Port = 0;
const ETHERNET_BYTES: usize = 14;
/// A frame that found no room is tried again; by then the kernel has completed some. Beyond it, the ring is
/// stuck and the packet counts as not sent.
const ALLOCATE_TRIES_MAX: u32 = 1000;

/// A small generator of random numbers (SplitMix64): the same seed gives the same flood.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Begins a sequence.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound` (at least 1); the bias is below 2^-32 for the small bounds used here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound.max(1))) >> 64) as u64
    }

    /// True with this probability, in 0..=1.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        ((self.bits() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}

/// A generator over an AF_XDP socket.
#[derive(Debug)]
pub(crate) struct XskGenerator {
    io: XskIo,
    templates: Vec<Template>,
    next: usize,
    random: Random,
}

impl XskGenerator {
    /// Opens a socket on queue 0 of `interface`, in the namespace of the calling thread.
    pub(crate) fn open(
        interface: &str,
        frames: &[Vec<u8>],
        randomize: &Randomize,
        seed: u64,
    ) -> Result<Self> {
        let config = XskConfig {
            interfaces: vec![XskInterface { name: interface.to_owned(), queue: 0 }],
            ..XskConfig::default()
        };
        let (io, _) = XskIo::open(&config).context("AF_XDP socket of the generator")?;
        let templates = frames.iter().map(|frame| Template::new(frame, randomize)).collect();
        Ok(Self { io, templates, next: 0, random: Random::new(seed) })
    }

    /// Sends `count` packets; returns how many were handed to the kernel.
    pub(crate) fn send(&mut self, count: u32) -> u32 {
        let mut sent = 0;
        for _ in 0..count {
            let Some(mut frame) = self.allocate() else { break };
            let start = frame.start();
            let template = &self.templates[self.next];
            self.next = (self.next + 1) % self.templates.len();
            let len = template.bytes.len();
            let chunk = self.io.chunk_mut(&mut frame);
            let Some(room) = chunk.get_mut(start..start + len) else {
                self.io.release(frame);
                break;
            };
            template.write(&mut self.random, room);
            frame.set_bounds(start, len);
            match self.io.transmit(PORT, frame) {
                Ok(()) => sent += 1,
                Err(frame) => {
                    self.io.release(frame);
                    self.io.flush();
                }
            }
        }
        self.io.flush();
        sent
    }

    fn allocate(&mut self) -> Option<secbeat_pktio::Frame> {
        for _ in 0..ALLOCATE_TRIES_MAX {
            if let Some(frame) = self.io.allocate() {
                return Some(frame);
            }
            self.io.flush();
        }
        None
    }
}

/// A frame and the places in it that differ from packet to packet.
#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    is_v4: bool,
    l4: usize,
    /// Offset of the L4 checksum in the frame; `None` for fragments, whose sum nobody can check.
    checksum: Option<usize>,
    /// Offset and prefix of the random source.
    source: Option<(IpAddr, u8)>,
    source_port: Option<RangeInclusive<u16>>,
    destination_port: Option<RangeInclusive<u16>>,
    sequence: bool,
    identification: Option<usize>,
}

impl Template {
    fn new(frame: &[u8], randomize: &Randomize) -> Self {
        let is_v4 = frame[12..14] == [0x08, 0x00];
        let l4 = ETHERNET_BYTES + if is_v4 { 20 } else { 40 };
        let (protocol, is_fragment) = if is_v4 {
            (frame[23], u16::from_be_bytes([frame[20], frame[21]]) & 0x3fff != 0)
        } else {
            (frame[20], frame[20] == 44)
        };
        let has_ports = !is_fragment;
        Self {
            bytes: frame.to_vec(),
            is_v4,
            l4,
            checksum: has_ports.then(|| l4 + if protocol == 6 { 16 } else { 6 }),
            source: randomize.source.map(|net| (net.addr(), net.prefix_len())),
            source_port: randomize.source_port.clone().filter(|_| has_ports),
            destination_port: randomize.destination_port.clone().filter(|_| has_ports),
            sequence: randomize.sequence && has_ports && protocol == 6,
            identification: randomize
                .identification
                .then_some(if is_v4 { ETHERNET_BYTES + 4 } else { l4 + 4 })
                .filter(|_| is_v4 || is_fragment),
        }
    }

    /// Writes one packet to `out`, which is exactly as long as the template.
    fn write(&self, random: &mut Random, out: &mut [u8]) {
        out.copy_from_slice(&self.bytes);
        if let Some((net, bits)) = self.source {
            write_source(net, bits, random, out);
        }
        let l4 = self.l4;
        for (range, at) in [(&self.source_port, l4), (&self.destination_port, l4 + 2)] {
            if let Some(range) = range {
                let span = u64::from(range.end() - range.start()) + 1;
                let port = range.start() + random.below(span) as u16;
                out[at..at + 2].copy_from_slice(&port.to_be_bytes());
            }
        }
        if self.sequence {
            out[l4 + 4..l4 + 12].copy_from_slice(&random.bits().to_be_bytes());
        }
        if let Some(at) = self.identification {
            let bits = random.bits().to_be_bytes();
            let len = if self.is_v4 { 2 } else { 4 };
            out[at..at + len].copy_from_slice(&bits[..len]);
        }
        self.set_checksums(out);
    }

    fn set_checksums(&self, out: &mut [u8]) {
        if self.is_v4 {
            out[24..26].copy_from_slice(&[0; 2]);
            let checksum = !fold(sum(&out[ETHERNET_BYTES..self.l4]));
            out[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
        let Some(at) = self.checksum else { return };
        out[at..at + 2].copy_from_slice(&[0; 2]);
        let (protocol, addresses) =
            if self.is_v4 { (out[23], &out[26..34]) } else { (out[20], &out[22..54]) };
        let len = (out.len() - self.l4) as u64;
        let total = sum(addresses) + u64::from(protocol) + len + sum(&out[self.l4..]);
        let checksum = match !fold(total) {
            0 => 0xffff,
            checksum => checksum,
        };
        out[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}

fn write_source(net: IpAddr, bits: u8, random: &mut Random, out: &mut [u8]) {
    match net {
        IpAddr::V4(net) => {
            let mask = u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
            let address = u32::from(net) | (random.bits() as u32 & mask);
            out[26..30].copy_from_slice(&address.to_be_bytes());
        }
        IpAddr::V6(net) => {
            let mask = u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
            let low = u128::from(random.bits()) << 64 | u128::from(random.bits());
            let address = u128::from(net) | (low & mask);
            out[22..38].copy_from_slice(&address.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, frame};
    use super::*;

    #[test]
    fn randomized_packets_keep_right_checksums_and_their_prefix() {
        for (source, destination, net) in
            [("10.10.1.2", "10.99.0.1", "32.0.0.0/3"), ("fd00:10:1::2", "fd99::1", "2a00::/12")]
        {
            let addresses = frame::Addresses {
                mac_source: [2; 6],
                mac_destination: [4; 6],
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
                source_port: 4000,
                destination_port: 80,
            };
            let net: ipnet::IpNet = net.parse().unwrap();
            let randomize = Randomize {
                source: Some(net),
                source_port: Some(1024..=65535),
                sequence: true,
                identification: true,
                ..Randomize::default()
            };
            let mut random = Random::new(7);
            for kind in Kind::ALL {
                for bytes in frame::templates(kind, &addresses) {
                    let template = Template::new(&bytes, &randomize);
                    let mut out = vec![0; bytes.len()];
                    for _ in 0..100 {
                        template.write(&mut random, &mut out);
                        check(&template, &out, &net);
                    }
                }
            }
        }
    }

    fn check(template: &Template, out: &[u8], net: &ipnet::IpNet) {
        let (source, addresses): (IpAddr, &[u8]) = if template.is_v4 {
            assert_eq!(fold(sum(&out[14..34])), 0xffff);
            (<[u8; 4]>::try_from(&out[26..30]).unwrap().into(), &out[26..34])
        } else {
            (<[u8; 16]>::try_from(&out[22..38]).unwrap().into(), &out[22..54])
        };
        assert!(net.contains(&source), "{source}");
        if template.checksum.is_some() {
            let protocol = u64::from(if template.is_v4 { out[23] } else { out[20] });
            let len = (out.len() - template.l4) as u64;
            assert_eq!(fold(sum(addresses) + protocol + len + sum(&out[template.l4..])), 0xffff);
        }
    }

    #[test]
    fn chances_come_as_often_as_they_should() {
        let mut random = Random::new(1);
        let hits = (0..100_000).filter(|_| random.chance(0.01)).count();
        assert!((800..1200).contains(&hits), "{hits}");
        assert!(!random.chance(0.0));
        assert!(random.chance(1.0));
    }
}
