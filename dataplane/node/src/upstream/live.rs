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
    pub(super) active: AtomicU32,
    pub(super) failures_in_a_row: AtomicU32,
    pub(super) connections: AtomicU64,
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
}
