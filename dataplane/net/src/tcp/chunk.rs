//! Memory for bytes that must wait: chunks of one size out of one region, and a byte queue made of them.
//!
//! Owns: the region, who holds which chunk, the free list, [`ChunkQueue`]. Does not own: what the bytes mean, or
//! who must give way when memory is short (the caller asks [`ChunkPool::used`] and decides).
//!
//! ```text
//! queue:  head ─► [....#####] ─► [#########] ─► [###......] ◄─ tail      `start` bytes of the head are consumed
//! ```
//! The region is asked for once, at start, and comes from the kernel as untouched zero pages; chunks are handed out
//! lowest first and reused last-in first-out. Memory is therefore touched only up to the peak of what was ever
//! held at one time, and an idle connection holds none.
//!
//! Cost: taking and giving back a chunk is a few instructions; 8 bytes per chunk beside its 2,048.

/// Bytes per chunk: one Ethernet segment or a small TLS record fits. Smaller would cost more links per byte, larger
/// more waste for the many connections that hold one short message.
pub(super) const CHUNK_BYTES: usize = 2_048;

/// End of a chain, and "no chunk".
pub(super) const NONE: u32 = u32::MAX;

/// All chunks of one stack.
#[derive(Debug)]
pub(super) struct ChunkPool {
    bytes: Box<[u8]>,
    /// Per chunk the one behind it in its chain, plus one; zero is the end. Zero, so that the entries of chunks
    /// which were never used need no memory page either.
    next: Box<[u32]>,
    /// Per chunk the connection that holds it, plus one; zero when it is free.
    owners: Box<[u32]>,
    /// Chunks that were given back, chained.
    free: u32,
    /// The first chunk that was never handed out.
    fresh: u32,
    used: u32,
    peak: u32,
}

impl ChunkPool {
    /// A pool of `bytes_max` bytes, rounded down to whole chunks; at least one.
    pub(super) fn new(bytes_max: usize) -> Self {
        let count = (bytes_max / CHUNK_BYTES).clamp(1, NONE as usize - 1);
        Self {
            bytes: vec![0; count * CHUNK_BYTES].into_boxed_slice(),
            next: vec![0; count].into_boxed_slice(),
            owners: vec![0; count].into_boxed_slice(),
            free: NONE,
            fresh: 0,
            used: 0,
            peak: 0,
        }
    }

    /// Takes a chunk for connection `owner`. `None` when all are in use.
    #[inline]
    pub(super) fn take(&mut self, owner: u32) -> Option<u32> {
        let chunk = if self.free == NONE {
            let fresh = self.fresh;
            if fresh as usize >= self.capacity() {
                return None;
            }
            self.fresh += 1;
            fresh
        } else {
            let chunk = self.free;
            self.free = self.next(chunk);
            chunk
        };
        self.set_next(chunk, NONE);
        *self.owners.get_mut(chunk as usize)? = owner.wrapping_add(1);
        self.used += 1;
        self.peak = self.peak.max(self.used);
        Some(chunk)
    }

    /// Gives back a chunk of connection `owner`. One that it does not hold is left alone: better a lost chunk
    /// than one with two owners.
    #[inline]
    pub(super) fn give_back(&mut self, owner: u32, chunk: u32) {
        let Some(holder) = self.owners.get_mut(chunk as usize) else { return };
        let is_holder = *holder == owner.wrapping_add(1);
        debug_assert!(is_holder, "chunk {chunk} is not held by connection {owner}");
        if is_holder {
            *holder = 0;
            self.set_next(chunk, self.free);
            self.free = chunk;
            self.used -= 1;
        }
    }

    /// Bytes of a chunk.
    #[inline]
    pub(super) fn bytes(&self, chunk: u32) -> &[u8] {
        let at = chunk as usize * CHUNK_BYTES;
        self.bytes.get(at..at + CHUNK_BYTES).unwrap_or(&[])
    }

    /// Bytes of a chunk, writable.
    #[inline]
    pub(super) fn bytes_mut(&mut self, chunk: u32) -> &mut [u8] {
        let at = chunk as usize * CHUNK_BYTES;
        self.bytes.get_mut(at..at + CHUNK_BYTES).unwrap_or(&mut [])
    }

    /// The chunk behind `chunk` in its chain.
    #[inline]
    pub(super) fn next(&self, chunk: u32) -> u32 {
        self.next.get(chunk as usize).map_or(NONE, |next| next.wrapping_sub(1))
    }

    /// Chains `next` behind `chunk`.
    #[inline]
    pub(super) fn set_next(&mut self, chunk: u32, next: u32) {
        if let Some(link) = self.next.get_mut(chunk as usize) {
            *link = next.wrapping_add(1);
        }
    }

    /// Chunks in use.
    #[inline]
    pub(super) fn used(&self) -> usize {
        self.used as usize
    }

