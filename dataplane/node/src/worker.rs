//! One worker: one core, its packet engine, its flows. It turns the loop; nobody else touches what it owns.
//!
//! ```text
//!  one turn   receive a burst per port -> pipeline -> transmit | drop | hold | hand over | consumed
//!             frames handed over by other workers  -> the same
//!             sockets towards backends of sessions
//!             timers (bounded), own packets (bounded), findings -> held frames released
//!             flush, once
//!             every millisecond: housekeeping (new policy, counters, attack rates)
//! ```
//!
//! Owns: the order of the steps, their budgets, and every frame from the receive ring to its end. Does not own: what
//! happens to a packet (`pipeline`), when to sleep (`idle`), threads and cores (`start`).
//! Cost: nothing here allocates, locks or calls the kernel; `PacketIo::flush` and `wait` do the system calls.
//! Generic over the packet engine so that the simulator runs whole workers in memory on a virtual clock.

pub mod clock;
pub mod idle;
mod pieces;
mod published;
pub mod shared;

use core::hint::black_box;
use core::time::Duration;
use std::sync::Arc;

use secbeat_net::link::PortId;
use secbeat_net::packet::PacketBuf;
use secbeat_net::splice::EVENTS_MAX;
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;
use secbeat_pktio::{Burst, Frame, PacketIo};

use crate::event::WorkerId;
use crate::front::packet::Terminator;
use crate::pipeline::{Fate, Origin, Pipeline, Setup, Wake};
use crate::telemetry::counters::{Counter, Gauge, WorkerCounters};
use shared::Shared;

/// Frames taken over from other workers per turn: two bursts, so that a worker whose neighbours send it much
/// still serves its own ports first and evenly.
pub const HANDOVERS_PER_TURN_MAX: usize = 128;

/// Flows whose timers are looked at per turn. A timer costs about 100 ns, so this bounds a turn's timers to
/// some 25 µs; what is left over is done in the next turn.
pub const TIMERS_PER_TURN_MAX: usize = 256;

/// Packets of our own making per turn (SYNs to backends, RSTs, retransmissions). Above the two bursts that can cause
/// them; the rest waits a turn.
pub const GENERATED_PER_TURN_MAX: usize = 256;

/// Findings about flows per turn: as many as can wait. They must all be taken, since one that found no room later would
/// leave a connection counted for ever; a turn's frames and timers cause a few thousand at most.
pub const FINDINGS_PER_TURN_MAX: usize = EVENTS_MAX;

/// How often housekeeping is done. Policy and bans must hold within a second; a millisecond costs one clock
/// compare per turn and a copy of the counters.
pub const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(1);

/// What a turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnReport {
    /// Frames received, and taken over from other workers.
    pub frames: usize,
    /// Packets of our own making.
    pub generated: usize,
    /// Timers and findings handled.
    pub handled: usize,
    /// When the next timer is due.
    pub next_timer: Option<Instant>,
}

impl TurnReport {
    /// Whether there was anything to do.
    pub fn is_busy(&self) -> bool {
        self.frames + self.generated + self.handled > 0
    }
}

/// One worker.
#[derive(Debug)]
pub struct Worker<I> {
    io: I,
    pipeline: Pipeline,
    shared: Arc<Shared>,
    page: Arc<WorkerCounters>,
    burst: Burst,
    housekeeping_at: Instant,
}

impl<I: PacketIo> Worker<I> {
    /// Takes all memory the worker will ever use.
    pub fn new(io: I, shared: Arc<Shared>, setup: Setup, now: Instant) -> Self {
        let pipeline = Pipeline::new(Arc::clone(&shared), setup, now);
        let page = Arc::clone(pipeline.page());
        Self { io, pipeline, shared, page, burst: Burst::new(), housekeeping_at: now }
    }

    /// Lets connections of `l7` listeners end in this worker, whose backends' sockets wake it. Before the first turn.
    #[must_use]
    pub fn with_terminator(mut self, terminator: Box<Terminator>) -> Self {
        self.io.watch(terminator.descriptor());
        self.pipeline.set_terminator(terminator);
        self
    }

    /// This worker's number.
    pub fn id(&self) -> WorkerId {
        self.pipeline.id()
    }

    /// The packet engine.
    pub fn io(&self) -> &I {
        &self.io
    }

    /// The packet engine, for its own counters and sockets.
    pub fn io_mut(&mut self) -> &mut I {
        &mut self.io
    }

    /// What was counted since the start.
    pub fn counters(&self) -> &WorkerCounters {
        &self.page
    }

