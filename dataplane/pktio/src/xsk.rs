//! AF_XDP: one worker's sockets, one per interface, over one shared UMEM.
//!
//! Owns: the UMEM, the four rings per socket, which chunk is where. Does not own: the XDP program that
//! redirects into the sockets (`program`): bind the result of [`XskIo::sockets`] there.
//!
//! ```text
//!              worker                          |              kernel
//!                                              |
//!   free list --refill--> [fill ring, port 0] -----> XDP redirect copies (or DMA puts) a frame in
//!      ^                                       |          |
//!      |                  [rx ring, port 0] <-------------+
//!      |                        | receive      |
//!      |                        v              |
//!      |<--release--------  Frame (held)       |
//!      |                        | transmit, flush
//!      |                        v              |
//!      |                  [tx ring, port 1] ------> device 1
//!      |                                       |          |
//!      +<--drain--------- [completion, port 1] <----------+
//! ```
//!
//! All ports share one UMEM, so a frame received on one leaves on another without a copy. A chunk is in exactly
//! one of these places at any time; [`XskIo::chunk_counts`] adds up to the number of chunks, always.
//!
//! Cost: no allocation and no system call per frame. Per flush one `sendto` per port that transmits (copy mode:
//! one per 32 frames before Linux 6.17), and one `recvfrom` where the fill ring asks to be woken for.

mod engine;
mod open;
mod options;
mod port;

pub use engine::XskIo;

use core::time::Duration;
use std::io;

use secbeat_hugepages::HugepagePolicy;

/// Whether the driver receives into and transmits from the UMEM itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeroCopy {
    /// Zero copy where every interface has it, else copy; the report says why.
    #[default]
    Auto,
    /// Zero copy or fail.
    Require,
    /// Copy mode.
    Off,
}

/// Busy polling (`SO_PREFER_BUSY_POLL`): the worker drives the device's NAPI itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// `SO_BUSY_POLL` in microseconds.
    pub timeout_us: u32,
    /// `SO_BUSY_POLL_BUDGET` in packets.
    pub budget_packets: u32,
}

/// One interface and the queue of it that this worker serves.
#[derive(Clone, Debug)]
pub struct XskInterface {
    /// Name of the interface in the calling thread's network namespace.
    pub name: String,
    /// Queue number.
    pub queue: u32,
}

/// What to open. `Default` suits a veth and a 10 Gbit/s NIC.
#[derive(Clone, Debug)]
pub struct XskConfig {
    /// The worker's ports, in port order.
    pub interfaces: Vec<XskInterface>,
    /// Chunks in the UMEM. 0 takes [`XskConfig::frames_default`]. What exceeds [`XskConfig::frames_min`] may be
    /// held by the worker (early data) without starving reception.
    pub frames: u32,
    /// Size of a chunk in bytes: 2048 (frames up to 1792) or 4096 (up to 3840).
    pub chunk_bytes: u32,
    /// Slots of the fill ring, a power of two, at least `rx_slots`.
    pub fill_slots: u32,
    /// Slots of the receive ring, a power of two.
    pub rx_slots: u32,
    /// Slots of the transmit and of the completion ring, a power of two.
    pub tx_slots: u32,
    /// Zero copy.
    pub zero_copy: ZeroCopy,
    /// Huge pages for the UMEM.
    pub hugepages: HugepagePolicy,
    /// NUMA node for the UMEM: that of the device. `None`: wherever the thread runs.
    pub numa_node: Option<u32>,
    /// `XDP_USE_NEED_WAKEUP`: no system call while the kernel is awake.
    pub need_wakeup: bool,
    /// Preferred busy polling.
    pub busy_poll: Option<BusyPoll>,
    /// How long to retry while the queue is still busy with a socket that is being closed.
    pub bind_retry: Duration,
}

