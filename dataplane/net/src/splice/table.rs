//! The flows of one splice: slots taken at start, found by either side's key, and the order of eviction.
//!
//! Owns: slots with generations, the two index entries per flow, free list, the lists of half-open and lingering
//! flows (oldest first), counts by class. Does not own: ports, timers, events; `Splice` keeps those in step.

use super::flow::Flow;
use super::state::{Class, Side, State};
use super::{Counts, FlowId};
use crate::flow::{FlowKey, HashKey};
use crate::flow_index::FlowIndex;

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

/// The table of flows.
#[derive(Debug)]
pub(super) struct Table {
    flows: Box<[Option<Flow>]>,
    generations: Box<[u32]>,
    links: Box<[Links]>,
    index: FlowIndex,
    key: HashKey,
    /// Free slots, chained by `Links::next`; the slot freed last is used first, while it is warm.
    free: u32,
    half_open: List,
    established: List,
    lingering: List,
}

impl Table {
    pub(super) fn new(flows_max: u32, key: HashKey) -> Self {
        let flows_max = flows_max.min(NONE / 2 - 1);
        let mut table = Self {
            flows: (0..flows_max).map(|_| None).collect(),
            generations: vec![0; flows_max as usize].into_boxed_slice(),
            links: vec![Links { next: NONE, previous: NONE }; flows_max as usize].into_boxed_slice(),
            index: FlowIndex::new(flows_max as usize * 2),
            key,
            free: NONE,
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
    pub(super) fn find(&self, key: &FlowKey) -> Option<(u32, Side)> {
        let found = self.index.find(key.hash(&self.key), |value| {
            self.get(value >> 1).is_some_and(|flow| flow.key(side_of(value)) == key)
        })?;
        Some((found >> 1, side_of(found)))
    }

    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&Flow> {
        self.flows.get(slot as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Flow> {
        self.flows.get_mut(slot as usize)?.as_mut()
    }

    /// The id of a slot's present flow.
    pub(super) fn id(&self, slot: u32) -> FlowId {
        FlowId { index: slot, generation: self.generations.get(slot as usize).copied().unwrap_or(0) }
    }

    /// The slot of a flow that is still there.
    pub(super) fn slot(&self, id: FlowId) -> Option<u32> {
        let is_same = self.generations.get(id.index()) == Some(&id.generation);
        (is_same && self.get(id.index).is_some()).then_some(id.index)
    }

    pub(super) fn is_full(&self) -> bool {
        self.free == NONE
    }

    /// Puts a flow into a free slot. `None` when there is none, or a key of it is taken.
    pub(super) fn insert(&mut self, flow: Flow) -> Option<u32> {
        let slot = self.free;
        // A backend that is its own client, which only a wrong policy can ask for.
        if flow.client_key == flow.backend_key {
            return None;
        }
        if slot == NONE || self.find(&flow.client_key).is_some() || self.find(&flow.backend_key).is_some() {
            return None;
        }
        let hashes = [flow.client_key.hash(&self.key), flow.backend_key.hash(&self.key)];
        let is_indexed =
            self.index.insert(hashes[0], slot << 1) && self.index.insert(hashes[1], slot << 1 | 1);
        debug_assert!(is_indexed, "the index holds two entries per slot");
        self.free = self.links[slot as usize].next;
        let class = flow.state.class();
        self.flows[slot as usize] = Some(flow);
        self.push(class, slot);
        Some(slot)
    }

    /// Gives a flow another backend key. False, changing nothing, when that key is taken.
    pub(super) fn rekey_backend(&mut self, slot: u32, key: FlowKey) -> bool {
        if self.find(&key).is_some() {
            return false;
        }
        let new_hash = key.hash(&self.key);
        let Some(flow) = self.flows.get_mut(slot as usize).and_then(Option::as_mut) else { return false };
        let old_hash = flow.backend_key.hash(&self.key);
        flow.backend_key = key;
        self.index.remove(old_hash, slot << 1 | 1);
        self.index.insert(new_hash, slot << 1 | 1)
    }

    /// Takes a flow out; its id is dead from now on.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Flow> {
        let flow = self.flows.get_mut(slot as usize)?.take()?;
        self.unlink(flow.state.class(), slot);
        self.index.remove(flow.client_key.hash(&self.key), slot << 1);
        self.index.remove(flow.backend_key.hash(&self.key), slot << 1 | 1);
        self.generations[slot as usize] = self.generations[slot as usize].wrapping_add(1);
        self.links[slot as usize].next = self.free;
        self.free = slot;
        Some(flow)
    }

    /// Sets a flow's state and moves it to the list of its class.
    pub(super) fn set_state(&mut self, slot: u32, state: State) {
        let Some(flow) = self.flows.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let (old, new) = (flow.state.class(), state.class());
        flow.state = state;
        if old != new {
            self.unlink(old, slot);
            self.push(new, slot);
        }
    }

    /// The flow that has lingered longest.
    pub(super) fn oldest_lingering(&self) -> Option<u32> {
        (self.lingering.first != NONE).then_some(self.lingering.first)
    }

    /// The flow that has been half-open longest.
    pub(super) fn oldest_half_open(&self) -> Option<u32> {
        (self.half_open.first != NONE).then_some(self.half_open.first)
    }

    pub(super) fn counts(&self) -> Counts {
        let (half_open, established, time_wait) =
            (self.half_open.len, self.established.len, self.lingering.len);
        Counts { flows: half_open + established + time_wait, half_open, established, time_wait }
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
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Flow)> {
        self.flows.iter().enumerate().filter_map(|(slot, flow)| Some((slot as u32, flow.as_ref()?)))
    }

    /// Panics when the parts of the table disagree. For tests and fuzzing.
    pub(super) fn check(&self) {
        self.index.check();
        let mut counts = Counts::default();
        for (slot, flow) in self.iter() {
            assert_eq!(self.find(&flow.client_key), Some((slot, Side::Client)));
            assert_eq!(self.find(&flow.backend_key), Some((slot, Side::Backend)));
            counts.flows += 1;
            match flow.state.class() {
                Class::HalfOpen => counts.half_open += 1,
                Class::Established => counts.established += 1,
                Class::Lingering => counts.time_wait += 1,
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
                assert_eq!(self.get(at).map(|flow| flow.state.class()), Some(class));
                at = self.links[at as usize].next;
            }
            assert_eq!(at, NONE, "a list longer than its count");
        }
    }
}

fn side_of(value: u32) -> Side {
    if value & 1 == 0 { Side::Client } else { Side::Backend }
}
