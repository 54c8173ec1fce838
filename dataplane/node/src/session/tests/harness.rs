//! A worker's sessions with a front in memory, an origin on the loopback interface, and a clock that the test moves.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use mio::{Events, Poll};
use secbeat_net::flow::{FlowKey, HashKey};
use secbeat_net::limit::{RateCell, RateTable};
use secbeat_net::proxy_protocol::{self, Message};
use secbeat_net::time::Instant;

use super::super::access_log::AccessLog;
use super::super::policy::{L7Policy, Listener, RouteTable, Service};
use super::super::report::Reports;
use super::super::{Accepted, Counts, Refusal, SessionId, Sessions, Setup, Shared};
use crate::event::EventQueue;
use crate::front::{ClientId, Front};
use crate::telemetry::counters::WorkerCounters;
use crate::upstream::http::{Client, Settings as ClientSettings, Tokens};
use crate::upstream::{BackendSettings, Settings, Upstream};

/// Rounds of waiting for the loopback interface before a test gives up: some 5 s.
const ROUNDS_MAX: usize = 5_000;

/// One client as the front sees it.
#[derive(Debug)]
pub(in crate::session) struct Peer {
    /// What the session sent.
    pub(in crate::session) received: Vec<u8>,
    /// Bytes the client takes before it is slow.
    pub(in crate::session) room: usize,
    pub(in crate::session) session: Option<SessionId>,
    pub(in crate::session) is_finished: bool,
    pub(in crate::session) is_closed: bool,
    pub(in crate::session) is_aborted: bool,
    /// Sends of the session that took something.
    pub(in crate::session) sends: usize,
    is_short: bool,
    is_resumed: bool,
    /// What the front keeps for the session, and whether the client's FIN is behind it.
    kept: Vec<u8>,
    ends: bool,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            received: Vec::new(),
            room: usize::MAX,
            session: None,
            is_finished: false,
            is_closed: false,
            is_aborted: false,
            sends: 0,
            is_short: false,
            is_resumed: false,
            kept: Vec::new(),
            ends: false,
        }
    }
}

impl Peer {
    pub(in crate::session) fn is_over(&self) -> bool {
        self.is_closed || self.is_aborted
    }

    pub(in crate::session) fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    pub(in crate::session) fn kept_len(&self) -> usize {
        self.kept.len()
    }
}

/// A front in memory.
#[derive(Debug, Default)]
pub(in crate::session) struct Memory {
    pub(in crate::session) peers: HashMap<u64, Peer>,
}

impl Front for Memory {
    fn room(&self, client: ClientId) -> usize {
        self.peers.get(&client.0).map_or(0, |peer| peer.room)
    }

    fn send(&mut self, client: ClientId, bytes: &[u8]) -> usize {
        let Some(peer) = self.peers.get_mut(&client.0) else { return 0 };
        assert!(!peer.is_finished && !peer.is_over(), "sent after the end");
        let len = bytes.len().min(peer.room);
        peer.received.extend_from_slice(&bytes[..len]);
        peer.sends += usize::from(len > 0);
        if peer.room != usize::MAX {
            peer.room -= len;
        }
        peer.is_short |= len < bytes.len();
        len
    }

    fn finish(&mut self, client: ClientId) {
        let peer = self.peers.get_mut(&client.0).expect("a client");
        assert!(!peer.is_over(), "finished after the end");
        peer.is_finished = true;
    }

    fn close(&mut self, client: ClientId) {
        let peer = self.peers.get_mut(&client.0).expect("a client");
        assert!(!peer.is_over(), "ended twice");
        peer.is_closed = true;
        peer.session = None;
    }

    fn abort(&mut self, client: ClientId) {
        let peer = self.peers.get_mut(&client.0).expect("a client");
        assert!(!peer.is_over(), "ended twice");
        peer.is_aborted = true;
        peer.session = None;
    }

    fn resume(&mut self, client: ClientId) {
        self.peers.get_mut(&client.0).expect("a client").is_resumed = true;
    }
}

