//! The literals of all rules, looked for in one pass.
//!
//! Owns: one automaton over every literal that some expression or phrase list needs, and which rules' hit bits each
//! literal sets. A value is read once; afterwards "has it a literal of that rule" is a bit.
//! Cost: 100 to 500 ns per value of a request, by its length; memory 1 to 4 MB for the Core Rule Set.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::seclang::ast::Phase;

/// A bit that a value's literals may set.
pub(crate) type HitBit = u32;

/// Whose literals: rules about requests and rules about responses have automata of their own, so that a page is not
/// read for what only requests hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Request = 0,
    Response = 1,
}

impl Side {
    pub(crate) const fn of(phase: Phase) -> Self {
        if (phase as u8) < Phase::ResponseHeaders as u8 { Self::Request } else { Self::Response }
    }
}

/// The automaton and its bits.
#[derive(Debug, Default)]
pub(crate) struct Literals {
    automaton: Option<AhoCorasick>,
    /// By literal, where its bits begin in `bits`.
    starts: Vec<u32>,
    bits: Vec<HitBit>,
    words: usize,
}

/// Collects literals.
#[derive(Debug, Default)]
pub(crate) struct LiteralsBuilder {
    by_text: std::collections::BTreeMap<Vec<u8>, Vec<HitBit>>,
    bits: HitBit,
}

impl LiteralsBuilder {
    /// A bit that any of these literals sets; they are compared in any case.
    pub(crate) fn add<'a>(&mut self, literals: impl Iterator<Item = &'a [u8]>) -> HitBit {
        let bit = self.bits;
        self.bits += 1;
        for literal in literals {
            let bits = self.by_text.entry(literal.to_ascii_lowercase()).or_default();
            if bits.last() != Some(&bit) {
                bits.push(bit);
            }
        }
        bit
    }

    pub(crate) fn build(self) -> Result<Literals, String> {
        if self.by_text.is_empty() {
            return Ok(Literals::default());
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(self.by_text.keys())
            .map_err(|error| format!("the literals of all rules do not fit into one automaton: {error}"))?;
        let mut starts = Vec::with_capacity(self.by_text.len() + 1);
        let mut bits = Vec::new();
        for list in self.by_text.values() {
            starts.push(bits.len() as u32);
            bits.extend_from_slice(list);
        }
        starts.push(bits.len() as u32);
        Ok(Literals { automaton: Some(automaton), starts, bits, words: (self.bits as usize).div_ceil(64) })
    }
}

impl Literals {
    /// Words of a value's hit bits.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// Sets the bits of every literal that the value holds; `hits` has [`words`](Self::words) words.
    pub(crate) fn find(&self, value: &[u8], hits: &mut [u64]) {
        let Some(automaton) = &self.automaton else { return };
        for found in automaton.find_overlapping_iter(value) {
            let literal = found.pattern().as_usize();
            for bit in &self.bits[self.starts[literal] as usize..self.starts[literal + 1] as usize] {
                hits[(*bit / 64) as usize] |= 1 << (*bit % 64);
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.automaton.as_ref().map_or(0, AhoCorasick::memory_usage)
            + (self.starts.len() + self.bits.len()) * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_sets_the_bits_of_its_literals() {
        let mut builder = LiteralsBuilder::default();
        let first = builder.add([b"select".as_slice(), b"union"].into_iter());
        let second = builder.add([b"lect".as_slice()].into_iter());
        let third = builder.add([b"script".as_slice()].into_iter());
        let literals = builder.build().expect("literals");
        let mut hits = [0_u64; 1];
        literals.find(b"a SELECT b", &mut hits);
        assert_eq!(hits[0], 1 << first | 1 << second);
        hits = [0];
        literals.find(b"javascript", &mut hits);
        assert_eq!(hits[0], 1 << third);
    }
}
