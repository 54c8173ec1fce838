//! The backends as the workers see them: immutable, replaced whole.
//!
//! Owns: [`BackendsSnapshot`], which backend takes a connection. Does not own: why a backend is usable
//! (`upstream::health`), the counters of its connections (`upstream::live`, shared by all snapshots).
//! Cost: a choice is one table look-up and one atomic load; no lock, no allocation.

use core::net::SocketAddr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use secbeat_net::maglev::Maglev;
pub use secbeat_net::splice::BackendId;

use super::live::Live;

/// Backends tried for one connection, at most: the largest `[syn_proxy] backend_tries`.
pub const TRIES_MAX: usize = 16;

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

impl TcpOptions {
    /// What both have: the smaller segment, each option only if both offer it.
    pub fn common(self, other: Self) -> Self {
        Self {
            mss: self.mss.min(other.mss),
            timestamps: self.timestamps && other.timestamps,
            sack: self.sack && other.sack,
            window_scale: self.window_scale.zip(other.window_scale).map(|(a, b)| a.min(b)),
        }
    }
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
    /// No member is known to work, so all that are not drained are tried: a check may be wrong, and a refused
    /// connection costs the client no more than none.
    pub panicking: bool,
    /// The table that shares connections among the usable members.
    pub(super) table: Maglev,
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

    /// The backend that takes a connection whose key hashes to `hash` (keyed: strangers choose what goes in): the same
    /// one for the same hash as long as it is usable. For sharing by weight alone pass a random number. `attempt`
    /// counts from 0; each further one gives another backend of the group, `None` when all were tried or at the
    /// [`TRIES_MAX`]th. Backends at their connection limit are passed over; see [`BackendsSnapshot::reserve`].
    pub fn pick(&self, group: usize, hash: u64, attempt: u32) -> Option<BackendId> {
        let table = &self.groups.get(group)?.table;
        let mut tried: ArrayVec<BackendId, TRIES_MAX> = ArrayVec::new();
        loop {
            let id = table.lookup_where(hash, |id| !tried.contains(&id) && self.has_room(id))?;
            if usize::try_from(attempt).is_ok_and(|attempt| attempt == tried.len()) {
                return Some(id);
            }
            tried.try_push(id).ok()?;
        }
    }

    /// The backend for `hash` among those that `accepts` lets pass: for who knows more of them than their limits.
    pub fn pick_where(
        &self,
        group: usize,
        hash: u64,
        accepts: impl Fn(BackendId) -> bool,
    ) -> Option<BackendId> {
        self.groups.get(group)?.table.lookup_where(hash, accepts)
    }

    /// Counts a connection to a backend as open unless the backend has reached its limit. Each success must be
    /// followed by one [`super::Outcome::Closed`].
    #[must_use]
    pub fn reserve(&self, id: BackendId) -> bool {
        self.backend(id).is_some_and(|backend| self.live.reserve(id, backend.connections_max))
    }

    /// Connections now open to a backend.
    pub fn active(&self, id: BackendId) -> u32 {
        self.live.active(id)
    }

    /// Whether a backend is below its limit of connections.
    pub fn has_room(&self, id: BackendId) -> bool {
        self.backend(id).is_some_and(|backend| {
            backend.connections_max == 0 || self.live.active(id) < backend.connections_max
        })
    }
}
