//! A value that is replaced whole while workers use it, and who runs which of its generations.
//!
//! ```text
//!  control thread                          worker, once a millisecond
//!  publish: current <- new                 generation() differs from its own?
//!           generation <- new's (Release)    load(): this generation or a later one
//!           keep the old in `retired`        confirm(): adopted[worker] <- it
//!           free those that only it holds
//! ```
//! Owns: the value, its number, what was replaced. Does not own: what the value means. A worker never frees a replaced
//! value: the control thread holds each one until it is the last to do so. One thread publishes at a time.

use std::sync::PoisonError;

use crate::event::WorkerId;
use crate::sync::{Arc, ArcSwap, AtomicU64, Mutex, Ordering};

/// The value.
#[derive(Debug)]
pub(crate) struct Published<T> {
    current: ArcSwap<T>,
    generation: AtomicU64,
    /// Generation adopted by each worker.
    adopted: Box<[AtomicU64]>,
    /// Replaced values that a worker may still hold. Only the publisher takes this lock; it frees them, so that no
    /// worker does.
    retired: Mutex<Vec<Arc<T>>>,
}

impl<T> Published<T> {
    /// A value of this generation, for so many workers.
    pub(crate) fn new(value: T, generation: u64, workers: usize) -> Self {
        Self {
            current: ArcSwap::from_pointee(value),
            generation: AtomicU64::new(generation),
            adopted: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            retired: Mutex::new(Vec::new()),
        }
    }

    /// The value in force.
    pub(crate) fn load(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Its number: one load, to see whether there is a new one. A `load` after it gives this generation or a later one.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts a value in force.
    pub(crate) fn publish(&self, value: T, generation: u64) {
        let old = self.current.swap(Arc::new(value));
        self.generation.store(generation, Ordering::Release);
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.push(old);
        retired.retain(|value| Arc::strong_count(value) > 1);
    }

    /// Notes that a worker runs a generation.
    pub(crate) fn confirm(&self, worker: WorkerId, generation: u64) {
        if let Some(adopted) = self.adopted.get(usize::from(worker)) {
            adopted.store(generation, Ordering::Release);
        }
    }

    /// The oldest generation that any worker still runs.
    pub(crate) fn adopted_by_all(&self) -> u64 {
        self.adopted.iter().map(|adopted| adopted.load(Ordering::Acquire)).min().unwrap_or(0)
    }
}
