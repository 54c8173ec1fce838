//! UDP forwarding, read as a trace of datagrams.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use arrayvec::ArrayVec;

use super::*;
use crate::flow::HashKey;
use crate::icmp::Quote;
use crate::link::PortId;
use crate::proxy_protocol::{self, Message};
use crate::splice::{Ingress, PortRange, Traffic};
use crate::wire::checksum::verify_l4;
use crate::wire::icmp::Error;
use crate::wire::{self, ipv4, ipv6, protocol, udp};

const CLIENT_PORT: PortId = PortId(0);
const BACKEND_PORT: PortId = PortId(1);
const BACKEND: BackendId = BackendId(0);

#[derive(Clone, Copy)]
struct Setup {
    client_v6: bool,
    backend_v6: bool,
    proxy_protocol: bool,
    is_transparent: bool,
    flows_max: u32,
    ports: u16,
    factor: u32,
    header: UdpProxyHeader,
}

const PLAIN: Setup = Setup {
    client_v6: false,
    backend_v6: false,
    proxy_protocol: false,
    is_transparent: false,
    flows_max: 4,
    ports: 8,
    factor: 10,
    header: UdpProxyHeader::UntilAnswered,
};

struct World {
    forwarder: UdpForwarder,
    backends: Backends,
    now: Instant,
    client: SocketAddr,
    listener: SocketAddr,
    backend: SocketAddr,
    source: SocketAddr,
    checksum: L4Checksum,
    dont_fragment: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Datagram {
    source: SocketAddr,
    destination: SocketAddr,
    payload: Vec<u8>,
    has_checksum: bool,
}

#[derive(Debug, PartialEq)]
enum Out {
    ToClient(Datagram),
    ToBackend(Datagram),
    Error(PortId, ErrorKind),
    Drop(DropReason),
    Miss,
}

impl Out {
    #[track_caller]
    fn sent(self) -> Datagram {
        match self {
            Self::ToClient(datagram) | Self::ToBackend(datagram) => datagram,
            other => panic!("not sent: {other:?}"),
        }
    }
}

fn address(v6: bool, host: u8, port: u16) -> SocketAddr {
    if v6 {
        SocketAddr::new(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(host)]), port)
    } else {
        SocketAddr::from(([10, 0, 0, host], port))
    }
}

fn endpoint(addr: SocketAddr) -> Endpoint {
    Endpoint { addr: addr.ip(), port: addr.port() }
}

fn link(port: PortId, mtu: u16) -> Link {
    Link::new(port, mtu, &[[0xb0; 6].as_slice(), &[0xa0; 6], &[8, 0]].concat()).unwrap()
}

fn frame(source: SocketAddr, destination: SocketAddr, payload: &[u8], dont_fragment: bool) -> Vec<u8> {
    let mut frame = [[0xa0; 6].as_slice(), &[0xc1; 6]].concat();
    let len = (payload.len() + 8) as u16;
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([8, 0]);
            frame.resize(34, 0);
            let repr = ipv4::Repr {
                source,
                destination,
                protocol: protocol::UDP,
                payload_len: len,
                ttl: 50,
                dscp_ecn: 0,
                ident: 7,
                dont_fragment,
            };
            repr.emit(&mut frame[14..]).unwrap();
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend([0x86, 0xdd]);
            frame.resize(54, 0);
            let repr = ipv6::Repr {
                source,
                destination,
                next_header: protocol::UDP,
                payload_len: len,
                hop_limit: 50,
                traffic_class: 0,
                flow_label: 0,
            };
            repr.emit(&mut frame[14..]).unwrap();
        }
        _ => panic!("addresses of two families"),
    }
    let at = frame.len();
    frame.resize(at + 8, 0);
    udp::emit(&mut frame[at..], source.port(), destination.port(), payload.len() as u16).unwrap();
    frame.extend(payload);
    let headers = wire::parse(&frame).unwrap();
    assert!(checksum::complete_l4(&headers, &mut frame));
    frame
}

