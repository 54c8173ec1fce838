//! Numbers from a seed (SplitMix64), and bytes whose value follows from their place.

/// A generator: the same seed, the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// True in `per_mille` of thousand cases.
    pub(crate) fn happens(&mut self, per_mille: u32) -> bool {
        self.next() % 1_000 < u64::from(per_mille)
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[(self.next() % of.len() as u64) as usize]
    }
}

/// The byte at `offset` of the stream `stream`.
pub(crate) fn byte_at(stream: u64, offset: u64) -> u8 {
    let x = (offset / 8 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ stream);
    ((x ^ (x >> 29)).to_le_bytes())[(offset % 8) as usize]
}

/// `len` bytes of a stream from `offset`.
pub(crate) fn bytes_at(stream: u64, offset: u64, len: usize) -> Vec<u8> {
    (offset..offset + len as u64).map(|at| byte_at(stream, at)).collect()
}
