//! `@validateByteRange 9,10,13,32-126`: a byte of the value is outside of the ranges.

use super::{Call, OperatorError};
use crate::byte_set::ByteSet;

/// The compiled word.
#[derive(Clone, Debug)]
pub struct ByteRange {
    /// The bytes that are not allowed.
    outside: ByteSet,
}

impl ByteRange {
    pub(super) fn compile(call: &Call<'_>) -> Result<Self, OperatorError> {
        let mut allowed = ByteSet::EMPTY;
        for part in call.text()?.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let byte = |text: &str| -> Result<u8, OperatorError> {
                text.trim().parse().map_err(|_| call.wrong(format!("{text:?} is no byte from 0 to 255")))
            };
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (byte(first)?, byte(last)?),
                None => (byte(part)?, byte(part)?),
            };
            if first > last {
                return Err(call.wrong(format!("the range {part:?} runs backwards")));
            }
            allowed = allowed.union(ByteSet::range(first, last));
        }
        let mut outside = ByteSet::EMPTY;
        (0..=u8::MAX).filter(|byte| !allowed.contains(*byte)).for_each(|byte| outside.insert(byte));
        Ok(Self { outside })
    }

    pub(super) fn matches(&self, value: &[u8]) -> bool {
        value.iter().any(|byte| self.outside.contains(*byte))
    }

    pub(super) const fn bytes_needed(&self) -> ByteSet {
        self.outside
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::call;
    use super::*;
    use crate::operator::Word;

    #[test]
    fn vectors() {
        let vectors: [(&str, &[u8], bool); 8] = [
            ("0-255", b"\0\xff", false),
            ("32-126", b"plain", false),
            ("32-126", b"pla\x1fin", true),
            ("9, 10,13,32-126", b"a\tb\r\n", false),
            ("9,10,13,32-126", b"a\0b", true),
            ("65", b"AAA", false),
            ("65", b"", false),
            ("", b"a", true),
        ];
        for (argument, value, expected) in vectors {
            let range = ByteRange::compile(&call(Word::ValidateByteRange, argument)).unwrap();
            assert_eq!(range.matches(value), expected, "{argument} {value:?}");
        }
    }

    #[test]
    fn wrong_ranges_are_refused() {
        for argument in ["256", "-1", "a", "9-", "126-32", "1-2-3", "1 2"] {
            assert!(ByteRange::compile(&call(Word::ValidateByteRange, argument)).is_err(), "{argument}");
        }
    }
}
