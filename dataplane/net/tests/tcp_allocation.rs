//! No allocation after `Stack::new`: a whole life of many connections with data both ways, holes, timers and ends,
//! counted.

use core::time::Duration;

use secbeat_net::flow::{Endpoint, FlowKey, HashKey, Protocol};
use secbeat_net::link::{Link, PortId};
use secbeat_net::packet::PacketBuf;
use secbeat_net::syncookie::ClientOptions;
use secbeat_net::tcp::{Event, Ingress, Limits, Open, Stack, StackKeys, Verdict};
use secbeat_net::time::Instant;
use secbeat_net::wire::checksum::L4Checksum;
use secbeat_net::wire::tcp::{Flags, Repr};
use secbeat_net::wire::{ipv4, parse, protocol};

const CLIENTS: u16 = 2_000;
const CLIENT_ISN: u32 = 99;
const OUR_ISN: u32 = 499;

struct World {
    stack: Stack,
    now: Instant,
    memory: [u8; 2_048],
    lent: usize,
}

fn key(port: u16) -> FlowKey {
    FlowKey {
        protocol: Protocol::Tcp,
        source: Endpoint { addr: [10, 0, 0, 1].into(), port: 1_024 + port },
        destination: Endpoint { addr: [10, 0, 0, 2].into(), port: 443 },
    }
}

impl World {
    fn send(&mut self, port: u16, flags: Flags, seq: u32, ack: u32, payload: usize) {
        let repr = Repr {
            source_port: 1_024 + port,
            destination_port: 443,
            seq: CLIENT_ISN + seq,
            ack: OUR_ISN + ack,
            flags,
            window: 1_000,
        };
        let ip = ipv4::Repr {
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            protocol: protocol::TCP,
            payload_len: 20 + payload as u16,
            ttl: 64,
            dscp_ecn: 0,
            ident: 0,
            dont_fragment: true,
        };
        let frame = &mut self.memory[128..128 + 54 + payload];
        frame[..12].fill(2);
        frame[12..14].copy_from_slice(&[8, 0]);
        ip.emit(&mut frame[14..]).expect("room");
        repr.emit(&mut frame[34..], &[]).expect("room");
        let len = frame.len();
        let mut packet = PacketBuf::new(&mut self.memory, 128, len);
        let headers = parse(packet.bytes()).expect("our own");
        let ingress = Ingress { port: PortId(0), mtu: 1_500, checksum: L4Checksum::Valid };
        if let Verdict::Data { connection, len, start } =
            self.stack.handle(&mut packet, &headers, &ingress, self.now)
        {
            self.lent += len;
            // Every third time the owner leaves half.
            let taken = if self.lent.is_multiple_of(3) { len / 2 } else { len };
            let rest = packet.bytes().get(start + taken..start + len).unwrap_or(&[]);
            self.stack.received(connection, rest, self.now);
        }
    }

    fn turn(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        while self.stack.handle_timeout(self.now, 64) == 64 {}
        loop {
            let mut packet = PacketBuf::new(&mut self.memory, 128, 0);
            if self.stack.poll_transmit(&mut packet, self.now).is_none() {
                break;
            }
        }
        while let Some(event) = self.stack.poll_event() {
            if let Event::Readable { connection, .. } = event {
                loop {
                    let len = self.stack.peek(connection).len();
                    if len == 0 {
                        break;
                    }
                    self.stack.consume(connection, len, self.now);
                }
            }
        }
    }

    fn life(&mut self) {
        for port in 0..CLIENTS {
            let open = Open {
                key: key(port),
                listener: 0,
                link: Link::new(PortId(0), 1_500, &[2; 14]).expect("a header"),
                client_isn: CLIENT_ISN,
                isn: OUR_ISN,
                agreed: ClientOptions {
                    mss: 1_460,
                    window_scale: Some(7),
                    sack_permitted: true,
                    timestamps: false,
                    ecn: false,
                },
                window: 14_600,
                window_scale: Some(7),
                timestamps: None,
                client_window: 1_000,
            };
            let id = self.stack.open(&open, self.now).expect("room");
            self.send(port, Flags::ACK, 1, 1, 700);
            self.send(port, Flags::ACK, 1_401, 1, 700);
            self.send(port, Flags::ACK, 701, 1, 700);
            self.stack.send(id, &[1; 6_000], self.now);
            if port % 3 == 0 {
                self.stack.finish(id, self.now);
            }
        }
        self.turn(1);
        self.turn(50);
        for port in 0..CLIENTS {
            // The first two segments are lost for some.
            let end = if port % 3 == 0 { 6_002 } else { 6_001 };
            self.send(port, Flags::ACK, 2_101, if port % 2 == 0 { end } else { 1 }, 0);
            if port % 5 == 0 {
                self.send(port, Flags::FIN_ACK, 2_101, end, 0);
            }
        }
        for _ in 0..600 {
            self.turn(1_000);
        }
    }
}

#[test]
fn connections_live_and_end_without_allocation() {
    let limits = Limits { connections_max: u32::from(CLIENTS), time_wait_max: 500, ..Limits::default() };
    let keys = StackKeys { table: HashKey([1, 2]), challenge: HashKey([3, 4]) };
    let now = Instant::from_millis(1_000);
    let stack = Stack::new(limits, keys, now);
    let mut world = World { stack, now, memory: [0; 2_048], lent: 0 };
    let counted = allocation_counter::measure(|| world.life());
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
    assert_eq!(world.stack.counters().opened, u64::from(CLIENTS));
    assert!(world.stack.counters().out_of_order >= u64::from(CLIENTS));
    assert!(world.stack.counters().time_wait > 0);
    assert!(world.stack.send_counters().retransmitted > 0);
}
