//! Stamps and the hybrid logical clock that gives them.
//!
//! Owns: order in time between replicas. Cost: a few comparisons. Limit: [`SKEW_MS_MAX`].

use super::SKEW_MS_MAX;

/// When an entry was written: the later one wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Milliseconds since 1970, by the writer's clock or what it had seen, whichever is later.
    pub wall_ms: u64,
    /// Counts within the same `wall_ms`.
    pub counter: u32,
    /// UUID of who wrote it: makes stamps unique.
    pub writer: [u8; 16],
}

/// Gives stamps that grow, and grow past every stamp seen.
#[derive(Clone, Debug)]
pub struct Clock {
    writer: [u8; 16],
    wall_ms: u64,
    counter: u32,
}

impl Clock {
    /// A clock that writes as `writer` and has seen nothing.
    pub const fn new(writer: [u8; 16]) -> Self {
        Self { writer, wall_ms: 0, counter: 0 }
    }

    /// The next stamp.
    pub fn tick(&mut self, now_ms: u64) -> Stamp {
        if self.is_ahead(now_ms) {
            // The wall clock was wrong and has been set back: to count on from there would have every stamp
            // refused by others.
            (self.wall_ms, self.counter) = (now_ms, 0);
        } else if now_ms > self.wall_ms {
            (self.wall_ms, self.counter) = (now_ms, 0);
        } else if let Some(next) = self.counter.checked_add(1) {
            self.counter = next;
        } else {
            (self.wall_ms, self.counter) = (self.wall_ms.saturating_add(1), 0);
        }
        Stamp { wall_ms: self.wall_ms, counter: self.counter, writer: self.writer }
    }

    /// Sees a stamp of another: later ticks are after it. Says whether it was taken; one too far ahead is not.
    pub fn observe(&mut self, stamp: &Stamp, now_ms: u64) -> bool {
        if stamp.wall_ms > now_ms.saturating_add(SKEW_MS_MAX) {
            return false;
        }
        if (stamp.wall_ms, stamp.counter) > (self.wall_ms, self.counter) {
            (self.wall_ms, self.counter) = (stamp.wall_ms, stamp.counter);
        }
        true
    }

    /// Goes on from a stamp that this replica has held before, however far ahead that is.
    pub fn restore(&mut self, stamp: &Stamp) {
        (self.wall_ms, self.counter) = (self.wall_ms, self.counter).max((stamp.wall_ms, stamp.counter));
    }

    /// Whether it stands further ahead of `now_ms` than it would let others be.
    pub const fn is_ahead(&self, now_ms: u64) -> bool {
        self.wall_ms > now_ms.saturating_add(SKEW_MS_MAX)
    }

    /// UUID that its stamps carry.
    pub const fn writer(&self) -> [u8; 16] {
        self.writer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn stamps_grow_when_the_wall_clock_stands_or_goes_back() {
        let mut clock = Clock::new([1; 16]);
        let stamps = [5_000, 5_000, 4_000, 6_000].map(|now_ms| clock.tick(now_ms));
        assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
    }

    #[test]
    fn a_decision_after_seeing_a_stamp_wins_over_it_with_a_clock_an_hour_behind() {
        let (mut fast, mut slow) = (Clock::new([1; 16]), Clock::new([2; 16]));
        let seen = fast.tick(10 * HOUR_MS);
        assert!(slow.observe(&seen, 8 * HOUR_MS));
        assert!(slow.tick(8 * HOUR_MS) > seen);
    }

    #[test]
    fn a_stamp_days_ahead_is_refused_and_does_not_move_the_clock() {
        let mut clock = Clock::new([1; 16]);
        let broken = Stamp { wall_ms: 50 * HOUR_MS, counter: 0, writer: [2; 16] };
        assert!(!clock.observe(&broken, HOUR_MS));
        assert_eq!(clock.tick(HOUR_MS).wall_ms, HOUR_MS);
    }

    #[test]
    fn a_full_counter_goes_over_into_the_wall_clock() {
        let mut clock = Clock::new([1; 16]);
        let last = Stamp { wall_ms: HOUR_MS, counter: u32::MAX, writer: [2; 16] };
        assert!(clock.observe(&last, HOUR_MS));
        assert!(clock.tick(HOUR_MS) > last);
    }

    #[test]
    fn a_clock_that_was_days_ahead_comes_back_once_it_is_right() {
        let mut clock = Clock::new([1; 16]);
        clock.tick(100 * HOUR_MS);
        assert_eq!(clock.tick(HOUR_MS).wall_ms, HOUR_MS);
    }
}
