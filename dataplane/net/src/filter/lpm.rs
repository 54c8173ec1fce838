//! Longest-prefix match over IPv4 and IPv6: built once, then only read.
//!
//! Prefixes are cut into disjoint ranges, each with the longest prefix that covers it; a look-up finds the range of an
//! address (`ranges`).
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
use super::ranges::{Bits, NONE, Ranges};

/// Prefixes of one table. 4 M cover every list in use today several times over (the full routing table has
/// 1 M); building one takes about a second. More: [`Error::TooManyPrefixes`].
pub const PREFIXES_MAX: usize = 1 << 22;

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
        let v4 = cut(v4, &mut set_parent);
        let v6 = cut(v6, &mut set_parent);
        Ok(Self { v4, v6, entries: entries.into() })
    }

    /// Number of prefixes.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes() + size_of_val(&*self.entries)
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

/// Cuts spans that contain each other or are apart into ranges, and tells each its parent.
fn cut<K: Bits>(mut spans: Vec<Span<K>>, set_parent: &mut impl FnMut(u32, u32)) -> Ranges<K> {
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
    Ranges::new(ranges)
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
