//! Memory that the connections of one worker use in turn.
//!
//! Owns: [`Workspace`], everything a connection needs only while something is going on, and the spare ones. A
//! connection takes one with the first byte and gives it back when it is idle again, so that an idle connection holds
//! neither heads nor buffers, and a busy worker allocates nothing.

use std::collections::VecDeque;

use super::event::Event;
use super::stream::Stream;

/// A spare workspace that has grown past this is freed: one large request must not stay paid for.
const SPARE_BYTES_MAX: usize = 128 * 1024;
/// Spare streams a workspace keeps, buffers included: requests that one page has open at once are rarely more.
const SPARE_STREAMS_MAX: usize = 8;

/// Spare workspaces of one worker.
#[derive(Debug)]
pub struct Pool {
    spare: Vec<Workspace>,
    spare_max: usize,
}

impl Pool {
    /// Keeps up to `spare_max` workspaces; what comes back beyond is freed.
    pub fn new(spare_max: usize) -> Self {
        Self { spare: Vec::new(), spare_max }
    }

    /// Spare workspaces.
    pub fn spare_count(&self) -> usize {
        self.spare.len()
    }

    pub(super) fn take(&mut self) -> Workspace {
        self.spare.pop().unwrap_or_default()
    }

    pub(super) fn give(&mut self, mut work: Workspace) {
        work.spare.truncate(SPARE_STREAMS_MAX);
        let bytes = work.capacity_bytes();
        if self.spare.len() < self.spare_max && (1..=SPARE_BYTES_MAX).contains(&bytes) {
            self.spare.push(work);
        }
    }
}

impl Default for Pool {
    /// 64 workspaces: connections of one worker that are busy within one turn.
    fn default() -> Self {
        Self::new(64)
    }
}

/// What a connection holds while it is not idle.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    /// Numbers of the open streams, and the streams in the same places.
    pub(super) ids: Vec<u32>,
    pub(super) streams: Vec<Stream>,
    /// Cleared streams, for their room.
    pub(super) spare: Vec<Stream>,
    pub(super) events: VecDeque<Event>,
    /// Streams that wait for room, the next first.
    pub(super) waiting: VecDeque<u32>,
    pub(super) output: Vec<u8>,
    pub(super) output_taken: usize,
    /// A frame cut by the end of the input, or a header block cut into frames.
    pub(super) partial: Vec<u8>,
    pub(super) block: Vec<u8>,
    /// Strings while they are decoded.
    pub(super) scratch: Vec<u8>,
}

impl Workspace {
    /// Whether nothing in it is in use.
    pub(super) fn is_idle(&self) -> bool {
        self.ids.is_empty()
            && self.events.is_empty()
            && self.output.is_empty()
            && self.partial.is_empty()
            && self.block.is_empty()
    }

    /// Whether it has no memory yet.
    pub(super) fn is_new(&self) -> bool {
        self.output.capacity() == 0 && self.streams.capacity() == 0
    }

    fn capacity_bytes(&self) -> usize {
        let streams = (self.streams.capacity() + self.spare.capacity()) * size_of::<Stream>();
        let held: usize = self.spare.iter().map(Stream::capacity_bytes).sum();
        let queues =
            self.events.capacity() * size_of::<Event>() + (self.waiting.capacity() + self.ids.capacity()) * 4;
        let buffers = [&self.output, &self.partial, &self.block, &self.scratch];
        streams + held + queues + buffers.iter().map(|buffer| buffer.capacity()).sum::<usize>()
    }
}
