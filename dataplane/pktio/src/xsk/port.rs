//! One port: the socket's four rings, and the chunks that are with the kernel because of it.
//!
//! Owns: ring arithmetic. Does not own: the chunks' memory and places (`engine`).
//!
//! Two sums keep every ring from overflowing without asking it: chunks filled and not yet received never exceed
//! `fill_slots`, chunks transmitted and not yet completed never exceed `tx_slots`, which is also the size of
//! the completion ring.

use std::os::fd::RawFd;

use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, TxQueue};

use super::XskCounters;
use super::options::{self, Kick};
use crate::chunks::{Chunks, Place};
use crate::io::BURST_FRAMES_MAX;

/// Descriptors moved by one call into a ring.
pub(super) type Scratch = [FrameDesc; BURST_FRAMES_MAX];

/// Transmit calls of one flush beyond those that the 32-frame batches need. Bounds the time spent on a busy
/// device; what is left goes out with the next flush.
const KICKS_SPARE_MAX: u32 = 8;

/// Frames that one copy-mode transmit call moves at least (`TX_BATCH_SIZE` of the kernel).
const KICK_FRAMES: u32 = 32;

#[derive(Debug)]
pub(super) struct XskPort {
    pub(super) rx: RxQueue,
    pub(super) tx: TxQueue,
    pub(super) fill: FillQueue,
    pub(super) completion: CompQueue,
    pub(super) fd: RawFd,
    pub(super) queue: u32,
    pub(super) zero_copy: bool,
    pub(super) busy_poll: bool,
    pub(super) counters: XskCounters,
    /// Descriptors queued for the next flush.
    pub(super) pending: Vec<FrameDesc>,
    /// Chunks given to the fill ring and not received back.
    pub(super) filled: u32,
    /// Chunks given to the transmit ring and not completed, `pending` not included.
    pub(super) outstanding: u32,
    pub(super) fill_slots: u32,
    pub(super) tx_slots: u32,
    /// The last flush left frames in the transmit ring.
    pub(super) unsent: bool,
}

impl XskPort {
    /// Whether another frame fits behind what is queued and not completed.
    pub(super) fn has_room(&self) -> bool {
        self.outstanding + (self.pending.len() as u32) < self.tx_slots
    }

    /// Takes completed chunks back.
    pub(super) fn drain_completions(&mut self, chunks: &mut Chunks, scratch: &mut Scratch, chunk_shift: u32) {
        while self.outstanding > 0 {
            // SAFETY: the descriptors written are of this socket's UMEM; each is checked below before use.
            let count = unsafe { self.completion.consume(scratch) };
            for desc in &scratch[..count] {
                let chunk = u32::try_from(desc.addr() >> chunk_shift).unwrap_or(u32::MAX);
                if !chunks.shift(chunk, Place::Transmit, Place::Free) {
                    self.counters.receive_invalid += 1;
                }
            }
            self.outstanding = self.outstanding.saturating_sub(count as u32);
            if count < scratch.len() {
                return;
            }
        }
    }

    /// Hands queued frames to the kernel and takes completed ones back.
    pub(super) fn transmit_pending(&mut self, chunks: &mut Chunks, scratch: &mut Scratch, chunk_shift: u32) {
        self.drain_completions(chunks, scratch, chunk_shift);
        if !self.pending.is_empty() {
            // SAFETY: each descriptor names a chunk of this socket's UMEM at `Place::Transmit`, which nobody
            // else touches until its completion, with a length checked against the chunk.
            let count = unsafe { self.tx.produce(&self.pending) };
            // All or nothing; `has_room` made sure that it fits.
            self.outstanding += count as u32;
            self.counters.transmitted += count as u64;
            self.pending.drain(..count);
            self.unsent = true;
        }
        if self.unsent {
            self.kick(chunks, scratch, chunk_shift);
        }
    }

    fn kick(&mut self, chunks: &mut Chunks, scratch: &mut Scratch, chunk_shift: u32) {
        if self.zero_copy {
            // The driver takes the frames itself, and says when it sleeps.
            if self.tx.needs_wakeup() {
                options::kick_transmit(self.fd);
            }
            self.unsent = self.tx.nb_free_exact() != self.tx_slots;
            return;
        }
        for _ in 0..self.outstanding / KICK_FRAMES + KICKS_SPARE_MAX {
            match options::kick_transmit(self.fd) {
                Kick::Done => {
                    self.unsent = false;
                    break;
                }
                Kick::More => {}
                Kick::Lost => self.counters.transmit_lost += 1,
                Kick::Down => break,
            }
            // The completion ring must have room before the kernel takes more.
            self.drain_completions(chunks, scratch, chunk_shift);
        }
        self.drain_completions(chunks, scratch, chunk_shift);
    }

    /// Gives free chunks to the kernel to receive into, as many as the fill ring can hold.
    pub(super) fn refill(&mut self, chunks: &mut Chunks, scratch: &mut Scratch, descs: &[FrameDesc]) {
        while self.filled < self.fill_slots {
            let wanted = (self.fill_slots - self.filled).min(scratch.len() as u32) as usize;
            let mut count = 0;
            while count < wanted {
                let Some(chunk) = chunks.take(Place::Fill) else { break };
                scratch[count] = descs[chunk as usize];
                count += 1;
            }
            if count == 0 {
                break;
            }
            // SAFETY: each descriptor names a chunk of this socket's UMEM at `Place::Fill`, which nobody else
            // touches until it comes back through the receive ring.
            let taken = unsafe { self.fill.produce(&scratch[..count]) };
            if taken == 0 {
                // Cannot be: `filled` bounds what is in the ring. Keep the chunks rather than lose them.
                let shift = descs.get(1).map_or(0, |desc| (desc.addr() - descs[0].addr()).trailing_zeros());
                for desc in &scratch[..count] {
                    chunks.shift((desc.addr() >> shift) as u32, Place::Fill, Place::Free);
                }
                break;
            }
            self.filled += taken as u32;
        }
        if self.busy_poll || (self.zero_copy && self.fill.needs_wakeup()) {
            options::kick_receive(self.fd);
        }
    }
}
