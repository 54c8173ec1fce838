//! A splice between a scripted client and a scripted backend, on virtual time.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use arrayvec::ArrayVec;

use crate::flow::{Endpoint, FlowKey, HashKey, Protocol};
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::splice::{
    BackendId, BackendTarget, Backends, Context, Event, FlowId, Handshake, HandshakeTimestamps, Ingress,
    OpenRequest, PortRange, Source, Splice, SpliceKeys, SpliceLimits, Verdict,
};
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::checksum::{self, L4Checksum};
use crate::wire::tcp::{self, Flags, OPTIONS_BYTES_MAX, Options, Segment, SynOptions, Timestamps};
use crate::wire::{self, ipv4, ipv6, protocol};

pub(super) const CLIENT_PORT: PortId = PortId(0);
pub(super) const BACKEND_PORT: PortId = PortId(1);
pub(super) const BACKEND: BackendId = BackendId(0);
pub(super) const OTHER_BACKEND: BackendId = BackendId(1);
/// The client's initial sequence number, ours, the backend's.
pub(super) const C: u32 = 0xffff_fff0;
pub(super) const N: u32 = 5_000;
pub(super) const B: u32 = 0x8000_0000;
/// Window of our SYN-ACK.
pub(super) const WINDOW: u16 = 14_600;
/// How far our windows are shifted for the client.
pub(super) const SCALE: u8 = 7;

/// A TCP packet, as a script writes and reads it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tcp {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: Flags,
    pub(super) window: u16,
    pub(super) urgent: u16,
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) mac: u8,
    pub(super) ttl: u8,
    pub(super) dscp_ecn: u8,
    pub(super) dont_fragment: bool,
}

/// A segment without addresses: the script fills them in.
pub(super) fn seg(flags: Flags, seq: u32, ack: u32) -> Tcp {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    Tcp {
        source: nowhere,
        destination: nowhere,
        seq,
        ack,
        flags,
        window: 1_000,
        urgent: 0,
        options: Vec::new(),
        payload: Vec::new(),
        mac: 0xc1,
        ttl: 50,
        dscp_ecn: 0,
        dont_fragment: true,
    }
}

impl Tcp {
    pub(super) fn data(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    pub(super) fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    pub(super) fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    pub(super) fn timestamps(self, value: u32, echo: u32) -> Self {
        let mut options = vec![1, 1, 8, 10];
        options.extend(value.to_be_bytes());
        options.extend(echo.to_be_bytes());
        self.options(&options)
    }

    /// The options of a SYN, in Linux's order.
    pub(super) fn syn_options(self, options: SynOptions) -> Self {
        let mut buffer = [0; OPTIONS_BYTES_MAX];
        let len = options.emit(&mut buffer);
        self.options(&buffer[..len])
    }

    pub(super) fn read_options(&self) -> Options {
        Options::parse(&self.options).unwrap()
    }

    pub(super) fn read_timestamps(&self) -> Timestamps {
        self.read_options().timestamps.expect("timestamps")
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut l4 = vec![0; 20 + self.options.len()];
        let repr = tcp::Repr {
            source_port: self.source.port(),
            destination_port: self.destination.port(),
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
        };
        repr.emit(&mut l4, &self.options).expect("options are a multiple of 4");
        l4.extend(&self.payload);
        Segment::new_checked(&mut l4[..]).unwrap().set_urgent(self.urgent);
        let mut frame = vec![0xa0; 6];
        frame.extend([self.mac; 6]);
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([0x08, 0x00]);
                frame.resize(34, 0);
                ipv4::Repr {
                    source,
                    destination,
                    protocol: protocol::TCP,
                    payload_len: l4.len() as u16,
                    ttl: self.ttl,
                    dscp_ecn: self.dscp_ecn,
                    ident: 0x77,
                    dont_fragment: self.dont_fragment,
                }
                .emit(&mut frame[14..])
                .unwrap();
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x86, 0xdd]);
                frame.resize(54, 0);
                ipv6::Repr {
                    source,
                    destination,
                    next_header: protocol::TCP,
                    payload_len: l4.len() as u16,
                    hop_limit: self.ttl,
                    traffic_class: self.dscp_ecn,
                    flow_label: 0,
                }
                .emit(&mut frame[14..])
                .unwrap();
            }
            _ => panic!("addresses of two families"),
        }
        frame.extend(l4);
        let headers = wire::parse(&frame).unwrap();
        assert!(checksum::complete_l4(&headers, &mut frame));
        frame
    }

    /// Reads a packet that left the splice; its checksums must be right.
    pub(super) fn read(frame: &[u8]) -> Self {
        let headers = wire::parse(frame).unwrap();
        assert_eq!(headers.end, frame.len(), "nothing behind the packet");
        assert_eq!(checksum::verify_l4(&headers, frame), L4Checksum::Valid, "checksum");
        let segment = Segment::new_checked(&frame[headers.l4..headers.end]).unwrap();
        Self {
            source: (headers.source, headers.source_port).into(),
            destination: (headers.destination, headers.destination_port).into(),
            seq: segment.seq(),
            ack: segment.ack(),
            flags: segment.flags(),
            window: segment.window(),
            urgent: segment.urgent(),
            options: segment.option_bytes().to_vec(),
            payload: segment.payload().to_vec(),
            mac: frame[0],
            ttl: headers.hop_limit,
            dscp_ecn: headers.dscp_ecn,
            dont_fragment: headers.version == wire::IpVersion::V6
                || ipv4::Packet::new_checked(&frame[headers.link_len..]).unwrap().dont_fragment(),
        }
    }
}

