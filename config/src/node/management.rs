//! `[metrics]`, `[api]`, `[orchestrator]`: how people and machines reach the node.

use core::net::SocketAddr;
use core::time::Duration;

use crate::reader::{Table, Unit};
use crate::secret::Secret;

/// `[metrics]`.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Serve metrics and the management API at all.
    pub enable: bool,
    /// Where: one listener for `/metrics`, `/health` and `/api/v1`.
    pub bind_address: SocketAddr,
}

impl Metrics {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            enable: t.boolean("enable", true, "Serve `/metrics`, `/health` and the management API."),
            bind_address: t.value(
                "bind_address",
                "127.0.0.1:9191",
                "Where. Anything but a loopback address needs `[api] token`.",
            ),
        }
    }
}

/// `[api]`.
#[derive(Clone, Debug)]
pub struct Api {
    /// Serve `/api/v1`; `/metrics` and `/health` do not depend on it.
    pub enable: bool,
    /// What a caller must present as `Authorization: Bearer`; always set when not on loopback.
    pub token: Option<Secret>,
    /// Let `/metrics` and `/health` be read without the token.
    pub metrics_without_token: bool,
    /// Connections at once.
    pub connections_max: u16,
    /// Threads that answer.
    pub threads: u8,
    /// How long a request may take to arrive, and an answer to be taken.
    pub timeout: Duration,
    /// Security events kept for `/api/v1/events`.
    pub events_max: u32,
}

impl Api {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            enable: t.boolean("enable", true, "Serve `/api/v1` beside `/metrics` and `/health`."),
            token: t.secret(
                "token",
                "What a caller must present as `Authorization: Bearer ...`, at least 16 characters. \
                 Required when `[metrics] bind_address` is not a loopback address.",
            ),
            metrics_without_token: t.boolean(
                "metrics_without_token",
                false,
                "Let `/metrics` and `/health` be read without the token.",
            ),
            connections_max: t.integer(
                "max_connections",
                64,
                1..=1_024,
                "connections",
                "Connections at once; further ones are closed and counted.",
            ),
            threads: t.integer("threads", 2, 1..=16, "threads", "Threads that answer."),
            timeout: t.duration(
                "timeout",
                Duration::from_secs(5),
                Duration::from_millis(100)..=Duration::from_secs(60),
                Unit::Seconds,
                "How long a request may take to arrive, and an answer to be taken.",
            ),
            events_max: t.integer(
                "max_events",
                10_000,
                100..=1_000_000,
                "events",
                "Security events kept for `/api/v1/events`; the oldest goes when full.",
            ),
        }
    }
}

/// `[orchestrator]`.
#[derive(Clone, Debug)]
pub struct Orchestrator {
    /// Join a fleet.
    pub enabled: bool,
    /// Where the orchestrator answers.
    pub url: String,
    /// Time between attempts to register.
    pub register_interval: Duration,
    /// `[orchestrator.heartbeat]`.
    pub heartbeat: Heartbeat,
}

/// `[orchestrator.heartbeat]`.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Time between two heartbeats.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Heartbeats missed in a row until the node registers anew.
    pub missed_max: u8,
}

impl Orchestrator {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        let second = Duration::from_secs(1);
        let hour = Duration::from_secs(3_600);
        let default = Duration::from_secs(30);
        let enabled = t.boolean("enabled", false, "Join a fleet. Everything on this page works without one.");
        let url: String = t.text(
            "url",
            "http://127.0.0.1:9090",
            "Where the orchestrator answers: `http://` or `https://`, host and port.",
        );
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            t.invalid("url", &url, "must start with http:// or https://");
        }
        let register_interval = t.duration(
            "register_interval",
            default,
            second..=hour,
            Unit::Seconds,
            "Time between attempts to register.",
        );
        let short = t.duration_optional(
            "heartbeat_interval",
            second..=hour,
            Unit::Seconds,
            "Short form of `[orchestrator.heartbeat] interval`.",
        );
        let heartbeat = t.section("heartbeat", |t| {
            let long = t.duration_optional(
                "interval",
                second..=hour,
                Unit::Seconds,
                "Time between two heartbeats; 30 s without it.",
            );
            if long.is_some() && short.is_some() && short != long {
                t.conflict("interval", "differs from [orchestrator] heartbeat_interval; give one of the two");
            }
            let interval = long.or(short).unwrap_or(default);
            let timeout = t.duration(
                "timeout",
                Duration::from_secs(10),
                second..=hour,
                Unit::Seconds,
                "How long an answer may take; never longer than the interval.",
            );
            let missed_max = t.integer(
                "max_missed",
                3,
                1..=100,
                "heartbeats",
                "Heartbeats missed in a row until the node registers anew.",
            );
            Heartbeat { interval, timeout: timeout.min(interval), missed_max }
        });
        Self { enabled, url, register_interval, heartbeat }
    }
}
