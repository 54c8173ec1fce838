//! Our own TCP, the server's side: connections that start ESTABLISHED, after their handshake was answered without them.
//!
//! ```text
//!   frame -> handle ----> Data: the next in-order bytes, lent inside the frame -> owner -> received(rest)
//!              |     '--> Transmit: an answer over the frame (duplicate ACK, challenge ACK, RST)
//!              v
//!        connection <---- send, finish, consume ---- owner <---- poll_event
//!              |
//!              '--> poll_transmit: one segment per frame, until None
//! ```
//! Owns: connections from ESTABLISHED to CLOSED, what they received and wait to send, timers, TIME-WAIT. Does not
//! own: the handshake (`syncookie`, `halfopen`), which listener a connection belongs to, what its bytes mean.
//!
//! **Order of calls**, per frame: [`Stack::handle`]; on [`Verdict::Miss`] of a validated handshake [`Stack::open`],
//! then `handle` again with the same frame (its data counts); on [`Verdict::Data`] give the bytes to the owner and
//! call [`Stack::received`] with what it did not take, before anything else of that connection. Per turn:
//! [`Stack::handle_timeout`], [`Stack::poll_event`] until `None`, [`Stack::poll_transmit`] until `None`.
//!
//! **Nothing is acknowledged that is not either taken by the owner or stored**, and what is stored is bounded by the
//! window and by the pool. What arrived out of order may be given up; what arrived in order never is.
//!
//! Files: `receive` (what a segment means), `deliver` (its data), `assembler` and `chain` (data that waits), `send` and
//! what it uses (everything that leaves with a number of ours), `transmit` (the bytes of a segment), `close`, `timer`,
//! `time_wait`, `icmp`, `challenge`.
//!
//! Cost: a data segment in and its ACK out about 0.3 us; 512 bytes per connection and no buffer while idle; no
//! allocation after `new` (`tests/tcp_allocation.rs`).
//!
//! RFC 9293 (with 1122), 7323 (timestamps, PAWS, window scale), 2018 and 2883 (SACK, D-SACK), 5961 (challenge ACKs),
//! 6191 and 1337 (TIME-WAIT), 5927 (ICMP), 3168 (ECN echo); the sending side names its own.

mod assembler;
mod chain;
mod challenge;
mod chunk;
mod close;
mod congestion;
mod connection;
mod counters;
mod deliver;
mod event;
#[doc(hidden)]
pub mod fuzz;
mod icmp;
mod limits;
mod opening;
mod owner;
mod pmtu;
mod rack;
mod receive;
mod recovery;
mod rtt;
mod scoreboard;
mod segment;
mod send;
mod seq;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod time_wait;
mod timer;
mod transmit;

use std::collections::VecDeque;
use std::sync::Arc;

pub use congestion::CongestionKind;
pub use counters::{Counters, Counts};
pub use event::{CloseReason, Closed, Event};
pub use limits::Limits;
pub use send::{SendCounters, SendLimits};
pub use state::State;

use assembler::RangeSets;
use challenge::ChallengeBudget;
use chunk::CHUNK_BYTES;
use connection::Marks;
use deliver::Lent;
use segment::Arrived;
use send::Shared;
use table::Table;
use time_wait::TimeWait;

use crate::flow::{FlowKey, FlowWatch, HashKey, Protocol};
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
pub use crate::splice::{HandshakeTimestamps, Ingress};
use crate::syncookie::ClientOptions;
use crate::time::Instant;
use crate::timer_wheel::TimerWheel;
use crate::verdict::DropReason;
use crate::wire::Headers;
use crate::wire::checksum::L4Checksum;

/// Bytes that a peer must take for it to count as progress when more waits (see [`Limits::stall`]): one TLS record.
pub const PROGRESS_BYTES: u32 = 16 << 10;

