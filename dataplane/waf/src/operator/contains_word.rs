//! `@containsWord`: the argument is in the value with no ASCII letter before or behind it.
//!
//! Digits and `_` separate words, as in ModSecurity. Every place is looked at, also those that overlap; the longest
//! word is bounded so that this stays linear.

use memchr::memmem::{self, Finder};

use super::{Call, OperatorError};
use crate::byte_set::ByteSet;

/// Longest word, bytes: each place costs at most one comparison of this length. A longer argument from a macro is
/// found only where it is the whole value.
const WORD_BYTES_MAX: usize = 1_024;

/// The compiled word.
#[derive(Clone, Debug)]
pub struct ContainsWord {
    finder: Option<Finder<'static>>,
}

impl ContainsWord {
    pub(super) fn compile(call: &Call<'_>) -> Result<Self, OperatorError> {
        if call.argument.is_some_and(|text| text.len() > WORD_BYTES_MAX) {
            return Err(call.wrong(format!("the word is longer than {WORD_BYTES_MAX} bytes")));
        }
        Ok(Self { finder: call.argument.map(|text| Finder::new(text.as_bytes()).into_owned()) })
    }

    pub(super) fn matches(&self, value: &[u8], argument: &[u8]) -> bool {
        if argument.is_empty() || value == argument {
            return true;
        }
        if argument.len() > WORD_BYTES_MAX {
            return false;
        }
        let expanded;
        let finder = if let Some(finder) = &self.finder {
            finder
        } else {
            expanded = memmem::Finder::new(argument);
            &expanded
        };
        let mut from = 0;
        while let Some(found) = value.get(from..).and_then(|rest| finder.find(rest)) {
            let start = from + found;
            let is_letter = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphabetic);
            let before = start.checked_sub(1).and_then(|at| value.get(at));
            if !is_letter(before) && !is_letter(value.get(start + argument.len())) {
                return true;
            }
            from = start + 1;
        }
        false
    }

    pub(super) fn bytes_needed(&self) -> Option<ByteSet> {
        let rarest = super::rarest(self.finder.as_ref()?.needle())?;
        Some(ByteSet::of(&[rarest]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors() {
        let vectors = [
            ("", "", true),
            ("abc", "", true),
            ("", "abc", false),
            ("abc", "abc", true),
            ("abcdef", "abc", false),
            ("abc def", "abc", true),
            ("xabc abc", "abc", true),
            ("1abc2", "abc", true),
            ("_abc_", "abc", true),
            ("Zabc", "abc", false),
            ("a-aa-a-a b", "a-a", true),
            ("ABC", "abc", false),
        ];
        for (value, argument, expected) in vectors {
            let fixed = ContainsWord { finder: Some(Finder::new(argument.as_bytes()).into_owned()) };
            let fixed = fixed.matches(value.as_bytes(), argument.as_bytes());
            let expanded = ContainsWord { finder: None }.matches(value.as_bytes(), argument.as_bytes());
            assert_eq!((fixed, expanded), (expected, expected), "{value:?} {argument:?}");
        }
    }

    #[test]
    fn a_word_from_a_macro_that_is_too_long_is_only_the_whole_value() {
        let long = vec![b'-'; WORD_BYTES_MAX + 1];
        let word = ContainsWord { finder: None };
        assert!(word.matches(&long, &long));
        assert!(!word.matches(&[&long[..], b" "].concat(), &long));
        assert!(word.matches(&long, &long[..WORD_BYTES_MAX]));
    }
}
