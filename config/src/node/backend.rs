//! `[[listeners]]`, `[[backends]]`, `[health]`: where connections come in and where they go.

use core::net::SocketAddr;
use core::time::Duration;

use super::server::Mode;
use super::syn::SynCookies;
use super::waf::WafMode;
use crate::reader::{Choice, Table, Unit};
use crate::units::Target;

/// Most listeners of a node: the size of the XDP program's listener map.
pub const LISTENERS_MAX: usize = 64;
/// Most backends of a node: a Maglev table of 65,537 entries stays even to about 1 % with this many.
pub const BACKENDS_MAX: usize = 256;

/// Transport protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Choice for Transport {
    const ALL: &'static [(&'static str, Self)] = &[("tcp", Self::Tcp), ("udp", Self::Udp)];
}

/// Whether a header that names the client precedes its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// No header.
    Off,
    /// PROXY protocol version 2.
    V2,
}

impl Choice for ProxyProtocol {
    const ALL: &'static [(&'static str, Self)] = &[("off", Self::Off), ("v2", Self::V2)];
}

/// `[[listeners]]`, checked: at least one; names unique; no two on one address, port and protocol.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Name in metrics, events and logs.
    pub name: String,
    /// Transport protocol.
    pub protocol: Transport,
    /// Where it accepts; an unspecified address is every address of that family.
    pub bind_address: SocketAddr,
    /// What happens with its connections; already resolved against `[server]`. UDP is always `Tcp`: forwarded.
    pub mode: Mode,
    /// Whether clients speak TLS; only in mode `L7`.
    pub tls: bool,
    /// Every request is answered with a redirect to HTTPS on this port; only in mode `L7` without TLS.
    pub redirect_https: Option<u16>,
    /// Cookie policy; already resolved against `[syn_proxy]`.
    pub syn_cookies: SynCookies,
    /// Indexes into `NodeConfig::backends`: at least one. All of the family of `bind_address`, except in mode
    /// `L7`, which makes connections of its own.
    pub backends: Vec<usize>,
    /// Whether backends get a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// How rules of the WAF are asked; `None` = as sites say. Only in mode `L7`.
    pub waf: Option<WafMode>,
}

/// A `[[listeners]]` entry as written, before names are resolved.
pub(crate) struct ListenerEntry {
    pub(crate) name: Option<String>,
    pub(crate) protocol: Transport,
    pub(crate) bind_address: SocketAddr,
    pub(crate) mode: Option<Mode>,
    pub(crate) tls: Option<bool>,
    pub(crate) redirect_https: bool,
    pub(crate) redirect_port: u16,
    pub(crate) syn_cookies: Option<SynCookies>,
    pub(crate) backends: Vec<String>,
    pub(crate) proxy_protocol: ProxyProtocol,
    pub(crate) waf: Option<WafMode>,
    pub(crate) line: Option<usize>,
}

impl ListenerEntry {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            name: t.text_optional(
                "name",
                "Name in metrics, events and logs. Without it `protocol-address-port`.",
            ),
            protocol: t.choice("protocol", Transport::Tcp, "Transport protocol."),
            bind_address: t.required(
                "bind_address",
                "0.0.0.0:1",
                "Where to accept, e.g. `0.0.0.0:443` or `[::]:443` (IPv6 only).",
            ),
            mode: t.choice_optional(
                "mode",
                "Overrides `[server] mode` for this listener, so that one node can forward some ports and \
                 inspect others. UDP is always forwarded.",
            ),
            tls: t.boolean_optional(
                "tls",
                "Whether clients of an `l7` listener speak TLS. Without it they do, unless the listener only \
                 redirects.",
            ),
            redirect_https: t.boolean(
                "redirect_https",
                false,
                "Answer every request with a redirect to the same host and path over HTTPS: 301 for GET and HEAD, \
                 308 for the rest.",
            ),
            redirect_port: t.integer(
                "redirect_port",
                0,
                0..=65_535,
                "",
                "Port that `redirect_https` names; 0 = that of the first listener with TLS.",
            ),
            syn_cookies: t
                .choice_optional("syn_cookies", "Overrides `[syn_proxy] syn_cookies` for this listener."),
            backends: t.list(
                "backends",
                &[],
                BACKENDS_MAX,
                "Names or groups of the backends it serves. Empty = every backend (of its address family, \
                 unless mode is `l7`).",
            ),
            proxy_protocol: t.choice(
                "proxy_protocol",
                ProxyProtocol::Off,
                "PROXY protocol header towards the backends of this listener, which must expect it. In mode `l7` \
                 every client then has connections of its own to the backend, and a route may say otherwise.",
            ),
            waf: t.choice_optional(
                "waf",
                "Whether rules of `[waf]` are asked about its requests; without it as sites say. Only in mode `l7`.",
            ),
            line: t.line(),
        }
    }
}

