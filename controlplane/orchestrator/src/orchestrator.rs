//! The orchestrator as its faces see it: one handle to everything.
//!
//! Owns: that every part exists once and finds the others. Does not own: what any part does. Cheap to clone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use secbeat_config::orchestrator::OrchestratorConfig;
use secbeat_export::Exports;
use uuid::Uuid;

use crate::access::Access;
use crate::audit::Audit;
use crate::ban::Bans;
use crate::event::Events;
use crate::export;
use crate::policy::Policies;
use crate::registry::{Leases, Registry};
use crate::request::Requests;
use crate::session::Sessions;
use crate::store::Store;
use crate::task::{Signals, Tallies};

/// Events kept. A million takes some 30 MB on disk. More push the oldest out.
const EVENTS_MAX: u64 = 1_000_000;

/// Handle to the parts. Fields are added by the parts' owners: `bans: Bans`, `tokens: Tokens`,
/// `authority: Authority`.
#[derive(Clone, Debug)]
pub struct Orchestrator {
    parts: Arc<Parts>,
}

/// Everything there is once.
#[derive(Debug)]
pub struct Parts {
    /// Where events and audit entries are sent beside the store.
    pub exports: Arc<Exports>,
    /// What it was given at start.
    pub config: OrchestratorConfig,
    /// Kept for the life of the store: who this orchestrator is.
    pub id: Uuid,
    /// Grows with every start; nodes refuse orders of a lower one.
    pub epoch: u64,
    /// The database.
    pub store: Store,
    /// Tokens, the authority, revocations.
    pub access: Access,
    /// What the fleet shall hold, and how it gets there.
    pub policy: Policies,
    /// Every node, connected or not.
    pub registry: Registry,
    /// Security events.
    pub events: Events,
    /// Who did what.
    pub audit: Audit,
    /// Requests carried out of late.
    pub requests: Requests,
    /// The fleet's ban list.
    pub bans: Bans,
    /// Nodes with an open stream.
    pub sessions: Sessions,
    /// How long a silent node counts as alive.
    pub leases: Leases,
    /// What wakes reconcilers.
    pub signals: Signals,
    /// What reconcilers did.
    pub tallies: Tallies,
    /// Since when it runs.
    pub started: Instant,
    /// The same, milliseconds since 1970.
    pub started_ms: u64,
}

impl core::ops::Deref for Orchestrator {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Orchestrator {
    /// Opens everything from configuration and store.
    ///
    /// # Errors
    /// What cannot be opened.
    pub fn open(config: OrchestratorConfig, store: Store) -> anyhow::Result<Self> {
        let started_ms = now_ms();
        let epoch = epoch::start(&store, started_ms)?;
        let nodes_max = usize::try_from(config.fleet.nodes_max).unwrap_or(usize::MAX);
        let parts = Parts {
            exports: Arc::new(export::exports()),
            id: store.id(),
            epoch,
            events: Events::open(store.clone(), EVENTS_MAX)?,
            audit: Audit::open(store.clone())?,
            requests: Requests::new(store.clone()),
            access: Access::open(&config, &store)?,
            policy: Policies::open(store.clone(), started_ms)?,
            registry: Registry::open(store.clone(), nodes_max)?,
            sessions: Sessions::default(),
            leases: Leases::new(&config.fleet, started_ms),
            signals: Signals::default(),
            tallies: Tallies::default(),
            started: Instant::now(),
            started_ms,
            bans: Bans::open(store.clone())?,
            config,
            store,
        };
        let newest = parts.policy.newest();
        parts.bans.set_policy(&newest.set);
        parts.events.set_exports(&parts.exports);
        parts.audit.set_exports(&parts.exports);
        Ok(Self { parts: Arc::new(parts) })
    }
}

mod epoch;

/// Milliseconds since 1970: the clock of every time that leaves the process.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Locks. A panic elsewhere does not make a map wrong: every change of one is a single insertion or removal.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
