//! Body of the fuzz target `waf_transform`, shared with the corpus replay in `tests/transform_corpus.rs`.
//!
//! Not part of the interface. Panics when a property that must hold for all bytes does not.

use super::Transformation;
use crate::{byte_set::ByteSet, seclang::settings::UnicodeMap};

/// Most words in a chain: each grows a value by at most six, so that a small input stays small.
const CHAIN_MAX: usize = 8;

/// A chain grows no longer than this, bytes.
const CHAIN_BYTES_MAX: usize = 1 << 16;

/// Every word alone on all bytes; then a chain: the first byte says how many of the next name words, the rest is the
/// value.
pub fn fuzz(data: &[u8]) {
    let map = UnicodeMap::us_ascii();
    let mut out = Vec::new();
    for &word in Transformation::ALL {
        check(word, data, None, &mut out);
        check(word, data, Some(&map), &mut out);
    }
    let Some((&count, rest)) = data.split_first() else {
        return;
    };
    let (words, value) = rest.split_at(rest.len().min(usize::from(count) % (CHAIN_MAX + 1)));
    let mut value = value.to_vec();
    for &word in words {
        let word = Transformation::ALL[usize::from(word) % Transformation::ALL.len()];
        if check(word, &value, Some(&map), &mut out) {
            core::mem::swap(&mut value, &mut out);
        }
        if value.len() > CHAIN_BYTES_MAX {
            return;
        }
    }
}

/// What must hold of one word and any value; yields what the word says, and leaves its result in `out`.
pub fn check(word: Transformation, input: &[u8], map: Option<&UnicodeMap>, out: &mut Vec<u8>) -> bool {
    let is_changed = word.apply(input, map, out);
    if is_changed {
        assert_ne!(out.as_slice(), input, "{word:?} tells a change that is none");
        assert!(
            out.len() <= word.output_bytes_max(input.len()),
            "{word:?} of {input:?} is longer than it may be"
        );
    }
    let may_change = ByteSet::of(input).meets(&word.touches()) || input.is_empty() && word.changes_empty();
    assert!(may_change || !is_changed, "{word:?} changes {input:?}, which has no byte it touches");
    if input.is_empty() {
        assert_eq!(is_changed, word.changes_empty(), "{word:?} of nothing");
    }
    // The result depends on nothing that was in the buffer, and what is not told as a change is none.
    let mut fresh = Vec::new();
    assert_eq!(word.apply(input, map, &mut fresh), is_changed, "{word:?}");
    if is_changed {
        assert_eq!(&fresh, out, "{word:?}");
    }
    is_changed
}
