//! Where flows go: the backends of the current policy, as splice and udp need them.
//!
//! Owns: [`Backends`], a table by [`BackendId`] that the node rebuilds when policy or neighbours change. Does not
//! own: which backend a flow gets (`maglev`), health, how links are found (`neighbor`).

use core::net::IpAddr;

use arrayvec::ArrayVec;

use crate::flow::Endpoint;
use crate::link::Link;

/// Index of a backend in [`Backends`]. Stable over policy changes as long as flows name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub u16);

/// Source addresses towards one backend. Each multiplies the ports that can be in use at once.
pub const SOURCE_ADDRS_MAX: usize = 4;

/// Whose address the backend sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Ours: one of these addresses (all of the backend's family) with a port of the worker's slice.
    Snat(ArrayVec<IpAddr, SOURCE_ADDRS_MAX>),
    /// The client's own address and port; the backend routes its answers through us.
    Transparent,
}

/// Source ports that belong to one worker, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

impl PortRange {
    /// Number of ports.
    pub fn count(self) -> usize {
        usize::from(self.last).saturating_sub(usize::from(self.first)) + 1
    }
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTarget {
    /// Its address and port.
    pub endpoint: Endpoint,
    /// The way to it; `None` while its link-layer address is unknown.
    pub link: Option<Link>,
    /// Whose address it sees.
    pub source: Source,
    /// Whether it expects a PROXY protocol version 2 header first.
    pub proxy_protocol: bool,
}

/// The backends of one policy generation.
#[derive(Clone, Debug, Default)]
pub struct Backends {
    targets: Vec<Option<BackendTarget>>,
}

impl Backends {
    /// The target of `id`; `None` when the policy no longer has it.
    pub fn target(&self, id: BackendId) -> Option<&BackendTarget> {
        self.targets.get(usize::from(id.0))?.as_ref()
    }

    /// Sets or clears the target of `id`. Control path: may allocate.
    pub fn set(&mut self, id: BackendId, target: Option<BackendTarget>) {
        let index = usize::from(id.0);
        if index >= self.targets.len() {
            self.targets.resize(index + 1, None);
        }
        self.targets[index] = target;
    }

    /// The way to `id`.
    pub fn link(&self, id: BackendId) -> Option<&Link> {
        self.target(id)?.link.as_ref()
    }
}
