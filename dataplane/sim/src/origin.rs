//! A simulated origin: a small server behind the node.
//!
//! Owns: its listening address, connections, TIME-WAIT memory and manners (accepting, refusing, silent). It reads
//! a request, checks every byte of it, and answers as the request says. Does not own: the network.

use crate::client::{Ending, HEADER_BYTES, Plan};
use crate::frame::{LinkHeader, Packet, Payload, Segment, flag};
use crate::random::{Random, pattern};
use crate::tcp::{Endpoint, Settings, State};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use secbeat_net::time::Instant;
use std::collections::BTreeMap;

/// How long a closed connection blocks its tuple for an older-looking SYN (Linux: 60 s).
const TIME_WAIT: Duration = Duration::from_secs(60);

/// What an origin does with a SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Accepts it.
    Accepts,
    /// Answers RST.
    Refuses,
    /// Does not answer.
    Silent,
}

/// What was learnt from a request's header.
#[derive(Clone, Copy, Debug)]
struct Request {
    id: u64,
    len: u32,
    answer: u32,
    ending: u8,
    /// Where the header starts: behind a PROXY header, when there is one.
    start: usize,
}

#[derive(Debug)]
struct Connection {
    endpoint: Endpoint,
    link: LinkHeader,
    request: Option<Request>,
    verified: usize,
    is_answered: bool,
    closed_at: Option<Instant>,
    fault: Option<String>,
    /// The client according to the PROXY header.
    announced: Option<SocketAddr>,
}

/// What is remembered of a closed connection.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// The next sequence number that was expected.
    next: u32,
    /// The newest timestamp.
    timestamp: Option<u32>,
    /// When it is forgotten.
    until: Instant,
}

/// A request that arrived whole.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    /// The session.
    pub id: u64,
    /// Whom the origin saw.
    pub peer: SocketAddr,
    /// Whom the PROXY header named.
    pub announced: Option<SocketAddr>,
}

/// One server.
#[derive(Debug)]
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it does with SYNs now.
    pub manner: Manner,
    settings: Settings,
    expects_proxy_header: bool,
    /// Whether a SYN that cannot reuse a tuple in TIME-WAIT is a fault of the sender.
    is_strict: bool,
    random: Random,
    connections: BTreeMap<SocketAddr, Connection>,
    closed: BTreeMap<SocketAddr, Memory>,
    output: Vec<Packet>,
    /// Requests that arrived whole.
    pub served: Vec<Served>,
    /// SYNs that opened a connection, repetitions apart.
    pub opened: u64,
    /// What should not have happened.
    pub faults: Vec<String>,
}

impl Origin {
    /// A server that accepts.
    pub fn new(
        address: SocketAddr,
        settings: Settings,
        expects_proxy_header: bool,
        is_strict: bool,
        random: Random,
    ) -> Self {
        Self {
            address,
            manner: Manner::Accepts,
            settings,
            expects_proxy_header,
            is_strict,
            random,
            connections: BTreeMap::new(),
            closed: BTreeMap::new(),
            output: Vec::new(),
            served: Vec::new(),
            opened: 0,
            faults: Vec::new(),
        }
    }

    /// Handles a segment addressed to this server.
    pub fn handle(&mut self, packet: &Packet, segment: &Segment, now: Instant) {
        let peer = packet.from();
        let link = packet.link.reversed();
        let is_live = self.connections.get(&peer).is_some_and(|connection| {
            !connection.endpoint.is_over() && connection.endpoint.state() != State::TimeWait
        });
        if is_live {
            if let Some(connection) = self.connections.get_mut(&peer) {
                connection.endpoint.handle(segment, now);
            }
        } else if segment.has(flag::SYN) && !segment.has(flag::ACK) {
            self.on_syn(peer, link, segment, now);
        } else if let Some(connection) = self.connections.get_mut(&peer).filter(|c| !c.endpoint.is_over()) {
            connection.endpoint.handle(segment, now);
        } else if !segment.has(flag::RST) {
            self.refuse(peer, link, segment);
        }
        self.progress(peer, now);
    }

