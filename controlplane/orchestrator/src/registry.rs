//! The nodes of the fleet, connected or not.
//!
//! Owns: who they are (by the UUID that a node keeps on its disk), in which phase, when they were last heard of, what
//! they said of themselves: load, samples, applied policy, refused resources. Does not own: their streams (`session`),
//! what they should hold (`policy`), webhooks. Facts survive a restart of the orchestrator; load and samples do not.
//! Cost: one lock for all nodes, held for map operations only; about 10 KB for a node with 1,000 samples.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use secbeat_config::policy::Hash;
use secbeat_config::policy::wire::key_from_wire;
use secbeat_proto::v1;
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::failure::Failure;
use crate::orchestrator::lock;
use crate::store::Store;

mod facts;
mod lease;
mod record;
mod samples;
#[cfg(test)]
mod tests;

pub use facts::Facts;
pub use lease::{Lease, Leases};
pub use samples::{NamesShelf, Samples};

/// Changes of nodes that a slow watcher may be behind; then it gets everything anew, and the loss is counted.
pub const CHANGES_QUEUED_MAX: usize = 1_024;
/// Refused resources that are remembered of a node: as many as a policy can have.
pub const REFUSALS_MAX: usize = secbeat_config::policy::RESOURCES_MAX;
/// Characters of the error text of a refused resource that are kept.
pub const REFUSAL_CHARS_MAX: usize = 1_000;

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Registered, not taking traffic yet.
    Starting,
    /// Takes traffic.
    Active,
    /// Finishes what it has.
    Draining,
    /// Not heard of for too long, or stopped.
    Dead,
}

impl Phase {
    /// Every phase with its number on the wire.
    pub const ALL: [(Self, v1::NodeState); 4] = [
        (Self::Starting, v1::NodeState::Starting),
        (Self::Active, v1::NodeState::Active),
        (Self::Draining, v1::NodeState::Draining),
        (Self::Dead, v1::NodeState::Dead),
    ];

    /// Its number on the wire.
    pub fn wire(self) -> v1::NodeState {
        Self::ALL
            .iter()
            .find(|(phase, _)| *phase == self)
            .map_or(v1::NodeState::Unspecified, |(_, wire)| *wire)
    }

    /// As a node writes it in a heartbeat; unknown words leave the phase as it was.
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "starting" => Some(Self::Starting),
            "active" => Some(Self::Active),
            "draining" => Some(Self::Draining),
            _ => None,
        }
    }
}

/// How far a node got with what it was sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Newest revision that was answered completely.
    pub answered_revision: u64,
    /// Newest revision that was sent.
    pub sent_revision: u64,
    /// Hash of the set that the data plane holds.
    pub applied_hash: Option<Hash>,
    /// Count of adopted policies on the node.
    pub generation: u64,
    /// The last word on every resource.
    pub results: BTreeMap<String, v1::ResourceResult>,
}

impl Progress {
    /// What is held now, and the last word on what was sent: refusals stay until the resource is held or gone.
    pub fn take(&mut self, held: BTreeMap<String, v1::ResourceResult>, said: &[v1::ResourceResult]) {
        let earlier = core::mem::replace(&mut self.results, held);
        let is_open = |result: &v1::ResourceResult| result.state() != v1::ResourceState::Applied;
        let earlier = earlier.into_iter().filter(|(_, result)| is_open(result));
        for (key, result) in earlier {
            if !self.results.contains_key(&key) && self.results.len() < REFUSALS_MAX {
                self.results.insert(key, result);
            }
        }
        for result in said {
            let Ok(key) = key_from_wire(result.key.as_ref()) else { continue };
            if self.results.len() < REFUSALS_MAX || self.results.contains_key(&key.to_string()) {
                let error = result.error.chars().take(REFUSAL_CHARS_MAX).collect();
                self.results.insert(key.to_string(), v1::ResourceResult { error, ..result.clone() });
            }
        }
    }
}

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it said when it registered.
    pub facts: Facts,
    /// Where it is in its life.
    pub phase: Phase,
    /// Number of the open stream.
    pub stream: Option<u64>,
    /// Last sign of life, milliseconds since 1970.
    pub last_seen_ms: u64,
    /// When the last stream ended.
    pub disconnected_ms: u64,
    /// Its clock minus ours.
    pub clock_skew_ms: i64,
    /// Policy on the node.
    pub progress: Progress,
    /// Last load and when it came.
    pub load: Option<(u64, v1::NodeLoad)>,
    /// Last value of every sample.
    pub samples: Samples,
    /// Events lost, by where.
    pub events_lost: BTreeMap<String, u64>,
}

