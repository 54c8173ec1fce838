//! Fields of a head or a trailer section, in order, names in the case they came in.
//!
//! Owns: the buffer that a head's other parts share. Cost: 16 bytes of index per field.
use super::{Known, Span, trailers};
use crate::{error::Error, syntax};

/// Fields and the buffer they lie in.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    name_start: u32,
    value_start: u32,
    value_len: u32,
    name_len: u16,
    known: Known,
}

impl Entry {
    fn name(self) -> Span {
        Span { start: self.name_start, len: u32::from(self.name_len) }
    }

    fn value(self) -> Span {
        Span { start: self.value_start, len: self.value_len }
    }
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as it came (HTTP/2: lower case).
    pub name: &'a [u8],
    /// The value without whitespace around it.
    pub value: &'a [u8],
    /// Which name it is.
    pub known: Known,
}

impl Field<'_> {
    /// Whether it may stand in a trailer section (RFC 9110 §6.5.1): it neither frames, routes, authenticates nor
    /// describes the message, and does not say who the client is.
    pub fn may_trail(&self) -> bool {
        !trailers::is_forbidden(self.name, self.known)
    }
}

impl Fields {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Field<'_>> + ExactSizeIterator + Clone {
        self.entries.iter().map(|entry| self.field_of(*entry))
    }

    /// The first value of a known field.
    pub fn known(&self, known: Known) -> Option<&[u8]> {
        let entry = self.entries.iter().find(|entry| entry.known == known)?;
        Some(entry.value().of(&self.bytes))
    }

    /// Every value of a known field, in order.
    pub fn all_known(&self, known: Known) -> impl Iterator<Item = &[u8]> + Clone {
        self.entries
            .iter()
            .filter(move |entry| entry.known == known)
            .map(|entry| entry.value().of(&self.bytes))
    }

    /// The first value under a name, whatever its case.
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Adds a field at the end. Refuses what could not be written as one line.
    pub fn append(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        let entry = self.stored(name, value)?;
        self.entries.push(entry);
        Ok(())
    }

    /// Puts one field in place of all of that name: where the first was, or at the end.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), Error> {
        let entry = self.stored(name, value)?;
        let position = self.entries.iter().position(|old| self.is_named(*old, name));
        match position {
            Some(position) => {
                if let Some(slot) = self.entries.get_mut(position) {
                    *slot = entry;
                }
                self.drop_named(name, position + 1);
            }
            None => self.entries.push(entry),
        }
        Ok(())
    }

    /// Takes out every field of a name; how many there were.
    pub fn remove(&mut self, name: &[u8]) -> usize {
        self.drop_named(name, 0)
    }

    /// Forgets everything but the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Room held, bytes: for those who trim a pool of heads.
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Stores bytes beside the fields: start lines share the buffer.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) -> Span {
        let span = Span { start: saturated(self.bytes.len()), len: saturated(bytes.len()) };
        self.bytes.extend_from_slice(bytes);
        span
    }

    /// Indexes a field whose bytes were stored by `push_bytes` and checked by a parser.
    pub(crate) fn push_parsed(&mut self, name: Span, value: Span) -> Known {
        let known = Known::of(name.of(&self.bytes));
        self.entries.push(Entry {
            name_start: name.start,
            value_start: value.start,
            value_len: value.len,
            name_len: u16::try_from(name.len).unwrap_or(u16::MAX),
            known,
        });
        known
    }

    pub(crate) fn drop_forbidden_trailers(&mut self) {
        let bytes = &self.bytes;
        self.entries.retain(|entry| !trailers::is_forbidden(entry.name().of(bytes), entry.known));
    }

    /// Puts the last field first: Host leads what we write.
    pub(crate) fn last_to_front(&mut self) {
        if !self.entries.is_empty() {
            self.entries.rotate_right(1);
        }
    }

    fn stored(&mut self, name: &[u8], value: &[u8]) -> Result<Entry, Error> {
        let name_len = u16::try_from(name.len()).map_err(|_| Error::FieldBytes)?;
        if !syntax::is_token(name) {
            return Err(Error::FieldName);
        }
        if !syntax::is_field_value(value) {
            return Err(Error::FieldValue);
        }
        let value = value.trim_ascii();
        let name_at = self.push_bytes(name);
        let value_at = self.push_bytes(value);
        Ok(Entry {
            name_start: name_at.start,
            value_start: value_at.start,
            value_len: value_at.len,
            name_len,
            known: Known::of(name),
        })
    }

    fn field_of(&self, entry: Entry) -> Field<'_> {
        Field { name: entry.name().of(&self.bytes), value: entry.value().of(&self.bytes), known: entry.known }
    }

    fn is_named(&self, entry: Entry, name: &[u8]) -> bool {
        usize::from(entry.name_len) == name.len() && entry.name().of(&self.bytes).eq_ignore_ascii_case(name)
    }

    fn drop_named(&mut self, name: &[u8], from: usize) -> usize {
        let before = self.entries.len();
        let bytes = &self.bytes;
        let mut index = 0;
        self.entries.retain(|entry| {
            index += 1;
            index <= from
                || usize::from(entry.name_len) != name.len()
                || !entry.name().of(bytes).eq_ignore_ascii_case(name)
        });
        before - self.entries.len()
    }
}

/// Heads are bounded far below 4 GiB by the limits; a caller's own edits saturate into an empty part.
fn saturated(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