impl World {
    fn new(setup: Setup) -> Self {
        let limits = UdpLimits {
            flows_max: setup.flows_max,
            backends_max: 1,
            ports: PortRange { first: 40_000, last: 40_000 + setup.ports - 1 },
            amplification_factor: setup.factor,
            proxy_header: setup.header,
            ..UdpLimits::default()
        };
        let ours = address(setup.backend_v6, 4, 0).ip();
        let source = if setup.is_transparent {
            Source::Transparent
        } else {
            Source::Snat(ArrayVec::from_iter([ours]))
        };
        let backend = address(setup.backend_v6, 3, 53);
        let mut backends = Backends::default();
        backends.set(
            BACKEND,
            Some(BackendTarget {
                endpoint: endpoint(backend),
                link: Some(link(BACKEND_PORT, 1_500)),
                source,
                proxy_protocol: setup.proxy_protocol,
            }),
        );
        let keys = SpliceKeys { table: HashKey([1, 2]), isn: HashKey([3, 4]) };
        Self {
            forwarder: UdpForwarder::new(limits, keys),
            backends,
            now: Instant::from_millis(500_000),
            client: address(setup.client_v6, 1, 4_000),
            listener: address(setup.client_v6, 2, 5_300),
            backend,
            source: SocketAddr::new(ours, 40_000),
            checksum: L4Checksum::Valid,
            dont_fragment: true,
        }
    }

    fn open(&mut self) -> Result<FlowId, DropReason> {
        let request = UdpOpenRequest {
            key: FlowKey {
                protocol: Protocol::Udp,
                source: endpoint(self.client),
                destination: endpoint(self.listener),
            },
            client_link: link(CLIENT_PORT, 1_500),
            backend: BACKEND,
            tag: 5,
        };
        self.forwarder.open(&request, &self.backends, self.now)
    }

    fn handle(&mut self, port: PortId, bytes: &[u8]) -> Out {
        let mut memory = vec![0; 10_000];
        memory[256..256 + bytes.len()].copy_from_slice(bytes);
        let mut packet = PacketBuf::new(&mut memory, 256, bytes.len());
        let headers = wire::parse(packet.bytes()).unwrap();
        let ingress = Ingress { port, mtu: 1_500, checksum: self.checksum };
        let context = Context { backends: &self.backends, ingress };
        let verdict = if headers.protocol == protocol::UDP {
            self.forwarder.handle(&mut packet, &headers, &context, self.now)
        } else {
            self.forwarder.handle_icmp(&mut packet, &headers, &context)
        };
        self.forwarder.check();
        let port = match verdict {
            Verdict::Transmit(port) => port,
            Verdict::Drop(reason) => return Out::Drop(reason),
            Verdict::Miss => return Out::Miss,
            other => panic!("{other:?}"),
        };
        let headers = wire::parse(packet.bytes()).unwrap();
        assert_eq!(verify_l4(&headers, packet.bytes()), L4Checksum::Valid);
        if headers.protocol != protocol::UDP {
            return Out::Error(port, Error::parse(packet.bytes(), &headers).unwrap().unwrap().kind);
        }
        let datagram = Datagram {
            source: (headers.source, headers.source_port).into(),
            destination: (headers.destination, headers.destination_port).into(),
            payload: packet.bytes()[headers.payload..headers.end].to_vec(),
            has_checksum: packet.bytes()[headers.l4 + 6..headers.l4 + 8] != [0, 0],
        };
        if port == CLIENT_PORT { Out::ToClient(datagram) } else { Out::ToBackend(datagram) }
    }

    fn client_sends(&mut self, payload: &[u8]) -> Out {
        let bytes = frame(self.client, self.listener, payload, self.dont_fragment);
        self.handle(CLIENT_PORT, &bytes)
    }

    fn backend_sends(&mut self, payload: &[u8]) -> Out {
        let bytes = frame(self.backend, self.source, payload, self.dont_fragment);
        self.handle(BACKEND_PORT, &bytes)
    }

    fn pass_time(&mut self, time: Duration) {
        self.now = self.now + time;
        while self.forwarder.handle_timeout(self.now, 8) == 8 {}
        self.forwarder.check();
    }

    fn ended(&mut self) -> Vec<UdpClosed> {
        core::iter::from_fn(|| self.forwarder.poll_event()).collect()
    }
}

#[test]
fn datagrams_go_there_and_back_in_every_pair_of_families() {
    for (client_v6, backend_v6) in [(false, false), (true, true), (true, false), (false, true)] {
        let mut world = World::new(Setup { client_v6, backend_v6, ..PLAIN });
        assert_eq!(world.client_sends(b"who?"), Out::Miss);
        world.open().unwrap();
        let passed = world.client_sends(b"who?").sent();
        assert_eq!((passed.source, passed.destination), (world.source, world.backend));
        assert_eq!(passed.payload, b"who?");
        let answer = world.backend_sends(b"me").sent();
        assert_eq!((answer.source, answer.destination), (world.listener, world.client));
        assert_eq!(answer.payload, b"me");
        assert_eq!(world.forwarder.counts(), UdpCounts { one_way: 0, two_way: 1 });
    }
}

