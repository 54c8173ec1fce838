//! Which workers still turn.
//!
//! Owns: the turns of each worker as last seen, and since when they have not grown. Does not own: the pages they are
//! read from, or what follows from a stall (`/health` says so; a supervisor may restart the node). Pure: turns and the
//! time come in. A worker wakes by itself every 10 ms at most (100 ms on sockets), so its turns grow even when no frame
//! comes; one that does not turn hangs in a loop or in the kernel.

use core::time::Duration;

use secbeat_net::time::Instant;

/// How long a worker may go without a turn before it counts as stalled. A turn takes a millisecond at the very most and
/// the longest sleep of any worker is well below a second; a machine that does not run a thread for two is not well.
const STALL_MAX: Duration = Duration::from_secs(2);

/// What was last seen of one worker.
#[derive(Clone, Copy, Debug)]
struct Beat {
    turns: u64,
    since: Instant,
}

/// What was last seen of all workers.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    beats: Vec<Beat>,
    seen_at: Instant,
}

impl Pulse {
    /// Takes note of the turns of every worker, in order. At every tick of the control thread.
    pub fn handle_turns(&mut self, turns: impl Iterator<Item = u64>, now: Instant) {
        self.seen_at = now;
        for (index, turns) in turns.enumerate() {
            match self.beats.get_mut(index) {
                None => self.beats.push(Beat { turns, since: now }),
                Some(beat) if beat.turns != turns => *beat = Beat { turns, since: now },
                Some(_) => {}
            }
        }
    }

    /// Whether a worker has turned lately, as far as was looked: a control thread that is late accuses nobody.
    pub fn is_beating(&self, worker: usize) -> bool {
        self.beats
            .get(worker)
            .is_some_and(|beat| beat.turns > 0 && self.seen_at.saturating_since(beat.since) < STALL_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(1_000_000 + ms)
    }

    #[test]
    fn worker_that_stops_turning_is_noticed_and_one_that_turns_again_too() {
        let mut pulse = Pulse::default();
        let mut seen = |turns: [u64; 2], ms| {
            pulse.handle_turns(turns.into_iter(), at(ms));
            [pulse.is_beating(0), pulse.is_beating(1)]
        };
        assert_eq!(seen([0, 1], 0), [false, true], "the first has not turned yet");
        assert_eq!(seen([5, 9], 50), [true, true]);
        assert_eq!(seen([9, 9], 2_000), [true, true], "late, but not too late");
        assert_eq!(seen([10, 9], 2_100), [true, false]);
        assert_eq!(seen([11, 10], 2_150), [true, true]);
    }

    #[test]
    fn time_in_which_nobody_looked_is_no_stall() {
        let mut pulse = Pulse::default();
        pulse.handle_turns([7].into_iter(), at(0));
        pulse.handle_turns([900].into_iter(), at(60_000));
        assert!(pulse.is_beating(0));
        assert!(!pulse.is_beating(3), "no such worker");
    }
}
