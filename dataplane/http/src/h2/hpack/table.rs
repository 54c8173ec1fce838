//! The dynamic table (RFC 7541 §2.3.2): what the client chose to remember, newest first.
//!
//! ```text
//! bytes    [gone][ oldest: name value | ... | newest: name value ]     positions count up for ever, `base` is the
//! entries         (position, name_len, value_len) ...                  position of the first byte
//! ```
//! Owns: entries and their eviction. Cost: look-up by index; memory up to `size_max` and 8 bytes per entry, taken
//! as entries come.

use std::collections::VecDeque;

/// What an entry costs beside its bytes (RFC 7541 §4.1).
const ENTRY_OVERHEAD: usize = 32;

#[derive(Clone, Copy, Debug)]
struct Entry {
    position: u32,
    name_len: u16,
    value_len: u16,
}

impl Entry {
    fn len(self) -> usize {
        usize::from(self.name_len) + usize::from(self.value_len)
    }
}

/// The decoder's dynamic table.
#[derive(Debug)]
pub(super) struct Table {
    bytes: Vec<u8>,
    entries: VecDeque<Entry>,
    base: u32,
    /// Size by RFC 7541 §4.1.
    size: usize,
    size_max: usize,
}

impl Table {
    /// Empty; nothing is allocated.
    pub(super) fn new(size_max: usize) -> Self {
        Self { bytes: Vec::new(), entries: VecDeque::new(), base: 0, size: 0, size_max }
    }

    /// How large it may become.
    pub(super) fn size_max(&self) -> usize {
        self.size_max
    }

    /// Entry `index`, 0 is the newest.
    pub(super) fn field(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let last = self.entries.len().checked_sub(1)?;
        let entry = *self.entries.get(last.checked_sub(index)?)?;
        let start = entry.position.wrapping_sub(self.base) as usize;
        let bytes = self.bytes.get(start..start + entry.len())?;
        Some(bytes.split_at(usize::from(entry.name_len)))
    }

    /// Adds the newest entry and evicts what it displaces; one larger than the table empties it (RFC 7541 §4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let len = name.len() + value.len();
        let size = len + ENTRY_OVERHEAD;
        self.evict_to(self.size_max.saturating_sub(size));
        let (Ok(name_len), Ok(value_len)) = (u16::try_from(name.len()), u16::try_from(value.len())) else {
            return self.evict_to(0);
        };
        if size > self.size_max {
            return;
        }
        self.compact(len);
        let position = self.base.wrapping_add(self.bytes.len() as u32);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.entries.push_back(Entry { position, name_len, value_len });
        self.size += size;
    }

    /// A dynamic table size update.
    pub(super) fn resize(&mut self, size_max: usize) {
        self.size_max = size_max;
        self.evict_to(size_max);
        if self.entries.is_empty() {
            self.bytes = Vec::new();
        }
    }

    fn evict_to(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.size = self.size.saturating_sub(oldest.len() + ENTRY_OVERHEAD);
        }
    }

    /// Moves what is left to the front once the new bytes would not fit behind it.
    fn compact(&mut self, len: usize) {
        if self.bytes.len() + len <= self.bytes.capacity().min(self.size_max) {
            return;
        }
        let end = self.base.wrapping_add(self.bytes.len() as u32);
        let first = self.entries.front().map_or(end, |entry| entry.position);
        let gone = first.wrapping_sub(self.base) as usize;
        self.bytes.drain(..gone.min(self.bytes.len()));
        self.base = first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entry_has_index_zero() {
        let mut table = Table::new(4096);
        table.insert(b"a", b"1");
        table.insert(b"b", b"2");
        assert_eq!(table.field(0), Some((&b"b"[..], &b"2"[..])));
        assert_eq!(table.field(1), Some((&b"a"[..], &b"1"[..])));
        assert_eq!(table.field(2), None);
    }

    #[test]
    fn the_oldest_entries_make_room_and_memory_stays_bounded() {
        let mut table = Table::new(256);
        for round in 0..10_000u32 {
            let value = round.to_string();
            table.insert(b"name", value.as_bytes());
            assert_eq!(table.field(0), Some((&b"name"[..], value.as_bytes())));
            assert!(table.size <= 256 && table.bytes.len() <= 256);
        }
        let count = table.entries.len();
        let oldest = (10_000 - count as u32).to_string();
        assert_eq!(table.field(count - 1), Some((&b"name"[..], oldest.as_bytes())));
    }

    #[test]
    fn an_entry_larger_than_the_table_empties_it() {
        let mut table = Table::new(64);
        table.insert(b"a", b"1");
        table.insert(b"name", &[b'x'; 64]);
        assert_eq!(table.field(0), None);
        assert_eq!(table.size, 0);
    }

    #[test]
    fn a_smaller_size_evicts_at_once() {
        let mut table = Table::new(4096);
        table.insert(b"a", b"1");
        table.insert(b"b", b"2");
        table.resize(40);
        assert_eq!(table.field(0), Some((&b"b"[..], &b"2"[..])));
        assert_eq!(table.field(1), None);
        table.resize(0);
        assert_eq!(table.field(0), None);
    }
}
