//! TCP segments for the tests, plain, random and hostile.

use std::net::SocketAddr;

use secbeat_net::wire::{self, checksum};
use secbeat_pktio::program::GateFlow;

/// Options as stacks write them, and the edges of what a header can hold.
pub(crate) const LAYOUTS: &[&[u8]] = &[
    &[],
    &[2, 4, 5, 0xb4],
    // Linux.
    &[2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7],
    // Windows, without and with timestamps.
    &[2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2],
    &[2, 4, 5, 0xb4, 1, 3, 3, 8, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0],
    // macOS.
    &[2, 4, 5, 0xb4, 1, 3, 3, 6, 1, 1, 8, 10, 9, 8, 7, 6, 0, 0, 0, 0, 4, 2, 0, 0],
    &[1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0],
    &[1; 40],
    &[34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 2, 4, 5, 0x28, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 3, 3, 9, 0],
    // The longest: timestamps at the very end.
    &[
        2, 4, 5, 0xb4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 8, 10,
        1, 2, 3, 4, 5, 6, 7, 8,
    ],
];

/// Parses an address.
pub(crate) fn addr<A: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> A {
    text.parse().unwrap()
}

/// A generator of numbers (splitmix64): the same each time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// A segment to the listener of a family.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) tags: usize,
    pub(crate) v6: bool,
    pub(crate) source_v4: std::net::Ipv4Addr,
    pub(crate) source_v6: std::net::Ipv6Addr,
    pub(crate) ip_options: Vec<u8>,
    pub(crate) tos: u8,
    pub(crate) port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    /// Data offset; `None` as the options say.
    pub(crate) words: Option<u8>,
    pub(crate) flags: u8,
    /// Padded with zeros to whole words.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// Bytes behind the packet.
    pub(crate) padding: usize,
}

impl Default for Frame {
    /// A SYN without anything.
    fn default() -> Self {
        Self {
            tags: 0,
            v6: false,
            source_v4: addr("203.0.113.9"),
            source_v6: addr("2001:db8:ffff::9"),
            ip_options: Vec::new(),
            tos: 0,
            port: 40_000,
            seq: 0x0102_0304,
            ack: 0,
            words: None,
            flags: 2,
            options: Vec::new(),
            payload: Vec::new(),
            padding: 0,
        }
    }
}

/// Where the listeners are.
pub(crate) const SERVICE_V4: &str = "198.51.100.1:80";
pub(crate) const SERVICE_V6: &str = "[2001:db8::1]:80";

impl Frame {
    pub(crate) fn random_syn(random: &mut Random) -> Self {
        let options = match random.below(4) {
            0 => random.of(LAYOUTS).to_vec(),
            1 => random_options(random),
            2 => {
                let mut options = random_options(random);
                options.truncate(random.below(41) as usize);
                options
            }
            _ => {
                let mut options = random.of(LAYOUTS).to_vec();
                if !options.is_empty() {
                    let at = random.below(options.len() as u64) as usize;
                    options[at] = random.next() as u8;
                }
                options
            }
        };
        let ip_options = if random.one_in(4) { vec![1; random.below(11) as usize * 4] } else { Vec::new() };
        let payload = if random.one_in(4) { random.below(200) as usize } else { 0 };
        Self {
            tags: random.below(3) as usize,
            v6: random.one_in(2),
            source_v4: [1 + random.below(120) as u8, random.next() as u8, random.next() as u8, 1].into(),
            source_v6: (0x2a00 << 112 | u128::from(random.next()) << 40 | u128::from(random.next())).into(),
            ip_options,
            tos: random.next() as u8,
            port: 1 + random.below(65_535) as u16,
            seq: random.next() as u32,
            ack: random.next() as u32,
            words: random.one_in(8).then(|| random.below(16) as u8),
            // SYN with PSH, URG, ECE and CWR or not.
            flags: 2 | random.of(&[0, 0, 0, 0x40, 0x80, 0xc0, 0xc0, 0x08, 0x20, 0xe8]),
            options,
            payload: random.bytes(payload),
            padding: if random.one_in(4) { random.below(40) as usize } else { 0 },
        }
    }

    pub(crate) fn flow(&self) -> GateFlow {
        let (client, service) = if self.v6 {
            (SocketAddr::from((self.source_v6, self.port)), SERVICE_V6)
        } else {
            (SocketAddr::from((self.source_v4, self.port)), SERVICE_V4)
        };
        GateFlow { client, service: addr(service) }
    }

