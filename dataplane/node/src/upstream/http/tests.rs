//! The client against scripted origins on loopback: they answer, dawdle, lie, and die.

mod failing;
mod pool;
mod streaming;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use mio::{Events, Poll};
use secbeat_http::h1::BodyKind;
use secbeat_http::head::Request;

use super::*;
use crate::upstream::{BackendId, BackendSettings, Settings as UpstreamSettings};
use crate::worker::clock::Clock;

/// Longest wait for something that should come at once.
const PATIENCE: Duration = Duration::from_secs(10);
const TOKENS: Tokens = Tokens { kind: 5, shift: 3 };
const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A server that does as told, one thread per connection.
struct Origin {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Origin {
    /// `script` gets the number of the connection (from 0) and the connection.
    fn start(script: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(number, stream));
            }
        });
        Self { address, connections }
    }

    /// Answers every request (without body) with `answer`.
    fn answering(answer: &'static [u8]) -> Self {
        Self::start(move |_, mut stream| {
            while read_head(&mut stream).is_some() {
                stream.write_all(answer).unwrap();
            }
        })
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads a request's head; `None` when the client is gone.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap())
}

fn read_body(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    stream.read_exact(&mut body).unwrap();
    body
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What the owner of an exchange has seen of it.
#[derive(Debug, Default)]
struct Seen {
    what: Vec<What>,
    body: Vec<u8>,
}

/// A worker that has only a client.
struct World {
    poll: Poll,
    events: Events,
    client: Client,
    clock: Clock,
    upstream: Arc<Upstream>,
    counters: Arc<WorkerCounters>,
    seen: HashMap<u64, Seen>,
    /// Whether bodies are taken as they come.
    takes_bodies: bool,
    next_user: u64,
}

fn settings() -> Settings {
    Settings {
        connect_timeout: Duration::from_millis(500),
        response_timeout: Duration::from_millis(500),
        idle_timeout: Duration::from_millis(500),
        ..Settings::default()
    }
}

impl World {
    fn new(origins: &[SocketAddr]) -> Self {
        Self::with(origins, settings(), |_| {})
    }

    fn with(origins: &[SocketAddr], settings: Settings, change: impl FnOnce(&mut UpstreamSettings)) -> Self {
        let backends = origins.iter().enumerate();
        let backends = backends.map(|(index, address)| BackendSettings::new(format!("b{index}"), *address));
        let mut upstream_settings = UpstreamSettings::one_group(backends.collect());
        change(&mut upstream_settings);
        let upstream = Upstream::new(upstream_settings).unwrap();
        let poll = Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let clock = Clock::start();
        let counters = Arc::new(WorkerCounters::new());
        let client = Client::new(
            settings,
            Arc::clone(&upstream),
            registry,
            TOKENS,
            Arc::clone(&counters),
            clock.now(),
        );
        Self {
            poll,
            events: Events::with_capacity(64),
            client,
            clock,
            upstream,
            counters,
            seen: HashMap::new(),
            takes_bodies: true,
            next_user: 1,
        }
    }

    fn try_begin(
        &mut self,
        method: &str,
        body: BodyKind,
        change: impl FnOnce(&mut Begin<'_>),
    ) -> Result<ExchangeId, Failure> {
        let mut head = Request::new();
        head.set_method(method.as_bytes()).unwrap();
        head.set_target(b"/path").unwrap();
        head.set_authority(b"origin.test").unwrap();
        let group = self.client.group("default").unwrap();
        let user = self.next_user;
        self.next_user += 1;
        let mut begin = Begin {
            group,
            hash: 1,
            head: &head,
            body,
            via: None,
            upgrade: None,
            client: None,
            is_last: false,
            response_timeout: None,
            user,
        };
        change(&mut begin);
        let begun = self.client.begin(begin, self.clock.now());
        if begun.is_ok() {
            self.seen.insert(user, Seen::default());
        }
        begun
    }

    fn begin(&mut self, method: &str, body: BodyKind) -> (ExchangeId, u64) {
        let user = self.next_user;
        (self.try_begin(method, body, |_| {}).unwrap(), user)
    }

    fn get(&mut self) -> (ExchangeId, u64) {
        self.begin("GET", BodyKind::None)
    }

    /// One turn; sleeps a moment for events.
    fn turn(&mut self) {
        let now = self.clock.now();
        let left =
            self.client.poll_timeout().map_or(Duration::from_millis(20), |at| at.saturating_since(now));
        self.poll.poll(&mut self.events, Some(left.min(Duration::from_millis(20)))).unwrap();
        let now = self.clock.now();
        for event in &self.events {
            assert!(self.client.handle_ready(event, now));
        }
        self.drain();
        self.client.handle_timeout(now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.client.poll_event() {
            self.seen.get_mut(&event.user).unwrap().what.push(event.what);
            if self.takes_bodies {
                self.take(event.exchange, event.user);
            }
        }
    }

    fn take(&mut self, id: ExchangeId, user: u64) {
        let bytes = self.client.peek_body(id).to_vec();
        self.client.consume_body(id, bytes.len());
        self.seen.get_mut(&user).unwrap().body.extend(bytes);
    }

    fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let start = std::time::Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "{what}: {:?}", self.seen);
            self.turn();
        }
    }

    /// Runs until the exchange is complete or failed.
    fn run_to_end(&mut self, (id, user): (ExchangeId, u64)) {
        self.run_until("the end of an exchange", |world| {
            let failed = matches!(world.seen[&user].what.last(), Some(What::Failed(_)));
            failed || world.client.is_complete(id) && world.client.peek_body(id).is_empty()
        });
    }

    /// Runs to the end and closes: status and body.
    fn finish(&mut self, exchange: (ExchangeId, u64)) -> (u16, Vec<u8>) {
        self.run_to_end(exchange);
        let (id, user) = exchange;
        let status = match self.seen[&user].what.last() {
            Some(What::Failed(failure)) => failure.status(),
            _ => self.client.response(id).unwrap().status(),
        };
        self.client.close(id);
        (status, std::mem::take(&mut self.seen.get_mut(&user).unwrap().body))
    }

    fn fetch(&mut self) -> (u16, Vec<u8>) {
        let exchange = self.get();
        self.finish(exchange)
    }

    fn failure(&self, user: u64) -> Option<Failure> {
        self.seen[&user].what.iter().find_map(|what| match what {
            What::Failed(failure) => Some(*failure),
            _ => None,
        })
    }

    fn count(&self, counter: Counter) -> u64 {
        self.counters.get(counter)
    }
}
