//! Numbers of all threads but the workers: control, API, logs, socket front.
//!
//! Several threads may write, so additions are atomic; none of it is on the packet path.

use core::sync::atomic::AtomicU64;

use super::RELAXED;
use super::counters::numbers;

numbers! {
    /// What is counted upwards outside the workers.
    NodeCounter {
        /// Prefixes banned since the start, renewals excluded.
        BansSet = "bans_set",
        /// Bans that ended by themselves or were lifted.
        BansEnded = "bans_ended",
        /// Bans refused: allowlisted, too wide, or no room.
        BansRefused = "bans_refused",
        /// Automatic bans that made room for others.
        BansDisplaced = "bans_displaced",
        /// Attacks that began.
        AttacksDetected = "attacks_detected",
        /// Events of workers that were lost because nobody took them in time.
        EventsLost = "events_lost",
        /// Records of the WAF's audit log lost because the writer was too slow or could not write.
        AuditLinesLost = "audit_lines_lost",
        /// Log lines lost because nobody read them in time.
        LogLinesDropped = "log_lines_dropped",
        /// Reloads that came into force.
        ReloadsDone = "reloads_done",
        /// Reloads refused because the configuration was wrong.
        ReloadsRefused = "reloads_refused",
        /// Requests to the management API answered with a status below 400.
        ApiRequestsOk = "api_requests_ok",
        /// Requests to the management API refused (status 400 to 499).
        ApiRequestsRefused = "api_requests_refused",
        /// Requests to the management API that failed (status 500 and above).
        ApiRequestsFailed = "api_requests_failed",
        /// Connections to the management API closed because too many were open.
        ApiConnectionsRefused = "api_connections_refused",
        /// Failures to save bans.
        SavesFailed = "saves_failed",
    }
}

numbers! {
    /// What is the case right now outside the workers.
    NodeGauge {
        /// Bans in force.
        Bans = "bans",
        /// Prefixes blocked by the configuration.
        BlockedByConfiguration = "blocked_by_configuration",
        /// Attacks going on.
        AttacksActive = "attacks_active",
        /// Connections at once of the socket front.
        SocketConnections = "socket_connections",
        /// Number of the policy in force.
        PolicyGeneration = "policy_generation",
        /// 0 starting, 1 active, 2 draining.
        Phase = "phase",
    }
}

/// The numbers.
#[derive(Debug)]
pub struct NodeNumbers {
    counters: [AtomicU64; NodeCounter::COUNT],
    gauges: [AtomicU64; NodeGauge::COUNT],
}

impl Default for NodeNumbers {
    fn default() -> Self {
        Self {
            counters: [const { AtomicU64::new(0) }; NodeCounter::COUNT],
            gauges: [const { AtomicU64::new(0) }; NodeGauge::COUNT],
        }
    }
}

impl NodeNumbers {
    /// Adds to a counter; from any thread.
    pub fn add(&self, counter: NodeCounter, count: u64) {
        self.counters[counter as usize].fetch_add(count, RELAXED);
    }

    /// Counts one; from any thread.
    pub fn count(&self, counter: NodeCounter) {
        self.add(counter, 1);
    }

    /// Sets a counter that is kept elsewhere and only grows.
    pub fn set_total(&self, counter: NodeCounter, total: u64) {
        self.counters[counter as usize].store(total, RELAXED);
    }

    /// Sets a gauge; from any thread.
    pub fn set(&self, gauge: NodeGauge, value: u64) {
        self.gauges[gauge as usize].store(value, RELAXED);
    }

    /// A counter's value.
    pub fn get(&self, counter: NodeCounter) -> u64 {
        self.counters[counter as usize].load(RELAXED)
    }

    /// A gauge's value.
    pub fn gauge(&self, gauge: NodeGauge) -> u64 {
        self.gauges[gauge as usize].load(RELAXED)
    }
}