/// What became of a frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Out {
    ToClient(Tcp),
    ToBackend(Tcp),
    Drop(DropReason),
    Hold,
    Consumed,
    Miss,
}

impl Out {
    #[track_caller]
    pub(super) fn client_gets(self) -> Tcp {
        match self {
            Self::ToClient(tcp) => tcp,
            other => panic!("not to the client: {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn backend_gets(self) -> Tcp {
        match self {
            Self::ToBackend(tcp) => tcp,
            other => panic!("not to the backend: {other:?}"),
        }
    }
}

/// What varies between scripts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) client_v6: bool,
    pub(super) backend_v6: bool,
    pub(super) proxy_protocol: bool,
    pub(super) is_transparent: bool,
    pub(super) pass_through: bool,
    pub(super) window_scale: Option<u8>,
    pub(super) sack: bool,
    pub(super) timestamps: bool,
    pub(super) ecn: bool,
    pub(super) limits: SpliceLimits,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            client_v6: false,
            backend_v6: false,
            proxy_protocol: false,
            is_transparent: false,
            pass_through: false,
            window_scale: Some(8),
            sack: true,
            timestamps: false,
            ecn: false,
            limits: SpliceLimits {
                flows_max: 4,
                half_open_max: 4,
                backends_max: 2,
                ports: PortRange { first: 40_000, last: 40_007 },
                ..SpliceLimits::default()
            },
        }
    }
}

pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) splice: Splice,
    pub(super) backends: Backends,
    pub(super) now: Instant,
    pub(super) client: SocketAddr,
    pub(super) listener: SocketAddr,
    pub(super) backend: SocketAddr,
    /// Our source towards the backend; known from our SYN.
    pub(super) source: SocketAddr,
    pub(super) flow: FlowId,
    /// Our initial sequence number towards the backend.
    pub(super) s: u32,
    /// Clock of our SYN.
    pub(super) our_ts: u32,
    pub(super) mtu: u16,
}

fn address(v6: bool, host: u8, port: u16) -> SocketAddr {
    if v6 {
        SocketAddr::new(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(host)]), port)
    } else {
        SocketAddr::from(([10, 0, 0, host], port))
    }
}

pub(super) fn endpoint(addr: SocketAddr) -> Endpoint {
    Endpoint { addr: addr.ip(), port: addr.port() }
}

pub(super) fn link(port: PortId, mac: u8, mtu: u16) -> Link {
    let header = [[mac; 6].as_slice(), &[0xa0; 6], &[0x08, 0x00]].concat();
    Link::new(port, mtu, &header).unwrap()
}

