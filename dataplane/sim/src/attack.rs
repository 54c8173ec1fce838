//! Attackers: packets that no honest host sends, or sends so often.
//!
//! Owns: what each kind of attack puts on the wire. Does not own: when (`world`). An attacker is blind: it may
//! know the addresses and ports of clients and forge them, but not sequence numbers.

use crate::fragment;
use crate::frame::write::{body, write};
use crate::frame::{Datagram, LinkHeader, Options, Packet, Payload, Segment, flag};
use crate::random::Random;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What an attacker sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// ACK segments without a connection.
    Ack,
    /// Fragments that overlap, never end, or end nowhere.
    Fragment,
    /// ICMP errors about packets that were never sent.
    Icmp,
    /// Bytes that are no packet, and packets with impossible headers.
    Noise,
    /// RST segments.
    Rst,
    /// SYN segments.
    Syn,
    /// SYN-ACK segments: reflected traffic.
    SynAck,
    /// UDP datagrams.
    Udp,
}

/// All kinds.
pub const KINDS: [Kind; 8] =
    [Kind::Ack, Kind::Fragment, Kind::Icmp, Kind::Noise, Kind::Rst, Kind::Syn, Kind::SynAck, Kind::Udp];

/// Whom it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disguise {
    /// A random address per packet.
    Random,
    /// One address, its own.
    Fixed,
    /// The address and port of a client with a connection.
    Client,
}

/// An attacker.
#[derive(Debug)]
pub struct Attacker {
    /// What it sends.
    pub kind: Kind,
    /// Whom it claims to be.
    pub disguise: Disguise,
    /// How its frames begin.
    pub link: LinkHeader,
    random: Random,
}

/// Source networks for random disguises: set aside for benchmarks and documentation, used by no simulated host.
const RANDOM_V4: u32 = 0xc612_0000;
const RANDOM_V6: u128 = 0x2001_0db8_0000_0000_0000_0000_0000_0000;

impl Attacker {
    /// An attacker with its own stream of random numbers.
    pub fn new(kind: Kind, disguise: Disguise, link: LinkHeader, random: Random) -> Self {
        Self { kind, disguise, link, random }
    }

