//! Expressions that cannot be run in linear time: look-around and back-references.
//!
//! Owns: running them with a bound on steps. The Core Rule Set 4 has none; 3.3 has four. An expression that reaches
//! its bound does not match, as with PCRE's limits. Bytes are read as the characters of the same number, so that any
//! value can be looked at. Cost: allocates; the need of an expression keeps most values away from it.

use fancy_regex::{Regex, RegexBuilder};

use super::RxError;
use crate::operator::Captures;

/// Most steps back for one value: some milliseconds at worst.
const STEPS_MAX: usize = 100_000;
/// Longest value that is looked at, bytes: steps grow with it.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// Compiles an expression in the dialect of the engines here.
pub(super) fn compile(pattern: &str) -> Result<Regex, RxError> {
    RegexBuilder::new(&format!("(?s){pattern}"))
        .backtrack_limit(STEPS_MAX)
        .delegate_size_limit(crate::limits::REGEX_BYTES_MAX)
        .build()
        .map_err(|error| RxError::Syntax(error.to_string()))
}

/// Whether the value matches within the bound.
pub(super) fn matches(regex: &Regex, value: &[u8], captures: Option<&mut Captures>) -> bool {
    let value = &value[..value.len().min(VALUE_BYTES_MAX)];
    let text: String = value.iter().map(|byte| char::from(*byte)).collect();
    let Some(captures) = captures else { return regex.is_match(&text).unwrap_or(false) };
    captures.clear();
    let Ok(Some(found)) = regex.captures(&text) else { return false };
    // Back from places among characters to places among bytes.
    let place = |at: usize| text[..at].chars().count();
    for (group, range) in found.iter().enumerate() {
        if let Some(range) = range {
            captures.set(group, place(range.start())..place(range.end()));
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::dialect::rewritten;
    use super::*;

    fn is_match(pattern: &str, value: &[u8]) -> bool {
        matches(&compile(&rewritten(pattern)).expect("pattern"), value, None)
    }

    #[test]
    fn look_around_and_references_are_run() {
        assert!(is_match(r"<\?(?!xml)", b"a<?php"));
        assert!(!is_match(r"<\?(?!xml)", b"a<?xml"));
        assert!(is_match(r"\b(\w+)=\1\b", b"\xff 1=1"));
        assert!(!is_match(r"\b(\w+)=\1\b", b"1=2"));
        assert!(is_match(r"(?<!&amp|&lt);", b"a;"));
        assert!(!is_match(r"(?<!&amp|&lt);", b"&amp;"));
    }

    #[test]
    fn groups_are_places_among_bytes() {
        let regex = compile(r"(\w+)=\1").expect("pattern");
        let mut captures = Captures::new();
        assert!(matches(&regex, b"\xe9\xe8;ab=ab", Some(&mut captures)));
        assert_eq!(captures.get(1, b"\xe9\xe8;ab=ab"), Some(b"ab".as_slice()));
    }

    #[test]
    fn an_expression_that_would_run_for_ever_does_not_match() {
        assert!(!is_match(r"(?=((a+)+)+b)", &[b'a'; 60]));
    }
}
