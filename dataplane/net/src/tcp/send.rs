//! The sending side of a connection: bytes kept until they are acknowledged, and when which of them go out.
//!
//! Owns: SND.UNA, SND.NXT, SND.WND (RFC 9293 §3.3.1), the queue, what is in flight, one deadline for all timers of
//! sending. Does not own: headers and options (`tcp`), the receiving side, states, keep-alive.
//!
//! ```text
//!        SND.UNA            SND.NXT                          queue ends      SND.UNA + SND.WND
//!   acked   │  in flight       │  written, not sent yet         │ (FIN)            │
//! ──────────┼──────────────────┼────────────────────────────────┼──────────────────┼──────► sequence numbers
//!           └ records (scoreboard)                              └ last byte carries PSH
//!           └─────────────── chunks (queue) ────────────────────┘
//! ```
//! * `ack`: what an acknowledgment says (RFC 5961 §5, 6675, 8985, 6582).
//! * `transmit`: the next segment (silly window avoidance RFC 9293 §3.8.6.2; no Nagle: our writes are whole records).
//! * `timer`: retransmission (RFC 6298), tail loss probe (RFC 8985 §7), reordering, window probe (RFC 9293 §3.8.6.1).
//!
//! Read before editing: RFC 9293, 5681, 6298, 6675, 6582, 6937, 8985, 9438. An idle connection holds no chunk and no
//! record. Cost: about 60 ns per segment and per ACK; at most 264 bytes per connection (checked by a test).

use super::chunk::{CHUNK_BYTES, ChunkPool, ChunkQueue, Cursor};
use super::congestion::Window;
use super::pmtu::PathMtu;
use super::rack::Rack;
use super::recovery::Phase;
use super::rtt::Rtt;
use super::scoreboard::{RecordPool, Scoreboard};
use crate::time::Instant;
use crate::wire::tcp::SackBlock;

mod ack;
mod limits;
#[cfg(test)]
mod tests;
mod timer;
mod transmit;

pub use limits::{SendCounters, SendLimits};

/// Segments of one connection in flight at most: a queue of 4 MiB in full segments. It bounds what one ACK with SACK
/// blocks makes us look at (about 5 us). Many small writes reach it earlier, and then leave in larger segments.
const SEGMENTS_IN_FLIGHT_MAX: u16 = 3_072;

/// Transmissions of one segment after which the connection is given up, as Linux's `tcp_retries2`.
const TRANSMISSIONS_MAX: u8 = 16;

/// Share of the chunks that sending leaves to receiving: what a peer sent and we acknowledged must be kept, what our
/// owner wants to send can wait in the owner. One eighth.
const CHUNKS_KEPT_SHARE: usize = 8;

/// What the connections of a stack share for sending.
#[derive(Debug)]
pub(super) struct Shared {
    /// Memory for bytes.
    pub(super) chunks: ChunkPool,
    /// Memory for what is in flight.
    pub(super) records: RecordPool,
    /// Limits.
    pub(super) limits: SendLimits,
    /// Counters.
    pub(super) counters: SendCounters,
}

impl Shared {
    /// `chunk_bytes_max` bytes of chunks, and records as the limits say.
    pub(super) fn new(limits: &SendLimits, chunk_bytes_max: usize) -> Self {
        Self {
            chunks: ChunkPool::new(chunk_bytes_max),
            records: RecordPool::new(limits.records_max),
            limits: *limits,
            counters: SendCounters::default(),
        }
    }
}

/// What is known of a connection when it opens.
#[derive(Clone, Copy, Debug)]
pub(super) struct SenderSetup {
    /// Our initial sequence number; the first byte has the next one.
    pub(super) isn: u32,
    /// Largest segment the peer takes, options not counted (the MSS option).
    pub(super) mss: u16,
    /// Largest IP packet of the link.
    pub(super) mtu: u16,
    /// Bytes of the IP header.
    pub(super) ip_header_len: u8,
    /// The peer's window, bytes.
    pub(super) window: u32,
    /// Whether every segment carries timestamps.
    pub(super) has_timestamps: bool,
    /// Whether the peer sends SACK.
    pub(super) has_sack: bool,
    /// The connection's index, as owner of chunks.
    pub(super) owner: u32,
}

