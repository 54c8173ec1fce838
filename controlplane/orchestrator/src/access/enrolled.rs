//! Which key each node enrolled with last.
//!
//! Owns: that the id of a node is taken until its last certificate has ended: a join token does not make one node of
//! the fleet out of another. Does not own: signing (`authority`). Cost: a write of the store for each certificate, some
//! 200 bytes of memory for each node. Limits: [`ENROLLED_MAX`].

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::kept;
use crate::failure::Failure;
use crate::store::Store;

/// Nodes at most. Those whose certificates have ended are forgotten first; then new ones are refused.
pub const ENROLLED_MAX: usize = 100_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    node_id: Uuid,
    /// SHA-256 of the public key, in hex.
    key_hash: String,
    not_after_ms: u64,
}

/// Every node with a certificate.
#[derive(Debug)]
pub struct Enrolled {
    store: Store,
    held: RwLock<BTreeMap<Uuid, Entry>>,
    changing: tokio::sync::Mutex<()>,
}

impl Enrolled {
    /// Reads all.
    ///
    /// # Errors
    /// The store.
    pub fn open(store: Store) -> Result<Self, Failure> {
        let entries: Vec<Entry> = kept::load(&store, kept::Table::Enrolled)?;
        let held = entries.into_iter().map(|entry| (entry.node_id, entry)).collect();
        Ok(Self { store, held: RwLock::new(held), changing: tokio::sync::Mutex::new(()) })
    }

    /// Whether a node holds a certificate that has not ended for another key than this one.
    pub fn is_taken(&self, node_id: Uuid, key_hash: &str, now_ms: u64) -> bool {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.get(&node_id).is_some_and(|entry| entry.key_hash != key_hash && now_ms < entry.not_after_ms)
    }

    /// Notes a certificate before it leaves.
    ///
    /// # Errors
    /// `Exhausted` at [`ENROLLED_MAX`], or the store.
    pub async fn note(
        &self,
        node_id: Uuid,
        key_hash: &str,
        not_after_ms: u64,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let _changing = self.changing.lock().await;
        let (is_known, count) = {
            let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
            (held.contains_key(&node_id), held.len())
        };
        if !is_known && count >= ENROLLED_MAX {
            self.forget_ended(now_ms).await?;
        }
        let entry = Entry { node_id, key_hash: key_hash.into(), not_after_ms };
        kept::put(&self.store, kept::Table::Enrolled, &node_id.to_string(), &entry).await?;
        self.held.write().unwrap_or_else(PoisonError::into_inner).insert(node_id, entry);
        Ok(())
    }

    async fn forget_ended(&self, now_ms: u64) -> Result<(), Failure> {
        let ended: Vec<Uuid> = {
            let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
            held.values().filter(|entry| entry.not_after_ms <= now_ms).map(|entry| entry.node_id).collect()
        };
        if ended.is_empty() {
            return Err(Failure::Exhausted(format!("{ENROLLED_MAX} nodes with certificates are the most")));
        }
        for id in ended {
            kept::delete(&self.store, kept::Table::Enrolled, &id.to_string()).await?;
            self.held.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
        Ok(())
    }
}
