//! The policy that a node holds: from a change on the wire to resources in force and on disk.
//!
//! Owns: what is held (with versions, revision and epoch), the order stage -> apply -> keep -> acknowledge, and what
//! happens to a resource that does not fit: it is refused alone and the earlier one stays. Does not own: parsing and
//! differences (`secbeat_config::policy`), the data plane ([`Host::apply`]), messages (`session`).
//! Blocks: runs on a thread of its own, never on the one that keeps the connection.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use secbeat_config::policy::{Delta, Hash, Held, Key, Outcome, Set, State};

use secbeat_proto::v1::ResourceResult;

use super::file;
use super::host::{Applied, Host};
use super::link::Numbers;
use crate::api::SecurityEvent;
use crate::api::events::{Class, Level};

/// Resources tried one by one when a set cannot be brought into force as a whole. Each attempt compiles a policy, up
/// to a second with a large rule set. More: all of them are refused.
const SINGLE_ATTEMPTS_MAX: usize = 16;

/// Rounds of putting earlier resources in the place of refused ones: one refusal can make others not fit.
const ROUNDS_MAX: usize = 4;

/// What a node starts with.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Resources and their versions.
    pub held: Held,
    /// Revision of the whole.
    pub revision: u64,
    /// Highest leadership seen.
    pub epoch: u64,
    /// Resources of it that do not fit the node as it is configured now.
    pub rejected: Vec<(Key, String)>,
    /// Why everything is needed anew; `None`: it is not.
    pub resync: Option<String>,
}

impl Default for Restored {
    fn default() -> Self {
        Self {
            held: Held::new(Set::default(), BTreeMap::new()),
            revision: 0,
            epoch: 0,
            rejected: Vec::new(),
            resync: None,
        }
    }
}

/// What is held, and where it is kept.
#[derive(Debug)]
pub(super) struct Policy {
    held: Held,
    revision: u64,
    epoch: u64,
    /// Held, but not in force.
    rejected: BTreeMap<Key, String>,
    resync: Option<String>,
    path: Option<PathBuf>,
    is_save_failing: bool,
}

/// A change as it came, with the stream's number for it.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) nonce: u64,
    pub(super) revision: u64,
    pub(super) epoch: u64,
    pub(super) delta: Delta,
    /// What of the message could not be read: refused without looking further.
    pub(super) unreadable: Vec<ResourceResult>,
}

/// A change on its way through: what it wanted and what was refused of it at once.
struct Staged {
    nonce: u64,
    refusals: Vec<Outcome>,
    unreadable: Vec<ResourceResult>,
    wanted: BTreeMap<Key, (u64, Hash)>,
}

/// The answer to a change.
#[derive(Debug)]
pub(super) struct Ack {
    pub(super) nonce: u64,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) unreadable: Vec<ResourceResult>,
    pub(super) applied_hash: Hash,
    pub(super) generation: u64,
}

impl Policy {
    pub(super) fn new(restored: Restored, path: Option<PathBuf>) -> Self {
        Self {
            held: restored.held,
            revision: restored.revision,
            epoch: restored.epoch,
            rejected: restored.rejected.into_iter().collect(),
            resync: restored.resync,
            path,
            is_save_failing: false,
        }
    }

    /// What is in force, for the beginning of a stream.
    pub(super) fn digests(&self) -> Vec<(Key, u64, Hash)> {
        self.held.digests().filter(|(key, ..)| !self.rejected.contains_key(key)).collect()
    }

