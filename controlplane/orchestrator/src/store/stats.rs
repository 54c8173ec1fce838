//! What the store counts. Counters only grow; they are for metrics and start at zero with the process.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The counters, shared by the writer and all readers.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) transactions: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) corrupt_values: AtomicU64,
    pub(super) reopened: AtomicU64,
    pub(super) queued: AtomicUsize,
    pub(super) is_tight: AtomicBool,
}

/// A reading of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Transactions that are on the disk.
    pub commits: u64,
    /// Durable commits of the database; each holds one or more transactions.
    pub batches: u64,
    /// Transactions lost to a failure of the disk or the database, each of which its caller was told.
    pub failed: u64,
    /// Transactions refused because the queue was full.
    pub refused: u64,
    /// Damaged values met by readers.
    pub corrupt_values: u64,
    /// How often the database was opened anew after a failure.
    pub reopened: u64,
    /// Transactions that wait now.
    pub queue_depth: usize,
    /// How many may wait.
    pub queue_max: usize,
    /// Whether writing is suspended: the disk was full or failed, and the database is only read.
    pub is_read_only: bool,
    /// Whether the disk is full, so that only removing is possible.
    pub is_tight: bool,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn read(&self, queue_max: usize, is_read_only: bool) -> Stats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            commits: of(&self.transactions),
            batches: of(&self.batches),
            failed: of(&self.failed),
            refused: of(&self.refused),
            corrupt_values: of(&self.corrupt_values),
            reopened: of(&self.reopened),
            queue_depth: self.queued.load(Ordering::Relaxed),
            queue_max,
            is_read_only,
            is_tight: self.is_tight.load(Ordering::Relaxed),
        }
    }
}
