//! Bytes on their way to the client: a buffer that is written into in place and used again.
//!
//! Unlike a `Vec` it remembers that its spare room was initialised once, so that reserving room for a record
//! writes nothing. One per worker; empty again when the front has taken everything.

/// Bytes to send.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Output {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is to be sent.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Number of bytes to be sent.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// The first `count` bytes were sent.
    pub fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start.saturating_add(count));
        if self.start == self.end {
            self.clear();
        }
    }

    /// Appends bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// At least `count` bytes of room behind the end; their content means nothing.
    pub(super) fn spare(&mut self, count: usize) -> &mut [u8] {
        let wanted = self.end.saturating_add(count);
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// `count` bytes of the room behind the end were written.
    pub(super) fn advance(&mut self, count: usize) {
        self.end = self.bytes.len().min(self.end.saturating_add(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_the_order_they_went_in() {
        let mut output = Output::new();
        output.extend(b"abc");
        output.spare(4)[..2].copy_from_slice(b"de");
        output.advance(2);
        output.consume(1);
        output.extend(b"f");
        assert_eq!((output.as_slice(), output.len()), (&b"bcdef"[..], 5));
        output.consume(9);
        assert!(output.is_empty() && output.as_slice().is_empty());
        output.extend(b"g");
        assert_eq!(output.as_slice(), b"g");
    }
}
