//! Sessions and exchanges by number.
//!
//! Owns: [`Slab`], slots with generations, so that a late call finds nothing instead of a stranger. A released
//! value stays in its slot: whatever room its parts have is there for the next one. Grows on demand up to its limit.

/// Names an entry: its slot is given away again under another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Key {
    pub(super) const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    is_used: bool,
    value: T,
}

/// The table.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    max: u32,
}

impl<T> Slab<T> {
    pub(super) fn new(max: u32) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), max }
    }

    /// Entries in use.
    pub(super) fn len(&self) -> u32 {
        // Both are bounded by `max`, a u32.
        (self.slots.len() - self.free.len()) as u32
    }

    /// Takes a slot; `make` is asked for a value when no released one is left. `None` when full.
    pub(super) fn take(&mut self, make: impl FnOnce() -> T) -> Option<Key> {
        if let Some(index) = self.free.pop() {
            let slot = self.slots.get_mut(index as usize)?;
            slot.is_used = true;
            return Some(Key { index, generation: slot.generation });
        }
        let index = u32::try_from(self.slots.len()).ok().filter(|&index| index < self.max)?;
        self.slots.push(Slot { generation: 0, is_used: true, value: make() });
        Some(Key { index, generation: 0 })
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        (slot.is_used && slot.generation == key.generation).then_some(&slot.value)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.is_used && slot.generation == key.generation).then_some(&mut slot.value)
    }

    /// Releases an entry and shows its value, which stays for the next one.
    pub(super) fn release(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if !slot.is_used || slot.generation != key.generation {
            return None;
        }
        slot.is_used = false;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(&mut slot.value)
    }

    /// The key of whatever is in slot `index` now.
    pub(super) fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.slots.get(index as usize)?;
        slot.is_used.then_some(Key { index, generation: slot.generation })
    }

    /// One more than the highest slot ever used.
    pub(super) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_of_a_released_entry_finds_nothing_in_the_reused_slot() {
        let mut slab = Slab::new(1);
        let first = slab.take(|| 'a').expect("room");
        assert!(slab.take(|| 'b').is_none(), "full");
        assert_eq!(slab.release(first), Some(&mut 'a'));
        assert_eq!(slab.len(), 0);
        let second = slab.take(|| 'b').expect("room");
        assert_eq!(first.index, second.index);
        assert!(slab.get_mut(first).is_none() && slab.release(first).is_none());
        assert_eq!(slab.get(second), Some(&'a'), "the released value is used again");
        assert_eq!(Key::from_bits(second.to_bits()), second);
        assert_eq!(slab.key_at(0), Some(second));
    }
}
