//! Connections that end in a worker: requests over our own TCP to a real server behind it.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{Read, Write};
use std::net::TcpListener;

use secbeat_net::verdict::DropReason;
use secbeat_net::wire::tcp::Flags;
use secbeat_node::telemetry::counters::Counter;
use secbeat_node::worker::shared::Stage;

use super::packet::{Datagram, Segment};
use super::talk::CLIENT_ISN;
use super::world::{VIP, World, at};

/// How long a real server on loopback may take.
const PATIENCE: Duration = Duration::from_secs(10);

const REQUEST: &[u8] = b"GET /page HTTP/1.1\r\nHost: example.test\r\n\r\n";

/// A server that answers each request with a page of this many bytes.
fn origin(page_bytes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let (mut heard, mut buffer) = (Vec::new(), [0; 4_096]);
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    heard.extend_from_slice(&buffer[..count]);
                    if heard.ends_with(b"\r\n\r\n") {
                        heard.clear();
                        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {page_bytes}\r\n\r\n");
                        let page = [head.into_bytes(), vec![b'x'; page_bytes]].concat();
                        if stream.write_all(&page).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

fn config(origin: SocketAddr, more: &str) -> String {
    format!(
        "[server]\nmode = \"l7\"\n[io]\nsnat_ports = \"20000-23999\"\n[syn_proxy]\nsyn_cookies = \"always\"\n\
         [flows]\nmax_per_worker = 64\n[waf]\nrate_limit_rps = 0\n[health]\nenable = false\n\
         [limits]\nsource_rate = 0\nsource_connections = 0\n{more}\n\
         [[listeners]]\nname = \"web\"\nbind_address = \"0.0.0.0:80\"\ntls = false\nbackends = [\"one\"]\n\
         [[backends]]\nname = \"one\"\naddress = \"{origin}\"\n"
    )
}

/// One client's connection, as the client knows it.
struct Client {
    addr: SocketAddr,
    seq: u32,
    ack: u32,
    echo: u32,
    heard: Vec<u8>,
    flags: Flags,
}

impl Client {
    /// SYN and SYN-ACK; nothing is acknowledged yet.
    fn knock(world: &mut World, addr: SocketAddr) -> Self {
        let answer = world.syn(addr).expect("a SYN-ACK");
        let echo = answer.timestamps.expect("timestamps").value;
        Self {
            addr,
            seq: CLIENT_ISN + 1,
            ack: answer.seq.wrapping_add(1),
            echo,
            heard: Vec::new(),
            flags: Flags::NONE,
        }
    }

    fn segment(&self, flags: Flags, payload: &[u8]) -> Segment {
        Segment::new(self.addr, at(VIP, 80), flags, self.seq, self.ack)
            .with_timestamps(6, self.echo)
            .with_payload(payload)
    }

    fn say(&mut self, world: &mut World, payload: &[u8]) {
        let answers = world.client(&self.segment(Flags::ACK | Flags::PSH, payload));
        self.seq = self.seq.wrapping_add(payload.len() as u32);
        self.listen(world, answers);
    }

    fn finish(&mut self, world: &mut World) {
        let answers = world.client(&self.segment(Flags::FIN_ACK, b""));
        self.seq = self.seq.wrapping_add(1);
        self.listen(world, answers);
    }

    /// Takes what is in order and acknowledges it.
    fn listen(&mut self, world: &mut World, answers: Vec<Segment>) {
        let mut queue = answers;
        while !queue.is_empty() {
            let mut is_new = false;
            for segment in queue.drain(..).filter(|segment| segment.destination == self.addr) {
                self.flags = self.flags | segment.flags;
                if segment.flags.contains(Flags::RST) || segment.seq != self.ack {
                    continue;
                }
                let len = segment.payload.len() as u32 + u32::from(segment.flags.contains(Flags::FIN));
                self.ack = self.ack.wrapping_add(len);
                self.heard.extend_from_slice(&segment.payload);
                is_new |= len > 0;
            }
            if is_new {
                queue = world.client(&self.segment(Flags::ACK, b""));
            }
        }
    }

    /// Lets time pass until `done` holds.
    fn wait(&mut self, world: &mut World, what: &str, done: impl Fn(&Self, &World) -> bool) {
        let start = std::time::Instant::now();
        while !done(self, world) {
            assert!(start.elapsed() < PATIENCE, "{what}; heard {:?}", String::from_utf8_lossy(&self.heard));
            std::thread::sleep(Duration::from_millis(1));
            world.pass(Duration::from_millis(1));
            let answers = world.to_clients();
            self.listen(world, answers);
        }
    }

    fn wait_for_page(&mut self, world: &mut World, page_bytes: usize) {
        self.wait(world, "a page", |client, _| {
            let head = client.heard.windows(4).position(|window| window == b"\r\n\r\n");
            head.is_some_and(|head| client.heard.len() == head + 4 + page_bytes)
        });
        assert!(self.heard.starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&self.heard));
    }
}

#[test]
fn request_on_the_segment_that_validates_the_cookie_is_answered() {
    let mut world = World::new(&config(origin(5), ""));
    let mut client = Client::knock(&mut world, at("10.1.0.9", 4_000));
    assert_eq!(world.count(Counter::CookiesSent), 1);
    assert_eq!(world.workers[0].pipeline().terminator().expect("l7").stack().counts().connections, 0);
    client.say(&mut world, REQUEST);
    client.wait_for_page(&mut world, 5);
    assert!(client.heard.ends_with(b"xxxxx"));
    assert_eq!(world.count(Counter::ConnectionsOpened), 1);
    assert_eq!(world.drops(DropReason::CookieInvalid), 0);
}

#[test]
fn requests_follow_each_other_and_the_end_gives_the_place_back() {
    for cookies in ["always", "never", "auto"] {
        let text = config(origin(40_000), "").replace("always", cookies);
        let mut world = World::new(&text);
        let mut client = Client::knock(&mut world, at("10.1.0.9", 4_000));
        client.say(&mut world, b"");
        assert_eq!(world.shared.limits.connections(), 1);
        for _ in 0..3 {
            client.heard.clear();
            client.say(&mut world, REQUEST);
            client.wait_for_page(&mut world, 40_000);
        }
        client.finish(&mut world);
        client.wait(&mut world, "the end", |client, world| {
            client.flags.contains(Flags::FIN) && world.shared.limits.connections() == 0
        });
        assert_eq!(world.count(Counter::ConnectionsClosed), 1, "{cookies}");
    }
}

#[test]
fn request_in_single_bytes_out_of_order_is_put_together() {
    let mut world = World::new(&config(origin(5), ""));
    let mut client = Client::knock(&mut world, at("10.1.0.9", 4_000));
    client.say(&mut world, b"");
    // The second half first, then the first half byte by byte.
    let (first, second) = REQUEST.split_at(20);
    let mut late = client.segment(Flags::ACK | Flags::PSH, second);
    late.seq = late.seq.wrapping_add(first.len() as u32);
    let answers = world.client(&late);
    assert!(answers.iter().any(|answer| answer.ack == client.seq), "a duplicate ACK: {answers:?}");
    for byte in first {
        client.say(&mut world, &[*byte]);
    }
    client.seq = client.seq.wrapping_add(second.len() as u32);
    client.wait_for_page(&mut world, 5);
}

#[test]
fn reset_by_the_client_gives_the_place_back_at_once() {
    let mut world =
        World::new(&config(origin(5), "").replace("source_connections = 0", "source_connections = 1"));
    let mut client = Client::knock(&mut world, at("10.1.0.9", 4_000));
    client.say(&mut world, b"");
    let mut other = Client::knock(&mut world, at("10.1.0.9", 4_001));
    other.say(&mut world, REQUEST);
    assert_eq!(world.drops(DropReason::ConnectionLimit), 1, "one connection per source");
    world.client(&client.segment(Flags::RST_ACK, b""));
    assert_eq!(world.shared.limits.connections(), 0);
    other.seq = CLIENT_ISN + 1;
    other.say(&mut world, REQUEST);
    other.wait_for_page(&mut world, 5);
}

#[test]
fn forged_segments_open_nothing_and_get_no_answer() {
    let mut world = World::new(&config(origin(5), ""));
    for port in 1_000..1_200 {
        world.client(
            &Segment::new(at("10.1.0.9", port), at(VIP, 80), Flags::ACK | Flags::PSH, 5, 7)
                .with_payload(REQUEST),
        );
    }
    assert_eq!(world.drops(DropReason::CookieInvalid), 200);
    assert_eq!(world.workers[0].pipeline().terminator().expect("l7").stack().counts().connections, 0);
    assert!(world.is_silent());
}

#[test]
fn segment_that_lands_on_another_core_reaches_the_connection() {
    let mut world = World::with_workers(&config(origin(5), ""), 2);
    let mut client = Client::knock(&mut world, at("10.1.0.9", 4_000));
    client.say(&mut world, b"");
    let frame =
        client.segment(Flags::ACK | Flags::PSH, REQUEST).frame(super::world::CLIENT_MAC, [2, 0, 0, 0, 0, 1]);
    world.inject(1, 0, &frame);
    assert_eq!(world.workers[1].counters().get(Counter::FramesHandedOver), 1);
    client.seq = client.seq.wrapping_add(REQUEST.len() as u32);
    client.wait_for_page(&mut world, 5);
}

#[test]
fn listeners_of_all_modes_live_in_one_worker() {
    let more = "[[listeners]]\nname = \"old\"\nmode = \"syn\"\nbind_address = \"10.1.0.1:81\"\nbackends = [\"far\"]\n\
                [[listeners]]\nname = \"dns\"\nprotocol = \"udp\"\nbind_address = \"10.1.0.1:5300\"\nbackends = [\"far\"]\n\
                [[backends]]\nname = \"far\"\naddress = \"10.2.0.11:8080\"\n";
    let mut world = World::new(&(config(origin(5), "") + more));
    let mut client = Client::knock(&mut world, at("10.1.0.9", 4_000));
    client.say(&mut world, REQUEST);
    client.wait_for_page(&mut world, 5);
    assert!(world.to_backends().is_empty(), "requests go through the kernel");
    // The same worker still forwards: SYN with the same options to the other port, and a datagram.
    let syn = Segment::new(at("10.1.0.9", 4_001), at(VIP, 81), Flags::SYN, CLIENT_ISN, 0).with_syn_options(5);
    let answer = world.client(&syn).pop().expect("a cookie");
    world.client(&world.ack_of(&answer));
    let opened = world.to_backends().pop().expect("a SYN to the backend");
    assert_eq!((opened.flags, opened.destination), (Flags::SYN, at("10.2.0.11", 8_080)));
    let question =
        Datagram { source: at("10.1.0.9", 4_002), destination: at(VIP, 5_300), payload: b"q".to_vec() };
    let sent = world.datagram(0, &question);
    assert!(matches!(&sent[..], [(1, datagram)] if datagram.payload == b"q"), "{sent:?}");
    assert_eq!(world.shared.limits.connections(), 2);
}

#[test]
fn path_that_carries_less_is_learnt_from_icmp() {
    let mut world = World::new(&config(origin(20_000), ""));
    let client = Client::knock(&mut world, at("10.1.0.9", 4_000));
    let request = client.segment(Flags::ACK | Flags::PSH, REQUEST);
    let mut sent = world.client(&request);
    let start = std::time::Instant::now();
    while !sent.iter().any(|segment| segment.payload.len() > 1_000) {
        assert!(start.elapsed() < PATIENCE, "{sent:?}");
        std::thread::sleep(Duration::from_millis(1));
        world.pass(Duration::from_millis(1));
        sent = world.to_clients();
    }
    let large = sent.iter().find(|segment| segment.payload.len() > 1_000).expect("a full segment");
    world.inject(0, 0, &super::packet::too_big(large, at("10.1.0.254", 0), 1_000, super::world::CLIENT_MAC));
    world.pass(Duration::from_millis(5));
    let again = world.to_clients();
    let largest = again.iter().map(|segment| segment.payload.len()).max().expect("sent again");
    assert!((500..=960).contains(&largest), "{largest}");
    assert!(again.iter().any(|segment| segment.seq == large.seq), "the lost one first");
}

#[test]
fn draining_worker_finishes_the_request_and_then_has_nothing_left() {
    let mut world = World::new(&config(origin(200_000), ""));
    let mut client = Client::knock(&mut world, at("10.1.0.9", 4_000));
    client.say(&mut world, REQUEST);
    world.shared.set_stage(Stage::Drain);
    world.pass(Duration::from_millis(2));
    assert!(world.syn(at("10.1.0.10", 1)).is_none(), "nobody new");
    client.wait(&mut world, "the page and the end", |client, _| client.flags.contains(Flags::FIN));
    assert!(client.heard.len() > 200_000, "{}", client.heard.len());
    client.finish(&mut world);
    client.wait(&mut world, "nothing left", |_, world| world.workers[0].is_drained());
}

#[test]
fn worker_that_must_stop_resets_its_clients() {
    let mut world = World::new(&config(origin(5), ""));
    let mut client = Client::knock(&mut world, at("10.1.0.9", 4_000));
    client.say(&mut world, b"");
    let now = world.now;
    assert_eq!(world.workers[0].shut_down(now), 1);
    assert!(world.to_clients().iter().any(|segment| segment.flags.contains(Flags::RST)));
    assert_eq!(world.shared.limits.connections(), 0);
}