    pub(super) fn resync(&self) -> Option<&str> {
        self.resync.as_deref()
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Takes note of a leadership. `false`: it is an earlier one than was seen already, and has nothing to say.
    pub(super) fn adopt_epoch(&mut self, epoch: u64, host: &dyn Host) -> bool {
        if epoch < self.epoch {
            return false;
        }
        if epoch > self.epoch {
            self.epoch = epoch;
            self.keep(host);
        }
        true
    }

    /// The node found other resources not to fit than before (its configuration was read again).
    pub(super) fn set_rejected(&mut self, rejected: Vec<(Key, String)>) -> Vec<Outcome> {
        self.rejected = rejected.into_iter().collect();
        self.refusals()
    }

    /// What is held but not in force, as the orchestrator is told.
    pub(super) fn refusals(&self) -> Vec<Outcome> {
        let held: BTreeMap<_, _> =
            self.held.digests().map(|(key, version, hash)| (key, (version, hash))).collect();
        let refused = self.rejected.iter().filter_map(|(key, error)| {
            let &(version, hash) = held.get(key)?;
            Some(Outcome { key: key.clone(), version, hash, state: State::Rejected, error: error.clone() })
        });
        refused.collect()
    }

    /// Brings changes into force, all at once, and answers each.
    pub(super) fn take(&mut self, changes: Vec<Pending>, host: &dyn Host) -> Vec<Ack> {
        let mut candidate = self.held.clone();
        let mut staged = Vec::with_capacity(changes.len());
        let (mut revision, mut set_hash) = (self.revision, None);
        for change in changes {
            let Pending { nonce, delta, unreadable, .. } = change;
            if change.epoch < self.epoch {
                let refusals = stale(&delta, change.epoch, self.epoch);
                staged.push(Staged { nonce, refusals, unreadable, wanted: BTreeMap::new() });
                continue;
            }
            let (next, refusals) = candidate.stage(&delta);
            let refused: BTreeSet<&Key> = refusals.iter().map(|outcome| &outcome.key).collect();
            let wanted = delta.updates.iter().filter(|update| !refused.contains(&update.key));
            let wanted = wanted.map(|update| (update.key.clone(), (update.version, update.hash))).collect();
            // It can be compared only when nothing was refused.
            set_hash = (unreadable.is_empty() && refusals.is_empty()).then_some(delta.set_hash);
            revision = revision.max(change.revision);
            self.epoch = self.epoch.max(change.epoch);
            candidate = next;
            staged.push(Staged { nonce, refusals, unreadable, wanted });
        }
        let (applied, refused) = self.apply(candidate, host);
        if let Some(announced) = set_hash
            && refused.is_empty()
            && self.held.set().hash() != announced
        {
            // Not an error of any resource: the orchestrator sees it in the acknowledged hash and compares.
            let event = SecurityEvent::new(Class::Policy, Level::Warn, "agent", "policy_differs");
            host.record(event.with("announced", announced.to_string()));
        }
        if let Some(note) = &applied.note {
            let event = SecurityEvent::new(Class::Policy, Level::Warn, "agent", "policy_slow");
            host.record(event.with("note", note.as_str()));
        }
        self.revision = revision;
        self.resync = None;
        self.keep(host);
        self.answer(staged, &applied, &refused)
    }

    /// Applies a candidate, puts earlier resources in the place of refused ones, and holds the result.
    fn apply(&mut self, mut candidate: Held, host: &dyn Host) -> (Applied, BTreeMap<Key, String>) {
        let mut refused: BTreeMap<Key, String> = BTreeMap::new();
        for _ in 0..ROUNDS_MAX {
            let applied = match host.apply(candidate.set()) {
                Ok(applied) => applied,
                Err(error) => return self.apply_singly(&candidate, &error, host),
            };
            let earlier = |(key, _): &&(Key, String)| differs(&self.held, &candidate, key);
            let news: Vec<_> = applied.rejected.iter().filter(earlier).cloned().collect();
            let is_settled = news.is_empty();
            for (key, error) in news {
                candidate = candidate.with_earlier(&self.held, [&key]);
                refused.insert(key, error);
            }
            if is_settled {
                return (self.hold(candidate, applied, &refused), refused);
            }
        }
        let keys = changed_keys(&self.held, &candidate);
        let error = "it does not fit beside the others, and neither does what it was before".to_owned();
        refused.extend(keys.into_iter().map(|key| (key, error.clone())));
        (self.fall_back(host), refused)
    }

    /// The candidate cannot be brought into force as a whole: finds out whose fault it is.
    fn apply_singly(
        &mut self,
        candidate: &Held,
        error: &str,
        host: &dyn Host,
    ) -> (Applied, BTreeMap<Key, String>) {
        let keys = changed_keys(&self.held, candidate);
        let mut refused = BTreeMap::new();
        if keys.len() > SINGLE_ATTEMPTS_MAX || keys.len() < 2 {
            refused.extend(keys.into_iter().map(|key| (key, error.to_owned())));
            return (self.fall_back(host), refused);
        }
        let mut last = None;
        for key in keys {
            let next = self.held.with_earlier(candidate, [&key]);
            match host.apply(next.set()) {
                Ok(applied) => {
                    if let Some((_, why)) = applied.rejected.iter().find(|(rejected, _)| *rejected == key) {
                        refused.insert(key, why.clone());
                    } else {
                        last = Some(self.hold(next, applied, &refused));
                        continue;
                    }
                }
                Err(error) => {
                    refused.insert(key, error);
                }
            }
            last = None;
        }
        let applied = last.unwrap_or_else(|| self.fall_back(host));
        (applied, refused)
    }

    /// Back to what was held before. It was in force a moment ago; if the node refuses it now, its configuration alone
    /// is in force and everything is to be compared.
    fn fall_back(&mut self, host: &dyn Host) -> Applied {
        let held = self.held.clone();
        match host.apply(held.set()) {
            Ok(applied) => self.hold(held, applied, &BTreeMap::new()),
            Err(error) => {
                let event = SecurityEvent::new(Class::Policy, Level::Error, "agent", "policy_not_restored");
                host.record(event.with("error", error));
                let now = host.condition();
                Applied {
                    rejected: Vec::new(),
                    needs_restart: Vec::new(),
                    hash: now.applied_hash,
                    generation: now.generation,
                    note: None,
                }
            }
        }
    }

    fn hold(&mut self, held: Held, applied: Applied, refused: &BTreeMap<Key, String>) -> Applied {
        self.held = held;
        let kept = applied.rejected.iter().filter(|(key, _)| !refused.contains_key(key));
        let kept: BTreeMap<Key, String> = kept.cloned().collect();
        self.rejected = kept;
        applied
    }

    fn answer(&self, staged: Vec<Staged>, applied: &Applied, refused: &BTreeMap<Key, String>) -> Vec<Ack> {
        let restarts: BTreeMap<&Key, &str> =
            applied.needs_restart.iter().map(|(key, why)| (key, why.as_str())).collect();
        // The last change that names a resource is the one that counts.
        let mut last: BTreeMap<Key, u64> = BTreeMap::new();
        for change in &staged {
            last.extend(change.wanted.keys().map(|key| (key.clone(), change.nonce)));
        }
        let outcome = |nonce: u64, key: Key, version: u64, hash: Hash| {
            let (state, error) = if last.get(&key) != Some(&nonce) {
                (State::Superseded, "")
            } else if let Some(error) = refused.get(&key).or_else(|| self.rejected.get(&key)) {
                (State::Rejected, error.as_str())
            } else if let Some(why) = restarts.get(&key) {
                (State::NeedsRestart, *why)
            } else {
                (State::Applied, "")
            };
            Outcome { version, hash, state, error: error.to_owned(), key }
        };
        let ack = |change: Staged| {
            let Staged { nonce, refusals, unreadable, wanted } = change;
            let mut outcomes = refusals;
            outcomes
                .extend(wanted.into_iter().map(|(key, (version, hash))| outcome(nonce, key, version, hash)));
            Ack { nonce, outcomes, unreadable, applied_hash: applied.hash, generation: applied.generation }
        };
        staged.into_iter().map(ack).collect()
    }

    /// Writes what is held to disk. Failing to is said once; the policy is in force all the same.
    fn keep(&mut self, host: &dyn Host) {
        let Some(path) = &self.path else { return };
        let saved = file::save(path, &self.held, self.revision, self.epoch);
        let was_failing = core::mem::replace(&mut self.is_save_failing, saved.is_err());
        if let Err(error) = saved
            && !was_failing
        {
            let event = SecurityEvent::new(Class::Policy, Level::Error, "agent", "policy_not_saved");
            host.record(event.with("error", error.to_string()).with("path", path.display().to_string()));
        }
    }

    /// Counts what came of changes and puts it where the status page finds it.
    pub(super) fn publish(&self, acks: &[Ack], host: &dyn Host) {
        let link = host.link();
        let refused = acks.iter().flat_map(|ack| &ack.outcomes);
        let refused = refused.filter(|o| matches!(o.state, State::Rejected | State::NeedsWhole)).count();
        Numbers::add(&link.numbers.resources_refused, refused);
        Numbers::add(&link.numbers.deltas_applied, acks.len());
        let hash = host.condition().applied_hash;
        link.set_applied(&hash);
        let rejected = self
            .rejected
            .iter()
            .map(|(key, error)| super::link::Rejected { resource: key.to_string(), error: error.clone() });
        let rejected: Vec<_> = rejected.collect();
        link.change_status(|status| {
            status.revision = self.revision;
            status.epoch = self.epoch;
            status.rejected = rejected;
        });
    }
}

/// Everything of a change by a leader that is none any more.
fn stale(delta: &Delta, epoch: u64, known: u64) -> Vec<Outcome> {
    let error = format!("leadership {epoch} is over: this node has seen {known}");
    let outcome = |update: &secbeat_config::policy::Update| Outcome {
        key: update.key.clone(),
        version: update.version,
        hash: update.hash,
        state: State::Rejected,
        error: error.clone(),
    };
    delta.updates.iter().map(outcome).collect()
}

/// Whether two held sets have different things under a key.
fn differs(one: &Held, other: &Held, key: &Key) -> bool {
    let hash = |held: &Held| held.set().get(key).map(|resource| resource.hash);
    hash(one) != hash(other)
}

/// Keys under which the candidate has something else than what is held, in the order of application.
fn changed_keys(held: &Held, candidate: &Held) -> Vec<Key> {
    let keys: BTreeSet<Key> = held.digests().chain(candidate.digests()).map(|(key, ..)| key).collect();
    keys.into_iter().filter(|key| differs(held, candidate, key)).collect()
}
