//! What one worker knows about each backend: unused connections and the circuit breaker.
//!
//! Owns: the stacks of unused connections (the one used last goes first: it is warm, and the others grow old and
//! go). Does not own: the connections. Bounded by [`super::Settings::idle_max`] each.

use core::net::SocketAddr;

use super::breaker::Breaker;
use crate::slab::Key;
use crate::upstream::{BackendId, BackendsSnapshot};

/// One backend.
#[derive(Debug, Default)]
pub(super) struct Backend {
    address: Option<SocketAddr>,
    /// Whether connections to it may be kept.
    is_usable: bool,
    /// Connections kept at most, under the backend's own limit.
    idle_max: usize,
    /// Unused connections and whose they are.
    idle: Vec<(Key, Option<(SocketAddr, SocketAddr)>)>,
    pub(super) breaker: Breaker,
}

/// All backends.
#[derive(Debug, Default)]
pub(super) struct Backends {
    backends: Vec<Backend>,
    generation: u64,
    idle_count: usize,
}

impl Backends {
    /// Whether the snapshot is not the one of the last [`Backends::adopt`].
    pub(super) fn is_outdated(&self, snapshot: &BackendsSnapshot) -> bool {
        self.generation != snapshot.generation
    }

    /// Takes a new snapshot; puts connections that must go into `gone`.
    pub(super) fn adopt(
        &mut self,
        snapshot: &BackendsSnapshot,
        idle_max: u32,
        workers: u32,
        gone: &mut Vec<Key>,
    ) {
        self.generation = snapshot.generation;
        let count = snapshot.backends.len().max(self.backends.len());
        self.backends.resize_with(count, Backend::default);
        for (index, backend) in self.backends.iter_mut().enumerate() {
            let now = snapshot.backends.get(index);
            let address = now.and_then(|now| now.address);
            if backend.address != address {
                *backend =
                    Backend { address, idle: core::mem::take(&mut backend.idle), ..Backend::default() };
                gone.extend(backend.idle.drain(..).map(|(key, _)| key));
            }
            backend.is_usable = now.is_some_and(|now| now.usable);
            if !backend.is_usable {
                gone.extend(backend.idle.drain(..).map(|(key, _)| key));
            }
            // What one worker keeps, the others cannot use: each keeps no more than its share of a limit.
            let share = now.map_or(0, |now| match now.connections_max {
                0 => idle_max,
                max => idle_max.min(max / workers.max(1)),
            });
            backend.idle_max = share as usize;
        }
        self.idle_count = self.backends.iter().map(|backend| backend.idle.len()).sum();
    }

    pub(super) fn backend(&self, id: BackendId) -> Option<&Backend> {
        self.backends.get(usize::from(id.0))
    }

    pub(super) fn backend_mut(&mut self, id: BackendId) -> Option<&mut Backend> {
        self.backends.get_mut(usize::from(id.0))
    }

    /// Whether an unused connection for `client` is there.
    pub(super) fn has_idle(&self, id: BackendId, client: Option<(SocketAddr, SocketAddr)>) -> bool {
        self.backend(id).is_some_and(|backend| backend.idle.iter().any(|(_, whose)| *whose == client))
    }

    /// Takes the connection used last.
    pub(super) fn take_idle(
        &mut self,
        id: BackendId,
        client: Option<(SocketAddr, SocketAddr)>,
    ) -> Option<Key> {
        let backend = self.backend_mut(id)?;
        let index = backend.idle.iter().rposition(|(_, whose)| *whose == client)?;
        let (key, _) = backend.idle.remove(index);
        self.idle_count -= 1;
        Some(key)
    }

    /// Keeps a connection to `address` for later. False when it must be closed instead.
    pub(super) fn keep(
        &mut self,
        id: BackendId,
        address: SocketAddr,
        key: Key,
        client: Option<(SocketAddr, SocketAddr)>,
    ) -> bool {
        let Some(backend) = self.backend_mut(id) else { return false };
        let is_kept =
            backend.is_usable && backend.address == Some(address) && backend.idle.len() < backend.idle_max;
        if is_kept {
            backend.idle.push((key, client));
            self.idle_count += 1;
        }
        is_kept
    }

    /// An unused connection is gone.
    pub(super) fn forget(&mut self, id: BackendId, key: Key) {
        let Some(backend) = self.backend_mut(id) else { return };
        if let Some(index) = backend.idle.iter().rposition(|(kept, _)| *kept == key) {
            backend.idle.remove(index);
            self.idle_count -= 1;
        }
    }

    /// Takes all unused connections out.
    pub(super) fn drain(&mut self, gone: &mut Vec<Key>) {
        for backend in &mut self.backends {
            gone.extend(backend.idle.drain(..).map(|(key, _)| key));
            backend.idle_max = 0;
        }
        self.idle_count = 0;
    }

    /// Unused connections.
    pub(super) fn idle_count(&self) -> usize {
        self.idle_count
    }
}
