//! What sessions must know to serve a request: compiled from configuration; immutable; replaced whole between turns.
//!
//! Owns: [`L7Policy`] and its parts, and the choice of a route. Does not own: how it is compiled from configuration
//! (`policy`), certificates (`tls`), backends and their health (`upstream`), tables that change request by request.
//! A running exchange keeps the decisions made for it; the next request of the same session meets the new policy.
//! Cost: choosing a route compares host and path with each route of the listener in turn.

use core::time::Duration;
use std::sync::Arc;

use ipnet::IpNet;
use secbeat_net::limit::RateLimit;

use super::pages::Pages;
use super::tls::Acceptor;
use crate::attack::OffencePolicy;
use crate::event::ListenerId;

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
    /// Times.
    pub timeouts: Timeouts,
    /// Requests per time.
    pub rates: Rates,
    /// What backends are told about the client.
    pub forwarding: Forwarding,
    /// Which requests are written down.
    pub access_log: AccessLog,
    /// What error pages say.
    pub pages: Pages,
    /// A path that the node answers itself with 200 as long as it is not draining, 503 then; before limits and
    /// routes. `None` = no such path.
    pub health_path: Option<Box<[u8]>>,
    /// When a source that breaks limits is banned.
    pub offences: OffencePolicy,
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
    /// Routes of this listener, as indices into [`L7Policy::routes`]; the first that matches is taken.
    pub routes: Box<[u16]>,
    /// Group of backends, by name, for what matches no route; `None` = 404.
    pub group: Option<Arc<str>>,
    /// Hosts served, lower case without port (`*.` at the front covers every subdomain); a request for another gets
    /// 421. Empty = all.
    pub hosts: Box<[Box<[u8]>]>,
    /// Whether HTTP/2 is offered: by ALPN with TLS, with prior knowledge without.
    pub http2: bool,
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
    /// Hosts, lower case without port; `*.` at the front covers every subdomain. Empty = any.
    pub hosts: Box<[Box<[u8]>]>,
    /// Paths that start with this, at a whole segment: `/a` covers `/a` and `/a/b`, not `/ab`. Empty = any.
    pub path: Box<[u8]>,
    /// Group of backends, by name: indices change with a reload of `upstream`.
    pub group: Arc<str>,
    /// Requests of all sources together.
    pub rate: Option<RateLimit>,
    /// Requests of one source.
    pub source_rate: Option<RateLimit>,
    /// Largest request body, bytes; `None` = [`Limits::request_body_max`].
    pub body_max: Option<u64>,
    /// Time for one exchange; `None` = [`Timeouts::total`].
    pub timeout: Option<Duration>,
}

/// Sizes, in bytes and items.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Request line and fields together. Larger: 431 (a target alone: 414).
    pub request_head_max: usize,
    /// Request target. Longer: 414.
    pub target_max: usize,
    /// Header fields. More: 431.
    pub fields_max: usize,
    /// Request body. Longer: 413.
    pub request_body_max: u64,
    /// Requests of one connection; the last one's answer says `Connection: close`. 0 = no limit.
    pub requests_per_connection_max: u32,
    /// HTTP/2 streams at once per connection.
    pub streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_head_max: 32 << 10,
            target_max: 8 << 10,
            fields_max: 100,
            request_body_max: 64 << 20,
            requests_per_connection_max: 0,
            streams_max: 100,
        }
    }
}

/// Times; each has a counter. Zero = no limit.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From accept to the end of the TLS handshake.
    pub tls_handshake: Duration,
    /// From the first byte of a request (from accept for the first one) to the end of its head.
    pub request_head: Duration,
    /// Longest pause between two bytes of a request body.
    pub request_body_idle: Duration,
    /// Slowest request body, bytes per second, after a grace of [`Timeouts::request_body_idle`]; 0 = any.
    pub request_body_rate_min: u32,
    /// Longest time in which the client takes nothing of a response that waits for it.
    pub response_write: Duration,
    /// Slowest client that takes a response while some waits for it, bytes per second; 0 = any.
    pub response_rate_min: u32,
    /// Between two requests of a connection.
    pub keep_alive: Duration,
    /// For the backend's first byte, from the end of the request. Past: 504.
    pub upstream_response: Duration,
    /// A tunnel (WebSocket) without a byte in either direction.
    pub tunnel_idle: Duration,
    /// One exchange in all, tunnels excepted.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tls_handshake: Duration::from_secs(10),
            request_head: Duration::from_secs(10),
            request_body_idle: Duration::from_secs(15),
            request_body_rate_min: 500,
            response_write: Duration::from_secs(30),
            response_rate_min: 500,
            keep_alive: Duration::from_secs(60),
            upstream_response: Duration::from_secs(60),
            tunnel_idle: Duration::from_secs(300),
            total: Duration::from_secs(3_600),
        }
    }
}

/// Requests per time; `None` = no limit. Sources on the allowlist are exempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Of one source.
    pub source: Option<RateLimit>,
    /// Of the whole node.
    pub global: Option<RateLimit>,
    /// Leading bits of an IPv6 address that make one source.
    pub source_len_v6: u8,
}

/// What backends are told about the client.
#[derive(Clone, Debug)]
pub struct Forwarding {
    /// Proxies in front of the node whose `X-Forwarded-*` and `Forwarded` are believed and extended; from anybody else
    /// these fields are removed.
    pub trusted: Box<[IpNet]>,
    /// Send `X-Forwarded-For`, `-Proto`, `-Host`.
    pub x_forwarded: bool,
    /// Send `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// Send `X-Request-ID`, in requests and responses; one from a trusted proxy is kept.
    pub request_id: bool,
    /// Name in `Via` of requests and responses (RFC 9110 §7.6.3); `None` = send none.
    pub via: Option<Box<[u8]>>,
    /// Whether `Server` and `X-Powered-By` of backends are removed from responses.
    pub hide_server: bool,
}

impl Default for Forwarding {
    fn default() -> Self {
        Self {
            trusted: Box::default(),
            x_forwarded: true,
            forwarded: false,
            request_id: true,
            via: None,
            hide_server: false,
        }
    }
}

/// Which requests are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Whether any.
    pub enable: bool,
    /// One of so many requests; errors (status 400 and above) and blocked ones always. 1 = all.
    pub sample: u32,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self { enable: true, sample: 1 }
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
            timeouts: Timeouts::default(),
            rates: Rates { source: None, global: None, source_len_v6: 64 },
            forwarding: Forwarding::default(),
            access_log: AccessLog::default(),
            pages: Pages::default(),
            health_path: None,
            offences: OffencePolicy { offences_max: 0, window: Duration::from_secs(60) },
            tls: None,
        }
    }
}
