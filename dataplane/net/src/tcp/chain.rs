//! Bytes that arrived and must wait: a chain of chunks whose ends need not be full, so that two chains join in
//! constant time.
//!
//! Owns: [`Chain`], and the bounds of the data in each of its chunks (kept in the chunk's first four bytes). Does not
//! own: the chunks (`chunk`), which sequence numbers the bytes have (`assembler`).
//!
//! ```text
//! chunk: | start, end: u16 | room in front | data | room behind |        4 <= start <= end <= CHUNK_BYTES
//! ```
//! **Memory against many small pieces** (SegmentSmack, CVE-2018-5390): joining and prepending move small neighbours
//! into one chunk, so that two chunks next to each other hold more than [`SMALL_BYTES`]: a byte never costs a chunk
//! for long.

use super::chunk::{CHUNK_BYTES, ChunkPool, NONE};

/// Where data may start in a chunk.
const HEAD_BYTES: usize = 4;

/// Data of a chunk that is copied rather than chained: a copy of this much is cheaper than a cache miss and a chunk.
const SMALL_BYTES: usize = 512;

/// Chunks that one join copies at most.
const COPIES_MAX: usize = 4;

/// A queue of bytes; empty it holds no chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    head: u32,
    tail: u32,
    len: u32,
}

fn bounds(pool: &ChunkPool, chunk: u32) -> (usize, usize) {
    let Some(head) = pool.bytes(chunk).first_chunk::<HEAD_BYTES>() else { return (HEAD_BYTES, HEAD_BYTES) };
    let start = usize::from(u16::from_ne_bytes([head[0], head[1]]));
    let end = usize::from(u16::from_ne_bytes([head[2], head[3]]));
    (start, end)
}

fn set_bounds(pool: &mut ChunkPool, chunk: u32, start: usize, end: usize) {
    debug_assert!(HEAD_BYTES <= start && start <= end && end <= CHUNK_BYTES);
    if let Some(head) = pool.bytes_mut(chunk).first_chunk_mut::<HEAD_BYTES>() {
        head[..2].copy_from_slice(&(start as u16).to_ne_bytes());
        head[2..].copy_from_slice(&(end as u16).to_ne_bytes());
    }
}