impl World {
    /// A world in which nothing has happened.
    pub(super) fn new(setup: Setup) -> Self {
        let keys = SpliceKeys { table: HashKey([1, 2]), isn: HashKey([3, 4]) };
        let backend = address(setup.backend_v6, 3, 80);
        let source = if setup.is_transparent {
            Source::Transparent
        } else {
            Source::Snat(ArrayVec::from_iter([address(setup.backend_v6, 4, 0).ip()]))
        };
        let mut backends = Backends::default();
        for (id, host) in [(BACKEND, 3), (OTHER_BACKEND, 33)] {
            backends.set(
                id,
                Some(BackendTarget {
                    endpoint: endpoint(address(setup.backend_v6, host, 80)),
                    link: Some(link(BACKEND_PORT, 0xb0 + id.0 as u8, 1_500)),
                    source: source.clone(),
                    proxy_protocol: setup.proxy_protocol,
                }),
            );
        }
        Self {
            splice: Splice::new(setup.limits, keys),
            backends,
            now: Instant::from_millis(1_000_000),
            client: address(setup.client_v6, 1, 4_000),
            listener: address(setup.client_v6, 2, 443),
            backend,
            source: address(setup.backend_v6, 4, 0),
            flow: FlowId { index: u32::MAX, generation: 0 },
            s: 0,
            our_ts: 0,
            mtu: 1_500,
            setup,
        }
    }

    pub(super) fn pass_time(&mut self, time: Duration) {
        self.now = self.now + time;
        while self.splice.handle_timeout(self.now, 16) == 16 {}
        self.splice.check();
    }

    pub(super) fn request(&self) -> OpenRequest {
        let setup = &self.setup;
        OpenRequest {
            key: FlowKey {
                protocol: Protocol::Tcp,
                source: endpoint(self.client),
                destination: endpoint(self.listener),
            },
            client_link: link(CLIENT_PORT, 0xc1, self.mtu),
            backend: BACKEND,
            client_isn: C,
            client_window: 500,
            mss: 1_400,
            window_scale: setup.window_scale,
            sack_permitted: setup.sack,
            ecn: setup.ecn,
            handshake: if setup.pass_through {
                Handshake::PassThrough { timestamp: setup.timestamps.then_some(100) }
            } else {
                Handshake::Proxied {
                    isn: N,
                    window: WINDOW,
                    window_scale: setup.window_scale.map(|_| SCALE),
                    timestamps: setup.timestamps.then_some(HandshakeTimestamps { value: 100, echo: 7_000 }),
                }
            },
            tag: 77,
        }
    }

    pub(super) fn open(&mut self) -> Result<FlowId, DropReason> {
        let opened = self.splice.open(&self.request(), &self.backends, self.now);
        if let Ok(flow) = opened {
            self.flow = flow;
        }
        opened
    }

    /// The bare ACK that completes the client's handshake with us.
    pub(super) fn handshake_ack(&self) -> Tcp {
        let ack = seg(Flags::ACK, C.wrapping_add(1), N + 1).window(500);
        if self.setup.timestamps { ack.timestamps(100, 7_000) } else { ack }
    }

    /// The client's SYN, for pass-through.
    pub(super) fn client_syn(&self) -> Tcp {
        seg(Flags::SYN, C, 0).window(500).syn_options(SynOptions {
            mss: Some(1_400),
            window_scale: self.setup.window_scale,
            sack_permitted: self.setup.sack,
            timestamps: self.setup.timestamps.then_some(Timestamps { value: 100, echo: 0 }),
        })
    }

    /// The SYN-ACK of a backend that takes up everything it was offered.
    pub(super) fn syn_ack(&self, syn: &Tcp) -> Tcp {
        let offered = syn.read_options();
        let flags = if syn.flags.contains(Flags::ECE) { Flags::SYN_ACK | Flags::ECE } else { Flags::SYN_ACK };
        seg(flags, B, syn.seq.wrapping_add(1)).window(29_200).syn_options(SynOptions {
            mss: Some(1_460),
            window_scale: offered.window_scale.map(|_| 9),
            sack_permitted: offered.sack_permitted,
            timestamps: offered.timestamps.map(|ts| Timestamps { value: 900_000, echo: ts.value }),
        })
    }

    /// Learns our numbers from our SYN.
    pub(super) fn note_syn(&mut self, syn: &Tcp) {
        assert_eq!(syn.flags & (Flags::SYN | Flags::ACK), Flags::SYN);
        assert_eq!(syn.destination, self.backend);
        self.source = syn.source;
        self.s = syn.seq;
        self.our_ts = syn.read_options().timestamps.map_or(0, |ts| ts.value);
    }

    /// Opened and answered by the backend; what answered its SYN-ACK is returned too.
    pub(super) fn connected(setup: Setup) -> (Self, Out) {
        let mut world = Self::new(setup);
        world.open().unwrap();
        let first = if setup.pass_through { world.client_syn() } else { world.handshake_ack() };
        let syn = world.client_sends(first).backend_gets();
        world.note_syn(&syn);
        let answer = world.backend_sends(world.syn_ack(&syn));
        (world, answer)
    }

