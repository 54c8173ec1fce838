//! Body of the fuzz target `net_splice`, also called by the corpus replay: bytes drive opens, segments of both sides,
//! ICMP errors, time and decisions; whatever they are, nothing panics and the parts of the splice agree.

use core::time::Duration;
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::{
    BackendId, BackendTarget, Backends, Context, Event, FlowId, Handshake, HandshakeTimestamps, Ingress,
    OpenRequest, PortRange, Source, Splice, SpliceKeys, SpliceLimits,
};
use crate::census::FlowCensus;
use crate::decisions::Bytes;
use crate::flow::{Endpoint, FlowKey, HashKey, Protocol};
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::time::Instant;
use crate::wire::checksum::L4Checksum;
use crate::wire::{self, ipv4, protocol, tcp};

/// Steps of one run; each takes a few bytes.
const STEPS_MAX: usize = 400;

/// How far off a number is: mostly not, sometimes a little, or anything.
fn offset(bytes: &mut Bytes<'_>) -> u32 {
    match bytes.u8() {
        0..=189 => 0,
        small @ 190..=239 => u32::from(small).wrapping_sub(215),
        _ => bytes.u32(),
    }
}

/// A segment that left: its flow, the number after it, what it acknowledges, whether it is a SYN.
#[derive(Clone, Copy)]
struct Sent {
    key: FlowKey,
    end: u32,
    ack: u32,
    is_syn: bool,
}

struct Run {
    splice: Splice,
    backends: Backends,
    now: Instant,
    last: FlowId,
    /// Our last packet to the backend and to the client: what an answer refers to.
    to_backend: Sent,
    to_client: Sent,
}

fn key(client_port: u8) -> FlowKey {
    FlowKey {
        protocol: Protocol::Tcp,
        source: Endpoint { addr: [10, 0, 0, 1].into(), port: 1_000 + u16::from(client_port % 6) },
        destination: Endpoint { addr: [10, 0, 0, 2].into(), port: 443 },
    }
}

fn link(port: u8) -> Option<Link> {
    Link::new(PortId(port), 1_500, &[port; 14])
}

fn backends() -> Backends {
    let mut backends = Backends::default();
    for id in 0..3 {
        let addrs = ArrayVec::from_iter([[10, 0, 1, 1].into(), [10, 0, 1, 2].into()]);
        let target = BackendTarget {
            endpoint: Endpoint { addr: [10, 0, 2, id].into(), port: 80 },
            link: link(1),
            source: if id == 2 { Source::Transparent } else { Source::Snat(addrs) },
            proxy_protocol: id != 1,
        };
        backends.set(BackendId(u16::from(id)), Some(target));
    }
    backends
}

/// Any bytes.
pub fn splice(bytes: &[u8]) {
    let limits = SpliceLimits {
        flows_max: 4,
        half_open_max: 3,
        backends_max: 3,
        ports: PortRange { first: 50_000, last: 50_002 },
        ..SpliceLimits::default()
    };
    let keys = SpliceKeys { table: HashKey([1, 2]), isn: HashKey([3, 4]) };
    let nothing = Sent { key: key(0).reversed(), end: 0, ack: 0, is_syn: false };
    let mut run = Run {
        splice: Splice::new(limits, keys),
        backends: backends(),
        now: Instant::from_millis(5_000),
        last: FlowId { index: 0, generation: 0 },
        to_backend: nothing,
        to_client: nothing,
    };
    let census = Arc::new(FlowCensus::default());
    run.splice.set_watch(census.clone());
    let mut bytes = Bytes(bytes);
    for _ in 0..STEPS_MAX {
        if bytes.0.is_empty() {
            break;
        }
        run.step(&mut bytes);
        run.splice.check();
        assert_eq!(census.difference(run.splice.keys()), None);
    }
    // Whatever happened: left alone, everything ends, once.
    for _ in 0..40 {
        run.now = run.now + Duration::from_secs(600);
        while run.splice.handle_timeout(run.now, 64) == 64 {}
        run.transmit();
    }
    run.splice.check();
    assert_eq!((run.splice.counts().flows, census.len()), (0, 0));
    let (mut opened, mut closed) = (0, 0);
    while let Some(event) = run.splice.poll_event() {
        opened += u32::from(matches!(event, Event::Opened { .. }));
        closed += u32::from(matches!(event, Event::Closed { .. }));
    }
    assert_eq!(opened, closed);
}

