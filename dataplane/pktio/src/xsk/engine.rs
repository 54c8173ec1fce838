//! The worker's view: `PacketIo` over AF_XDP.
//!
//! Owns: the UMEM and the place of each chunk. Cost: no allocation, no system call except in `flush` and `wait`.

use core::ptr::NonNull;
use core::time::Duration;
use std::os::fd::{BorrowedFd, RawFd};

use xsk_rs::Umem;
use xsk_rs::umem::frame::FrameDesc;

use super::port::{Scratch, XskPort};
use super::{ChunkCounts, XskCounters, options};
use crate::chunks::{Chunks, Place};
use crate::io::{BURST_FRAMES_MAX, Burst, Frame, PacketIo, Port};

/// `ETH_HLEN`: shorter is no Ethernet frame, and the kernel refuses it.
const FRAME_BYTES_MIN: usize = 14;

/// `XDP_PKT_CONTD`: the frame goes on in the next descriptor. We never ask for such frames.
const XDP_PKT_CONTD: u32 = 1;

/// One worker's AF_XDP sockets. Made by [`XskIo::open`].
#[derive(Debug)]
pub struct XskIo {
    // The ports come first: their sockets are closed before the memory goes.
    pub(super) ports: Vec<XskPort>,
    pub(super) umem: Umem,
    /// First byte of the packet memory, which `umem` keeps mapped.
    pub(super) base: NonNull<u8>,
    /// The descriptor of each chunk as the library made it: its address is where a frame starts by default.
    pub(super) descs: Vec<FrameDesc>,
    pub(super) chunks: Chunks,
    /// log2 of the chunk size.
    pub(super) chunk_shift: u32,
    /// Where received and allocated frames start in their chunk.
    pub(super) frame_start: u16,
    pub(super) scratch: Box<Scratch>,
    pub(super) pollfds: Vec<libc::pollfd>,
}

// SAFETY: `base` points into the mapping that `umem` owns; nothing in it is bound to a thread, and the value is
// used by one thread at a time.
unsafe impl Send for XskIo {}

impl XskIo {
    /// Port, queue and descriptor of each socket, for `Program::bind_queue` or `BareXsk::bind_queue`.
    pub fn sockets(&self) -> impl Iterator<Item = (Port, u32, BorrowedFd<'_>)> {
        self.ports.iter().enumerate().map(|(index, port)| {
            // SAFETY: the descriptor stays open as long as the port, which `self` owns.
            (index as Port, port.queue, unsafe { BorrowedFd::borrow_raw(port.fd) })
        })
    }

    /// Counters of a port, the kernel's included (one system call).
    pub fn counters(&self, port: Port) -> XskCounters {
        let Some(port) = self.ports.get(usize::from(port)) else { return XskCounters::default() };
        let mut counters = port.counters;
        if let Ok(kernel) = port.rx.fd().xdp_statistics() {
            counters.rx_dropped = kernel.rx_dropped();
            counters.rx_ring_full = kernel.rx_ring_full();
            counters.fill_ring_empty = kernel.rx_fill_ring_empty_descs();
            counters.tx_invalid_descs = kernel.tx_invalid_descs();
        }
        counters
    }

    /// Whether a port's interface is still there: its removal unbinds the socket without a word (one system call).
    pub fn is_bound(&self, port: Port) -> bool {
        self.ports.get(usize::from(port)).is_some_and(|port| options::is_bound(port.fd))
    }

    /// Where the chunks are. Linear in their number: for tests and reports.
    pub fn chunk_counts(&self) -> ChunkCounts {
        ChunkCounts {
            free: self.chunks.free_count(),
            held: self.chunks.count(Place::Held),
            fill: self.chunks.count(Place::Fill),
            transmit: self.chunks.count(Place::Transmit),
        }
    }

    /// Number of chunks.
    pub fn frames(&self) -> usize {
        self.chunks.total()
    }

    fn chunk_bytes(&self) -> usize {
        1 << self.chunk_shift
    }

    /// First byte of a chunk that the worker holds.
    fn held_chunk(&self, chunk: u32) -> Option<NonNull<u8>> {
        if !self.chunks.is_at(chunk, Place::Held) {
            return None;
        }
        // SAFETY: the place table has an entry only for chunks of the memory at `base`.
        Some(unsafe { self.base.add((chunk as usize) << self.chunk_shift) })
    }

