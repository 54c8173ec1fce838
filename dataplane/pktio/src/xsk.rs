//! AF_XDP: one worker's sockets, one per interface, over one shared UMEM.
//!
//! Owns: the UMEM, the four rings per socket, which chunk is where. Does not own: the XDP program that
//! redirects into the sockets (`program`): bind the result of [`XskIo::sockets`] there.

use core::time::Duration;
use std::io;
use std::os::fd::BorrowedFd;

use secbeat_hugepages::HugepagePolicy;

use crate::io::{Burst, Frame, PacketIo, Port};

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
        write!(f, "{}", if self.zero_copy { "zero copy" } else { "copy mode" })
    }
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
    /// Lost on transmission: the device was busy (`EBUSY`) or down. Counted by system call, not by the device.
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

/// One worker's AF_XDP sockets.
#[derive(Debug)]
pub struct XskIo {
    ports: u8,
}

impl XskIo {
    /// Opens a socket per interface over one UMEM, fill rings primed before bind.
    ///
    /// # Errors
    /// What could not be done and why.
    pub fn open(config: &XskConfig) -> Result<(Self, XskReport), XskError> {
        Ok((Self { ports: config.interfaces.len() as u8 }, XskReport::default()))
    }

    /// Port, queue and descriptor of each socket, for `Program::bind_queue` or `BareXsk::bind_queue`.
    pub fn sockets(&self) -> impl Iterator<Item = (Port, u32, BorrowedFd<'_>)> {
        core::iter::empty()
    }

    /// Counters of a port, the kernel's included (one system call).
    pub fn counters(&self, port: Port) -> XskCounters {
        let _ = port;
        XskCounters::default()
    }

    /// Where the chunks are. Linear in their number: for tests and reports.
    pub fn chunk_counts(&self) -> ChunkCounts {
        ChunkCounts::default()
    }
}

impl PacketIo for XskIo {
    fn ports(&self) -> u8 {
        self.ports
    }
    fn receive(&mut self, _port: Port, _burst: &mut Burst) -> usize {
        0
    }
    fn bytes(&self, _frame: &Frame) -> &[u8] {
        &[]
    }
    fn chunk_mut(&mut self, _frame: &mut Frame) -> &mut [u8] {
        &mut []
    }
    fn allocate(&mut self) -> Option<Frame> {
        None
    }
    fn transmit(&mut self, _port: Port, frame: Frame) -> Result<(), Frame> {
        Err(frame)
    }
    fn release(&mut self, _frame: Frame) {}
    fn flush(&mut self) {}
    fn wait(&mut self, _timeout: Duration) {}
}
