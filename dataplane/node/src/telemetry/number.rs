//! One number that one thread writes and anybody reads.
//!
//! Owns: the rule that makes a plain load and store enough. Does not own: what is counted (`counters`).
//! An increment is no locked instruction, about a nanosecond; it would lose counts with two writers, so every page of
//! numbers has one owner. Readers see a value that was true a moment ago, and never a smaller one later.

use crate::sync::{AtomicU64, Ordering};

/// A number with a single writer.
#[derive(Debug)]
pub(crate) struct Number(AtomicU64);

impl Number {
    /// Zero.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Zero; the model checker's atomics know no constants.
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds to it. Only its writer may call this.
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Replaces it. Only its writer may call this.
    #[inline]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