impl Run {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.u8() % 10 {
            0 => self.open(bytes),
            1..=3 => self.segment(true, bytes),
            4..=6 => self.segment(false, bytes),
            7 => {
                self.now = self.now + Duration::from_millis(u64::from(bytes.u8()) * 40);
                self.splice.handle_timeout(self.now, 3);
                self.transmit();
            }
            8 => self.raw(bytes),
            _ => {
                let (flow, backend) = (self.last, BackendId(u16::from(bytes.u8() % 4)));
                if bytes.u8().is_multiple_of(2) {
                    let _ = self.splice.retry(flow, backend, &self.backends, self.now);
                } else {
                    self.splice.abort(flow, self.now);
                }
                self.transmit();
            }
        }
    }

    fn open(&mut self, bytes: &mut Bytes<'_>) {
        let choice = bytes.u8();
        let has = |bit: u8| choice >> bit & 1 != 0;
        let Some(client_link) = link(0) else { return };
        let timestamps = has(0).then_some(HandshakeTimestamps { value: 9, echo: 8 });
        let request = OpenRequest {
            key: key(bytes.u8()),
            client_link,
            backend: BackendId(u16::from(bytes.u8() % 4)),
            client_isn: 1_000,
            client_window: 700,
            mss: 1_400,
            window_scale: has(1).then_some(choice % 15),
            sack_permitted: has(2),
            ecn: has(3),
            handshake: if has(4) {
                Handshake::PassThrough { timestamp: has(0).then_some(9) }
            } else {
                let window_scale = has(1).then_some(7);
                Handshake::Proxied { isn: 2_000, window: 14_600, window_scale, timestamps }
            },
            tag: 0,
        };
        if let Ok(flow) = self.splice.open(&request, &self.backends, self.now) {
            self.last = flow;
        }
        if has(5) {
            self.transmit();
        }
    }

    /// A segment that is nearly what one side would answer.
    fn segment(&mut self, is_client: bool, bytes: &mut Bytes<'_>) {
        let answered = if is_client { self.to_client } else { self.to_backend };
        let mut key = answered.key.reversed();
        let mut is_first = is_client && answered.end == 0;
        if is_client && bytes.u8().is_multiple_of(8) {
            key = self::key(bytes.u8());
            is_first = true;
        }
        let (seq, ack) = if is_first { (1_001, 2_001) } else { (answered.ack, answered.end) };
        let flags = match bytes.u8() % 32 {
            0..=15 if answered.is_syn && !is_client => 0x12,
            0..=9 => 0x10,
            10..=24 => 0x18,
            25..=27 => 0x11,
            28 => 0x12,
            29 => 0x02,
            30 => 0x04,
            _ => 0x14,
        };
        let repr = tcp::Repr {
            source_port: key.source.port,
            destination_port: key.destination.port,
            seq: seq.wrapping_add(offset(bytes)),
            ack: ack.wrapping_add(offset(bytes)),
            flags: tcp::Flags(flags),
            window: u16::from(bytes.u8()) << (bytes.u8() % 9),
        };
        let mut options = [1; 40];
        let options_len = [0, 0, 0, 12, 24, 36, 40, 4][usize::from(bytes.u8() % 8)];
        if options_len >= 12 {
            options[2..4].copy_from_slice(&[8, 10]);
        }
        if options_len >= 24 {
            options[14..16].copy_from_slice(&[5, 10]);
        }
        let mut l4 = [0; 20 + 40 + 255];
        let Some(header_len) = repr.emit(&mut l4, &options[..options_len]) else { return };
        let len = header_len + usize::from(bytes.u8());
        let (core::net::IpAddr::V4(source), core::net::IpAddr::V4(destination)) =
            (key.source.addr, key.destination.addr)
        else {
            return;
        };
        let ip = ipv4::Repr {
            source,
            destination,
            protocol: protocol::TCP,
            payload_len: len as u16,
            ttl: 64,
            dscp_ecn: 0,
            ident: 0,
            dont_fragment: bytes.u8().is_multiple_of(2),
        };
        let mut frame = [0; 14 + 20 + 20 + 40 + 255];
        frame[12] = 8;
        if ip.emit(&mut frame[14..]).is_none() {
            return;
        }
        frame[34..34 + len].copy_from_slice(&l4[..len]);
        self.handle(&frame[..34 + len], u8::from(!is_client));
    }

    /// A frame of any bytes behind an Ethernet header, or an ICMP error about our last packet.
    fn raw(&mut self, bytes: &mut Bytes<'_>) {
        let mut frame = [0; 14 + 20 + 8 + 28];
        for byte in &mut frame[42..] {
            *byte = bytes.u8();
        }
        let Sent { key, end: seq, .. } =
            if bytes.u8().is_multiple_of(2) { self.to_backend } else { self.to_client };
        frame[12] = 8;
        frame[34..38].copy_from_slice(&[3, bytes.u8() % 5, 0, 0]);
        frame[40] = bytes.u8();
        let (core::net::IpAddr::V4(source), core::net::IpAddr::V4(destination)) =
            (key.source.addr, key.destination.addr)
        else {
            return;
        };
        let ip = |source, destination, protocol, payload_len| ipv4::Repr {
            source,
            destination,
            protocol,
            payload_len,
            ttl: 64,
            dscp_ecn: 0,
            ident: 0,
            dont_fragment: true,
        };
        let router = [10, 9, 9, 9].into();
        let _ = ip(router, source, protocol::ICMP, 36).emit(&mut frame[14..]);
        if !bytes.u8().is_multiple_of(4) {
            let _ = ip(source, destination, protocol::TCP, 500).emit(&mut frame[42..]);
            frame[62..64].copy_from_slice(&key.source.port.to_be_bytes());
            frame[64..66].copy_from_slice(&key.destination.port.to_be_bytes());
            frame[66..70].copy_from_slice(&seq.wrapping_add(offset(bytes)).to_be_bytes());
        }
        self.handle(&frame, 1);
    }

    fn handle(&mut self, frame: &[u8], port: u8) {
        let mut memory = [0; 1_024];
        memory[128..128 + frame.len()].copy_from_slice(frame);
        let mut packet = PacketBuf::new(&mut memory, 128, frame.len());
        let Ok(headers) = wire::parse(packet.bytes()) else { return };
        let ingress = Ingress { port: PortId(port), mtu: 1_500, checksum: L4Checksum::Partial };
        let context = Context { backends: &self.backends, ingress };
        let verdict = match headers.protocol {
            protocol::TCP => self.splice.handle(&mut packet, &headers, &context, self.now),
            _ => self.splice.handle_icmp(&mut packet, &headers, &context, self.now),
        };
        if let super::Verdict::Transmit(_) = verdict {
            self.note(&packet);
        }
    }

    fn transmit(&mut self) {
        let mut memory = [0; 1_024];
        loop {
            let mut packet = PacketBuf::new(&mut memory, 128, 0);
            if self.splice.poll_transmit(&mut packet, &self.backends, self.now).is_none() {
                break;
            }
            self.note(&packet);
        }
    }

    /// What left must be a whole packet with right checksums.
    fn note(&mut self, packet: &PacketBuf<'_>) {
        let headers = wire::parse(packet.bytes()).expect("we send what we can read");
        let checksum = wire::checksum::verify_l4(&headers, packet.bytes());
        assert_eq!(checksum, L4Checksum::Valid, "a wrong checksum left");
        let Some(key) = headers.flow_key() else { return };
        let segment = tcp::Segment::new_checked(&packet.bytes()[headers.l4..headers.end]);
        let Ok(segment) = segment else { return };
        let end = segment.seq().wrapping_add(segment.sequence_len());
        let is_syn = segment.flags().is_initial_syn();
        let answer = Sent { key, end, ack: segment.ack(), is_syn };
        if key.source.port == 443 { self.to_client = answer } else { self.to_backend = answer }
    }
}
