//! `@contains` and `@strmatch`: the argument is somewhere in the value, byte for byte. The empty argument always is.

use memchr::memmem::{self, Finder};

use crate::byte_set::ByteSet;

/// The compiled word.
#[derive(Clone, Debug)]
pub struct Contains {
    /// Searches for the argument, if it is known.
    finder: Option<Finder<'static>>,
}

impl Contains {
    pub(super) fn compile(argument: Option<&str>) -> Self {
        Self { finder: argument.map(|text| Finder::new(text.as_bytes()).into_owned()) }
    }

    pub(super) fn matches(&self, value: &[u8], argument: &[u8]) -> bool {
        match &self.finder {
            Some(finder) => finder.find(value).is_some(),
            None => memmem::find(value, argument).is_some(),
        }
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
            ("xabcx", "abc", true),
            ("xABCx", "abc", false),
            ("ababac", "abac", true),
            ("a\0b", "\0", true),
        ];
        for (value, argument, expected) in vectors {
            let fixed = Contains::compile(Some(argument)).matches(value.as_bytes(), argument.as_bytes());
            let expanded = Contains::compile(None).matches(value.as_bytes(), argument.as_bytes());
            assert_eq!((fixed, expanded), (expected, expected), "{value:?} {argument:?}");
        }
    }
}
