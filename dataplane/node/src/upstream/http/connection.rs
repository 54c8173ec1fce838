//! One connection to a backend.
//!
//! ```text
//!   ExpectConnect --accepted--> Busy --response complete, can be reused--> Idle --next request--> Busy
//!         |                      |                                          |
//!         '-- refused, late -----'-- broken, not reusable, given up --------'-- ended by it, late --> (closed)
//! ```
//!
//! Owns: the socket, what the poll said about it, its age. Does not own: buffers (an idle connection has none), the
//! exchange it serves.

use core::net::SocketAddr;
use std::io::{self, Read};

use mio::net::TcpStream;
use secbeat_net::flow::{Endpoint, FlowKey, Protocol};
use secbeat_net::proxy_protocol;
use secbeat_net::time::Instant;

use crate::slab::Key;
use crate::upstream::BackendId;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waiting for the backend to accept; the exchange waits with it.
    ExpectConnect(Key),
    /// Serving an exchange.
    Busy(Key),
    /// Waiting for the next one.
    Idle,
}

/// What a read brought.
#[derive(Debug)]
pub(super) enum Received {
    /// So many bytes.
    Bytes(usize),
    /// The backend finished.
    End,
    /// Nothing now.
    Nothing,
    /// The connection broke.
    Broken,
}

/// What the socket says about a connection that was begun.
#[derive(Debug)]
pub(super) enum Connected {
    NotYet,
    Yes,
    No(io::Error),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) backend: BackendId,
    /// Where it goes to: a backend's number may come to mean another one.
    pub(super) address: SocketAddr,
    /// The client it speaks for, by PROXY header; such a connection serves nobody else.
    pub(super) client: Option<(SocketAddr, SocketAddr)>,
    pub(super) stage: Stage,
    pub(super) opened_at: Instant,
    /// When the stage began or the last byte moved.
    pub(super) active_at: Instant,
    /// When its timer fires; may be earlier than it need be.
    pub(super) armed_at: Option<Instant>,
    /// Requests begun on it.
    pub(super) requests: u32,
    pub(super) is_readable: bool,
    pub(super) is_writable: bool,
    /// The backend has finished, or broke the connection: there is an end to be read.
    pub(super) is_read_closed: bool,
    /// A write failed: what is there is read, then it is over.
    pub(super) is_broken: bool,
    /// It waits in the client's queue.
    pub(super) is_queued: bool,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        backend: BackendId,
        address: SocketAddr,
        client: Option<(SocketAddr, SocketAddr)>,
        exchange: Key,
        now: Instant,
    ) -> Self {
        Self {
            stream,
            backend,
            address,
            client,
            stage: Stage::ExpectConnect(exchange),
            opened_at: now,
            active_at: now,
            armed_at: None,
            requests: 1,
            is_readable: false,
            is_writable: false,
            is_read_closed: false,
            is_broken: false,
            is_queued: false,
        }
    }

    /// The exchange it works for.
    pub(super) fn exchange(&self) -> Option<Key> {
        match self.stage {
            Stage::ExpectConnect(exchange) | Stage::Busy(exchange) => Some(exchange),
            Stage::Idle => None,
        }
    }

    /// Whether the backend has accepted.
    pub(super) fn connected(&self) -> Connected {
        match self.stream.take_error() {
            Ok(Some(error)) | Err(error) => return Connected::No(error),
            Ok(None) => {}
        }
        match self.stream.peer_addr() {
            Ok(_) => Connected::Yes,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Connected::NotYet,
            Err(error) => Connected::No(error),
        }
    }

    /// The backend accepted: tells it who the client is, if it wants to know.
    pub(super) fn open(&mut self, exchange: Key, now: Instant) -> io::Result<()> {
        use io::Write;
        self.stream.set_nodelay(true)?;
        if let Some((source, destination)) = self.client {
            let endpoint = |addr: SocketAddr| Endpoint { addr: addr.ip(), port: addr.port() };
            let key = FlowKey {
                protocol: Protocol::Tcp,
                source: endpoint(source),
                destination: endpoint(destination),
            };
            let mut buffer = [0; proxy_protocol::HEADER_BYTES_MAX];
            // An empty socket buffer takes the few bytes at once, or the connection is broken.
            self.stream.write_all(proxy_protocol::emit(&key, &mut buffer))?;
        }
        self.stage = Stage::Busy(exchange);
        self.active_at = now;
        self.is_writable = true;
        Ok(())
    }

    /// Reads once. A read shorter than the buffer has emptied the socket: no second one is spent on hearing so.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        match self.stream.read(buffer) {
            Ok(0) => Received::End,
            Ok(len) => {
                self.is_readable = len == buffer.len() || self.is_read_closed;
                Received::Bytes(len)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_readable = false;
                if self.is_broken { Received::Broken } else { Received::Nothing }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Received::Nothing,
            Err(_) => Received::Broken,
        }
    }
}
