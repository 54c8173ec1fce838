//! Clients' connections on our own TCP: `l7` listeners of a packet worker.
//!
//! ```text
//!   frame -> Stack::handle --Data--> Sessions::handle_data --rest--> Stack::received
//!   per turn: sockets of backends, timers, then findings:
//!             Readable, resumed -> stored data -> Sessions::handle_data
//!             Writable, PeerFinished, Closed   -> Sessions::handle_*
//!   then      Stack::poll_transmit until the budget is used
//! ```
//! Owns: one worker's stack and sessions, the order in which one hears of the other, sockets towards backends as far as
//! polling them goes. Does not own: handshakes, limits and accounts (`pipeline`), frames (`worker`), the bytes' meaning
//! (`session`).
//! Cost: in-order data of a session that takes it goes from the frame into the session without a copy; what had to wait
//! is copied twice. One byte per connection beside the stack's; one `epoll_wait` per turn while requests are under way,
//! else one per millisecond.

mod gate;

use core::time::Duration;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use mio::{Events, Poll};
use secbeat_net::flow::FlowWatch;
use secbeat_net::link::PortId;
use secbeat_net::packet::PacketBuf;
use secbeat_net::splice::Ingress;
use secbeat_net::tcp::{Closed, ConnectionId, Event, Open, Stack, Verdict};
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::Headers;

use super::{ClientId, Front};
use crate::session::{Accepted, Counts, L7Policy, SessionId, Sessions};
use gate::PacketFront;

/// Events of backends' sockets taken at once; what is left is there in the next turn.
const SOCKET_EVENTS_MAX: usize = 256;

/// Time between two looks at the sockets while no request is under way: unused connections that their backend closes.
const SOCKETS_INTERVAL: Duration = Duration::from_millis(1);

/// Stored bytes that a session is shown at once: a chunk of the stack's.
const STORED_BYTES_MAX: usize = 2_048;

/// Chunks of stored data that one session is shown in a row: 64 KiB, as much as a socket is read at once.
const STORED_CHUNKS_MAX: usize = 32;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It did its work.
    Consumed,
    /// It now holds an answer for this port.
    Transmit(PortId),
    /// It is dropped.
    Drop(DropReason),
}

/// A finding that was handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing is left to do about it.
    Handled,
    /// A connection is gone: its place in the limits is to be given back.
    Closed(Closed),
}

/// The `l7` connections of one worker.
#[derive(Debug)]
pub struct Terminator {
    front: PacketFront,
    sessions: Sessions,
    poll: Poll,
    events: Events,
    /// When the sockets are looked at although nothing is expected.
    sockets_at: Instant,
    /// What is shown to a session of stored data: the stack's own memory cannot be lent while the stack is called.
    scratch: Box<[u8; STORED_BYTES_MAX]>,
    /// Largest IP packet of ours that fits into a frame, bytes.
    packet_bytes_max: u16,
}

impl Terminator {
    /// Joins a stack and sessions without connections. `poll` is where the sessions' sockets are registered; packets of
    /// ours are never longer than `packet_bytes_max`, whatever an MTU says.
    pub fn new(stack: Stack, sessions: Sessions, poll: Poll, packet_bytes_max: u16, now: Instant) -> Self {
        Self {
            front: PacketFront::new(stack, now),
            sessions,
            poll,
            events: Events::with_capacity(SOCKET_EVENTS_MAX),
            sockets_at: now,
            scratch: Box::new([0; STORED_BYTES_MAX]),
            packet_bytes_max,
        }
    }

    /// Lets `watch` hear of every connection. Before the first one.
    pub fn set_watch(&mut self, watch: Arc<dyn FlowWatch>) {
        self.front.stack.set_watch(watch);
    }

    /// The stack, read-only.
    pub fn stack(&self) -> &Stack {
        &self.front.stack
    }

    /// What the sessions count now.
    pub fn counts(&self) -> Counts {
        self.sessions.counts()
    }

