//! When a worker without work stops spinning.
//!
//! Owns: since when there was nothing to do, and the choice between another turn and sleeping in
//! `PacketIo::wait`. Does not own: the sleep itself. A worker that is told to burn its core never sleeps.

use core::time::Duration;

use secbeat_net::time::Instant;

/// Longest sleep of a worker alone on its node. A frame wakes it at once; a new policy is only noticed when it
/// wakes, and 10 ms is far inside the second in which a ban must hold.
pub const SLEEP_ALONE_MAX: Duration = Duration::from_millis(10);

/// Longest sleep when there are other workers: a frame they hand over does not wake anybody.
pub const SLEEP_SHARED_MAX: Duration = Duration::from_millis(1);

/// Remembers when work ran out and says when to sleep.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    idle_since: Option<Instant>,
    spin: Option<Duration>,
    sleep_max: Duration,
}

impl Backoff {
    /// A back-off for one of `workers` workers that spins for `spin` after its last work; `None` = for ever.
    pub fn new(workers: usize, spin: Option<Duration>) -> Self {
        let sleep_max = if workers > 1 { SLEEP_SHARED_MAX } else { SLEEP_ALONE_MAX };
        Self { idle_since: None, spin, sleep_max }
    }

    /// How long to sleep after a turn that ended at `now`; `None` = turn again at once.
    pub fn after_turn(&mut self, busy: bool, next_timer: Option<Instant>, now: Instant) -> Option<Duration> {
        if busy {
            self.idle_since = None;
            return None;
        }
        let since = *self.idle_since.get_or_insert(now);
        if now.saturating_since(since) < self.spin? {
            return None;
        }
        let until_timer = next_timer.map_or(self.sleep_max, |at| at.saturating_since(now));
        let sleep = until_timer.min(self.sleep_max);
        (!sleep.is_zero()).then_some(sleep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPIN: Duration = Duration::from_micros(50);

    #[test]
    fn idle_worker_sleeps_after_spinning_and_wakes_for_the_next_timer() {
        let mut backoff = Backoff::new(1, Some(SPIN));
        let start = Instant::from_millis(5);
        assert_eq!(backoff.after_turn(false, None, start), None);
        assert_eq!(backoff.after_turn(false, None, start + SPIN / 2), None);
        let now = start + SPIN;
        assert_eq!(backoff.after_turn(false, None, now), Some(SLEEP_ALONE_MAX));
        let timer = now + Duration::from_millis(2);
        assert_eq!(backoff.after_turn(false, Some(timer), now), Some(Duration::from_millis(2)));
        assert_eq!(backoff.after_turn(false, Some(now), now), None, "a timer is due");
        assert_eq!(backoff.after_turn(true, None, now), None);
        assert_eq!(backoff.after_turn(false, None, now), None, "spins again after work");
    }

    #[test]
    fn worker_that_burns_its_core_never_sleeps() {
        let mut backoff = Backoff::new(2, None);
        assert!((0..1_000).all(|ms| backoff.after_turn(false, None, Instant::from_millis(ms)).is_none()));
    }

    #[test]
    fn worker_among_others_sleeps_a_millisecond_at_most() {
        let mut backoff = Backoff::new(2, Some(Duration::ZERO));
        assert_eq!(backoff.after_turn(false, None, Instant::ZERO), Some(SLEEP_SHARED_MAX));
    }
}
