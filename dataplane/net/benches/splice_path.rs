//! What a spliced segment costs, in nanoseconds: parse, find the flow, check, rewrite, remember.
//!
//! `cargo bench -p secbeat-net --bench splice_path`. Each line is the median of 15 runs over as many flows as it says,
//! visited in turn, so that with many flows the records are not in the cache. Numbers depend on the machine;
//! compare two commits on one.
#![expect(clippy::unwrap_used, reason = "the input is our own")]

use core::hint::black_box;
use std::time::Instant as Clock;

use secbeat_net::flow::{Endpoint, FlowKey, HashKey, Protocol};
use secbeat_net::link::{Link, PortId};
use secbeat_net::packet::PacketBuf;
use secbeat_net::splice::{
    BackendId, BackendTarget, Backends, Context, Handshake, HandshakeTimestamps, Ingress, OpenRequest,
    PortRange, Source, Splice, SpliceKeys, SpliceLimits, Verdict,
};
use secbeat_net::time::Instant;
use secbeat_net::timer_wheel::TimerWheel;
use secbeat_net::wire::checksum::{L4Checksum, complete_l4};
use secbeat_net::wire::tcp::{Flags, Repr, Segment};
use secbeat_net::wire::{ipv4, parse, protocol};

const RUNS: usize = 15;
const NOW: Instant = Instant::from_millis(1_000_000);
const HEADROOM: usize = 128;

fn run(name: &str, steps: usize, mut step: impl FnMut(usize)) {
    let mut nanos: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Clock::now();
            (0..steps).for_each(&mut step);
            start.elapsed().as_nanos() as f64 / steps as f64
        })
        .collect();
    nanos.sort_by(f64::total_cmp);
    println!("{name:<44} {:>8.1} ns   best {:>8.1} ns", nanos[RUNS / 2], nanos[0]);
}

fn frame(key: &FlowKey, repr: Repr, timestamps: (u32, u32), payload: usize) -> Vec<u8> {
    let mut options = [1; 12];
    options[2..4].copy_from_slice(&[8, 10]);
    options[4..8].copy_from_slice(&timestamps.0.to_be_bytes());
    options[8..].copy_from_slice(&timestamps.1.to_be_bytes());
    let mut tcp = vec![0; 32 + payload];
    repr.emit(&mut tcp, &options).unwrap();
    let mut frame = vec![2; 12];
    frame.extend([8, 0]);
    frame.resize(34, 0);
    let (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) =
        (key.source.addr, key.destination.addr)
    else {
        panic!("the bench is IPv4")
    };
    let ip = ipv4::Repr {
        source,
        destination,
        protocol: protocol::TCP,
        payload_len: tcp.len() as u16,
        ttl: 60,
        dscp_ecn: 0,
        ident: 0,
        dont_fragment: true,
    };
    ip.emit(&mut frame[14..]).unwrap();
    frame.extend(tcp);
    let headers = parse(&frame).unwrap();
    assert!(complete_l4(&headers, &mut frame));
    frame
}

struct World {
    splice: Splice,
    backends: Backends,
    memory: Vec<u8>,
}

impl World {
    fn new(flows: u32) -> Self {
        let limits = SpliceLimits {
            flows_max: flows * 2,
            half_open_max: flows,
            backends_max: 8,
            ports: PortRange { first: 10_000, last: 59_999 },
            ..SpliceLimits::default()
        };
        let keys = SpliceKeys { table: HashKey([1, 2]), isn: HashKey([3, 4]) };
        let mut backends = Backends::default();
        for id in 0..8 {
            let target = BackendTarget {
                endpoint: Endpoint { addr: [10, 1, 0, id as u8].into(), port: 80 },
                link: Link::new(PortId(1), 1_500, &[3; 14]),
                source: Source::Snat(std::iter::once([10, 1, 1, 1].into()).collect()),
                proxy_protocol: false,
            };
            backends.set(BackendId(id), Some(target));
        }
        Self { splice: Splice::new(limits, keys), backends, memory: vec![0; 2_048] }
    }

    fn key(index: u32) -> FlowKey {
        let addr = core::net::Ipv4Addr::from(0x0a00_0000 + index / 50_000);
        FlowKey {
            protocol: Protocol::Tcp,
            source: Endpoint { addr: addr.into(), port: 1_024 + (index % 50_000) as u16 },
            destination: Endpoint { addr: [10, 9, 9, 9].into(), port: 443 },
        }
    }

