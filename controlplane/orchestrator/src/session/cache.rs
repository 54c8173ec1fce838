//! Deltas that many nodes need: made once, shared.
//!
//! Two hundred nodes that hold the same need the same. Limit: [`ENTRIES_MAX`]; the oldest goes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use secbeat_config::policy::wire::delta_to_wire;
use secbeat_config::policy::{Content, Delta, Hash, Key, delta};
use secbeat_proto::v1;

use super::view::SentUpdate;
use crate::orchestrator::lock;
use crate::policy::{Policies, Wanted};

/// Deltas that are kept: a fleet is in few states at once. Each is at most as large as the policy.
const ENTRIES_MAX: usize = 4;

/// A delta without its nonce, and what it says.
#[derive(Debug)]
pub(super) struct Made {
    /// As it is sent; the nonce is the stream's.
    pub(super) message: v1::PolicyDelta,
    pub(super) updates: Vec<SentUpdate>,
    pub(super) removals: Vec<Key>,
    /// About its size on the wire.
    pub(super) bytes: usize,
}

/// From what is held (by hash) at which revision.
type Need = (Hash, u64);

/// The memory.
#[derive(Debug, Default)]
pub(super) struct Deltas {
    kept: Mutex<VecDeque<(Need, Arc<Made>)>>,
}

impl Deltas {
    /// What brings a node from `base` to `target`.
    pub(super) fn make(
        &self,
        policies: &Policies,
        base: &BTreeMap<Key, Hash>,
        target: &Wanted,
        ahead: &BTreeMap<Key, u64>,
        epoch: u64,
    ) -> Arc<Made> {
        let make = || {
            let version = |key: &Key| ahead.get(key).copied().unwrap_or_else(|| target.version(key));
            let delta = delta(base, &target.set, version, |key, hash| policies.earlier(key, hash));
            Arc::new(Made::new(&delta, target.revision, epoch))
        };
        if !ahead.is_empty() {
            return make();
        }
        let parts = base
            .iter()
            .flat_map(|(key, hash)| [key.kind.word().as_bytes(), key.name.as_bytes(), hash.0.as_slice()]);
        let need = (Hash::of(parts), target.revision);
        // Held while it is made: two hundred sessions ask at once, and one makes it.
        let mut kept = lock(&self.kept);
        if let Some((_, made)) = kept.iter().find(|(known, _)| *known == need) {
            return Arc::clone(made);
        }
        let made = make();
        kept.push_back((need, Arc::clone(&made)));
        if kept.len() > ENTRIES_MAX {
            kept.pop_front();
        }
        made
    }
}

impl Made {
    fn new(delta: &Delta, revision: u64, epoch: u64) -> Self {
        let update = |update: &secbeat_config::policy::Update| SentUpdate {
            key: update.key.clone(),
            version: update.version,
            hash: update.hash,
            is_whole: matches!(update.content, Content::Whole(_)),
        };
        let message = delta_to_wire(delta, 0, revision, epoch);
        Self {
            bytes: prost::Message::encoded_len(&message),
            message,
            updates: delta.updates.iter().map(update).collect(),
            removals: delta.removals.clone(),
        }
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.removals.is_empty()
    }
}