    /// The packet logic, read-only.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// One pass of the loop.
    pub fn turn(&mut self, now: Instant) -> TurnReport {
        let mut report = TurnReport::default();
        for port in 0..self.io.ports() {
            report.frames += self.receive(port, now);
        }
        report.frames += self.take_over(now);
        report.handled += self.pipeline.poll_sockets(now);
        report.handled += self.pipeline.handle_timeout(now, TIMERS_PER_TURN_MAX);
        report.handled += self.settle(now);
        report.generated += self.generate(now);
        self.io.flush();
        if now >= self.housekeeping_at {
            self.housekeeping_at = now + HOUSEKEEPING_INTERVAL;
            self.page.set(Gauge::RxDepth, report.frames as u64);
            self.page.set(Gauge::HandoverDepth, self.shared.handover.waiting(self.id()) as u64);
            self.pipeline.handle_housekeeping(now);
        }
        self.page.count(Counter::Turns);
        self.page.add(Counter::TurnsIdle, u64::from(!report.is_busy()));
        report.next_timer = self.pipeline.poll_timeout();
        report
    }

    /// Sleeps until a frame arrives or `timeout` passes.
    pub fn wait(&mut self, timeout: Duration) {
        self.page.count(Counter::Sleeps);
        self.io.wait(timeout);
        self.pipeline.note_wake();
    }

    /// Whether no flow is left that a client or backend still uses.
    pub fn is_drained(&self) -> bool {
        let counts = self.pipeline.counts();
        counts.flows <= counts.time_wait && self.pipeline.terminator().is_none_or(Terminator::is_drained)
    }

    /// Ends the worker's life in order: resets what is still open, gives back what it holds. Returns the number
    /// of flows cut off.
    pub fn shut_down(&mut self, now: Instant) -> u64 {
        let cut = self.pipeline.abort_all(now);
        // Every reset is one packet; as many rounds as there may be flows, and an end when nothing is left.
        for _ in 0..=self.pipeline.flows_max() / GENERATED_PER_TURN_MAX {
            self.settle(now);
            let generated = self.generate(now);
            self.io.flush();
            if generated == 0 {
                break;
            }
        }
        self.pipeline.handle_housekeeping(now);
        cut
    }

    fn receive(&mut self, port: u8, now: Instant) -> usize {
        let mut burst = core::mem::take(&mut self.burst);
        let count = self.io.receive(port, &mut burst);
        // The frames were written by another core or by the device. Touching all of them before the first is
        // judged lets their cache misses overlap.
        let touched =
            burst.iter().fold(0, |sum, frame| sum ^ self.io.bytes(frame).first().copied().unwrap_or(0));
        black_box(touched);
        for frame in burst.drain(..) {
            self.page.add(Counter::BytesIn, frame.len() as u64);
            self.judge(frame, PortId(port), Origin::Wire, now);
        }
        self.burst = burst;
        self.page.add(Counter::FramesIn, count as u64);
        count
    }

    /// Frames that other workers found to be ours.
    fn take_over(&mut self, now: Instant) -> usize {
        let id = self.id();
        let mut count = 0;
        while count < HANDOVERS_PER_TURN_MAX {
            let Some(parcel) = self.shared.handover.receive(id) else {
                break;
            };
            count += 1;
            self.page.count(Counter::FramesTakenOver);
            match self.copy_in(parcel.bytes()) {
                Some(frame) => self.judge(frame, parcel.port(), Origin::Worker, now),
                None => self.page.count_drop(DropReason::NoFrame),
            }
            self.shared.handover.give_back(id, parcel);
        }
        count
    }

    /// Handles what flows have to say: releases and discards held frames.
    fn settle(&mut self, now: Instant) -> usize {
        let mut count = 0;
        while count < FINDINGS_PER_TURN_MAX {
            let Some(wake) = self.pipeline.poll_wake(now) else {
                break;
            };
            count += 1;
            match wake {
                Wake::Noted => {}
                // As many as are held now: a frame that is held again must wait for the next release.
                Wake::Release(flow) => {
                    for _ in 0..self.pipeline.held.waiting(flow) {
                        if let Some((port, frame)) = self.pipeline.held.pop(flow) {
                            self.page.count(Counter::FramesReleased);
                            self.judge(frame, port, Origin::Held, now);
                        }
                    }
                }
                Wake::Discard(flow) => {
                    while let Some((_, frame)) = self.pipeline.held.pop(flow) {
                        self.page.count(Counter::FramesReleased);
                        self.drop(frame, DropReason::NoFlow);
                    }
                }
            }
        }
        count
    }

