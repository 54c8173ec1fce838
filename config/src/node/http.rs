//! `[http]`: limits and timeouts of requests, and what is told to backends and clients.
//!
//! Owns: the numbers and their reasons. Does not own: what counts as a well-formed message (`http`).
//! Idle time between requests is `[server] keepalive_timeout`.

use core::time::Duration;
use std::path::PathBuf;

use ipnet::IpNet;

use super::upstream::Upstream;
use crate::reader::{Choice, Table, Unit};
use crate::units::{HeaderName, UrlPath};

/// Largest body limit that can be written, in bytes: 1 PiB, beyond any real body.
pub(crate) const BODY_BYTES_MAX: i64 = 1 << 50;

/// How backends learn who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedStyle {
    /// `X-Forwarded-For`, `-Proto`, `-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// Both.
    Both,
    /// Neither; what the client sent is removed all the same.
    Off,
}

impl Choice for ForwardedStyle {
    const ALL: &'static [(&'static str, Self)] = &[
        ("x_forwarded", Self::XForwarded),
        ("forwarded", Self::Forwarded),
        ("both", Self::Both),
        ("off", Self::Off),
    ];
}

/// What clients see as `Server`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerHeader {
    /// What the backend says.
    Pass,
    /// Nothing.
    Remove,
    /// `secbeat`.
    Secbeat,
}

impl Choice for ServerHeader {
    const ALL: &'static [(&'static str, Self)] =
        &[("pass", Self::Pass), ("remove", Self::Remove), ("secbeat", Self::Secbeat)];
}

/// The body of an answer that the node itself gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// Status codes it is for; empty = every other one.
    pub statuses: Vec<u16>,
    /// HTML; `{status}`, `{reason}` and `{request_id}` are filled in.
    pub path: PathBuf,
}

impl ErrorPage {
    fn read(t: &mut Table<'_>) -> Self {
        let page = Self {
            statuses: t.list(
                "statuses",
                &[],
                64,
                "Status codes the page is for; empty = every one without a page of its own.",
            ),
            path: t.required(
                "path",
                "error.html",
                "HTML file of at most 64 KiB; `{status}`, `{reason}` and `{request_id}` in it are filled in.",
            ),
        };
        for status in &page.statuses {
            if !(400..=599).contains(status) {
                t.invalid("statuses", &status.to_string(), "is not an error: must be 400 to 599");
            }
        }
        page
    }
}

/// `[http]`. A `None` is a limit that is switched off.
#[derive(Clone, Debug)]
pub struct Http {
    /// Request line and header fields together, bytes.
    pub head_bytes_max: usize,
    /// Header fields of a request or response.
    pub fields_max: usize,
    /// Request target, bytes.
    pub target_bytes_max: usize,
    /// Request body, bytes.
    pub body_bytes_max: Option<u64>,
    /// Time from the first byte of a head to its last.
    pub head_timeout: Duration,
    /// Bytes per second that a client must send of a body.
    pub body_rate_min: Option<u32>,
    /// Bytes per second that a client must take of a response.
    pub response_rate_min: Option<u32>,
    /// How long both rates are not looked at, and the time they are averaged over.
    pub rate_grace: Duration,
    /// Time from the first byte of a request to the last byte of its response.
    pub request_timeout: Option<Duration>,
    /// Time without a byte in either direction after which an upgraded connection is closed.
    pub tunnel_idle_timeout: Duration,
    /// Requests on one connection.
    pub requests_max: Option<u32>,
    /// Whether `Upgrade` (WebSocket) is passed through.
    pub upgrade: bool,
    /// Whether targets that climb out of their root are refused.
    pub refuse_traversal: bool,
    /// How backends learn who the client is.
    pub forwarded: ForwardedStyle,
    /// Proxies in front of us whose word about the client is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Field that carries the request's id, lower case; `None` = none.
    pub request_id_header: Option<HeaderName>,
    /// What clients see as `Server`.
    pub server_header: ServerHeader,
    /// Path that the node answers itself, before limits and inspection; `None` = none.
    pub health_path: Option<UrlPath>,
    /// `[[http.error_pages]]`
    pub error_pages: Vec<ErrorPage>,
    /// `[http.h2]`
    pub h2: H2,
    /// `[http.upstream]`
    pub upstream: Upstream,
}

