//! Body of the fuzz target `net_tcp`, also called by the corpus replay: bytes drive clients, owners and time of a
//! whole stack.
//!
//! Whatever they are: nothing panics, the parts of the stack agree, the owner gets exactly the client's bytes in
//! order, what leaves is exactly the owner's, with right checksums, and left alone everything ends and gives back its
//! memory. Both streams are known by their numbers (`byte_at`), so every byte is checked wherever it turns up.

use core::time::Duration;
use std::sync::Arc;

use super::{
    ConnectionId, Counters, Event, HandshakeTimestamps, Ingress, Limits, Open, SendLimits, Stack, StackKeys,
    State, Verdict,
};
use crate::census::FlowCensus;
use crate::decisions::Bytes;
use crate::flow::{Endpoint, FlowKey, HashKey, Protocol};
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::syncookie::ClientOptions;
use crate::time::Instant;
use crate::wire::checksum::L4Checksum;
use crate::wire::{self, ipv4, protocol, tcp};

/// Steps of one run; each takes a few bytes.
const STEPS_MAX: usize = 500;
/// Clients, by their port.
const CLIENTS: usize = 5;
const CLIENT_ISN: u32 = u32::MAX - 2_000;
const OUR_ISN: u32 = u32::MAX - 4_000;
/// Longest payload of a client's segment.
const PAYLOAD_MAX: usize = 600;

/// How far off a number is: mostly not, sometimes a little, sometimes within a window, or anything.
fn offset(bytes: &mut Bytes<'_>) -> u32 {
    match bytes.u8() {
        0..=149 => 0,
        small @ 150..=199 => u32::from(small).wrapping_sub(175),
        200..=240 => u32::from(bytes.u16() % 8_192).wrapping_sub(2_048),
        _ => bytes.u32(),
    }
}

/// The byte that has this number in either stream.
fn byte_at(seq: u32) -> u8 {
    (seq ^ (seq >> 8)).wrapping_mul(31) as u8
}

/// What one client knows.
#[derive(Clone, Copy)]
struct Client {
    id: Option<ConnectionId>,
    has_timestamps: bool,
    /// What we acknowledged last, and the number after what we sent last.
    acked: u32,
    seen: u32,
    /// Bytes that its owner got and gave.
    received: u32,
    given: u32,
    has_finished: bool,
}

impl Client {
    const NEW: Self = Self {
        id: None,
        has_timestamps: false,
        acked: CLIENT_ISN.wrapping_add(1),
        seen: OUR_ISN.wrapping_add(1),
        received: 0,
        given: 0,
        has_finished: false,
    };
}

struct Run {
    stack: Stack,
    now: Instant,
    clients: [Client; CLIENTS],
    closed: u64,
}

fn key(client: usize) -> FlowKey {
    FlowKey {
        protocol: Protocol::Tcp,
        source: Endpoint { addr: [10, 0, 0, 1].into(), port: 1_000 + client as u16 },
        destination: Endpoint { addr: [10, 0, 0, 2].into(), port: 443 },
    }
}

/// Any bytes.
pub fn stack(bytes: &[u8]) {
    run(bytes);
}

/// [`stack`], which answers what happened, to see what a corpus reaches.
pub fn run(bytes: &[u8]) -> Counters {
    let limits = Limits {
        connections_max: 4,
        time_wait_max: 1,
        chunk_bytes_max: 14 * 2_048,
        out_of_order_max: 3,
        receive_window: 2_048,
        receive_window_max: 32_768,
        send: SendLimits { queue_bytes_max: 12_000, records_max: 24, ..SendLimits::default() },
        ..Limits::default()
    };
    let keys = StackKeys { table: HashKey([1, 2]), challenge: HashKey([3, 4]) };
    let now = Instant::from_millis(5_000);
    let mut run =
        Run { stack: Stack::new(limits, keys, now), now, clients: [Client::NEW; CLIENTS], closed: 0 };
    let census = Arc::new(FlowCensus::default());
    run.stack.set_watch(census.clone());
    let mut bytes = Bytes(bytes);
    for _ in 0..STEPS_MAX {
        if bytes.0.is_empty() {
            break;
        }
        run.step(&mut bytes);
        run.stack.check();
        assert_eq!(census.difference(run.stack.keys()), None);
    }
    run.leave_alone();
    assert!(census.is_empty(), "{census:?}");
    *run.stack.counters()
}

