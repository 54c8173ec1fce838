//! What an agent is told.
//!
//! Owns: where the orchestrator is, who the node is, and how patient the agent is. Does not own: reading the
//! configuration (`secbeat_config`).

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;

use secbeat_config::Secret;
use uuid::Uuid;

use super::policy::Restored;

/// Shortest wait between two attempts to connect.
pub const RETRY_MIN: Duration = Duration::from_millis(200);

/// Longest wait between two attempts to connect.
pub const RETRY_MAX: Duration = Duration::from_secs(30);

/// How long connecting, TLS and the first answer may take each.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What an agent is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://` or `https://`, host and port.
    pub url: String,
    /// Who the node is; made once and kept.
    pub node_id: Uuid,
    /// Speak without TLS with other machines.
    pub allow_plaintext: bool,
    /// PEM of the authority that the orchestrator's certificate is of, for the first contact.
    pub authority: Option<PathBuf>,
    /// What a certificate is asked for with.
    pub join_token: Option<Secret>,
    /// Free words for grouping nodes.
    pub labels: BTreeMap<String, String>,
    /// Where key, certificate and authority are kept; `None`: nothing is, and there is no TLS.
    pub identity_dir: Option<PathBuf>,
    /// Where the last policy is kept; `None`: only in memory.
    pub policy_path: Option<PathBuf>,
    /// What the node holds already.
    pub restored: Restored,
    /// Shortest and longest wait between attempts.
    pub retry: (Duration, Duration),
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Time between heartbeats until the orchestrator names another.
    pub heartbeat_interval: Duration,
    /// How long the other end may be silent on a ping.
    pub heartbeat_timeout: Duration,
    /// Heartbeats that may not get out in a row until the connection is given up.
    pub heartbeats_missed_max: u8,
    /// Time between reports of numbers until the orchestrator names another.
    pub telemetry_interval: Duration,
}

impl Settings {
    /// An agent that keeps nothing on disk and speaks without TLS with this machine.
    pub fn new(url: impl Into<String>, node_id: Uuid) -> Self {
        Self {
            url: url.into(),
            node_id,
            allow_plaintext: false,
            authority: None,
            join_token: None,
            labels: BTreeMap::new(),
            identity_dir: None,
            policy_path: None,
            restored: Restored::default(),
            retry: (RETRY_MIN, RETRY_MAX),
            connect_timeout: CONNECT_TIMEOUT,
            heartbeat_interval: Duration::from_secs(30),
            heartbeat_timeout: Duration::from_secs(10),
            heartbeats_missed_max: 3,
            telemetry_interval: Duration::from_secs(1),
        }
    }
}
