//! One client's connection of an `l7` listener.
//!
//! ```text
//!   Open(session) --session closes--> Lingering --client's FIN, late, too much--> (closed)
//!        |  RST, error, banned                                                      ^
//!        '--------------------------------------------------------------------------'
//! ```
//! Lingering: our FIN is sent, and what the client still sends is read and dropped for a while. Without it the kernel
//! would answer a request body under way with RST, which can destroy the answer on its way to the client.
//!
//! Owns: the socket and what the poll said about it. Does not own: its session. Cost: 120 bytes and a descriptor; bytes
//! are kept only under back-pressure.

use core::net::SocketAddr;
use std::io::{self, Read, Write};

use mio::net::TcpStream;
use secbeat_net::time::Instant;

use crate::session::SessionId;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A session has it.
    Open(SessionId),
    /// Our end is finished; the client's bytes are dropped until then, at most so many more.
    Lingering { until: Instant, bytes: usize },
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Bytes(usize),
    End,
    Nothing,
    Broken,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) source: SocketAddr,
    pub(super) stage: Stage,
    /// Bytes that the session did not take.
    pub(super) kept: Vec<u8>,
    pub(super) is_readable: bool,
    pub(super) is_writable: bool,
    /// FIN or RST was reported: there is an end to be read.
    pub(super) is_read_closed: bool,
    /// The session asked for more than the socket took.
    pub(super) owes_writable: bool,
    /// The session takes nothing until it says so.
    pub(super) is_paused: bool,
    /// The client's end was passed on.
    pub(super) is_ended: bool,
    /// RST or a failed write.
    pub(super) is_broken: bool,
    /// The last read filled the buffer, and its session took all of it.
    pub(super) is_streaming: bool,
    /// It waits in the queue.
    pub(super) is_queued: bool,
}

impl Client {
    pub(super) fn new(stream: TcpStream, source: SocketAddr, session: SessionId) -> Self {
        Self {
            stream,
            source,
            stage: Stage::Open(session),
            kept: Vec::new(),
            // The poll tells when there is something to read; a new socket has room.
            is_readable: false,
            is_writable: true,
            is_read_closed: false,
            owes_writable: false,
            is_paused: false,
            is_ended: false,
            is_broken: false,
            is_streaming: false,
            is_queued: false,
        }
    }

    /// Reads once. A read shorter than the buffer has emptied the socket: no second one is spent on hearing so.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        match self.stream.read(buffer) {
            Ok(0) => {
                self.is_readable = false;
                Received::End
            }
            Ok(len) => {
                self.is_readable = len == buffer.len() || self.is_read_closed;
                Received::Bytes(len)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_readable = false;
                Received::Nothing
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Received::Nothing,
            Err(_) => Received::Broken,
        }
    }

    /// Writes once; says how many bytes left.
    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        if !self.is_writable || self.is_broken || bytes.is_empty() {
            self.owes_writable |= !bytes.is_empty();
            return 0;
        }
        match self.stream.write(bytes) {
            Ok(len) => {
                // A short write has filled the socket.
                self.is_writable = len == bytes.len();
                self.owes_writable = !self.is_writable;
                len
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.owes_writable = true;
                0
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_writable = false;
                self.owes_writable = true;
                0
            }
            Err(_) => {
                self.is_broken = true;
                0
            }
        }
    }
}
