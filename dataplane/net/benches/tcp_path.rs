//! What our own TCP costs, in nanoseconds: a segment in, an ACK out, a request with its answer.
//!
//! `cargo bench -p secbeat-net --bench tcp_path`. Each line is the median of 15 runs over as many connections as it
//! says, visited in turn, so that with many the records are not in the cache. Parsing is included, verification of
//! the received checksum is not (the pipeline has done it). Numbers depend on the machine; compare two commits on
//! one.
#![expect(clippy::unwrap_used, reason = "the input is our own")]

use core::hint::black_box;
use core::time::Duration;
use std::time::Instant as Clock;

use secbeat_net::flow::{Endpoint, FlowKey, HashKey, Protocol};
use secbeat_net::link::{Link, PortId};
use secbeat_net::packet::PacketBuf;
use secbeat_net::syncookie::ClientOptions;
use secbeat_net::tcp::{ConnectionId, HandshakeTimestamps, Ingress, Limits, Open, Stack, StackKeys, Verdict};
use secbeat_net::time::Instant;
use secbeat_net::wire::checksum::L4Checksum;
use secbeat_net::wire::tcp::{Flags, Repr, Segment};
use secbeat_net::wire::{ipv4, parse, protocol};

const RUNS: usize = 15;
const HEADROOM: usize = 128;
const CLIENT_ISN: u32 = 999;
const OUR_ISN: u32 = 1_999;
const RESPONSE: [u8; 1_024] = [7; 1_024];

fn run(name: &str, steps: usize, mut step: impl FnMut(usize)) {
    let mut nanos: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Clock::now();
            (0..steps).for_each(&mut step);
            start.elapsed().as_nanos() as f64 / steps as f64
        })
        .collect();
    nanos.sort_by(f64::total_cmp);
    println!("{name:<52} {:>8.1} ns   best {:>8.1} ns", nanos[RUNS / 2], nanos[0]);
}

fn key(index: u32) -> FlowKey {
    let addr = core::net::Ipv4Addr::from(0x0a00_0000 + index / 50_000);
    FlowKey {
        protocol: Protocol::Tcp,
        source: Endpoint { addr: addr.into(), port: 1_024 + (index % 50_000) as u16 },
        destination: Endpoint { addr: [10, 9, 9, 9].into(), port: 443 },
    }
}

fn open(index: u32) -> Open {
    Open {
        key: key(index),
        listener: 0,
        link: Link::new(PortId(0), 1_500, &[2; 14]).unwrap(),
        client_isn: CLIENT_ISN,
        isn: OUR_ISN,
        agreed: ClientOptions {
            mss: 1_460,
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: true,
            ecn: false,
        },
        window: 14_600,
        window_scale: Some(7),
        timestamps: Some(HandshakeTimestamps { value: 50, echo: 60 }),
        client_window: 500,
    }
}

/// Opens connections and holds them.
fn hold(count: u32) {
    let keys = StackKeys { table: HashKey([1, 2]), challenge: HashKey([3, 4]) };
    let limits = Limits { connections_max: count, ..Limits::default() };
    let now = Instant::from_millis(1_000_000);
    let before = resident_mib();
    let mut stack = Stack::new(limits, keys, now);
    let empty = resident_mib() - before;
    run("  open", count as usize / RUNS, |_| {
        black_box(stack.open(&open(stack.counts().connections), now).unwrap());
    });
    let held = stack.counts().connections;
    let used = resident_mib() - before;
    println!("  {held} held in {used:.1} MiB, {empty:.1} of them before the first");
}

/// A connection as its client sees it.
struct Client {
    id: ConnectionId,
    frame: Vec<u8>,
    seq: u32,
    ack: u32,
}

struct World {
    stack: Stack,
    now: Instant,
    clients: Vec<Client>,
    memory: Vec<u8>,
    out: Vec<u8>,
}

impl World {
    fn new(count: u32, payload: usize) -> Self {
        let limits = Limits { connections_max: count, ..Limits::default() };
        let keys = StackKeys { table: HashKey([1, 2]), challenge: HashKey([3, 4]) };
        let now = Instant::from_millis(1_000_000);
        let mut stack = Stack::new(limits, keys, now);
        let clients = (0..count)
            .map(|index| {
                let id = stack.open(&open(index), now).unwrap();
                Client { id, frame: frame(&key(index), payload), seq: CLIENT_ISN + 1, ack: OUR_ISN + 1 }
            })
            .collect();
        Self { stack, now, clients, memory: vec![0; 2_048], out: vec![0; 2_048] }
    }

