//! Which range a number lies in, of disjoint ranges over all numbers: built once, then only read.
//!
//! A look-up is a search for the last range that starts at or before the number. An index over 16 bits narrows the
//! search to a few entries; they are the first bits in which the starts differ, so that ranges of one region work as
//! well as ranges over everything.
//!
//! Owns: the search. Does not own: how prefixes (`lpm`) or conditions (`classes`) are cut into ranges, and what the
//! targets mean.
//!
//! Cost: per range its start and 4 bytes, and at most 4 more for the index. A look-up: 5 ns for some ranges, 20 to 50
//! for a million.

/// Most leading bits that the index tells apart: 2^16 entries of 4 bytes still fit a second-level cache.
const INDEX_BITS_MAX: u32 = 16;

/// Up to so many ranges all starts are looked at, which takes less than the search; not of 128 bits, which no
/// instruction compares.
const COUNTED_MAX: usize = 8;

/// "No target".
pub(super) const NONE: u32 = u32::MAX;

/// An address or a port as a number.
pub(super) trait Bits: Copy + Ord {
    /// Its bits.
    const WIDTH: u32;
    /// The least.
    const ZERO: Self;
    /// The last value that has the first `len` bits of this one, the others being zero.
    fn last(self, len: u8) -> Self;
    /// The value behind this one; `None` behind the greatest.
    fn next(self) -> Option<Self>;
    /// Number of leading bits that `self` and `other` have in common.
    fn common(self, other: Self) -> u32;
    /// The `bits` bits after the first `skip`, `skip + bits` being at most the width.
    fn bits(self, skip: u32, bits: u32) -> usize;
}

/// The same for each unsigned integer; a macro, since the standard library has no trait of these operations.
macro_rules! bits {
    ($($number:ty),*) => {$(
        impl Bits for $number {
            const WIDTH: u32 = Self::BITS;
            const ZERO: Self = 0;

            fn last(self, len: u8) -> Self {
                self | Self::MAX.checked_shr(u32::from(len)).unwrap_or(0)
            }

            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            #[inline]
            fn common(self, other: Self) -> u32 {
                (self ^ other).leading_zeros()
            }

            #[inline]
            fn bits(self, skip: u32, bits: u32) -> usize {
                let rest = self.checked_shl(skip).unwrap_or(0);
                rest.checked_shr(Self::BITS - bits).unwrap_or(0) as usize
            }
        }
    )*};
}

bits!(u16, u32, u128);

/// Disjoint ranges over all values of a number, in order.
#[derive(Clone, Debug)]
pub(super) struct Ranges<K> {
    /// Where each range starts; the first at zero.
    starts: Box<[K]>,
    /// The target of each range, or [`NONE`].
    targets: Box<[u32]>,
    /// For each value of the indexed bits, the number of ranges that start before it; one more at the end. The first
    /// range, which starts at zero, is left out: it hardly ever shares leading bits with the others.
    index: Box<[u32]>,
    index_bits: u32,
    /// Bits before the indexed ones, the same in all starts but the first.
    skip: u32,
}

impl<K: Bits> Ranges<K> {
    /// One range without a target.
    pub(super) fn empty() -> Self {
        Self::new(vec![(K::ZERO, NONE)])
    }

    /// Ranges by where they start, in order, the first at zero, each with its target.
    pub(super) fn new(ranges: Vec<(K, u32)>) -> Self {
        let (starts, targets): (Vec<K>, Vec<u32>) = ranges.into_iter().unzip();
        let index_bits = starts.len().max(1).ilog2().min(INDEX_BITS_MAX).min(K::WIDTH);
        let common = match starts.get(1..) {
            Some([first, .., last]) => first.common(*last),
            _ => K::WIDTH,
        };
        let skip = common.min(K::WIDTH - index_bits);
        let mut index = Vec::with_capacity((1 << index_bits) + 1);
        let mut before = 1;
        for value in 0..=1usize << index_bits {
            let rest = starts.get(before..).unwrap_or(&[]);
            before += rest.partition_point(|start| start.bits(skip, index_bits) < value);
            index.push(before as u32);
        }
        Self { starts: starts.into(), targets: targets.into(), index: index.into(), index_bits, skip }
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.starts) + size_of_val(&*self.targets) + size_of_val(&*self.index)
    }

    /// The target of the range that `addr` lies in, or [`NONE`].
    #[inline]
    pub(super) fn find(&self, addr: K) -> u32 {
        let after = self.starts_up_to(addr);
        self.targets.get(after.wrapping_sub(1)).copied().unwrap_or(NONE)
    }

    /// Number of ranges that start at or before `addr`; at least one, since the first starts at zero.
    #[inline]
    fn starts_up_to(&self, addr: K) -> usize {
        if K::WIDTH <= 32 && self.starts.len() <= COUNTED_MAX {
            // No branch that depends on the number: nothing to mispredict.
            return self.starts.iter().map(|start| usize::from(*start <= addr)).sum();
        }
        let Some(first) = self.starts.get(1) else { return 1 };
        if addr < *first {
            return 1;
        }
        // Not below the first and different before the indexed bits: above all.
        if addr.common(*first) < self.skip {
            return self.starts.len();
        }
        let bucket = addr.bits(self.skip, self.index_bits);
        let (Some(from), Some(to)) = (self.index.get(bucket), self.index.get(bucket + 1)) else { return 1 };
        let starts = self.starts.get(*from as usize..*to as usize).unwrap_or(&[]);
        // The range before them may start in an earlier bucket.
        *from as usize + starts.partition_point(|start| *start <= addr)
    }
}
