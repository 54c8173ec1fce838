//! Body of the fuzz target `waf_operator`, shared with the corpus replay in `tests/operator.rs`.
//!
//! Not part of the interface. Panics when a property that must hold for all bytes does not.

use std::ops::Range;

use super::{CAPTURES_MAX, Captures, Operator, Word};
use crate::{byte_set::ByteSet, seclang::Files};

/// Compiles a word with an argument and asks about a value: the first byte picks the word, the second how many bytes
/// the argument has.
///
/// What is compiled must not panic; captures lie in the value; a value without a byte that is needed does not match;
/// an argument known in advance answers as an expanded one does.
pub fn fuzz(bytes: &[u8]) {
    let [word, argument_bytes, rest @ ..] = bytes else {
        return;
    };
    let word = Word::ALL[usize::from(*word) % Word::ALL.len()];
    let (argument, value) = rest.split_at(usize::from(*argument_bytes).min(rest.len()));
    let Ok(text) = std::str::from_utf8(argument) else {
        return;
    };
    let files = File(value);
    let mut captures = Captures::new();
    let fixed = Operator::compile(word.name(), Some(text), "", &files);
    let answer = fixed.as_ref().ok().map(|operator| checked(operator, value, argument, &mut captures));
    if let (Some(answer), Ok(expanded)) = (answer, Operator::compile(word.name(), None, "", &files)) {
        captures.clear();
        assert_eq!(answer, checked(&expanded, value, argument, &mut captures), "{word:?}");
    }
    if let Err(error) = fixed {
        assert!(!error.to_string().is_empty());
    }
}

fn checked(operator: &Operator, value: &[u8], argument: &[u8], captures: &mut Captures) -> bool {
    let is_match = operator.matches(value, argument, captures);
    assert_eq!(
        is_match,
        operator.matches(value, argument, &mut Captures::new()),
        "the second answer differs"
    );
    assert!(is_match || captures.is_empty(), "captured without a match");
    for index in 0..CAPTURES_MAX {
        if let Some(captured) = captures.get(index, value) {
            assert!(captured.len() <= value.len().max(8));
        }
    }
    if let Some(needed) = operator.bytes_needed() {
        assert!(!is_match || needed.meets(&ByteSet::of(value)), "matched without a byte that is needed");
    }
    operator.path_arguments(value, &mut |_, range: Range<usize>| assert!(range.end <= value.len()));
    is_match
}

/// Every path is a file with these bytes.
struct File<'a>(&'a [u8]);

impl Files for File<'_> {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.to_vec())
    }

    fn expand(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(vec![pattern.to_owned()])
    }
}
