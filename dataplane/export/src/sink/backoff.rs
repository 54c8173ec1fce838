//! How long to wait before the next attempt.
//!
//! Owns: decorrelated jitter: each wait is drawn between the shortest one and three times the last one, up to the
//! longest, so that many nodes do not come back to a receiver in waves.

use core::time::Duration;

use aws_lc_rs::rand;

#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    last: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, last: min }
    }

    /// How long to wait now.
    pub(super) fn wait(&mut self) -> Duration {
        let mut bytes = [0; 4];
        // The kernel never refuses random bytes once it has started; if it did, the middle would do.
        let share = match rand::fill(&mut bytes) {
            Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
            Err(_) => 0.5,
        };
        let span = (self.last * 3).saturating_sub(self.min);
        self.last = (self.min + span.mul_f64(share)).min(self.max);
        self.last
    }

    /// After a success: the next wait is short again.
    pub(super) fn reset(&mut self) {
        self.last = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_between_their_limits_and_grow() {
        let (min, max) = (Duration::from_millis(250), Duration::from_secs(30));
        let mut backoff = Backoff::new(min, max);
        let waits: Vec<_> = (0..200).map(|_| backoff.wait()).collect();
        assert!(waits.iter().all(|wait| (min..=max).contains(wait)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(5)));
        backoff.reset();
        assert!(backoff.wait() <= min * 3);
    }
}
