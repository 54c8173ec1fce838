//! The socket front with real sockets on loopback.

mod http_clients;
mod limits;
mod stream;
mod udp;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Instant as WallClock;

use secbeat_net::limit::{RateCell, RateTable};
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;

use super::*;
use crate::telemetry::counters::Counter;
use crate::upstream::{BackendSettings, Settings as Backends, http};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);
const WORKERS: usize = 2;

/// A front under test.
struct Front {
    running: Option<Running>,
    upstream: Arc<Upstream>,
    counters: Vec<Arc<WorkerCounters>>,
    events: Arc<EventQueue>,
    clock: Clock,
    addr: SocketAddr,
}

fn settings(protocol: Protocol, bind: &str) -> Settings {
    Settings {
        listeners: vec![ListenerSettings {
            name: "default".into(),
            protocol,
            bind_address: bind.parse().unwrap(),
            service: Service::Forward,
            proxy_protocol: false,
        }],
        connections_max: 4_096,
        udp_flows_max: 1_024,
        connect_timeout: Duration::from_millis(300),
        backend_tries: 3,
        idle_timeout: PATIENCE,
        half_closed_timeout: PATIENCE,
        udp_idle_timeout: PATIENCE,
        pipe_bytes: 8_192,
        nodelay: true,
        fastopen: true,
        backlog: 1_024,
        amplification_ports: Vec::new(),
        amplification_ratio_max: 0,
        limiter_slots: 1_024,
        upstream: http::Settings::default(),
    }
}

/// What sessions share.
fn sessions(upstream: &Arc<Upstream>, events: &Arc<EventQueue>) -> Arc<session::Shared> {
    Arc::new(session::Shared {
        rates: RateTable::new(1_024),
        global: RateCell::new(Instant::ZERO),
        key: HashKey([7, 9]),
        events: Arc::clone(events),
        reports: Arc::default(),
        upstream: Arc::clone(upstream),
        access_log: session::access_log::AccessLog::new(),
        audit_log: session::access_log::AccessLog::new(),
    })
}

impl Front {
    fn tcp(backends: &[SocketAddr]) -> Self {
        Self::start(settings(Protocol::Tcp, "127.0.0.1:0"), Policy::open(), backends)
    }

    fn start(settings: Settings, policy: Policy, backends: &[SocketAddr]) -> Self {
        let backends =
            backends.iter().enumerate().map(|(n, addr)| BackendSettings::new(format!("backend-{n}"), *addr));
        Self::start_with(settings, policy, Upstream::new(Backends::one_group(backends.collect())).unwrap())
    }

    fn start_with(settings: Settings, policy: Policy, upstream: Arc<Upstream>) -> Self {
        let counters: Vec<_> = (0..WORKERS).map(|_| Arc::new(WorkerCounters::new())).collect();
        let (events, clock) = (Arc::new(EventQueue::default()), Clock::start());
        let environment = Environment {
            upstream: Arc::clone(&upstream),
            events: Arc::clone(&events),
            clock,
            counters: counters.clone(),
            key: HashKey([3, 5]),
            sessions: sessions(&upstream, &events),
        };
        let front = SocketFront::new(settings, policy, environment).unwrap();
        let addr = front.local_addresses()[0];
        Self { running: Some(front.run().unwrap()), upstream, counters, events, clock, addr }
    }

    fn handle(&self) -> &Handle {
        self.running.as_ref().unwrap().handle()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn counter(&self, counter: Counter) -> u64 {
        self.counters.iter().map(|page| page.get(counter)).sum()
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.counters.iter().map(|page| page.drops(reason)).sum()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.handle().stop();
            running.join();
        }
    }
}

/// Waits for something that another thread does.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = WallClock::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A server that runs `serve` for each connection in a thread of its own, until the test process ends.
fn origin(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    addr
}

/// Sends back what comes, and the end after the end.
fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// A server that answers its name to each connection.
fn named(name: &'static str) -> SocketAddr {
    origin(move |mut stream| drop(stream.write_all(name.as_bytes())))
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Reads to the end; `None` when the connection was reset.
fn read_all(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => Some(bytes),
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
            None
        }
    }
}

/// Whether the front lets a connection in and answers with bytes.
fn is_served(front: &Front) -> bool {
    let Ok(mut stream) = TcpStream::connect(front.addr) else { return false };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let sent = stream.write_all(b"x").and_then(|()| stream.shutdown(Shutdown::Write));
    sent.is_ok() && read_all(&mut stream).is_some_and(|bytes| !bytes.is_empty())
}

/// Whether the front resets a connection; the reset may come before `connect` returns.
fn is_refused(front: &Front) -> bool {
    let Ok(mut stream) = TcpStream::connect(front.addr) else { return true };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    read_all(&mut stream).is_none()
}
