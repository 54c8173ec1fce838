//! What a node holds, as far as it said so on this stream.
//!
//! Owns: what is to be sent next, and what an answer means. Pure. The view advances only on what the node says it
//! applied; a refused version is not sent again; a patch that did not fit is followed by the whole, once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use secbeat_config::policy::wire::key_to_wire;
use secbeat_config::policy::{Hash, Key, Outcome, State};
use secbeat_proto::v1;

use crate::policy::Wanted;

/// One delta on its way.
#[derive(Clone, Debug)]
struct Sent {
    nonce: u64,
    target: Arc<Wanted>,
    /// Version, hash and whether it went whole.
    updates: BTreeMap<Key, (u64, Hash, bool)>,
    removals: BTreeSet<Key>,
    at_ms: u64,
}

/// What a resource in a delta was.
#[derive(Clone, Debug)]
pub(super) struct SentUpdate {
    pub(super) key: Key,
    pub(super) version: u64,
    pub(super) hash: Hash,
    pub(super) is_whole: bool,
}

/// What became of a delta.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    /// What it was to bring the node to.
    pub(super) target: Arc<Wanted>,
    /// Whether something has to be sent again, whole.
    pub(super) wants_more: bool,
    /// Whether everything was applied.
    pub(super) is_complete: bool,
    /// Whether the hash that the node names must be that of the view: not while something waits for a restart.
    pub(super) is_comparable: bool,
}

/// One node on one stream.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    held: BTreeMap<Key, (u64, Hash)>,
    /// Versions that it refused.
    refused: BTreeMap<Key, (u64, Hash)>,
    /// Resources whose patch did not fit.
    whole: BTreeSet<Key>,
    sent: Option<Sent>,
}

impl View {
    /// What the node says it holds; forgets whatever was thought before.
    pub(super) fn new(held: impl IntoIterator<Item = (Key, u64, Hash)>) -> Self {
        Self {
            held: held.into_iter().map(|(key, version, hash)| (key, (version, hash))).collect(),
            ..Self::default()
        }
    }

    /// The same node tells everything anew: what it refused, it refuses still.
    pub(super) fn renew(&mut self, held: impl IntoIterator<Item = (Key, u64, Hash)>) {
        let refused = core::mem::take(&mut self.refused);
        *self = Self { refused, ..Self::new(held) };
    }

    /// Hash of what is held: that of the set, if the node told the truth.
    pub(super) fn hash(&self) -> Hash {
        let parts = self.held.iter().flat_map(|(key, (_, hash))| {
            [key.kind.word().as_bytes(), key.name.as_bytes(), hash.0.as_slice()]
        });
        Hash::of(parts)
    }

    /// When the delta that waits for its answer was sent.
    pub(super) fn waits_since_ms(&self) -> Option<u64> {
        self.sent.as_ref().map(|sent| sent.at_ms)
    }

    /// What to count as held when the difference to `target` is made: without those that are to go whole, and with
    /// those that the node refused in this very version, so that they are not sent in a circle.
    pub(super) fn base(&self, target: &Wanted) -> BTreeMap<Key, Hash> {
        let mut base: BTreeMap<Key, Hash> = self
            .held
            .iter()
            .filter(|(key, _)| !self.whole.contains(*key))
            .map(|(key, (_, hash))| (key.clone(), *hash))
            .collect();
        for (key, refused) in &self.refused {
            let wanted = target.set.get(key).map(|resource| (target.version(key), resource.hash));
            if wanted == Some(*refused) {
                base.insert(key.clone(), refused.1);
            }
        }
        base
    }

    /// Resources that the node holds in a version above ours, though with another body: a store that was restored
    /// from a backup. They are sent above the node's version, or it would ignore them as old.
    pub(super) fn ahead(&self, target: &Wanted) -> BTreeMap<Key, u64> {
        let is_ahead = |(key, (version, hash)): (&Key, &(u64, Hash))| {
            let wanted = target.set.get(key)?;
            let is_ahead = *version >= target.version(key) && *hash != wanted.hash;
            is_ahead.then(|| (key.clone(), version + 1))
        };
        self.held.iter().filter_map(is_ahead).collect()
    }

    /// A delta is on its way.
    pub(super) fn sent(
        &mut self,
        nonce: u64,
        target: Arc<Wanted>,
        updates: &[SentUpdate],
        removals: &[Key],
        at_ms: u64,
    ) {
        let update =
            |update: &SentUpdate| (update.key.clone(), (update.version, update.hash, update.is_whole));
        self.sent = Some(Sent {
            nonce,
            target,
            updates: updates.iter().map(update).collect(),
            removals: removals.iter().cloned().collect(),
            at_ms,
        });
    }

    /// The node's answer. `None`: to a delta that nobody waits for; it is ignored.
    pub(super) fn answered(&mut self, nonce: u64, outcomes: &[Outcome]) -> Option<Answered> {
        let sent = self.sent.take_if(|sent| sent.nonce == nonce)?;
        let mut answered = Answered {
            target: Arc::clone(&sent.target),
            wants_more: false,
            is_complete: true,
            is_comparable: true,
        };
        let by_key: BTreeMap<&Key, &Outcome> =
            outcomes.iter().map(|outcome| (&outcome.key, outcome)).collect();
        for (key, (version, hash, is_whole)) in sent.updates {
            // A resource that the answer does not speak of counts as refused: silence must not be sent again for ever.
            let outcome = by_key.get(&key).filter(|outcome| outcome.hash == hash);
            match outcome.map_or(State::Rejected, |outcome| outcome.state) {
                State::Applied => self.hold(key, version, hash),
                State::NeedsRestart => {
                    answered.is_complete = false;
                    answered.is_comparable = false;
                    self.hold(key, version, hash);
                }
                State::NeedsWhole if !is_whole => {
                    answered.wants_more = true;
                    answered.is_complete = false;
                    self.whole.insert(key);
                }
                State::Rejected | State::NeedsWhole | State::Superseded => {
                    answered.is_complete = false;
                    self.whole.remove(&key);
                    let wanted = sent.target.version(&key);
                    self.refused.insert(key, (wanted, hash));
                }
            }
        }
        for key in sent.removals {
            // Also when it was refused: it is not to be sent in a circle.
            answered.is_complete &= by_key.get(&key).is_none_or(|outcome| outcome.state != State::Rejected);
            self.held.remove(&key);
        }
        Some(answered)
    }

    /// What is held, as results for people.
    pub(super) fn results(&self) -> BTreeMap<String, v1::ResourceResult> {
        let result = |(key, (version, hash)): (&Key, &(u64, Hash))| {
            let result = v1::ResourceResult {
                key: Some(key_to_wire(key)),
                version: *version,
                hash: hash.0.to_vec(),
                state: v1::ResourceState::Applied as i32,
                error: String::new(),
            };
            (key.to_string(), result)
        };
        self.held.iter().map(result).collect()
    }

    fn hold(&mut self, key: Key, version: u64, hash: Hash) {
        self.whole.remove(&key);
        self.refused.remove(&key);
        self.held.insert(key, (version, hash));
    }
}