#[test]
fn silent_flows_end_soon_when_one_way_and_late_when_two_way() {
    let mut world = World::new(PLAIN);
    let flow = world.open().unwrap();
    world.client_sends(b"x").sent();
    world.pass_time(Duration::from_secs(29));
    assert_eq!(world.ended(), []);
    world.pass_time(Duration::from_secs(1));
    let ended = world.ended();
    assert_eq!((ended[0].flow, ended[0].tag, ended[0].reason), (flow, 5, UdpCloseReason::IdleTimeout));
    assert_eq!(
        (ended[0].to_backend, ended[0].to_client),
        (Traffic { bytes: 1, packets: 1 }, Traffic::default())
    );
    assert_eq!(world.backend_sends(b"late"), Out::Miss);

    world.open().unwrap();
    world.source.set_port(40_001);
    world.client_sends(b"x").sent();
    world.backend_sends(b"y").sent();
    world.pass_time(Duration::from_secs(119));
    world.client_sends(b"x").sent();
    world.pass_time(Duration::from_secs(119));
    assert_eq!(world.forwarder.counts().two_way, 1);
    world.pass_time(Duration::from_secs(1));
    assert_eq!(world.ended().len(), 1);
    assert_eq!(world.forwarder.poll_timeout(), None);
}

#[test]
fn full_table_gives_up_the_oldest_one_way_flow_and_never_a_two_way_one() {
    let mut world = World::new(Setup { flows_max: 2, ..PLAIN });
    let first = world.open().unwrap();
    world.client.set_port(4_001);
    world.open().unwrap();
    world.source.set_port(40_001);
    world.client_sends(b"x").sent();
    world.backend_sends(b"y").sent();
    world.client.set_port(4_002);
    world.open().unwrap();
    let ended = world.ended();
    assert_eq!((ended[0].flow, ended[0].reason), (first, UdpCloseReason::Evicted));
    world.source.set_port(40_002);
    world.client_sends(b"x").sent();
    world.backend_sends(b"y").sent();
    world.client.set_port(4_003);
    assert_eq!(world.open(), Err(DropReason::FlowTableFull));
}

#[test]
fn ports_run_out_and_a_one_way_flow_gives_its_own_back() {
    let mut world = World::new(Setup { ports: 1, ..PLAIN });
    world.open().unwrap();
    world.client.set_port(4_001);
    world.open().unwrap();
    assert_eq!(world.forwarder.counters().evicted, 1);
    world.client_sends(b"x").sent();
    world.backend_sends(b"y").sent();
    world.client.set_port(4_002);
    assert_eq!(world.open(), Err(DropReason::NoPort));
    world.forwarder.check();
}

#[test]
fn answers_are_bounded_until_the_client_has_shown_a_conversation() {
    let mut world = World::new(PLAIN);
    world.open().unwrap();
    world.client_sends(&[0; 20]).sent();
    world.backend_sends(&[0; 150]).sent();
    let over = Out::Drop(DropReason::UdpAmplification);
    assert_eq!(world.backend_sends(&[0; 51]), over, "201 bytes for 20");
    world.backend_sends(&[0; 50]).sent();
    assert_eq!(world.backend_sends(&[0; 1]), over);
    for _ in 0..ROUNDS_VALIDATED {
        world.client_sends(&[0; 1]).sent();
        world.backend_sends(&[0; 1]).sent();
    }
    world.backend_sends(&[0; 1_400]).sent();

    let mut world = World::new(Setup { factor: 0, ..PLAIN });
    world.open().unwrap();
    world.client_sends(&[0; 1]).sent();
    world.backend_sends(&[0; 1_400]).sent();
}

#[test]
fn source_ports_of_reflectors_open_nothing() {
    let mut world = World::new(PLAIN);
    for port in [11_211, 1_900, 389] {
        world.client.set_port(port);
        assert_eq!(world.open(), Err(DropReason::UdpAmplification));
    }
    world.client.set_port(53);
    world.open().unwrap();
}

