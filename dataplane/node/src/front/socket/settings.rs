//! What the socket front is told at start, and what may change while it runs.
//!
//! Owns: [`Settings`] (fixed at start) and [`Policy`] (replaced whole). Does not own: the file format.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use secbeat_config::node::{Limits, Mode, NodeConfig, ProxyProtocol, Transport};
use secbeat_net::filter::Filter;
use secbeat_net::limit::{ConnectionLimits, Rate, RateLimit};

use crate::attack::OffencePolicy;
use crate::session::L7Policy;
use crate::upstream::http;

/// Transport protocol of a listener.
pub use secbeat_net::flow::Protocol;

/// What happens with a TCP listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Their bytes are passed on as they are.
    Forward,
    /// They carry HTTP, with or without TLS, and become sessions (`l7`).
    Http,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Its name, which is also that of its backend group in [`crate::upstream::Upstream`].
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// Where it listens; `[::]` is IPv6 only.
    pub bind_address: SocketAddr,
    /// What happens with its connections.
    pub service: Service,
    /// Whether the backend gets a PROXY v2 header first (`Forward` over TCP only; sessions know by themselves).
    pub proxy_protocol: bool,
}

/// What the front is told at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The listeners.
    pub listeners: Vec<ListenerSettings>,
    /// Connections of one worker, at most: its table. All workers together obey [`Policy::connections`].
    pub connections_max: u32,
    /// UDP flows of one worker, at most; when full, the one idle longest goes.
    pub udp_flows_max: u32,
    /// How long a backend may take to accept.
    pub connect_timeout: Duration,
    /// Backends tried for one connection.
    pub backend_tries: u32,
    /// A connection without a byte for this long is reset.
    pub idle_timeout: Duration,
    /// The same once one side has finished.
    pub half_closed_timeout: Duration,
    /// A UDP flow without a datagram for this long is forgotten.
    pub udp_idle_timeout: Duration,
    /// Bytes moved at once per direction; pipes are never smaller than the kernel's 64 KiB.
    pub pipe_bytes: usize,
    /// `TCP_NODELAY` on both sides.
    pub nodelay: bool,
    /// Accept `TCP_FASTOPEN` (RFC 7413).
    pub fastopen: bool,
    /// Length of the accept queue; the kernel cuts it to `net.core.somaxconn`.
    pub backlog: u32,
    /// UDP source ports of reflected floods.
    pub amplification_ports: Vec<u16>,
    /// Most bytes a UDP backend may answer per byte received; 0 = no limit.
    pub amplification_ratio_max: u32,
    /// Slots of the rate limiter.
    pub limiter_slots: usize,
    /// Connections of sessions to backends.
    pub upstream: http::Settings,
}

impl Settings {
    /// The settings that a node's configuration asks for.
    pub fn from_config(config: &NodeConfig) -> Self {
        let listeners = config.listeners.iter().map(|listener| ListenerSettings {
            name: listener.name.clone(),
            protocol: match listener.protocol {
                Transport::Tcp => Protocol::Tcp,
                Transport::Udp => Protocol::Udp,
            },
            bind_address: listener.bind_address,
            service: match listener.mode {
                Mode::L7 => Service::Http,
                _ => Service::Forward,
            },
            proxy_protocol: listener.proxy_protocol == ProxyProtocol::V2,
        });
        Self {
            listeners: listeners.collect(),
            connections_max: config.server.connections_max,
            udp_flows_max: config.udp.flows_max.min(config.server.connections_max),
            connect_timeout: config.flows.connect_timeout,
            backend_tries: u32::from(config.syn_proxy.backend_tries),
            idle_timeout: config.flows.idle_timeout,
            half_closed_timeout: config.flows.half_closed_timeout,
            udp_idle_timeout: config.udp.idle_timeout,
            pipe_bytes: config.server.buffer_bytes,
            nodelay: config.performance.tcp_nodelay,
            fastopen: config.performance.tcp_fastopen,
            backlog: config.performance.backlog,
            amplification_ports: config.udp.amplification_ports.clone(),
            amplification_ratio_max: config.udp.amplification_ratio_max,
            limiter_slots: usize::try_from(config.limits.slots).unwrap_or(usize::MAX),
            upstream: http::Settings::from_config(config),
        }
    }
}

/// What may change while the front runs.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Lists and rules.
    pub filter: Filter,
    /// Connections at once.
    pub connections: ConnectionLimits,
    /// New connections from one source; `None` = no limit.
    pub source_rate: Option<RateLimit>,
    /// New connections from one prefix; `None` = no limit.
    pub prefix_rate: Option<RateLimit>,
    /// UDP datagrams from one source; `None` = no limit.
    pub udp_rate: Option<RateLimit>,
    /// When repeated offences are reported as an offender.
    pub offences: OffencePolicy,
    /// What sessions go by. Its listeners are found by name: their numbers are given by the front.
    pub l7: Arc<L7Policy>,
}

impl Policy {
    /// The policy that a node's configuration asks for, with an already compiled `filter`.
    pub fn from_config(config: &NodeConfig, filter: Filter, l7: Arc<L7Policy>) -> Self {
        let limits = &config.limits;
        Self {
            filter,
            connections: connections(limits, config.server.connections_max),
            source_rate: limits.source_rate.map(|rate| per_second(rate, limits.source_burst)),
            prefix_rate: limits.prefix_rate.map(|rate| per_second(rate, rate)),
            udp_rate: limits.udp_rate.map(|rate| per_second(rate, limits.udp_burst)),
            offences: OffencePolicy {
                offences_max: if config.lists.auto_ban { config.lists.offences_max } else { 0 },
                window: config.lists.offence_window,
            },
            l7,
        }
    }

    /// Everything passes, without limits.
    pub fn open() -> Self {
        Self {
            filter: Filter::open(),
            connections: ConnectionLimits::NONE,
            source_rate: None,
            prefix_rate: None,
            udp_rate: None,
            offences: OffencePolicy { offences_max: 0, window: Duration::from_secs(1) },
            l7: Arc::default(),
        }
    }
}

fn connections(limits: &Limits, total: u32) -> ConnectionLimits {
    ConnectionLimits {
        per_source: limits.source_connections.unwrap_or(u32::MAX),
        per_prefix: limits.prefix_connections.unwrap_or(u32::MAX),
        total,
        source_len_v6: limits.source_v6_bits,
        prefix_len_v4: limits.prefix_v4_bits,
        prefix_len_v6: limits.prefix_v6_bits,
    }
}

fn per_second(rate: u32, burst: u32) -> RateLimit {
    RateLimit::new(Rate { count: u64::from(rate), interval: Duration::from_secs(1), burst })
}
