//! Memory for the pieces of unfinished datagrams: blocks of fixed size, chained.
//!
//! Owns: the blocks, their free list, the chain of a piece. Does not own: which datagram a piece belongs to.

/// Bytes per block: one piece of an Ethernet frame fits, one of a jumbo frame takes five.
const BLOCK_BYTES: usize = 2_048;

/// End of a chain.
pub(super) const NONE: u32 = u32::MAX;

/// A piece, described in its first block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Where its data belongs, in bytes.
    pub(super) offset: u16,
    /// Bytes of data.
    pub(super) len: u16,
    /// The piece behind it in the same datagram.
    pub(super) next_piece: u32,
    next_block: u32,
}

#[derive(Debug)]
pub(super) struct Pool {
    bytes: Box<[u8]>,
    pieces: Box<[Piece]>,
    free: u32,
    used: usize,
}

impl Pool {
    pub(super) fn new(bytes_max: usize) -> Self {
        let count = bytes_max.div_ceil(BLOCK_BYTES).clamp(1, NONE as usize - 1);
        let piece = |block: usize| Piece {
            offset: 0,
            len: 0,
            next_piece: NONE,
            next_block: if block + 1 < count { block as u32 + 1 } else { NONE },
        };
        Self {
            bytes: vec![0; count * BLOCK_BYTES].into_boxed_slice(),
            pieces: (0..count).map(piece).collect(),
            free: 0,
            used: 0,
        }
    }

    pub(super) fn piece(&self, block: u32) -> Piece {
        self.pieces[block as usize]
    }

    pub(super) fn piece_mut(&mut self, block: u32) -> &mut Piece {
        &mut self.pieces[block as usize]
    }

    /// Stores a piece in free blocks and answers with its first; `None` when there are not enough.
    pub(super) fn store(&mut self, offset: u16, data: &[u8]) -> Option<u32> {
        let count = data.len().div_ceil(BLOCK_BYTES).max(1);
        if self.used + count > self.pieces.len() {
            return None;
        }
        let first = self.free;
        let mut rest = data;
        let mut last = first;
        for _ in 0..count {
            let block = self.free;
            let (part, more) = rest.split_at(rest.len().min(BLOCK_BYTES));
            let at = block as usize * BLOCK_BYTES;
            self.bytes[at..at + part.len()].copy_from_slice(part);
            rest = more;
            last = block;
            self.free = self.pieces[block as usize].next_block;
        }
        self.pieces[last as usize].next_block = NONE;
        self.used += count;
        let piece = &mut self.pieces[first as usize];
        (piece.offset, piece.len, piece.next_piece) = (offset, data.len() as u16, NONE);
        Some(first)
    }

    /// Copies the data of a piece into `out`, which is as long as the piece.
    pub(super) fn read(&self, piece: u32, out: &mut [u8]) {
        let mut block = piece;
        for part in out.chunks_mut(BLOCK_BYTES) {
            let at = block as usize * BLOCK_BYTES;
            part.copy_from_slice(&self.bytes[at..at + part.len()]);
            block = self.pieces[block as usize].next_block;
        }
    }

    /// Frees a piece and all pieces behind it.
    pub(super) fn free_pieces(&mut self, first: u32) {
        let mut piece = first;
        while piece != NONE {
            let next = self.pieces[piece as usize].next_piece;
            let mut block = piece;
            while block != NONE {
                let next_block = self.pieces[block as usize].next_block;
                self.pieces[block as usize].next_block = self.free;
                self.free = block;
                self.used -= 1;
                block = next_block;
            }
            piece = next;
        }
    }

    /// Blocks in use.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Blocks that one piece takes.
    pub(super) fn blocks_of(&self, piece: u32) -> usize {
        usize::from(self.pieces[piece as usize].len).div_ceil(BLOCK_BYTES).max(1)
    }
}