    /// Sends what flows want to say in our own name.
    fn generate(&mut self, now: Instant) -> usize {
        let mut count = 0;
        while count < GENERATED_PER_TURN_MAX && self.pipeline.has_transmit(now) {
            let Some(mut frame) = self.io.allocate() else {
                // All frames are on their way; they come back with the next flush.
                break;
            };
            let start = frame.start();
            let mut packet = PacketBuf::new(self.io.chunk_mut(&mut frame), start, 0);
            let Some(port) = self.pipeline.poll_transmit(&mut packet, now) else {
                self.io.release(frame);
                break;
            };
            let (start, len) = (packet.start(), packet.len());
            frame.set_bounds(start, len);
            count += 1;
            if !self.transmit_built(frame, port) {
                break;
            }
        }
        count
    }

    /// Sends a packet of our own; false when the transmit ring is full and it is lost.
    fn transmit_built(&mut self, frame: Frame, port: PortId) -> bool {
        let len = frame.len();
        match self.io.transmit(port.0, frame) {
            Ok(()) => {
                self.page.count(Counter::FramesBuilt);
                self.count_out(len);
                true
            }
            Err(frame) => {
                self.page.count(Counter::FramesBuiltLost);
                self.io.release(frame);
                false
            }
        }
    }

    /// Takes one frame to its end.
    fn judge(&mut self, mut frame: Frame, port: PortId, origin: Origin, now: Instant) {
        let (start, len) = (frame.start(), frame.len());
        let mut packet = PacketBuf::new(self.io.chunk_mut(&mut frame), start, len);
        let fate = self.pipeline.judge(&mut packet, port, origin, now);
        let (start, len) = (packet.start(), packet.len());
        frame.set_bounds(start, len);
        match fate {
            Fate::Transmit(out) if self.pipeline.must_split(self.io.bytes(&frame), out) => {
                self.transmit_cut(frame, out);
            }
            Fate::Transmit(out) => match self.io.transmit(out.0, frame) {
                Ok(()) => {
                    self.page.count(Counter::FramesTransmitted);
                    self.count_out(len);
                }
                Err(frame) => self.drop(frame, DropReason::TxFull),
            },
            Fate::TransmitWhole(out) => self.transmit_pieces(frame, out),
            Fate::Drop(reason) => self.drop(frame, reason),
            Fate::Reset(reason, out) => {
                self.page.count_drop(reason);
                self.transmit_built(frame, out);
            }
            Fate::Hold(flow) => match self.pipeline.held.push(flow, port, frame) {
                Ok(()) => self.page.count(Counter::FramesHeld),
                Err(frame) => self.drop(frame, DropReason::EarlyDataFull),
            },
            Fate::HandOver(owner) => {
                if self.shared.handover.send(owner, port, self.io.bytes(&frame)) {
                    self.page.count(Counter::FramesHandedOver);
                    self.io.release(frame);
                } else {
                    self.drop(frame, DropReason::HandoverFull);
                }
            }
            Fate::HandOverWhole(owner) => self.hand_over_pieces(frame, port, owner),
            Fate::Consumed => {
                self.page.count(Counter::FramesConsumed);
                self.io.release(frame);
            }
        }
    }

    fn drop(&mut self, frame: Frame, reason: DropReason) {
        self.page.count_drop(reason);
        self.io.release(frame);
    }

    fn count_out(&self, len: usize) {
        self.page.count(Counter::FramesOut);
        self.page.add(Counter::BytesOut, len as u64);
    }

    /// A frame of our own with these bytes; `None` when no chunk is free or it does not fit.
    fn copy_in(&mut self, bytes: &[u8]) -> Option<Frame> {
        let mut frame = self.io.allocate()?;
        let start = frame.start();
        let room = self.io.chunk_mut(&mut frame).get_mut(start..start + bytes.len());
        let fits = room.map(|room| room.copy_from_slice(bytes)).is_some();
        if !fits {
            self.io.release(frame);
            return None;
        }
        frame.set_bounds(start, bytes.len());
        Some(frame)
    }
}

/// Whether every frame that entered a worker has ended, and only once:
/// `in + taken over + released = transmitted + dropped + held + handed over + consumed`.
pub fn is_balanced(page: &WorkerCounters) -> bool {
    use Counter as C;
    let entered: u64 = [C::FramesIn, C::FramesTakenOver, C::FramesReleased].map(|c| page.get(c)).iter().sum();
    let ended: u64 = [C::FramesTransmitted, C::FramesHeld, C::FramesHandedOver, C::FramesConsumed]
        .map(|c| page.get(c))
        .iter()
        .sum();
    entered == ended + page.drops_total()
}
