//! What a node and its agent share: events and changes of bans on their way up, status and numbers on their way down.
//!
//! Owns: the bounded queues between the node's threads and the agent, and what status page and metrics say about the
//! agent. Does not own: the connection. Nothing here waits: a push takes a short lock that is held for moments only,
//! and no worker ever pushes.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use secbeat_config::ban::Entry;
use secbeat_config::policy::{Hash, Key};
use serde::Serialize;
use tokio::sync::Notify;

use crate::api::SecurityEvent;
use crate::api::events::rfc3339_optional;

/// Events that wait, if the configuration says nothing else: five minutes of 30 a second, about 5 MB.
pub const EVENTS_QUEUED_DEFAULT: usize = 10_000;

/// Changes of bans that wait. Full: they are forgotten here, and the whole lists are compared instead.
pub const BANS_QUEUED_MAX: usize = 16_384;

/// Numbers of an agent.
#[derive(Debug, Default)]
pub struct Numbers {
    /// Connections made.
    pub connections: AtomicU64,
    /// Attempts that failed, and connections that ended.
    pub disconnections: AtomicU64,
    /// Events stored by the orchestrator.
    pub events_sent: AtomicU64,
    /// Events lost because they waited too long.
    pub events_lost: AtomicU64,
    /// Changes of policy that came into force.
    pub deltas_applied: AtomicU64,
    /// Resources that were refused.
    pub resources_refused: AtomicU64,
    /// Entries of bans from elsewhere that changed something here.
    pub ban_merges: AtomicU64,
    /// Messages of kinds that this version does not know.
    pub messages_unknown: AtomicU64,
    /// Reports of numbers left out because the connection was too slow.
    pub telemetry_skipped: AtomicU64,
}

impl Numbers {
    pub(super) fn add(number: &AtomicU64, count: usize) {
        number.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// One number.
    pub fn get(number: &AtomicU64) -> u64 {
        number.load(Ordering::Relaxed)
    }
}

/// How things stand between a node and its orchestrator.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// Where the orchestrator is looked for.
    pub url: String,
    /// The node's UUID.
    pub node_id: String,
    /// Whether the stream is open.
    pub connected: bool,
    /// Since when it is so.
    #[serde(serialize_with = "rfc3339_optional")]
    pub since: Option<SystemTime>,
    /// The store that answered last.
    pub orchestrator_id: String,
    /// Why there was no connection the last time.
    pub last_error: Option<String>,
    /// Revision of the policy that was applied last.
    pub revision: u64,
    /// Highest leadership seen.
    pub epoch: u64,
    /// Hash of the set that the data plane holds.
    pub applied_hash: String,
    /// Resources that are not in force although the orchestrator wants them, each with the reason.
    pub rejected: Vec<Rejected>,
}

/// A resource that is not in force.
#[derive(Clone, Debug, Serialize)]
pub struct Rejected {
    /// `listener/web`.
    pub resource: String,
    /// Why.
    pub error: String,
}

#[derive(Debug, Default)]
struct Bans {
    changes: VecDeque<Entry>,
    /// Some were forgotten: only a comparison of everything brings both sides together.
    is_incomplete: bool,
}

/// Queues, status and numbers; one per node.
#[derive(Debug)]
pub struct Link {
    events: Mutex<VecDeque<SecurityEvent>>,
    events_max: usize,
    bans: Mutex<Bans>,
    rejected: Mutex<Option<Vec<(Key, String)>>>,
    status: Mutex<Status>,
    /// What the agent counts.
    pub numbers: Numbers,
    /// Something waits.
    pub(super) wake: Notify,
    /// The agent is to end.
    pub(super) stop: Notify,
}

impl Default for Link {
    fn default() -> Self {
        Self::new(EVENTS_QUEUED_DEFAULT)
    }
}

impl Link {
    /// Empty queues with room for `events_max` events.
    pub fn new(events_max: usize) -> Self {
        Self {
            events: Mutex::default(),
            events_max: events_max.max(1),
            bans: Mutex::default(),
            rejected: Mutex::default(),
            status: Mutex::default(),
            numbers: Numbers::default(),
            wake: Notify::new(),
            stop: Notify::new(),
        }
    }

    /// Queues an event. Full: the oldest goes, and is counted.
    pub fn push_event(&self, event: SecurityEvent) {
        let mut events = lock(&self.events);
        if events.len() >= self.events_max {
            events.pop_front();
            Numbers::add(&self.numbers.events_lost, 1);
        }
        events.push_back(event);
        drop(events);
        self.wake.notify_one();
    }

    /// Queues a change of the ban list that was decided here.
    pub fn push_ban(&self, entry: Entry) {
        let mut bans = lock(&self.bans);
        if bans.changes.len() >= BANS_QUEUED_MAX {
            bans.changes.clear();
            bans.is_incomplete = true;
        }
        if !bans.is_incomplete {
            bans.changes.push_back(entry);
        }
        drop(bans);
        self.wake.notify_one();
    }

    /// The node found out by itself (reading its configuration again) which resources do not fit now.
    pub fn set_rejected(&self, rejected: Vec<(Key, String)>) {
        *lock(&self.rejected) = Some(rejected);
        self.wake.notify_one();
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// Highest leadership seen.
    pub(super) fn epoch(&self) -> u64 {
        lock(&self.status).epoch
    }

    /// Ends the agent. It closes the stream and returns.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// Events that wait, some of them: oldest first.
    pub(super) fn take_events(&self, count_max: usize) -> Vec<SecurityEvent> {
        let mut events = lock(&self.events);
        let count = count_max.min(events.len());
        events.drain(..count).collect()
    }

    /// Events that wait.
    pub fn events_waiting(&self) -> usize {
        lock(&self.events).len()
    }

    /// Puts events back that were not acknowledged; the oldest of all give way.
    pub(super) fn return_events(&self, returned: Vec<SecurityEvent>) {
        let mut events = lock(&self.events);
        for event in returned.into_iter().rev() {
            events.push_front(event);
        }
        let excess = events.len().saturating_sub(self.events_max);
        events.drain(..excess);
        drop(events);
        Numbers::add(&self.numbers.events_lost, excess);
    }

    /// Changes of bans that wait; `true`: some were forgotten.
    pub(super) fn take_bans(&self, count_max: usize) -> (Vec<Entry>, bool) {
        let mut bans = lock(&self.bans);
        let count = count_max.min(bans.changes.len());
        let changes = bans.changes.drain(..count).collect();
        (changes, core::mem::take(&mut bans.is_incomplete))
    }

    pub(super) fn has_bans(&self) -> bool {
        let bans = lock(&self.bans);
        bans.is_incomplete || !bans.changes.is_empty()
    }

    pub(super) fn take_rejected(&self) -> Option<Vec<(Key, String)>> {
        lock(&self.rejected).take()
    }

    pub(super) fn change_status(&self, change: impl FnOnce(&mut Status)) {
        change(&mut lock(&self.status));
    }

    pub(super) fn set_applied(&self, hash: &Hash) {
        let text = hash.to_string();
        self.change_status(|status| status.applied_hash = text);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here can be left half-changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