impl Http {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let second = Duration::from_secs(1);
        let (head_bytes_max, fields_max, target_bytes_max, body_bytes_max) = read_sizes(t);
        let head_timeout = t.duration(
            "head_timeout",
            Duration::from_secs(10),
            Duration::from_millis(100)..=Duration::from_secs(300),
            Unit::Seconds,
            "Time from the first byte of a request's head to its last; longer is answered with 408.",
        );
        let (body_rate_min, response_rate_min, rate_grace) = read_rates(t);
        let http = Self {
            head_bytes_max,
            fields_max,
            target_bytes_max,
            body_bytes_max,
            head_timeout,
            body_rate_min,
            response_rate_min,
            rate_grace,
            request_timeout: t.duration_limit(
                "request_timeout",
                Duration::from_secs(3_600),
                Duration::from_secs(7 * 86_400),
                Unit::Seconds,
                "Time from the first byte of a request to the last of its response; 0 = no limit. Upgraded \
                 connections are not meant.",
            ),
            tunnel_idle_timeout: t.duration(
                "tunnel_idle_timeout",
                Duration::from_secs(600),
                second..=Duration::from_secs(86_400),
                Unit::Seconds,
                "Time without a byte in either direction after which an upgraded connection is closed.",
            ),
            requests_max: t.limit(
                "max_requests",
                10_000,
                1_000_000_000,
                "requests",
                "Requests on one connection, after which it is closed politely, so that load can move to \
                 another worker or node; 0 = no limit.",
            ),
            upgrade: t.boolean("upgrade", true, "Pass `Upgrade` (WebSocket) through to backends."),
            refuse_traversal: t.boolean(
                "refuse_traversal",
                true,
                "Answer targets that climb out of their root (`/../`, also encoded) with 400.",
            ),
            forwarded: t.choice(
                "forwarded",
                ForwardedStyle::XForwarded,
                "How backends learn who the client is: `X-Forwarded-For/-Proto/-Host`, `Forwarded` (RFC \
                 7239), both or neither. What a client that is no trusted proxy says about itself is removed.",
            ),
            trusted_proxies: t.list(
                "trusted_proxies",
                &[],
                256,
                "Proxies in front of the node whose forwarding fields and request ids are taken over.",
            ),
            request_id_header: t.value_or_off(
                "request_id_header",
                "x-request-id",
                "Field that carries a request's id to the backend, the client and the access log; `\"\"` = \
                 none.",
            ),
            server_header: t.choice(
                "server_header",
                ServerHeader::Pass,
                "What clients see as `Server`: the backend's, nothing, or `secbeat`.",
            ),
            health_path: t.value_or_off(
                "health_path",
                "/health",
                "Path on every `l7` listener that the node answers itself with 200 (503 while it drains), \
                 before limits and inspection; `\"\"` = none.",
            ),
            error_pages: t.tables("error_pages", 64, ErrorPage::read),
            h2: t.section("h2", H2::read),
            upstream: t.section("upstream", Upstream::read),
        };
        check(t, &http);
        http
    }
}

/// How large a request may be.
fn read_sizes(t: &mut Table<'_>) -> (usize, usize, usize, Option<u64>) {
    let head_bytes_max = t.integer(
        "max_head_bytes",
        16_384,
        1_024..=65_536,
        "bytes",
        "Request line and header fields together; more is answered with 431. Held while it arrives, \
         so it bounds what a slow client can make the node keep.",
    );
    let fields_max = t.integer(
        "max_fields",
        100,
        8..=512,
        "fields",
        "Header fields of a request or response; more is answered with 431 (towards clients) or 502.",
    );
    let target_bytes_max = t.integer(
        "max_target_bytes",
        8_192,
        64..=65_536,
        "bytes",
        "Request target; longer is answered with 414.",
    );
    let body_bytes_max = t.limit_wide(
        "max_body_bytes",
        0,
        BODY_BYTES_MAX,
        "bytes",
        "Request body; more is answered with 413. 0 = no limit: bodies are streamed and cost no \
         memory.",
    );
    (head_bytes_max, fields_max, target_bytes_max, body_bytes_max)
}