    /// The last segment of the handshake that this SYN began.
    pub(crate) fn ack_of(&self, reply: &[u8], random: &mut Random) -> Self {
        let headers = wire::parse(reply).unwrap();
        let segment = wire::tcp::Segment::new_checked(&reply[headers.l4..headers.end]).unwrap();
        let options = segment.options().unwrap().timestamps.map(|timestamps| {
            let clock = random.next() as u32;
            let echo = timestamps.value;
            let mut options = [&[8, 10], &clock.to_be_bytes()[..], &echo.to_be_bytes()[..]].concat();
            let front = random.below(3) as usize;
            options.splice(0..0, vec![1; front]);
            options
        });
        Self {
            seq: self.seq.wrapping_add(1),
            ack: segment.seq().wrapping_add(1),
            flags: 0x10,
            words: None,
            options: options.unwrap_or_default(),
            ..self.clone()
        }
    }

    /// Copies with one bit of tuple, numbers or timestamp changed each.
    pub(crate) fn one_bit_changed(&self, random: &mut Random) -> Vec<Self> {
        let bit = |random: &mut Random| 1u32 << random.below(32);
        let mut frames = vec![
            Self { seq: self.seq ^ bit(random), ..self.clone() },
            Self { ack: self.ack ^ bit(random), ..self.clone() },
            Self { ack: self.ack.wrapping_add(1), ..self.clone() },
            Self { port: self.port ^ 1 << random.below(16), ..self.clone() },
            if self.v6 {
                Self {
                    source_v6: (u128::from(self.source_v6) ^ 1 << random.below(100)).into(),
                    ..self.clone()
                }
            } else {
                Self { source_v4: (u32::from(self.source_v4) ^ 1 << random.below(20)).into(), ..self.clone() }
            },
        ];
        if let Some(last) = self.options.len().checked_sub(1) {
            let mut options = self.options.clone();
            options[last] ^= 1 << random.below(6);
            frames.push(Self { options, ..self.clone() });
            frames.push(Self { options: Vec::new(), ..self.clone() });
        }
        frames.retain(|frame| frame.port != 0);
        frames
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut tcp = vec![0; 20];
        let SocketAddr::V4(service) = addr::<SocketAddr>(SERVICE_V4) else { unreachable!("written above") };
        let SocketAddr::V6(service_v6) = addr::<SocketAddr>(SERVICE_V6) else {
            unreachable!("written above")
        };
        tcp[..2].copy_from_slice(&self.port.to_be_bytes());
        tcp[2..4].copy_from_slice(&service.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&self.seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&self.ack.to_be_bytes());
        let words = self.words.unwrap_or(5 + self.options.len().div_ceil(4) as u8);
        tcp[12] = words << 4;
        tcp[13] = self.flags;
        tcp[14..16].copy_from_slice(&[0xfa, 0xf0]);
        tcp.extend(&self.options);
        tcp.resize(tcp.len().next_multiple_of(4), 0);
        tcp.extend(&self.payload);

        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for tag in 0..self.tags {
            frame.extend(if tag == 0 && self.tags == 2 { [0x88, 0xa8, 0, 5] } else { [0x81, 0, 0x60, 7] });
        }
        if self.v6 {
            frame.extend([0x86, 0xdd, 0x60 | self.tos >> 4, self.tos << 4, 1, 2]);
            frame.extend((tcp.len() as u16).to_be_bytes());
            frame.extend([6, 57]);
            frame.extend(self.source_v6.octets());
            frame.extend(service_v6.ip().octets());
        } else {
            let header = 20 + self.ip_options.len();
            frame.extend([8, 0]);
            let at = frame.len();
            frame.extend([0x40 | (header / 4) as u8, self.tos]);
            frame.extend(((header + tcp.len()) as u16).to_be_bytes());
            frame.extend([0x12, 0x34, 0x40, 0, 57, 6, 0, 0]);
            frame.extend(self.source_v4.octets());
            frame.extend(service.ip().octets());
            frame.extend(&self.ip_options);
            let sum = checksum::internet(&frame[at..]);
            frame[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
        }
        frame.extend(tcp);
        frame.resize(frame.len() + self.padding, 0xa5);
        frame
    }
}

/// Options one behind the other, known and unknown, also with wrong lengths.
fn random_options(random: &mut Random) -> Vec<u8> {
    let mut options = Vec::new();
    while options.len() < 40 && !random.one_in(8) {
        let kind = random.of(&[1, 1, 1, 2, 3, 4, 8, 5, 34, 253, 0]);
        if kind <= 1 {
            let run = if random.one_in(4) { random.below(20) } else { 1 };
            options.extend((0..run).map(|_| kind));
            continue;
        }
        let usual = match kind {
            2 => 4,
            3 => 3,
            4 => 2,
            8 => 10,
            _ => 2 + random.below(10) as u8,
        };
        let len = if random.one_in(20) { random.below(42) as u8 } else { usual };
        options.extend([kind, len]);
        options.extend(random.bytes(usize::from(usual) - 2));
    }
    options.truncate(40);
    options
}
