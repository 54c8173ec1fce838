//! What a value must have for a pattern to match at all.
//!
//! Owns: [`Need`], read off a regular expression once: the shortest match, which bytes must occur, and a set of
//! literals of which one must occur. A value that lacks any of it is passed over without running the expression.
//! Everything here is a necessary condition, never a sufficient one; a property test holds that against the
//! expressions themselves.
//!
//! Bytes are compared with letters folded to lower case ([`folded`]), so that `(?i)` costs nothing.
//! Cost: asking costs a few ANDs per clause; most values of ordinary requests lack the punctuation that attacks need.

mod extract;

use crate::byte_set::ByteSet;

pub use extract::need_of;

/// Most clauses kept: above, they are merged into one weaker clause.
pub const CLAUSES_MAX: usize = 24;
/// Most sets of bytes of a clause of which one must occur.
pub const CHOICES_MAX: usize = 4;
/// Most literals kept for one pattern; one with more has none.
pub const LITERALS_MAX: usize = 2_048;

/// Upper-case letters among the bits of 64-127.
const UPPER: u64 = ((1 << 26) - 1) << 1;

/// The set with every upper-case letter replaced by its lower-case one.
#[inline]
#[must_use]
pub const fn folded(set: ByteSet) -> ByteSet {
    let words = set.words();
    ByteSet::from_words([words[0], (words[1] & !UPPER) | ((words[1] & UPPER) << 32), words[2], words[3]])
}

/// One way in which a pattern can match: all of these conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Bytes that all occur.
    pub all: ByteSet,
    /// Sets of which at least one byte occurs, each.
    pub choices: Vec<ByteSet>,
}

impl Clause {
    /// A clause that every value meets.
    #[must_use]
    pub const fn anything() -> Self {
        Self { all: ByteSet::EMPTY, choices: Vec::new() }
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_anything(&self) -> bool {
        self.all.is_empty() && self.choices.is_empty()
    }

    #[inline]
    fn is_met(&self, presence: &ByteSet) -> bool {
        presence.covers(&self.all) && self.choices.iter().all(|choice| presence.meets(choice))
    }
}

/// What a value must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The shortest match, bytes.
    pub bytes_min: usize,
    /// At least one of these is met.
    pub clauses: Vec<Clause>,
    /// At least one of these occurs, in any case, where there are any. In lower case.
    pub literals: Vec<Vec<u8>>,
}

impl Need {
    /// Nothing is needed.
    #[must_use]
    pub fn nothing() -> Self {
        Self { bytes_min: 0, clauses: vec![Clause::anything()], literals: Vec::new() }
    }

    /// Whether a value of this length with these bytes ([`folded`]) might match; literals are asked elsewhere.
    #[inline]
    #[must_use]
    pub fn may_match(&self, len: usize, presence: &ByteSet) -> bool {
        len >= self.bytes_min && self.clauses.iter().any(|clause| clause.is_met(presence))
    }
}

#[cfg(test)]
mod tests;
