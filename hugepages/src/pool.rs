//! A fixed slab: as many values as were asked for at start, handles that notice reuse.
//!
//! Owns: the values. Cost: one comparison per access, no allocation after construction, 8 bytes per value.
//!
//! ```text
//!   Handle { index: u32, generation: u32 }
//!   slot    | generation | value            odd generation: occupied, even: free
//!            insert: generation + 1 (odd)   remove: generation + 1 (even)
//! ```

/// Names a value in a [`Pool`]. A handle of a removed value never reaches the value that took its place (until
/// its slot was reused 2^31 times).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle {
    index: u32,
    generation: u32,
}

impl Handle {
    /// Position of the slot, below [`Pool::capacity`]. For side tables.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// When free: the next free slot, `u32::MAX` at the end.
    next_free: u32,
    value: Option<T>,
}

/// A fixed number of values of one type.
#[derive(Debug)]
pub struct Pool<T> {
    slots: Box<[Slot<T>]>,
    free_head: u32,
    len: u32,
}

/// End of the free list.
const NONE: u32 = u32::MAX;

impl<T> Pool<T> {
    /// A pool of `capacity` values, all memory taken and touched now. Capacity is at most 2^32 - 2.
    pub fn with_capacity(capacity: u32) -> Self {
        let capacity = capacity.min(NONE - 1);
        let slots: Box<[Slot<T>]> = (0..capacity)
            .map(|i| Slot {
                generation: 0,
                next_free: if i + 1 == capacity { NONE } else { i + 1 },
                value: None,
            })
            .collect();
        Self { free_head: if capacity == 0 { NONE } else { 0 }, slots, len: 0 }
    }

    /// Values the pool can hold.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Values it holds.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Stores a value; gives it back when the pool is full.
    pub fn insert(&mut self, value: T) -> Result<Handle, T> {
        let index = self.free_head;
        let Some(slot) = self.slots.get_mut(index as usize) else { return Err(value) };
        self.free_head = slot.next_free;
        slot.generation = slot.generation.wrapping_add(1);
        slot.value = Some(value);
        self.len += 1;
        Ok(Handle { index, generation: slot.generation })
    }

    /// The value of `handle`, unless it was removed.
    pub fn get(&self, handle: Handle) -> Option<&T> {
        let slot = self.slots.get(handle.index())?;
        if slot.generation != handle.generation {
            return None;
        }
        slot.value.as_ref()
    }

    /// The value of `handle`, unless it was removed.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let slot = self.slots.get_mut(handle.index())?;
        if slot.generation != handle.generation {
            return None;
        }
        slot.value.as_mut()
    }

    /// Takes the value of `handle` out.
    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        let slot = self.slots.get_mut(handle.index())?;
        if slot.generation != handle.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = self.free_head;
        self.free_head = handle.index;
        self.len -= 1;
        Some(value)
    }

    /// The handle of the value at `index`, for walking the pool a slice at a time.
    pub fn handle_at(&self, index: usize) -> Option<Handle> {
        let slot = self.slots.get(index)?;
        slot.value.as_ref()?;
        Some(Handle { index: index as u32, generation: slot.generation })
    }

    /// All values with their handles, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let value = slot.value.as_ref()?;
            Some((Handle { index: index as u32, generation: slot.generation }, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_of_a_removed_value_finds_nothing_in_the_reused_slot() {
        let mut pool = Pool::with_capacity(1);
        let a = pool.insert("a").unwrap();
        assert_eq!(pool.insert("b"), Err("b"), "full gives the value back");
        assert_eq!(pool.remove(a), Some("a"));
        let c = pool.insert("c").unwrap();
        assert_eq!(c.index(), a.index());
        assert_eq!(pool.get(a), None);
        assert_eq!(pool.get_mut(a), None);
        assert_eq!(pool.remove(a), None);
        assert_eq!(pool.get(c), Some(&"c"));
    }

    #[test]
    fn the_limit_and_one_more() {
        let mut pool = Pool::with_capacity(100);
        let handles: Vec<_> = (0..100).map(|i| pool.insert(i).unwrap()).collect();
        assert_eq!(pool.insert(100), Err(100));
        for handle in handles.iter().step_by(2) {
            assert!(pool.remove(*handle).is_some());
        }
        assert_eq!((pool.len(), pool.capacity()), (50, 100));
        assert_eq!(pool.iter().map(|(_, v)| *v).sum::<i32>(), (0..100).filter(|i| i % 2 == 1).sum());
        for i in 0..50 {
            assert!(pool.insert(i).is_ok());
        }
        assert!(pool.insert(0).is_err());
        assert_eq!(pool.handle_at(3).and_then(|h| pool.get(h)), Some(&3));
        assert_eq!(pool.handle_at(100), None);
    }

    #[test]
    fn an_empty_pool_refuses() {
        let mut pool = Pool::with_capacity(0);
        assert_eq!(pool.insert(1), Err(1));
        assert!(pool.is_empty());
    }

    #[test]
    fn removed_values_are_dropped_once() {
        use std::rc::Rc;
        let value = Rc::new(());
        let mut pool = Pool::with_capacity(2);
        let handle = pool.insert(Rc::clone(&value)).unwrap();
        pool.insert(Rc::clone(&value)).unwrap();
        drop(pool.remove(handle));
        assert_eq!(Rc::strong_count(&value), 2);
        drop(pool);
        assert_eq!(Rc::strong_count(&value), 1);
    }
}
