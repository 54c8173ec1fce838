//! One TCP connection: a client, its backend, and the bytes between them.
//!
//! ```text
//! ExpectBackend --connected--> Open --FIN passed on both ways--> (closed, FIN)
//!      |  refused, timeout: next backend, or none left             |  RST, error, idle
//!      '--> (closed, RST)                                          '--> (closed, RST to both)
//! ```
//!
//! Owns: the two sockets and the state above. Does not own: polling, timers, limits (`worker`). A reset of one side is
//! passed on as a reset: a client must never take a cut answer for a whole one.

use core::net::SocketAddr;
use std::io::{self, Write};

use mio::net::TcpStream;
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use secbeat_net::flow::{Endpoint, FlowKey, Protocol};
use secbeat_net::proxy_protocol;
use secbeat_net::time::Instant;

use super::pipe::{Half, Pool, Progress};
use crate::upstream::BackendId;

/// Bytes moved per direction before another connection has its turn: enough to fill a large socket buffer once, little
/// enough that a thousand busy connections wait a few milliseconds.
const BYTES_PER_TURN: usize = 256 << 10;

/// Which socket an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Backend,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waiting for the backend to accept.
    ExpectBackend,
    /// Bytes flow.
    Open,
}

/// The backend's end.
#[derive(Debug)]
pub(super) struct BackendSide {
    pub(super) stream: TcpStream,
    pub(super) id: BackendId,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: TcpStream,
    pub(super) source: SocketAddr,
    pub(super) listener: u16,
    pub(super) backend: Option<BackendSide>,
    pub(super) stage: Stage,
    /// Backends tried so far.
    pub(super) attempt: u32,
    /// Client to backend.
    pub(super) up: Half,
    /// Backend to client.
    pub(super) down: Half,
    /// When the last byte moved.
    pub(super) active_at: Instant,
    /// When the backend must have accepted.
    pub(super) connect_by: Instant,
    /// It waits in the worker's queue.
    pub(super) is_queued: bool,
}

/// What became of a connection's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Wait for an event.
    Wait,
    /// Give it another turn.
    Again,
    /// It lacks a pipe; try again later.
    Starved,
    /// Both directions are finished.
    Done,
}

/// What a backend's socket says about the connection to it.
#[derive(Debug)]
pub(super) enum Connected {
    NotYet,
    Yes,
    No(io::Error),
}

impl Connection {
    pub(super) fn new(client: TcpStream, source: SocketAddr, listener: u16, now: Instant) -> Self {
        Self {
            client,
            source,
            listener,
            backend: None,
            stage: Stage::ExpectBackend,
            attempt: 0,
            up: Half::default(),
            down: Half::default(),
            active_at: now,
            connect_by: now,
            is_queued: false,
        }
    }

    /// Notes what the poll said about one side.
    pub(super) fn on_ready(&mut self, side: Side, readable: bool, writable: bool) {
        let (from, to) = match side {
            Side::Client => (&mut self.up, &mut self.down),
            Side::Backend => (&mut self.down, &mut self.up),
        };
        from.is_readable |= readable;
        to.is_writable |= writable;
    }

    /// Whether an error on `side` can no longer be met by reading from it.
    pub(super) fn is_ended(&self, side: Side) -> bool {
        match side {
            Side::Client => self.up.is_ended,
            Side::Backend => self.down.is_ended,
        }
    }

    /// Whether the backend has accepted.
    pub(super) fn connected(&self) -> Connected {
        let Some(backend) = &self.backend else { return Connected::NotYet };
        match backend.stream.take_error() {
            Ok(Some(error)) | Err(error) => return Connected::No(error),
            Ok(None) => {}
        }
        match backend.stream.peer_addr() {
            Ok(_) => Connected::Yes,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Connected::NotYet,
            Err(error) => Connected::No(error),
        }
    }

    /// The backend accepted: tells it who the client is, if it wants to know.
    pub(super) fn open(&mut self, nodelay: bool, proxy_protocol: bool, now: Instant) -> io::Result<()> {
        let Some(backend) = &mut self.backend else { return Ok(()) };
        if nodelay {
            backend.stream.set_nodelay(true)?;
        }
        if proxy_protocol {
            let local = self.client.local_addr()?;
            let key = FlowKey {
                protocol: Protocol::Tcp,
                source: endpoint(self.source),
                destination: endpoint(local),
            };
            let mut buffer = [0; proxy_protocol::HEADER_BYTES_MAX];
            // An empty socket buffer takes the few bytes at once, or the connection is broken.
            backend.stream.write_all(proxy_protocol::emit(&key, &mut buffer))?;
        }
        self.stage = Stage::Open;
        self.active_at = now;
        // Whatever came meanwhile was reported before anyone wanted it.
        (self.up.is_readable, self.up.is_writable) = (true, true);
        (self.down.is_readable, self.down.is_writable) = (true, true);
        Ok(())
    }

    /// Moves bytes both ways.
    pub(super) fn pump(&mut self, pool: &mut Pool, now: Instant) -> io::Result<Outcome> {
        let Some(backend) = &self.backend else { return Ok(Outcome::Wait) };
        let before = self.up.bytes + self.down.bytes;
        let up = self.up.pump(&self.client, &backend.stream, pool, BYTES_PER_TURN)?;
        let down = self.down.pump(&backend.stream, &self.client, pool, BYTES_PER_TURN)?;
        if self.up.bytes + self.down.bytes != before {
            self.active_at = now;
        }
        Ok(match (up, down) {
            _ if self.up.is_finished && self.down.is_finished => Outcome::Done,
            (Progress::More, _) | (_, Progress::More) => Outcome::Again,
            (Progress::Starved, _) | (_, Progress::Starved) => Outcome::Starved,
            (Progress::Blocked, Progress::Blocked) => Outcome::Wait,
        })
    }

    /// Whether one direction has ended.
    pub(super) fn is_half_closed(&self) -> bool {
        self.up.is_finished || self.down.is_finished
    }

    /// Makes the close that follows a reset, for both sides.
    pub(super) fn reset(&self) {
        reset(&self.client);
        if let Some(backend) = &self.backend {
            reset(&backend.stream);
        }
    }
}

/// Makes the close of `stream` send RST and forget what was not delivered.
pub(super) fn reset(stream: &TcpStream) {
    // It can only fail on a socket that is closed already.
    let _ = setsockopt(stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 });
}

fn endpoint(addr: SocketAddr) -> Endpoint {
    Endpoint { addr: addr.ip(), port: addr.port() }
}
