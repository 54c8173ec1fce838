//! What workers know together about listeners whose SYNs are answered in front of them.
//!
//! ```text
//!              off                        answering                            gated
//!   phase even  -- leader: wanted -->  phase odd  -- every worker is ready --> segments of no flow dropped
//!              <-- gate off, answering off, phase even -----------------------'   a worker is not: gate off
//! ```
//! Owns: the phase of each listener, and which workers are ready for its gate. Does not own: the flags that the program
//! reads (`super::Forefront`), the decisions (`pipeline::forefront`).
//!
//! The gate drops what is neither in the flow table nor a cookie. An ACK that completes a half-open connection is
//! neither, so the gate is shut only while no worker has one of that listener. A worker that has once seen an odd phase
//! makes none until it sees an even one, and an even phase is only written when the gate is open again: no such ACK is
//! lost (`loom/src/models.rs`). The first worker leads.
//! Cost: one load per SYN that reaches a worker; one per listener and millisecond.

use core::fmt;

use crate::event::WorkerId;
use crate::sync::{AtomicU64, Ordering};

/// What workers know of one listener together.
struct Line {
    /// Odd while SYNs are answered in front; grows with every change.
    phase: AtomicU64,
    /// A worker wants them to be.
    is_wanted: AtomicU64,
    /// Cookies that workers found valid while the phase was odd.
    valid: AtomicU64,
    /// Per worker: the odd phase for which it holds no half-open connection of the listener and makes none.
    ready: Box<[AtomicU64]>,
}

/// What workers know of all listeners together. The first worker leads: it alone changes phases.
pub struct Board {
    lines: Box<[Line]>,
}

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answering = (0..self.lines.len()).filter(|&listener| self.is_answering(listener as u16));
        f.debug_struct("Board").field("answering", &answering.collect::<Vec<_>>()).finish()
    }
}

impl Board {
    /// A board for so many listeners and workers: 24 bytes per listener, and 8 per worker of each.
    pub fn new(listeners: usize, workers: usize) -> Self {
        let line = |_| Line {
            phase: AtomicU64::new(0),
            is_wanted: AtomicU64::new(0),
            valid: AtomicU64::new(0),
            ready: (0..workers).map(|_| AtomicU64::new(0)).collect(),
        };
        Self { lines: (0..listeners).map(line).collect() }
    }

    fn line(&self, listener: u16) -> Option<&Line> {
        self.lines.get(usize::from(listener))
    }

    /// Whether SYNs of a listener are answered in front of the workers.
    #[inline]
    pub fn is_answering(&self, listener: u16) -> bool {
        self.line(listener).is_some_and(|line| line.phase.load(Ordering::Acquire) % 2 == 1)
    }

    /// Asks the leader to have SYNs of a listener answered in front.
    pub fn want(&self, listener: u16) {
        if let Some(line) = self.line(listener) {
            line.is_wanted.store(1, Ordering::Release);
        }
    }

    /// Whether somebody asked since the last call.
    pub fn take_wanted(&self, listener: u16) -> bool {
        self.line(listener).is_some_and(|line| {
            line.is_wanted.load(Ordering::Relaxed) != 0 && line.is_wanted.swap(0, Ordering::AcqRel) != 0
        })
    }

    /// Notes a valid cookie of a listener that is answered in front.
    pub fn note_valid(&self, listener: u16) {
        if let Some(line) = self.line(listener) {
            line.valid.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Valid cookies noted since the start.
    pub fn valid(&self, listener: u16) -> u64 {
        self.line(listener).map_or(0, |line| line.valid.load(Ordering::Relaxed))
    }

    /// A worker says whether it holds no half-open connection of a listener. To be called by that worker between
    /// frames.
    pub fn set_ready(&self, listener: u16, worker: WorkerId, is_ready: bool) {
        let Some(line) = self.line(listener) else { return };
        let Some(ready) = line.ready.get(usize::from(worker)) else { return };
        let phase = line.phase.load(Ordering::Acquire);
        let value = if is_ready && phase % 2 == 1 { phase } else { 0 };
        // Written only when it changes: others read the line.
        if ready.load(Ordering::Relaxed) != value {
            ready.store(value, Ordering::Release);
        }
    }

    /// Whether every worker is ready in the present phase.
    pub fn is_gate_safe(&self, listener: u16) -> bool {
        self.line(listener).is_some_and(|line| {
            let phase = line.phase.load(Ordering::Acquire);
            phase % 2 == 1 && line.ready.iter().all(|ready| ready.load(Ordering::Acquire) == phase)
        })
    }

    /// Begins or ends a phase. Only the leader calls this: to begin one before SYNs are answered in front, to end one
    /// after the gate is open and none are.
    pub fn set_answering(&self, listener: u16, on: bool) {
        let Some(line) = self.line(listener) else { return };
        let phase = line.phase.load(Ordering::Relaxed);
        if (phase % 2 == 1) != on {
            line.phase.store(phase + 1, Ordering::Release);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn gate_is_safe_only_when_every_worker_is_ready_in_this_phase() {
        let board = Board::new(8, 2);
        board.set_ready(3, 0, true);
        assert!(!board.is_gate_safe(3), "nothing is answered in front");
        board.set_answering(3, true);
        assert!(board.is_answering(3) && !board.is_gate_safe(3), "ready before the phase counts for nothing");
        board.set_ready(3, 0, true);
        assert!(!board.is_gate_safe(3), "the second worker may hold half-open connections");
        board.set_ready(3, 1, true);
        assert!(board.is_gate_safe(3));
        board.set_ready(3, 1, false);
        assert!(!board.is_gate_safe(3));
        board.set_ready(3, 1, true);
        board.set_answering(3, false);
        board.set_answering(3, true);
        assert!(!board.is_gate_safe(3), "ready in an earlier phase");
        assert!(!board.is_answering(4) && !board.is_gate_safe(4), "another listener");
    }

    #[test]
    fn wish_is_taken_once_and_unknown_listeners_are_harmless() {
        let board = Board::new(8, 1);
        board.want(0);
        assert!(board.take_wanted(0));
        assert!(!board.take_wanted(0));
        board.want(u16::MAX);
        board.set_answering(u16::MAX, true);
        assert!(!board.take_wanted(u16::MAX) && !board.is_answering(u16::MAX));
    }
}