    /// An established flow, its opening events taken and its PROXY header acknowledged.
    pub(super) fn established(setup: Setup) -> Self {
        let (mut world, answer) = Self::connected(setup);
        if setup.pass_through {
            answer.client_gets();
            let ack = seg(Flags::ACK, C.wrapping_add(1), B + 1);
            let ack = if setup.timestamps { ack.timestamps(101, 900_000) } else { ack };
            world.client_sends(ack).backend_gets();
        }
        if setup.proxy_protocol {
            let ack = seg(Flags::ACK, B + 1, world.s.wrapping_add(1 + world.header_len()));
            assert_eq!(world.backend_sends(ack), Out::Consumed);
        }
        world.events();
        world
    }

    pub(super) fn header_len(&self) -> u32 {
        match (self.setup.proxy_protocol, self.setup.client_v6) {
            (false, _) => 0,
            (true, false) => 28,
            (true, true) => 52,
        }
    }

    /// The client's `offset`-th byte, in the backend's numbering. Byte 0 is the first after the SYN.
    pub(super) fn up(&self, offset: u32) -> u32 {
        self.s.wrapping_add(1 + self.header_len()).wrapping_add(offset)
    }

    pub(super) fn client_sends(&mut self, mut tcp: Tcp) -> Out {
        (tcp.source, tcp.destination) = (self.client, self.listener);
        self.handle(CLIENT_PORT, &tcp.bytes(), L4Checksum::Valid)
    }

    pub(super) fn backend_sends(&mut self, mut tcp: Tcp) -> Out {
        (tcp.source, tcp.destination, tcp.mac) = (self.backend, self.source, 0xb0);
        self.handle(BACKEND_PORT, &tcp.bytes(), L4Checksum::Valid)
    }

    pub(super) fn handle(&mut self, port: PortId, bytes: &[u8], checksum: L4Checksum) -> Out {
        let mut memory = vec![0; 2_304];
        memory[256..256 + bytes.len()].copy_from_slice(bytes);
        let mut packet = PacketBuf::new(&mut memory, 256, bytes.len());
        let headers = wire::parse(packet.bytes()).unwrap();
        let context =
            Context { backends: &self.backends, ingress: Ingress { port, mtu: self.mtu, checksum } };
        let verdict = self.splice.handle(&mut packet, &headers, &context, self.now);
        self.splice.check();
        out(verdict, &packet)
    }

    /// Handles an ICMP error; answers with the verdict and what the frame then holds.
    pub(super) fn handle_icmp(&mut self, port: PortId, bytes: &[u8]) -> (Verdict, Vec<u8>) {
        let mut memory = vec![0; 2_304];
        memory[256..256 + bytes.len()].copy_from_slice(bytes);
        let mut packet = PacketBuf::new(&mut memory, 256, bytes.len());
        let headers = wire::parse(packet.bytes()).unwrap();
        let context = Context {
            backends: &self.backends,
            ingress: Ingress { port, mtu: self.mtu, checksum: L4Checksum::Valid },
        };
        let verdict = self.splice.handle_icmp(&mut packet, &headers, &context, self.now);
        self.splice.check();
        (verdict, packet.bytes().to_vec())
    }

    /// What splice sends in its own name now.
    pub(super) fn sent(&mut self) -> Vec<Out> {
        let mut memory = vec![0; 2_304];
        let mut sent = Vec::new();
        loop {
            let mut packet = PacketBuf::new(&mut memory, 256, 0);
            let Some(port) = self.splice.poll_transmit(&mut packet, &self.backends, self.now) else { break };
            sent.push(out(Verdict::Transmit(port), &packet));
            self.splice.check();
        }
        assert!(!self.splice.has_transmit());
        sent
    }

    pub(super) fn sent_one(&mut self) -> Out {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.splice.poll_event()).collect()
    }
}

fn out(verdict: Verdict, packet: &PacketBuf<'_>) -> Out {
    match verdict {
        Verdict::Transmit(CLIENT_PORT) => Out::ToClient(Tcp::read(packet.bytes())),
        Verdict::Transmit(_) => Out::ToBackend(Tcp::read(packet.bytes())),
        Verdict::Drop(reason) => Out::Drop(reason),
        Verdict::Hold(_) => Out::Hold,
        Verdict::Consumed => Out::Consumed,
        Verdict::Miss => Out::Miss,
    }
}
