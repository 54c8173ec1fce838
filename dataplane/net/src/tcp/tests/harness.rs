//! One stack and a scripted client, on virtual time.
//!
//! Numbers in scripts are relative: the client's first byte is 1, ours is 1, as tcpdump prints them.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::flow::{Endpoint, FlowKey, HashKey, Protocol};
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::syncookie::ClientOptions;
use crate::tcp::{
    ConnectionId, Event, HandshakeTimestamps, Ingress, Limits, Open, Stack, StackKeys, Verdict,
};
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::checksum::{self, L4Checksum};
use crate::wire::tcp::{Flags, HEADER_BYTES_MIN, Repr, SackBlock, Segment, Timestamps};
use crate::wire::{self, ipv4, ipv6, protocol};

/// Initial sequence numbers: near the wrap, so that every trace crosses it.
pub(super) const CLIENT_ISN: u32 = u32::MAX - 300;
pub(super) const OUR_ISN: u32 = u32::MAX - 100;
/// Window of our SYN-ACK.
pub(super) const WINDOW: u16 = 14_600;
pub(super) const SCALE: u8 = 7;
/// TSval of the client's first ACK, and what it echoes: our SYN-ACK's.
pub(super) const CLIENT_CLOCK: u32 = 1_000;
pub(super) const OUR_CLOCK: u32 = 700_000;
const HEADROOM: usize = 64;

/// A segment as a script writes and reads it, in relative numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tcp {
    pub(super) flags: Flags,
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// As the field says, not scaled.
    pub(super) window: u16,
    pub(super) timestamps: Option<Timestamps>,
    pub(super) sack: Vec<(u32, u32)>,
    pub(super) data: Vec<u8>,
    pub(super) dscp_ecn: u8,
    /// Last byte of the client's link address.
    pub(super) mac: u8,
}

/// A segment with data and ACK.
pub(super) fn data(seq: u32, ack: u32, bytes: &[u8]) -> Tcp {
    Tcp { data: bytes.to_vec(), ..seg(Flags::ACK | Flags::PSH, seq, ack) }
}

/// An empty segment with ACK.
pub(super) fn ack(seq: u32, ack: u32) -> Tcp {
    seg(Flags::ACK, seq, ack)
}

/// Any segment.
pub(super) fn seg(flags: Flags, seq: u32, ack: u32) -> Tcp {
    let (timestamps, sack, data) = (None, Vec::new(), Vec::new());
    Tcp { flags, seq, ack, window: 500, timestamps, sack, data, dscp_ecn: 0, mac: 1 }
}

impl Tcp {
    pub(super) fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    pub(super) fn ts(mut self, value: u32, echo: u32) -> Self {
        self.timestamps = Some(Timestamps { value, echo });
        self
    }

    pub(super) fn has(&self, flags: Flags) -> bool {
        self.flags.contains(flags)
    }
}

/// What a client can and wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) limits: Limits,
    pub(super) timestamps: bool,
    pub(super) sack: bool,
    pub(super) ecn: bool,
    pub(super) scale: Option<u8>,
    pub(super) mss: u16,
    pub(super) v6: bool,
    /// Whether the first ACKs are sent at once, as they are; most scripts begin later.
    pub(super) quick_acks: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let limits = Limits {
            connections_max: 64,
            time_wait_max: 16,
            chunk_bytes_max: 1 << 20,
            out_of_order_max: 16,
            ..Limits::default()
        };
        Self {
            limits,
            timestamps: false,
            sack: true,
            ecn: false,
            scale: Some(7),
            mss: 1_460,
            v6: false,
            quick_acks: false,
        }
    }
}

/// What a frame led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Out {
    /// Bytes lent to the owner.
    Data(Vec<u8>),
    /// An answer over the frame.
    Answer(Tcp),
    Drop(DropReason),
    Consumed,
    Miss,
}

impl Out {
    pub(super) fn answer(self) -> Tcp {
        match self {
            Self::Answer(tcp) => tcp,
            other => panic!("no answer but {other:?}"),
        }
    }
}

/// The stack, the client's side of one connection, and the time.
pub(super) struct World {
    pub(super) stack: Stack,
    pub(super) setup: Setup,
    pub(super) now: Instant,
    pub(super) id: ConnectionId,
    /// How much of lent data the owner takes.
    pub(super) takes: usize,
    /// The port of the client that `send` writes into.
    pub(super) port: u16,
    /// What verification said of the client's segments.
    pub(super) checksum: L4Checksum,
    memory: Vec<u8>,
}

impl World {
    /// An open connection; nothing was said on it.
    pub(super) fn new(setup: Setup) -> Self {
        let keys = StackKeys { table: HashKey([1, 2]), challenge: HashKey([3, 4]) };
        // A worker's clock counts from 1970: milliseconds of it fit into no 32 bits.
        let now = Instant::from_millis(1_763_000_000_000);
        let mut world = Self {
            stack: Stack::new(setup.limits, keys, now),
            setup,
            now,
            id: ConnectionId::from_bits(u64::MAX),
            takes: usize::MAX,
            port: 40_000,
            checksum: L4Checksum::Valid,
            memory: vec![0; 4_096],
        };
        world.id = world.open(40_000).unwrap();
        world
    }