/// A connection of one [`Stack`], with the generation of its slot: an id kept after the connection ended names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl ConnectionId {
    const fn new(index: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | index as u64)
    }

    /// The slot; below [`Limits::connections_max`]. For arrays that run beside the table.
    pub const fn index(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// As a number, for somebody else's books.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// From what [`ConnectionId::to_bits`] gave. Any other number names nothing.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It holds the next in-order bytes: `packet.bytes_mut()[start..start + len]`. Give them to the owner, then call
    /// [`Stack::received`]; then release the frame.
    Data {
        /// Whose.
        connection: ConnectionId,
        /// Offset in the frame.
        start: usize,
        /// Bytes, at least one.
        len: usize,
    },
    /// It now holds an answer: transmit it on this port.
    Transmit(PortId),
    /// Drop it.
    Drop(DropReason),
    /// It did its work; release the frame.
    Consumed,
    /// It belongs to no connection here.
    Miss,
}

/// Secrets of one stack, drawn at random at start.
#[derive(Clone, Copy, Debug)]
pub struct StackKeys {
    /// Places connections in the table.
    pub table: HashKey,
    /// Randomises the limit of challenge ACKs.
    pub challenge: HashKey,
}

/// A connection whose handshake is complete.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// Client to listener, as on the wire.
    pub key: FlowKey,
    /// The caller's number of the listener; comes back in [`Closed`].
    pub listener: u16,
    /// The way back to the client: `Link::reply_to` of its frame.
    pub link: Link,
    /// The client's initial sequence number.
    pub client_isn: u32,
    /// Ours: that of our SYN-ACK.
    pub isn: u32,
    /// What client and node agreed on.
    pub agreed: ClientOptions,
    /// Window field of our SYN-ACK (never scaled), in bytes.
    pub window: u16,
    /// The window scale our SYN-ACK carried; `None` when it carried none.
    pub window_scale: Option<u8>,
    /// Timestamps of the client's ACK, when the handshake agreed on them.
    pub timestamps: Option<HandshakeTimestamps>,
    /// Window field of the client's ACK (scaled by its window scale).
    pub client_window: u16,
}

/// One worker's TCP.
#[derive(Debug)]
pub struct Stack {
    limits: Limits,
    keys: StackKeys,
    table: Table,
    time_wait: TimeWait,
    wheel: TimerWheel,
    shared: Shared,
    sets: RangeSets,
    challenges: ChallengeBudget,
    counters: Counters,
    /// Slots with something to send; each at most once (`Marks::TRANSMIT_LISTED`).
    transmit: VecDeque<u32>,
    /// Slots with events; each at most once (`Marks::EVENT_LISTED`).
    events: VecDeque<u32>,
    /// Segments in a row that the first of `transmit` has sent.
    in_a_row: u32,
    /// The data of the last [`Verdict::Data`], until `received`.
    lent: Option<Lent>,
    /// Where the search for stalled peers goes on.
    hand: u32,
    /// When something may be done about short memory again.
    relieve_at: Instant,
    watch: Option<Arc<dyn FlowWatch>>,
    is_draining: bool,
}

impl Stack {
    /// Takes all memory that `limits` speak of. Control path.
    pub fn new(limits: Limits, keys: StackKeys, now: Instant) -> Self {
        let connections = limits.connections_max as usize;
        Self {
            limits,
            keys,
            table: Table::new(limits.connections_max),
            time_wait: TimeWait::new(limits.time_wait_max, limits.time_wait, now),
            wheel: TimerWheel::new(limits.connections_max, now),
            shared: Shared::new(&limits.send, limits.chunk_bytes_max),
            sets: RangeSets::new(limits.out_of_order_max),
            challenges: ChallengeBudget::new(keys.challenge, limits.challenge_acks_per_second),
            counters: Counters::default(),
            transmit: VecDeque::with_capacity(connections),
            events: VecDeque::with_capacity(connections),
            in_a_row: 0,
            lent: None,
            hand: 0,
            relieve_at: now,
            watch: None,
            is_draining: false,
        }
    }

    /// Lets `watch` hear of every connection and TIME-WAIT record. Before the first one.
    pub fn set_watch(&mut self, watch: Arc<dyn FlowWatch>) {
        self.watch = Some(watch);
    }

