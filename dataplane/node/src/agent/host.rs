//! What the agent asks of the node that it speaks for.
//!
//! Owns: [`Host`] and the values that pass through it. Does not own: the answers. Two implementations: the node
//! (`start`) and [`super::simulated::SimulatedHost`]. Every call may block for as long as a policy takes to come into
//! force; the agent makes none of them on the thread that keeps the connection alive.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use secbeat_config::ban::Entry;
use secbeat_config::policy::{Hash, Key, Set};

use super::link::Link;
use crate::api::SecurityEvent;

/// What a node tells about itself when it joins.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Version of the program.
    pub version: String,
    /// Name of the machine.
    pub hostname: String,
    /// `tcp`, `syn` or `l7`.
    pub mode: String,
    /// `xdp` or `socket`.
    pub driver: String,
    /// Number of workers.
    pub workers: u32,
    /// Connections at once.
    pub connections_max: u64,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// When it was started, milliseconds since 1970.
    pub started_ms: u64,
}

/// How a node is now.
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    /// `starting`, `active` or `draining`.
    pub phase: &'static str,
    /// Hash of the set that the data plane holds.
    pub applied_hash: Hash,
    /// Number of the policy that every worker runs.
    pub generation: u64,
}

/// What came of a set.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Resources that do not fit this node; they were left out.
    pub rejected: Vec<(Key, String)>,
    /// Resources that are in force only after a restart, with the reason.
    pub needs_restart: Vec<(Key, String)>,
    /// Hash of the set that the data plane holds now.
    pub hash: Hash,
    /// Number of the policy made of it.
    pub generation: u64,
    /// What else is worth saying: workers that were slow to follow.
    pub note: Option<String>,
}

/// What an orchestrator may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Take no new connections; then stop, if so.
    Drain {
        /// End when the old ones have.
        stop: bool,
    },
    /// Drain and end, so that the supervisor starts the node again.
    Restart {
        /// Without waiting for connections.
        now: bool,
    },
    /// Read the configuration file again.
    Reload,
}

/// Numbers of a node at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Name with labels, as in the metrics endpoint, and value.
    pub samples: Vec<(Arc<str>, f64)>,
    /// How busy it is.
    pub load: Load,
    /// What bans dropped: a part of them in turn when there are many.
    pub ban_hits: Vec<BanHits>,
    /// Events lost before they reached the agent, by where.
    pub events_lost: BTreeMap<String, u64>,
}

/// How often a ban dropped something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BanHits {
    /// Which.
    pub prefix: IpNet,
    /// Packets, or refused connections where the kernel's sockets are used.
    pub packets: u64,
    /// Whether it is in force: not when the allowlist covers it or the lists are full.
    pub is_enforced: bool,
}

/// How busy a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Of one core.
    pub cpu_percent: f64,
    /// Of the process.
    pub memory_bytes: u64,
    /// Connections at once.
    pub connections: u64,
    /// Requests per second.
    pub requests_per_second: f64,
    /// Packets received per second.
    pub packets_per_second: f64,
    /// Bits received per second.
    pub bits_per_second_in: f64,
    /// Bits sent per second.
    pub bits_per_second_out: f64,
    /// Packets dropped per second.
    pub drops_per_second: f64,
    /// Validated traffic that was dropped, as a share of all.
    pub validated_drop_share: f64,
    /// Responses 5xx as a share of all.
    pub server_error_share: f64,
    /// Attacks going on.
    pub attacks_active: u64,
}

/// A node, as its agent needs it.
pub trait Host: Send + Sync + 'static {
    /// The queues and numbers that this node shares with its agent.
    fn link(&self) -> &Arc<Link>;

    /// What it is.
    fn facts(&self) -> Facts;

    /// How it is. Quick.
    fn condition(&self) -> Condition;

    /// Brings a set into force and returns when every worker runs it, or after a bounded wait. Resources that do not
    /// fit are left out alone.
    ///
    /// # Errors
    /// When nothing of it could be brought into force; what was in force before still is.
    fn apply(&self, wanted: &Set) -> Result<Applied, String>;

    /// Digest of the node's ban list. Quick.
    fn bans_digest(&self) -> Hash;

    /// Every entry of the ban list, lifted ones too.
    fn ban_entries(&self) -> Vec<Entry>;

    /// Takes over what others know, enforces what is to be enforced and returns how many entries changed something.
    fn merge_bans(&self, entries: Vec<Entry>) -> usize;

    /// Its numbers.
    fn snapshot(&self) -> Snapshot;

    /// Does as told.
    ///
    /// # Errors
    /// Why it cannot.
    fn execute(&self, order: Order) -> Result<String, String>;

    /// Keeps and logs an event of the agent itself.
    fn record(&self, event: SecurityEvent);
}
