//! `[[routes]]` and `[access_log]`: which backends serve a request, and what is written about it.
//!
//! The route of a request is the one with the most exact host (a name before `*.name` before any), then the
//! longest path prefix, then the first in the file. Without one the listener's own backends serve it.

use core::time::Duration;

use super::backend::{BACKENDS_MAX, LISTENERS_MAX, ProxyProtocol};
use super::http::BODY_BYTES_MAX;
use super::waf::WafMode;
use crate::reader::{Choice, Table, Unit};
use crate::units::{HostPattern, LogTarget, UrlPath};

/// Most routes of a node: they are found by host and then tried by prefix, so that hundreds cost little.
pub const ROUTES_MAX: usize = 1_024;

/// `[[routes]]`, checked: names unique, backends exist, no two for the same listener, host and prefix.
#[derive(Clone, Debug)]
pub struct Route {
    /// Name in metrics, events and logs.
    pub name: String,
    /// Indexes into `NodeConfig::listeners`; all of mode `l7`. Empty = every one of them.
    pub listeners: Vec<usize>,
    /// Hosts it serves; empty = any.
    pub hosts: Vec<HostPattern>,
    /// Path prefix, on segment borders; `/` = any.
    pub path_prefix: UrlPath,
    /// Indexes into `NodeConfig::backends`; never empty.
    pub backends: Vec<usize>,
    /// Requests per second from one source; `None` = no limit of its own.
    pub request_rate: Option<u32>,
    /// Requests a source may send at once above that rate.
    pub request_burst: u32,
    /// Request body, bytes; `None` = as `[http]` says.
    pub body_bytes_max: Option<u64>,
    /// Time for the head of a response; `None` = as `[http.upstream]` says.
    pub response_timeout: Option<Duration>,
    /// How rules of the WAF are asked; `None` = as the listener says.
    pub waf: Option<WafMode>,
    /// Whether its backends get a PROXY header; `None` = as the listener says.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// A `[[routes]]` entry as written.
pub(crate) struct RouteEntry {
    pub(crate) name: Option<String>,
    pub(crate) listeners: Vec<String>,
    pub(crate) backends: Vec<String>,
    pub(crate) rest: Route,
    pub(crate) line: Option<usize>,
}

impl RouteEntry {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let name = t.text_optional("name", "Name in metrics, events and logs. Without it `route-N`.");
        let listeners = t.list(
            "listeners",
            &[],
            LISTENERS_MAX,
            "Names of the listeners it is for, all of mode `l7`. Empty = every one of them.",
        );
        let hosts = t.list("hosts", &[], 256, "Hosts it serves; empty = any.");
        let path_prefix = t.value(
            "path_prefix",
            "/",
            "Path prefix on segment borders: `/a` is `/a` and `/a/b`, not `/ab`.",
        );
        let backends = t.list(
            "backends",
            &[],
            BACKENDS_MAX,
            "Names or groups of the backends that serve it; empty = every backend.",
        );
        let request_rate = t.limit(
            "request_rate",
            0,
            1_000_000_000,
            "requests/s",
            "Requests per second from one source to this route, beside `[waf] rate_limit_rps`; 0 = no limit.",
        );
        let request_burst = t.integer(
            "request_burst",
            20,
            1..=1_000_000,
            "requests",
            "How many requests a source may send at once above that rate.",
        );
        let body_bytes_max = t.limit_wide(
            "max_body_bytes",
            0,
            BODY_BYTES_MAX,
            "bytes",
            "Request body; 0 = as `[http] max_body_bytes` says.",
        );
        let response_timeout = t.duration_optional(
            "response_timeout",
            Duration::from_millis(1)..=Duration::from_secs(86_400),
            Unit::Seconds,
            "Overrides `[http.upstream] response_timeout`.",
        );
        let waf = t.choice_optional(
            "waf",
            "Whether rules of `[waf]` are asked about its requests; without it as the listener says.",
        );
        let proxy_protocol = t.choice_optional(
            "proxy_protocol",
            "Overrides the listener's `proxy_protocol` for the backends of this route.",
        );
        let rest = Route {
            name: String::new(),
            listeners: Vec::new(),
            hosts,
            path_prefix,
            backends: Vec::new(),
            request_rate,
            request_burst,
            body_bytes_max,
            response_timeout,
            waf,
            proxy_protocol,
        };
        Self { name, listeners, backends, rest, line: t.line() }
    }
}

/// How lines of the access log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One JSON object per line.
    Json,
}

impl Choice for AccessLogFormat {
    const ALL: &'static [(&'static str, Self)] = &[("json", Self::Json)];
}

/// `[access_log]`.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// Where lines go.
    pub target: LogTarget,
    /// How lines look.
    pub format: AccessLogFormat,
    /// Share of requests that are written, 0 to 1. Refused and failed ones always are.
    pub sample: f64,
    /// Lines waiting to be written before further ones are dropped and counted.
    pub queue_lines: usize,
}

impl AccessLog {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            target: t.value(
                "path",
                "off",
                "File that lines are appended to (opened again at reload, for rotation), `stdout`, or `off`.",
            ),
            format: t.choice("format", AccessLogFormat::Json, "One JSON object per line."),
            sample: t.fraction(
                "sample",
                1.0,
                "Share of requests that are written. Those that the node refused or that failed always are.",
            ),
            queue_lines: t.integer(
                "queue_lines",
                8_192,
                64..=1_048_576,
                "lines",
                "Lines waiting for a slow disk; further ones are dropped and counted, workers never wait.",
            ),
        }
    }
}
