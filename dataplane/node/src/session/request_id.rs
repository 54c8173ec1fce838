//! Request ids: what a page, a log line, a backend and a response all say about one request.
//!
//! `<16 hex digits of the worker's random prefix><12 of its counter>`: unique over workers, nodes and restarts without
//! anybody being asked. Not a secret. Cost: 28 bytes written per request.

use core::fmt;

/// Digits of an id.
pub(super) const LEN: usize = 28;
/// Of those, digits of the counter.
const COUNTER_DIGITS: usize = 12;
/// Longest id that is taken over from a trusted proxy, bytes; a longer one is replaced by our own.
pub(super) const FOREIGN_LEN_MAX: usize = 64;

/// The id of one request.
#[derive(Clone, Copy)]
pub(super) struct RequestId {
    bytes: [u8; FOREIGN_LEN_MAX],
    len: u8,
}

impl RequestId {
    pub(super) const EMPTY: Self = Self { bytes: [0; FOREIGN_LEN_MAX], len: 0 };

    /// One that a trusted proxy gave, if it may be written into HTML, JSON and fields as it is.
    pub(super) fn foreign(value: &[u8]) -> Option<Self> {
        let is_plain =
            |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'=' | b'/');
        if value.is_empty() || value.len() > FOREIGN_LEN_MAX || !value.iter().all(is_plain) {
            return None;
        }
        let mut id = Self::EMPTY;
        id.bytes[..value.len()].copy_from_slice(value);
        id.len = value.len() as u8;
        Some(id)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub(super) fn as_str(&self) -> &str {
        // Only ASCII goes in.
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Makes the ids of one worker.
#[derive(Debug)]
pub(super) struct RequestIds {
    seed: u64,
    count: u64,
}

impl RequestIds {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    pub(super) fn next(&mut self) -> RequestId {
        self.count = self.count.wrapping_add(1);
        let mut id = RequestId::EMPTY;
        id.len = LEN as u8;
        let (seed, rest) = id.bytes.split_at_mut(LEN - COUNTER_DIGITS);
        hex(self.seed, seed);
        hex(self.count, &mut rest[..COUNTER_DIGITS]);
        id
    }
}

/// The last digits of a number.
fn hex(mut number: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_behind_the_prefix() {
        let mut ids = RequestIds::new(0x1234_5678_9abc_def0);
        assert_eq!(ids.next().as_str(), "123456789abcdef0000000000001");
        ids.count = 0xff;
        assert_eq!(ids.next().as_str(), "123456789abcdef0000000000100");
    }

    #[test]
    fn foreign_id_is_taken_only_if_it_can_be_written_anywhere() {
        assert_eq!(
            RequestId::foreign(b"a-1_b.c").map(|id| id.as_str().to_owned()),
            Some("a-1_b.c".to_owned())
        );
        for bad in [&b""[..], b"<b>", b"a b", b"\"", &[b'a'; FOREIGN_LEN_MAX + 1]] {
            assert!(RequestId::foreign(bad).is_none());
        }
    }
}
