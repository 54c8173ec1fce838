//! Longest-prefix match over IPv4 and IPv6: built once, then only read.
//!
//! Prefixes are cut into disjoint ranges, each with the longest prefix that covers it; a look-up is a search for
//! the last range that starts at or before the address. An index over 16 bits narrows the search to a few
//! entries; they are the first bits in which the prefixes differ, so that lists of one region work as well as lists
//! of the whole Internet.
//!
//! ```text
//! prefixes   10.0.0.0/8 = A     10.1.0.0/16 = B (parent A)
//! ranges     0.0.0.0 -> none | 10.0.0.0 -> A | 10.1.0.0 -> B | 10.2.0.0 -> A | 11.0.0.0 -> none
//! ```
//! Owns: the table. Does not own: changes; a change is a new table. A prefix may be refused by the caller (it expired):
//! then the next shorter one around it is asked, through its parent.
//!
//! Cost: memory at most 16 bytes (IPv4) or 40 (IPv6) per prefix, plus the index; no more, whatever the prefixes,
//! unlike tries. Look-up: about 5 ns for some entries, 20 to 50 for a million. Building: a sort.

use core::fmt;
use core::net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::Error;

/// Prefixes of one table. 4 M cover every list in use today several times over (the full routing table has
/// 1 M); building one takes about a second. More: [`Error::TooManyPrefixes`].
pub const PREFIXES_MAX: usize = 1 << 22;

/// Most leading bits that the index tells apart: 2^16 entries of 4 bytes still fit a second-level cache.
const INDEX_BITS_MAX: u32 = 16;

/// "No prefix" among ranges and parents.
const NONE: u32 = u32::MAX;

/// An address prefix. Bits beyond its length are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

impl Prefix {
    /// The prefix of `len` bits that `addr` lies in; `None` when `len` is more than an address of its family has.
    pub fn new(addr: IpAddr, len: u8) -> Option<Self> {
        let addr = match addr {
            IpAddr::V4(addr) => {
                let host_bits = 32u32.checked_sub(u32::from(len))?;
                let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(addr) & mask))
            }
            IpAddr::V6(addr) => {
                let host_bits = 128u32.checked_sub(u32::from(len))?;
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(addr) & mask))
            }
        };
        Some(Self { addr, len })
    }

    /// The prefix of one address.
    pub const fn host(addr: IpAddr) -> Self {
        let len = if addr.is_ipv4() { 32 } else { 128 };
        Self { addr, len }
    }

    /// Its first address.
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// Its length in bits.
    #[expect(clippy::len_without_is_empty, reason = "the length of a prefix is not a number of items")]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether an address lies in it.
    pub fn contains(&self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.addr.is_ipv4() && Self::new(addr, self.len) == Some(*self)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// The part before the slash is no address.
    Addr(AddrParseError),
    /// The part behind the slash is no number from 0 to the bits of the address.
    Len,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(error) => error.fmt(f),
            Self::Len => f.write_str("prefix length is not a number of bits of the address"),
        }
    }
}

impl core::error::Error for PrefixError {}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// `addr/len`, or an address alone for itself.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((addr, len)) = text.split_once('/') else {
            return text.parse().map(Self::host).map_err(PrefixError::Addr);
        };
        let addr = addr.parse().map_err(PrefixError::Addr)?;
        let len = len.parse().map_err(|_| PrefixError::Len)?;
        Self::new(addr, len).ok_or(PrefixError::Len)
    }
}

/// A table from prefixes to values.
#[derive(Clone, Debug)]
pub struct Lpm<V> {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    entries: Box<[Entry<V>]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry<V> {
    value: V,
    /// The next shorter prefix around this one.
    parent: u32,
}

impl<V> Lpm<V> {
    /// A table without prefixes.
    pub fn empty() -> Self {
        Self { v4: Ranges::empty(), v6: Ranges::empty(), entries: Box::default() }
    }

