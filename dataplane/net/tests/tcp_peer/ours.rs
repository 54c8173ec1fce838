//! Our stack as the server, with an application that takes, writes and finishes by plan.

use core::time::Duration;

use secbeat_net::flow::{Endpoint, FlowKey, HashKey, Protocol};
use secbeat_net::link::{Link, PortId};
use secbeat_net::packet::PacketBuf;
use secbeat_net::splice::{HandshakeTimestamps, Ingress};
use secbeat_net::syncookie::{ClientOptions, Offer};
use secbeat_net::tcp::{CloseReason, Closed, ConnectionId, Event, Limits, Open, Stack, StackKeys, Verdict};
use secbeat_net::time::Instant;
use secbeat_net::wire::checksum::L4Checksum;
use secbeat_net::wire::tcp::{Flags, OPTIONS_BYTES_MAX, Segment, SynOptions, Timestamps};
use secbeat_net::wire::{self, checksum, protocol, tcp};

use crate::frame::{self, Ends, LINK_BYTES};
use crate::peer::Plan;
use crate::random::{Random, byte_at, bytes_at};
use crate::world::End;

/// Room in front of a frame, as in the data plane.
const HEADROOM: usize = 256;
/// What a frame's buffer holds.
const FRAME_BYTES: usize = 4_096;
/// Clock of our SYN-ACK's timestamps.
const TS_FIRST: u32 = 0xffff_ff00;

pub(crate) fn instant(now_us: u64) -> Instant {
    Instant::from_nanos(now_us * 1_000)
}

/// Where our segments may reach: as far as any window of the client did that arrived here.
#[derive(Clone, Copy, Debug)]
struct Edge {
    edge: u32,
    scale: u8,
}

/// Our end.
pub(crate) struct Ours {
    pub(crate) stack: Stack,
    ends: Ends,
    offer: Offer,
    plan: Plan,
    random: Random,
    isn: u32,
    syn: Option<(u32, ClientOptions)>,
    pub(crate) connection: Option<ConnectionId>,
    written: u64,
    pub(crate) read: u64,
    is_finished: bool,
    pub(crate) closed: Option<Closed>,
    /// When the application takes what is stored, while something is.
    take_us: Option<u64>,
    out: Vec<Vec<u8>>,
    edge: Option<Edge>,
    has_peer_finished: bool,
}

impl Ours {
    pub(crate) fn new(
        limits: Limits,
        offer: Offer,
        ends: Ends,
        plan: Plan,
        isn: u32,
        random: Random,
    ) -> Self {
        let keys = StackKeys { table: HashKey([1, 2]), challenge: HashKey([3, 4]) };
        Self {
            stack: Stack::new(limits, keys, instant(0)),
            ends,
            offer,
            plan,
            random,
            isn,
            syn: None,
            connection: None,
            written: 0,
            read: 0,
            is_finished: false,
            closed: None,
            take_us: None,
            out: Vec::new(),
            edge: None,
            has_peer_finished: false,
        }
    }

    fn key(&self) -> FlowKey {
        FlowKey {
            protocol: Protocol::Tcp,
            source: Endpoint { addr: self.ends.client, port: self.ends.client_port },
            destination: Endpoint { addr: self.ends.server, port: self.ends.server_port },
        }
    }

    /// Answers a SYN as a node would.
    fn answer_syn(&mut self, segment: &[u8]) {
        let view = Segment::new_checked(segment).expect("the client's SYN is well formed");
        let options = view.options().expect("so are its options");
        let agreed = ClientOptions::negotiate(&self.key(), &options, false, &self.offer);
        self.syn = Some((view.seq(), agreed));
        let answer = SynOptions {
            mss: Some(if self.ends.client.is_ipv4() { self.offer.mss_v4 } else { self.offer.mss_v6 }),
            window_scale: agreed.window_scale.and(self.offer.window_scale),
            sack_permitted: agreed.sack_permitted,
            timestamps: agreed.timestamps.then(|| Timestamps {
                value: TS_FIRST,
                echo: options.timestamps.map_or(0, |timestamps| timestamps.value),
            }),
        };
        let mut option_bytes = [0; OPTIONS_BYTES_MAX];
        let len = answer.emit(&mut option_bytes);
        let mut bytes = vec![0; 20 + len];
        let header = tcp::Repr {
            source_port: self.ends.server_port,
            destination_port: self.ends.client_port,
            seq: self.isn,
            ack: view.seq().wrapping_add(1),
            flags: Flags::SYN_ACK,
            window: self.offer.window,
        };
        header.emit(&mut bytes, &option_bytes[..len]).expect("it fits");
        self.out.push(frame::from_server(&self.ends, &bytes));
    }

