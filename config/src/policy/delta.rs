//! What brings a node up to date, and the node's side of it.
//!
//! Owns: [`delta`], which compares what a node holds with what is wanted; patches of sets of rules; [`Held`], which
//! takes what arrives. Does not own: transport, when to send, whether resources fit together (`compose`).
//!
//! A resource is whole or a patch against the body with a certain hash, and its hash is announced: a patch that does
//! not fit, or leads elsewhere, is refused alone and asked for whole. What arrives twice changes nothing, an older
//! version than the one held is ignored. Removals carry no version: a caller drops deltas of an older revision or
//! epoch, and compares the hash of the set afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::resource::{Hash, Key, Resource};
use super::set::Set;

mod patch;

pub(super) use patch::moved;

/// A change of a set of rules; applies to the body with hash `base` only. See `patch` for what upserts may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePatch {
    /// Hash of the resource that it changes.
    pub base: Hash,
    /// Rules by id as canonical JSON; the empty id is the set without its rules.
    pub upserts: Vec<(String, Arc<str>)>,
    /// Ids of rules that go.
    pub removals: Vec<String>,
}

/// What an update carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The canonical body.
    Whole(Arc<str>),
    /// Only what changed.
    Patch(RulePatch),
}

/// A resource on its way to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Which.
    pub key: Key,
    /// Counts its changes.
    pub version: u64,
    /// What it must hash to.
    pub hash: Hash,
    /// The body, or how to make it.
    pub content: Content,
}

/// What a node lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// In the order of application.
    pub updates: Vec<Update>,
    /// What goes.
    pub removals: Vec<Key>,
    /// Hash of the whole set afterwards.
    pub set_hash: Hash,
}

impl Delta {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.removals.is_empty()
    }
}

/// What turns a set with the resources `held` into `wanted`. `earlier` gives a body that the node holds, if it is still
/// known, so that a patch can be made of it; a patch larger than half the body is sent whole.
pub fn delta(
    held: &BTreeMap<Key, Hash>,
    wanted: &Set,
    version: impl Fn(&Key) -> u64,
    earlier: impl Fn(&Key, &Hash) -> Option<Arc<Resource>>,
) -> Delta {
    let mut updates = Vec::new();
    for (key, resource) in wanted.iter() {
        let has = held.get(key);
        if has == Some(&resource.hash) {
            continue;
        }
        let base = has.filter(|_| key.kind.has_rules()).and_then(|hash| earlier(key, hash));
        let patch = base.and_then(|base| patch::between(&base, resource));
        let content = match patch {
            Some(patch) if patch::bytes(&patch) * 2 <= resource.body.len() => Content::Patch(patch),
            _ => Content::Whole(Arc::clone(&resource.body)),
        };
        updates.push(Update { key: key.clone(), version: version(key), hash: resource.hash, content });
    }
    let removals = held.keys().filter(|key| wanted.get(key).is_none()).cloned().collect();
    Delta { updates, removals, set_hash: wanted.hash() }
}

/// What became of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The data plane holds it.
    Applied,
    /// Refused; the earlier one stays.
    Rejected,
    /// Kept, and in force after a restart of the node.
    NeedsRestart,
    /// The patch does not fit what the node holds: it is to be sent whole.
    NeedsWhole,
    /// A newer version is there already.
    Superseded,
}

/// The answer to one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which.
    pub key: Key,
    /// As announced.
    pub version: u64,
    /// As announced.
    pub hash: Hash,
    /// What became of it.
    pub state: State,
    /// For people; empty when all is well.
    pub error: String,
}

/// The node's side: a set, and the versions of its resources.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    set: Set,
    versions: BTreeMap<Key, u64>,
}

impl Held {
    /// A set; a resource without a version has version 0.
    pub fn new(set: Set, mut versions: BTreeMap<Key, u64>) -> Self {
        versions.retain(|key, _| set.get(key).is_some());
        Self { set, versions }
    }

    /// The set.
    pub const fn set(&self) -> &Set {
        &self.set
    }

    /// The version of a resource; 0 when it is not held.
    pub fn version(&self, key: &Key) -> u64 {
        self.versions.get(key).copied().unwrap_or(0)
    }

    /// What is held, as a node says it in its greeting.
    pub fn digests(&self) -> impl Iterator<Item = (Key, u64, Hash)> + '_ {
        self.set.iter().map(|(key, resource)| (key.clone(), self.version(key), resource.hash))
    }

    /// Takes what parses and hashes to what was announced, and answers with an outcome for each of the rest. What does
    /// not is as it was. The same delta again changes nothing.
    pub fn stage(&self, delta: &Delta) -> (Self, Vec<Outcome>) {
        let mut candidate = self.clone();
        let mut refused = Vec::new();
        // First what goes: it makes room.
        for key in &delta.removals {
            candidate.set.remove(key);
            candidate.versions.remove(key);
        }
        for update in &delta.updates {
            match candidate.take(update) {
                Ok(()) => {}
                Err((state, error)) => refused.push(Outcome {
                    key: update.key.clone(),
                    version: update.version,
                    hash: update.hash,
                    state,
                    error,
                }),
            }
        }
        (candidate, refused)
    }

    /// With `keys` as they are in `earlier`: what a node holds on to when it cannot apply a resource.
    #[must_use]
    pub fn with_earlier<'k>(&self, earlier: &Self, keys: impl IntoIterator<Item = &'k Key>) -> Self {
        let mut result = self.clone();
        for key in keys {
            result.set.remove(key);
            result.versions.remove(key);
            if let Some(resource) = earlier.set.get(key)
                && result.set.insert(Arc::clone(resource)).is_ok()
            {
                result.versions.insert(key.clone(), earlier.version(key));
            }
        }
        result
    }

    fn take(&mut self, update: &Update) -> Result<(), (State, String)> {
        let held = self.set.get(&update.key);
        if let Some(held) = held {
            let version = self.version(&update.key);
            if version > update.version {
                let why = format!("version {version} is held, which is newer than {}", update.version);
                return Err((State::Superseded, why));
            }
            if held.hash == update.hash {
                self.versions.insert(update.key.clone(), update.version);
                return Ok(());
            }
        }
        let resource = match &update.content {
            Content::Whole(body) => {
                let resource = Resource::parse(update.key.clone(), body)
                    .map_err(|error| (State::Rejected, error.to_string()))?;
                if resource.hash != update.hash {
                    let why = format!(
                        "{}: the body hashes to {}, not to the announced {}: it was damaged on its way, or the two \
                         sides write it in different ways",
                        update.key, resource.hash, update.hash
                    );
                    return Err((State::Rejected, why));
                }
                resource
            }
            Content::Patch(change) => patch::apply(held.map(AsRef::as_ref), update, change)?,
        };
        self.set.insert(resource).map_err(|error| (State::Rejected, error.to_string()))?;
        self.versions.insert(update.key.clone(), update.version);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
