//! How long events stay: until they are too old or too many.

use super::{Events, Header, TABLE, key};
use crate::failure::Failure;

/// Blocks removed in one transaction.
const BLOCKS_AT_ONCE: usize = 256;

impl Events {
    /// Removes whole blocks stored before `before_ms`, and the oldest ones above the limit of events. Answers how many
    /// events went. Blocking.
    ///
    /// # Errors
    /// What the store says; what was not removed is removed next time.
    pub fn remove_old(&self, before_ms: u64) -> Result<u64, Failure> {
        let mut removed = 0;
        loop {
            let old: Vec<Header> = {
                let state = self.state();
                let mut left: u64 = state.blocks.iter().map(|block| u64::from(block.count)).sum();
                let events_max = self.inner.events_max;
                let is_old = |block: &&Header| {
                    let goes = block.stored_ms < before_ms || left > events_max;
                    left -= u64::from(block.count);
                    goes
                };
                state.blocks.iter().take_while(is_old).take(BLOCKS_AT_ONCE).copied().collect()
            };
            if old.is_empty() {
                return Ok(removed);
            }
            let keys: Vec<[u8; 9]> = old
                .iter()
                .flat_map(|block| [b'h', b'b', b'a'].map(|kind| key(kind, block.first_id)))
                .collect();
            self.inner.store.write(move |transaction| {
                for key in &keys {
                    transaction.remove(TABLE, key)?;
                }
                Ok::<_, Failure>(())
            })?;
            let mut state = self.state();
            for block in &old {
                state.blocks.pop_front();
                state.acknowledged.remove(&block.first_id);
                removed += u64::from(block.count);
            }
        }
    }
}