/// `[[backends]]`, checked: at least one; names unique.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Name in metrics, events and logs.
    pub name: String,
    /// Group that listeners may refer to.
    pub group: Option<String>,
    /// Where it accepts.
    pub address: Target,
    /// Share of connections relative to its siblings; 0 = draining, takes no new ones.
    pub weight: u16,
    /// Connections it may have at once; `None` = no limit.
    pub connections_max: Option<u32>,
}

impl Backend {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let address: Target = t.required("address", "192.0.2.1:1", "Where it accepts.");
        let name = t.text_optional("name", "Name in metrics, events and logs. Without it the address.");
        Self {
            name: name.unwrap_or_else(|| address.to_string()),
            group: t.text_optional("group", "Group that listeners may refer to instead of single names."),
            address,
            weight: t.integer(
                "weight",
                1,
                0..=1_000,
                "shares",
                "Share of new connections relative to its siblings; 0 = draining, takes no new ones.",
            ),
            connections_max: t.limit(
                "max_connections",
                0,
                16_777_216,
                "connections",
                "Connections it may have at once; 0 = no limit. When all are full, new connections are \
                 refused as `no_backend`.",
            ),
        }
    }
}

/// `[health]`.
#[derive(Clone, Debug)]
pub struct Health {
    /// Whether backends are asked at all; passive ejection works without.
    pub enable: bool,
    /// Time between two probes of one backend.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row until a backend counts as up.
    pub rise: u8,
    /// Bad answers in a row until it counts as down.
    pub fall: u8,
    /// Failed connections in a row that eject a backend; 0 = never.
    pub passive_failures: u16,
    /// How long an ejected backend is left alone; doubles up to `ejection_time_max`.
    pub ejection_time: Duration,
    /// Longest ejection.
    pub ejection_time_max: Duration,
}

impl Health {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            enable: t.boolean(
                "enable",
                true,
                "Ask backends whether they live. UDP backends are never asked.",
            ),
            interval: t.duration(
                "interval",
                Duration::from_secs(5),
                Duration::from_millis(100)..=Duration::from_secs(3_600),
                Unit::Seconds,
                "Time between two probes of one backend.",
            ),
            timeout: t.duration(
                "timeout",
                Duration::from_secs(2),
                Duration::from_millis(10)..=Duration::from_secs(60),
                Unit::Seconds,
                "How long an answer may take. Must not exceed `interval`.",
            ),
            rise: t.integer(
                "rise",
                2,
                1..=100,
                "answers",
                "Good answers in a row until a backend that was down counts as up.",
            ),
            fall: t.integer(
                "fall",
                3,
                1..=100,
                "answers",
                "Bad answers in a row until a backend counts as down.",
            ),
            passive_failures: t.integer(
                "passive_failures",
                5,
                0..=1_000,
                "connections",
                "Real connections that fail in a row until a backend is ejected without a probe; 0 = never.",
            ),
            ejection_time: t.duration(
                "ejection_time",
                Duration::from_secs(10),
                Duration::from_secs(1)..=Duration::from_secs(3_600),
                Unit::Seconds,
                "How long an ejected backend gets no connection; doubles with each ejection in a row.",
            ),
            ejection_time_max: t.duration(
                "ejection_time_max",
                Duration::from_secs(300),
                Duration::from_secs(1)..=Duration::from_secs(86_400),
                Unit::Seconds,
                "Longest ejection.",
            ),
        }
    }
}
