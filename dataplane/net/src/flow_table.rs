//! A table of flows: slots taken at start, found by either side's key, and the order of eviction.
//!
//! Owns: slots with generations, the two index entries per flow, the free list, one list per [`Class`] (oldest
//! first). Does not own: ports, timers, events; the owners (`splice`, `udp`) keep those in step.
//! A slot that was freed rests before it is used again, so that what an owner keeps beside it (under the slot's
//! number) is not overwritten before the owner has read the event of the old flow's end.
//! Cost: a lookup is one keyed hash, one index line and one record; 56 bytes per slot beside the record.

use std::collections::VecDeque;

use crate::flow::{FlowKey, HashKey};
use crate::flow_index::FlowIndex;

/// Freed slots that rest: an eighth of the table, at most this many. More than one turn of a worker can free.
const RESTING_MAX: usize = 1_024;

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Links {
    next: u32,
    previous: u32,
}

/// A doubly linked list through the slots, oldest first.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
    len: u32,
}

impl List {
    const EMPTY: Self = Self { first: NONE, last: NONE, len: 0 };
}

/// One of the two ends of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Backend,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Backend,
            Self::Backend => Self::Client,
        }
    }
}

/// What the state of a flow means for the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Only one side has spoken. May be evicted when nothing else is left to.
    HalfOpen,
    /// Is never evicted.
    Established,
    /// Has ended. Is evicted first.
    Lingering,
}

/// A flow as the table sees it.
pub(crate) trait Record {
    /// Key of the packets that `side` sends us.
    fn key(&self, side: Side) -> &FlowKey;

    fn set_backend_key(&mut self, key: FlowKey);

    fn class(&self) -> Class;
}

/// How many flows are in which class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassCounts {
    pub(crate) half_open: u32,
    pub(crate) established: u32,
    pub(crate) lingering: u32,
}

/// The table of flows.
#[derive(Debug)]
pub(crate) struct Table<R> {
    flows: Box<[Option<R>]>,
    generations: Box<[u32]>,
    links: Box<[Links]>,
    index: FlowIndex,
    key: HashKey,
    /// Free slots, chained by `Links::next`; of those that have rested the last is used first, while it is warm.
    free: u32,
    /// Freed slots that rest, oldest first.
    resting: VecDeque<u32>,
    resting_max: usize,
    half_open: List,
    established: List,
    lingering: List,
}

impl<R: Record> Table<R> {
    pub(crate) fn new(flows_max: u32, key: HashKey) -> Self {
        let flows_max = flows_max.min(NONE / 2 - 1);
        let mut table = Self {
            flows: (0..flows_max).map(|_| None).collect(),
            generations: vec![0; flows_max as usize].into_boxed_slice(),
            links: vec![Links { next: NONE, previous: NONE }; flows_max as usize].into_boxed_slice(),
            index: FlowIndex::new(flows_max as usize * 2),
            key,
            free: NONE,
            resting: VecDeque::with_capacity(RESTING_MAX + 1),
            resting_max: (flows_max as usize / 8).min(RESTING_MAX),
            half_open: List::EMPTY,
            established: List::EMPTY,
            lingering: List::EMPTY,
        };
        for slot in (0..flows_max).rev() {
            table.links[slot as usize].next = table.free;
            table.free = slot;
        }
        table
    }

