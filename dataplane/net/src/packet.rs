//! A frame with room around it, as the pure code sees it.
//!
//! Owns: the bounds of a frame inside its buffer, so that a header may be replaced by a shorter or longer one
//! in place. Does not own: the memory (`pktio` does). Cost: two words; every access is bounds-checked once.

/// An Ethernet frame inside a larger buffer.
///
/// ```text
/// |<- headroom ->|<------- frame ------->|<- tailroom ->|
/// 0            start                 start+len      buffer.len()
/// ```
#[derive(Debug)]
pub struct PacketBuf<'a> {
    buffer: &'a mut [u8],
    start: usize,
    len: usize,
}

impl<'a> PacketBuf<'a> {
    /// A frame of `len` bytes at `start`. Bounds outside the buffer are cut to it.
    pub fn new(buffer: &'a mut [u8], start: usize, len: usize) -> Self {
        let start = start.min(buffer.len());
        let len = len.min(buffer.len() - start);
        Self { buffer, start, len }
    }

    /// Offset of the frame's first byte in the buffer.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Length of the frame in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the frame has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes free before the frame.
    pub fn headroom(&self) -> usize {
        self.start
    }

    /// Longest frame that fits without moving its start.
    pub fn capacity(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The frame.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.len]
    }

    /// The frame, writable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.start + self.len]
    }

    /// Sets the frame's length, growing into the tailroom (whose bytes are whatever was there). Returns false
    /// and changes nothing when it does not fit.
    #[must_use]
    pub fn set_len(&mut self, len: usize) -> bool {
        let fits = len <= self.capacity();
        if fits {
            self.len = len;
        }
        fits
    }

    /// Replaces the first `old_len` bytes by `header`, moving the frame's start; the rest stays where it is.
    /// Returns false and changes nothing when there is not enough headroom or frame.
    #[must_use]
    pub fn replace_front(&mut self, old_len: usize, header: &[u8]) -> bool {
        let Some(body_start) = self.start.checked_add(old_len).filter(|_| old_len <= self.len) else {
            return false;
        };
        let Some(start) = body_start.checked_sub(header.len()) else {
            return false;
        };
        self.buffer[start..body_start].copy_from_slice(header);
        self.len = self.len - old_len + header.len();
        self.start = start;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_is_replaced_by_a_longer_and_a_shorter_header() {
        let mut memory = *b"....abcdef....";
        let mut packet = PacketBuf::new(&mut memory, 4, 6);
        assert!(packet.replace_front(2, b"WXYZ"));
        assert_eq!(packet.bytes(), b"WXYZcdef");
        assert!(packet.replace_front(4, b"1"));
        assert_eq!(packet.bytes(), b"1cdef");
        assert!(!packet.replace_front(9, b""));
        assert!(!packet.replace_front(0, b"far too long for the headroom"));
    }

    #[test]
    fn length_never_leaves_the_buffer() {
        let mut memory = [0u8; 10];
        let mut packet = PacketBuf::new(&mut memory, 8, 50);
        assert_eq!(packet.len(), 2);
        assert!(!packet.set_len(3));
        assert!(packet.set_len(0));
    }
}
