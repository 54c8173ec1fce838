//! The orchestrator as its faces see it: one handle to everything.
//!
//! Owns: that every part exists once and finds the others. Does not own: what any part does. Cheap to clone.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use secbeat_config::orchestrator::OrchestratorConfig;

use crate::audit::Audit;
use crate::ban::Bans;
use crate::event::Events;
use crate::request::Requests;
use crate::session::Sessions;
use crate::store::Store;

/// Events kept. A million takes some 30 MB on disk. More push the oldest out.
const EVENTS_MAX: u64 = 1_000_000;

/// Handle to the parts. Fields are added by the parts' owners: `policy: Policies`, `registry: Registry`,
/// `bans: Bans`, `events: Events`, `audit: Audit`, `requests: Requests`, `tokens: Tokens`, `authority: Authority`.
#[derive(Clone, Debug)]
pub struct Orchestrator {
    parts: Arc<Parts>,
}

/// Everything there is once.
#[derive(Debug)]
pub struct Parts {
    /// What it was given at start.
    pub config: OrchestratorConfig,
    /// The database.
    pub store: Store,
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
    /// Since when it runs.
    pub started: Instant,
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
        let parts = Parts {
            events: Events::open(store.clone(), EVENTS_MAX)?,
            audit: Audit::open(store.clone())?,
            requests: Requests::new(store.clone()),
            bans: Bans::open(store.clone())?,
            config,
            store,
            sessions: Sessions::default(),
            started: Instant::now(),
        };
        Ok(Self { parts: Arc::new(parts) })
    }
}

/// Milliseconds since 1970: the clock of every time that leaves the process.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