    /// A descriptor that transmits `frame`, whose bytes are moved to the default start if they lie elsewhere:
    /// the library makes no descriptor of an address.
    fn describe(&mut self, frame: &mut Frame) -> Option<FrameDesc> {
        let (start, len, default) = (frame.start(), frame.len(), usize::from(self.frame_start));
        let fits = start + len <= self.chunk_bytes() && default + len <= self.chunk_bytes();
        if len < FRAME_BYTES_MIN || !fits {
            return None;
        }
        let mut desc = *self.descs.get(frame.chunk as usize)?;
        if start != default {
            self.chunk_mut(frame).copy_within(start..start + len, default);
            frame.set_bounds(default, len);
        }
        // SAFETY: the chunk is held by the worker (checked by the caller), so nothing else refers to it while
        // the length is set; no byte is read or written.
        unsafe { self.umem.data_mut(&mut desc) }.cursor().set_pos(len);
        Some(desc)
    }
}

impl PacketIo for XskIo {
    fn ports(&self) -> u8 {
        self.ports.len() as u8
    }

    fn receive(&mut self, port: Port, burst: &mut Burst) -> usize {
        let Some(port) = self.ports.get_mut(usize::from(port)) else { return 0 };
        let before = burst.len();
        let room = BURST_FRAMES_MAX - before;
        // SAFETY: the descriptors written are of this socket's UMEM; each is checked below before use.
        let count = unsafe { port.rx.consume(&mut self.scratch[..room]) };
        let mask = (1usize << self.chunk_shift) - 1;
        for desc in &self.scratch[..count] {
            let chunk = u32::try_from(desc.addr() >> self.chunk_shift).unwrap_or(u32::MAX);
            let (start, len) = (desc.addr() & mask, desc.lengths().data());
            if !self.chunks.shift(chunk, Place::Fill, Place::Held) {
                port.counters.receive_invalid += 1;
                continue;
            }
            port.filled = port.filled.saturating_sub(1);
            if start + len > mask + 1 || desc.options() & XDP_PKT_CONTD != 0 {
                port.counters.receive_invalid += 1;
                self.chunks.shift(chunk, Place::Held, Place::Free);
                continue;
            }
            burst.push(Frame { chunk, start: start as u16, len: len as u16 });
        }
        let received = burst.len() - before;
        port.counters.received += received as u64;
        received
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        let Some(chunk) = self.held_chunk(frame.chunk) else { return &[] };
        if frame.start() + frame.len() > self.chunk_bytes() {
            return &[];
        }
        // SAFETY: the range lies in a chunk that the worker holds: the kernel does not touch it, and `&self`
        // keeps `chunk_mut` away. The memory is mapped as long as `self.umem`.
        unsafe { core::slice::from_raw_parts(chunk.add(frame.start()).as_ptr(), frame.len()) }
    }

    fn chunk_mut(&mut self, frame: &mut Frame) -> &mut [u8] {
        let Some(chunk) = self.held_chunk(frame.chunk) else { return &mut [] };
        // SAFETY: as in `bytes`, for the whole chunk; `&mut self` excludes every other reference.
        unsafe { core::slice::from_raw_parts_mut(chunk.as_ptr(), self.chunk_bytes()) }
    }

    /// Refuses when the free chunks are owed to the fill rings: a worker that builds packets must not stop
    /// reception.
    fn allocate(&mut self) -> Option<Frame> {
        let owed: u32 = self.ports.iter().map(|port| port.fill_slots - port.filled).sum();
        if self.chunks.free_count() <= owed as usize {
            return None;
        }
        let chunk = self.chunks.take(Place::Held)?;
        Some(Frame { chunk, start: self.frame_start, len: 0 })
    }

    fn transmit(&mut self, port: Port, mut frame: Frame) -> Result<(), Frame> {
        let index = usize::from(port);
        let Some(port) = self.ports.get_mut(index) else { return Err(frame) };
        if !port.has_room() {
            port.drain_completions(&mut self.chunks, &mut self.scratch, self.chunk_shift);
            if !port.has_room() {
                return Err(frame);
            }
        }
        if !self.chunks.is_at(frame.chunk, Place::Held) {
            return Err(frame);
        }
        let Some(desc) = self.describe(&mut frame) else {
            self.ports[index].counters.transmit_invalid += 1;
            return Err(frame);
        };
        self.chunks.shift(frame.chunk, Place::Held, Place::Transmit);
        self.ports[index].pending.push(desc);
        Ok(())
    }

    fn release(&mut self, frame: Frame) {
        self.chunks.shift(frame.chunk, Place::Held, Place::Free);
    }

    fn flush(&mut self) {
        for port in &mut self.ports {
            if port.outstanding > 0 || !port.pending.is_empty() {
                port.transmit_pending(&mut self.chunks, &mut self.scratch, self.chunk_shift);
            }
        }
        for port in &mut self.ports {
            port.refill(&mut self.chunks, &mut self.scratch, &self.descs);
        }
    }

    fn wait(&mut self, timeout: Duration) {
        options::poll(&mut self.pollfds, timeout);
    }

    fn watch(&mut self, descriptor: RawFd) {
        self.pollfds.push(libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 });
    }
}
