//! Packet I/O in memory: a worker's ports without a kernel.
//!
//! Owns: the packet memory of one worker and bounded queues of frames between it and the test side. Does not
//! own: time. Timestamps, delay and loss are the caller's: it injects a frame when the frame should arrive.
//!
//! ```text
//!   MemoryPeer (test, simulator)                     MemoryIo (worker)
//!     inject(port, bytes)  --> [ArrayQueue inbound]  --> receive    --> Frame
//!     take(port)           <-- [ArrayQueue outbound] <-- flush      <-- transmit(Frame)
//!   MemoryIo::pair joins two workers: the outbound queue of one is the inbound queue of the other.
//! ```
//!
//! Cost: one copy per frame and direction. The worker-side calls allocate nothing: buffers circulate between
//! the queues and a spare queue filled at construction.

use core::time::Duration;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;

use crate::chunks::{Chunks, Place};
use crate::io::{Burst, Frame, PacketIo, Port};

/// Sizes of a [`MemoryIo`].
#[derive(Clone, Copy, Debug)]
pub struct MemoryConfig {
    /// Number of ports.
    pub ports: Port,
    /// Chunks of packet memory: what the worker can hold at once.
    pub frames: u32,
    /// Size of a chunk in bytes, headroom included.
    pub chunk_bytes: u16,
    /// Bytes in front of a received or allocated frame.
    pub headroom_bytes: u16,
    /// Frames that fit in each direction of each port. A full queue loses the frame, as a wire would.
    pub queue_frames: u16,
}

impl Default for MemoryConfig {
    /// One port, 4096 chunks of 2048 bytes with 256 bytes of headroom (what AF_XDP gives), 512 frames per queue.
    fn default() -> Self {
        Self { ports: 1, frames: 4096, chunk_bytes: 2048, headroom_bytes: 256, queue_frames: 512 }
    }
}

/// What happened to frames that could not be carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryCounters {
    /// Frames put on the wire by the worker.
    pub transmitted: u64,
    /// Frames the worker transmitted into a full queue: lost.
    pub transmit_lost: u64,
    /// Frames taken from the wire by the worker.
    pub received: u64,
}

/// A frame between the two sides.
#[derive(Debug)]
struct WireFrame {
    bytes: Box<[u8]>,
    len: usize,
}

/// One direction of one port.
#[derive(Debug)]
struct Wire {
    frames: ArrayQueue<WireFrame>,
    spare: ArrayQueue<WireFrame>,
    lost: AtomicU64,
}

impl Wire {
    fn new(queue_frames: usize, frame_bytes: usize) -> Arc<Self> {
        let spare = ArrayQueue::new(queue_frames);
        for _ in 0..queue_frames {
            let frame = WireFrame { bytes: vec![0; frame_bytes].into_boxed_slice(), len: 0 };
            // The queue has room for exactly this many.
            let _ = spare.push(frame);
        }
        Arc::new(Self { frames: ArrayQueue::new(queue_frames), spare, lost: AtomicU64::new(0) })
    }

    /// Copies `bytes` onto the wire; `false` and counted when it is full or the frame too long.
    fn put(&self, bytes: &[u8]) -> bool {
        let Some(mut frame) = self.spare.pop() else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let Some(room) = frame.bytes.get_mut(..bytes.len()) else {
            let _ = self.spare.push(frame);
            self.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        room.copy_from_slice(bytes);
        frame.len = bytes.len();
        let _ = self.frames.push(frame);
        true
    }

    /// Shows the oldest frame to `read` and takes it off the wire.
    fn get<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let frame = self.frames.pop()?;
        let result = read(&frame.bytes[..frame.len]);
        let _ = self.spare.push(frame);
        Some(result)
    }
}

/// A port as one side sees it.
#[derive(Clone, Debug)]
struct Cable {
    inbound: Arc<Wire>,
    outbound: Arc<Wire>,
}

impl Cable {
    fn new(config: &MemoryConfig) -> Self {
        let frames = usize::from(config.queue_frames.max(1));
        let bytes = usize::from(config.chunk_bytes);
        Self { inbound: Wire::new(frames, bytes), outbound: Wire::new(frames, bytes) }
    }

    fn swapped(&self) -> Self {
        Self { inbound: Arc::clone(&self.outbound), outbound: Arc::clone(&self.inbound) }
    }
}

/// The test side of a [`MemoryIo`]: puts frames on its ports and takes what it sent. Clones share the wires.
#[derive(Clone, Debug)]
pub struct MemoryPeer {
    cables: Vec<Cable>,
}

impl MemoryPeer {
    /// Puts a frame on the wire towards the worker; `false` when the queue of `port` is full or there is no
    /// such port.
    pub fn inject(&self, port: Port, frame: &[u8]) -> bool {
        self.cables.get(usize::from(port)).is_some_and(|cable| cable.outbound.put(frame))
    }

    /// Takes the oldest frame that the worker sent on `port`.
    pub fn take(&self, port: Port) -> Option<Vec<u8>> {
        self.take_with(port, <[u8]>::to_vec)
    }

    /// Shows the oldest frame that the worker sent on `port` to `read`, without allocating.
    pub fn take_with<R>(&self, port: Port, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.cables.get(usize::from(port))?.inbound.get(read)
    }

    /// Frames waiting for the worker on `port`.
    pub fn waiting(&self, port: Port) -> usize {
        self.cables.get(usize::from(port)).map_or(0, |cable| cable.outbound.frames.len())
    }
}