    /// Opens a connection. The frame that completed its handshake must then be given to [`Stack::handle`]. Opening a
    /// key that has a live connection answers with that; a TIME-WAIT record makes way.
    ///
    /// # Errors
    /// `Draining`, `FlowTableFull`, `Malformed` (not TCP, two families).
    pub fn open(&mut self, open: &Open, now: Instant) -> Result<ConnectionId, DropReason> {
        self.open_connection(open, now)
    }

    /// Handles one TCP segment.
    pub fn handle(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        ingress: &Ingress,
        now: Instant,
    ) -> Verdict {
        let Some(key) = headers.flow_key().filter(|key| key.protocol == Protocol::Tcp) else {
            return Verdict::Miss;
        };
        let hash = self.hash(&key);
        let connection = self.table.find(&key, hash);
        let record = if connection.is_none() { self.time_wait.find(&key, hash) } else { None };
        if connection.is_none() && record.is_none() {
            return Verdict::Miss;
        }
        if headers.fragment.is_some_and(|fragment| fragment.offset != 0 || fragment.more) {
            return Verdict::Drop(DropReason::Fragment);
        }
        // A partial checksum comes from a kernel on this machine: the segment is whole.
        if ingress.checksum == L4Checksum::Invalid {
            return Verdict::Drop(DropReason::L4Checksum);
        }
        let arrived = match Arrived::read(packet, headers) {
            Ok(arrived) => arrived,
            Err(reason) => return Verdict::Drop(reason),
        };
        match (connection, record) {
            (Some(slot), _) => self.on_segment(slot, packet, headers, &arrived, ingress, now),
            (_, Some(slot)) => self.on_time_wait(slot, packet, headers, &arrived, ingress, now),
            _ => Verdict::Miss,
        }
    }

    /// Handles one ICMP or ICMPv6 packet. [`Verdict::Miss`] when it is no error, or about nothing of ours.
    pub fn handle_icmp(&mut self, packet: &PacketBuf<'_>, headers: &Headers, now: Instant) -> Verdict {
        self.on_icmp(packet, headers, now)
    }

    /// After [`Verdict::Data`]: the owner has taken all but `rest`, the end of the data. What of `rest` finds room is
    /// stored, and the window shrinks; what finds none is not acknowledged and comes again.
    pub fn received(&mut self, connection: ConnectionId, rest: &[u8], now: Instant) {
        self.take_lent(connection, rest, now);
    }

    /// The first stored in-order bytes that lie in one piece; empty when nothing is stored.
    pub fn peek(&mut self, connection: ConnectionId) -> &mut [u8] {
        let queue = self.slot(connection).and_then(|slot| self.table.get(slot)).map(|found| found.queue);
        match queue {
            Some(queue) => queue.peek_mut(&mut self.shared.chunks),
            None => &mut [],
        }
    }

    /// Drops the first `count` stored bytes: the owner took them.
    pub fn consume(&mut self, connection: ConnectionId, count: usize, now: Instant) {
        if let Some(slot) = self.slot(connection) {
            self.consume_stored(slot, count, now);
        }
    }

    /// How many bytes `send` would take now.
    pub fn send_room(&self, connection: ConnectionId) -> usize {
        let Some(found) = self.slot(connection).and_then(|slot| self.table.get(slot)) else { return 0 };
        if found.state.may_send() { found.sender.room(&self.shared) } else { 0 }
    }

    /// Appends bytes to what is sent and answers how many found room. After fewer than given,
    /// [`Event::Writable`] tells when to go on.
    pub fn send(&mut self, connection: ConnectionId, bytes: &[u8], now: Instant) -> usize {
        self.slot(connection).map_or(0, |slot| self.write(slot, bytes, now))
    }

    /// No more will be sent: a FIN follows what waits. The peer may still send.
    pub fn finish(&mut self, connection: ConnectionId, now: Instant) {
        if let Some(slot) = self.slot(connection) {
            self.finish_sending(slot, now);
        }
    }

    /// The owner is done in both directions: as [`Stack::finish`], what is stored is dropped, and data that still
    /// arrives is answered with RST, as every kernel does for a closed socket. The only event to come is
    /// [`Event::Closed`].
    pub fn close(&mut self, connection: ConnectionId, now: Instant) {
        if let Some(slot) = self.slot(connection) {
            self.detach(slot, now);
        }
    }

