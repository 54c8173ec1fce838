//! Storage of half-open connections: slots, a hash index over them, and one queue per number of repetitions.
//!
//! Owns: memory, taken once at `new`, and the links between slots. Does not own: what an entry means.
//!
//! All entries of a queue wait equally long, so each queue is in order of deadlines without sorting, and timers
//! cost nothing but a look at four heads.

use super::TIMEOUTS;
use crate::flow::{FlowKey, HashKey};
use crate::link::Link;
use crate::syncookie::{ClientOptions, SynAck};
use crate::time::Instant;
use crate::wire::Headers;
use crate::wire::tcp::Segment;

/// End of a chain or queue.
const NONE: u32 = u32::MAX;

/// A half-open connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The client's flow, as it came in.
    pub(super) flow: FlowKey,
    /// The way back to the client.
    pub(super) link: Link,
    pub(super) client_isn: u32,
    /// Our SYN-ACK; its TSval is renewed whenever it is sent.
    pub(super) syn_ack: SynAck,
    pub(super) options: ClientOptions,
    /// Added to the millisecond clock gives TSval.
    pub(super) timestamp_offset: u32,
    pub(super) listener: u16,
}

impl Entry {
    /// Takes over TSval of a repeated SYN, so that the client measures the last round trip (RFC 7323 §4.3).
    pub(super) fn renew_echo(&mut self, frame: &[u8], headers: &Headers) {
        let segment = frame.get(headers.l4..headers.end).and_then(|l4| Segment::new_checked(l4).ok());
        let Some(segment) = segment.filter(|segment| segment.seq() == self.client_isn) else { return };
        let received = segment.options().ok().and_then(|options| options.timestamps);
        if let (Some(ours), Some(received)) = (&mut self.syn_ack.options.timestamps, received) {
            ours.echo = received.value;
        }
    }