/// A [`PacketIo`] whose wires are queues in memory.
#[derive(Debug)]
pub struct MemoryIo {
    cables: Vec<Cable>,
    memory: Box<[u8]>,
    chunks: Chunks,
    /// Frames transmitted since the last flush, with their port.
    queued: Vec<(Port, Frame)>,
    queued_max: usize,
    chunk_bytes: usize,
    headroom_bytes: u16,
    counters: MemoryCounters,
}

impl MemoryIo {
    /// A worker's side and the test's side of `config.ports` ports.
    pub fn new(config: &MemoryConfig) -> (Self, MemoryPeer) {
        let cables: Vec<_> = (0..config.ports).map(|_| Cable::new(config)).collect();
        let peer = MemoryPeer { cables: cables.iter().map(Cable::swapped).collect() };
        (Self::on(config, cables), peer)
    }

    /// Two workers joined port by port: what one transmits the other receives.
    pub fn pair(config: &MemoryConfig) -> (Self, Self) {
        let cables: Vec<_> = (0..config.ports).map(|_| Cable::new(config)).collect();
        let other = cables.iter().map(Cable::swapped).collect();
        (Self::on(config, cables), Self::on(config, other))
    }

    fn on(config: &MemoryConfig, cables: Vec<Cable>) -> Self {
        let chunk_bytes = usize::from(config.chunk_bytes);
        Self {
            cables,
            memory: vec![0; chunk_bytes * config.frames as usize].into_boxed_slice(),
            chunks: Chunks::new(config.frames),
            queued: Vec::with_capacity(usize::from(config.queue_frames.max(1))),
            queued_max: usize::from(config.queue_frames.max(1)),
            chunk_bytes,
            headroom_bytes: config.headroom_bytes.min(config.chunk_bytes),
            counters: MemoryCounters::default(),
        }
    }

    /// What was carried and what was lost.
    pub fn counters(&self) -> MemoryCounters {
        self.counters
    }

    /// Frames in the worker's hands. Zero when nothing is held: the leak test. Linear, for tests.
    pub fn frames_held(&self) -> usize {
        self.chunks.count(Place::Held)
    }

    fn chunk_start(&self, frame: &Frame) -> usize {
        frame.chunk as usize * self.chunk_bytes
    }
}

impl PacketIo for MemoryIo {
    fn ports(&self) -> u8 {
        self.cables.len() as u8
    }

    fn receive(&mut self, port: Port, burst: &mut Burst) -> usize {
        let Some(cable) = self.cables.get(usize::from(port)) else { return 0 };
        let before = burst.len();
        while !burst.is_full() {
            let Some(chunk) = self.chunks.take(Place::Held) else { break };
            let start = usize::from(self.headroom_bytes);
            let chunk_bytes = &mut self.memory[chunk as usize * self.chunk_bytes..][..self.chunk_bytes];
            let copied = cable.inbound.get(|bytes| {
                let len = bytes.len().min(chunk_bytes.len() - start);
                chunk_bytes[start..start + len].copy_from_slice(&bytes[..len]);
                len
            });
            match copied {
                Some(len) => {
                    let mut frame = Frame { chunk, start: 0, len: 0 };
                    frame.set_bounds(start, len);
                    burst.push(frame);
                }
                None => {
                    self.chunks.shift(chunk, Place::Held, Place::Free);
                    break;
                }
            }
        }
        self.counters.received += (burst.len() - before) as u64;
        burst.len() - before
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        let chunk = self.memory.get(self.chunk_start(frame)..).unwrap_or_default();
        let chunk = chunk.get(..self.chunk_bytes).unwrap_or_default();
        chunk.get(frame.start()..frame.start() + frame.len()).unwrap_or_default()
    }

    fn chunk_mut(&mut self, frame: &mut Frame) -> &mut [u8] {
        let start = self.chunk_start(frame);
        let chunk = self.memory.get_mut(start..).unwrap_or_default();
        chunk.get_mut(..self.chunk_bytes).unwrap_or_default()
    }

    fn allocate(&mut self) -> Option<Frame> {
        let chunk = self.chunks.take(Place::Held)?;
        Some(Frame { chunk, start: self.headroom_bytes, len: 0 })
    }

    fn transmit(&mut self, port: Port, frame: Frame) -> Result<(), Frame> {
        let end = frame.start() + frame.len();
        if port >= self.ports()
            || self.queued.len() == self.queued_max
            || frame.len() == 0
            || end > self.chunk_bytes
            || !self.chunks.shift(frame.chunk, Place::Held, Place::Transmit)
        {
            return Err(frame);
        }
        self.queued.push((port, frame));
        Ok(())
    }

    fn release(&mut self, frame: Frame) {
        self.chunks.shift(frame.chunk, Place::Held, Place::Free);
    }

    fn flush(&mut self) {
        let mut queued = core::mem::take(&mut self.queued);
        for (port, frame) in queued.drain(..) {
            let carried = self
                .cables
                .get(usize::from(port))
                .is_some_and(|cable| cable.outbound.put(self.bytes(&frame)));
            if carried {
                self.counters.transmitted += 1;
            } else {
                self.counters.transmit_lost += 1;
            }
            self.chunks.shift(frame.chunk, Place::Transmit, Place::Free);
        }
        self.queued = queued;
    }

    /// Returns at once: nothing here knows when the next frame comes.
    fn wait(&mut self, _timeout: Duration) {}

    fn watch(&mut self, _descriptor: RawFd) {}
}

#[cfg(test)]
mod tests;
