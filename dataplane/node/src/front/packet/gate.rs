//! What a session sees of a connection on our own TCP.
//!
//! Owns: [`PacketFront`], and per connection whether a session is attached and whether it takes data now. Does not own:
//! when a session is called (`super`). Nothing here calls a session: what `resume` asks for is done when the session's
//! call has returned.

use std::collections::VecDeque;

use secbeat_net::tcp::{ConnectionId, Stack};
use secbeat_net::time::Instant;

use crate::front::{ClientId, Front};

/// A session is attached.
const ATTACHED: u8 = 1;
/// It left some of its data: nothing is shown to it until it asks.
const PAUSED: u8 = 2;
/// It asked, and stands in the queue of those that did.
const RESUMED: u8 = 4;

/// The stack as sessions see it.
#[derive(Debug)]
pub(super) struct PacketFront {
    pub(super) stack: Stack,
    /// The time of the call that is under way.
    pub(super) now: Instant,
    /// By the connection's index.
    marks: Box<[u8]>,
    /// Who is to be shown its stored data; each at most once, those that are gone included.
    resumed: VecDeque<ConnectionId>,
}

impl PacketFront {
    pub(super) fn new(stack: Stack, now: Instant) -> Self {
        let connections = stack.limits().connections_max as usize;
        Self { stack, now, marks: vec![0; connections].into_boxed_slice(), resumed: VecDeque::new() }
    }

    fn marks(&self, connection: ConnectionId) -> u8 {
        self.marks.get(connection.index()).copied().unwrap_or(0)
    }

    fn set_marks(&mut self, connection: ConnectionId, marks: u8) {
        if let Some(slot) = self.marks.get_mut(connection.index()) {
            *slot = marks;
        }
    }

    pub(super) fn attach(&mut self, connection: ConnectionId) {
        self.set_marks(connection, ATTACHED);
    }

    /// Forgets the session; whether there was one.
    pub(super) fn detach(&mut self, connection: ConnectionId) -> bool {
        let was_attached = self.is_attached(connection);
        self.set_marks(connection, 0);
        was_attached
    }

    pub(super) fn is_attached(&self, connection: ConnectionId) -> bool {
        self.marks(connection) & ATTACHED != 0
    }

    /// Whether a session is there and takes data.
    pub(super) fn may_deliver(&self, connection: ConnectionId) -> bool {
        self.marks(connection) & (ATTACHED | PAUSED) == ATTACHED
    }

    /// A session was shown data. One that left some is shown no more until it asks, unless it has asked already.
    pub(super) fn note_taken(&mut self, connection: ConnectionId, is_all: bool) {
        let marks = self.marks(connection);
        if !is_all && marks & (ATTACHED | RESUMED) == ATTACHED {
            self.set_marks(connection, marks | PAUSED);
        }
    }

    /// The next connection whose session asked for its stored data.
    pub(super) fn poll_resumed(&mut self) -> Option<ConnectionId> {
        loop {
            let connection = self.resumed.pop_front()?;
            let marks = self.marks(connection);
            // A later connection in the same slot did not ask; then its mark is not set.
            if marks & RESUMED != 0 {
                self.set_marks(connection, marks & !(RESUMED | PAUSED));
                return Some(connection);
            }
        }
    }
}

impl Front for PacketFront {
    fn room(&self, client: ClientId) -> usize {
        self.stack.send_room(ConnectionId::from_bits(client.0))
    }

    fn send(&mut self, client: ClientId, bytes: &[u8]) -> usize {
        self.stack.send(ConnectionId::from_bits(client.0), bytes, self.now)
    }

    fn finish(&mut self, client: ClientId) {
        self.stack.finish(ConnectionId::from_bits(client.0), self.now);
    }

    fn close(&mut self, client: ClientId) {
        let connection = ConnectionId::from_bits(client.0);
        self.detach(connection);
        self.stack.close(connection, self.now);
    }

    fn abort(&mut self, client: ClientId) {
        let connection = ConnectionId::from_bits(client.0);
        self.detach(connection);
        self.stack.abort(connection, self.now);
    }

    fn resume(&mut self, client: ClientId) {
        let connection = ConnectionId::from_bits(client.0);
        let marks = self.marks(connection);
        if marks & (ATTACHED | RESUMED) == ATTACHED {
            self.set_marks(connection, marks | RESUMED);
            self.resumed.push_back(connection);
        }
    }
}
