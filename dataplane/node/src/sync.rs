//! What workers share data through, or its stand-in under the model checker.
//!
//! Owns: the one place where `cfg(loom)` chooses. Whatever is lock-free and our own is written against these names, in
//! files that need nothing else of this crate, so that `dataplane/node/loom` can compile the same files and run them
//! through every interleaving. The queue and the swapped pointer are other people's: the stand-ins behave like them as
//! seen from outside (a bounded queue, an exchange), so that what is checked is our protocol around them.

#[cfg(not(loom))]
pub(crate) use arc_swap::ArcSwap;
/// A word whose accesses are only ordered among themselves.
#[cfg(not(loom))]
pub(crate) use core::sync::atomic::AtomicU64 as Word;
#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
pub(crate) use crossbeam::queue::ArrayQueue;
#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, Mutex};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::{Arc, Mutex};
#[cfg(loom)]
pub(crate) use stand_in::{ArcSwap, ArrayQueue, Word};

#[cfg(loom)]
mod stand_in {
    use std::collections::VecDeque;
    use std::sync::PoisonError;

    use loom::sync::atomic::Ordering;
    use loom::sync::{Arc, Mutex, MutexGuard};

    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One word on its own. The checker lets a plain store and an exchange that did not see it change places in the
    /// word's history, which no processor does; for code that only relies on one word's own history every order of
    /// whole accesses is exactly what can happen.
    #[derive(Debug)]
    pub(crate) struct Word(Mutex<u64>);

    impl Word {
        pub(crate) fn new(value: u64) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn load(&self, _: Ordering) -> u64 {
            *lock(&self.0)
        }

        pub(crate) fn store(&self, value: u64, _: Ordering) {
            *lock(&self.0) = value;
        }

        pub(crate) fn compare_exchange(
            &self,
            current: u64,
            next: u64,
            _: Ordering,
            _: Ordering,
        ) -> Result<u64, u64> {
            let mut value = lock(&self.0);
            if *value != current {
                return Err(*value);
            }
            Ok(core::mem::replace(&mut *value, next))
        }
    }

    /// A bounded queue, as `crossbeam::queue::ArrayQueue` looks from outside.
    #[derive(Debug)]
    pub(crate) struct ArrayQueue<T> {
        items: Mutex<VecDeque<T>>,
        capacity: usize,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            Self { items: Mutex::new(VecDeque::new()), capacity }
        }

        pub(crate) fn push(&self, item: T) -> Result<(), T> {
            let mut items = lock(&self.items);
            if items.len() >= self.capacity {
                return Err(item);
            }
            items.push_back(item);
            Ok(())
        }

        pub(crate) fn pop(&self) -> Option<T> {
            lock(&self.items).pop_front()
        }

        pub(crate) fn len(&self) -> usize {
            lock(&self.items).len()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }

    /// A shared pointer that is exchanged whole, as `arc_swap::ArcSwap` looks from outside.
    #[derive(Debug)]
    pub(crate) struct ArcSwap<T> {
        current: Mutex<Arc<T>>,
    }

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(value: T) -> Self {
            Self { current: Mutex::new(Arc::new(value)) }
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            Arc::clone(&lock(&self.current))
        }

        pub(crate) fn swap(&self, next: Arc<T>) -> Arc<T> {
            core::mem::replace(&mut lock(&self.current), next)
        }
    }
}