    /// Ends the connection now, with a RST.
    pub fn abort(&mut self, connection: ConnectionId, now: Instant) {
        if let Some(slot) = self.slot(connection) {
            self.end(slot, CloseReason::Aborted, true);
            self.settle(slot, now);
        }
    }

    /// Stores the owner's number, which comes back in events. Zero until set.
    pub fn set_user(&mut self, connection: ConnectionId, user: u64) {
        if let Some(found) = self.slot(connection).and_then(|slot| self.table.get_mut(slot)) {
            found.user = user;
        }
    }

    /// The owner's number; zero for a connection that is gone.
    pub fn user(&self, connection: ConnectionId) -> u64 {
        self.slot(connection).and_then(|slot| self.table.get(slot)).map_or(0, |found| found.user)
    }

    /// The state of a connection; `Closed` for one that is gone.
    pub fn state(&self, connection: ConnectionId) -> State {
        let found = self.slot(connection).and_then(|slot| self.table.get(slot));
        found.map_or(State::Closed, |found| found.state)
    }

    /// Client to listener, of a connection that is still there.
    pub fn key(&self, connection: ConnectionId) -> Option<FlowKey> {
        self.slot(connection).and_then(|slot| self.table.get(slot)).map(|found| found.key)
    }

    /// Whether everything that was sent (and the FIN, after `finish`) is acknowledged.
    pub fn is_drained(&self, connection: ConnectionId) -> bool {
        self.slot(connection)
            .and_then(|slot| self.table.get(slot))
            .is_none_or(|found| found.sender.is_drained())
    }