    /// Most chunks that were in use at one time: what the pool costs in memory.
    pub(super) fn peak(&self) -> usize {
        self.peak as usize
    }

    /// Chunks in all.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.owners.len()
    }

    /// Chunks that are free.
    #[inline]
    pub(super) fn free(&self) -> usize {
        self.capacity() - self.used()
    }
}

/// A queue of bytes in chunks: appended at the tail, consumed at the head, readable anywhere. Empty it holds none.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkQueue {
    head: u32,
    tail: u32,
    /// Bytes of the head that were consumed.
    start: u16,
    len: u32,
}

impl ChunkQueue {
    /// A queue without bytes.
    pub(super) const EMPTY: Self = Self { head: NONE, tail: NONE, start: 0, len: 0 };

    /// Bytes in the queue.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the queue has no bytes.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that fit without another chunk.
    #[inline]
    pub(super) fn tail_room(&self) -> usize {
        CHUNK_BYTES - self.tail_fill()
    }

    /// Chunks held.
    #[cfg(test)]
    pub(super) fn chunk_count(&self) -> usize {
        if self.is_empty() { 0 } else { (usize::from(self.start) + self.len()).div_ceil(CHUNK_BYTES) }
    }

    /// Offset in the tail chunk where the next byte goes; a full or absent tail says [`CHUNK_BYTES`].
    #[inline]
    fn tail_fill(&self) -> usize {
        if self.is_empty() {
            return CHUNK_BYTES;
        }
        match (usize::from(self.start) + self.len()) % CHUNK_BYTES {
            0 => CHUNK_BYTES,
            fill => fill,
        }
    }

    /// Appends bytes and answers how many: fewer than given when the pool has no more chunks.
    pub(super) fn push(&mut self, pool: &mut ChunkPool, owner: u32, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut fill = self.tail_fill();
            if fill == CHUNK_BYTES {
                let Some(chunk) = pool.take(owner) else { break };
                if self.is_empty() {
                    (self.head, self.start) = (chunk, 0);
                } else {
                    pool.set_next(self.tail, chunk);
                }
                (self.tail, fill) = (chunk, 0);
            }
            let (part, more) = rest.split_at(rest.len().min(CHUNK_BYTES - fill));
            let Some(place) = pool.bytes_mut(self.tail).get_mut(fill..fill + part.len()) else { break };
            place.copy_from_slice(part);
            self.len += part.len() as u32;
            rest = more;
        }
        bytes.len() - rest.len()
    }

    /// The first bytes that lie in one piece.
    #[cfg(test)]
    pub(super) fn peek_mut<'p>(&self, pool: &'p mut ChunkPool) -> &'p mut [u8] {
        let start = usize::from(self.start);
        let end = CHUNK_BYTES.min(start + self.len());
        if self.is_empty() {
            return &mut [];
        }
        pool.bytes_mut(self.head).get_mut(start..end).unwrap_or(&mut [])
    }

    /// Drops the first `count` bytes and gives back the chunks that they leave empty.
    pub(super) fn consume(&mut self, pool: &mut ChunkPool, owner: u32, count: usize) {
        let count = count.min(self.len());
        if count == self.len() {
            self.clear(pool, owner);
            return;
        }
        let mut start = usize::from(self.start) + count;
        while start >= CHUNK_BYTES {
            let next = pool.next(self.head);
            pool.give_back(owner, self.head);
            self.head = next;
            start -= CHUNK_BYTES;
        }
        self.start = start as u16;
        self.len -= count as u32;
    }

    /// Drops everything.
    pub(super) fn clear(&mut self, pool: &mut ChunkPool, owner: u32) {
        let mut chunk = if self.is_empty() { NONE } else { self.head };
        while chunk != NONE {
            let next = pool.next(chunk);
            pool.give_back(owner, chunk);
            chunk = next;
        }
        *self = Self::EMPTY;
    }

    /// The place of the byte at `offset`, found from the head.
    pub(super) fn cursor(&self, pool: &ChunkPool, offset: usize) -> Cursor {
        Cursor { chunk: self.head, at: u32::from(self.start) }.advanced(pool, offset)
    }

    /// Copies from `cursor` into the whole of `out`. The caller knows that the queue holds that many bytes there; from
    /// beyond its end, `out` keeps what it had.
    pub(super) fn copy(pool: &ChunkPool, cursor: Cursor, out: &mut [u8]) {
        let Cursor { mut chunk, at } = cursor;
        let mut at = at as usize;
        let mut rest = out;
        while !rest.is_empty() && chunk != NONE {
            if at == CHUNK_BYTES {
                (chunk, at) = (pool.next(chunk), 0);
                continue;
            }
            let len = rest.len().min(CHUNK_BYTES - at);
            let (part, more) = rest.split_at_mut(len);
            let Some(bytes) = pool.bytes(chunk).get(at..at + len) else { break };
            part.copy_from_slice(bytes);
            at += len;
            rest = more;
        }
    }
}

