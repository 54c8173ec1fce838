//! What sessions must know to serve a request: compiled from configuration; immutable; replaced whole between turns.
//!
//! Owns: [`L7Policy`] and its parts. Does not own: how it is compiled from configuration (`crate::policy`), the
//! choice of a route (`route`), certificates (`tls`), backends and their health (`upstream`), tables that change
//! request by request. A running exchange keeps the decisions made for it; the next request of the same session
//! meets the new policy.

use core::time::Duration;
use std::sync::Arc;

use ipnet::IpNet;
use secbeat_config::node::{Misdirected, ServerHeader};
use secbeat_http::h2;
use secbeat_net::limit::{Rate, RateLimit};

use super::pages::Pages;
pub use super::route::{RouteTable, Scope};
use super::tls::Acceptor;
use crate::attack::OffencePolicy;
use crate::event::ListenerId;
use crate::waf::{Mode, Waf};

/// One generation of everything that is decided outside the sessions.
#[derive(Clone, Debug)]
pub struct L7Policy {
    /// Its number; grows by one with every policy of this process.
    pub generation: u64,
    /// By [`ListenerId`]; `None` = not an `l7` listener.
    pub listeners: Vec<Option<Listener>>,
    /// All routes, in the order of the configuration.
    pub routes: Vec<Route>,
    /// Sizes.
    pub limits: Limits,
    /// The same for HTTP/2.
    pub h2: Arc<h2::Limits>,
    /// Times.
    pub timeouts: Timeouts,
    /// Requests per time.
    pub rates: Rates,
    /// What backends are told about the client, and clients about the backend.
    pub forwarding: Forwarding,
    /// What is looked for in requests.
    pub inspection: Inspection,
    /// Which requests are written down.
    pub access_log: AccessLogPolicy,
    /// What error pages say.
    pub pages: Pages,
    /// A path that the node answers itself with 200 as long as it is not draining, 503 then; before limits and
    /// routes. `None` = no such path.
    pub health_path: Option<Box<[u8]>>,
    /// Whether WebSocket upgrades are passed through.
    pub upgrade: bool,
    /// When a source that breaks limits is banned.
    pub offences: OffencePolicy,
    /// Which requests for hosts that the connection's certificate is not for get 421.
    pub misdirected: Misdirected,
    /// Certificates and protocol versions; shared by all workers and reloadable by itself. `None` = no listener
    /// speaks TLS.
    pub tls: Option<Arc<Acceptor>>,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Whether clients speak TLS.
    pub tls: bool,
    /// What requests get.
    pub service: Service,
    /// Which routes serve requests to this listener.
    pub routes: RouteTable,
    /// Group of backends, by name, for what matches no route; `None` = 404.
    pub group: Option<Arc<str>>,
    /// Whether HTTP/2 is taken with prior knowledge on a listener without TLS; with TLS the client's ALPN decides.
    pub http2: bool,
    /// How rules are asked about its requests; `None` = as sites say.
    pub waf: Option<Mode>,
    /// Whether backends get PROXY v2; connections to them are then used for one client alone.
    pub proxy_protocol: bool,
}

/// What a listener does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Forward them.
    Proxy,
    /// Send the client to the same host, path and query over HTTPS on this port.
    Redirect {
        /// The port of the HTTPS listener; 443 is not written.
        port: u16,
    },
}

/// Requests that go to one group of backends.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name: in the access log, and as the key of its limit.
    pub name: Arc<str>,
    /// Group of backends, by name: indices change with a reload of `upstream`.
    pub group: Arc<str>,
    /// Requests of all sources together.
    pub rate: Option<RequestRate>,
    /// Requests of one source.
    pub source_rate: Option<RequestRate>,
    /// Largest request body, bytes; `None` = [`Limits::request_body_max`].
    pub body_max: Option<u64>,
    /// From the end of the request to the head of the response; `None` = as the client of backends is told.
    pub response_timeout: Option<Duration>,
    /// How rules are asked about its requests; `None` = as the listener says.
    pub waf: Option<Mode>,
    /// Whether its backends get PROXY v2; `None` = as [`Listener::proxy_protocol`].
    pub proxy_protocol: Option<bool>,
}

/// A limit and how long who is over it is told to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRate {
    pub(super) limit: RateLimit,
    pub(super) retry_after_s: u32,
}

impl RequestRate {
    /// Prepares a rate. `Retry-After` is the time in which one further request is allowed, at least a second.
    pub fn new(rate: Rate) -> Self {
        let one = rate.interval.as_secs_f64() / rate.count.max(1) as f64;
        Self { limit: RateLimit::new(rate), retry_after_s: (one.ceil() as u32).max(1) }
    }
}

