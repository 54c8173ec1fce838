//! Memory that connections of one worker use in turn: request heads and byte buffers without an owner at the moment.
//!
//! Owns: spare heads and buffers. Does not own: those in use. A connection takes them with a request and gives them
//! back when it has none, so that an idle connection holds neither.
//! Cost: no allocation once as many are spare as are needed at once.

use crate::head::Request;

/// A spare that has grown past this is freed instead of kept: one large request must not stay paid for.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// Spare heads and buffers.
#[derive(Debug)]
pub struct Pool {
    requests: Vec<Request>,
    buffers: Vec<Vec<u8>>,
    spare_max: usize,
}

impl Pool {
    /// Keeps up to `spare_max` of each kind; what comes back beyond is freed.
    pub fn new(spare_max: usize) -> Self {
        Self { requests: Vec::new(), buffers: Vec::new(), spare_max }
    }

    /// Spare heads and buffers.
    pub fn spare_count(&self) -> usize {
        self.requests.len() + self.buffers.len()
    }

    pub(super) fn take_request(&mut self) -> Request {
        self.requests.pop().unwrap_or_default()
    }

    pub(super) fn give_request(&mut self, mut request: Request) {
        let bytes = request.fields().capacity_bytes();
        if self.requests.len() < self.spare_max && bytes > 0 && bytes <= SPARE_BYTES_MAX {
            request.clear();
            self.requests.push(request);
        }
    }

    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    pub(super) fn give_buffer(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < self.spare_max && (1..=SPARE_BYTES_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

impl Default for Pool {
    /// 256 of each: requests that a busy worker has open at once.
    fn default() -> Self {
        Self::new(256)
    }
}