    /// The descriptor that is readable when a backend's socket is ready.
    pub fn descriptor(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Largest IP packet of ours, bytes.
    pub fn packet_bytes_max(&self) -> u16 {
        self.packet_bytes_max
    }

    /// What the stack makes of a segment; `None` when it is of no connection here.
    pub fn handle(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        ingress: &Ingress,
        now: Instant,
    ) -> Option<Taken> {
        self.front.now = now;
        let verdict = self.front.stack.handle(packet, headers, ingress, now);
        Some(match verdict {
            Verdict::Miss => return None,
            Verdict::Data { connection, start, len } => {
                let bytes = packet.bytes_mut().get_mut(start..start + len).unwrap_or_default();
                self.deliver_lent(connection, bytes, now);
                Taken::Consumed
            }
            Verdict::Transmit(port) => Taken::Transmit(port),
            Verdict::Drop(reason) => Taken::Drop(reason),
            Verdict::Consumed => Taken::Consumed,
        })
    }

    /// What the stack makes of an ICMP packet; `None` when it is about no connection here.
    pub fn handle_icmp(&mut self, packet: &PacketBuf<'_>, headers: &Headers, now: Instant) -> Option<Taken> {
        match self.front.stack.handle_icmp(packet, headers, now) {
            Verdict::Miss => None,
            Verdict::Drop(reason) => Some(Taken::Drop(reason)),
            _ => Some(Taken::Consumed),
        }
    }

    /// Opens a connection and its session. The frame that completed the handshake is then to be given to
    /// [`Terminator::handle`].
    ///
    /// # Errors
    /// Why there is none; nothing is kept then, and nobody hears of it again.
    pub fn open(&mut self, open: &Open, exempt: bool, now: Instant) -> Result<(), DropReason> {
        self.front.now = now;
        let connection = self.front.stack.open(open, now)?;
        let accepted = Accepted {
            client: ClientId(connection.to_bits()),
            source: core::net::SocketAddr::new(open.key.source.addr, open.key.source.port),
            destination: core::net::SocketAddr::new(open.key.destination.addr, open.key.destination.port),
            listener: open.listener,
            exempt,
        };
        match self.sessions.open(accepted, now) {
            Ok(session) => {
                self.front.stack.set_user(connection, session.to_bits());
                self.front.attach(connection);
                Ok(())
            }
            // The client is told by what becomes of the connection; it is counted until then.
            Err(_) => {
                self.front.stack.abort(connection, now);
                Ok(())
            }
        }
    }

    /// In-order data inside a frame: the session takes it where it lies.
    fn deliver_lent(&mut self, connection: ConnectionId, bytes: &mut [u8], now: Instant) {
        let taken = if self.front.may_deliver(connection) {
            let id = SessionId::from_bits(self.front.stack.user(connection));
            let taken = self.sessions.handle_data(id, bytes, &mut self.front, now).min(bytes.len());
            self.front.note_taken(connection, taken == bytes.len());
            taken
        } else {
            0
        };
        self.front.stack.received(connection, &bytes[taken..], now);
    }

    /// Stored data, as far as the session takes it; a long queue goes on when others had their turn.
    fn deliver_stored(&mut self, connection: ConnectionId, now: Instant) {
        for _ in 0..STORED_CHUNKS_MAX {
            if !self.front.may_deliver(connection) {
                return;
            }
            let stored = self.front.stack.peek(connection);
            let len = stored.len().min(STORED_BYTES_MAX);
            if len == 0 {
                return;
            }
            let bytes = &mut self.scratch[..len];
            bytes.copy_from_slice(&stored[..len]);
            let id = SessionId::from_bits(self.front.stack.user(connection));
            let taken = self.sessions.handle_data(id, bytes, &mut self.front, now).min(len);
            self.front.note_taken(connection, taken == len);
            self.front.stack.consume(connection, taken, now);
        }
        self.front.resume(ClientId(connection.to_bits()));
    }

    /// The next finding, handled; `None` when there is none left.
    pub fn poll_finding(&mut self, now: Instant) -> Option<Finding> {
        self.front.now = now;
        if let Some(connection) = self.front.poll_resumed() {
            self.deliver_stored(connection, now);
            return Some(Finding::Handled);
        }
        let event = self.front.stack.poll_event()?;
        match event {
            Event::Readable { connection, .. } => self.deliver_stored(connection, now),
            Event::Writable { connection, user } if self.front.is_attached(connection) => {
                self.sessions.handle_writable(SessionId::from_bits(user), &mut self.front, now);
            }
            Event::PeerFinished { connection, user } if self.front.is_attached(connection) => {
                self.sessions.handle_end(SessionId::from_bits(user), &mut self.front, now);
            }
            Event::Writable { .. } | Event::PeerFinished { .. } => {}
            Event::Closed(closed) => {
                if self.front.detach(closed.connection) {
                    self.sessions.handle_closed(SessionId::from_bits(closed.user), &mut self.front, now);
                }
                return Some(Finding::Closed(closed));
            }
        }
        Some(Finding::Handled)
    }

    /// Looks at the sockets towards backends, without waiting. Returns how many had something to say.
    pub fn poll_sockets(&mut self, now: Instant) -> usize {
        if self.sessions.counts().exchanges == 0 && now < self.sockets_at {
            return 0;
        }
        self.front.now = now;
        self.sockets_at = now + SOCKETS_INTERVAL;
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return 0,
            // The epoll descriptor itself is broken: the sessions' timers end what waits for it.
            Err(_) => return 0,
        }
        let mut count = 0;
        for event in &self.events {
            count += 1;
            self.sessions.handle_ready(event, &mut self.front, now);
        }
        count
    }

