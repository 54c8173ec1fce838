//! What the sending side may use, and what it counts.

use core::time::Duration;

use crate::tcp::congestion::CongestionKind;

/// Limits of the sending side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendLimits {
    /// Most bytes of one connection that wait or are in flight, at its beginning. An owner that fills a response faster
    /// than the peer takes it is told to wait (`send` takes less). 256 KiB carry 100 Mbit/s at 20 ms.
    pub queue_bytes: u32,
    /// The same once the connection has shown that it moves more per round trip: three congestion windows, since what
    /// is behind a hole waits for its repair, and for the repair of that. 4 MiB carry 400 Mbit/s at 20 ms and 2 % loss.
    /// Not while half of all chunks are in use, nor for a slow client, whose window is small.
    pub queue_bytes_max: u32,
    /// Segments of all connections in flight at once, 44 bytes each, touched on use. When full, connections wait for
    /// ACKs (`SendCounters::records_full`).
    pub records_max: u32,
    /// How long nothing may be acknowledged while data is sent again and again; then the connection is given up. Linux
    /// waits about 15 minutes; behind a proxy the client has long asked again.
    pub user_timeout: Duration,
    /// Probes of a closed window after which the connection is given up (sockstress), the waits between them doubling
    /// from the retransmission timeout: 10 last about four minutes.
    pub window_probes_max: u8,
    /// Congestion control of new connections.
    pub congestion: CongestionKind,
}

impl Default for SendLimits {
    fn default() -> Self {
        Self {
            queue_bytes: 256 << 10,
            queue_bytes_max: 4 << 20,
            records_max: 128 << 10,
            user_timeout: Duration::from_secs(60),
            window_probes_max: 10,
            congestion: CongestionKind::Bbr,
        }
    }
}

/// What the sending side of all connections counts. Monotone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendCounters {
    /// Segments with new data or FIN.
    pub segments: u64,
    /// Bytes of data sent for the first time.
    pub bytes: u64,
    /// Segments sent again, tail loss probes included.
    pub retransmitted: u64,
    /// Fast recoveries begun.
    pub recoveries: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// Recoveries and timeouts that proved needless and were taken back.
    pub undone: u64,
    /// Tail loss probes.
    pub tail_probes: u64,
    /// Tail loss probes that repaired a loss.
    pub tail_probes_useful: u64,
    /// Probes of a closed window.
    pub window_probes: u64,
    /// D-SACKs received: segments that arrived twice.
    pub duplicate_sacks: u64,
    /// SACK blocks ignored for impossible edges.
    pub sack_blocks_invalid: u64,
    /// Paths found to carry less, by ICMP.
    pub path_lowered: u64,
    /// Paths found to swallow large segments without a word.
    pub black_holes: u64,
    /// Times a segment had to wait because all records were in use.
    pub records_full: u64,
    /// Times written bytes found no free chunk.
    pub chunks_full: u64,
}
