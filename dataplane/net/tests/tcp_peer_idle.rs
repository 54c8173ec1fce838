//! A hundred thousand connections that wait, on one stack: what they cost, and that they still work afterwards.
//!
//! A process of its own, because it measures its own memory. `cargo test -p secbeat-net --test tcp_peer_idle --
//! --nocapture` prints the figures.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use secbeat_net::flow::{Endpoint, FlowKey, HashKey, Protocol};
use secbeat_net::link::{Link, PortId};
use secbeat_net::packet::PacketBuf;
use secbeat_net::splice::{HandshakeTimestamps, Ingress};
use secbeat_net::syncookie::ClientOptions;
use secbeat_net::tcp::{ConnectionId, Limits, Open, Stack, StackKeys, Verdict};
use secbeat_net::time::Instant;
use secbeat_net::wire::{self, checksum};

#[allow(dead_code, reason = "shared with the simulation, which uses all of it")]
#[path = "tcp_peer/frame.rs"]
mod frame;

use frame::{ACK, Ends, LINK_BYTES};

const CONNECTIONS: u32 = 100_000;
const REQUEST_BYTES: usize = 120;
const RESPONSE: [u8; 400] = [b'r'; 400];
const CLIENT_ISN: u32 = 1_000;
const ISN: u32 = 5_000;
const HEADROOM: usize = 256;

fn ends(number: u32) -> Ends {
    Ends {
        client: IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number / 4)),
        server: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
        client_port: 10_000 + (number % 4) as u16,
        server_port: 443,
    }
}

/// A segment of the client with timestamps.
fn segment(ends: &Ends, seq: u32, ack: u32, clock: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(ends.client_port.to_be_bytes());
    bytes.extend(ends.server_port.to_be_bytes());
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([8 << 4, ACK, 0xff, 0xff, 0, 0, 0, 0, 1, 1, 8, 10]);
    bytes.extend(clock.to_be_bytes());
    bytes.extend(clock.to_be_bytes());
    bytes.extend(payload);
    frame::from_client(ends, &bytes)
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4_096
}

fn handle(stack: &mut Stack, frame: &[u8], now: Instant) -> Verdict {
    let mut buffer = [0; 2_048];
    buffer[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
    let headers = wire::parse(frame).expect("a whole frame");
    let ingress = Ingress { port: PortId(0), mtu: 1_500, checksum: checksum::verify_l4(&headers, frame) };
    let mut packet = PacketBuf::new(&mut buffer, HEADROOM, frame.len());
    stack.handle(&mut packet, &headers, &ingress, now)
}

/// Frames that the stack wants to send, counted.
fn transmit(stack: &mut Stack, now: Instant) -> usize {
    let mut count = 0;
    while stack.has_transmit() {
        let mut buffer = [0; 2_048];
        let mut packet = PacketBuf::new(&mut buffer, HEADROOM, 0);
        if stack.poll_transmit(&mut packet, now).is_none() {
            break;
        }
        count += 1;
    }
    count
}

/// A request, its response, and the ACK of that. `turn` counts the exchanges of this connection.
fn exchange(stack: &mut Stack, number: u32, turn: u32, now: Instant) -> ConnectionId {
    let ends = ends(number);
    let clock = now.as_millis() as u32;
    let seq = CLIENT_ISN + 1 + turn * REQUEST_BYTES as u32;
    let ack = ISN + 1 + turn * RESPONSE.len() as u32;
    let request = segment(&ends, seq, ack, clock, &[b'q'; REQUEST_BYTES]);
    let Verdict::Data { connection, len, .. } = handle(stack, &request, now) else {
        panic!("connection {number} does not take a request")
    };
    assert_eq!(len, REQUEST_BYTES);
    stack.received(connection, &[], now);
    assert_eq!(stack.send(connection, &RESPONSE, now), RESPONSE.len());
    assert_eq!(transmit(stack, now), 1, "the response carries the ACK");
    let answer = segment(&ends, seq + REQUEST_BYTES as u32, ack + RESPONSE.len() as u32, clock, &[]);
    assert_eq!(handle(stack, &answer, now), Verdict::Consumed);
    connection
}

fn open(stack: &mut Stack, number: u32, now: Instant) {
    let ends = ends(number);
    let link = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let open = Open {
        key: FlowKey {
            protocol: Protocol::Tcp,
            source: Endpoint { addr: ends.client, port: ends.client_port },
            destination: Endpoint { addr: ends.server, port: ends.server_port },
        },
        listener: 0,
        link: Link::reply_to(PortId(0), 1_500, &link[..LINK_BYTES]).expect("a whole header"),
        client_isn: CLIENT_ISN,
        isn: ISN,
        agreed: ClientOptions {
            mss: 1_460,
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: true,
            ecn: false,
        },
        window: 14_600,
        window_scale: Some(7),
        timestamps: Some(HandshakeTimestamps { value: 0, echo: now.as_millis() as u32 }),
        client_window: 512,
    };
    stack.open(&open, now).expect("there is room");
}

#[test]
fn hundred_thousand_idle_connections_cost_under_a_kilobyte_each() {
    let keys = StackKeys { table: HashKey([1, 2]), challenge: HashKey([3, 4]) };
    let limits = Limits { connections_max: CONNECTIONS, ..Limits::default() };
    let before = resident();
    let mut now = Instant::from_millis(1_000);
    let mut stack = Stack::new(limits, keys, now);
    let empty = resident();
    let began = std::time::Instant::now();
    for number in 0..CONNECTIONS {
        open(&mut stack, number, now);
        exchange(&mut stack, number, 0, now);
        now = now + Duration::from_micros(10);
    }
    let elapsed = began.elapsed();
    let full = resident();
    let counts = stack.counts();
    let per_connection = (full - before) / u64::from(CONNECTIONS);
    println!(
        "{CONNECTIONS} connections: {} MiB resident ({} MiB of it before the first), {per_connection} bytes each; \
         opened, asked and answered in {:.2} us each",
        (full - before) >> 20,
        (empty - before) >> 20,
        elapsed.as_secs_f64() * 1e6 / f64::from(CONNECTIONS),
    );
    assert_eq!(counts.connections, CONNECTIONS);
    assert_eq!((counts.chunk_bytes, counts.segments_in_flight), (0, 0), "an idle connection holds no buffer");
    assert!(counts.chunk_bytes_peak <= 4_096, "one response at a time was under way");
    assert!(per_connection < 1_024, "{per_connection} bytes per idle connection");

    // An hour passes in which nobody says anything; then everybody does.
    for _ in 0..3_600 {
        now = now + Duration::from_secs(1);
        while stack.handle_timeout(now, 1_000) == 1_000 {}
        assert_eq!(transmit(&mut stack, now), 0, "an idle connection sends nothing");
    }
    let began = std::time::Instant::now();
    for number in 0..CONNECTIONS {
        exchange(&mut stack, number, 1, now);
    }
    let each = began.elapsed().as_secs_f64() * 1e6 / f64::from(CONNECTIONS);
    println!(
        "a request and its response later: {each:.2} us each, {} MiB resident",
        (resident() - before) >> 20
    );
    assert_eq!((stack.counts().chunk_bytes, stack.counts().segments_in_flight), (0, 0));
}
