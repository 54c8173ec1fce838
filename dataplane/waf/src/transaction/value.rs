//! Texts of a transaction, by number.
//!
//! Owns: [`Values`]: one buffer of bytes and the places of texts in it. A number stays valid until the transaction
//! ends, and its text never changes.

/// A text of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ValueId(pub(crate) u32);

impl ValueId {
    /// The empty text, always there.
    pub(crate) const EMPTY: Self = Self(0);
}

/// A place in a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Span {
    #[inline]
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes.get(start..start + self.len as usize).unwrap_or_default()
    }
}

/// All texts of a transaction.
#[derive(Debug)]
pub(crate) struct Values {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    bytes_max: usize,
    is_full: bool,
}

impl Default for Values {
    fn default() -> Self {
        Self { bytes: Vec::new(), spans: vec![Span::default()], bytes_max: usize::MAX, is_full: false }
    }
}

/// Most texts of one transaction: above what the arguments, fields and matches of any request come to.
const VALUES_MAX: usize = 1 << 20;

impl Values {
    pub(crate) fn reset(&mut self, bytes_max: usize) {
        self.bytes.clear();
        self.spans.truncate(1);
        self.bytes_max = bytes_max.min(u32::MAX as usize);
        self.is_full = false;
    }

    /// Keeps a text; when no more fits, the empty one is kept in its place and the transaction is marked.
    pub(crate) fn add(&mut self, text: &[u8]) -> ValueId {
        self.add_parts(&[text])
    }

    /// Keeps the texts one behind the other.
    pub(crate) fn add_parts(&mut self, parts: &[&[u8]]) -> ValueId {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len == 0 {
            return ValueId::EMPTY;
        }
        if self.bytes.len() + len > self.bytes_max || self.spans.len() >= VALUES_MAX {
            self.is_full = true;
            return ValueId::EMPTY;
        }
        let span = Span { start: self.bytes.len() as u32, len: len as u32 };
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.spans.push(span);
        ValueId(self.spans.len() as u32 - 1)
    }

    /// Keeps a text that begins as given and ends with one that is kept already.
    pub(crate) fn add_before(&mut self, parts: &[&[u8]], kept: ValueId) -> ValueId {
        let tail = self.span(kept);
        let head: usize = parts.iter().map(|part| part.len()).sum();
        if self.bytes.len() + head + tail.len as usize > self.bytes_max || self.spans.len() >= VALUES_MAX {
            self.is_full = true;
            return ValueId::EMPTY;
        }
        let span = Span { start: self.bytes.len() as u32, len: head as u32 + tail.len };
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.extend_from_within(tail.start as usize..(tail.start + tail.len) as usize);
        self.spans.push(span);
        ValueId(self.spans.len() as u32 - 1)
    }

    /// A part of a kept text, without a copy.
    pub(crate) fn part(&mut self, of: ValueId, range: core::ops::Range<usize>) -> ValueId {
        let whole = self.spans[of.0 as usize];
        let start = range.start.min(whole.len as usize);
        let end = range.end.clamp(start, whole.len as usize);
        if start == end {
            return ValueId::EMPTY;
        }
        self.spans.push(Span { start: whole.start + start as u32, len: (end - start) as u32 });
        ValueId(self.spans.len() as u32 - 1)
    }

    #[inline]
    pub(crate) fn get(&self, id: ValueId) -> &[u8] {
        self.span(id).of(&self.bytes)
    }

    #[inline]
    pub(crate) fn span(&self, id: ValueId) -> Span {
        self.spans.get(id.0 as usize).copied().unwrap_or_default()
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.is_full
    }

    pub(crate) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}
