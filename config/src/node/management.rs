//! `[metrics]`, `[api]`, `[orchestrator]`: how people and machines reach the node.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::reader::{Table, Unit, Value};
use crate::secret::Secret;

/// Labels of a node.
const LABELS_MAX: usize = 16;

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
    /// Speak without TLS with another machine.
    pub allow_plaintext: bool,
    /// The authority that the orchestrator's certificate is of.
    pub ca_path: Option<PathBuf>,
    /// What the node's first certificate is asked for with.
    pub join_token: Option<Secret>,
    /// For grouping nodes.
    pub labels: BTreeMap<String, String>,
    /// Longest time between attempts to register.
    pub register_interval: Duration,
    /// Security events that wait for the orchestrator.
    pub events_queue: u32,
    /// Time between reports of numbers.
    pub telemetry_interval: Duration,
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
        let allow_plaintext = t.boolean(
            "allow_plaintext",
            false,
            "Let `url` be `http://` although it is another machine: anybody on the way can then rule this node.",
        );
        let ca_path = t.value_optional(
            "ca_path",
            "File (PEM) of the authority that the orchestrator's certificate is of; nobody else is trusted. Needed \
             with `https://` until the node has its own certificate.",
        );
        let join_token = t.secret(
            "join_token",
            "What the node's first certificate is asked for with: a token with the scope `join`.",
        );
        let labels: Vec<Label> =
            t.list("labels", &[], LABELS_MAX, "For grouping nodes, e.g. `[\"site=fra\", \"role=edge\"]`.");
        let labels = labels.into_iter().map(|label| (label.name, label.value)).collect();
        let register_interval = t.duration(
            "register_interval",
            default,
            second..=hour,
            Unit::Seconds,
            "Longest time between attempts to register; they begin a fifth of a second apart.",
        );
        let events_queue = t.integer(
            "events_queue",
            10_000,
            100..=1_000_000,
            "events",
            "Security events that wait for the orchestrator; the oldest goes when full, and is counted.",
        );
        let telemetry_interval = t.duration(
            "telemetry_interval",
            second,
            Duration::from_millis(100)..=hour,
            Unit::Seconds,
            "Time between reports of numbers, unless the orchestrator names another.",
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
        Self {
            enabled,
            url,
            allow_plaintext,
            ca_path,
            join_token,
            labels,
            register_interval,
            events_queue,
            telemetry_interval,
            heartbeat,
        }
    }
}

/// One label: `name=value`.
struct Label {
    name: String,
    value: String,
}

impl Value for Label {
    const EXPECTED: &'static str = "name=value, each 1 to 63 letters, digits, `-`, `_`, `.`";

    fn parse(text: &str) -> Result<Self, String> {
        let is_word = |word: &str| {
            (1..=63).contains(&word.len())
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        };
        match text.split_once('=') {
            Some((name, value)) if is_word(name) && is_word(value) => {
                Ok(Self { name: name.into(), value: value.into() })
            }
            _ => Err(format!("is not {}", Self::EXPECTED)),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn labels_are_pairs_of_words() {
        let read = |labels: &str| crate::parse(&format!("[orchestrator]\nlabels = {labels}\n"));
        let labels = read(r#"["site=fra", "role=edge"]"#).unwrap().orchestrator.labels;
        assert_eq!(
            labels.into_iter().collect::<Vec<_>>(),
            [("role", "edge"), ("site", "fra")].map(|(n, v)| (n.into(), v.into()))
        );
        for wrong in [r#"["site"]"#, r#"["=fra"]"#, r#"["a b=c"]"#] {
            assert!(read(wrong).unwrap_err().to_string().contains("name=value"), "{wrong}");
        }
    }
}
