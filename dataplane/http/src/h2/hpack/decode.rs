//! Header blocks in: every representation of RFC 7541 §6, under the bounds of one connection.
//!
//! Owns: the dynamic table and the rules of its size. Does not own: the header list's limit; whoever takes the
//! fields may stop the decoding.
//! Cost: no allocation but the table's growth; strings that are not Huffman coded are lent from the block.

use core::ops::{ControlFlow, Range};

use super::table::Table;
use super::{Malformed, huffman, integer, static_table};

/// Table size both sides assume until SETTINGS say otherwise (RFC 9113 §6.5.2).
const TABLE_BYTES_DEFAULT: usize = 4096;
/// Size updates before the first field: the smallest and the last of a change (RFC 7541 §4.2).
const SIZE_UPDATES_MAX: u32 = 2;

/// Prefix of the name index of a literal that goes into the table (RFC 7541 §6.2.1).
const INDEXING_BITS: u32 = 6;

/// The decoding side of one connection.
#[derive(Debug)]
pub(in super::super) struct Decoder {
    table: Table,
    /// What we announced.
    announced: usize,
    /// Whether the client knows: before, it may use the default size.
    is_acknowledged: bool,
    /// Whether the client, knowing of a smaller table, still has to say so (RFC 7541 §4.2). Until then the table must
    /// not be used: both sides would think of it differently. A client that never uses it need not speak of it.
    owes_update: bool,
}

/// Where a string of a field lies.
enum Text {
    Block(Range<usize>),
    Scratch(Range<usize>),
}

impl Text {
    fn of<'a>(&self, block: &'a [u8], scratch: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Block(range) => block.get(range.clone()),
            Self::Scratch(range) => scratch.get(range.clone()),
        }
        .unwrap_or_default()
    }
}

impl Decoder {
    /// With an empty table; `announced` is our SETTINGS_HEADER_TABLE_SIZE.
    pub(in super::super) fn new(announced: usize) -> Self {
        Self { table: Table::new(TABLE_BYTES_DEFAULT), announced, is_acknowledged: false, owes_update: false }
    }

    /// The client knows our SETTINGS now.
    pub(in super::super) fn acknowledged(&mut self) {
        self.is_acknowledged = true;
    }

    /// Decodes a whole block and gives each field, in order, to `sink`, until that breaks off.
    ///
    /// # Errors
    /// The block is malformed; the connection must end.
    pub(in super::super) fn decode(
        &mut self,
        block: &[u8],
        scratch: &mut Vec<u8>,
        mut sink: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Malformed> {
        let mut at = self.size_updates(block)?;
        while let Some(first) = block.get(at).copied() {
            let flow = match first {
                0x80.. => {
                    let index = integer::decode(block, &mut at, 7)?;
                    let (name, value) = self.indexed(index)?;
                    sink(name, value)
                }
                0x40.. => self.literal(block, &mut at, INDEXING_BITS, scratch, &mut sink)?,
                // A size update after the first field.
                0x20.. => return Err(Malformed),
                _ => self.literal(block, &mut at, 4, scratch, &mut sink)?,
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn size_updates(&mut self, block: &[u8]) -> Result<usize, Malformed> {
        let size_max =
            if self.is_acknowledged { self.announced } else { self.announced.max(TABLE_BYTES_DEFAULT) };
        let mut at = 0;
        let mut count = 0;
        while block.get(at).is_some_and(|first| first & 0xe0 == 0x20) {
            count += 1;
            let size = integer::decode(block, &mut at, 5)?;
            if size > size_max || count > SIZE_UPDATES_MAX {
                return Err(Malformed);
            }
            self.table.resize(size);
        }
        self.owes_update = self.table.size_max() > size_max;
        Ok(at)
    }

    fn indexed(&self, index: usize) -> Result<(&[u8], &[u8]), Malformed> {
        let index = index.checked_sub(1).ok_or(Malformed)?;
        match static_table::ENTRIES.get(index) {
            Some(entry) => Ok(*entry),
            None if self.owes_update => Err(Malformed),
            None => self.table.field(index - static_table::ENTRIES.len()).ok_or(Malformed),
        }
    }

    /// A literal whose name index has `bits` bits; with six it also goes into the table.
    fn literal(
        &mut self,
        block: &[u8],
        at: &mut usize,
        bits: u32,
        scratch: &mut Vec<u8>,
        sink: &mut impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Malformed> {
        scratch.clear();
        if bits == INDEXING_BITS && self.owes_update {
            return Err(Malformed);
        }
        let index = integer::decode(block, at, bits)?;
        let name = match index {
            0 => text(block, at, scratch)?,
            _ => {
                // Copied: an insertion may evict the entry that lends the name.
                let (name, _) = self.indexed(index)?;
                scratch.extend_from_slice(name);
                Text::Scratch(0..scratch.len())
            }
        };
        let value = text(block, at, scratch)?;
        let (name, value) = (name.of(block, scratch), value.of(block, scratch));
        let flow = sink(name, value);
        if bits == INDEXING_BITS {
            self.table.insert(name, value);
        }
        Ok(flow)
    }
}

/// A string literal (RFC 7541 §5.2).
fn text(block: &[u8], at: &mut usize, scratch: &mut Vec<u8>) -> Result<Text, Malformed> {
    let is_huffman = block.get(*at).is_some_and(|first| first & 0x80 != 0);
    let len = integer::decode(block, at, 7)?;
    let end = at.checked_add(len).ok_or(Malformed)?;
    let range = *at..end;
    let coded = block.get(range.clone()).ok_or(Malformed)?;
    *at = end;
    if !is_huffman {
        return Ok(Text::Block(range));
    }
    let start = scratch.len();
    huffman::decode(coded, scratch)?;
    Ok(Text::Scratch(start..scratch.len()))
}

#[cfg(test)]
mod tests;
