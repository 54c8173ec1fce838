//! `config/orchestrator.toml`: what an orchestrator is given at start.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::autoscaling::read_document;
use crate::error::ConfigErrors;
use crate::export::Export;
use crate::layers::Layers;
use crate::node::Logging;
use crate::reader::{Choice, Table, Unit};
use crate::secret::Secret;

/// An orchestrator's configuration, checked.
#[derive(Clone, Debug)]
pub struct OrchestratorConfig {
    /// `[server]`
    pub server: Server,
    /// `[fleet]`
    pub fleet: Fleet,
    /// `[storage]`
    pub storage: Storage,
    /// `[experts]`
    pub experts: Experts,
    /// `[decisions]`
    pub decisions: Decisions,
    /// `[scaling] policy_path`
    pub scaling_policy: Option<PathBuf>,
    /// `[actions]`
    pub actions: Actions,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[access]`
    pub access: Access,
    /// `[tls]`
    pub tls: Tls,
    /// `[api]`
    pub api: Api,
    /// `[logging]`
    pub logging: Logging,
    /// `[[export]]`
    pub exports: Vec<Export>,
}

/// `[metrics]`: metrics and health of the orchestrator itself.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Serve `/metrics` and `/health`.
    pub enable: bool,
    /// Where.
    pub bind_address: SocketAddr,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// REST and console.
    pub bind_address: SocketAddr,
    /// gRPC for nodes and the command line tool.
    pub grpc_address: SocketAddr,
    /// Database and keys.
    pub state_dir: PathBuf,
}

/// `[fleet]`
#[derive(Clone, Debug)]
pub struct Fleet {
    /// How long a node may take to register.
    pub registration_timeout: Duration,
    /// Time between heartbeats that nodes are told.
    pub heartbeat_interval: Duration,
    /// How long a heartbeat may be late.
    pub heartbeat_timeout: Duration,
    /// Heartbeats missed in a row until a node counts as dead.
    pub missed_max: u8,
    /// Time between looks at the fleet's health.
    pub health_check_interval: Duration,
    /// Nodes at most.
    pub nodes_max: u32,
}

/// `[storage]`: how long things are kept.
#[derive(Clone, Debug)]
pub struct Storage {
    /// Security events.
    pub retention_events: Duration,
    /// Metrics of nodes.
    pub retention_metrics: Duration,
    /// Who did what.
    pub retention_audit: Duration,
}

/// `[experts]`: who is asked.
#[derive(Clone, Debug)]
pub struct Experts {
    /// Feeds of known attackers.
    pub threat_intelligence: bool,
    /// Unusual traffic.
    pub traffic_anomaly: bool,
    /// Slow attacks across the fleet.
    pub waf_heuristics: bool,
    /// Size of the fleet.
    pub resource_manager: bool,
}

/// What becomes of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecisionMode {
    /// Shown to people.
    Advise,
    /// Carried out.
    Act,
}

impl Choice for DecisionMode {
    const ALL: &'static [(&'static str, Self)] = &[("advise", Self::Advise), ("act", Self::Act)];
}

/// `[decisions]`
#[derive(Clone, Debug)]
pub struct Decisions {
    /// What becomes of a decision.
    pub mode: DecisionMode,
    /// First ban.
    pub ban_time: Duration,
    /// Longest ban; every automatic action ends.
    pub ban_time_max: Duration,
    /// Share of honest traffic, as a fraction, above which a decision is not carried out.
    pub collateral_max: f64,
}

/// `[actions]`
#[derive(Clone, Debug)]
pub struct Actions {
    /// Where webhooks go.
    pub webhook_url: Option<String>,
    /// What they are signed with; always set when there is an address.
    pub webhook_secret: Option<Secret>,
    /// How long an answer may take.
    pub webhook_timeout: Duration,
    /// Attempts after the first.
    pub webhook_retries: u8,
}

/// `[access]`: who is let in.
#[derive(Clone, Debug)]
pub struct Access {
    /// Whether whoever is on this machine is the administrator, and needs neither token nor TLS.
    pub loopback_open: bool,
    /// Longest life of a token.
    pub token_lifetime_max: Duration,
    /// Life of the certificates that the built-in authority signs.
    pub certificate_lifetime: Duration,
}

/// `[tls]`: a server certificate of one's own, in place of one by the built-in authority.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM, the server's certificate first.
    pub cert_path: Option<PathBuf>,
    /// PEM.
    pub key_path: Option<PathBuf>,
}

/// `[api]`: limits of what one client may ask.
#[derive(Clone, Debug)]
pub struct Api {
    /// Requests per second of one address, or of one token or certificate.
    pub rate_limit_rps: u32,
    /// Longest body of a request.
    pub body_bytes_max: u32,
    /// Connections of each listener.
    pub connections_max: u32,
}

impl OrchestratorConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(
        name: &str,
        text: &str,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigErrors> {
        let layers = Layers { environment: environment.clone(), ..Layers::default() };
        read_document(name, text, &layers, Self::read)
    }

    fn read(t: &mut Table<'_>) -> Self {
        Self {
            server: t.section("server", |t| Server {
                bind_address: t.value("bind_address", "127.0.0.1:9090", "REST and console."),
                grpc_address: t.value("grpc_address", "127.0.0.1:9443", "gRPC."),
                state_dir: t.value("state_dir", "/var/lib/secbeat-orchestrator", "Database and keys."),
            }),
            fleet: t.section("fleet", Fleet::read),
            storage: t.section("storage", Storage::read),
            experts: t.section("experts", |t| Experts {
                threat_intelligence: t.boolean("threat_intelligence", true, "Feeds of known attackers."),
                traffic_anomaly: t.boolean("traffic_anomaly", true, "Unusual traffic."),
                waf_heuristics: t.boolean("waf_heuristics", true, "Slow attacks across the fleet."),
                resource_manager: t.boolean("resource_manager", true, "Size of the fleet."),
            }),
            decisions: t.section("decisions", Decisions::read),
            scaling_policy: t
                .section("scaling", |t| t.value_optional("policy_path", "When the fleet grows and shrinks.")),
            actions: t.section("actions", Actions::read),
            metrics: t.section("metrics", |t| Metrics {
                enable: t.boolean("enable", true, "Serve `/metrics` and `/health`."),
                bind_address: t.value("bind_address", "127.0.0.1:9192", "Where."),
            }),
            access: t.section("access", Access::read),
            tls: t.section("tls", Tls::read),
            api: t.section("api", Api::read),
            logging: t.section("logging", Logging::read),
            exports: Export::read_all(t),
        }
    }
}

impl Fleet {
    fn read(t: &mut Table<'_>) -> Self {
        let range = Duration::from_secs(1)..=Duration::from_secs(3_600);
        let mut seconds = |key, default, text| {
            t.duration(key, Duration::from_secs(default), range.clone(), Unit::Seconds, text)
        };
        let fleet = Self {
            registration_timeout: seconds(
                "registration_timeout",
                60,
                "How long a node may take to register.",
            ),
            heartbeat_interval: seconds("heartbeat_interval", 30, "Time between heartbeats."),
            heartbeat_timeout: seconds("heartbeat_timeout", 10, "How long a heartbeat may be late."),
            health_check_interval: seconds("health_check_interval", 15, "Time between looks at the fleet."),
            missed_max: t.integer(
                "max_missed",
                3,
                1..=100,
                "heartbeats",
                "Heartbeats missed until a node counts as dead.",
            ),
            nodes_max: t.integer("max_nodes", 1_000, 1..=100_000, "nodes", "Nodes at most."),
        };
        if fleet.heartbeat_timeout > fleet.heartbeat_interval {
            t.conflict("heartbeat_timeout", "is longer than heartbeat_interval");
        }
        fleet
    }
}

impl Storage {
    fn read(t: &mut Table<'_>) -> Self {
        let range = Duration::from_secs(3_600)..=Duration::from_secs(3_650 * 86_400);
        let mut days = |key, default: u64, text| {
            t.duration(key, Duration::from_secs(default * 86_400), range.clone(), Unit::Seconds, text)
        };
        Self {
            retention_events: days("retention_events", 30, "How long security events are kept."),
            retention_metrics: days("retention_metrics", 7, "How long metrics are kept."),
            retention_audit: days("retention_audit", 365, "How long it is kept who did what."),
        }
    }
}

impl Decisions {
    fn read(t: &mut Table<'_>) -> Self {
        let range = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);
        let decisions = Self {
            mode: t.choice("mode", DecisionMode::Advise, "Show decisions to people, or carry them out."),
            ban_time: t.duration(
                "ban_time",
                Duration::from_secs(900),
                range.clone(),
                Unit::Seconds,
                "First ban.",
            ),
            ban_time_max: t.duration(
                "ban_time_max",
                Duration::from_secs(86_400),
                range,
                Unit::Seconds,
                "Longest ban.",
            ),
            collateral_max: t.number(
                "collateral_max_percent",
                1.0,
                0.0..=100.0,
                "percent",
                "Share of honest traffic that a decision may hit.",
            ) / 100.0,
        };
        if decisions.ban_time > decisions.ban_time_max {
            t.conflict("ban_time", "is longer than ban_time_max");
        }
        decisions
    }
}

impl Actions {
    fn read(t: &mut Table<'_>) -> Self {
        let range = Duration::from_secs(1)..=Duration::from_secs(300);
        let actions = Self {
            webhook_url: t.text_optional("webhook_url", "Where webhooks go."),
            webhook_secret: t.secret("webhook_secret", "What webhooks are signed with."),
            webhook_timeout: t.duration(
                "webhook_timeout",
                Duration::from_secs(10),
                range,
                Unit::Seconds,
                "How long an answer may take.",
            ),
            webhook_retries: t.integer("webhook_retries", 5, 0..=20, "attempts", "Attempts after the first."),
        };
        if actions.webhook_url.is_some() && actions.webhook_secret.is_none() {
            t.conflict(
                "webhook_url",
                "needs webhook_secret: an unsigned order to build machines could come from anybody",
            );
        }
        actions
    }
}

impl Access {
    fn read(t: &mut Table<'_>) -> Self {
        let day = Duration::from_secs(86_400);
        let mut days = |key, default: u32, from: Duration, text| {
            t.duration(key, default * day, from..=3_650 * day, Unit::Seconds, text)
        };
        let token_lifetime_max =
            days("token_lifetime_max", 365, Duration::from_secs(3_600), "Longest life of a token.");
        // Certificates are renewed after two thirds of their life, and looked at once a day.
        let certificate_lifetime =
            days("certificate_lifetime", 30, 7 * day, "Life of the certificates that the authority signs.");
        Self {
            loopback_open: t.boolean(
                "loopback_open",
                false,
                "Whoever is on this machine is the administrator, without token and TLS.",
            ),
            token_lifetime_max,
            certificate_lifetime,
        }
    }
}

impl Tls {
    fn read(t: &mut Table<'_>) -> Self {
        let tls = Self {
            cert_path: t.value_optional(
                "cert_path",
                "Certificate of the servers (PEM), in place of the authority's.",
            ),
            key_path: t.value_optional("key_path", "Its key (PEM)."),
        };
        if tls.cert_path.is_some() != tls.key_path.is_some() {
            t.conflict("cert_path", "and key_path need each other");
        }
        tls
    }
}

impl Api {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            rate_limit_rps: t.integer(
                "rate_limit_rps",
                50,
                1..=100_000,
                "requests/s",
                "Requests per second of one client.",
            ),
            body_bytes_max: t.integer(
                "body_bytes_max",
                4 << 20,
                1_024..=(64 << 20),
                "bytes",
                "Longest body of a request.",
            ),
            connections_max: t.integer(
                "connections_max",
                4_096,
                16..=100_000,
                "connections",
                "Connections of each listener.",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