fn write(pool: &mut ChunkPool, chunk: u32, at: usize, bytes: &[u8]) {
    if let Some(place) = pool.bytes_mut(chunk).get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Moves the data of a chunk so that it starts at `to`.
fn move_data(pool: &mut ChunkPool, chunk: u32, to: usize) {
    let (start, end) = bounds(pool, chunk);
    if let Some(bytes) = pool.bytes_mut(chunk).get_mut(..CHUNK_BYTES) {
        bytes.copy_within(start..end, to);
    }
    set_bounds(pool, chunk, to, to + (end - start));
}

impl Chain {
    /// No bytes.
    pub(super) const EMPTY: Self = Self { head: NONE, tail: NONE, len: 0 };

    /// Bytes in the chain.
    #[inline]
    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes and answers how many found room.
    pub(super) fn push(&mut self, pool: &mut ChunkPool, owner: u32, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.tail != NONE {
                self.move_tail_front(pool, rest.len());
            }
            let (mut start, mut end) =
                if self.tail == NONE { (0, CHUNK_BYTES) } else { bounds(pool, self.tail) };
            if end == CHUNK_BYTES {
                let Some(chunk) = pool.take(owner) else { break };
                pool.set_next(chunk, NONE);
                if self.tail == NONE {
                    self.head = chunk;
                } else {
                    pool.set_next(self.tail, chunk);
                }
                (self.tail, start, end) = (chunk, HEAD_BYTES, HEAD_BYTES);
            }
            let (part, more) = rest.split_at(rest.len().min(CHUNK_BYTES - end));
            write(pool, self.tail, end, part);
            set_bounds(pool, self.tail, start, end + part.len());
            self.len += part.len() as u32;
            rest = more;
        }
        bytes.len() - rest.len()
    }

    /// Puts bytes in front; answers how many of them, counted from their end, found room.
    pub(super) fn prepend(&mut self, pool: &mut ChunkPool, owner: u32, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.head != NONE {
                self.move_head_back(pool, rest.len());
            }
            let (mut start, mut end) =
                if self.head == NONE { (HEAD_BYTES, 0) } else { bounds(pool, self.head) };
            if start == HEAD_BYTES {
                let Some(chunk) = pool.take(owner) else { break };
                pool.set_next(chunk, self.head);
                if self.head == NONE {
                    self.tail = chunk;
                }
                (self.head, start, end) = (chunk, CHUNK_BYTES, CHUNK_BYTES);
            }
            let (more, part) = rest.split_at(rest.len() - rest.len().min(start - HEAD_BYTES));
            write(pool, self.head, start - part.len(), part);
            set_bounds(pool, self.head, start - part.len(), end);
            self.len += part.len() as u32;
            rest = more;
        }
        bytes.len() - rest.len()
    }

    /// Makes room in the first chunk for `len` bytes in front of its data, when it holds little.
    fn move_head_back(&self, pool: &mut ChunkPool, len: usize) {
        let (start, end) = bounds(pool, self.head);
        if start - HEAD_BYTES < len && end < CHUNK_BYTES && end - start <= SMALL_BYTES {
            move_data(pool, self.head, CHUNK_BYTES - (end - start));
        }
    }

    /// Makes room in the last chunk for `len` bytes behind its data, when it holds little.
    fn move_tail_front(&self, pool: &mut ChunkPool, len: usize) {
        let (start, end) = bounds(pool, self.tail);
        if CHUNK_BYTES - end < len && start > HEAD_BYTES && end - start <= SMALL_BYTES {
            move_data(pool, self.tail, HEAD_BYTES);
        }
    }

    /// Appends another chain of the same connection.
    pub(super) fn join(&mut self, pool: &mut ChunkPool, owner: u32, mut other: Self) {
        for _ in 0..COPIES_MAX {
            if self.is_empty() || other.is_empty() {
                break;
            }
            let (start, end) = bounds(pool, other.head);
            let held = end - start;
            if held <= SMALL_BYTES {
                self.move_tail_front(pool, held);
            }
            let (to_start, to_end) = bounds(pool, self.tail);
            if held > SMALL_BYTES || held > CHUNK_BYTES - to_end {
                break;
            }
            let mut small = [0; SMALL_BYTES];
            let Some(small) = small.get_mut(..held) else { break };
            if let Some(bytes) = pool.bytes(other.head).get(start..end) {
                small.copy_from_slice(bytes);
            }
            write(pool, self.tail, to_end, small);
            set_bounds(pool, self.tail, to_start, to_end + held);
            self.len += held as u32;
            other.consume(pool, owner, held as u32);
        }
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = other;
            return;
        }
        pool.set_next(self.tail, other.head);
        self.tail = other.tail;
        self.len += other.len;
    }

    /// The first bytes that lie in one piece.
    pub(super) fn peek_mut<'p>(&self, pool: &'p mut ChunkPool) -> &'p mut [u8] {
        if self.is_empty() {
            return &mut [];
        }
        let (start, end) = bounds(pool, self.head);
        pool.bytes_mut(self.head).get_mut(start..end).unwrap_or(&mut [])
    }

    /// Drops the first `count` bytes.
    pub(super) fn consume(&mut self, pool: &mut ChunkPool, owner: u32, count: u32) {
        let mut rest = count.min(self.len) as usize;
        self.len -= rest as u32;
        while self.head != NONE {
            let (start, end) = bounds(pool, self.head);
            if rest < end - start {
                set_bounds(pool, self.head, start + rest, end);
                return;
            }
            rest -= end - start;
            let next = pool.next(self.head);
            pool.give_back(owner, self.head);
            self.head = next;
        }
        self.tail = NONE;
        debug_assert!(rest == 0 && self.len == 0, "a chain shorter than it says");
    }

    /// Drops everything.
    pub(super) fn clear(&mut self, pool: &mut ChunkPool, owner: u32) {
        self.consume(pool, owner, self.len);
    }

    /// Chunks held. For tests and fuzzing.
    pub(super) fn chunk_count(&self, pool: &ChunkPool) -> usize {
        let mut count = 0;
        let mut chunk = self.head;
        while chunk != NONE {
            count += 1;
            chunk = pool.next(chunk);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contents(pool: &mut ChunkPool, mut chain: Chain, owner: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !chain.is_empty() {
            let part = chain.peek_mut(pool).to_vec();
            chain.consume(pool, owner, part.len() as u32);
            bytes.extend(part);
        }
        bytes
    }

    #[test]
    fn full_pool_stores_the_front_of_what_is_pushed_and_the_end_of_what_is_prepended() {
        let mut pool = ChunkPool::new(2 * CHUNK_BYTES);
        let mut chain = Chain::EMPTY;
        assert_eq!(chain.push(&mut pool, 0, &[7; 5_000]), 2 * (CHUNK_BYTES - HEAD_BYTES));
        chain.clear(&mut pool, 0);
        assert_eq!((pool.used(), chain), (0, Chain::EMPTY));
        assert_eq!(chain.prepend(&mut pool, 0, &[8; 5_000]), 2 * (CHUNK_BYTES - HEAD_BYTES));
        chain.consume(&mut pool, 0, 2_043);
        assert_eq!(pool.used(), 2);
        chain.consume(&mut pool, 0, 1);
        assert_eq!(pool.used(), 1);
    }

    /// SegmentSmack: every second byte, then the holes.
    #[test]
    fn single_bytes_do_not_keep_a_chunk_each() {
        let mut pool = ChunkPool::new(1_000 * CHUNK_BYTES);
        let mut whole = Chain::EMPTY;
        for index in 0..400u32 {
            let mut odd = Chain::EMPTY;
            odd.push(&mut pool, 0, &[index as u8]);
            odd.prepend(&mut pool, 0, &[index as u8]);
            whole.join(&mut pool, 0, odd);
        }
        assert_eq!((whole.len(), whole.chunk_count(&pool)), (800, 1));
        let mut whole = Chain::EMPTY;
        for index in 0..400u32 {
            let mut next = Chain::EMPTY;
            next.push(&mut pool, 0, &[index as u8]);
            next.join(&mut pool, 0, whole);
            next.prepend(&mut pool, 0, &[0]);
            whole = next;
        }
        assert!(whole.chunk_count(&pool) <= 4, "{}", whole.chunk_count(&pool));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Prepend(usize),
        JoinOther,
        Consume(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
        let len = prop_oneof![1usize..10, 1usize..600, 1usize..5_000];
        let step = prop_oneof![
            len.clone().prop_map(Step::Push),
            len.clone().prop_map(Step::Prepend),
            Just(Step::JoinOther),
            len.prop_map(|len| Step::Consume(len as u32)),
        ];
        prop::collection::vec((any::<bool>(), step), 1..60)
    }

    proptest! {
        #[test]
        fn two_chains_agree_with_vectors(steps in steps()) {
            let mut pool = ChunkPool::new(40 * CHUNK_BYTES);
            let mut chains = [Chain::EMPTY; 2];
            let mut models: [Vec<u8>; 2] = Default::default();
            let mut next = 0u8;
            for (second, step) in steps {
                let (at, other) = (usize::from(second), usize::from(!second));
                let mut draw = |len: usize| -> Vec<u8> {
                    (0..len).map(|_| { next = next.wrapping_add(1); next }).collect()
                };
                match step {
                    Step::Push(len) => {
                        let bytes = draw(len);
                        let taken = chains[at].push(&mut pool, 0, &bytes);
                        models[at].extend(&bytes[..taken]);
                    }
                    Step::Prepend(len) => {
                        let bytes = draw(len);
                        let taken = chains[at].prepend(&mut pool, 0, &bytes);
                        models[at].splice(0..0, bytes[len - taken..].iter().copied());
                    }
                    Step::JoinOther => {
                        let joined = core::mem::replace(&mut chains[other], Chain::EMPTY);
                        chains[at].join(&mut pool, 0, joined);
                        let joined = core::mem::take(&mut models[other]);
                        models[at].extend(joined);
                    }
                    Step::Consume(len) => {
                        chains[at].consume(&mut pool, 0, len);
                        let len = (len as usize).min(models[at].len());
                        models[at].drain(..len);
                    }
                }
                prop_assert_eq!(chains[at].len() as usize, models[at].len());
                let held: usize = chains.iter().map(|chain| chain.chunk_count(&pool)).sum();
                prop_assert_eq!(pool.used(), held);
            }
            for (chain, model) in chains.into_iter().zip(models) {
                prop_assert_eq!(contents(&mut pool, chain, 0), model);
            }
            prop_assert_eq!(pool.used(), 0);
        }
    }
}
