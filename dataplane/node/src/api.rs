//! The management API: what may be asked of a running node, and the small server that answers.
//!
//! Owns: HTTP over a bounded number of plain connections, the routes of `/health`, `/metrics` and `/api/v1`,
//! who may use them, and the JSON they speak. Does not own: the node. What it can do is [`Control`], which
//! `start` implements; numbers come from [`Telemetry`], past events from [`EventLog`].
//!
//! Runs in threads of its own and may block there. TLS is not part of it yet: off loopback a token is
//! required, and the connection should go through something that encrypts.

mod answer;
mod body;
pub mod events;
pub mod request;
mod routes;
mod server;
mod waf;

use core::time::Duration;
use std::time::SystemTime;

use ipnet::IpNet;
use secbeat_config::waf_rules::Rule;
use serde::Serialize;

pub use events::{Class, EventLog, Level, SecurityEvent};
pub use server::{ApiSettings, Server};
pub use waf::{WafFailure, WafRules};

use crate::agent;
use crate::lists::{Ban, BanRequest, Banned, Refusal};

/// What the API asks of the node. `start` implements it; each call may take a lock and a few milliseconds,
/// and must not wait for a worker.
pub trait Control: Send + Sync {
    /// How the node is.
    fn status(&self) -> Status;

    /// Sets a ban. When this returns, the ban is saved, and on its way to workers and XDP.
    ///
    /// # Errors
    /// Why it was refused.
    fn block(&self, request: BanRequest) -> Result<Banned, Refusal>;

    /// Lifts a ban.
    ///
    /// # Errors
    /// Why it was refused.
    fn unblock(&self, prefix: IpNet) -> Result<Ban, Refusal>;

    /// Up to `count_max` bans after prefix `after` in the order of prefixes, and how many there are in all.
    fn bans(&self, after: Option<IpNet>, count_max: usize) -> (Vec<Ban>, usize);

    /// Reads the configuration again and brings into force what can change while the node runs.
    ///
    /// # Errors
    /// What is wrong with the configuration, as text for people; the old one stays in force.
    fn reload(&self) -> Result<Reloaded, String>;

    /// The WAF's rules; `None` when nothing is inspected.
    fn waf_rules(&self) -> Option<WafRules>;

    /// Adds a JSON rule, or replaces the one of its id. When this returns, it is saved and on its way to workers.
    ///
    /// # Errors
    /// Why it was refused.
    fn add_waf_rule(&self, rule: Rule) -> Result<(), WafFailure>;

    /// Removes a JSON rule that was added.
    ///
    /// # Errors
    /// Why it was refused.
    fn remove_waf_rule(&self, id: &str) -> Result<(), WafFailure>;
}

/// What a reload did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Reloaded {
    /// Number of the policy now in force.
    pub generation: u64,
    /// Keys that changed in the file but need a restart: `server.worker_threads`.
    pub needs_restart: Vec<String>,
    /// What else is worth saying.
    pub notes: Vec<String>,
}

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not all workers run yet.
    Starting,
    /// It works.
    Active,
    /// It takes no new connections and ends when the old ones have.
    Draining,
}

/// How a node is.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Where in its life.
    pub phase: Phase,
    /// Version of the program.
    pub version: &'static str,
    /// `tcp`, `syn` or `l7`.
    pub mode: &'static str,
    /// `xdp` or `socket`: what is in use.
    pub driver: &'static str,
    /// Why that driver and no better one; what was obtained (attach mode, zero-copy, huge pages).
    pub driver_notes: Vec<String>,
    /// Since when it runs.
    #[serde(serialize_with = "events::rfc3339")]
    pub started: SystemTime,
    /// Seconds since then.
    #[serde(rename = "uptime_seconds", serialize_with = "events::seconds")]
    pub uptime: Duration,
    /// Number of the policy in force.
    pub generation: u64,
    /// Connections at once.
    pub connections_active: u64,
    /// Requests being served now, in `l7` mode.
    pub requests_active: u64,
    /// The limit on connections.
    pub connections_max: u64,
    /// Bans in force.
    pub bans: usize,
    /// Workers, in order.
    pub workers: Vec<WorkerStatus>,
    /// Interfaces, in the order of their port number.
    pub interfaces: Vec<InterfaceStatus>,
    /// Listeners, in the order of the configuration.
    pub listeners: Vec<ListenerStatus>,
    /// Backends, in the order of the configuration.
    pub backends: Vec<BackendStatus>,
    /// The connection with the orchestrator; absent when the node is in no fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orchestrator: Option<agent::Status>,
}

/// One worker.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerStatus {
    /// Its number.
    pub worker: u16,
    /// The core it is pinned to.
    pub core: Option<u16>,
    /// Whether it still turns.
    pub alive: bool,
    /// Number of the policy it runs.
    pub generation: u64,
}

/// One interface.
#[derive(Clone, Debug, Serialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// `native` or `generic`.
    pub attach: String,
    /// Whether frames are copied between kernel and node.
    pub zero_copy: bool,
    /// Receive queues in use.
    pub queues: u16,
}

/// One listener.
#[derive(Clone, Debug, Serialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// `tcp`, `syn` or `l7`: what happens with its connections.
    pub mode: &'static str,
    /// Whether clients speak TLS with the node.
    pub tls: bool,
    /// Where it accepts.
    pub address: String,
    /// Whether it answers with SYN cookies now.
    pub cookies: bool,
    /// Who does: `xdp` or `worker`; absent while it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookies_at: Option<&'static str>,
    /// Kinds of attack going on.
    pub attacks: Vec<&'static str>,
}

/// One backend.
#[derive(Clone, Debug, Serialize)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// `up`, `down`, `ejected`, `draining`, `unresolved`.
    pub state: &'static str,
    /// Share of new connections.
    pub weight: u16,
    /// Connections at once.
    pub connections_active: u64,
    /// Connections since the start.
    pub connections: u64,
    /// Connections that failed since the start.
    pub failures: u64,
}
