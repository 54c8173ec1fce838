//! How long to wait before the next attempt.
//!
//! Owns: decorrelated jitter: each wait is drawn between the shortest one and three times the last one, up to the
//! longest. A thousand nodes that lost the same orchestrator come back spread out, not in waves. Does not own: clocks,
//! sleeping.

use core::time::Duration;

use aws_lc_rs::rand;

/// The waits of one agent.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    last: Duration,
}

impl Backoff {
    /// Waits between `min` and `max`.
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        let max = max.max(min);
        Self { min, max, last: min }
    }

    /// How long to wait now.
    pub(super) fn wait(&mut self) -> Duration {
        self.wait_with(random_share())
    }

    /// With `share` from 0 to 1 for the place between shortest and longest.
    fn wait_with(&mut self, share: f64) -> Duration {
        let span = (self.last * 3).saturating_sub(self.min);
        self.last = (self.min + span.mul_f64(share.clamp(0.0, 1.0))).min(self.max);
        self.last
    }

    /// After a success: the next wait is short again.
    pub(super) fn reset(&mut self) {
        self.last = self.min;
    }
}

/// Between 0 and 1. The kernel never refuses random bytes once it has started; if it did, the middle would do.
pub(super) fn random_share() -> f64 {
    let mut bytes = [0; 4];
    match rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(200);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn waits_grow_to_the_longest_and_never_beyond() {
        let mut backoff = Backoff::new(MIN, MAX);
        let waits: Vec<_> = (0..8).map(|_| backoff.wait_with(1.0)).collect();
        assert_eq!(waits[0], MIN * 3);
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(waits[7], MAX);
        backoff.reset();
        assert_eq!(backoff.wait_with(0.0), MIN);
    }

    #[test]
    fn drawn_waits_stay_between_the_bounds() {
        let mut backoff = Backoff::new(MIN, MAX);
        for _ in 0..1_000 {
            let wait = backoff.wait();
            assert!((MIN..=MAX).contains(&wait), "{wait:?}");
        }
    }
}