    /// The client's next segment: with its payload, or (`is_ack`) only the acknowledgement.
    fn receive(&mut self, index: usize, is_ack: bool) {
        let client = &mut self.clients[index];
        let len = if is_ack { 14 + 20 + 32 } else { client.frame.len() };
        let frame = &mut self.memory[HEADROOM..HEADROOM + len];
        frame.copy_from_slice(&client.frame[..len]);
        let mut segment = Segment::new_checked(&mut frame[34..]).unwrap();
        segment.set_seq(client.seq);
        segment.set_ack(client.ack);
        if is_ack {
            frame[16..18].copy_from_slice(&52u16.to_be_bytes());
            let sum = secbeat_net::wire::checksum::internet(&{
                let mut header = [0; 20];
                header.copy_from_slice(&frame[14..34]);
                header[10..12].fill(0);
                header
            });
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        } else {
            client.seq = client.seq.wrapping_add((len - 66) as u32);
        }
        let mut packet = PacketBuf::new(&mut self.memory, HEADROOM, len);
        let headers = parse(packet.bytes()).unwrap();
        let ingress = Ingress { port: PortId(0), mtu: 1_500, checksum: L4Checksum::Valid };
        match self.stack.handle(&mut packet, &headers, &ingress, self.now) {
            Verdict::Data { connection, start, len } => {
                black_box(&packet.bytes()[start..start + len]);
                self.stack.received(connection, &[], self.now);
            }
            Verdict::Consumed | Verdict::Transmit(_) => {}
            other => panic!("{other:?}"),
        }
    }

    /// Everything that is due; the last one's end is what `index` acknowledges next.
    fn transmit(&mut self, index: usize) -> usize {
        let mut count = 0;
        loop {
            let mut packet = PacketBuf::new(&mut self.out, HEADROOM, 0);
            if self.stack.poll_transmit(&mut packet, self.now).is_none() {
                return count;
            }
            count += 1;
            let segment = Segment::new_checked(&packet.bytes()[34..]).unwrap();
            self.clients[index].ack = segment.seq().wrapping_add(segment.sequence_len());
        }
    }
}

fn frame(key: &FlowKey, payload: usize) -> Vec<u8> {
    let mut options = [1; 12];
    options[2..4].copy_from_slice(&[8, 10]);
    options[4..8].copy_from_slice(&60u32.to_be_bytes());
    options[8..].copy_from_slice(&60u32.to_be_bytes());
    let mut tcp = vec![0; 32 + payload];
    let repr = Repr {
        source_port: key.source.port,
        destination_port: key.destination.port,
        seq: 0,
        ack: 0,
        flags: Flags::ACK | Flags::PSH,
        window: 500,
    };
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
    frame
}

/// Resident memory of this process, in MiB.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0.0);
    kib / 1_024.0
}

/// What an attacker can cost: one byte out of order in each segment, never the same (SegmentSmack).
fn smack() {
    let mut world = World::new(1, 1);
    let first = world.clients[0].seq;
    run("  one byte out of order, all ranges in use", 100_000, |step| {
        world.now = world.now + Duration::from_micros(1);
        // Backwards through the window, so that each is nearer than all before and the furthest must go.
        world.clients[0].seq = first.wrapping_add(14_000 - (step as u32 % 7_000) * 2);
        world.receive(0, false);
    });
    println!("  {:?}", world.stack.counts());
}

fn main() {
    hold(100_000);
    smack();
    for count in [1usize, 1_000, 100_000] {
        println!("{count} connections");
        let steps = 200_000;
        let mut world = World::new(count as u32, 1_400);
        run("  1,400 bytes in order, ACK every second", steps, |step| {
            let index = step / 2 % count;
            world.now = world.now + Duration::from_nanos(300);
            world.receive(index, false);
            if step % 2 == 1 {
                world.transmit(index);
            }
        });
        let mut world = World::new(count as u32, 200);
        run("  request 200 in, 1,024 out, ACK in", steps, |step| {
            let index = step % count;
            world.now = world.now + Duration::from_micros(1);
            world.receive(index, false);
            let id = world.clients[index].id;
            assert_eq!(world.stack.send(id, &RESPONSE, world.now), RESPONSE.len());
            assert_eq!(world.transmit(index), 1);
            world.receive(index, true);
            if step % 64 == 0 {
                world.stack.handle_timeout(world.now, 256);
            }
        });
        println!("  {:?}", world.stack.counts());
    }
}