    /// The flow that `key` belongs to, and which side sends with that key.
    #[inline]
    pub(crate) fn find(&self, key: &FlowKey) -> Option<(u32, Side)> {
        let found = self.index.find(key.hash(&self.key), |value| {
            self.get(value >> 1).is_some_and(|flow| flow.key(side_of(value)) == key)
        })?;
        Some((found >> 1, side_of(found)))
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&R> {
        self.flows.get(slot as usize)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut R> {
        self.flows.get_mut(slot as usize)?.as_mut()
    }

    /// How often a slot was given up: tells its present flow from earlier ones.
    pub(crate) fn generation(&self, slot: u32) -> u32 {
        self.generations.get(slot as usize).copied().unwrap_or(0)
    }

    /// Whether a slot holds a flow, and that of this generation.
    pub(crate) fn is_live(&self, slot: u32, generation: u32) -> bool {
        self.generation(slot) == generation && self.get(slot).is_some()
    }

    /// Whether one more flow would take a slot that must rest.
    pub(crate) fn is_full(&self) -> bool {
        let used = self.half_open.len + self.established.len + self.lingering.len;
        used as usize + self.resting_max >= self.flows.len()
    }

    /// Puts a flow into a free slot. `None` when there is none, or a key of it is taken.
    pub(crate) fn insert(&mut self, flow: R) -> Option<u32> {
        let slot = self.free;
        // A backend that is its own client, which only a wrong policy can ask for.
        let (client, backend) = (flow.key(Side::Client), flow.key(Side::Backend));
        if client == backend {
            return None;
        }
        if self.is_full() || slot == NONE || self.find(client).is_some() || self.find(backend).is_some() {
            return None;
        }
        let hashes = [client.hash(&self.key), backend.hash(&self.key)];
        let is_indexed =
            self.index.insert(hashes[0], slot << 1) && self.index.insert(hashes[1], slot << 1 | 1);
        debug_assert!(is_indexed, "the index holds two entries per slot");
        self.free = self.links[slot as usize].next;
        let class = flow.class();
        self.flows[slot as usize] = Some(flow);
        self.push(class, slot);
        Some(slot)
    }

    /// Gives a flow another backend key. False, changing nothing, when that key is taken.
    pub(crate) fn rekey_backend(&mut self, slot: u32, key: FlowKey) -> bool {
        if self.find(&key).is_some() {
            return false;
        }
        let new_hash = key.hash(&self.key);
        let Some(flow) = self.flows.get_mut(slot as usize).and_then(Option::as_mut) else { return false };
        let old_hash = flow.key(Side::Backend).hash(&self.key);
        flow.set_backend_key(key);
        self.index.remove(old_hash, slot << 1 | 1);
        self.index.insert(new_hash, slot << 1 | 1)
    }

    /// Takes a flow out; its id is dead from now on.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<R> {
        let flow = self.flows.get_mut(slot as usize)?.take()?;
        self.unlink(flow.class(), slot);
        self.index.remove(flow.key(Side::Client).hash(&self.key), slot << 1);
        self.index.remove(flow.key(Side::Backend).hash(&self.key), slot << 1 | 1);
        self.generations[slot as usize] = self.generations[slot as usize].wrapping_add(1);
        self.resting.push_back(slot);
        if self.resting.len() > self.resting_max
            && let Some(rested) = self.resting.pop_front()
        {
            self.links[rested as usize].next = self.free;
            self.free = rested;
        }
        Some(flow)
    }

    /// Changes a flow and moves it to the list of its class, if that changed.
    pub(crate) fn update(&mut self, slot: u32, change: impl FnOnce(&mut R)) {
        let Some(flow) = self.flows.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let old = flow.class();
        change(flow);
        let new = flow.class();
        if old != new {
            self.unlink(old, slot);
            self.push(new, slot);
        }
    }

    /// The flow that has lingered longest.
    pub(crate) fn oldest_lingering(&self) -> Option<u32> {
        (self.lingering.first != NONE).then_some(self.lingering.first)
    }

    /// The flow that has been half-open longest.
    pub(crate) fn oldest_half_open(&self) -> Option<u32> {
        (self.half_open.first != NONE).then_some(self.half_open.first)
    }

    pub(crate) fn counts(&self) -> ClassCounts {
        ClassCounts {
            half_open: self.half_open.len,
            established: self.established.len,
            lingering: self.lingering.len,
        }
    }

    fn list_mut(&mut self, class: Class) -> &mut List {
        match class {
            Class::HalfOpen => &mut self.half_open,
            Class::Established => &mut self.established,
            Class::Lingering => &mut self.lingering,
        }
    }

    fn push(&mut self, class: Class, slot: u32) {
        let list = self.list_mut(class);
        let previous = core::mem::replace(&mut list.last, slot);
        list.len += 1;
        if previous == NONE {
            list.first = slot;
        } else {
            self.links[previous as usize].next = slot;
        }
        self.links[slot as usize] = Links { next: NONE, previous };
    }

    fn unlink(&mut self, class: Class, slot: u32) {
        let Links { next, previous } = self.links[slot as usize];
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        if previous != NONE {
            self.links[previous as usize].next = next;
        }
        let list = self.list_mut(class);
        list.len -= 1;
        if list.first == slot {
            list.first = next;
        }
        if list.last == slot {
            list.last = previous;
        }
    }

    /// Live flows with their slots. For tests and fuzzing.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &R)> {
        self.flows.iter().enumerate().filter_map(|(slot, flow)| Some((slot as u32, flow.as_ref()?)))
    }

