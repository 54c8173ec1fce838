//! What takes too long: one look per second at everything that waits for the client.
//!
//! Owns: [`Watch`]. A wait is judged by what moved, not by whether anything did: a client that gives one byte now
//! and then is as slow as one that gives none.

/// How often waits are looked at, milliseconds. Limits are tens of seconds, so a second is exact enough.
pub(super) const TICK_MS: u64 = 1_000;
/// Bytes that count as progress within one timeout. Below, a peer is taking our memory for less than 300 bit/s.
pub(super) const PROGRESS_BYTES_MIN: u64 = 1_024;

/// How long something has waited without progress.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    since_ms: u64,
    mark: u64,
}

impl Watch {
    /// Nothing waited before.
    pub(super) fn new(now_ms: u64) -> Self {
        Self { since_ms: now_ms, mark: 0 }
    }

    /// Looks again: `waits` now, having moved `bytes` in all. True when it has waited `timeout_ms` with less than the
    /// least progress.
    pub(super) fn is_overdue(&mut self, waits: bool, bytes: u64, now_ms: u64, timeout_ms: u32) -> bool {
        if !waits || bytes.saturating_sub(self.mark) >= PROGRESS_BYTES_MIN {
            *self = Self { since_ms: now_ms, mark: bytes };
        }
        waits && now_ms.saturating_sub(self.since_ms) >= u64::from(timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_overdue_after_its_time_and_not_before() {
        let mut watch = Watch::new(0);
        assert!(!watch.is_overdue(true, 0, 9_999, 10_000));
        assert!(watch.is_overdue(true, 0, 10_000, 10_000));
    }

    #[test]
    fn progress_starts_the_time_anew_and_a_dribble_does_not() {
        let mut watch = Watch::new(0);
        assert!(!watch.is_overdue(true, 2_000, 9_000, 10_000));
        assert!(!watch.is_overdue(true, 2_010, 18_000, 10_000));
        assert!(watch.is_overdue(true, 2_020, 19_000, 10_000));
    }

    #[test]
    fn what_does_not_wait_is_never_overdue() {
        let mut watch = Watch::new(0);
        assert!(!watch.is_overdue(false, 0, 50_000, 10_000));
        assert!(!watch.is_overdue(true, 0, 59_000, 10_000));
    }
}