    /// As if the client had had an answer already: ACKs are delayed from now on.
    fn end_quick_acks(&mut self, id: ConnectionId) {
        if let Some(connection) = self.stack.table.slot(id).and_then(|slot| self.stack.table.get_mut(slot)) {
            connection.quick_acks = 0;
        }
    }

    pub(super) fn plain() -> Self {
        Self::new(Setup::default())
    }

    pub(super) fn addrs(&self) -> (IpAddr, IpAddr) {
        if self.setup.v6 {
            ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap())
        } else {
            ([192, 0, 2, 1].into(), [192, 0, 2, 2].into())
        }
    }

    pub(super) fn key(&self, port: u16) -> FlowKey {
        let (client, listener) = self.addrs();
        FlowKey {
            protocol: Protocol::Tcp,
            source: Endpoint { addr: client, port },
            destination: Endpoint { addr: listener, port: 443 },
        }
    }

    pub(super) fn open(&mut self, port: u16) -> Result<ConnectionId, DropReason> {
        let agreed = ClientOptions {
            mss: self.setup.mss,
            window_scale: self.setup.scale,
            sack_permitted: self.setup.sack,
            timestamps: self.setup.timestamps,
            ecn: self.setup.ecn,
        };
        let timestamps = HandshakeTimestamps { value: CLIENT_CLOCK, echo: OUR_CLOCK };
        let open = Open {
            key: self.key(port),
            listener: 7,
            link: Link::reply_to(PortId(3), 1_500, &link_header(1, self.setup.v6)).unwrap(),
            client_isn: CLIENT_ISN,
            isn: OUR_ISN,
            agreed,
            window: WINDOW,
            window_scale: Some(SCALE),
            timestamps: self.setup.timestamps.then_some(timestamps),
            client_window: 500,
        };
        let id = self.stack.open(&open, self.now);
        if let Ok(id) = id
            && !self.setup.quick_acks
        {
            self.end_quick_acks(id);
        }
        self.stack.check();
        id
    }

    /// The client sends; what is lent is taken as far as `takes` allows.
    pub(super) fn send(&mut self, tcp: Tcp) -> Out {
        let mut frame = self.frame(&tcp);
        let len = frame.len();
        let mut memory = vec![0xee; HEADROOM];
        memory.append(&mut frame);
        memory.resize(HEADROOM + len.max(60) + 200, 0xee);
        let mut packet = PacketBuf::new(&mut memory, HEADROOM, len);
        let headers = wire::parse(packet.bytes()).unwrap();
        let ingress = Ingress { port: PortId(3), mtu: 1_500, checksum: self.checksum };
        let verdict = self.stack.handle(&mut packet, &headers, &ingress, self.now);
        let out = match verdict {
            Verdict::Data { connection, start, len } => {
                let bytes = packet.bytes()[start..start + len].to_vec();
                let rest = &bytes[self.takes.min(len)..];
                self.stack.received(connection, rest, self.now);
                Out::Data(bytes)
            }
            Verdict::Transmit(port) => {
                assert_eq!(port, PortId(3));
                Out::Answer(read(packet.bytes()))
            }
            Verdict::Drop(reason) => Out::Drop(reason),
            Verdict::Consumed => Out::Consumed,
            Verdict::Miss => Out::Miss,
        };
        self.stack.check();
        out
    }

    /// The next segment to the client.
    pub(super) fn next(&mut self) -> Option<Tcp> {
        let mut packet = PacketBuf::new(&mut self.memory, HEADROOM, 0);
        let port = self.stack.poll_transmit(&mut packet, self.now);
        let tcp = port.map(|port| {
            assert_eq!(port, PortId(3));
            read(packet.bytes())
        });
        self.stack.check();
        tcp
    }

    /// The next segment to the client, which must be there.
    pub(super) fn expect(&mut self) -> Tcp {
        self.next().expect("a segment")
    }

    pub(super) fn expect_nothing(&mut self) {
        assert_eq!(self.next(), None);
    }

    /// Everything that is due for the client.
    pub(super) fn drain(&mut self) -> Vec<Tcp> {
        core::iter::from_fn(|| self.next()).collect()
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        let events = core::iter::from_fn(|| self.stack.poll_event()).collect();
        self.stack.check();
        events
    }

    /// The reason of the only `Closed` event.
    pub(super) fn closed(&mut self) -> crate::tcp::Closed {
        let events = self.events();
        match events.as_slice() {
            [Event::Closed(closed)] => *closed,
            other => panic!("not closed but {other:?}"),
        }
    }

    /// Lets time pass, in steps as the stack asks for them.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.stack.handle_timeout(self.now, 1_000);
            match self.stack.poll_timeout() {
                Some(next) if next <= end => self.now = self.now.max(next) + Duration::from_micros(1),
                _ => break,
            }
            if self.now >= end {
                break;
            }
        }
        self.now = end;
        self.stack.handle_timeout(self.now, 1_000);
        self.stack.check();
    }

    pub(super) fn pass_ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
    }

    /// Stored bytes, taken whole.
    pub(super) fn read_all(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let part = self.stack.peek(self.id).to_vec();
            if part.is_empty() {
                self.stack.check();
                return bytes;
            }
            self.stack.consume(self.id, part.len(), self.now);
            bytes.extend(part);
        }
    }

    /// An ICMP error about a segment of ours.
    pub(super) fn send_icmp(&mut self, kind: wire::icmp::ErrorKind, seq: u32) -> Out {
        let mut memory = vec![0; 400];
        let mut packet = PacketBuf::new(&mut memory, 0, 0);
        let quote = crate::icmp::Quote {
            key: self.key(self.port).reversed(),
            second: OUR_ISN.wrapping_add(seq),
            payload_len: 1_480,
        };
        let link = Link::new(PortId(3), 1_500, &link_header(1, self.setup.v6)).unwrap();
        crate::icmp::emit(&mut packet, &link, kind, &quote).unwrap();
        let headers = wire::parse(packet.bytes()).unwrap();
        let verdict = self.stack.handle_icmp(&packet, &headers, self.now);
        self.stack.check();
        match verdict {
            Verdict::Drop(reason) => Out::Drop(reason),
            Verdict::Consumed => Out::Consumed,
            _ => Out::Miss,
        }
    }

    fn frame(&self, tcp: &Tcp) -> Vec<u8> {
        let mut options = Vec::new();
        if let Some(timestamps) = tcp.timestamps {
            options.extend([1, 1, 8, 10]);
            options.extend(timestamps.value.to_be_bytes());
            options.extend(timestamps.echo.to_be_bytes());
        }
        if !tcp.sack.is_empty() {
            options.extend([1, 1, 5, 2 + 8 * tcp.sack.len() as u8]);
            for (left, right) in &tcp.sack {
                options.extend(OUR_ISN.wrapping_add(*left).to_be_bytes());
                options.extend(OUR_ISN.wrapping_add(*right).to_be_bytes());
            }
        }
        let mut l4 = vec![0; HEADER_BYTES_MIN + options.len()];
        let repr = Repr {
            source_port: self.port,
            destination_port: 443,
            seq: CLIENT_ISN.wrapping_add(tcp.seq),
            ack: OUR_ISN.wrapping_add(tcp.ack),
            flags: tcp.flags,
            window: tcp.window,
        };
        repr.emit(&mut l4, &options).unwrap();
        l4.extend(&tcp.data);
        let mut frame = link_header(tcp.mac, self.setup.v6);
        let payload_len = l4.len() as u16;
        match self.addrs() {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.resize(34, 0);
                let header = ipv4::Repr {
                    source,
                    destination,
                    protocol: protocol::TCP,
                    payload_len,
                    ttl: 60,
                    dscp_ecn: tcp.dscp_ecn,
                    ident: 9,
                    dont_fragment: true,
                };
                header.emit(&mut frame[14..]).unwrap();
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.resize(54, 0);
                let header = ipv6::Repr {
                    source,
                    destination,
                    next_header: protocol::TCP,
                    payload_len,
                    hop_limit: 60,
                    traffic_class: tcp.dscp_ecn,
                    flow_label: 0,
                };
                header.emit(&mut frame[14..]).unwrap();
            }
            _ => panic!("two families"),
        }
        frame.extend(l4);
        let headers = wire::parse(&frame).unwrap();
        assert!(checksum::complete_l4(&headers, &mut frame));
        frame
    }
}

