//! Texts and UUIDs that many entries share, each kept once.
//!
//! Owns: numbers for values, counted references. Cost: a hash look-up per use. Limit: never more values than uses,
//! which the table bounds.

use std::collections::HashMap;
use std::sync::Arc;

/// Values by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    slots: Vec<Option<(Arc<[u8]>, u32)>>,
    free: Vec<u32>,
    numbers: HashMap<Arc<[u8]>, u32>,
}

impl Pool {
    /// The number of a value, which counts one use more.
    pub(super) fn hold(&mut self, value: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            if let Some((_, uses)) = &mut self.slots[*number as usize] {
                *uses += 1;
            }
            return *number;
        }
        let value = Arc::<[u8]>::from(value);
        let slot = Some((value.clone(), 1));
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                // A table of entries is far smaller than 2^32.
                (self.slots.len() - 1) as u32
            }
        };
        self.numbers.insert(value, number);
        number
    }

    /// One use less; a value that nobody uses is dropped.
    pub(super) fn release(&mut self, number: u32) {
        let Some(slot) = self.slots.get_mut(number as usize) else { return };
        let Some((value, uses)) = slot else { return };
        *uses -= 1;
        if *uses == 0 {
            self.numbers.remove(value);
            *slot = None;
            self.free.push(number);
        }
    }

    /// The value of a number that is held.
    pub(super) fn get(&self, number: u32) -> Option<&[u8]> {
        self.slots.get(number as usize)?.as_ref().map(|(value, _)| &**value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_once_and_goes_with_its_last_use() {
        let mut pool = Pool::default();
        let (first, second, other) = (pool.hold(b"flood"), pool.hold(b"flood"), pool.hold(b"scan"));
        assert_eq!(first, second);
        assert_ne!(first, other);
        pool.release(first);
        assert_eq!(pool.get(second), Some(&b"flood"[..]));
        pool.release(second);
        assert_eq!(pool.get(second), None);
        assert_eq!(pool.hold(b"later"), first);
        assert_eq!(pool.slots.len(), 2);
    }
}