#[test]
fn absent_checksum_stays_absent_over_ipv4_and_is_made_for_ipv6() {
    for (backend_v6, has_checksum) in [(false, false), (true, true)] {
        for proxy_protocol in [false, true] {
            let mut world = World::new(Setup { backend_v6, proxy_protocol, ..PLAIN });
            world.open().unwrap();
            let mut bytes = frame(world.client, world.listener, b"abc", true);
            bytes[40..42].fill(0);
            assert_eq!(world.handle(CLIENT_PORT, &bytes).sent().has_checksum, has_checksum);
        }
    }
}

#[test]
fn partial_and_wrong_checksums() {
    let mut world = World::new(PLAIN);
    world.open().unwrap();
    let mut bytes = frame(world.client, world.listener, b"abc", true);
    bytes[40..42].copy_from_slice(&[0x12, 0x34]);
    world.checksum = L4Checksum::Partial;
    assert_eq!(world.handle(CLIENT_PORT, &bytes).sent().payload, b"abc");
    world.checksum = L4Checksum::Invalid;
    assert_eq!(world.handle(CLIENT_PORT, &bytes), Out::Drop(DropReason::L4Checksum));
}

#[test]
fn proxy_header_precedes_the_payload() {
    for (client_v6, backend_v6) in [(false, false), (true, true), (true, false), (false, true)] {
        for header in [UdpProxyHeader::UntilAnswered, UdpProxyHeader::Every] {
            let setup = Setup { client_v6, backend_v6, proxy_protocol: true, header, ..PLAIN };
            let mut world = World::new(setup);
            world.open().unwrap();
            for _ in 0..2 {
                let payload = world.client_sends(b"question").sent().payload;
                let (message, len) = proxy_protocol::parse(&payload).unwrap();
                let Message::Proxied(key) = message else { panic!() };
                assert_eq!((key.source, key.destination), (endpoint(world.client), endpoint(world.listener)));
                assert_eq!(&payload[len..], b"question");
            }
            assert_eq!(world.backend_sends(b"answer").sent().payload, b"answer");
            let payload = world.client_sends(b"more").sent().payload;
            let is_plain = header == UdpProxyHeader::UntilAnswered;
            assert_eq!(payload == b"more", is_plain);
        }
    }
}

#[test]
fn datagram_too_big_tells_its_sender_or_is_let_through_for_cutting() {
    let mut world = World::new(Setup { proxy_protocol: true, ..PLAIN });
    world.open().unwrap();
    // 1,450 bytes of payload fit the link, the header does not fit beside them.
    let told = ErrorKind::TooBig { mtu: 1_500 - 28 };
    assert_eq!(world.client_sends(&[0; 1_450]), Out::Error(CLIENT_PORT, told));
    assert_eq!(world.forwarder.counters().too_big_sent, 1);
    world.dont_fragment = false;
    assert_eq!(world.client_sends(&[0; 1_450]).sent().payload.len(), 1_478);
    // What came in fragments may leave in fragments.
    world.dont_fragment = true;
    assert_eq!(world.client_sends(&[0; 4_000]).sent().payload.len(), 4_028);
}

#[test]
fn unreachable_port_is_told_to_the_client() {
    let mut world = World::new(PLAIN);
    world.open().unwrap();
    world.client_sends(b"x").sent();
    let key = FlowKey {
        protocol: Protocol::Udp,
        source: endpoint(world.source),
        destination: endpoint(world.backend),
    };
    let mut memory = [0; 256];
    let mut packet = PacketBuf::new(&mut memory, 0, 0);
    let quote = Quote { key, second: 0x0009_0000, payload_len: 9 };
    let kind = ErrorKind::Unreachable { code: 3 };
    icmp::emit(&mut packet, &link(BACKEND_PORT, 1_500), kind, &quote).unwrap();
    let bytes = packet.bytes().to_vec();
    assert_eq!(world.handle(BACKEND_PORT, &bytes), Out::Error(CLIENT_PORT, kind));
}

#[test]
fn transparent_flow_keeps_the_clients_address() {
    let mut world = World::new(Setup { is_transparent: true, ..PLAIN });
    world.open().unwrap();
    world.source = world.client;
    assert_eq!(world.client_sends(b"x").sent().source, world.client);
    assert_eq!(world.backend_sends(b"y").sent().source, world.listener);
}

#[test]
fn draining_opens_nothing() {
    let mut world = World::new(PLAIN);
    world.open().unwrap();
    world.forwarder.set_draining(true);
    world.client_sends(b"x").sent();
    world.client.set_port(9);
    assert_eq!(world.open(), Err(DropReason::Draining));
}