/// What an arrived segment says to the sending side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledgment<'a> {
    /// Its sequence number.
    pub(super) seq: u32,
    /// Its acknowledgment number.
    pub(super) ack: u32,
    /// Its window in bytes, scaled.
    pub(super) window: u32,
    /// Its SACK blocks, a D-SACK first.
    pub(super) sack: &'a [SackBlock],
    /// TSecr.
    pub(super) echo: Option<u32>,
    /// Our TSval now, milliseconds.
    pub(super) clock: u32,
    /// Whether it has a payload or FIN: then it is no duplicate ACK.
    pub(super) carries_data: bool,
}

/// What an acknowledgment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckVerdict {
    /// It acknowledges what was never sent, or is too old (RFC 5961 §5): challenge ACK, drop the segment.
    Unacceptable,
    /// It was processed.
    Accepted {
        /// Bytes newly acknowledged.
        bytes: u32,
        /// Whether our FIN was newly acknowledged.
        fin: bool,
        /// Whether a quarter of the queue is free, so that writing is worth it.
        has_room: bool,
    },
}

/// What kind of segment goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutgoingKind {
    /// For the first time.
    New,
    /// Again.
    Retransmission,
    /// Empty, below SND.UNA, so that the peer must answer.
    Probe,
}

/// A segment to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    /// Its first sequence number.
    pub(super) seq: u32,
    /// Bytes of payload.
    pub(super) len: u16,
    /// Whether it carries PSH.
    pub(super) push: bool,
    /// Whether it carries FIN.
    pub(super) fin: bool,
    /// What it is for.
    pub(super) kind: OutgoingKind,
}

/// Why a connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GiveUp {
    /// One segment was sent too often.
    Retransmissions,
    /// Nothing was acknowledged for too long.
    UserTimeout,
    /// The window stayed closed for too long.
    ZeroWindow,
}

/// What a timer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeoutVerdict {
    /// It was not due.
    Nothing,
    /// There may be something to send.
    Transmit,
    /// The connection must end.
    GiveUp(GiveUp),
}

/// Our FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    /// More may be written.
    Open,
    /// It follows the last byte.
    Queued,
    /// It is in flight.
    Sent,
    /// The peer has it.
    Acked,
}

/// What the one deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// Nothing waits.
    None,
    /// Retransmission timeout.
    Retransmit,
    /// A record may be lost when the reordering window has passed.
    Reorder,
    /// Tail loss probe.
    Tail,
    /// Window probe, or a small segment held back to avoid a silly window.
    Persist,
    /// No record was free; try again.
    Starved,
    /// The next segment has its turn.
    Pace,
}

/// What must go out whatever the windows say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Nothing.
    None,
    /// The first lost record: at the begin of a recovery one segment always goes (RFC 6937 §3).
    Repair,
    /// A tail loss probe.
    Tail,
    /// What the window takes, however little (RFC 9293 §3.8.6.2.1, override).
    Small,
    /// A window probe.
    Window,
}

