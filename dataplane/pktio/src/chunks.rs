//! Who owns which chunk of packet memory.
//!
//! Owns: the free list and one byte per chunk that says where it is. Does not own: the memory itself.
//! Cost: two array accesses per move; all memory at construction.
//!
//! ```text
//!            take                       fill (kernel: fill ring)
//!   Free ----------> Held (worker) <-------------------------- Fill
//!    ^  <----------    |                                        ^
//!    |     give        | queued for transmission                |
//!    |                 v                                        |
//!    +------------- Transmit (kernel: tx and completion ring)   |
//!    +----------------------------------------------------------+
//! ```
//!
//! A [`Frame`](crate::Frame) cannot be cloned, so the state only matters against a frame of another engine
//! and against a kernel or driver that names a chunk it was never given; both are refused and counted.

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    /// In the free list.
    Free,
    /// In the worker's hands, as a `Frame`.
    Held,
    /// Given to the kernel to receive into.
    Fill,
    /// Given to the kernel to transmit from.
    Transmit,
}

/// The free list and the place of each chunk.
#[derive(Debug)]
pub(crate) struct Chunks {
    free: Vec<u32>,
    place: Vec<Place>,
}

impl Chunks {
    /// `count` free chunks.
    pub(crate) fn new(count: u32) -> Self {
        // Reversed, so that low chunks leave first and small loads stay in few pages.
        Self { free: (0..count).rev().collect(), place: vec![Place::Free; count as usize] }
    }

    /// Chunks in the free list.
    pub(crate) fn free_count(&self) -> usize {
        self.free.len()
    }

    /// Takes a free chunk and puts it to `place`.
    pub(crate) fn take(&mut self, place: Place) -> Option<u32> {
        let chunk = self.free.pop()?;
        self.place[chunk as usize] = place;
        Some(chunk)
    }

    /// Whether `chunk` exists and is at `place`.
    pub(crate) fn is_at(&self, chunk: u32, place: Place) -> bool {
        self.place.get(chunk as usize) == Some(&place)
    }

    /// Moves a chunk; `false` (and nothing happens) when it is not at `from`.
    pub(crate) fn shift(&mut self, chunk: u32, from: Place, to: Place) -> bool {
        if !self.is_at(chunk, from) {
            return false;
        }
        self.place[chunk as usize] = to;
        if to == Place::Free {
            self.free.push(chunk);
        }
        true
    }

    /// Number of chunks at `place`. Linear: for tests and reports.
    pub(crate) fn count(&self, place: Place) -> usize {
        self.place.iter().filter(|&&p| p == place).count()
    }

    /// Number of chunks.
    pub(crate) fn total(&self) -> usize {
        self.place.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_in_one_place() {
        let mut chunks = Chunks::new(2);
        let a = chunks.take(Place::Held).unwrap();
        let b = chunks.take(Place::Fill).unwrap();
        assert_ne!(a, b);
        assert_eq!(chunks.take(Place::Held), None);
        assert!(!chunks.shift(a, Place::Fill, Place::Free), "wrong origin is refused");
        assert!(chunks.shift(a, Place::Held, Place::Transmit));
        assert!(chunks.shift(a, Place::Transmit, Place::Free));
        assert!(!chunks.shift(a, Place::Transmit, Place::Free), "released once only");
        assert!(!chunks.shift(99, Place::Held, Place::Free), "unknown chunk is refused");
        assert_eq!((chunks.count(Place::Fill), chunks.free_count(), chunks.total()), (1, 1, 2));
    }
}
