//! Buffers lent to sessions while bytes wait in them.
//!
//! Owns: [`Buffer`], a queue of bytes, and [`Buffers`], the worker's pool of them. An idle session holds none.
//! Each user bounds what it puts in; see the constants there. Cost: no allocation as long as the pool has a buffer.

use super::tls::Output;

/// Unused buffers kept, 16 KiB each as a rule: 4 MiB. More go back to the allocator.
const KEPT_MAX: usize = 256;

/// Room a new buffer has: a TLS record, or a common head with its body.
pub(super) const BUFFER_BYTES: usize = 16 << 10;

/// A buffer that grew beyond this is not kept: one large head or held body should not stay for ever.
const KEPT_BYTES_MAX: usize = 128 << 10;

/// Bytes that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        // Moving what is left is cheaper than growing, and it is short: what waits is bounded.
        if self.start > 0 && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }
}

/// What every way out needs: buffers for what waits, and room for the TLS records on their way to the front.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) buffers: Buffers,
    pub(super) records: Output,
}

/// The pool of one worker.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    free: Vec<Vec<u8>>,
    lent: u32,
}

impl Buffers {
    /// An empty buffer.
    pub(super) fn take(&mut self) -> Buffer {
        self.lent += 1;
        let bytes = self.free.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
        Buffer { bytes, start: 0 }
    }

    pub(super) fn give_back(&mut self, buffer: Buffer) {
        self.lent = self.lent.saturating_sub(1);
        let mut bytes = buffer.bytes;
        if self.free.len() < KEPT_MAX && bytes.capacity() <= KEPT_BYTES_MAX {
            bytes.clear();
            self.free.push(bytes);
        }
    }

    /// Puts bytes at the end of a buffer that may not be there yet.
    pub(super) fn push(&mut self, slot: &mut Option<Buffer>, bytes: &[u8]) {
        if !bytes.is_empty() {
            slot.get_or_insert_with(|| self.take()).push(bytes);
        }
    }

    /// Takes bytes from the front; an empty buffer goes back to the pool.
    pub(super) fn consume(&mut self, slot: &mut Option<Buffer>, count: usize) {
        if let Some(buffer) = slot {
            buffer.consume(count);
            if buffer.is_empty() {
                self.release(slot);
            }
        }
    }

    /// Gives back the buffer in a slot, if there is one.
    pub(super) fn release(&mut self, slot: &mut Option<Buffer>) {
        if let Some(buffer) = slot.take() {
            self.give_back(buffer);
        }
    }

    /// Buffers not given back.
    pub(super) fn lent(&self) -> u32 {
        self.lent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_and_the_buffer_goes_back() {
        let mut pool = Buffers::default();
        let mut slot = None;
        pool.push(&mut slot, b"");
        assert!(slot.is_none(), "nothing needs no buffer");
        pool.push(&mut slot, b"abc");
        pool.push(&mut slot, b"def");
        pool.consume(&mut slot, 4);
        assert_eq!(slot.as_ref().map(Buffer::bytes), Some(&b"ef"[..]));
        assert_eq!(pool.lent(), 1);
        pool.consume(&mut slot, 9);
        assert!(slot.is_none());
        assert_eq!(pool.lent(), 0);
    }

    #[test]
    fn a_queue_that_never_empties_does_not_grow() {
        let mut buffer = Buffer { bytes: Vec::with_capacity(64), start: 0 };
        buffer.push(&[7; 40]);
        for round in 0..1_000u32 {
            buffer.push(&[round as u8; 20]);
            buffer.consume(20);
        }
        assert_eq!(buffer.len(), 40);
        assert_eq!(buffer.bytes.capacity(), 64);
    }
}
