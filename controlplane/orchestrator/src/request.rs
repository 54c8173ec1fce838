//! Requests that were carried out, so that a repeated one is answered and not done again.
//!
//! Owns: the memory of request ids, for a day. Does not own: what is done (`service::mutation`).

use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use secbeat_config::policy::Hash;

use crate::failure::Failure;
use crate::store::{Order, Store, Table};

/// How long an answer is remembered. A client that repeats a request later than this gave up long ago.
pub const REMEMBERED: Duration = Duration::from_secs(86_400);

/// Answers remembered. 100,000 changes a day is one a second. Full: further ones are carried out but not remembered,
/// and counted.
pub const REQUESTS_MAX: usize = 100_000;

/// Bytes of one answer that is remembered: what is larger (a push of thousands of rules) is remembered without its
/// answer's details.
pub const ANSWER_BYTES_MAX: usize = 64 * 1_024;

const TABLE: Table = Table::Requests;

/// Requests being carried out, each with the lock that its repetitions wait for.
type Running = HashMap<[u8; 32], Arc<tokio::sync::Mutex<()>>>;

/// The memory.
#[derive(Clone, Debug)]
pub struct Requests {
    store: Store,
    running: Arc<Mutex<Running>>,
}

/// One request id of one caller and action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    key: [u8; 32],
}

impl Requests {
    /// The memory in that store.
    pub fn new(store: Store) -> Self {
        Self { store, running: Arc::default() }
    }

    /// The slot of a request id.
    pub fn slot(caller: &str, action: &str, request_id: &str) -> Slot {
        Slot { key: Hash::of([caller.as_bytes(), action.as_bytes(), request_id.as_bytes()]).0 }
    }

    /// Waits until no other request of this id is being carried out.
    pub async fn turn(&self, slot: Slot) -> Turn {
        let lock = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(running.entry(slot.key).or_default())
        };
        let guard = Arc::clone(&lock).lock_owned().await;
        Turn { _guard: guard, requests: self.clone(), slot }
    }

    /// The answer to an earlier request of this id.
    ///
    /// # Errors
    /// `Conflict` when that was another request; what the store says.
    pub fn answer(&self, slot: Slot, request: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let Some(stored) = self.store.read(|reader| reader.get(TABLE, &slot.key))? else {
            return Ok(None);
        };
        let digest = Hash::of([request]).0;
        match stored.get(8..40) {
            Some(known) if known == digest => Ok(stored.get(40..).map(<[u8]>::to_vec)),
            _ => Err(Failure::Conflict("request_id: was used for another request".into())),
        }
    }

    /// Remembers an answer.
    ///
    /// # Errors
    /// What the store says.
    pub async fn remember(
        &self,
        slot: Slot,
        now_ms: u64,
        request: &[u8],
        answer: &[u8],
    ) -> Result<(), Failure> {
        if self.store.read(|reader| reader.len(TABLE))? >= REQUESTS_MAX as u64 {
            tracing::warn!(requests_max = REQUESTS_MAX, "a request is not remembered: too many in a day");
            return Ok(());
        }
        let mut value = now_ms.to_be_bytes().to_vec();
        value.extend_from_slice(&Hash::of([request]).0);
        if answer.len() <= ANSWER_BYTES_MAX {
            value.extend_from_slice(answer);
        }
        self.store.write_async(move |transaction| transaction.put(TABLE, &slot.key, &value)).await?;
        Ok(())
    }

    /// Forgets answers given before that. Blocking.
    ///
    /// # Errors
    /// What the store says.
    pub fn remove_old(&self, before_ms: u64) -> Result<u64, Failure> {
        let old = self.store.read(|reader| {
            let mut old = Vec::new();
            for entry in reader.prefix(TABLE, b"", usize::MAX, Order::Up)? {
                let (key, value) = entry?;
                let at_ms =
                    value.get(..8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_be_bytes);
                if at_ms < before_ms {
                    old.push(key);
                }
            }
            Ok::<_, Failure>(old)
        })?;
        let count = old.len() as u64;
        self.store.write(move |transaction| old.iter().try_for_each(|key| transaction.remove(TABLE, key)))?;
        Ok(count)
    }
}

/// The right to carry out one request id; dropped, the next may.
#[derive(Debug)]
pub struct Turn {
    _guard: tokio::sync::OwnedMutexGuard<()>,
    requests: Requests,
    slot: Slot,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut running = self.requests.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Two holders: the map and this guard. More: somebody waits.
        if running.get(&self.slot.key).is_some_and(|lock| Arc::strong_count(lock) <= 2) {
            running.remove(&self.slot.key);
        }
    }
}
