//! The trait that every packet engine implements, and the token that stands for a frame.
//!
//! Ownership: a [`Frame`] is an owned token for one chunk of packet memory. It can be neither cloned nor made
//! outside this crate, so a chunk is in exactly one place at any time: the fill ring, the receive burst, the
//! worker's hands, the transmit ring. Whoever holds the token must end it with `transmit` or `release`;
//! dropping it leaks the chunk, which the engine counts as missing.

use arrayvec::ArrayVec;
use core::time::Duration;
use std::os::fd::RawFd;

/// Frames taken at once. 64 is the kernel's NAPI budget: more would only queue in the ring.
pub const BURST_FRAMES_MAX: usize = 64;

/// Index of an interface among a worker's ports.
pub type Port = u8;

/// Frames received by one call.
pub type Burst = ArrayVec<Frame, BURST_FRAMES_MAX>;

/// Owned, non-clonable token for a frame: which chunk of memory, and where in it the bytes lie.
#[derive(Debug)]
#[must_use = "a frame must be transmitted or released, or its memory is lost"]
pub struct Frame {
    /// Index of the chunk in the packet memory.
    pub(crate) chunk: u32,
    /// Offset of the first byte in the chunk.
    pub(crate) start: u16,
    /// Length in bytes.
    pub(crate) len: u16,
}

impl Frame {
    /// Offset of the frame's first byte in its chunk.
    pub fn start(&self) -> usize {
        usize::from(self.start)
    }

    /// Length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a frame on the wire is never empty")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Moves the bounds of the frame inside its chunk, after `PacketIo::chunk_mut` was written.
    ///
    /// The engine checks them against the chunk again before anything is transmitted.
    pub fn set_bounds(&mut self, start: usize, len: usize) {
        self.start = u16::try_from(start).unwrap_or(u16::MAX);
        self.len = u16::try_from(len).unwrap_or(u16::MAX);
    }
}

/// One worker's packet engine: all its ports, over one packet memory, so that a frame received on one port
/// can leave on another without a copy.
pub trait PacketIo {
    /// Number of ports; valid port numbers are below it.
    fn ports(&self) -> u8;

    /// Takes up to `BURST_FRAMES_MAX - burst.len()` received frames of `port` and returns how many.
    fn receive(&mut self, port: Port, burst: &mut Burst) -> usize;

    /// A frame's bytes.
    fn bytes(&self, frame: &Frame) -> &[u8];

    /// The whole chunk that the frame lies in, headroom and tailroom included.
    fn chunk_mut(&mut self, frame: &mut Frame) -> &mut [u8];

    /// A free frame (start at the default headroom, length 0) to build a packet in; `None` when all are in use.
    fn allocate(&mut self) -> Option<Frame>;

    /// Queues a frame for transmission; it leaves at the next `flush`. Gives the frame back when the ring is
    /// full or its bounds are not inside its chunk.
    fn transmit(&mut self, port: Port, frame: Frame) -> Result<(), Frame>;

    /// Returns a frame's memory.
    fn release(&mut self, frame: Frame);

    /// Hands queued frames to the kernel, takes back completed ones and refills receive rings. Once per turn.
    fn flush(&mut self);

    /// Sleeps until a frame arrives, a watched descriptor is readable, or `timeout` passes.
    fn wait(&mut self, timeout: Duration);

    /// Lets a further descriptor end [`PacketIo::wait`]: that of a worker's sockets. It must stay open as long as the
    /// engine is used; an engine that never sleeps has no use for it.
    fn watch(&mut self, descriptor: RawFd);
}