    /// Panics when the parts of the table disagree. For tests and fuzzing.
    pub(crate) fn check(&self) {
        self.index.check();
        let mut counts = ClassCounts::default();
        for (slot, flow) in self.iter() {
            assert_eq!(self.find(flow.key(Side::Client)), Some((slot, Side::Client)));
            assert_eq!(self.find(flow.key(Side::Backend)), Some((slot, Side::Backend)));
            match flow.class() {
                Class::HalfOpen => counts.half_open += 1,
                Class::Established => counts.established += 1,
                Class::Lingering => counts.lingering += 1,
            }
        }
        assert_eq!(counts, self.counts());
        for (list, class) in [
            (self.half_open, Class::HalfOpen),
            (self.established, Class::Established),
            (self.lingering, Class::Lingering),
        ] {
            let mut at = list.first;
            for _ in 0..list.len {
                assert_eq!(self.get(at).map(R::class), Some(class));
                at = self.links[at as usize].next;
            }
            assert_eq!(at, NONE, "a list longer than its count");
        }
    }
}

fn side_of(value: u32) -> Side {
    if value & 1 == 0 { Side::Client } else { Side::Backend }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Endpoint, Protocol};

    struct Bare([FlowKey; 2]);

    impl Record for Bare {
        fn key(&self, side: Side) -> &FlowKey {
            &self.0[usize::from(side == Side::Backend)]
        }

        fn set_backend_key(&mut self, key: FlowKey) {
            self.0[1] = key;
        }

        fn class(&self) -> Class {
            Class::Established
        }
    }

    fn flow(port: u16) -> Bare {
        let end = |host, port| Endpoint { addr: [10, 0, 0, host].into(), port };
        let key = |source, destination| FlowKey { protocol: Protocol::Tcp, source, destination };
        Bare([key(end(1, port), end(2, 443)), key(end(3, 80), end(4, port))])
    }

    #[test]
    fn freed_slot_rests_before_it_is_used_again() {
        let mut table = Table::new(64, HashKey([1, 2]));
        let slots: Vec<u32> = (0..56).map(|port| table.insert(flow(port)).unwrap()).collect();
        assert!(table.is_full());
        assert_eq!(table.insert(flow(99)), None, "an eighth of the table rests");
        for (turn, slot) in slots.iter().enumerate() {
            table.remove(*slot);
            let taken = table.insert(flow(100 + turn as u16)).unwrap();
            assert!(!slots[(turn + 1).saturating_sub(8)..=turn].contains(&taken), "{taken} did not rest");
            table.check();
        }
    }

    #[test]
    fn flow_is_found_by_both_keys_until_it_is_removed() {
        let mut table = Table::new(4, HashKey([1, 2]));
        let slot = table.insert(flow(7)).unwrap();
        assert_eq!(table.find(&flow(7).0[0]), Some((slot, Side::Client)));
        assert_eq!(table.find(&flow(7).0[1]), Some((slot, Side::Backend)));
        assert!(table.rekey_backend(slot, flow(8).0[1]));
        assert_eq!(table.find(&flow(7).0[1]), None);
        let generation = table.generation(slot);
        table.remove(slot);
        assert!(!table.is_live(slot, generation));
        assert_eq!(table.find(&flow(7).0[0]), None);
        assert_eq!(table.find(&flow(8).0[1]), None);
    }
}