/// How slow a client may be.
fn read_rates(t: &mut Table<'_>) -> (Option<u32>, Option<u32>, Duration) {
    let second = Duration::from_secs(1);
    let body_rate_min = t.limit(
        "min_body_rate",
        500,
        1_000_000_000,
        "bytes/s",
        "How fast a client must send a body, on average over `rate_grace`; slower ends with 408. \
         0 = any.",
    );
    let response_rate_min = t.limit(
        "min_response_rate",
        500,
        1_000_000_000,
        "bytes/s",
        "How fast a client must take a response, on average over `rate_grace`; slower is reset. \
         0 = any.",
    );
    let rate_grace = t.duration(
        "rate_grace",
        Duration::from_secs(10),
        second..=Duration::from_secs(300),
        Unit::Seconds,
        "Time over which the two rates above are averaged, and which every body is given at first.",
    );
    (body_rate_min, response_rate_min, rate_grace)
}

fn check(t: &Table<'_>, http: &Http) {
    if http.target_bytes_max > http.head_bytes_max {
        t.conflict("max_target_bytes", "is above max_head_bytes, which such a target could never pass");
    }
    if http.request_timeout.is_some_and(|total| total < http.head_timeout) {
        t.conflict("request_timeout", "is shorter than `head_timeout`");
    }
    let mut seen = Vec::new();
    for page in &http.error_pages {
        let statuses = if page.statuses.is_empty() { &[0][..] } else { &page.statuses };
        for status in statuses {
            if seen.contains(status) {
                let what = if *status == 0 { "every other status".into() } else { status.to_string() };
                t.conflict("error_pages", &format!("two pages are for {what}"));
            }
            seen.push(*status);
        }
    }
}

/// `[http.h2]`: limits of one HTTP/2 connection.
#[derive(Clone, Debug)]
pub struct H2 {
    /// Streams open at once.
    pub streams_max: u32,
    /// Receive window of a stream, bytes.
    pub stream_window_bytes: u32,
    /// Receive window of the connection, bytes.
    pub connection_window_bytes: u32,
    /// HPACK table that clients may use, bytes.
    pub header_table_bytes: u32,
    /// CONTINUATION frames of one head.
    pub continuations_max: u32,
    /// Streams per second that a client may reset.
    pub reset_rate: u32,
    /// Resets at once above the rate.
    pub reset_burst: u32,
    /// Frames per second that carry nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA.
    pub control_rate: u32,
    /// Such frames at once above the rate.
    pub control_burst: u32,
}

impl H2 {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            streams_max: t.integer(
                "max_concurrent_streams",
                100,
                1..=10_000,
                "streams",
                "Streams of one connection at once, as told to the client; more are refused.",
            ),
            stream_window_bytes: t.integer(
                "stream_window",
                65_535,
                16_384..=16_777_216,
                "bytes",
                "Receive window of one stream: how much of a body may wait for a slow backend.",
            ),
            connection_window_bytes: t.integer(
                "connection_window",
                262_144,
                65_535..=67_108_864,
                "bytes",
                "Receive window of a connection: how much all its bodies may make the node hold.",
            ),
            header_table_bytes: t.integer(
                "header_table_bytes",
                1_024,
                0..=65_536,
                "bytes",
                "HPACK table that a client may fill; every idle connection can hold as much.",
            ),
            continuations_max: t.integer(
                "max_continuations",
                8,
                1..=256,
                "frames",
                "CONTINUATION frames of one head, beyond which the connection is closed.",
            ),
            reset_rate: t.integer(
                "reset_rate",
                20,
                1..=1_000_000,
                "resets/s",
                "Streams per second that a client may reset; above it the connection is closed (rapid reset).",
            ),
            reset_burst: t.integer(
                "reset_burst",
                200,
                1..=1_000_000,
                "resets",
                "How many streams a client may reset at once above the rate: a browser that leaves a page \
                 resets all of them.",
            ),
            control_rate: t.integer(
                "control_rate",
                200,
                1..=1_000_000,
                "frames/s",
                "Frames per second that carry nothing (PING, SETTINGS, PRIORITY, empty DATA, tiny window \
                 updates); above it the connection is closed.",
            ),
            control_burst: t.integer(
                "control_burst",
                1_000,
                1..=1_000_000,
                "frames",
                "How many such frames may come at once above the rate.",
            ),
        }
    }
}
