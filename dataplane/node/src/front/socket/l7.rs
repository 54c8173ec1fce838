//! The `l7` half of a worker: clients' connections over kernel sockets, and the sessions above them.
//!
//! ```text
//!  socket --read--> the worker's buffer --handle_data, in place--> session
//!                        '--what it does not take is kept; nothing is read until it resumes
//!  socket <--one write per call------------------------------------ session; after a short one it waits for room
//! ```
//!
//! Owns: reading, ends, lingering, the order of a turn. Does not own: admission (`worker::accept`), what the bytes mean
//! (`session`). Cost of a small request on an open connection: one read and one write.

mod client;
mod clients;

use core::net::{IpAddr, SocketAddr};
use std::io;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry};
use secbeat_net::time::Instant;

use client::{Client, Received, Stage};
use clients::Clients;

use super::worker::{KIND_CLIENT_L7, token};
use crate::event::ListenerId;
use crate::front::ClientId;
use crate::session::{Accepted, Refusal, Sessions};
use crate::slab::Key;

/// What is read at once from a client whose session takes everything: an upload then costs few calls.
const READ_BYTES_MAX: usize = 64 << 10;
/// What is read at once otherwise: a whole TLS record (16 KiB and its frame), so that an ordinary request needs one
/// read and a session that takes nothing leaves little to be kept.
const READ_BYTES: usize = 20 << 10;
/// The same while very much is kept already: heads of requests still pass, and each further client that is not taken
/// from costs no more than this.
const READ_BYTES_MIN: usize = 4 << 10;
/// Bytes kept for all clients of a worker from which that holds: 3,000 clients with a read each.
const KEPT_BYTES_HIGH: usize = 64 << 20;
/// Timers of sessions per turn.
const TIMERS_PER_TURN_MAX: usize = 1_024;

/// Clients and their sessions.
pub(super) struct L7 {
    clients: Clients,
    sessions: Sessions,
    buffer: Box<[u8]>,
    /// Bytes read since the last look.
    bytes_in: u64,
}

/// Why a connection could not be taken.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// The sessions refuse it.
    Refused(Refusal),
    /// The table is full.
    Full,
    /// The socket cannot be polled.
    Io(io::Error),
}

/// A client's connection as accepted and let in.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) listener: ListenerId,
    pub(super) exempt: bool,
}

impl L7 {
    pub(super) fn new(sessions: Sessions, clients_max: u32, now: Instant) -> Self {
        let buffer = vec![0; READ_BYTES_MAX].into_boxed_slice();
        Self { clients: Clients::new(clients_max, now), sessions, buffer, bytes_in: 0 }
    }

    /// Connections, those that linger among them.
    pub(super) fn len(&self) -> u32 {
        self.clients.len()
    }

    pub(super) fn sessions_mut(&mut self) -> &mut Sessions {
        &mut self.sessions
    }

    /// Takes a connection; on failure it is reset.
    pub(super) fn open(
        &mut self,
        arrival: Arrival,
        registry: &Registry,
        now: Instant,
    ) -> Result<(), NotOpened> {
        self.clients.now = now;
        let Arrival { mut stream, source, destination, listener, exempt } = arrival;
        if self.clients.is_full() {
            super::connection::reset(&stream);
            return Err(NotOpened::Full);
        }
        // The session and the table name each other: the table's next name is asked for first.
        let Some(next) = self.clients.next_key() else { return Err(NotOpened::Full) };
        let client = ClientId(next.to_bits() as u64);
        let accepted = Accepted { client, source, destination, listener, exempt };
        let session = match self.sessions.open(accepted, now) {
            Ok(session) => session,
            Err(refusal) => {
                super::connection::reset(&stream);
                return Err(NotOpened::Refused(refusal));
            }
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = token(KIND_CLIENT_L7, next.to_bits());
        if let Err(error) = registry.register(&mut stream, token, interest) {
            super::connection::reset(&stream);
            self.sessions.handle_closed(session, &mut self.clients, now);
            return Err(NotOpened::Io(error));
        }
        self.clients.insert_with(|_| Client::new(stream, source, session));
        Ok(())
    }

    /// What the poll says about a client's socket.
    pub(super) fn on_client_ready(&mut self, key: Key, event: &Event) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let is_closed = event.is_read_closed() || event.is_error();
        client.is_readable |= event.is_readable() || is_closed;
        client.is_writable |= event.is_writable();
        client.is_read_closed |= is_closed;
        client.is_broken |= event.is_error();
        self.clients.enqueue(key);
    }

    /// What the poll says about a socket to a backend.
    pub(super) fn on_backend_ready(&mut self, event: &Event, now: Instant) {
        self.clients.now = now;
        self.sessions.handle_ready(event, &mut self.clients, now);
    }

    /// Gives each client that was in the queue at the start one turn, then the sessions theirs.
    pub(super) fn serve(&mut self, now: Instant) {
        self.clients.now = now;
        for _ in 0..self.clients.queue_len() {
            let Some(key) = self.clients.next_queued() else { break };
            self.serve_client(key, now);
        }
        self.sessions.handle_timeout(&mut self.clients, now, TIMERS_PER_TURN_MAX);
        self.clients.expire(now);
    }