impl Run {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.u8() % 12 {
            0 => self.open(bytes),
            1..=5 => self.segment(bytes),
            6 => {
                self.now = self.now + Duration::from_millis(u64::from(bytes.u8()) * u64::from(bytes.u8()));
                self.stack.handle_timeout(self.now, 3);
            }
            7 | 8 => self.owner(bytes),
            9 => self.transmit(usize::from(bytes.u8() % 8)),
            10 => self.events(),
            _ => self.raw(bytes),
        }
    }

    /// Nobody says anything any more: all connections end, their owners are told once, memory comes back.
    fn leave_alone(&mut self) {
        for _ in 0..60 {
            self.now = self.now + Duration::from_secs(300);
            while self.stack.handle_timeout(self.now, 64) == 64 {}
            self.transmit(usize::MAX);
            for client in 0..CLIENTS {
                self.take(client, usize::MAX);
            }
            self.events();
        }
        self.stack.check();
        let counts = self.stack.counts();
        assert_eq!((counts.connections, counts.time_wait, counts.out_of_order), (0, 0, 0));
        assert_eq!(counts.chunk_bytes, 0, "chunks leak");
        assert_eq!(self.closed, self.stack.counters().opened);
    }

    fn open(&mut self, bytes: &mut Bytes<'_>) {
        let (choice, client) = (bytes.u8(), usize::from(bytes.u8()) % CLIENTS);
        let has = |bit: u8| choice >> bit & 1 != 0;
        let Some(link) = Link::new(PortId(0), 1_500, &[7; 14]) else { return };
        // An owner that forgets an ended connection whose port is used again.
        if let Some(old) = self.clients[client].id.filter(|id| self.stack.state(*id) == State::Closed) {
            self.stack.close(old, self.now);
            self.events();
        }
        let timestamps = has(0).then_some(HandshakeTimestamps { value: 900, echo: 800 });
        let open = Open {
            key: key(client),
            listener: 0,
            link,
            client_isn: CLIENT_ISN,
            isn: OUR_ISN,
            agreed: ClientOptions {
                mss: if has(1) { 1_460 } else { 300 },
                window_scale: has(2).then_some(choice >> 5),
                sack_permitted: !has(3),
                timestamps: has(0),
                ecn: has(4),
            },
            window: 2_000,
            window_scale: has(2).then_some(3),
            timestamps,
            client_window: 4_000,
        };
        let Ok(id) = self.stack.open(&open, self.now) else { return };
        if self.clients[client].id != Some(id) {
            self.clients[client] = Client { id: Some(id), has_timestamps: has(0), ..Client::NEW };
            self.stack.set_user(id, client as u64);
        }
    }

    /// A segment that is nearly what a client would send.
    fn segment(&mut self, bytes: &mut Bytes<'_>) {
        let client = usize::from(bytes.u8()) % CLIENTS;
        let Client { acked, seen, has_timestamps, .. } = self.clients[client];
        let flags = match bytes.u8() % 32 {
            0..=11 => 0x10,
            12..=26 => 0x18,
            27 => 0x19,
            28 => 0x11,
            29 => 0x02,
            30 => 0x04,
            _ => 0x52,
        };
        let key = key(client);
        let seq = acked.wrapping_add(offset(bytes));
        let repr = tcp::Repr {
            source_port: key.source.port,
            destination_port: key.destination.port,
            seq,
            ack: seen.wrapping_add(offset(bytes)),
            flags: tcp::Flags(flags),
            window: bytes.u16() >> (bytes.u8() % 16),
        };
        let mut options = [1; 40];
        let mut options_len = 0;
        if has_timestamps && !bytes.u8().is_multiple_of(16) {
            options[2..4].copy_from_slice(&[8, 10]);
            let value = 900u32.wrapping_add(self.now.as_millis() as u32).wrapping_add(offset(bytes));
            options[4..8].copy_from_slice(&value.to_be_bytes());
            options[8..12].copy_from_slice(&800u32.wrapping_add(offset(bytes)).to_be_bytes());
            options_len = 12;
        }
        if bytes.u8().is_multiple_of(4) {
            let left = seen.wrapping_add(offset(bytes));
            options[options_len + 2..options_len + 4].copy_from_slice(&[5, 10]);
            options[options_len + 4..options_len + 8].copy_from_slice(&left.to_be_bytes());
            let right = left.wrapping_add(offset(bytes));
            options[options_len + 8..options_len + 12].copy_from_slice(&right.to_be_bytes());
            options_len += 12;
        }
        let len = usize::from(bytes.u16()) % PAYLOAD_MAX;
        let len = if flags == 0x10 { 0 } else { len };
        let mut l4 = [0; 20 + 40 + PAYLOAD_MAX];
        let Some(header_len) = repr.emit(&mut l4, &options[..options_len]) else { return };
        for (index, byte) in l4[header_len..header_len + len].iter_mut().enumerate() {
            *byte = byte_at(seq.wrapping_add(index as u32));
        }
        self.packet(&l4[..header_len + len], &key, bytes.u8() & 3);
    }

    /// Puts headers in front of a segment and hands it in.
    fn packet(&mut self, l4: &[u8], key: &FlowKey, ecn: u8) {
        let (core::net::IpAddr::V4(source), core::net::IpAddr::V4(destination)) =
            (key.source.addr, key.destination.addr)
        else {
            return;
        };
        let ip = ipv4::Repr {
            source,
            destination,
            protocol: protocol::TCP,
            payload_len: l4.len() as u16,
            ttl: 64,
            dscp_ecn: ecn,
            ident: 0,
            dont_fragment: true,
        };
        let mut frame = [7; 14 + 20 + 20 + 40 + PAYLOAD_MAX];
        frame[12..14].copy_from_slice(&[8, 0]);
        if ip.emit(&mut frame[14..]).is_none() {
            return;
        }
        frame[34..34 + l4.len()].copy_from_slice(l4);
        self.handle(&frame[..34 + l4.len()]);
    }

    fn handle(&mut self, frame: &[u8]) {
        let mut memory = [0; 1_024];
        memory[128..128 + frame.len()].copy_from_slice(frame);
        let mut packet = PacketBuf::new(&mut memory, 128, frame.len());
        let Ok(headers) = wire::parse(packet.bytes()) else { return };
        let ingress = Ingress { port: PortId(0), mtu: 1_500, checksum: L4Checksum::Partial };
        let verdict = match headers.protocol {
            protocol::TCP => self.stack.handle(&mut packet, &headers, &ingress, self.now),
            _ => self.stack.handle_icmp(&packet, &headers, self.now),
        };
        match verdict {
            Verdict::Transmit(_) => self.note(&packet),
            Verdict::Data { connection, start, len } => {
                let client = self.stack.user(connection) as usize;
                let lent = &packet.bytes()[start..start + len];
                // An owner that takes all, some or nothing, as the bytes have it.
                let taken = match lent[0] % 4 {
                    0 => 0,
                    1 => len / 2,
                    _ => len,
                };
                self.check_received(client, &lent[..taken]);
                self.stack.received(connection, &packet.bytes()[start + taken..start + len], self.now);
            }
            _ => {}
        }
    }

    fn check_received(&mut self, client: usize, bytes: &[u8]) {
        let known = &mut self.clients[client];
        assert!(!known.has_finished || bytes.is_empty(), "data after the end");
        for byte in bytes {
            let seq = CLIENT_ISN.wrapping_add(1).wrapping_add(known.received);
            assert_eq!(*byte, byte_at(seq), "byte {} of client {client}", known.received);
            known.received += 1;
        }
    }

    fn owner(&mut self, bytes: &mut Bytes<'_>) {
        let client = usize::from(bytes.u8()) % CLIENTS;
        let Some(id) = self.clients[client].id else { return };
        match bytes.u8() % 16 {
            0..=6 => {
                let mut data = [0; 4_096];
                let len = usize::from(bytes.u16()) % data.len();
                let first = OUR_ISN.wrapping_add(1).wrapping_add(self.clients[client].given);
                for (index, byte) in data.iter_mut().enumerate() {
                    *byte = byte_at(first.wrapping_add(index as u32));
                }
                let room = self.stack.send_room(id);
                let taken = self.stack.send(id, &data[..len], self.now);
                assert!(taken <= len && taken <= room, "{taken} of {len} into {room}");
                self.clients[client].given += taken as u32;
            }
            7..=12 => self.take(client, usize::from(bytes.u16() % 3_000)),
            13 => self.stack.finish(id, self.now),
            14 => self.stack.close(id, self.now),
            _ => self.stack.abort(id, self.now),
        }
    }

    /// The owner takes up to `count` stored bytes.
    fn take(&mut self, client: usize, count: usize) {
        let Some(id) = self.clients[client].id else { return };
        let mut left = count;
        while left > 0 {
            let mut part = [0; 2_048];
            let stored = self.stack.peek(id);
            let len = stored.len().min(left);
            part[..len].copy_from_slice(&stored[..len]);
            if len == 0 {
                break;
            }
            self.check_received(client, &part[..len]);
            self.stack.consume(id, len, self.now);
            left -= len;
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::PeerFinished { user, connection } => {
                    assert!(self.stack.peek(connection).is_empty(), "the end before the data");
                    self.clients[user as usize].has_finished = true;
                }
                Event::Closed(closed) => {
                    self.closed += 1;
                    let client = &mut self.clients[closed.user as usize];
                    assert!(closed.bytes_out <= u64::from(client.given));
                    assert!(closed.bytes_in >= u64::from(client.received));
                    assert_eq!(client.id, Some(closed.connection));
                    client.id = None;
                }
                Event::Readable { .. } | Event::Writable { .. } => {}
            }
        }
    }

    fn transmit(&mut self, count: usize) {
        let mut memory = [0; 2_048];
        for _ in 0..count {
            let mut packet = PacketBuf::new(&mut memory, 128, 0);
            if self.stack.poll_transmit(&mut packet, self.now).is_none() {
                break;
            }
            self.note(&packet);
        }
    }

    /// What left must be a whole packet with a right checksum, and its payload the owner's.
    fn note(&mut self, packet: &PacketBuf<'_>) {
        let headers = wire::parse(packet.bytes()).expect("we send what we can read");
        let checksum = wire::checksum::verify_l4(&headers, packet.bytes());
        assert_eq!(checksum, L4Checksum::Valid, "a wrong checksum left");
        let segment = tcp::Segment::new_checked(&packet.bytes()[headers.l4..headers.end]);
        let Ok(segment) = segment else { return };
        let client = usize::from(headers.destination_port - 1_000) % CLIENTS;
        for (index, byte) in segment.payload().iter().enumerate() {
            let seq = segment.seq().wrapping_add(index as u32);
            let offset = seq.wrapping_sub(OUR_ISN.wrapping_add(1));
            assert_eq!(*byte, byte_at(seq));
            assert!(offset < self.clients[client].given, "a byte that nobody gave");
        }
        let known = &mut self.clients[client];
        let end = segment.seq().wrapping_add(segment.sequence_len());
        if !super::seq::is_before(end, known.seen) {
            known.seen = end;
        }
        if !segment.flags().contains(tcp::Flags::RST) {
            known.acked = segment.ack();
        }
    }

    /// An ICMP error about a client's connection, or a frame of any bytes behind an Ethernet header.
    fn raw(&mut self, bytes: &mut Bytes<'_>) {
        let client = usize::from(bytes.u8()) % CLIENTS;
        let key = key(client);
        let mut frame = [0; 14 + 20 + 8 + 28];
        for byte in &mut frame[42..] {
            *byte = bytes.u8();
        }
        frame[12] = 8;
        frame[34..38].copy_from_slice(&[3, bytes.u8() % 5, 0, 0]);
        frame[40] = bytes.u8();
        let ip = |protocol, source: [u8; 4], destination: [u8; 4], payload_len| ipv4::Repr {
            source: source.into(),
            destination: destination.into(),
            protocol,
            payload_len,
            ttl: 64,
            dscp_ecn: 0,
            ident: 0,
            dont_fragment: true,
        };
        let (client_addr, our_addr) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let outer = if bytes.u8().is_multiple_of(8) { protocol::TCP } else { protocol::ICMP };
        let _ = ip(outer, [10, 9, 9, 9], our_addr, 36).emit(&mut frame[14..]);
        if !bytes.u8().is_multiple_of(4) {
            let _ = ip(protocol::TCP, our_addr, client_addr, 500).emit(&mut frame[42..]);
            frame[62..64].copy_from_slice(&443u16.to_be_bytes());
            frame[64..66].copy_from_slice(&key.source.port.to_be_bytes());
            let seq = self.clients[client].seen.wrapping_sub(1).wrapping_add(offset(bytes));
            frame[66..70].copy_from_slice(&seq.to_be_bytes());
        }
        self.handle(&frame);
    }
}

