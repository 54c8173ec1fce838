//! Sets of byte values, as 256 bits.
//!
//! Owns: [`ByteSet`], used as the presence map of a value ("which bytes occur in it") and as what a transformation or a
//! pattern needs to do anything at all. Cost: building one costs a shift and an OR per byte; asking costs four ANDs.

/// A set of byte values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    /// No byte.
    pub const EMPTY: Self = Self([0; 4]);
    /// Every byte.
    pub const ALL: Self = Self([u64::MAX; 4]);

    /// The bytes that occur in `bytes`.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> Self {
        let mut set = Self::EMPTY;
        let mut index = 0;
        while index < bytes.len() {
            set.insert(bytes[index]);
            index += 1;
        }
        set
    }

    /// The same as [`of`](Self::of), faster for long texts: a mark per value is a store that waits for no other.
    #[must_use]
    pub fn of_long(bytes: &[u8]) -> Self {
        const LONG_BYTES_MIN: usize = 64;
        if bytes.len() < LONG_BYTES_MIN {
            return Self::of(bytes);
        }
        let mut marks = [0_u8; 256];
        for byte in bytes {
            marks[usize::from(*byte)] = 1;
        }
        let mut words = [0_u64; 4];
        for (word, marks) in words.iter_mut().zip(marks.chunks_exact(64)) {
            for (octet, marks) in marks.chunks_exact(8).enumerate() {
                let mut eight = [0; 8];
                eight.copy_from_slice(marks);
                // Eight marks of 0 or 1 become eight bits: the product gathers them in the highest byte.
                let bits = u64::from_le_bytes(eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
                *word |= bits << (octet * 8);
            }
        }
        Self(words)
    }

    /// All values from `first` to `last`, both included.
    #[must_use]
    pub const fn range(first: u8, last: u8) -> Self {
        let mut set = Self::EMPTY;
        let mut value = first as u16;
        while value <= last as u16 {
            set.insert(value as u8);
            value += 1;
        }
        set
    }

    /// The 256 bits, lowest byte first.
    #[inline]
    #[must_use]
    pub const fn words(self) -> [u64; 4] {
        self.0
    }

    /// From 256 bits, lowest byte first.
    #[inline]
    #[must_use]
    pub const fn from_words(words: [u64; 4]) -> Self {
        Self(words)
    }

    /// Adds a byte.
    #[inline]
    pub const fn insert(&mut self, byte: u8) {
        self.0[(byte >> 6) as usize] |= 1 << (byte & 63);
    }

    /// Whether the byte is in.
    #[inline]
    #[must_use]
    pub const fn contains(&self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] & (1 << (byte & 63)) != 0
    }

    /// Both sets together.
    #[inline]
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self([self.0[0] | other.0[0], self.0[1] | other.0[1], self.0[2] | other.0[2], self.0[3] | other.0[3]])
    }

    /// What both have.
    #[inline]
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self([self.0[0] & other.0[0], self.0[1] & other.0[1], self.0[2] & other.0[2], self.0[3] & other.0[3]])
    }

    /// Whether they share a byte.
    #[inline]
    #[must_use]
    pub const fn meets(&self, other: &Self) -> bool {
        (self.0[0] & other.0[0])
            | (self.0[1] & other.0[1])
            | (self.0[2] & other.0[2])
            | (self.0[3] & other.0[3])
            != 0
    }

    /// Whether every byte of `other` is in this set.
    #[inline]
    #[must_use]
    pub const fn covers(&self, other: &Self) -> bool {
        (!self.0[0] & other.0[0])
            | (!self.0[1] & other.0[1])
            | (!self.0[2] & other.0[2])
            | (!self.0[3] & other.0[3])
            == 0
    }

    /// How many bytes are in.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.0[0].count_ones() + self.0[1].count_ones() + self.0[2].count_ones() + self.0[3].count_ones()
    }

    /// Whether none is in.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set = ByteSet::of(b"az\xff\0");
        for byte in 0..=255_u8 {
            assert_eq!(set.contains(byte), matches!(byte, b'a' | b'z' | 0xff | 0), "{byte}");
        }
        assert_eq!(set.len(), 4);
        let every: Vec<u8> = (0..=255).collect();
        for (start, end) in [(0, 256), (3, 90), (60, 200), (100, 255)] {
            assert_eq!(
                ByteSet::of_long(&every[start..end]),
                ByteSet::of(&every[start..end]),
                "{start}..{end}"
            );
        }
        assert_eq!(ByteSet::range(0, 255), ByteSet::ALL);
        assert!(ByteSet::of(b"abc").covers(&ByteSet::of(b"ac")));
        assert!(!ByteSet::of(b"abc").covers(&ByteSet::of(b"ad")));
        assert!(ByteSet::of(b"abc").meets(&ByteSet::of(b"xc")));
        assert!(!ByteSet::of(b"abc").meets(&ByteSet::of(b"xyz")));
    }
}
