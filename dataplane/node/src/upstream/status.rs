//! What people and the API are told about the backends.

use super::health::Checked;
use super::live::Live;
use super::pool::{Pool, id_of};
use core::sync::atomic::Ordering::Relaxed;

/// One backend's state.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// Its target as configured.
    pub target: String,
    /// The address connections go to; absent while the name does not resolve.
    pub address: Option<String>,
    /// Its weight.
    pub weight: u16,
    /// What active checks say.
    pub health: Checked,
    /// Taken out because connections failed in a row.
    pub ejected: bool,
    /// Takes no new connections by request.
    pub drained: bool,
    /// Takes new connections.
    pub usable: bool,
    /// Connections open now.
    pub connections_active: u32,
    /// Connections ever opened.
    pub connections_total: u64,
    /// Connections that failed.
    pub failures_total: u64,
    /// What the last failed check said.
    pub last_error: Option<String>,
}

/// All backends' state.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// The backends in the order of the configuration.
    pub backends: Vec<BackendStatus>,
    /// Names of groups without any backend known to work.
    pub groups_panicking: Vec<String>,
    /// Ejections refused because the backend was the last usable one of its group.
    pub ejections_refused_total: u64,
}

impl Status {
    pub(super) fn of(pool: &Pool, live: &Live) -> Self {
        let backends = pool
            .entries
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                let id = id_of(index);
                let counters = live.counters(id);
                BackendStatus {
                    name: entry.settings.name.clone(),
                    target: entry.settings.target.to_string(),
                    address: entry.address.map(|addr| addr.to_string()),
                    weight: entry.settings.weight,
                    health: entry.health.checked(),
                    ejected: entry.health.is_ejected(),
                    drained: entry.drained,
                    usable: entry.is_usable(),
                    connections_active: live.active(id),
                    connections_total: counters.map_or(0, |counters| counters.connections.load(Relaxed)),
                    failures_total: counters.map_or(0, |counters| counters.failures.load(Relaxed)),
                    last_error: entry.last_error.clone(),
                }
            })
            .collect();
        let groups_panicking = pool
            .settings
            .groups
            .iter()
            .filter(|group| {
                !group
                    .backends
                    .iter()
                    .any(|&index| pool.entries.get(index).is_some_and(|entry| entry.is_usable()))
            })
            .map(|group| group.name.clone())
            .collect();
        Self { backends, groups_panicking, ejections_refused_total: pool.ejections_refused }
    }
}