fn link_header(mac: u8, v6: bool) -> Vec<u8> {
    let ether_type: [u8; 2] = if v6 { [0x86, 0xdd] } else { [8, 0] };
    [[0xa0; 6].as_slice(), &[2, 0, 0, 0, 0, mac], &ether_type].concat()
}

/// Reads a segment of ours, whose checksum must be right.
fn read(frame: &[u8]) -> Tcp {
    let headers = wire::parse(frame).unwrap();
    assert_eq!(checksum::verify_l4(&headers, frame), L4Checksum::Valid);
    let source = SocketAddr::new(headers.source, headers.source_port);
    assert_eq!(source.port(), 443);
    let l4 = &frame[headers.l4..headers.end];
    let segment = Segment::new_checked(l4).unwrap();
    let options = segment.options().unwrap();
    let blocks: Vec<SackBlock> = options.sack_blocks(l4).collect();
    let relative = |number: u32| number.wrapping_sub(CLIENT_ISN);
    Tcp {
        flags: segment.flags(),
        seq: segment.seq().wrapping_sub(OUR_ISN),
        ack: relative(segment.ack()),
        window: segment.window(),
        timestamps: options.timestamps,
        sack: blocks.iter().map(|block| (relative(block.left), relative(block.right))).collect(),
        data: segment.payload().to_vec(),
        dscp_ecn: headers.dscp_ecn,
        mac: frame[5],
    }
}
