//! What a splice may use: sizes of its tables and how long its flows may wait.
//!
//! Owns: [`SpliceLimits`] and [`Timeouts`] with their defaults and reasons.

use core::time::Duration;

use super::{BackendId, PortRange};

/// How long a flow may stay silent, by state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Both directions open. RFC 5382 REQ-5 asks a NAT for 2 h 4 min; an hour is what proxies use, and clients
    /// that need longer send keep-alives.
    pub established: Duration,
    /// One direction has ended.
    pub half_closed: Duration,
    /// Pass-through handshake not completed by the client.
    pub handshake: Duration,
    /// After both FINs: a retransmitted FIN may still come (2 MSL; Linux uses 60 s).
    pub time_wait: Duration,
    /// After a RST: late segments are answered with RST instead of reaching a new flow on the same port.
    pub reset: Duration,
    /// First wait for the backend's SYN-ACK; doubles with every SYN.
    pub backend_syn: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            established: Duration::from_secs(3600),
            half_closed: Duration::from_secs(120),
            handshake: Duration::from_secs(10),
            time_wait: Duration::from_secs(60),
            reset: Duration::from_secs(5),
            backend_syn: Duration::from_millis(250),
        }
    }
}

/// Sizes of one worker's splice. All memory is taken by `Splice::new`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpliceLimits {
    /// Slots for flows, TIME-WAIT included; an eighth of them, at most 1,024, rests, so that a flow's id is not used
    /// again within a turn. When all others are in use the oldest TIME-WAIT goes, then the oldest half-open;
    /// never an established one: then opening fails with `FlowTableFull`.
    pub flows_max: u32,
    /// Half-open flows. When reached, the oldest half-open goes.
    pub half_open_max: u32,
    /// Backends, at most this many ids (a port map each). An id beyond fails with `NoBackend`.
    pub backends_max: u16,
    /// This worker's source ports.
    pub ports: PortRange,
    /// SYNs sent to one backend before `BackendFailed`.
    pub backend_syns_max: u8,
    /// Waiting times.
    pub timeouts: Timeouts,
}

impl SpliceLimits {
    /// Whether `id` has a port map.
    pub fn has_backend(&self, id: BackendId) -> bool {
        id.0 < self.backends_max
    }
}

impl Default for SpliceLimits {
    fn default() -> Self {
        Self {
            flows_max: 65_536,
            half_open_max: 16_384,
            backends_max: 64,
            ports: PortRange { first: 32_768, last: 60_999 },
            backend_syns_max: 4,
            timeouts: Timeouts::default(),
        }
    }
}
