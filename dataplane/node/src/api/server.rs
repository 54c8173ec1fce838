//! A small blocking HTTP/1.1 server: one thread accepts, a fixed number answers.
//!
//! Everything is bounded: connections open and waiting, requests per connection, bytes and time per request. A
//! client that sends slowly holds one of the answering threads for at most the timeout, an idle one gives its
//! thread up as soon as somebody else waits.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use secbeat_config::{NodeConfig, Secret};

use super::answer::{Answer, Failure};
use super::request::{self, Request};
use super::routes::{self, Context};
use super::{Control, EventLog};
use crate::telemetry::Telemetry;
use crate::telemetry::node::NodeCounter;

/// Requests answered on one connection before it is closed, so that no client keeps a thread for ever.
const REQUESTS_PER_CONNECTION_MAX: u32 = 1_000;
/// How long an idle connection may keep its thread while nobody waits.
const IDLE: Duration = Duration::from_secs(5);
/// How often an idle connection looks whether somebody waits.
const IDLE_STEP: Duration = Duration::from_millis(50);
/// Bytes read at once.
const READ_BYTES: usize = 4 << 10;
/// What may still be read after a refused request, so that its answer is not lost in a reset.
const LINGER_BYTES_MAX: usize = 256 << 10;

/// How the server runs.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Where it listens.
    pub bind_address: SocketAddr,
    /// Whether `/api/v1` is served.
    pub api: bool,
    /// What callers must present.
    pub token: Option<Secret>,
    /// Whether `/metrics` and `/health` need no token.
    pub metrics_without_token: bool,
    /// Connections at once.
    pub connections_max: usize,
    /// Threads that answer.
    pub threads: usize,
    /// How long a request may take to arrive, and an answer to be taken.
    pub timeout: Duration,
}