impl Node {
    fn new(facts: Facts, phase: Phase, last_seen_ms: u64) -> Self {
        Self {
            facts,
            phase,
            stream: None,
            last_seen_ms,
            disconnected_ms: last_seen_ms,
            clock_skew_ms: 0,
            progress: Progress::default(),
            load: None,
            samples: Samples::default(),
            events_lost: BTreeMap::new(),
        }
    }

    /// Whether a stream is open.
    pub fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// Resources it refused.
    pub fn refusals(&self) -> impl Iterator<Item = &v1::ResourceResult> {
        self.progress.results.values().filter(|result| result.state() == v1::ResourceState::Rejected)
    }
}

/// Something about a node changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Look it up.
    Changed(Uuid),
    /// Forgotten.
    Removed(Uuid),
}

/// Every node.
#[derive(Debug)]
pub struct Registry {
    nodes: Mutex<BTreeMap<Uuid, Node>>,
    names: Mutex<NamesShelf>,
    changes: broadcast::Sender<Change>,
    store: Store,
    nodes_max: usize,
}

impl Registry {
    /// Reads the facts of all nodes; each counts as not connected until it comes back.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: Store, nodes_max: usize) -> Result<Self, Failure> {
        let nodes = record::read_all(&store)?;
        let (changes, _) = broadcast::channel(CHANGES_QUEUED_MAX);
        Ok(Self { nodes: Mutex::new(nodes), names: Mutex::default(), changes, store, nodes_max })
    }

    /// Changes from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    pub(crate) fn nodes(&self) -> MutexGuard<'_, BTreeMap<Uuid, Node>> {
        lock(&self.nodes)
    }

    /// A node opens a stream: new, or back again. A stream that it had is forgotten.
    ///
    /// # Errors
    /// [`Failure::Exhausted`] when the fleet is full, [`Failure::Unavailable`] when the facts cannot be kept.
    pub async fn connect(&self, facts: Facts, stream: u64, now_ms: u64, node_ms: u64) -> Result<(), Failure> {
        let id = facts.id;
        let written = {
            let mut nodes = self.nodes();
            if !nodes.contains_key(&id) && nodes.len() >= self.nodes_max {
                return Err(Failure::Exhausted(format!(
                    "the fleet has {} nodes, the most that `[fleet] max_nodes` allows: \
                     raise it, or `secbeat fleet cleanup` forgets dead nodes",
                    self.nodes_max
                )));
            }
            let node = nodes.entry(id).or_insert_with(|| Node::new(facts.clone(), Phase::Starting, now_ms));
            let registered_ms = node.facts.registered_ms;
            node.facts = Facts { registered_ms, ..facts };
            if node.phase == Phase::Dead {
                node.phase = Phase::Starting;
            }
            node.stream = Some(stream);
            node.last_seen_ms = now_ms;
            node.clock_skew_ms = skew(now_ms, node_ms);
            node.progress = Progress::default();
            node.samples = Samples::default();
            node.load = None;
            record::Record::of(node)
        };
        record::write(&self.store, &written).await?;
        self.tell(Change::Changed(id));
        Ok(())
    }

    /// A stream ended. `false`: the node has a newer one, nothing changes.
    pub fn disconnect(&self, id: Uuid, stream: u64, now_ms: u64) -> bool {
        let written = {
            let mut nodes = self.nodes();
            let Some(node) = nodes.get_mut(&id).filter(|node| node.stream == Some(stream)) else {
                return false;
            };
            node.stream = None;
            node.disconnected_ms = now_ms;
            record::Record::of(node)
        };
        // Queued and not waited for: what a crash may lose is the time of the last sign of life.
        drop(record::write(&self.store, &written));
        self.tell(Change::Changed(id));
        true
    }

    /// A sign of life.
    pub fn heartbeat(&self, id: Uuid, beat: &v1::Heartbeat, now_ms: u64) {
        let changed = self.with(id, |node| {
            let phase = Phase::of_word(&beat.phase).unwrap_or(node.phase);
            let is_new_phase = phase != node.phase;
            node.phase = phase;
            node.last_seen_ms = now_ms;
            node.clock_skew_ms = skew(now_ms, beat.now_ms);
            node.progress.applied_hash = hash_of(&beat.applied_hash).or(node.progress.applied_hash);
            node.progress.generation = beat.dataplane_generation;
            is_new_phase.then(|| record::Record::of(node))
        });
        if let Some(written) = changed.flatten() {
            drop(record::write(&self.store, &written));
        }
        self.tell(Change::Changed(id));
    }

    /// Load, samples, hits.
    pub fn telemetry(&self, id: Uuid, telemetry: &v1::Telemetry, now_ms: u64) {
        let mut names = lock(&self.names);
        self.with(id, |node| {
            node.last_seen_ms = now_ms;
            if let Some(load) = telemetry.load {
                node.load = Some((now_ms, load));
            }
            node.samples.take(telemetry, &mut names);
        });
        drop(names);
        self.tell(Change::Changed(id));
    }

    /// Changes what is known of a node's policy.
    pub fn progress(&self, id: Uuid, change: impl FnOnce(&mut Progress)) {
        self.with(id, |node| change(&mut node.progress));
        self.tell(Change::Changed(id));
    }

    /// Changes a node, if it is known.
    pub fn with<T>(&self, id: Uuid, change: impl FnOnce(&mut Node) -> T) -> Option<T> {
        self.nodes().get_mut(&id).map(change)
    }

    /// Reads a node.
    pub fn get(&self, id: Uuid) -> Option<Node> {
        self.nodes().get(&id).cloned()
    }

    /// The node that a person means: UUID, its unique beginning, or the host name.
    ///
    /// # Errors
    /// [`Failure::NotFound`], or [`Failure::Invalid`] when several fit.
    pub fn find(&self, name: &str) -> Result<Uuid, Failure> {
        if name.is_empty() {
            return Err(Failure::Invalid("which node? UUID, its beginning, or the host name".into()));
        }
        if let Ok(id) = name.parse::<Uuid>() {
            let is_known = self.nodes().contains_key(&id);
            return is_known.then_some(id).ok_or_else(|| unknown(name));
        }
        let lower = name.to_ascii_lowercase();
        let nodes = self.nodes();
        let by_name = nodes.values().filter(|node| node.facts.hostname.eq_ignore_ascii_case(name));
        let mut found: Vec<Uuid> = by_name.map(|node| node.facts.id).collect();
        if found.is_empty() {
            found = nodes.keys().filter(|id| id.to_string().starts_with(&lower)).copied().collect();
        }
        match *found.as_slice() {
            [id] => Ok(id),
            [] => Err(unknown(name)),
            _ => Err(Failure::Invalid(format!("`{name}` fits {} nodes: give more of the UUID", found.len()))),
        }
    }

    /// Marks as dead whom nobody heard of for too long. Gives those that died.
    pub fn expire(&self, leases: Leases, now_ms: u64) -> Vec<Uuid> {
        let mut died = Vec::new();
        {
            let mut nodes = self.nodes();
            for node in nodes.values_mut().filter(|node| node.phase != Phase::Dead) {
                if leases.of(node.last_seen_ms, now_ms) == Lease::Ended {
                    node.phase = Phase::Dead;
                    died.push(record::Record::of(node));
                }
            }
        }
        for record in &died {
            drop(record::write(&self.store, record));
            self.tell(Change::Changed(record.facts.id));
        }
        died.into_iter().map(|record| record.facts.id).collect()
    }

    /// Dead nodes that were last heard of before this time.
    pub fn dead_before(&self, before_ms: u64) -> Vec<Uuid> {
        let is_old = |node: &&Node| {
            node.phase == Phase::Dead && !node.is_connected() && node.last_seen_ms <= before_ms
        };
        self.nodes().values().filter(is_old).map(|node| node.facts.id).collect()
    }

    /// Forgets nodes that are not connected.
    ///
    /// # Errors
    /// When the store cannot write; then nothing is forgotten.
    pub fn forget(&self, ids: &[Uuid]) -> Result<u64, Failure> {
        let ids: Vec<Uuid> = {
            let nodes = self.nodes();
            let is_gone = |id: &&Uuid| nodes.get(id).is_some_and(|node| !node.is_connected());
            ids.iter().filter(is_gone).copied().collect()
        };
        record::remove(&self.store, &ids)?;
        for id in &ids {
            self.nodes().remove(id);
            self.tell(Change::Removed(*id));
        }
        Ok(ids.len() as u64)
    }

    fn tell(&self, change: Change) {
        // Without watchers there is nobody to tell.
        let _ = self.changes.send(change);
    }
}

fn unknown(name: &str) -> Failure {
    Failure::NotFound(format!("no node `{}`", name.chars().take(80).collect::<String>()))
}

/// A clock minus ours, bounded so that a broken clock is shown and breaks nothing.
fn skew(now_ms: u64, node_ms: u64) -> i64 {
    if node_ms == 0 {
        return 0;
    }
    let difference = i128::from(node_ms) - i128::from(now_ms);
    i64::try_from(difference.clamp(i128::from(i64::MIN), i128::from(i64::MAX))).unwrap_or_default()
}

/// Thirty-two bytes, or nothing.
pub fn hash_of(bytes: &[u8]) -> Option<Hash> {
    bytes.try_into().ok().map(Hash)
}