impl Default for XskConfig {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            frames: 0,
            chunk_bytes: 2048,
            fill_slots: 2048,
            rx_slots: 2048,
            tx_slots: 2048,
            zero_copy: ZeroCopy::Auto,
            hugepages: HugepagePolicy::Auto,
            numa_node: None,
            need_wakeup: true,
            busy_poll: None,
            bind_retry: Duration::from_secs(2),
        }
    }
}

impl XskConfig {
    /// Chunks that the rings alone can occupy: fewer is refused.
    pub fn frames_min(&self) -> u32 {
        (self.interfaces.len() as u32).saturating_mul(self.fill_slots.saturating_add(self.tx_slots))
    }

    /// Twice the minimum, as a power of two: as many again may be held.
    pub fn frames_default(&self) -> u32 {
        self.frames_min().saturating_mul(2).checked_next_power_of_two().unwrap_or(1 << 31)
    }
}

/// What was obtained, for one line of log.
#[derive(Clone, Debug, Default)]
pub struct XskReport {
    /// Zero copy is in effect on all ports.
    pub zero_copy: bool,
    /// Why not zero copy; empty when it is or was not asked for.
    pub zero_copy_note: String,
    /// Page size behind the UMEM in bytes.
    pub page_bytes: u64,
    /// Why not larger pages; empty when obtained or not asked for.
    pub page_note: String,
    /// Busy polling takes effect.
    pub busy_poll: bool,
    /// Why busy polling has no effect; empty when it has or was not asked for.
    pub busy_poll_note: String,
    /// Size of the UMEM in bytes.
    pub umem_bytes: u64,
    /// Chunks that the worker may hold beyond what the rings need.
    pub frames_spare: u32,
}

impl core::fmt::Display for XskReport {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(if self.zero_copy { "zero copy" } else { "copy mode" })?;
        note(f, &self.zero_copy_note)?;
        write!(
            f,
            ", {} KiB of packet memory on {} KiB pages",
            self.umem_bytes / 1024,
            self.page_bytes / 1024
        )?;
        note(f, &self.page_note)?;
        if self.busy_poll || !self.busy_poll_note.is_empty() {
            f.write_str(if self.busy_poll { ", busy polling" } else { ", no busy polling" })?;
            note(f, &self.busy_poll_note)?;
        }
        Ok(())
    }
}

fn note(f: &mut core::fmt::Formatter<'_>, text: &str) -> core::fmt::Result {
    if text.is_empty() { Ok(()) } else { write!(f, " ({text})") }
}

/// Why the sockets could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum XskError {
    /// The configuration cannot be.
    #[error("{0}")]
    Config(String),
    /// The kernel refused.
    #[error("{action}: {source}")]
    Kernel {
        /// What was attempted.
        action: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Counters of one port. Packets unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XskCounters {
    /// Taken from the receive ring.
    pub received: u64,
    /// Put into the transmit ring.
    pub transmitted: u64,
    /// Lost on transmission: the device had no room and the kernel dropped the frame (`EBUSY`).
    pub transmit_lost: u64,
    /// Refused before transmission: empty, or bounds that do not fit in the chunk.
    pub transmit_invalid: u64,
    /// Descriptors from the kernel that named no chunk of ours.
    pub receive_invalid: u64,
    /// `XDP_STATISTICS` rx_dropped: frames too large for a chunk, among others.
    pub rx_dropped: u64,
    /// `XDP_STATISTICS` rx_ring_full: the worker was too slow.
    pub rx_ring_full: u64,
    /// `XDP_STATISTICS` rx_fill_ring_empty_descs: no chunk to receive into.
    pub fill_ring_empty: u64,
    /// `XDP_STATISTICS` tx_invalid_descs.
    pub tx_invalid_descs: u64,
}

/// Where the chunks are. The sum is the number of frames, always: the leak test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkCounts {
    /// In the free list.
    pub free: usize,
    /// In the worker's hands.
    pub held: usize,
    /// With the kernel for receiving.
    pub fill: usize,
    /// With the kernel for transmitting, or queued for the next flush.
    pub transmit: usize,
}

#[cfg(test)]
mod tests;