    /// Whether an address can only be a random disguise.
    pub fn is_forged(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => u32::from(address) >> 17 == RANDOM_V4 >> 17,
            IpAddr::V6(address) => u128::from(address) >> 96 == RANDOM_V6 >> 96,
        }
    }

    /// Whether a datagram is an attacker's, by its bytes: all the same.
    pub fn is_attack(datagram: &Datagram) -> bool {
        datagram.data.first().is_none_or(|first| datagram.data.iter().all(|byte| byte == first))
    }

    /// The next frame towards `service`; `clients` have connections right now.
    pub fn frame(&mut self, service: SocketAddr, clients: &[SocketAddr]) -> Vec<u8> {
        let source = self.source(service, clients);
        match self.kind {
            Kind::Fragment => self.fragment(source, service),
            Kind::Noise => self.noise(source, service),
            _ => {
                let payload = self.payload(source, service);
                write(&self.packet(source, service, payload))
            }
        }
    }

    fn source(&mut self, service: SocketAddr, clients: &[SocketAddr]) -> SocketAddr {
        let same_family: Vec<SocketAddr> =
            clients.iter().copied().filter(|client| client.is_ipv4() == service.is_ipv4()).collect();
        if self.disguise == Disguise::Client && !same_family.is_empty() {
            return self.random.pick(&same_family);
        }
        let number = match self.disguise {
            Disguise::Fixed => 7,
            _ => self.random.bits_32() >> 15,
        };
        let address = if service.is_ipv4() {
            IpAddr::V4(Ipv4Addr::from(RANDOM_V4 | number))
        } else {
            IpAddr::V6(Ipv6Addr::from(RANDOM_V6 | u128::from(number)))
        };
        SocketAddr::new(address, self.random.between(1, 65_535) as u16)
    }

    fn packet(&self, source: SocketAddr, service: SocketAddr, payload: Payload) -> Packet {
        Packet {
            link: self.link.clone(),
            source: source.ip(),
            destination: service.ip(),
            hop_limit: 50,
            payload,
        }
    }

    fn payload(&mut self, source: SocketAddr, service: SocketAddr) -> Payload {
        match self.kind {
            Kind::Udp => {
                let data = vec![0x55; self.random.between(0, 600) as usize];
                let (source_port, destination_port) = (source.port(), service.port());
                Payload::Udp(Datagram { source_port, destination_port, data })
            }
            Kind::Icmp => {
                let is_v6 = service.is_ipv6();
                let (kind, code) = if is_v6 {
                    self.random.pick(&[(2, 0), (1, 4)])
                } else {
                    self.random.pick(&[(3, 4), (3, 1)])
                };
                let mut rest = vec![0, 0, 2, 0];
                rest.extend((0..48).map(|_| self.random.bits() as u8));
                Payload::Icmp { kind, code, rest }
            }
            _ => Payload::Tcp(self.segment(source, service)),
        }
    }

    fn segment(&mut self, source: SocketAddr, service: SocketAddr) -> Segment {
        let flags = match self.kind {
            Kind::Rst => flag::RST | if self.random.chance(500) { flag::ACK } else { 0 },
            Kind::Syn => flag::SYN,
            Kind::SynAck => flag::SYN | flag::ACK,
            _ => flag::ACK | self.random.pick(&[0, 0, flag::PSH, flag::FIN]),
        };
        let is_syn = flags & flag::SYN != 0;
        let options = Options {
            mss: is_syn.then_some(1_460),
            window_scale: (is_syn && self.random.chance(700)).then_some(7),
            sack_permitted: is_syn && self.random.chance(700),
            timestamps: self.random.chance(500).then(|| (self.random.bits_32(), self.random.bits_32())),
            sack: Vec::new(),
        };
        let has_data = self.kind == Kind::Ack && self.random.chance(300) || is_syn && self.random.chance(50);
        Segment {
            source_port: source.port(),
            destination_port: service.port(),
            seq: self.random.bits_32(),
            ack: if flags & flag::ACK != 0 { self.random.bits_32() } else { 0 },
            flags,
            window: self.random.bits_32() as u16,
            options,
            data: if has_data { vec![0xaa; self.random.between(1, 200) as usize] } else { Vec::new() },
        }
    }

    /// A piece of a datagram or segment: lying lengths, overlaps, first pieces too short for a header.
    fn fragment(&mut self, source: SocketAddr, service: SocketAddr) -> Vec<u8> {
        let whole = if self.random.chance(500) {
            let data = vec![0x33; self.random.between(100, 1_400) as usize];
            Payload::Udp(Datagram { source_port: source.port(), destination_port: service.port(), data })
        } else {
            Payload::Tcp(self.segment(source, service))
        };
        let packet = self.packet(source, service, whole);
        let id = self.random.bits_32() % 64;
        let pieces = fragment::cut(&packet, id, self.random.pick(&[8, 24, 400]));
        let mut piece = pieces[self.random.below(pieces.len() as u64) as usize].clone();
        if let Payload::Fragment { offset, more, .. } = &mut piece.payload {
            if self.random.chance(300) {
                *offset = (self.random.below(8_192) * 8) as u16;
            }
            *more = self.random.chance(800);
        }
        write(&piece)
    }

    /// A frame that was right once: bytes overwritten, cut off, or nothing but random bytes.
    fn noise(&mut self, source: SocketAddr, service: SocketAddr) -> Vec<u8> {
        let segment = Payload::Tcp(self.segment(source, service));
        let packet = self.packet(source, service, segment);
        debug_assert!(!body(&packet).1.is_empty());
        let mut frame = write(&packet);
        match self.random.below(4) {
            0 => frame.truncate(self.random.between(14, frame.len() as u64) as usize),
            1 => frame[14..].fill_with(|| self.random.bits() as u8),
            2 => {
                let at = self.random.between(14, frame.len() as u64 - 1) as usize;
                frame[at] = self.random.bits() as u8;
            }
            _ => {
                // Every combination of flags and every data offset, with a checksum that is right.
                let Payload::Tcp(mut segment) = packet.payload.clone() else { return frame };
                segment.flags = self.random.bits() as u8;
                frame = write(&Packet { payload: Payload::Tcp(segment), ..packet });
            }
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::read;

    #[test]
    fn every_kind_makes_frames_and_only_noise_is_unreadable() {
        let link = LinkHeader { destination: [2; 6], source: [4; 6], vlans: vec![] };
        for kind in KINDS {
            for service in ["10.99.0.1:80", "[fd99::1]:80"] {
                let service = service.parse().expect("an address");
                let mut attacker =
                    Attacker::new(kind, Disguise::Random, link.clone(), Random::new(1, "attack"));
                for _ in 0..200 {
                    let packet = read(&attacker.frame(service, &[]));
                    // A piece that claims to be all of a datagram has that datagram's wrong checksum.
                    let may_be_broken = matches!(kind, Kind::Noise | Kind::Fragment);
                    assert!(packet.is_ok() || may_be_broken, "{kind:?}: {packet:?}");
                    assert!(
                        kind == Kind::Noise
                            || packet.is_ok_and(|packet| Attacker::is_forged(packet.source))
                            || may_be_broken
                    );
                }
            }
        }
    }
}
