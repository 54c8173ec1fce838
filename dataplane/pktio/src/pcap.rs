//! Replay and record: packet I/O over classic pcap files.
//!
//! Owns: [`PcapIo`] (frames come from a capture, what is sent goes into another), [`Recorder`] (writes down what
//! passes through any other engine). Does not own: the file format (`file`), the pace: a replayed frame arrives when
//! it is asked for, its capture time is [`PcapIo::next_timestamp_ns`].

mod file;

pub use file::{PcapError, Reader, Record, SNAP_BYTES_MAX, Writer, fuzz};

use core::time::Duration;
use std::io::Write;
use std::os::fd::RawFd;

use crate::chunks::{Chunks, Place};
use crate::io::{Burst, Frame, PacketIo, Port};

/// Size of a chunk in bytes, and where frames start in it: as AF_XDP has them.
const CHUNK_BYTES: usize = 2048;
const HEADROOM_BYTES: u16 = 256;

/// Chunks of packet memory.
const FRAMES: u32 = 1024;

/// A [`PacketIo`] with one port: received frames come from a capture, transmitted ones are recorded.
pub struct PcapIo<W: Write> {
    capture: Vec<u8>,
    /// Where the next record starts in `capture`.
    next: usize,
    recording: Writer<W>,
    /// Capture time of what is recorded, nanoseconds since 1970.
    now_ns: u64,
    memory: Box<[u8]>,
    chunks: Chunks,
    queued: Vec<Frame>,
    skipped: u64,
    failed: bool,
}

impl<W: Write> PcapIo<W> {
    /// Replays `capture` (the bytes of a file) and records into `output`.
    ///
    /// # Errors
    /// [`PcapError`] when it is no capture of Ethernet frames or `output` cannot be written. Records are checked
    /// one by one later: the first broken one ends the replay, see [`Self::is_broken`].
    pub fn new(capture: Vec<u8>, output: W) -> Result<Self, PcapError> {
        let next = Reader::new(&capture)?.offset();
        Ok(Self {
            capture,
            next,
            recording: Writer::new(output)?,
            now_ns: 0,
            memory: vec![0; CHUNK_BYTES * FRAMES as usize].into_boxed_slice(),
            chunks: Chunks::new(FRAMES),
            queued: Vec::with_capacity(FRAMES as usize),
            skipped: 0,
            failed: false,
        })
    }

    /// Capture time of the next frame in nanoseconds; `None` at the end.
    pub fn next_timestamp_ns(&self) -> Option<u64> {
        Some(self.record()?.0.timestamp_ns)
    }

    /// Sets the time that recorded frames carry.
    pub fn set_now(&mut self, timestamp_ns: u64) {
        self.now_ns = timestamp_ns;
    }

    /// Frames of the capture too long for a chunk: skipped.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether the replay ended at a record that cannot be, not at the end.
    pub fn is_broken(&self) -> bool {
        self.next < self.capture.len() && self.record().is_none()
    }

    /// Ends the recording: its writer, or the first error of writing to it.
    ///
    /// # Errors
    /// What writing or flushing failed with.
    pub fn finish(self) -> std::io::Result<W> {
        if self.failed {
            return Err(std::io::Error::other("the recording could not be written"));
        }
        self.recording.finish()
    }

    /// The next record and where the one after it starts.
    fn record(&self) -> Option<(Record<'_>, usize)> {
        let mut reader = Reader::resume(&self.capture, self.next).ok()?;
        let record = reader.next()?.ok()?;
        Some((record, reader.offset()))
    }

    fn chunk(frame: &Frame) -> core::ops::Range<usize> {
        let start = frame.chunk as usize * CHUNK_BYTES;
        start..start + CHUNK_BYTES
    }
}

impl<W: Write> PacketIo for PcapIo<W> {
    fn ports(&self) -> u8 {
        1
    }

    fn receive(&mut self, port: Port, burst: &mut Burst) -> usize {
        let before = burst.len();
        while port == 0 && !burst.is_full() {
            let Ok(mut reader) = Reader::resume(&self.capture, self.next) else { break };
            let Some(Ok(record)) = reader.next() else { break };
            let start = usize::from(HEADROOM_BYTES);
            if record.bytes.len() > CHUNK_BYTES - start {
                self.skipped += 1;
            } else {
                let Some(chunk) = self.chunks.take(Place::Held) else { break };
                let mut frame = Frame { chunk, start: 0, len: 0 };
                frame.set_bounds(start, record.bytes.len());
                let room = &mut self.memory[Self::chunk(&frame)][start..start + record.bytes.len()];
                room.copy_from_slice(record.bytes);
                burst.push(frame);
            }
            self.next = reader.offset();
        }
        burst.len() - before
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        let chunk = self.memory.get(Self::chunk(frame)).unwrap_or_default();
        chunk.get(frame.start()..frame.start() + frame.len()).unwrap_or_default()
    }

