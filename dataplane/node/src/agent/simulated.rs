//! A node without a data plane: what the agent speaks for in tests and in measurements of whole fleets.
//!
//! Owns: a policy set and a replica of the bans in memory, counts of what was asked of it, and ways to make it fail.
//! Does not own: packets, files, threads. Resources are parsed by the agent as for a real node; with
//! [`SimulatedHost::with_layers`] they are composed with a configuration as well.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ipnet::IpNet;
use secbeat_config::Layers;
use secbeat_config::ban::{Entry, Origin, Replica};
use secbeat_config::policy::{Hash, Key, Set, compose};
use uuid::Uuid;

use super::events::millis;
use super::host::{Applied, BanHits, Condition, Facts, Host, Load, Order, Snapshot};
use super::link::Link;
use crate::api::SecurityEvent;

/// Entries of the replica.
const BANS_MAX: usize = 1_048_576;

/// Events of the agent itself that are kept for looking at; the oldest goes.
const RECORDED_MAX: usize = 256;

#[derive(Debug)]
struct Inner {
    set: Set,
    bans: Replica,
    generation: u64,
    rejects: BTreeMap<Key, String>,
    rejected_bodies: BTreeMap<String, String>,
    needs_restart: BTreeSet<Key>,
    failure: Option<String>,
    failures: BTreeMap<Key, String>,
    apply_delay: Duration,
    recorded: Vec<SecurityEvent>,
    orders: Vec<Order>,
    samples: Vec<(Arc<str>, f64)>,
    ban_hits: BTreeMap<IpNet, u64>,
}

/// The node that is none.
#[derive(Debug)]
pub struct SimulatedHost {
    name: String,
    node_id: Uuid,
    link: Arc<Link>,
    layers: Option<Layers>,
    started: SystemTime,
    is_draining: AtomicBool,
    applies: AtomicU64,
    inner: Mutex<Inner>,
}

impl SimulatedHost {
    /// A node called `name` that holds nothing.
    pub fn new(name: impl Into<String>, node_id: Uuid) -> Self {
        let inner = Inner {
            set: Set::new(),
            bans: Replica::new(node_id.into_bytes(), BANS_MAX),
            generation: 1,
            rejects: BTreeMap::new(),
            rejected_bodies: BTreeMap::new(),
            needs_restart: BTreeSet::new(),
            failure: None,
            failures: BTreeMap::new(),
            apply_delay: Duration::ZERO,
            recorded: Vec::new(),
            orders: Vec::new(),
            samples: Vec::new(),
            ban_hits: BTreeMap::new(),
        };
        Self {
            name: name.into(),
            node_id,
            link: Arc::default(),
            layers: None,
            started: SystemTime::now(),
            is_draining: AtomicBool::new(false),
            applies: AtomicU64::new(0),
            inner: Mutex::new(inner),
        }
    }

    /// With a configuration that resources must fit.
    #[must_use]
    pub fn with_layers(mut self, layers: Layers) -> Self {
        self.layers = Some(layers);
        self
    }

    /// With queues of another size.
    #[must_use]
    pub fn with_link(mut self, link: Link) -> Self {
        self.link = Arc::new(link);
        self
    }

    /// With a set that is in force already, as after a restart.
    #[must_use]
    pub fn with_set(self, set: Set) -> Self {
        self.lock().set = set;
        self
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The set in force.
    pub fn set(&self) -> Set {
        self.lock().set.clone()
    }

    /// How often a set was brought into force, or not.
    pub fn applies(&self) -> u64 {
        self.applies.load(Ordering::Relaxed)
    }

    /// Refuses a resource from now on (`None`: no more).
    pub fn reject(&self, key: Key, error: Option<&str>) {
        let mut inner = self.lock();
        match error {
            Some(error) => inner.rejects.insert(key, error.to_owned()),
            None => inner.rejects.remove(&key),
        };
    }

    /// Refuses a resource with this body from now on, whatever its name.
    pub fn reject_body(&self, body: String, error: &str) {
        self.lock().rejected_bodies.insert(body, error.to_owned());
    }

    /// Refuses every set that has this resource from now on, without saying which one it is.
    pub fn fail_with(&self, key: Key, error: &str) {
        self.lock().failures.insert(key, error.to_owned());
    }

    /// Has a resource in force only after a restart.
    pub fn need_restart(&self, key: Key) {
        self.lock().needs_restart.insert(key);
    }

    /// Refuses everything from now on (`None`: no more).
    pub fn fail(&self, error: Option<&str>) {
        self.lock().failure = error.map(str::to_owned);
    }

    /// Takes that long to bring a set into force.
    pub fn set_apply_delay(&self, delay: Duration) {
        self.lock().apply_delay = delay;
    }

    /// Reports these numbers from now on.
    pub fn set_samples(&self, samples: Vec<(Arc<str>, f64)>) {
        self.lock().samples = samples;
    }

    /// Has dropped that many packets for a ban.
    pub fn set_ban_hits(&self, prefix: IpNet, packets: u64) {
        self.lock().ban_hits.insert(prefix, packets);
    }

    /// Bans a prefix as a node does with an offender, and tells the fleet.
    pub fn ban(&self, prefix: IpNet, duration: Duration, reason: &str) {
        let now_ms = millis(SystemTime::now());
        let until_ms = Some(now_ms.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)));
        let node = Some(self.node_id.into_bytes());
        let entry = self.lock().bans.ban(prefix, until_ms, reason, Origin::Node, "", node, now_ms);
        if let Ok(entry) = entry {
            self.link.push_ban(entry);
        }
    }

    /// Lifts a ban and tells the fleet.
    pub fn lift(&self, prefix: IpNet, reason: &str) {
        let entry = self.lock().bans.lift(prefix, "", reason, millis(SystemTime::now()));
        if let Some(entry) = entry {
            self.link.push_ban(entry);
        }
    }

    /// Whether a prefix is banned here.
    pub fn is_banned(&self, prefix: &IpNet) -> bool {
        let now_ms = millis(SystemTime::now());
        self.lock().bans.get(prefix).is_some_and(|entry| entry.is_active(now_ms))
    }

    /// Bans in force.
    pub fn bans_active(&self) -> usize {
        self.lock().bans.active_prefixes(millis(SystemTime::now())).count()
    }

    /// Events of the agent itself, by name.
    pub fn recorded(&self) -> Vec<SecurityEvent> {
        self.lock().recorded.clone()
    }

    /// What it was ordered.
    pub fn orders(&self) -> Vec<Order> {
        self.lock().orders.clone()
    }
}