    /// The next finding.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.next_event()
    }

    /// Whether [`Stack::poll_transmit`] may have something, so that no frame is taken for nothing.
    pub fn has_transmit(&self) -> bool {
        !self.transmit.is_empty()
    }

    /// Builds the next segment into `packet` (start and capacity as given; the old content does not matter) and
    /// returns its port, or `None` when there is none. The frame must have room for a packet of the link's MTU.
    pub fn poll_transmit(&mut self, packet: &mut PacketBuf<'_>, now: Instant) -> Option<PortId> {
        self.next_transmit(packet, now)
    }

    /// When [`Stack::handle_timeout`] should be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match (self.wheel.poll_timeout(), self.time_wait.poll_timeout()) {
            (Some(wheel), Some(time_wait)) => Some(wheel.min(time_wait)),
            (wheel, time_wait) => wheel.or(time_wait),
        }
    }

    /// Lets time pass. Handles at most `budget` timers and returns how many it did; when that equals `budget` there
    /// may be more.
    pub fn handle_timeout(&mut self, now: Instant, budget: usize) -> usize {
        self.pass_time(now, budget)
    }

    /// While draining no connection is opened; live ones go on.
    pub fn set_draining(&mut self, is_draining: bool) {
        self.is_draining = is_draining;
    }

    /// How much there is now.
    pub fn counts(&self) -> Counts {
        Counts {
            connections: self.table.len(),
            time_wait: self.time_wait.len(),
            out_of_order: u32::from(self.sets.used()),
            chunk_bytes: self.shared.chunks.used() * CHUNK_BYTES,
            chunk_bytes_peak: self.shared.chunks.peak() * CHUNK_BYTES,
            chunk_bytes_max: self.shared.chunks.capacity() * CHUNK_BYTES,
            segments_in_flight: self.shared.records.used(),
        }
    }

    /// What was counted since `new`.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the sending side counted since `new`.
    pub fn send_counters(&self) -> &SendCounters {
        &self.shared.counters
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn hash(&self, key: &FlowKey) -> u64 {
        key.hash(&self.keys.table)
    }

    fn tell_opened(&self, key: &FlowKey) {
        if let Some(watch) = &self.watch {
            watch.opened(key);
        }
    }

    fn tell_freed(&self, key: &FlowKey) {
        if let Some(watch) = &self.watch {
            watch.freed(key);
        }
    }

    /// Forgets a TIME-WAIT record.
    fn remove_time_wait(&mut self, record: u32) {
        if let Some(key) = self.time_wait.get(record).map(|record| record.key) {
            let hash = self.hash(&key);
            if self.time_wait.remove(record, hash) {
                self.tell_freed(&key);
            }
        }
    }

    #[inline]
    fn slot(&self, connection: ConnectionId) -> Option<u32> {
        self.table.slot(connection)
    }

    /// Whether three quarters of all chunks are in use.
    fn is_short(&self) -> bool {
        self.shared.chunks.used() * 4 > self.shared.chunks.capacity() * 3
    }

    /// Whether four fifths of all chunks are in use; sending alone takes seven eighths at most.
    fn is_pressed(&self) -> bool {
        self.shared.chunks.used() * 5 > self.shared.chunks.capacity() * 4
    }

    /// What a connection's window is made of now.
    fn buffer(&self, rcv_buffer: u32) -> u32 {
        if self.is_short() { rcv_buffer.min(self.limits.receive_window / 4) } else { rcv_buffer }
    }

    /// Marks a connection that changed: lists it when it has something to send or to tell, sets its timer, and frees
    /// its slot when nothing is left. Called after everything that happens to a connection.
    fn settle(&mut self, slot: u32, now: Instant) {
        let Some(connection) = self.table.get_mut(slot) else { return };
        let marks = &mut connection.marks;
        if marks.intersects(Marks::EVENTS) && !marks.intersects(Marks::EVENT_LISTED) {
            marks.insert(Marks::EVENT_LISTED);
            self.events.push_back(slot);
        }
        let has_segment = connection.state != State::Closed && connection.sender.wants_transmit();
        if (has_segment || marks.intersects(Marks::SENDS)) && !marks.intersects(Marks::TRANSMIT_LISTED) {
            marks.insert(Marks::TRANSMIT_LISTED);
            self.transmit.push_back(slot);
        }
        if connection.state == State::Closed {
            self.free_if_done(slot);
        } else {
            self.arm(slot, now);
        }
    }

    /// Keys of all connections that segments still reach, and of all TIME-WAIT records. For tests and the simulation.
    #[doc(hidden)]
    pub fn keys(&self) -> impl Iterator<Item = FlowKey> {
        let live = self.table.iter().filter(|(_, found)| found.state != State::Closed);
        live.map(|(_, found)| found.key).chain(self.time_wait.keys())
    }

    /// Panics when the parts of the stack disagree. For tests and fuzzing.
    #[doc(hidden)]
    pub fn check(&self) {
        self.table.check();
        self.time_wait.check();
        let mut received_chunks = 0;
        let mut sets = 0;
        for (slot, connection) in self.table.iter() {
            let is_closed = connection.state == State::Closed;
            assert!(
                is_closed || self.wheel.is_scheduled(slot),
                "a connection without a timer stays for ever"
            );
            assert!(
                !connection.marks.intersects(Marks::EVENTS)
                    || connection.marks.intersects(Marks::EVENT_LISTED)
            );
            assert!(
                !connection.marks.intersects(Marks::SENDS)
                    || connection.marks.intersects(Marks::TRANSMIT_LISTED)
            );
            if let Err(disagreement) = connection.sender.check(&self.shared)
                && !is_closed
            {
                panic!("the sending side: {disagreement}");
            }
            received_chunks += connection.queue.chunk_count(&self.shared.chunks);
            if let Some(set) = self.sets.get(connection.ranges).filter(|_| connection.has_ranges()) {
                sets += 1;
                assert!(!set.is_empty(), "an empty set is given back");
                received_chunks += set.check(&self.shared.chunks, connection.rcv_nxt);
            }
        }
        assert_eq!(sets, self.sets.used());
        assert!(received_chunks <= self.shared.chunks.used(), "chunks that nobody took");
        let listed = |mark| self.table.iter().filter(|(_, found)| found.marks.intersects(mark)).count();
        assert_eq!(listed(Marks::TRANSMIT_LISTED), self.transmit.len());
        assert_eq!(listed(Marks::EVENT_LISTED), self.events.len());
    }
}
