//! What a rollout knows of the nodes.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Shares of a node's traffic that a change must not raise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Validated traffic that was dropped.
    pub dropped: f64,
    /// Responses 5xx.
    pub failed: f64,
}

/// What a node made of the newest policy that it answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// Took everything.
    #[default]
    Took,
    /// Refused these: key and error.
    Refused(Vec<(String, String)>),
}

/// One node, now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    /// A stream is open.
    pub is_connected: bool,
    /// Takes traffic.
    pub is_active: bool,
    /// Since when there is no stream.
    pub disconnected_ms: u64,
    /// Newest revision that was sent to it.
    pub sent_revision: u64,
    /// Newest revision that it answered completely.
    pub answered_revision: u64,
    /// What it answered.
    pub answer: Answer,
    /// Its traffic, and when it said so.
    pub shares: Option<Shares>,
    /// When it said so, milliseconds since 1970, our clock.
    pub shares_ms: u64,
}

/// A node refused a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which node.
    pub node: Uuid,
    /// Which resource: `filter-set/edge`.
    pub key: String,
    /// Why, in its words.
    pub error: String,
}
