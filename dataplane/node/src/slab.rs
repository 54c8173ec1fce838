//! A bounded table of things that poll events point at.
//!
//! Owns: slots with generations, so that an event that was on its way when its connection ended finds nothing. Grows on
//! demand up to its limit and never shrinks: the memory of a peak is kept for the next one.

/// Names one entry, for ever: its slot is given away again under another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    generation: u32,
}

/// Bits of a generation in a token; after a million reuses of one slot within one poll an event could be mistaken.
const GENERATION_BITS: u32 = 24;

impl Key {
    /// As the upper bits of a poll token.
    pub(crate) fn to_bits(self) -> usize {
        (self.generation as usize) << 32 | self.index as usize
    }

    pub(crate) fn from_bits(bits: usize) -> Self {
        Self { index: (bits & 0xffff_ffff) as u32, generation: (bits >> 32) as u32 }
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    max: u32,
    len: u32,
}

impl<T> Slab<T> {
    pub(crate) fn new(max: u32) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), max, len: 0 }
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len >= self.max
    }

    /// The key that the next [`Slab::insert_with`] gives; `None` when full.
    pub(crate) fn next_key(&self) -> Option<Key> {
        if self.is_full() {
            return None;
        }
        match self.free.last() {
            Some(&index) => {
                self.slots.get(index as usize).map(|slot| Key { index, generation: slot.generation })
            }
            None => Some(Key { index: u32::try_from(self.slots.len()).ok()?, generation: 0 }),
        }
    }

    /// Stores what `make` makes of its key; `None` when full.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Option<Key> {
        if self.is_full() {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot { generation: 0, value: None });
                index
            }
        };
        let slot = self.slots.get_mut(index as usize)?;
        let key = Key { index, generation: slot.generation };
        slot.value = Some(make(key));
        self.len += 1;
        Some(key)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.slots.get(key.index as usize).filter(|slot| slot.generation == key.generation)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slots
            .get_mut(key.index as usize)
            .filter(|slot| slot.generation == key.generation)?
            .value
            .as_mut()
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        let value = slot.value.take()?;
        slot.generation = (slot.generation + 1) & ((1 << GENERATION_BITS) - 1);
        self.free.push(key.index);
        self.len -= 1;
        Some(value)
    }

    /// The key of whatever is in slot `index` now.
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.slots.get(index as usize)?;
        slot.value.is_some().then_some(Key { index, generation: slot.generation })
    }

    /// Everything stored.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let key = Key { index: u32::try_from(index).ok()?, generation: slot.generation };
            slot.value.as_ref().map(|value| (key, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_of_a_removed_entry_finds_nothing_in_the_reused_slot() {
        let mut slab = Slab::new(1);
        let next = slab.next_key();
        let first = slab.insert_with(|_| 'a').unwrap();
        assert_eq!(next, Some(first));
        assert_eq!(slab.next_key(), None);
        assert!(slab.insert_with(|_| 'b').is_none(), "full");
        assert_eq!(slab.remove(first), Some('a'));
        let next = slab.next_key();
        let second = slab.insert_with(|_| 'b').unwrap();
        assert_eq!(next, Some(second));
        assert_eq!(first.index, second.index);
        assert!(slab.get_mut(first).is_none() && slab.remove(first).is_none());
        assert_eq!(Key::from_bits(second.to_bits()), second);
        assert_eq!(slab.iter().map(|(key, _)| key).collect::<Vec<_>>(), [second]);
    }
}
