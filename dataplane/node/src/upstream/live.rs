//! Counters of connections per backend, fed by everyone who forwards.
//!
//! Owns: active connections and failures in a row. Does not own: what follows from them (`upstream::health`).
//! Cost: 32 bytes a backend, one relaxed atomic operation an outcome; shared by all threads.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::settings::BACKENDS_MAX;
use super::snapshot::BackendId;

/// One backend's counters.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Connections that are open now.
    pub(super) active: AtomicU32,
    /// Failed connections since the last good one.
    pub(super) failures_in_a_row: AtomicU32,
    /// Connections ever opened.
    pub(super) connections: AtomicU64,
    /// Connections that failed.
    pub(super) failures: AtomicU64,
}

/// The counters of all backends.
#[derive(Debug)]
pub(super) struct Live {
    counters: Box<[Counters]>,
}

impl Live {
    pub(super) fn new() -> Self {
        Self { counters: (0..BACKENDS_MAX).map(|_| Counters::default()).collect() }
    }

    pub(super) fn counters(&self, id: BackendId) -> Option<&Counters> {
        self.counters.get(usize::from(id.0))
    }

    /// Active connections of a backend.
    pub(super) fn active(&self, id: BackendId) -> u32 {
        self.counters(id).map_or(0, |counters| counters.active.load(Ordering::Relaxed))
    }

    /// Counts a connection if fewer than `max` are open; 0 = no limit.
    pub(super) fn reserve(&self, id: BackendId, max: u32) -> bool {
        let Some(counters) = self.counters(id) else { return false };
        let admitted = counters.active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |active| {
            (max == 0 || active < max).then(|| active.saturating_add(1))
        });
        if admitted.is_ok() {
            counters.connections.fetch_add(1, Ordering::Relaxed);
        }
        admitted.is_ok()
    }

    /// Ends a connection's count; never below zero, whatever is reported.
    pub(super) fn close(&self, id: BackendId) {
        if let Some(counters) = self.counters(id) {
            let _ = counters
                .active
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |active| active.checked_sub(1));
        }
    }

    /// Notes a good connection. True when failures came before it.
    pub(super) fn succeed(&self, id: BackendId) -> bool {
        let Some(counters) = self.counters(id) else { return false };
        // A load first: this is the common case, and a store would bounce the cache line between the workers.
        counters.failures_in_a_row.load(Ordering::Relaxed) != 0
            && counters.failures_in_a_row.swap(0, Ordering::Relaxed) != 0
    }

    /// Notes a failure and returns how many in a row that makes.
    pub(super) fn fail(&self, id: BackendId) -> u32 {
        let Some(counters) = self.counters(id) else { return 0 };
        counters.failures.fetch_add(1, Ordering::Relaxed);
        counters.failures_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Starts a slot again from zero, for a new backend under an old number.
    pub(super) fn reset(&self, id: BackendId) {
        if let Some(counters) = self.counters(id) {
            counters.failures_in_a_row.store(0, Ordering::Relaxed);
            counters.connections.store(0, Ordering::Relaxed);
            counters.failures.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKEND: BackendId = BackendId(7);

    #[test]
    fn reserve_stops_at_the_limit_and_goes_on_after_a_close() {
        let live = Live::new();
        assert!(live.reserve(BACKEND, 2) && live.reserve(BACKEND, 2));
        assert!(!live.reserve(BACKEND, 2));
        live.close(BACKEND);
        assert!(live.reserve(BACKEND, 2));
    }

    #[test]
    fn count_never_goes_below_zero() {
        let live = Live::new();
        live.close(BACKEND);
        assert_eq!(live.active(BACKEND), 0);
    }

    #[test]
    fn success_ends_a_row_of_failures() {
        let live = Live::new();
        assert_eq!((live.fail(BACKEND), live.fail(BACKEND)), (1, 2));
        assert!(live.succeed(BACKEND));
        assert!(!live.succeed(BACKEND));
        assert_eq!(live.fail(BACKEND), 1);
    }

    #[test]
    fn number_out_of_range_is_refused() {
        let live = Live::new();
        assert!(!live.reserve(BackendId(u16::MAX), 0));
        assert_eq!(live.fail(BackendId(u16::MAX)), 0);
    }
}