    /// Opens the connection that `segment`, the first after the SYN to arrive, completes.
    fn open(&mut self, segment: &[u8], frame: &[u8], now_us: u64) {
        let Some((client_isn, agreed)) =
            self.syn.filter(|_| self.connection.is_none() && self.closed.is_none())
        else {
            return;
        };
        let view = Segment::new_checked(segment).expect("checked before");
        if view.flags().intersects(Flags::SYN | Flags::RST) || !view.flags().contains(Flags::ACK) {
            return;
        }
        let timestamps =
            view.options().ok().and_then(|options| options.timestamps).filter(|_| agreed.timestamps);
        let open = Open {
            key: self.key(),
            listener: 0,
            link: Link::reply_to(PortId(0), 1_500, &frame[..LINK_BYTES]).expect("a whole header"),
            client_isn,
            isn: self.isn,
            agreed,
            window: self.offer.window,
            window_scale: agreed.window_scale.and(self.offer.window_scale),
            timestamps: timestamps.map(|ts| HandshakeTimestamps { value: ts.value, echo: ts.echo }),
            client_window: view.window(),
        };
        let scale = open.window_scale.and(agreed.window_scale).unwrap_or(0);
        self.edge = Some(Edge { edge: self.isn.wrapping_add(1), scale });
        self.connection = self.stack.open(&open, instant(now_us)).ok();
    }

    /// Gives a frame to the stack and does what it says.
    fn handle(&mut self, frame: &[u8], now_us: u64) -> Verdict {
        let mut buffer = vec![0; FRAME_BYTES];
        buffer[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
        let Ok(headers) = wire::parse(frame) else { return Verdict::Consumed };
        // No kernel of this machine is the sender here, so a sum that only looks partial is a wrong one: accepting it
        // would let one damaged frame in 65,536 pass.
        let checksum = match checksum::verify_l4(&headers, frame) {
            L4Checksum::Partial => L4Checksum::Invalid,
            verified => verified,
        };
        let ingress = Ingress { port: PortId(0), mtu: 1_500, checksum };
        let mut packet = PacketBuf::new(&mut buffer, HEADROOM, frame.len());
        let now = instant(now_us);
        let verdict = if headers.protocol == protocol::TCP {
            self.stack.handle(&mut packet, &headers, &ingress, now)
        } else {
            self.stack.handle_icmp(&packet, &headers, now)
        };
        match verdict {
            Verdict::Data { connection, start, len } => {
                let bytes = packet.bytes()[start..start + len].to_vec();
                // Mostly all is taken, sometimes a part, sometimes nothing; never past what is stored already.
                let is_waiting = !self.stack.peek(connection).is_empty();
                let taken = match self.random.between(0, 9) {
                    _ if is_waiting => 0,
                    0 if self.plan.pause_us > 0 => 0,
                    1 if self.plan.pause_us > 0 => self.random.between(0, len as u64) as usize,
                    _ => len,
                };
                self.check_bytes(&bytes[..taken]);
                self.stack.received(connection, &bytes[taken..], now);
                if taken < len {
                    // Who leaves something knows that it is there.
                    let pause = self.random.between(0, self.plan.pause_us);
                    self.take_us.get_or_insert(now_us + pause);
                }
            }
            Verdict::Transmit(_) => self.out.push(packet.bytes().to_vec()),
            Verdict::Consumed | Verdict::Drop(_) | Verdict::Miss => {}
        }
        verdict
    }

    fn check_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            assert_eq!(*byte, byte_at(self.plan.streams.1, self.read), "byte {} arrived wrong", self.read);
            self.read += 1;
        }
        assert!(self.read <= self.plan.read, "more arrived than was sent");
    }

    fn take_events(&mut self, now_us: u64) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Readable { .. } => {
                    let pause = self.random.between(0, self.plan.pause_us);
                    self.take_us.get_or_insert(now_us + pause);
                }
                Event::PeerFinished { .. } => self.has_peer_finished = true,
                Event::Writable { .. } => {}
                Event::Closed(closed) => {
                    self.closed = Some(closed);
                    self.take_us = None;
                }
            }
        }
    }

    fn work(&mut self, now_us: u64) {
        let now = instant(now_us);
        self.take_events(now_us);
        let Some(connection) = self.connection.filter(|_| self.closed.is_none()) else { return };
        if self.take_us.is_some_and(|at| now_us >= at) {
            self.take_us = None;
            loop {
                let bytes = self.stack.peek(connection).to_vec();
                if bytes.is_empty() {
                    break;
                }
                self.check_bytes(&bytes);
                self.stack.consume(connection, bytes.len(), now);
            }
            self.take_events(now_us);
        }
        self.write(connection, now);
    }

    fn write(&mut self, connection: ConnectionId, now: Instant) {
        while self.written < self.plan.write {
            let most = (self.plan.write - self.written).min(self.plan.piece as u64);
            let len = self.random.between(1, most) as usize;
            let len = len.min(self.stack.send_room(connection).max(1));
            let bytes = bytes_at(self.plan.streams.0, self.written, len);
            let taken = self.stack.send(connection, &bytes, now);
            self.written += taken as u64;
            if taken < len {
                return;
            }
        }
        let has_read = self.has_peer_finished && self.read == self.plan.read;
        if !self.is_finished && (self.plan.closes_early || has_read) {
            self.is_finished = true;
            self.stack.finish(connection, now);
        }
    }

    /// No segment of ours may reach beyond the client's window; a FIN takes a number, too.
    fn check_edge(&self, frame: &[u8]) {
        let segment =
            frame::segment_of(&self.ends, frame, false).expect("our frames are whole and their sums right");
        let fields = frame::fields(&segment);
        let Some(Edge { edge, .. }) = self.edge else { return };
        let end = fields.seq.wrapping_add(fields.len + u32::from(fields.flags & frame::FIN));
        let is_beyond = (end.wrapping_sub(edge) as i32) > 0;
        let is_empty = fields.len == 0 && fields.flags & (frame::FIN | frame::SYN) == 0;
        assert!(is_empty || !is_beyond, "a segment reaches {} beyond the window", end.wrapping_sub(edge));
    }

    fn note_window(&mut self, segment: &[u8]) {
        let fields = frame::fields(segment);
        let Some(edge) = &mut self.edge else { return };
        if fields.flags & frame::ACK != 0 {
            let told = fields.ack.wrapping_add(u32::from(fields.window) << edge.scale);
            if (told.wrapping_sub(edge.edge) as i32) > 0 {
                edge.edge = told;
            }
        }
    }
}