/// A request as the origin got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) struct Seen {
    pub(in crate::session) head: String,
    pub(in crate::session) body: Vec<u8>,
    /// The lines after the last chunk.
    pub(in crate::session) trailers: String,
    /// Client and listener, as the PROXY header of the connection has them.
    pub(in crate::session) proxied: Option<FlowKey>,
    /// Which of the origin's connections it came on.
    pub(in crate::session) connection: usize,
}

impl Seen {
    pub(in crate::session) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(in crate::session) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// What the origin does about a request.
#[derive(Clone, Debug)]
pub(in crate::session) enum Answer {
    /// Sends this.
    Send(Vec<u8>),
    /// Sends this, then FIN.
    Close(Vec<u8>),
    /// Sends this, then RST.
    Reset(Vec<u8>),
    /// Nothing.
    Silence,
    /// Sends this; everything after is echoed.
    Echo(Vec<u8>),
}

/// An answer with a length.
pub(in crate::session) fn ok(body: &[u8]) -> Answer {
    let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    Answer::Send(bytes)
}

struct Conversation {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    ends: Option<Answer>,
    is_echo: bool,
    is_ended: bool,
    /// Nothing has come on it.
    is_new: bool,
    number: usize,
    proxied: Option<FlowKey>,
}

type Script = Box<dyn FnMut(&Seen) -> Answer>;

/// An origin that answers by a script.
pub(in crate::session) struct Origin {
    listener: TcpListener,
    conversations: Vec<Conversation>,
    script: Script,
    pub(in crate::session) seen: Vec<Seen>,
    pub(in crate::session) connections: usize,
    /// Whether it reads at all.
    pub(in crate::session) reads: bool,
    /// Bytes it sends per turn and connection.
    pub(in crate::session) pace: usize,
    pub(in crate::session) sent: usize,
}

impl Origin {
    fn new(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        listener.set_nonblocking(true).expect("non-blocking");
        Self {
            listener,
            conversations: Vec::new(),
            script,
            seen: Vec::new(),
            connections: 0,
            reads: true,
            pace: usize::MAX,
            sent: 0,
        }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    /// Bytes that wait to be sent.
    pub(in crate::session) fn unsent(&self) -> usize {
        self.conversations.iter().map(|conversation| conversation.output.len()).sum()
    }

    fn turn(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).expect("non-blocking");
            self.connections += 1;
            self.conversations.push(Conversation {
                stream,
                input: Vec::new(),
                output: Vec::new(),
                ends: None,
                is_echo: false,
                is_ended: false,
                is_new: true,
                number: self.connections,
                proxied: None,
            });
        }
        let Self { conversations, script, seen, reads, pace, sent, .. } = self;
        conversations.retain_mut(|conversation| {
            if *reads {
                conversation.read();
            }
            // In front of everything else, or not at all.
            if let Ok((Message::Proxied(key), len)) = proxy_protocol::parse(&conversation.input)
                && core::mem::take(&mut conversation.is_new)
            {
                conversation.input.drain(..len);
                conversation.proxied = Some(key);
            }
            conversation.is_new &= conversation.input.is_empty();
            if conversation.is_echo {
                conversation.output.append(&mut conversation.input);
            } else {
                while conversation.ends.is_none()
                    && let Some((mut request, len)) = whole(&conversation.input)
                {
                    conversation.input.drain(..len);
                    request.proxied = conversation.proxied;
                    request.connection = conversation.number;
                    let answer = script(&request);
                    seen.push(request);
                    conversation.answer(answer);
                }
            }
            conversation.write(*pace, sent)
        });
    }
}

