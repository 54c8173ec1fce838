//! The inboxes: bounded queues of copies of frames.
//!
//! Owns: the buffers, taken once, at start; each is in exactly one place: free, in a sender's hands, full, or in its
//! worker's hands. Does not own: who sends and when.
//! Cost: one copy of the frame and two queue operations; nothing is allocated after start, nothing locks.
//!
//! ```text
//!  worker A                              worker B
//!  miss -> owner = B                     turn: pop inbox -> copy into an own frame -> pipeline
//!    buffer <- B.free      ------------>   B.inbox
//!    copy, push B.inbox    <------------   B.free
//! ```

use secbeat_net::link::PortId;

use crate::event::WorkerId;
use crate::sync::ArrayQueue;

/// Buffers of one inbox. A turn takes up to 64 frames per port; 512 lets eight turns of another worker queue up
/// while the owner is in a long turn. Full: the frame is dropped as `handover_full`.
pub const INBOX_FRAMES_MAX: usize = 512;

/// A copy of a frame on its way to another worker.
#[derive(Debug)]
pub struct Parcel {
    buffer: Box<[u8]>,
    len: usize,
    port: PortId,
}

impl Parcel {
    /// The frame.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// The port it was received on.
    pub fn port(&self) -> PortId {
        self.port
    }
}

#[derive(Debug)]
struct Inbox {
    full: ArrayQueue<Parcel>,
    free: ArrayQueue<Parcel>,
}

/// The inboxes of all workers.
#[derive(Debug)]
pub struct Handover {
    inboxes: Box<[Inbox]>,
}

impl Handover {
    /// Inboxes for `workers` workers, each with `frames` buffers of `frame_bytes_max` bytes. A node with one
    /// worker needs none and gets none.
    pub fn new(workers: usize, frames: usize, frame_bytes_max: usize) -> Self {
        let frames = if workers > 1 { frames.max(1) } else { 1 };
        let inboxes = (0..workers)
            .map(|_| {
                let inbox = Inbox { full: ArrayQueue::new(frames), free: ArrayQueue::new(frames) };
                for _ in 0..if workers > 1 { frames } else { 0 } {
                    let buffer = vec![0; frame_bytes_max].into_boxed_slice();
                    // The queue has room for exactly these.
                    let _ = inbox.free.push(Parcel { buffer, len: 0, port: PortId(0) });
                }
                inbox
            })
            .collect();
        Self { inboxes }
    }

    /// Copies a frame into the inbox of `owner`. False when there is no such worker, no free buffer, or the frame
    /// is longer than a buffer; the caller drops the frame then.
    #[must_use]
    pub fn send(&self, owner: WorkerId, port: PortId, frame: &[u8]) -> bool {
        let Some(inbox) = self.inboxes.get(usize::from(owner)) else {
            return false;
        };
        let Some(mut parcel) = inbox.free.pop() else {
            return false;
        };
        let Some(room) = parcel.buffer.get_mut(..frame.len()) else {
            let _ = inbox.free.push(parcel);
            return false;
        };
        room.copy_from_slice(frame);
        parcel.len = frame.len();
        parcel.port = port;
        // Never full: it has room for every buffer there is.
        inbox.full.push(parcel).is_ok()
    }

    /// The oldest frame handed to `worker`; to be given back with [`Handover::give_back`].
    pub fn receive(&self, worker: WorkerId) -> Option<Parcel> {
        self.inboxes.get(usize::from(worker))?.full.pop()
    }

    /// Returns the buffer of a frame that was received by `worker`.
    pub fn give_back(&self, worker: WorkerId, parcel: Parcel) {
        if let Some(inbox) = self.inboxes.get(usize::from(worker)) {
            let _ = inbox.free.push(parcel);
        }
    }

    /// Whether `worker` has nothing waiting.
    pub fn is_empty(&self, worker: WorkerId) -> bool {
        self.inboxes.get(usize::from(worker)).is_none_or(|inbox| inbox.full.is_empty())
    }

    /// Frames waiting for `worker`.
    pub fn waiting(&self, worker: WorkerId) -> usize {
        self.inboxes.get(usize::from(worker)).map_or(0, |inbox| inbox.full.len())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_in_order_and_buffers_come_back() {
        let handover = Handover::new(2, 2, 64);
        for round in 0..5u8 {
            assert!(handover.send(1, PortId(3), &[round]));
            assert!(handover.send(1, PortId(4), &[round, round]));
            assert_eq!(handover.waiting(1), 2);
            let first = handover.receive(1).expect("first frame");
            assert_eq!((first.bytes(), first.port()), (&[round][..], PortId(3)));
            let second = handover.receive(1).expect("second frame");
            assert_eq!(second.bytes().len(), 2);
            handover.give_back(1, first);
            handover.give_back(1, second);
        }
    }

    #[test]
    fn full_inbox_and_impossible_frames_are_refused() {
        let handover = Handover::new(2, 1, 8);
        assert!(!handover.send(1, PortId(0), &[0; 9]), "longer than a buffer");
        assert!(!handover.send(7, PortId(0), &[0]), "no such worker");
        assert!(handover.send(1, PortId(0), &[1]));
        assert!(!handover.send(1, PortId(0), &[2]), "no buffer left");
        assert!(handover.is_empty(0));
        assert!(!handover.is_empty(1));
    }

    #[test]
    fn parcels_are_not_lost_between_threads() {
        const FRAMES: u32 = 20_000;
        let handover = Handover::new(2, 16, 8);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut sent = 0u32;
                while sent < FRAMES {
                    if handover.send(1, PortId(0), &sent.to_be_bytes()) {
                        sent += 1;
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
            let mut expected = 0u32;
            while expected < FRAMES {
                let Some(parcel) = handover.receive(1) else {
                    std::thread::yield_now();
                    continue;
                };
                assert_eq!(parcel.bytes(), expected.to_be_bytes());
                expected += 1;
                handover.give_back(1, parcel);
            }
        });
    }
}