    /// The worker was asleep: a socket may have woken it.
    pub fn note_wake(&mut self) {
        self.sockets_at = Instant::ZERO;
    }

    /// Lets time pass for at most `budget` connections and as many sessions; returns how many had something to do.
    pub fn handle_timeout(&mut self, now: Instant, budget: usize) -> usize {
        self.front.now = now;
        let segments = self.front.stack.handle_timeout(now, budget);
        segments + self.sessions.handle_timeout(&mut self.front, now, budget)
    }

    /// When the next timer is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = [self.front.stack.poll_timeout(), self.sessions.poll_timeout()];
        timeouts.into_iter().flatten().min()
    }

    /// Whether there may be a segment to send.
    pub fn has_transmit(&self) -> bool {
        self.front.stack.has_transmit()
    }

    /// Builds the next segment.
    pub fn poll_transmit(&mut self, packet: &mut PacketBuf<'_>, now: Instant) -> Option<PortId> {
        self.front.stack.poll_transmit(packet, now)
    }

    /// What need not be done for each packet. Once a millisecond.
    pub fn handle_housekeeping(&mut self, now: Instant) {
        self.front.now = now;
        self.sessions.handle_housekeeping(&mut self.front, now);
    }

    /// Takes a new policy, from the next request on.
    pub fn adopt(&mut self, policy: &Arc<L7Policy>) {
        self.sessions.adopt(Arc::clone(policy));
    }

    /// Opens nothing any more; sessions end when their requests have.
    pub fn set_draining(&mut self, now: Instant) {
        self.front.now = now;
        self.front.stack.set_draining(true);
        self.sessions.set_draining(&mut self.front, now);
    }

    /// Resets every session. Returns their number.
    pub fn abort_all(&mut self, now: Instant) -> u64 {
        self.front.now = now;
        u64::from(self.sessions.abort_all(&mut self.front, now))
    }

    /// Whether no client is left that waits for anything.
    pub fn is_drained(&self) -> bool {
        self.front.stack.counts().connections == 0
    }
}