    pub(super) fn renew_timestamp(&mut self, now: Instant) {
        if let Some(timestamps) = &mut self.syn_ack.options.timestamps {
            timestamps.value = (now.as_millis() as u32).wrapping_add(self.timestamp_offset);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    entry: Entry,
    /// SYN-ACKs sent after the first: the queue it waits in.
    repetitions: u8,
    deadline: Instant,
    /// Neighbours in the queue; `next` also links free slots.
    previous: u32,
    next: u32,
    /// Next slot of the same bucket.
    chain: u32,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u32,
    last: u32,
}

#[derive(Debug)]
pub(super) struct Table {
    key: HashKey,
    /// Grows to the capacity that was reserved at `new`, and no further.
    slots: Vec<Slot>,
    capacity: u32,
    free: u32,
    count: u32,
    buckets: Box<[u32]>,
    queues: [Queue; TIMEOUTS.len()],
}

impl Table {
    pub(super) fn new(capacity: u32, key: HashKey) -> Self {
        let buckets = (capacity.max(1) as usize).next_power_of_two();
        Self {
            key,
            slots: Vec::with_capacity(capacity as usize),
            capacity,
            free: NONE,
            count: 0,
            buckets: vec![NONE; buckets].into(),
            queues: [Queue { first: NONE, last: NONE }; TIMEOUTS.len()],
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.count
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= self.capacity
    }

    pub(super) fn find(&self, flow: &FlowKey) -> Option<u32> {
        self.lookup(flow).map(|(index, _)| index)
    }

    pub(super) fn lookup(&self, flow: &FlowKey) -> Option<(u32, &Entry)> {
        let mut index = *self.buckets.get(self.bucket(flow))?;
        // A chain has no loops, and with as many buckets as slots it has one or two members.
        while let Some(slot) = self.slots.get(index as usize) {
            if slot.entry.flow == *flow {
                return Some((index, &slot.entry));
            }
            index = slot.chain;
        }
        None
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Entry> {
        self.slots.get_mut(index as usize).map(|slot| &mut slot.entry)
    }

    /// Stores an entry in the first queue. False when the table is full.
    pub(super) fn insert(&mut self, entry: Entry, now: Instant) -> bool {
        if self.is_full() {
            return false;
        }
        let bucket = self.bucket(&entry.flow);
        let Some(head) = self.buckets.get_mut(bucket) else { return false };
        let slot = Slot { entry, repetitions: 0, deadline: now, previous: NONE, next: NONE, chain: *head };
        let index = match self.slots.get_mut(self.free as usize) {
            Some(free) => {
                let index = self.free;
                self.free = free.next;
                *free = slot;
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        };
        *head = index;
        self.count += 1;
        self.queue_last(index, now);
        true
    }

    /// Frees a slot that is in use.
    pub(super) fn remove(&mut self, index: u32) -> Option<Entry> {
        self.unqueue(index);
        let slot = *self.slots.get(index as usize)?;
        self.unchain(index, self.bucket(&slot.entry.flow), slot.chain);
        let freed = self.slots.get_mut(index as usize)?;
        freed.next = self.free;
        self.free = index;
        self.count -= 1;
        Some(slot.entry)
    }

    /// Moves an entry to the next queue: its SYN-ACK is sent once more.
    pub(super) fn repeat(&mut self, index: u32, now: Instant) {
        self.unqueue(index);
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.repetitions = (slot.repetitions + 1).min(TIMEOUTS.len() as u8 - 1);
        }
        self.queue_last(index, now);
    }

    /// The first entry of a queue if its deadline has passed.
    pub(super) fn due(&self, repetitions: usize, now: Instant) -> Option<u32> {
        let index = self.queues.get(repetitions)?.first;
        let slot = self.slots.get(index as usize)?;
        (slot.deadline <= now).then_some(index)
    }

    pub(super) fn first_deadline(&self) -> Option<Instant> {
        let firsts = self.queues.iter().filter_map(|queue| self.slots.get(queue.first as usize));
        firsts.map(|slot| slot.deadline).min()
    }

    /// The oldest of those whose SYN-ACK was repeated most often; `None` when none was repeated.
    pub(super) fn most_repeated(&self) -> Option<u32> {
        let firsts = self.queues.iter().skip(1).rev().map(|queue| queue.first);
        firsts.into_iter().find(|index| *index != NONE)
    }

    fn bucket(&self, flow: &FlowKey) -> usize {
        flow.hash(&self.key) as usize & (self.buckets.len() - 1)
    }

    fn unchain(&mut self, index: u32, bucket: usize, chain: u32) {
        let Some(head) = self.buckets.get_mut(bucket) else { return };
        if *head == index {
            *head = chain;
            return;
        }
        let mut at = *head;
        while let Some(slot) = self.slots.get_mut(at as usize) {
            if slot.chain == index {
                slot.chain = chain;
                return;
            }
            at = slot.chain;
        }
    }

    fn queue_last(&mut self, index: u32, now: Instant) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        let at = usize::from(slot.repetitions);
        let (Some(queue), Some(timeout)) = (self.queues.get_mut(at), TIMEOUTS.get(at)) else { return };
        slot.deadline = now + *timeout;
        slot.next = NONE;
        slot.previous = queue.last;
        let last = queue.last;
        queue.last = index;
        if last == NONE {
            queue.first = index;
        } else if let Some(last) = self.slots.get_mut(last as usize) {
            last.next = index;
        }
    }

    fn unqueue(&mut self, index: u32) {
        let Some(slot) = self.slots.get(index as usize) else { return };
        let (previous, next, at) = (slot.previous, slot.next, usize::from(slot.repetitions));
        let Some(queue) = self.queues.get_mut(at) else { return };
        if previous == NONE {
            queue.first = next;
        }
        if next == NONE {
            queue.last = previous;
        }
        if let Some(slot) = self.slots.get_mut(previous as usize) {
            slot.next = next;
        }
        if let Some(slot) = self.slots.get_mut(next as usize) {
            slot.previous = previous;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_is_as_small_as_the_module_says() {
        assert!(size_of::<Slot>() <= 216, "{} bytes", size_of::<Slot>());
    }
}