    fn handle(&mut self, frame: &[u8], port: u8) -> Verdict {
        self.memory[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
        let mut packet = PacketBuf::new(&mut self.memory, HEADROOM, frame.len());
        let headers = parse(packet.bytes()).unwrap();
        let ingress = Ingress { port: PortId(port), mtu: 1_500, checksum: L4Checksum::Valid };
        self.splice.handle(&mut packet, &headers, &Context { backends: &self.backends, ingress }, NOW)
    }

    /// Opens a flow and answers for the backend; gives a data segment of each side.
    fn establish(&mut self, index: u32, payload: usize) -> [Vec<u8>; 2] {
        let key = Self::key(index);
        let request = OpenRequest {
            key,
            client_link: Link::new(PortId(0), 1_500, &[2; 14]).unwrap(),
            backend: BackendId((index % 8) as u16),
            client_isn: 999,
            client_window: 60_000,
            mss: 1_460,
            window_scale: Some(7),
            sack_permitted: true,
            ecn: false,
            handshake: Handshake::Proxied {
                isn: 1_999,
                window: 14_600,
                window_scale: Some(7),
                timestamps: Some(HandshakeTimestamps { value: 50, echo: 60 }),
            },
            tag: 0,
        };
        self.splice.open(&request, &self.backends, NOW).unwrap();
        let mut packet = PacketBuf::new(&mut self.memory, HEADROOM, 0);
        self.splice.poll_transmit(&mut packet, &self.backends, NOW).unwrap();
        let headers = parse(packet.bytes()).unwrap();
        let syn = Segment::new_checked(&packet.bytes()[headers.l4..headers.end]).unwrap();
        let (iss, back) = (syn.seq(), headers.flow_key().unwrap().reversed());
        let clock = syn.options().unwrap().timestamps.unwrap().value;
        let repr = |key: &FlowKey, flags, seq, ack| Repr {
            source_port: key.source.port,
            destination_port: key.destination.port,
            seq,
            ack,
            flags,
            window: 60_000,
        };
        let next = iss.wrapping_add(1);
        let syn_ack = frame(&back, repr(&back, Flags::SYN_ACK, 2_999, next), (70, clock), 0);
        assert!(matches!(self.handle(&syn_ack, 1), Verdict::Transmit(PortId(1))));
        while self.splice.poll_event().is_some() {}
        [
            frame(&key, repr(&key, Flags::ACK, 1_000, 2_000), (51, 60), payload),
            frame(&back, repr(&back, Flags::ACK, 3_000, next), (71, clock), payload),
        ]
    }
}

fn main() {
    for (flows, payload) in [(1_024u32, 0usize), (1_024, 1_400), (200_000, 0)] {
        let mut world = World::new(flows);
        let frames: Vec<[Vec<u8>; 2]> = (0..flows).map(|index| world.establish(index, payload)).collect();
        let steps = (flows as usize).max(200_000);
        for (side, name) in ["from client", "from backend"].into_iter().enumerate() {
            run(&format!("splice {name}, {flows} flows, {payload} bytes"), steps, |step| {
                let frame = &frames[step % frames.len()][side];
                let verdict = world.handle(black_box(frame), side as u8);
                assert!(matches!(verdict, Verdict::Transmit(_)));
            });
        }
        if payload == 0 {
            let strangers: Vec<Vec<u8>> = frames
                .iter()
                .map(|[client, _]| {
                    let mut frame = client.clone();
                    frame[29] ^= 0x55;
                    let sum = 0u16.to_be_bytes();
                    frame[24..26].copy_from_slice(&sum);
                    let sum = secbeat_net::wire::checksum::internet(&frame[14..34]);
                    frame[24..26].copy_from_slice(&sum.to_be_bytes());
                    frame
                })
                .collect();
            run(&format!("miss among {flows} flows"), steps, |step| {
                let verdict = world.handle(black_box(&strangers[step % strangers.len()]), 0);
                assert_eq!(verdict, Verdict::Miss);
            });
        }
    }
    let mut wheel = TimerWheel::new(1_024, NOW);
    run("timer wheel: schedule", 1_000_000, |step| {
        wheel.schedule((step % 1_024) as u32, Instant::from_millis(1_000_000 + (step % 70_000) as u64));
    });
}