impl Host for SimulatedHost {
    fn link(&self) -> &Arc<Link> {
        &self.link
    }

    fn facts(&self) -> Facts {
        Facts {
            version: env!("CARGO_PKG_VERSION").into(),
            hostname: self.name.clone(),
            mode: "tcp".into(),
            driver: "simulated".into(),
            workers: 1,
            connections_max: 1_000_000,
            memory_bytes: 1 << 30,
            started_ms: millis(self.started),
        }
    }

    fn condition(&self) -> Condition {
        let inner = self.lock();
        let phase = if self.is_draining.load(Ordering::Relaxed) { "draining" } else { "active" };
        Condition { phase, applied_hash: inner.set.hash(), generation: inner.generation }
    }

    fn apply(&self, wanted: &Set) -> Result<Applied, String> {
        self.applies.fetch_add(1, Ordering::Relaxed);
        let delay = self.lock().apply_delay;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let mut rejected = match &self.layers {
            Some(layers) => compose(layers, wanted).map_err(|error| error.to_string())?.rejected,
            None => Vec::new(),
        };
        let mut inner = self.lock();
        if let Some(error) = &inner.failure {
            return Err(error.clone());
        }
        if let Some((_, error)) = inner.failures.iter().find(|(key, _)| wanted.get(key).is_some()) {
            return Err(error.clone());
        }
        let bodies = wanted.iter().filter_map(|(key, resource)| {
            Some((key.clone(), inner.rejected_bodies.get(resource.body.as_ref())?.clone()))
        });
        rejected.extend(bodies);
        let refused = inner.rejects.iter().filter(|(key, _)| wanted.get(key).is_some());
        rejected.extend(refused.map(|(key, error)| (key.clone(), error.clone())));
        let mut set = wanted.clone();
        for (key, _) in &rejected {
            set.remove(key);
        }
        let mut needs_restart = Vec::new();
        for key in &inner.needs_restart {
            if set.get(key) != inner.set.get(key) {
                needs_restart.push((key.clone(), "only read at start".to_owned()));
                match inner.set.get(key).cloned() {
                    // It took this place before; it does so again.
                    Some(earlier) => drop(set.insert(earlier)),
                    None => drop(set.remove(key)),
                }
            }
        }
        inner.set = set;
        inner.generation += 1;
        let hash = inner.set.hash();
        Ok(Applied { rejected, needs_restart, hash, generation: inner.generation, note: None })
    }

    fn bans_digest(&self) -> Hash {
        Hash(self.lock().bans.digest())
    }

    fn ban_entries(&self) -> Vec<Entry> {
        self.lock().bans.entries().collect()
    }

    fn merge_bans(&self, entries: Vec<Entry>) -> usize {
        self.lock().bans.merge(entries, millis(SystemTime::now())).len()
    }

    fn snapshot(&self) -> Snapshot {
        let now_ms = millis(SystemTime::now());
        let mut inner = self.lock();
        inner.bans.expire(now_ms);
        let hits = inner.bans.active_prefixes(now_ms).map(|(prefix, _)| BanHits {
            prefix,
            packets: inner.ban_hits.get(&prefix).copied().unwrap_or(0),
            is_enforced: true,
        });
        Snapshot {
            samples: inner.samples.clone(),
            load: Load { cpu_percent: 1.0, ..Load::default() },
            ban_hits: hits.take(10_000).collect(),
            events_lost: BTreeMap::new(),
        }
    }

    fn execute(&self, order: Order) -> Result<String, String> {
        self.lock().orders.push(order);
        match order {
            Order::Drain { .. } | Order::Restart { .. } => {
                self.is_draining.store(true, Ordering::Relaxed);
                Ok("draining".into())
            }
            Order::Reload => Ok("reloaded".into()),
        }
    }

    fn record(&self, event: SecurityEvent) {
        let mut inner = self.lock();
        if inner.recorded.len() >= RECORDED_MAX {
            inner.recorded.remove(0);
        }
        inner.recorded.push(event);
    }
}