impl End for Ours {
    fn receive(&mut self, frame: Vec<u8>, now_us: u64) {
        let segment = frame::segment_of(&self.ends, &frame, true);
        if let Some(segment) = &segment {
            let flags = Flags(frame::fields(segment).flags);
            if flags.is_initial_syn() && self.connection.is_none() && self.closed.is_none() {
                self.answer_syn(segment);
                return;
            }
            if self.connection.is_none() {
                self.open(segment, &frame, now_us);
            }
            self.note_window(segment);
        }
        let _ = self.handle(&frame, now_us);
        self.work(now_us);
    }

    fn transmit(&mut self, now_us: u64) -> Vec<Vec<u8>> {
        while self.stack.has_transmit() {
            let mut buffer = vec![0; FRAME_BYTES];
            let mut packet = PacketBuf::new(&mut buffer, HEADROOM, 0);
            if self.stack.poll_transmit(&mut packet, instant(now_us)).is_none() {
                break;
            }
            self.out.push(packet.bytes().to_vec());
        }
        let frames = core::mem::take(&mut self.out);
        frames.iter().for_each(|frame| self.check_edge(frame));
        frames
    }

    fn deadline_us(&self) -> Option<u64> {
        let timer = self.stack.poll_timeout().map(|at| at.as_nanos().div_ceil(1_000));
        let timer = timer.filter(|_| self.closed.is_none());
        [timer, self.take_us].into_iter().flatten().min()
    }

    fn pass(&mut self, now_us: u64) {
        self.stack.handle_timeout(instant(now_us), 1_000);
        self.work(now_us);
    }

    fn is_done(&self) -> bool {
        self.closed.is_some()
    }

    fn check(&self) {
        self.stack.check();
    }

    fn name(&self) -> &'static str {
        "ours"
    }
}

/// Limits for one connection: small tables, so that a world is cheap to make.
pub(crate) fn small_limits() -> Limits {
    Limits {
        connections_max: 4,
        time_wait_max: 4,
        chunk_bytes_max: 8 << 20,
        out_of_order_max: 4,
        time_wait: Duration::from_secs(60),
        ..Limits::default()
    }
}

/// Whether a connection that lived to its end may end like this.
pub(crate) fn is_orderly(closed: &Closed) -> bool {
    closed.reason == CloseReason::Finished
}
