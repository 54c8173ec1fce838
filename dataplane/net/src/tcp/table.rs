//! The table of connections: slots, generations, and the index from a 5-tuple to a slot.
//!
//! Owns: which slot is free, which id is alive. Does not own: what a connection says. Slots are filled in order on
//! first use, so that memory is touched only up to the most connections there ever were at one time.
//! Cost: one probe of the index and one record per look-up; 512 bytes and 16 of index per connection.

use super::ConnectionId;
use super::connection::Connection;
use crate::flow::FlowKey;
use crate::flow_index::FlowIndex;

#[derive(Debug)]
pub(super) struct Slot {
    generation: u32,
    connection: Option<Connection>,
}

/// The connections of one stack.
#[derive(Debug)]
pub(super) struct Table {
    /// Never grows beyond the capacity taken at `new`.
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: FlowIndex,
    connections_max: u32,
    used: u32,
}

impl Table {
    pub(super) fn new(connections_max: u32) -> Self {
        let capacity = connections_max as usize;
        Self {
            slots: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            index: FlowIndex::new(capacity),
            connections_max,
            used: 0,
        }
    }

    /// The connection of `key`, whose hash is `hash`.
    #[inline]
    pub(super) fn find(&self, key: &FlowKey, hash: u64) -> Option<u32> {
        self.index.find(hash, |slot| self.get(slot).is_some_and(|connection| connection.key == *key))
    }

    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&Connection> {
        self.slots.get(slot as usize)?.connection.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize)?.connection.as_mut()
    }

    /// The id of a slot's present connection.
    #[inline]
    pub(super) fn id(&self, slot: u32) -> ConnectionId {
        ConnectionId::new(slot, self.slots.get(slot as usize).map_or(0, |slot| slot.generation))
    }

    /// The slot of a connection that is still there.
    #[inline]
    pub(super) fn slot(&self, id: ConnectionId) -> Option<u32> {
        let slot = self.slots.get(id.index())?;
        (slot.generation == id.generation() && slot.connection.is_some()).then_some(id.index() as u32)
    }

    /// Connections there are.
    pub(super) fn len(&self) -> u32 {
        self.used
    }

    pub(super) fn is_full(&self) -> bool {
        self.used >= self.connections_max
    }

    /// The slot that the next connection gets; `None` when there is none.
    pub(super) fn next_slot(&self) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        Some(self.free.last().copied().unwrap_or(self.slots.len() as u32))
    }

    /// Puts a connection into [`Table::next_slot`].
    pub(super) fn insert(&mut self, connection: Connection, hash: u64) -> Option<u32> {
        let slot = self.next_slot()?;
        if !self.index.insert(hash, slot) {
            return None;
        }
        self.used += 1;
        if self.free.pop().is_some() {
            self.slots.get_mut(slot as usize)?.connection = Some(connection);
        } else {
            self.slots.push(Slot { generation: 0, connection: Some(connection) });
        }
        Some(slot)
    }

    /// Takes a connection out of the index, so that its client's port can be used again; its id stays alive.
    pub(super) fn unlink(&mut self, slot: u32, hash: u64) {
        self.index.remove(hash, slot);
    }

    /// Frees the slot of an unlinked connection; its id is dead from now on.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(entry) = self.slots.get_mut(slot as usize) else { return };
        if entry.connection.take().is_some() {
            entry.generation = entry.generation.wrapping_add(1);
            self.free.push(slot);
            self.used -= 1;
        }
    }

    /// One connection out of a round through all: for what is looked at now and then.
    pub(super) fn next_in_round(&self, hand: &mut u32) -> Option<u32> {
        let count = self.slots.len() as u32;
        if count == 0 {
            return None;
        }
        let slot = *hand % count;
        *hand = (slot + 1) % count;
        self.get(slot).map(|_| slot)
    }

    /// All connections. For tests and fuzzing.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Connection)> {
        let numbered = self.slots.iter().enumerate();
        numbered.filter_map(|(slot, entry)| Some((slot as u32, entry.connection.as_ref()?)))
    }

    /// Panics when the index is broken. For tests and fuzzing.
    pub(super) fn check(&self) {
        self.index.check();
        assert_eq!(self.iter().count(), self.used as usize);
        assert_eq!(self.slots.len() - self.free.len(), self.used as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_is_at_most_512_bytes() {
        assert!(size_of::<Slot>() <= 512, "{}", size_of::<Slot>());
    }
}