impl Conversation {
    fn read(&mut self) {
        let mut buffer = [0; 65_536];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.is_ended = true;
                    return;
                }
                Ok(len) => self.input.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.is_ended = true;
                    return;
                }
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Send(bytes) => self.output.extend(bytes),
            Answer::Echo(bytes) => {
                self.output.extend(bytes);
                self.is_echo = true;
            }
            Answer::Silence => {}
            Answer::Close(ref bytes) | Answer::Reset(ref bytes) => {
                self.output.extend(bytes);
                self.ends = Some(answer);
            }
        }
    }

    /// Sends; false when the conversation is over.
    fn write(&mut self, pace: usize, sent: &mut usize) -> bool {
        let len = self.output.len().min(pace);
        if len > 0 {
            match self.stream.write(&self.output[..len]) {
                Ok(count) => {
                    self.output.drain(..count);
                    *sent += count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        if !self.output.is_empty() {
            return true;
        }
        match self.ends {
            Some(Answer::Reset(_)) => {
                let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                let option = nix::sys::socket::sockopt::Linger;
                let _ = nix::sys::socket::setsockopt(&self.stream, option, &linger);
                false
            }
            Some(_) => false,
            None => !self.is_ended,
        }
    }
}

/// The first whole request in `input`, read as naively as can be, and its length.
fn whole(input: &[u8]) -> Option<(Seen, usize)> {
    let end = input.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&input[..end]).into_owned();
    let mut seen = Seen { head, body: Vec::new(), trailers: String::new(), proxied: None, connection: 0 };
    if let Some(length) = seen.field("content-length") {
        let length: usize = length.parse().expect("a length");
        seen.body = input.get(end..end + length)?.to_vec();
        return Some((seen, end + length));
    }
    if seen.field("transfer-encoding").is_none() {
        return Some((seen, end));
    }
    let mut at = end;
    loop {
        let line = input[at..].windows(2).position(|window| window == b"\r\n")?;
        let size = core::str::from_utf8(&input[at..at + line]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        at += line + 2;
        if size == 0 {
            let trailers = input[at - 2..].windows(4).position(|window| window == b"\r\n\r\n")?;
            let end = at - 2 + trailers + 4;
            // From behind the size to before the empty line.
            seen.trailers = String::from_utf8_lossy(&input[at..end - 2]).into_owned();
            return Some((seen, end));
        }
        seen.body.extend_from_slice(input.get(at..at + size)?);
        at += size + 2;
        input.get(at - 1)?;
    }
}

/// All of it.
pub(in crate::session) struct World {
    pub(in crate::session) poll: Poll,
    pub(in crate::session) events: Events,
    pub(in crate::session) sessions: Sessions,
    pub(in crate::session) front: Memory,
    pub(in crate::session) origin: Origin,
    pub(in crate::session) page: Arc<WorkerCounters>,
    pub(in crate::session) reports: Arc<Reports>,
    pub(in crate::session) queue: Arc<EventQueue>,
    pub(in crate::session) access_log: Arc<AccessLog>,
    pub(in crate::session) audit_log: Arc<AccessLog>,
    pub(in crate::session) now: Instant,
    clients: u64,
}

/// A plain listener whose requests go to the origin.
pub(in crate::session) fn listener() -> Listener {
    Listener {
        name: "test".into(),
        tls: false,
        service: Service::Proxy,
        routes: RouteTable::default(),
        group: Some("default".into()),
        http2: true,
        waf: None,
        proxy_protocol: false,
    }
}

/// A policy with that listener.
pub(in crate::session) fn policy() -> L7Policy {
    L7Policy { listeners: vec![Some(listener())], ..L7Policy::default() }
}

impl World {
    pub(in crate::session) fn new(script: impl FnMut(&Seen) -> Answer + 'static) -> Self {
        Self::with(policy(), script)
    }

    pub(in crate::session) fn with(policy: L7Policy, script: impl FnMut(&Seen) -> Answer + 'static) -> Self {
        Self::build(policy, 64, ClientSettings::default(), script)
    }

    pub(in crate::session) fn build(
        policy: L7Policy,
        sessions_max: u32,
        client: ClientSettings,
        script: impl FnMut(&Seen) -> Answer + 'static,
    ) -> Self {
        let origin = Origin::new(Box::new(script));
        let backend = BackendSettings::new("origin", origin.address());
        let upstream = Upstream::new(Settings::one_group(vec![backend])).expect("backends");
        let poll = Poll::new().expect("a poll");
        let registry = poll.registry().try_clone().expect("a registry");
        let page = Arc::new(WorkerCounters::new());
        let now = Instant::from_millis(1_700_000_000_000);
        let tokens = Tokens { kind: 0, shift: 0 };
        let client = Client::new(client, Arc::clone(&upstream), registry, tokens, Arc::clone(&page), now);
        let (queue, reports) = (Arc::new(EventQueue::default()), Arc::new(Reports::default()));
        let access_log = AccessLog::new();
        let audit_log = AccessLog::new();
        let shared = Arc::new(Shared {
            rates: RateTable::new(1_024),
            global: RateCell::new(now),
            key: HashKey([1, 2]),
            events: Arc::clone(&queue),
            reports: Arc::clone(&reports),
            upstream,
            access_log: Arc::clone(&access_log),
            audit_log: Arc::clone(&audit_log),
        });
        let setup = Setup {
            worker: 0,
            sessions_max,
            policy: Arc::new(policy),
            shared,
            page: Arc::clone(&page),
            client,
            seed: 7,
        };
        Self {
            poll,
            events: Events::with_capacity(64),
            sessions: Sessions::new(setup, now),
            front: Memory::default(),
            origin,
            page,
            reports,
            queue,
            access_log,
            audit_log,
            now,
            clients: 0,
        }
    }

    /// A client comes in.
    pub(in crate::session) fn connect(&mut self) -> u64 {
        self.connect_from("192.0.2.7:40000", 0, false).expect("a session")
    }

    pub(in crate::session) fn connect_from(
        &mut self,
        source: &str,
        listener: u16,
        exempt: bool,
    ) -> Result<u64, Refusal> {
        self.clients += 1;
        let client = self.clients;
        let source = source.parse().expect("an address");
        let destination = "198.51.100.1:443".parse().expect("an address");
        let accepted = Accepted { client: ClientId(client), source, destination, listener, exempt };
        let session = self.sessions.open(accepted, self.now)?;
        self.front.peers.insert(client, Peer { session: Some(session), ..Peer::default() });
        Ok(client)
    }

    pub(in crate::session) fn peer(&mut self, client: u64) -> &mut Peer {
        self.front.peers.get_mut(&client).expect("a client")
    }

    /// The client sends bytes.
    pub(in crate::session) fn send(&mut self, client: u64, bytes: &[u8]) {
        let peer = self.peer(client);
        let was_kept = !peer.kept.is_empty();
        peer.kept.extend_from_slice(bytes);
        // A front that keeps bytes reads no more until it is resumed.
        if !was_kept {
            self.deliver(client);
        }
    }

    /// The client sends FIN.
    pub(in crate::session) fn end(&mut self, client: u64) {
        self.peer(client).ends = true;
        self.deliver_end(client);
    }

    /// The client resets.
    pub(in crate::session) fn reset(&mut self, client: u64) {
        if let Some(session) = self.peer(client).session.take() {
            self.peer(client).is_aborted = true;
            self.sessions.handle_closed(session, &mut self.front, self.now);
        }
    }

    fn deliver(&mut self, client: u64) {
        let now = self.now;
        let peer = self.front.peers.get_mut(&client).expect("a client");
        peer.is_resumed = false;
        let Some(session) = peer.session else { return peer.kept.clear() };
        let mut bytes = core::mem::take(&mut peer.kept);
        let taken = self.sessions.handle_data(session, &mut bytes, &mut self.front, now);
        let peer = self.front.peers.get_mut(&client).expect("a client");
        peer.kept = bytes.split_off(taken);
        self.deliver_end(client);
    }

    fn deliver_end(&mut self, client: u64) {
        let peer = self.front.peers.get_mut(&client).expect("a client");
        if peer.ends
            && peer.kept.is_empty()
            && let Some(session) = peer.session
        {
            peer.ends = false;
            self.sessions.handle_end(session, &mut self.front, self.now);
        }
    }

    /// One pass of the loop; `wait`: how long to wait for sockets.
    pub(in crate::session) fn turn(&mut self, wait: Duration) {
        self.poll.poll(&mut self.events, Some(wait)).expect("a poll");
        for event in &self.events {
            assert!(self.sessions.handle_ready(event, &mut self.front, self.now));
        }
        let clients: Vec<u64> = self.front.peers.keys().copied().collect();
        for client in clients {
            let peer = self.front.peers.get_mut(&client).expect("a client");
            if peer.is_short && peer.room > 0 {
                peer.is_short = false;
                if let Some(session) = peer.session {
                    self.sessions.handle_writable(session, &mut self.front, self.now);
                }
            }
            if self.front.peers[&client].is_resumed {
                self.deliver(client);
            }
        }
        self.sessions.handle_timeout(&mut self.front, self.now, 64);
        self.origin.turn();
    }

    /// Turns until `done`, or fails.
    pub(in crate::session) fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        for round in 0..ROUNDS_MAX {
            if done(self) {
                return;
            }
            self.turn(if round < 8 { Duration::ZERO } else { Duration::from_millis(1) });
        }
        let peers: Vec<_> = self.front.peers.values().map(Peer::text).collect();
        let counts = self.sessions.counts();
        panic!(
            "{what} did not happen; clients got {peers:#?}, origin saw {:#?}, {counts:?}",
            self.origin.seen
        );
    }

    /// Turns until nothing seems to move.
    pub(in crate::session) fn rest(&mut self) {
        for _ in 0..20 {
            self.turn(Duration::from_millis(1));
        }
    }

    /// Moves the clock in steps, as timers would fire.
    pub(in crate::session) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = (self.now + Duration::from_millis(250)).min(end);
            self.turn(Duration::ZERO);
        }
    }

    /// What the client got when it got `count` whole responses with a length, or the end.
    pub(in crate::session) fn responses(&mut self, client: u64, count: usize) -> Vec<Reply> {
        self.until("the responses", |world| {
            let peer = world.peer(client);
            parse_all(&peer.received, peer.is_finished || peer.is_over()).len() >= count
        });
        let peer = self.peer(client);
        parse_all(&peer.received, peer.is_finished || peer.is_over())
    }

    /// The only response to come.
    pub(in crate::session) fn response(&mut self, client: u64) -> Reply {
        self.responses(client, 1).remove(0)
    }

    /// Sends one request on a connection of its own and waits for the response.
    pub(in crate::session) fn ask(&mut self, request: &str) -> Reply {
        let client = self.connect();
        self.send(client, request.as_bytes());
        self.response(client)
    }

    pub(in crate::session) fn counts(&self) -> Counts {
        self.sessions.counts()
    }

    /// Nothing is left of anything.
    pub(in crate::session) fn assert_nothing_left(&mut self) {
        assert_eq!(self.sessions.counts(), Counts::default());
        assert_eq!(self.sessions.core.client.counts().exchanges, 0, "exchanges with backends");
        assert_eq!(self.sessions.core.client.counts().waiting, 0);
    }
}

