//! The plainest [`FlowWatch`]: a list of the flows that were opened and not yet freed.
//!
//! Owns: the list. For fuzzing, tests and the simulation, where it stands for the table that the XDP program asks; a
//! node uses that one. Cost: a lock and a walk through the list, so it does not belong on a packet path; no allocation
//! below the capacity that it was made with.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::flow::{FlowKey, FlowWatch};

/// Lists every opening.
#[derive(Debug, Default)]
pub struct FlowCensus {
    open: Mutex<Vec<FlowKey>>,
}

impl FlowCensus {
    /// A list with memory for this many flows.
    pub fn with_capacity(flows: usize) -> Self {
        Self { open: Mutex::new(Vec::with_capacity(flows)) }
    }

    fn open(&self) -> MutexGuard<'_, Vec<FlowKey>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a flow with this key is open.
    pub fn contains(&self, key: &FlowKey) -> bool {
        self.open().contains(key)
    }

    /// Openings that were not freed.
    pub fn len(&self) -> usize {
        self.open().len()
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.open().is_empty()
    }

    /// How the list differs from these keys, each as often as it is open; `None` when it does not.
    pub fn difference(&self, keys: impl Iterator<Item = FlowKey>) -> Option<String> {
        let mut known = self.open().clone();
        let mut there: Vec<FlowKey> = keys.collect();
        known.sort_unstable();
        there.sort_unstable();
        (known != there).then(|| format!("there are {there:?}, known are {known:?}"))
    }
}

impl FlowWatch for FlowCensus {
    fn opened(&self, key: &FlowKey) {
        self.open().push(*key);
    }

    fn freed(&self, key: &FlowKey) {
        let mut open = self.open();
        let at = open.iter().position(|other| other == key);
        assert!(at.is_some(), "{key:?} is freed but was not opened");
        at.map(|at| open.swap_remove(at));
    }
}