/// The sending side of one connection.
#[derive(Debug)]
pub(super) struct Sender {
    /// SND.UNA.
    una: u32,
    /// SND.NXT.
    next: u32,
    /// SND.WND, bytes.
    window: u32,
    /// Largest window the peer ever offered (RFC 5961 §5, RFC 9293 §3.8.6.2.1).
    window_max: u32,
    /// SND.WL1.
    window_seq: u32,
    queue: ChunkQueue,
    /// Place of the byte `cursor_seq`, which was the last to begin a new segment.
    cursor: Cursor,
    cursor_seq: u32,
    owner: u32,
    board: Scoreboard,
    /// Bytes that duplicate ACKs of a peer without SACK say have arrived.
    duplicate_bytes: u32,
    rtt: Rtt,
    rack: Rack,
    congestion: Window,
    /// SND.NXT when the last recovery or timeout began.
    recovery_point: u32,
    path: PathMtu,
    /// When the retransmission timer runs out, while something is in flight.
    retransmit_at: Instant,
    timer_at: Instant,
    /// When SND.UNA last moved or data went out with none in flight, milliseconds.
    progress_ms: u32,
    /// When something new was last sent, milliseconds.
    sent_ms: u32,
    timer: Timer,
    phase: Phase,
    fin: Fin,
    due: Due,
    duplicates: u8,
    window_probes: u8,
    has_sack: bool,
    /// Whether a segment of the peer has set the window; the first one always does.
    is_window_known: bool,
    /// Whether data waits that the congestion window holds back.
    is_window_full: bool,
    /// Whether `poll_segment` may have something.
    is_ready: bool,
}

impl Sender {
    /// A connection that has sent nothing yet.
    pub(super) fn new(setup: &SenderSetup, limits: &SendLimits, now: Instant) -> Self {
        let first = setup.isn.wrapping_add(1);
        let path = PathMtu::new(setup.mtu, setup.mss, setup.ip_header_len, setup.has_timestamps);
        Self {
            una: first,
            next: first,
            window: setup.window,
            window_max: setup.window,
            window_seq: 0,
            queue: ChunkQueue::EMPTY,
            cursor: Cursor::NOWHERE,
            cursor_seq: first,
            owner: setup.owner,
            board: Scoreboard::EMPTY,
            duplicate_bytes: 0,
            rtt: Rtt::UNKNOWN,
            rack: Rack::new(first),
            congestion: Window::new(limits.congestion, u32::from(path.mss()), setup.has_sack, micros(now)),
            recovery_point: first,
            path,
            retransmit_at: now,
            timer_at: now,
            progress_ms: millis(now),
            sent_ms: millis(now),
            timer: Timer::None,
            phase: Phase::Open,
            fin: Fin::Open,
            due: Due::None,
            duplicates: 0,
            window_probes: 0,
            has_sack: setup.has_sack,
            is_window_known: false,
            is_window_full: false,
            is_ready: false,
        }
    }

    /// Appends bytes and answers how many were taken; none after [`Sender::finish`].
    pub(super) fn write(&mut self, shared: &mut Shared, bytes: &[u8], _now: Instant) -> usize {
        let len = bytes.len().min(self.room(shared));
        let (part, _) = bytes.split_at(len);
        let taken = self.queue.push(&mut shared.chunks, self.owner, part);
        shared.counters.chunks_full += u64::from(taken < bytes.len() && !self.is_queue_full(shared));
        self.is_ready |= taken > 0;
        taken
    }

    /// Bytes that may be written now.
    pub(super) fn room(&self, shared: &Shared) -> usize {
        if self.fin != Fin::Open {
            return 0;
        }
        let kept = shared.chunks.capacity() / CHUNKS_KEPT_SHARE;
        let free = shared.chunks.free().saturating_sub(kept) * CHUNK_BYTES + self.queue.tail_room();
        self.queue_bytes_max(shared).saturating_sub(self.queue.len()).min(free)
    }

    /// How much may be queued: more for who has shown that it takes more.
    fn queue_bytes_max(&self, shared: &Shared) -> usize {
        let limits = &shared.limits;
        let is_plenty = shared.chunks.used() * 2 <= shared.chunks.capacity();
        let wanted = if is_plenty { self.congestion.wanted(self.mss()).saturating_mul(3) } else { 0 };
        wanted.max(limits.queue_bytes).min(limits.queue_bytes_max) as usize
    }

    fn is_queue_full(&self, shared: &Shared) -> bool {
        self.queue.len() >= self.queue_bytes_max(shared)
    }

    /// Bytes written and not yet acknowledged.
    pub(super) fn queued(&self) -> u32 {
        self.queue.len() as u32
    }

    /// Nothing more will be written: FIN follows the last byte.
    pub(super) fn finish(&mut self, _now: Instant) {
        if self.fin == Fin::Open {
            self.fin = Fin::Queued;
            self.is_ready = true;
        }
    }