    fn serve_client(&mut self, key: Key, now: Instant) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let session = match client.stage {
            Stage::Open(session) => session,
            Stage::Lingering { .. } => {
                self.drop_input(key);
                return;
            }
        };
        if client.is_broken {
            self.sessions.handle_closed(session, &mut self.clients, now);
            self.clients.remove(key);
            return;
        }
        if client.owes_writable && client.is_writable {
            client.owes_writable = false;
            self.sessions.handle_writable(session, &mut self.clients, now);
        }
        self.hand_over_kept(key, now);
        self.read(key, now);
    }

    /// Offers what the session left, once it takes again.
    fn hand_over_kept(&mut self, key: Key, now: Instant) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let Stage::Open(session) = client.stage else { return };
        if client.is_paused || client.kept.is_empty() {
            return;
        }
        // Before the call: a session that takes all later says so by `resume`, which must find it paused.
        client.is_paused = true;
        let mut kept = self.clients.take_kept(key);
        let taken = self.sessions.handle_data(session, &mut kept, &mut self.clients, now);
        self.clients.after_data(key, kept.get(taken..).unwrap_or_default());
        self.clients.give(kept);
    }

    fn read(&mut self, key: Key, now: Instant) {
        let is_short_of_memory = self.clients.kept_bytes() > KEPT_BYTES_HIGH;
        let Some(client) = self.clients.get_mut(key) else { return };
        let Stage::Open(session) = client.stage else { return };
        if !client.is_readable || client.is_paused || client.is_ended {
            return;
        }
        let limit = if client.is_streaming { READ_BYTES_MAX } else { READ_BYTES };
        let limit = if is_short_of_memory { READ_BYTES_MIN } else { limit };
        match client.receive(self.buffer.get_mut(..limit).unwrap_or_default()) {
            Received::Bytes(len) => {
                client.is_streaming = len == limit;
                client.is_paused = true;
                self.bytes_in += len as u64;
                let bytes = self.buffer.get_mut(..len).unwrap_or_default();
                let taken = self.sessions.handle_data(session, bytes, &mut self.clients, now);
                self.clients.after_data(key, self.buffer.get(taken..len).unwrap_or_default());
            }
            Received::End => {
                client.is_ended = true;
                self.sessions.handle_end(session, &mut self.clients, now);
            }
            Received::Broken => {
                self.sessions.handle_closed(session, &mut self.clients, now);
                self.clients.remove(key);
            }
            Received::Nothing => {}
        }
    }

    /// Reads and drops what a client sends after our last byte.
    fn drop_input(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.is_broken {
            self.clients.remove(key);
            return;
        }
        if !client.is_readable {
            return;
        }
        match client.receive(&mut self.buffer) {
            Received::Bytes(len) => {
                let Stage::Lingering { bytes, .. } = &mut client.stage else { return };
                *bytes = bytes.saturating_sub(len);
                if *bytes == 0 {
                    self.clients.cut(key);
                } else if client.is_readable {
                    self.clients.enqueue(key);
                }
            }
            Received::End | Received::Broken => self.clients.remove(key),
            Received::Nothing => {}
        }
    }

    /// Whether a turn is due at once.
    pub(super) fn has_work(&self) -> bool {
        self.clients.has_work()
    }

    /// When [`L7::serve`] has something to do without an event.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.sessions.poll_timeout(), self.clients.poll_timeout()].into_iter().flatten().min()
    }

    /// Sources of connections that ended since the last call, and bytes read and written.
    pub(super) fn take_accounts(&mut self, mut ended: impl FnMut(IpAddr)) -> (u64, u64) {
        for source in self.clients.gone.drain(..) {
            ended(source);
        }
        (core::mem::take(&mut self.bytes_in), core::mem::take(&mut self.clients.bytes_out))
    }

    /// Sources of all connections.
    pub(super) fn sources(&self) -> impl Iterator<Item = IpAddr> {
        self.clients.iter().map(|(_, client)| client.source.ip())
    }

    /// Cuts connections of sources for which `is_cut` holds; says how many.
    pub(super) fn cut(&mut self, is_cut: impl Fn(IpAddr) -> bool, now: Instant) -> u64 {
        self.clients.now = now;
        let cut: Vec<(Key, Stage)> = self
            .clients
            .iter()
            .filter(|(_, client)| is_cut(client.source.ip()))
            .map(|(key, client)| (key, client.stage))
            .collect();
        for (key, stage) in &cut {
            if let Stage::Open(session) = stage {
                self.sessions.handle_closed(*session, &mut self.clients, now);
            }
            self.clients.cut(*key);
        }
        cut.len() as u64
    }

    /// No new session; running requests finish.
    pub(super) fn drain(&mut self, now: Instant) {
        self.clients.now = now;
        self.sessions.set_draining(&mut self.clients, now);
    }

    /// Once in a while.
    pub(super) fn keep_house(&mut self, now: Instant) {
        self.clients.now = now;
        self.sessions.handle_housekeeping(&mut self.clients, now);
    }
}