    fn on_syn(&mut self, peer: SocketAddr, link: LinkHeader, syn: &Segment, now: Instant) {
        match self.manner {
            Manner::Silent => return,
            Manner::Refuses => return self.refuse(peer, link, syn),
            Manner::Accepts => {}
        }
        self.remember_closed(peer);
        let memory = self.closed.get(&peer).filter(|memory| memory.until > now);
        if let Some(memory) = memory.filter(|memory| !memory.admits(syn)) {
            if !self.is_strict {
                return;
            }
            let left = memory.until.saturating_since(now).as_millis();
            self.faults.push(format!(
                "SYN from {peer} looks older than the connection in TIME-WAIT ({left} ms left)"
            ));
            return;
        }
        self.closed.remove(&peer);
        self.opened += 1;
        let endpoint = Endpoint::accept(self.address, peer, self.settings, self.random.bits_32(), syn, now);
        let connection = Connection {
            endpoint,
            link,
            request: None,
            verified: 0,
            is_answered: false,
            closed_at: None,
            fault: None,
            announced: None,
        };
        self.connections.insert(peer, connection);
    }

    /// Moves an ended connection of this tuple to the memory of closed ones.
    fn remember_closed(&mut self, peer: SocketAddr) {
        let Some(connection) = self.connections.remove(&peer) else { return };
        if let (State::TimeWait | State::Closed, Some(at)) =
            (connection.endpoint.state(), connection.closed_at)
        {
            let next = connection.endpoint.next_expected();
            let timestamp = connection.endpoint.newest_timestamp();
            self.closed.insert(peer, Memory { next, timestamp, until: at + TIME_WAIT });
        }
    }

    /// RFC 9293 §3.5.2: a RST for a segment that has no connection.
    fn refuse(&mut self, peer: SocketAddr, link: LinkHeader, segment: &Segment) {
        let reset = segment.reset();
        self.output.push(packet(self.address, peer, link, reset));
    }

    /// Lets time pass for the connection with `peer`.
    pub fn handle_timeout(&mut self, peer: SocketAddr, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&peer) {
            connection.endpoint.handle_timeout(now);
        }
        self.progress(peer, now);
    }

    /// When [`Origin::handle_timeout`] should be called for `peer`.
    pub fn poll_timeout(&self, peer: SocketAddr) -> Option<Instant> {
        self.connections.get(&peer)?.endpoint.poll_timeout()
    }

    /// The packets to send.
    pub fn take_output(&mut self) -> Vec<Packet> {
        core::mem::take(&mut self.output)
    }

    /// Tuples of live connections: the peer's address and what it is expected to send next, for attackers that
    /// know more than they should.
    pub fn tuples(&self) -> impl Iterator<Item = SocketAddr> {
        self.connections.keys().copied()
    }

    fn progress(&mut self, peer: SocketAddr, now: Instant) {
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        connection.read_request(self.expects_proxy_header, &mut self.served, peer, now);
        if let Some(text) = connection.fault.take() {
            self.faults.push(format!("{} from {peer}: {text}", self.address));
        }
        if let Some(complaint) = connection.endpoint.complaints().first() {
            self.faults.push(format!("{} from {peer}: {complaint}", self.address));
        }
        if connection.endpoint.state() == State::TimeWait && connection.closed_at.is_none() {
            connection.closed_at = Some(now);
        }
        while let Some(segment) = connection.endpoint.poll_transmit() {
            self.output.push(packet(self.address, peer, connection.link.clone(), segment));
        }
    }
}