    fn chunk_mut(&mut self, frame: &mut Frame) -> &mut [u8] {
        self.memory.get_mut(Self::chunk(frame)).unwrap_or_default()
    }

    fn allocate(&mut self) -> Option<Frame> {
        let chunk = self.chunks.take(Place::Held)?;
        Some(Frame { chunk, start: HEADROOM_BYTES, len: 0 })
    }

    fn transmit(&mut self, port: Port, frame: Frame) -> Result<(), Frame> {
        let fits = port == 0 && frame.len() > 0 && frame.start() + frame.len() <= CHUNK_BYTES;
        if !fits || !self.chunks.shift(frame.chunk, Place::Held, Place::Transmit) {
            return Err(frame);
        }
        self.queued.push(frame);
        Ok(())
    }

    fn release(&mut self, frame: Frame) {
        self.chunks.shift(frame.chunk, Place::Held, Place::Free);
    }

    fn flush(&mut self) {
        let mut queued = core::mem::take(&mut self.queued);
        for frame in queued.drain(..) {
            let bytes = &self.memory[Self::chunk(&frame)][frame.start()..frame.start() + frame.len()];
            self.failed |= self.recording.record(self.now_ns, bytes).is_err();
            self.chunks.shift(frame.chunk, Place::Transmit, Place::Free);
        }
        self.queued = queued;
    }

    /// Returns at once: the next frame is there or never comes.
    fn wait(&mut self, _timeout: Duration) {}

    fn watch(&mut self, _descriptor: RawFd) {}
}

/// Another engine, with everything it receives and transmits written into a capture.
///
/// For looking at traffic, not for the packet path at full rate: each frame is written through `W`.
pub struct Recorder<IO, W: Write> {
    inner: IO,
    recording: Writer<W>,
    now_ns: u64,
    failed: bool,
}

impl<IO: PacketIo, W: Write> Recorder<IO, W> {
    /// Records what passes through `inner` into `output`.
    ///
    /// # Errors
    /// When the capture's header cannot be written.
    pub fn new(inner: IO, output: W) -> Result<Self, PcapError> {
        Ok(Self { inner, recording: Writer::new(output)?, now_ns: 0, failed: false })
    }

    /// Sets the time that recorded frames carry, nanoseconds since 1970. Once per turn.
    pub fn set_now(&mut self, timestamp_ns: u64) {
        self.now_ns = timestamp_ns;
    }

    /// The engine inside.
    pub fn inner(&self) -> &IO {
        &self.inner
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// What writing or flushing failed with.
    pub fn finish(self) -> std::io::Result<W> {
        if self.failed {
            return Err(std::io::Error::other("the recording could not be written"));
        }
        self.recording.finish()
    }
}

impl<IO: PacketIo, W: Write> PacketIo for Recorder<IO, W> {
    fn ports(&self) -> u8 {
        self.inner.ports()
    }

    fn receive(&mut self, port: Port, burst: &mut Burst) -> usize {
        let before = burst.len();
        let count = self.inner.receive(port, burst);
        for frame in &burst[before..] {
            self.failed |= self.recording.record(self.now_ns, self.inner.bytes(frame)).is_err();
        }
        count
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        self.inner.bytes(frame)
    }

    fn chunk_mut(&mut self, frame: &mut Frame) -> &mut [u8] {
        self.inner.chunk_mut(frame)
    }

    fn allocate(&mut self) -> Option<Frame> {
        self.inner.allocate()
    }

    fn transmit(&mut self, port: Port, frame: Frame) -> Result<(), Frame> {
        self.failed |= self.recording.record(self.now_ns, self.inner.bytes(&frame)).is_err();
        self.inner.transmit(port, frame)
    }

    fn release(&mut self, frame: Frame) {
        self.inner.release(frame);
    }

    fn flush(&mut self) {
        self.inner.flush();
    }

    fn wait(&mut self, timeout: Duration) {
        self.inner.wait(timeout);
    }

    fn watch(&mut self, descriptor: RawFd) {
        self.inner.watch(descriptor);
    }
}

#[cfg(test)]
mod tests;
