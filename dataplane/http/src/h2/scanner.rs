//! Reads frame headers on their way to the `h2` crate, which does not count PING, SETTINGS, WINDOW_UPDATE and
//! PRIORITY. Nine bytes per frame are looked at; nothing is copied but a header cut by the end of the input.

use super::flood::Floods;
use super::frame::{FrameHeader, HEADER_LEN, PREFACE};
use super::limits::Limits;
use super::violation::Violation;

#[derive(Debug)]
pub(super) struct Scanner {
    pub(super) floods: Floods,
    /// Bytes of the preface or of a payload that are still to come.
    skip: usize,
    partial: [u8; HEADER_LEN],
    partial_len: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { floods: Floods::default(), skip: PREFACE.len(), partial: [0; HEADER_LEN], partial_len: 0 }
    }
}

impl Scanner {
    pub(super) fn scan(&mut self, mut bytes: &[u8], limits: &Limits, now_ms: u64) -> Result<(), Violation> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let wanted = (HEADER_LEN - self.partial_len).min(bytes.len());
            let (head, rest) = bytes.split_at(wanted);
            if let Some(room) = self.partial.get_mut(self.partial_len..self.partial_len + wanted) {
                room.copy_from_slice(head);
            }
            self.partial_len += wanted;
            bytes = rest;
            if self.partial_len == HEADER_LEN {
                self.partial_len = 0;
                let Some(header) = FrameHeader::parse(&self.partial) else { return Ok(()) };
                self.skip = header.len;
                self.floods.count(header, limits, now_ms)?;
            }
        }
        Ok(())
    }
}