    /// Gives back all memory; nothing is sent any more.
    pub(super) fn release(&mut self, shared: &mut Shared) {
        self.queue.clear(&mut shared.chunks, self.owner);
        self.board.clear(&mut shared.records);
        self.una = self.next;
        self.duplicate_bytes = 0;
        (self.timer, self.due, self.is_ready) = (Timer::None, Due::None, false);
    }

    /// Whether [`Sender::poll_segment`] may have something.
    #[inline]
    pub(super) fn wants_transmit(&self) -> bool {
        self.is_ready
    }

    /// SND.NXT.
    #[inline]
    pub(super) fn next_seq(&self) -> u32 {
        self.next
    }

    /// SND.UNA.
    #[inline]
    pub(super) fn unacked(&self) -> u32 {
        self.una
    }

    /// When [`Sender::handle_timeout`] wants to be called.
    #[inline]
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (self.timer != Timer::None).then_some(self.timer_at)
    }

    /// Whether everything written was acknowledged, the FIN included if there is one.
    pub(super) fn is_drained(&self) -> bool {
        self.una == self.next && self.queue.is_empty() && matches!(self.fin, Fin::Open | Fin::Acked)
    }

    /// Whether something is in flight.
    #[inline]
    pub(super) fn has_unacked(&self) -> bool {
        self.una != self.next
    }

    /// Sequence numbers in flight.
    #[inline]
    fn flight(&self) -> u32 {
        self.next.wrapping_sub(self.una)
    }

    /// Bytes written that were never sent.
    #[inline]
    fn unsent(&self) -> u32 {
        let is_fin_in_flight = self.fin == Fin::Sent;
        (self.queue.len() as u32 + u32::from(is_fin_in_flight)).saturating_sub(self.flight())
    }

    /// Bytes believed to be in the network (RFC 6675 `pipe`).
    #[inline]
    fn pipe(&self) -> u32 {
        self.flight().saturating_sub(self.board.sacked() + self.board.lost() + self.duplicate_bytes)
    }

    /// Bytes of a full segment.
    #[inline]
    fn mss(&self) -> u32 {
        u32::from(self.path.mss())
    }

    /// Whether there is anything that could be sent if the windows allow it.
    fn has_work(&self) -> bool {
        self.board.lost() > 0 || self.unsent() > 0 || self.fin == Fin::Queued || self.due != Due::None
    }

    /// Checks what must hold at all times, for tests and simulation.
    pub(super) fn check(&self, shared: &Shared) -> Result<(), &'static str> {
        let sums = self.board.sums(&shared.records)?;
        let is_fin_in_flight = u32::from(self.fin == Fin::Sent);
        if sums.total != self.flight() {
            return Err("the records do not cover SND.UNA to SND.NXT");
        }
        if sums.first.is_some_and(|first| first != self.una) {
            return Err("the first record does not begin at SND.UNA");
        }
        if (sums.sacked, sums.lost) != (self.board.sacked(), self.board.lost()) {
            return Err("the sums of the scoreboard are wrong");
        }
        if self.flight() > self.queue.len() as u32 + is_fin_in_flight {
            return Err("more is in flight than was written");
        }
        if self.has_unacked() && self.timer == Timer::None {
            return Err("something is in flight and no timer runs");
        }
        if !self.has_unacked() && !self.is_ready && self.has_work() && self.timer == Timer::None {
            return Err("something waits, nothing is in flight and no timer runs");
        }
        if self.congestion.cwnd() < self.mss().min(u32::from(self.path.payload_max(40))) {
            return Err("the congestion window is below one segment");
        }
        Ok(())
    }
}

/// The present as 32 bits of milliseconds.
#[inline]
fn millis(now: Instant) -> u32 {
    now.as_millis() as u32
}

/// The present as 32 bits of microseconds.
#[inline]
fn micros(now: Instant) -> u32 {
    (now.as_nanos() / 1_000) as u32
}
