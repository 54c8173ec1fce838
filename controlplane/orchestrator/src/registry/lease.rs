//! How long a node counts as alive without a word.
//!
//! Owns: the arithmetic. Pure: the clock is passed in.

use secbeat_config::orchestrator::Fleet;

/// What a node's silence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Heard of in time.
    Held,
    /// Too long ago.
    Ended,
}

/// The limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leases {
    /// Silence after which a node is dead, milliseconds.
    pub silence_ms_max: u64,
    /// Since when this process could hear nodes, milliseconds since 1970: silence before it says nothing.
    pub listening_since_ms: u64,
}

impl Leases {
    /// From `[fleet]`: so many missed heartbeats, and the time one may be late.
    pub fn new(fleet: &Fleet, listening_since_ms: u64) -> Self {
        let silence = fleet.heartbeat_interval * u32::from(fleet.missed_max) + fleet.heartbeat_timeout;
        let silence_ms_max = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
        Self { silence_ms_max, listening_since_ms }
    }

    /// Whether a node that was last heard of then still counts. An open stream does not help: it may be half dead.
    pub fn of(self, last_seen_ms: u64, now_ms: u64) -> Lease {
        let heard_ms = last_seen_ms.max(self.listening_since_ms);
        if now_ms.saturating_sub(heard_ms) > self.silence_ms_max { Lease::Ended } else { Lease::Held }
    }
}