/// Sizes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of heads: request line 414, head and fields 431; chunks and trailers 400.
    pub head: secbeat_http::limits::Limits,
    /// Request body, bytes. Longer: 413. `None` = no limit.
    pub request_body_max: Option<u64>,
    /// Requests of one connection; the last one's answer says so. `None` = no limit.
    pub requests_max: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: secbeat_http::limits::Limits::default(),
            request_body_max: None,
            requests_max: Some(10_000),
        }
    }
}

/// Times; each has a counter.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From accept to the end of the TLS handshake.
    pub tls_handshake: Duration,
    /// From the first byte of a request (from accept for the first one) to the end of its head: 408.
    pub request_head: Duration,
    /// Between two requests of a connection.
    pub keep_alive: Duration,
    /// Time that the two rates below are averaged over; a peer that moves nothing in it has ended.
    pub rate_grace: Duration,
    /// Slowest request body, bytes per second, 408; 0 = one byte per [`Timeouts::rate_grace`].
    pub request_rate_min: u32,
    /// Slowest client that takes a response while some waits for it, bytes per second, reset; 0 = as above.
    pub response_rate_min: u32,
    /// A tunnel (WebSocket) without a byte in either direction.
    pub tunnel_idle: Duration,
    /// One exchange in all, tunnels excepted; `None` = no limit.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tls_handshake: Duration::from_secs(10),
            request_head: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            rate_grace: Duration::from_secs(10),
            request_rate_min: 500,
            response_rate_min: 500,
            tunnel_idle: Duration::from_secs(600),
            total: Some(Duration::from_secs(3_600)),
        }
    }
}

/// Requests per time; `None` = no limit. Sources on the allowlist are exempt.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Of one source.
    pub source: Option<RequestRate>,
    /// Of the whole node.
    pub global: Option<RequestRate>,
    /// Leading bits of an IPv6 address that make one source.
    pub source_len_v6: u8,
}

impl Default for Rates {
    fn default() -> Self {
        Self { source: None, global: None, source_len_v6: 64 }
    }
}

/// What backends are told about the client, and clients about the backend.
#[derive(Clone, Debug)]
pub struct Forwarding {
    /// Proxies in front of the node whose `X-Forwarded-*`, `Forwarded` and request ids are believed and extended;
    /// from anybody else these fields are removed.
    pub trusted: Box<[IpNet]>,
    /// Send `X-Forwarded-For`, `-Proto`, `-Host`.
    pub x_forwarded: bool,
    /// Send `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// Field of the request's id, in requests and responses; `None` = none.
    pub request_id: Option<Box<[u8]>>,
    /// Name in `Via` of requests and responses (RFC 9110 §7.6.3); `None` = send none.
    pub via: Option<Box<str>>,
    /// What clients see as `Server`.
    pub server: ServerHeader,
}

impl Default for Forwarding {
    fn default() -> Self {
        Self {
            trusted: Box::default(),
            x_forwarded: true,
            forwarded: false,
            request_id: Some(b"x-request-id"[..].into()),
            via: None,
            server: ServerHeader::Pass,
        }
    }
}

/// What is looked for in requests.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Whether targets that climb out of their root are refused.
    pub refuse_traversal: bool,
    /// The rules; `None` = none are asked.
    pub waf: Option<Arc<Waf>>,
}

impl Default for Inspection {
    fn default() -> Self {
        Self { refuse_traversal: true, waf: None }
    }
}

/// Which requests are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessLogPolicy {
    /// Whether any.
    pub enable: bool,
    /// Of a million requests, how many; those that failed or were refused (status 400 and above) always are.
    pub sample_ppm: u32,
}

impl Default for AccessLogPolicy {
    fn default() -> Self {
        Self { enable: false, sample_ppm: 1_000_000 }
    }
}

impl L7Policy {
    /// A listener by its number, if it is one of ours.
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(usize::from(id))?.as_ref()
    }
}

impl Default for L7Policy {
    /// No listener, every setting at its default.
    fn default() -> Self {
        Self {
            generation: 0,
            listeners: Vec::new(),
            routes: Vec::new(),
            limits: Limits::default(),
            h2: Arc::default(),
            timeouts: Timeouts::default(),
            rates: Rates::default(),
            forwarding: Forwarding::default(),
            inspection: Inspection::default(),
            access_log: AccessLogPolicy::default(),
            pages: Pages::default(),
            health_path: None,
            upgrade: true,
            offences: OffencePolicy { offences_max: 0, window: Duration::from_secs(60) },
            misdirected: Misdirected::Routes,
            tls: None,
        }
    }
}
