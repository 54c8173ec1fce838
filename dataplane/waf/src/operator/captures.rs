//! What a match captured: `TX:0` to `TX:9`.
//!
//! Owns: [`Captures`], of fixed size, filled by operators and read by the `capture` action.

use std::ops::Range;

/// Most captures of one match: `TX:0` to `TX:9`.
pub const CAPTURES_MAX: usize = 10;

/// Longest text of its own that a match captures, bytes: a fingerprint of libinjection has at most 5.
const TEXT_BYTES_MAX: usize = 16;

/// Captures of one match: ranges of the value that was asked about, or a short text in place of the first.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    ranges: [Option<Range<usize>>; CAPTURES_MAX],
    text: [u8; TEXT_BYTES_MAX],
    /// Bytes of `text` in use; 0 when there is none.
    text_bytes: usize,
}

impl Captures {
    /// Nothing captured.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Captures a range of the value; an index past the last is passed over.
    pub fn set(&mut self, index: usize, range: Range<usize>) {
        if let Some(slot) = self.ranges.get_mut(index) {
            *slot = Some(range);
        }
    }

    /// Captures a text of its own as the first; what is longer than 16 bytes is cut.
    pub fn set_text(&mut self, text: &[u8]) {
        let text = &text[..text.len().min(TEXT_BYTES_MAX)];
        self.text[..text.len()].copy_from_slice(text);
        self.text_bytes = text.len();
    }

    /// What was captured, given the value that was asked about.
    #[must_use]
    pub fn get<'a>(&'a self, index: usize, value: &'a [u8]) -> Option<&'a [u8]> {
        if index == 0 && self.text_bytes > 0 {
            return self.text.get(..self.text_bytes);
        }
        value.get(self.ranges.get(index)?.clone()?)
    }

    /// Whether nothing was captured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text_bytes == 0 && self.ranges.iter().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_a_text_are_given_back() {
        let mut captures = Captures::new();
        assert!(captures.is_empty());
        captures.set(0, 0..3);
        captures.set(9, 1..2);
        captures.set(10, 0..1);
        assert_eq!(captures.get(0, b"abc"), Some(&b"abc"[..]));
        assert_eq!(captures.get(9, b"abc"), Some(&b"b"[..]));
        assert_eq!((captures.get(1, b"abc"), captures.get(10, b"abc")), (None, None));
        assert_eq!(captures.get(0, b"a"), None, "another value");
        captures.set_text(b"s&1c");
        assert_eq!(captures.get(0, b"abc"), Some(&b"s&1c"[..]));
        captures.set_text(b"more than sixteen bytes");
        assert_eq!(captures.get(0, b""), Some(&b"more than sixtee"[..]));
        captures.clear();
        assert!(captures.is_empty());
    }
}
