//! What the threads of an `Upstream` call: what to check and resolve, and what came of it.
//!
//! Owns: turning results into changes of the pool, and saying so in the log. Does not own: the rules (`health`,
//! `pool`).

use core::net::SocketAddr;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::io;

use super::pool::{Pool, id_of};
use super::resolve::Name;
use super::settings::{HealthSettings, Target};
use super::snapshot::{BackendId, TcpOptions};
use super::{Upstream, lock};

impl Upstream {
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn health_settings(&self) -> HealthSettings {
        lock(&self.pool).settings.health
    }

    pub(super) fn resolve_interval(&self) -> Duration {
        lock(&self.pool).settings.resolve_interval
    }

    /// Address of every backend, in order; `None` where there is nothing to check.
    pub(super) fn check_targets(&self) -> Vec<Option<SocketAddr>> {
        lock(&self.pool).entries.iter().map(|entry| entry.address.filter(|_| entry.settings.check)).collect()
    }

    /// Every backend's name that is to be resolved.
    pub(super) fn names(&self) -> Vec<Name> {
        let pool = lock(&self.pool);
        let named = pool.entries.iter().filter_map(|entry| match &entry.settings.target {
            Target::Name { host, port } => Some(Name {
                backend: entry.settings.name.clone(),
                host: host.clone(),
                port: *port,
                wants_ipv4: entry.settings.wants_ipv4,
            }),
            Target::Address(_) => None,
        });
        named.collect()
    }

    /// A check of `id` at `address` ended.
    pub(super) fn on_check(
        &self,
        id: BackendId,
        address: SocketAddr,
        result: io::Result<Option<TcpOptions>>,
    ) {
        self.change(|pool| {
            let Pool { entries, settings, .. } = pool;
            let entry = entries.get_mut(usize::from(id.0)).filter(|entry| entry.address == Some(address))?;
            let turned = entry.health.on_check(result.is_ok(), &settings.health);
            let mut learnt = false;
            match result {
                Ok(options) => {
                    entry.last_error = None;
                    learnt = options.is_some() && options != entry.options;
                    entry.options = options.or(entry.options);
                }
                Err(error) => entry.last_error = Some(error.to_string()),
            }
            if turned {
                let (name, error) = (&entry.settings.name, entry.last_error.as_deref());
                tracing::info!(backend = %name, %address, state = ?entry.health.checked(), error, "backend health");
            }
            Some(turned || learnt)
        });
    }

    /// A name resolved, or did not.
    pub(super) fn on_resolved(&self, name: &str, host: &str, result: io::Result<SocketAddr>) {
        let changed = self.change(|pool| {
            let entry = pool.entries.iter_mut().find(|entry| {
                entry.settings.name == name
                    && matches!(&entry.settings.target, Target::Name { host: current, .. } if current == host)
            })?;
            match result {
                Ok(address) if entry.address == Some(address) => Some(false),
                Ok(address) => {
                    tracing::info!(backend = %name, %address, "backend name resolved");
                    entry.address = Some(address);
                    entry.options = None;
                    Some(true)
                }
                Err(error) => {
                    entry.last_error = Some(format!("{host}: {error}"));
                    Some(false)
                }
            }
        });
        if changed == Some(true) {
            self.wake();
        }
    }

    /// Ejects who failed too often, takes back whose time is over.
    pub(super) fn on_tick(&self) {
        let now = self.now();
        self.change(|pool| {
            let mut changed = pool.on_tick(now);
            for (index, word) in self.failing.iter().enumerate() {
                let mut bits = word.swap(0, Ordering::Relaxed);
                while bits != 0 {
                    let id = id_of(index * 64 + bits.trailing_zeros() as usize);
                    bits &= bits - 1;
                    if pool.eject(id, now) {
                        changed = true;
                        let name =
                            pool.entries.get(usize::from(id.0)).map(|entry| entry.settings.name.as_str());
                        tracing::warn!(backend = name, "backend ejected: connections to it failed in a row");
                    }
                }
            }
            Some(changed)
        });
    }

    /// Time until an ejection ends.
    pub(super) fn next_tick(&self) -> Option<Duration> {
        let at = lock(&self.pool).poll_timeout()?;
        Some(at.saturating_since(self.now()))
    }
}