/// The place of a byte in a queue. Valid until that byte is consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    chunk: u32,
    at: u32,
}

impl Cursor {
    /// No place.
    pub(super) const NOWHERE: Self = Self { chunk: NONE, at: 0 };

    /// The place `count` bytes further on.
    pub(super) fn advanced(self, pool: &ChunkPool, count: usize) -> Self {
        let Self { mut chunk, at } = self;
        let mut at = at as usize + count;
        while at >= CHUNK_BYTES && chunk != NONE {
            at -= CHUNK_BYTES;
            chunk = pool.next(chunk);
        }
        Self { chunk, at: at as u32 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn chunks_are_counted_and_come_back() {
        let mut pool = ChunkPool::new(3 * CHUNK_BYTES + 5);
        assert_eq!((pool.capacity(), pool.used()), (3, 0));
        let chunks: Vec<u32> = core::iter::from_fn(|| pool.take(7)).collect();
        assert_eq!(chunks, [0, 1, 2]);
        pool.give_back(7, 1);
        assert_eq!((pool.used(), pool.free()), (2, 1));
        assert_eq!(pool.take(8), Some(1), "the warm chunk is used again");
        assert_eq!(pool.take(8), None);
        assert_eq!(pool.peak(), 3);
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "is not held"))]
    fn chunk_of_another_connection_is_not_freed() {
        let mut pool = ChunkPool::new(CHUNK_BYTES);
        let chunk = pool.take(1).unwrap();
        pool.give_back(2, chunk);
        assert_eq!(pool.used(), 1);
    }

    #[test]
    fn full_pool_takes_what_fits_and_an_emptied_queue_holds_nothing() {
        let mut pool = ChunkPool::new(2 * CHUNK_BYTES);
        let mut queue = ChunkQueue::EMPTY;
        assert_eq!(queue.push(&mut pool, 0, &[1; 5_000]), 4_096);
        assert_eq!(queue.push(&mut pool, 0, &[1]), 0);
        queue.consume(&mut pool, 0, 2_047);
        assert_eq!(pool.used(), 2);
        queue.consume(&mut pool, 0, 1);
        assert_eq!(pool.used(), 1);
        queue.consume(&mut pool, 0, 9_999);
        assert_eq!((pool.used(), queue.len(), queue.chunk_count()), (0, 0, 0));
        assert_eq!(queue.peek_mut(&mut pool), []);
    }

    #[test]
    fn cursor_moves_on_over_chunks() {
        let mut pool = ChunkPool::new(4 * CHUNK_BYTES);
        let mut queue = ChunkQueue::EMPTY;
        queue.push(&mut pool, 0, &[1; 2 * CHUNK_BYTES]);
        queue.push(&mut pool, 0, b"more");
        queue.consume(&mut pool, 0, 100);
        let cursor = queue.cursor(&pool, 10).advanced(&pool, 2 * CHUNK_BYTES - 110);
        let mut out = [0; 4];
        ChunkQueue::copy(&pool, cursor, &mut out);
        assert_eq!(&out, b"more");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Consume(usize),
        Read(usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0usize..6_000).prop_map(Step::Push),
            (0usize..6_000).prop_map(Step::Consume),
            (0usize..9_000, 0usize..5_000).prop_map(|(offset, len)| Step::Read(offset, len)),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        #[test]
        fn two_queues_in_one_pool_agree_with_vectors(steps in steps()) {
            let mut pool = ChunkPool::new(12 * CHUNK_BYTES);
            let mut queues = [ChunkQueue::EMPTY; 2];
            let mut models: [Vec<u8>; 2] = Default::default();
            let mut next = 0u8;
            for (index, step) in steps.into_iter().enumerate() {
                let (queue, model) = (&mut queues[index % 2], &mut models[index % 2]);
                let owner = (index % 2) as u32;
                match step {
                    Step::Push(len) => {
                        let bytes: Vec<u8> = (0..len).map(|_| { next = next.wrapping_add(1); next }).collect();
                        let taken = queue.push(&mut pool, owner, &bytes);
                        model.extend(&bytes[..taken]);
                    }
                    Step::Consume(len) => {
                        queue.consume(&mut pool, owner, len);
                        model.drain(..len.min(model.len()));
                    }
                    Step::Read(offset, len) => {
                        let offset = offset.min(model.len());
                        let len = len.min(model.len() - offset);
                        let mut out = vec![0; len];
                        ChunkQueue::copy(&pool, queue.cursor(&pool, offset), &mut out);
                        prop_assert_eq!(&out, &model[offset..offset + len]);
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                let first = queue.peek_mut(&mut pool);
                prop_assert!(model.starts_with(first) && first.is_empty() == model.is_empty());
                let held: usize = queues.iter().map(ChunkQueue::chunk_count).sum();
                prop_assert_eq!(pool.used(), held);
            }
        }
    }
}
