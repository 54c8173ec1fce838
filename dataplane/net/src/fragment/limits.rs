//! What reassembly may use, and what it counted.

use core::time::Duration;

/// Sizes and times of one worker's reassembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Unfinished datagrams. When all are in use the oldest is given up.
    pub datagrams_max: u32,
    /// Unfinished datagrams of one source; more is dropped (`FragmentTableFull`). 16 is a few DNS answers at once.
    pub per_source_max: u16,
    /// Bytes for pieces; rounded up to whole blocks of 2 KiB. When all are in use the oldest datagram is given up.
    pub bytes_max: usize,
    /// Time from the first piece to the last. RFC 8200 says 60 s, Linux 30 s for IPv4; a sender's pieces leave
    /// together, so 10 s covers every path and bounds what a flood can hold.
    pub timeout: Duration,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self {
            datagrams_max: 1_024,
            per_source_max: 16,
            bytes_max: 4 << 20,
            timeout: Duration::from_secs(10),
        }
    }
}

/// What a reassembler counted since `new`; monotone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounters {
    /// Pieces kept.
    pub pieces: u64,
    /// Datagrams put together.
    pub completed: u64,
    /// Datagrams whose time ran out.
    pub expired: u64,
    /// Datagrams given up because their place or memory was needed.
    pub evicted: u64,
    /// Datagrams made void by overlapping or contradicting pieces.
    pub voided: u64,
}