impl ApiSettings {
    /// The settings of a node; `None` when nothing is to be served.
    pub fn from_config(config: &NodeConfig) -> Option<Self> {
        config.metrics.enable.then(|| Self {
            bind_address: config.metrics.bind_address,
            api: config.api.enable,
            token: config.api.token.clone(),
            metrics_without_token: config.api.metrics_without_token,
            connections_max: config.api.connections_max.into(),
            threads: config.api.threads.into(),
            timeout: config.api.timeout,
        })
    }
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What all threads share.
struct Shared {
    settings: ApiSettings,
    control: Arc<dyn Control>,
    telemetry: Arc<Telemetry>,
    events: Arc<EventLog>,
    stop: Arc<AtomicBool>,
    open: AtomicUsize,
}

impl Server {
    /// Binds and starts.
    ///
    /// # Errors
    /// When the address cannot be bound, a thread cannot be made, or the address is not a loopback one and there
    /// is no token.
    pub fn start(
        settings: ApiSettings,
        control: Arc<dyn Control>,
        telemetry: Arc<Telemetry>,
        events: Arc<EventLog>,
    ) -> io::Result<Self> {
        if !settings.bind_address.ip().is_loopback() && settings.token.is_none() {
            return Err(io::Error::new(
                ErrorKind::PermissionDenied,
                format!("{} is not a loopback address: [api] token is required", settings.bind_address),
            ));
        }
        let listener = TcpListener::bind(settings.bind_address)?;
        let addr = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            settings,
            control,
            telemetry,
            events,
            stop: stop.clone(),
            open: AtomicUsize::new(0),
        });
        let (sender, receiver) = bounded(shared.settings.connections_max);
        let mut threads = Vec::with_capacity(shared.settings.threads + 1);
        for index in 0..shared.settings.threads.max(1) {
            let (shared, receiver) = (shared.clone(), receiver.clone());
            threads.push(
                thread::Builder::new().name(format!("api-{index}")).spawn(move || shared.work(&receiver))?,
            );
        }
        threads.push(
            thread::Builder::new()
                .name("api-accept".into())
                .spawn(move || shared.accept(&listener, &sender))?,
        );
        Ok(Self { addr, stop, threads })
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The accepting thread sits in accept(2); a connection wakes it.
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn accept(&self, listener: &TcpListener, sender: &Sender<TcpStream>) {
        while !self.stopped() {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely; they come back, and turning at full speed helps nobody.
                    tracing::warn!(component = "api", event = "accept_failed", %error);
                    thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            if self.open.load(Ordering::Relaxed) >= self.settings.connections_max {
                self.telemetry.node.count(NodeCounter::ApiConnectionsRefused);
                continue;
            }
            self.open.fetch_add(1, Ordering::Relaxed);
            match sender.try_send(stream) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.open.fetch_sub(1, Ordering::Relaxed);
                    self.telemetry.node.count(NodeCounter::ApiConnectionsRefused);
                }
            }
        }
    }

    fn work(&self, receiver: &Receiver<TcpStream>) {
        // Ends when the accepting thread is gone.
        while let Ok(stream) = receiver.recv() {
            if !self.stopped() {
                // What a client does to its own connection is its own affair.
                let _ =
                    Connection { shared: self, stream, buffer: Vec::new() }.serve(|| !receiver.is_empty());
            }
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// One client.
struct Connection<'s> {
    shared: &'s Shared,
    stream: TcpStream,
    /// Bytes received and not yet used.
    buffer: Vec<u8>,
}

impl Connection<'_> {
    fn serve(mut self, somebody_waits: impl Fn() -> bool) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.stream.set_write_timeout(Some(self.shared.settings.timeout))?;
        for count in 1..=REQUESTS_PER_CONNECTION_MAX {
            if count > 1 && self.buffer.is_empty() && !self.wait_idle(&somebody_waits)? {
                return Ok(());
            }
            let deadline = Instant::now() + self.shared.settings.timeout;
            let (request, body) = match self.receive(deadline) {
                Ok(Some(received)) => received,
                Ok(None) => return Ok(()),
                Err(failure) => return self.refuse(failure),
            };
            let context = Context {
                settings: &self.shared.settings,
                control: &*self.shared.control,
                telemetry: &self.shared.telemetry,
                events: &self.shared.events,
            };
            let answer = routes::answer(&context, &request, &body);
            let keep_alive =
                request.keep_alive && count < REQUESTS_PER_CONNECTION_MAX && !self.shared.stopped();
            self.send(&answer, keep_alive, request.method == request::Method::Head)?;
            if !keep_alive {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits for the next request; false when the connection is to be closed instead.
    fn wait_idle(&mut self, somebody_waits: impl Fn() -> bool) -> io::Result<bool> {
        let end = Instant::now() + IDLE;
        self.stream.set_read_timeout(Some(IDLE_STEP))?;
        while Instant::now() < end && !somebody_waits() && !self.shared.stopped() {
            match self.stream.peek(&mut [0]) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// The next request and its body; `None` when the client is gone.
    fn receive(&mut self, deadline: Instant) -> Result<Option<(Request, Vec<u8>)>, Failure> {
        let request = loop {
            if let Some(request) = request::parse(&self.buffer)? {
                break request;
            }
            if !self.read(deadline)? {
                return Ok(None);
            }
        };
        let end = request.head_len + request.body_len;
        if request.expects_continue && self.buffer.len() < end {
            // If it cannot be written, reading fails next.
            let _ = self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        while self.buffer.len() < end {
            if !self.read(deadline)? {
                return Ok(None);
            }
        }
        let rest = self.buffer.split_off(end);
        let body = core::mem::replace(&mut self.buffer, rest).split_off(request.head_len);
        Ok(Some((request, body)))
    }

    /// Reads some bytes before `deadline`; false at the end of the stream.
    fn read(&mut self, deadline: Instant) -> Result<bool, Failure> {
        let late = || Failure::new(408, "timeout", "the request did not arrive in time");
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        let mut bytes = [0; READ_BYTES];
        let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut bytes));
        match read {
            Ok(count) => {
                self.buffer.extend_from_slice(bytes.get(..count).unwrap_or_default());
                Ok(count > 0)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(late()),
            Err(_) => Ok(false),
        }
    }

    fn send(&mut self, answer: &Answer, keep_alive: bool, head_only: bool) -> io::Result<()> {
        let counter = match answer.status {
            ..400 => NodeCounter::ApiRequestsOk,
            400..500 => NodeCounter::ApiRequestsRefused,
            _ => NodeCounter::ApiRequestsFailed,
        };
        self.shared.telemetry.node.count(counter);
        self.stream.write_all(&answer.encode(keep_alive, head_only))
    }

    /// Says why and closes. What the client still sends is read and thrown away for a moment: closing with unread
    /// bytes would send a RST, and the client would never see the answer.
    fn refuse(mut self, failure: Failure) -> io::Result<()> {
        self.send(&failure.answer(), false, false)?;
        self.stream.shutdown(Shutdown::Write)?;
        self.stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        let mut thrown = 0;
        let mut bytes = [0; READ_BYTES];
        while thrown < LINGER_BYTES_MAX {
            match self.stream.read(&mut bytes) {
                Ok(0) | Err(_) => break,
                Ok(count) => thrown += count,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