    /// Builds a table. Of two equal prefixes the later one is asked first.
    ///
    /// # Errors
    /// [`Error::TooManyPrefixes`] above [`PREFIXES_MAX`].
    pub fn new(prefixes: impl IntoIterator<Item = (Prefix, V)>) -> Result<Self, Error> {
        let (mut v4, mut v6, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for (prefix, value) in prefixes {
            if entries.len() == PREFIXES_MAX {
                return Err(Error::TooManyPrefixes);
            }
            let entry = entries.len() as u32;
            match prefix.addr {
                IpAddr::V4(addr) => v4.push(Span::<u32>::new(addr.into(), prefix.len, entry)),
                IpAddr::V6(addr) => v6.push(Span::<u128>::new(addr.into(), prefix.len, entry)),
            }
            entries.push(Entry { value, parent: NONE });
        }
        let mut set_parent = |entry: u32, parent: u32| {
            if let Some(entry) = entries.get_mut(entry as usize) {
                entry.parent = parent;
            }
        };
        let v4 = Ranges::new(v4, &mut set_parent);
        let v6 = Ranges::new(v6, &mut set_parent);
        Ok(Self { v4, v6, entries: entries.into() })
    }

    /// Number of prefixes.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no prefixes.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of the longest prefix around `addr` that `accepts` its value.
    #[inline]
    pub fn find(&self, addr: IpAddr, accepts: impl Fn(&V) -> bool) -> Option<&V> {
        if self.entries.is_empty() {
            return None;
        }
        let mut entry = match addr {
            IpAddr::V4(addr) => self.v4.find(addr.into()),
            IpAddr::V6(addr) => self.v6.find(addr.into()),
        };
        // At most one step per prefix length (and per repetition of a prefix): parents only get shorter.
        while let Some(found) = self.entries.get(entry as usize) {
            if accepts(&found.value) {
                return Some(&found.value);
            }
            entry = found.parent;
        }
        None
    }

    /// The value of the longest prefix around `addr`.
    #[inline]
    pub fn longest(&self, addr: IpAddr) -> Option<&V> {
        self.find(addr, |_| true)
    }

    /// Whether any prefix is around `addr`.
    #[inline]
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.longest(addr).is_some()
    }
}

/// An address as a number.
trait Bits: Copy + Ord {
    const WIDTH: u32;
    const ZERO: Self;
    fn last(self, len: u8) -> Self;
    fn next(self) -> Option<Self>;
    /// Number of leading bits that `self` and `other` have in common.
    fn common(self, other: Self) -> u32;
    /// The `bits` bits after the first `skip`, `skip + bits` being at most the width.
    fn bits(self, skip: u32, bits: u32) -> usize;
}

impl Bits for u32 {
    const WIDTH: Self = Self::BITS;
    const ZERO: Self = 0;

    fn last(self, len: u8) -> Self {
        self | Self::MAX.checked_shr(Self::from(len)).unwrap_or(0)
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
        rest.checked_shr(Self::WIDTH - bits).unwrap_or(0) as usize
    }
}

impl Bits for u128 {
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
        rest.checked_shr(Self::WIDTH - bits).unwrap_or(0) as usize
    }
}

/// All addresses of a prefix.
#[derive(Clone, Copy)]
struct Span<K> {
    first: K,
    last: K,
    entry: u32,
}

impl<K: Bits> Span<K> {
    fn new(first: K, len: u8, entry: u32) -> Self {
        Self { first, last: first.last(len), entry }
    }
}

/// Disjoint ranges over a whole address space, in order.
#[derive(Clone, Debug)]
struct Ranges<K> {
    /// Where each range starts; the first at zero.
    starts: Box<[K]>,
    /// The entry of each range, or [`NONE`].
    targets: Box<[u32]>,
    /// For each value of the indexed bits, the number of ranges that start before it; one more at the end. The first
    /// range, which starts at zero, is left out: it hardly ever shares leading bits with the others.
    index: Box<[u32]>,
    index_bits: u32,
    /// Bits before the indexed ones, the same in all starts but the first.
    skip: u32,
}

impl<K: Bits> Ranges<K> {
    fn empty() -> Self {
        Self::new(Vec::new(), &mut |_, _| {})
    }

    fn new(mut spans: Vec<Span<K>>, set_parent: &mut impl FnMut(u32, u32)) -> Self {
        // Enclosing spans before enclosed ones; of equal ones the earlier entry first, so that the later is inside.
        spans.sort_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)).then(a.entry.cmp(&b.entry)));
        let mut ranges = vec![(K::ZERO, NONE)];
        let mut open: Vec<Span<K>> = Vec::new();
        for span in spans {
            close_before(&mut open, &mut ranges, |open| open.last < span.first);
            set_parent(span.entry, open.last().map_or(NONE, |open| open.entry));
            push(&mut ranges, span.first, span.entry);
            open.push(span);
        }
        close_before(&mut open, &mut ranges, |_| true);
        let (starts, targets): (Vec<K>, Vec<u32>) = ranges.into_iter().unzip();
        let index_bits = starts.len().ilog2().min(INDEX_BITS_MAX);
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

    /// The entry of the range that `addr` lies in, or [`NONE`].
    #[inline]
    fn find(&self, addr: K) -> u32 {
        let after = self.starts_up_to(addr);
        self.targets.get(after.wrapping_sub(1)).copied().unwrap_or(NONE)
    }

    /// Number of ranges that start at or before `addr`; at least one, since the first starts at zero.
    #[inline]
    fn starts_up_to(&self, addr: K) -> usize {
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

/// Ends the innermost spans that are `over`: after each, its parent's value goes on.
fn close_before<K: Bits>(
    open: &mut Vec<Span<K>>,
    ranges: &mut Vec<(K, u32)>,
    over: impl Fn(&Span<K>) -> bool,
) {
    while let Some(closed) = open.pop_if(|span| over(span)) {
        if let Some(after) = closed.last.next() {
            push(ranges, after, open.last().map_or(NONE, |open| open.entry));
        }
    }
}

fn push<K: Bits>(ranges: &mut Vec<(K, u32)>, start: K, entry: u32) {
    match ranges.last_mut() {
        Some(last) if last.0 == start => last.1 = entry,
        _ => ranges.push((start, entry)),
    }
}