/// A response as a naive client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::session) struct Reply {
    pub(in crate::session) status: u16,
    pub(in crate::session) head: String,
    pub(in crate::session) body: Vec<u8>,
}

impl Reply {
    pub(in crate::session) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(in crate::session) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// All whole responses in what a client got. One without a length is whole at the end.
pub(in crate::session) fn parse_all(mut bytes: &[u8], is_ended: bool) -> Vec<Reply> {
    let mut replies = Vec::new();
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end + 4]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut reply = Reply { status, head, body: Vec::new() };
        let mut at = end + 4;
        let is_bodiless = status < 200 || status == 204 || status == 304;
        if is_bodiless {
        } else if let Some(length) = reply.field("content-length") {
            let length: usize = length.parse().expect("a length");
            let Some(body) = bytes.get(at..at + length) else { break };
            reply.body = body.to_vec();
            at += length;
        } else if reply.field("transfer-encoding").is_some() {
            let Some((body, len)) = unchunk(&bytes[at..]) else { break };
            reply.body = body;
            at += len;
        } else if is_ended {
            reply.body = bytes[at..].to_vec();
            at = bytes.len();
        } else {
            break;
        }
        bytes = &bytes[at..];
        replies.push(reply);
    }
    replies
}

fn unchunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = bytes.get(at..)?.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(core::str::from_utf8(&bytes[at..at + line]).expect("hex"), 16)
            .expect("a size");
        at += line + 2;
        if size == 0 {
            let end = bytes.get(at - 2..)?.windows(4).position(|window| window == b"\r\n\r\n")?;
            return Some((body, at - 2 + end + 4));
        }
        body.extend_from_slice(bytes.get(at..at + size)?);
        at += size;
        assert_eq!(bytes.get(at..at + 2)?, b"\r\n");
        at += 2;
    }
}