/// A whole life for the corpus: open, data both ways, a hole, both ends.
#[doc(hidden)]
pub fn seed() -> Vec<u8> {
    let open = [0, 0x07, 0];
    // client, flags, seq offset, ack offset, window, shift, timestamps, their offsets, SACK, length, ECN
    let segment = |flags: u8, seq: [u8; 2]| {
        let mut step = vec![1, 0, flags];
        if seq == [0, 0] {
            step.push(0);
        } else {
            step.extend([200, seq[0], seq[1]]);
        }
        step.extend([0, 0x0f, 0xff, 0, 1, 0, 0, 1, 1, 0, 0]);
        step
    };
    let (send, transmit, events) = ([7, 0, 0, 8, 0], [9, 7], [10]);
    let mut bytes = open.to_vec();
    for _ in 0..3 {
        bytes.extend(segment(12, [0, 0]));
        bytes.extend(segment(12, [10, 0]));
        bytes.extend(send);
        bytes.extend(transmit);
        bytes.extend(segment(0, [0, 0]));
        bytes.extend([6, 10, 10]);
        bytes.extend(transmit);
        bytes.extend([7, 0, 7, 9, 0]);
        bytes.extend(events);
    }
    bytes.extend([7, 0, 13]);
    bytes.extend(transmit);
    bytes.extend(segment(27, [0, 0]));
    bytes.extend(transmit);
    bytes.extend(events);
    bytes
}
