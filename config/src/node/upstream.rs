//! `[http.upstream]`: connections towards backends in `l7` mode.

use core::time::Duration;

use crate::reader::{Table, Unit};

/// `[http.upstream]`. A `None` is a limit that is switched off.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Time for a TCP connection.
    pub connect_timeout: Duration,
    /// Time from the last byte of a request to the head of its response.
    pub response_timeout: Duration,
    /// Time without a byte inside a response, or without a byte taken of a request.
    pub idle_timeout: Duration,
    /// How long an unused connection is kept for the next request.
    pub keepalive_timeout: Duration,
    /// Unused connections kept per worker and backend.
    pub idle_max: u32,
    /// Requests that wait for a connection per worker and backend group.
    pub waiting_max: u32,
    /// Other backends tried when one fails before its first byte.
    pub retries: u8,
    /// Share of failed requests that opens the breaker, percent; `None` = no breaker.
    pub breaker_percent: Option<u32>,
    /// Fewest requests within the window that the share is taken of.
    pub breaker_requests_min: u32,
    /// Time the share is taken over.
    pub breaker_window: Duration,
    /// How long the breaker stays open before one request tries again.
    pub breaker_time: Duration,
}

impl Upstream {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let millisecond = Duration::from_millis(1);
        let second = Duration::from_secs(1);
        let hour = Duration::from_secs(3_600);
        Self {
            connect_timeout: t.duration(
                "connect_timeout",
                Duration::from_secs(3),
                millisecond..=Duration::from_secs(60),
                Unit::Seconds,
                "Time for a connection to a backend; then the next backend is tried.",
            ),
            response_timeout: t.duration(
                "response_timeout",
                Duration::from_secs(60),
                millisecond..=hour,
                Unit::Seconds,
                "Time from the last byte of a request to the head of its response; then 504.",
            ),
            idle_timeout: t.duration(
                "idle_timeout",
                Duration::from_secs(60),
                millisecond..=hour,
                Unit::Seconds,
                "Time a backend may pause inside a response, or while it takes a request.",
            ),
            keepalive_timeout: t.duration(
                "keepalive_timeout",
                Duration::from_secs(30),
                Duration::ZERO..=hour,
                Unit::Seconds,
                "How long an unused connection is kept for the next request. Keep it below the backend's own \
                 limit. 0 = a new connection for every request.",
            ),
            idle_max: t.integer(
                "max_idle",
                64,
                0..=65_536,
                "connections",
                "Unused connections kept per worker and backend; further ones are closed.",
            ),
            waiting_max: t.integer(
                "max_waiting",
                256,
                0..=65_536,
                "requests",
                "Requests per worker that wait for a connection when every backend has `max_connections`; \
                 further ones are answered with 503.",
            ),
            retries: t.integer(
                "retries",
                2,
                0..=16,
                "backends",
                "Other backends tried when one fails before the first byte of its response. A request whose \
                 body was sent, or that is not idempotent (RFC 9110 §9.2.2), is tried again only if the \
                 backend never had it.",
            ),
            breaker_percent: t.limit(
                "breaker_percent",
                50,
                100,
                "percent",
                "Share of requests to a backend that fail (no connection, no answer, 5xx of a gateway) above \
                 which it gets none for `breaker_time`; 0 = never.",
            ),
            breaker_requests_min: t.integer(
                "breaker_min_requests",
                20,
                1..=1_000_000,
                "requests",
                "Fewest requests within `breaker_window` that the share is taken of.",
            ),
            breaker_window: t.duration(
                "breaker_window",
                Duration::from_secs(10),
                second..=Duration::from_secs(600),
                Unit::Seconds,
                "Time over which the share is taken.",
            ),
            breaker_time: t.duration(
                "breaker_time",
                Duration::from_secs(5),
                Duration::from_millis(100)..=Duration::from_secs(600),
                Unit::Seconds,
                "How long a backend gets no request before a single one tries it again.",
            ),
        }
    }
}
