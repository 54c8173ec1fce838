//! The node's clock: monotonic, but counted from the Unix epoch.
//!
//! Owns: the one place where the packet path learns the time. Cookies, initial sequence numbers and timestamps
//! are made from it, so counting from the epoch lets a restarted node (and the others of a fleet) continue where
//! the last one stopped. The wall clock is read once, at start: a later step of it moves nothing here.
//! Cost: one vDSO call per turn.

use std::time::{SystemTime, UNIX_EPOCH};

use secbeat_net::time::Instant;

/// A monotonic clock that started at the wall clock's time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
    origin_nanos: u64,
}

impl Clock {
    /// Reads the wall clock once.
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: std::time::Instant::now(), origin_nanos: since_epoch.as_nanos() as u64 }
    }

    /// Now.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.origin_nanos.saturating_add(self.start.elapsed().as_nanos() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_counts_from_the_epoch_and_never_goes_back() {
        let clock = Clock::start();
        let (first, second) = (clock.now(), clock.now());
        assert!(second >= first);
        assert!(first.as_secs() > 1_700_000_000, "after November 2023");
    }
}