impl Connection {
    /// Reads what has arrived, checks it, and answers a request that is whole.
    fn read_request(
        &mut self,
        expects_proxy: bool,
        served: &mut Vec<Served>,
        peer: SocketAddr,
        now: Instant,
    ) {
        self.endpoint.read(usize::MAX, now);
        let bytes = self.endpoint.received();
        if self.request.is_none() {
            match parse_request(bytes, expects_proxy) {
                Ok(Some((request, announced))) => {
                    self.request = Some(request);
                    self.announced = announced;
                    self.verified = request.start + HEADER_BYTES;
                }
                Ok(None) => return,
                Err(text) => {
                    self.fault = Some(text);
                    return;
                }
            }
        }
        let Some(request) = self.request else { return };
        let body_start = request.start + HEADER_BYTES;
        let end = body_start + request.len as usize;
        for (at, &byte) in bytes.iter().enumerate().skip(self.verified) {
            if at >= end || byte != pattern(request.id, (at - body_start) as u64) {
                self.fault = Some(format!("byte {at} of the request of session {} is wrong", request.id));
                return;
            }
        }
        self.verified = self.verified.max(bytes.len());
        if self.verified == end && !self.is_answered {
            self.is_answered = true;
            served.push(Served { id: request.id, peer, announced: self.announced });
            self.answer(request, now);
        }
        if self.endpoint.is_read_to_end() && self.is_answered && !self.endpoint.is_finished() {
            self.endpoint.finish(now);
        }
    }

    fn answer(&mut self, request: Request, now: Instant) {
        let is_reset = request.ending == Ending::ServerReset as u8;
        let len = if is_reset { request.answer / 2 } else { request.answer };
        let bytes: Vec<u8> =
            (0..u64::from(len)).map(|offset| Plan::answer_byte(request.id, offset)).collect();
        self.endpoint.write(&bytes, now);
        if is_reset {
            self.endpoint.abort(now);
        } else if request.ending == Ending::ServerFirst as u8 {
            self.endpoint.finish(now);
        }
    }
}

impl Memory {
    /// RFC 6191, as Linux does it: the SYN may reuse the tuple when its timestamp is not older, and its timestamp
    /// or its sequence number is newer.
    fn admits(&self, syn: &Segment) -> bool {
        let age = syn
            .options
            .timestamps
            .zip(self.timestamp)
            .map(|((value, _), old)| value.wrapping_sub(old) as i32);
        let is_seq_newer = (syn.seq.wrapping_sub(self.next) as i32) > 0;
        age.is_none_or(|age| age >= 0) && (is_seq_newer || age.is_some_and(|age| age > 0))
    }
}

fn packet(from: SocketAddr, to: SocketAddr, link: LinkHeader, segment: Segment) -> Packet {
    Packet { link, source: from.ip(), destination: to.ip(), hop_limit: 64, payload: Payload::Tcp(segment) }
}

/// Reads the PROXY header, when one must come first, and the header of the request. `None`: not all there yet.
fn parse_request(bytes: &[u8], expects_proxy: bool) -> Result<Option<(Request, Option<SocketAddr>)>, String> {
    let (start, announced) = if expects_proxy {
        match parse_proxy_header(bytes)? {
            Some((len, address)) => (len, Some(address)),
            None => return Ok(None),
        }
    } else {
        (0, None)
    };
    let Some(header) = bytes.get(start..start + HEADER_BYTES) else { return Ok(None) };
    let number =
        |at: usize, len: usize| header[at..at + len].iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
    let request = Request {
        id: number(0, 8),
        len: number(8, 4) as u32,
        answer: number(12, 4) as u32,
        ending: header[16],
        start,
    };
    Ok(Some((request, announced)))
}

/// The PROXY protocol's version 2: its length and the client it names.
fn parse_proxy_header(bytes: &[u8]) -> Result<Option<(usize, SocketAddr)>, String> {
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let Some(fixed) = bytes.get(..16) else { return Ok(None) };
    if &fixed[..12] != SIGNATURE || fixed[12] != 0x21 {
        return Err(format!("no PROXY header: {fixed:02x?}"));
    }
    let len = 16 + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let Some(addresses) = bytes.get(16..len) else { return Ok(None) };
    let (address, port_at): (IpAddr, usize) = match fixed[13] {
        0x11 => (<[u8; 4]>::try_from(&addresses[..4]).map_err(|e| e.to_string())?.into(), 8),
        0x21 => (<[u8; 16]>::try_from(&addresses[..16]).map_err(|e| e.to_string())?.into(), 32),
        family => return Err(format!("PROXY header of family {family:#x}")),
    };
    let port = u16::from_be_bytes([addresses[port_at], addresses[port_at + 1]]);
    Ok(Some((len, SocketAddr::new(address, port))))
}
