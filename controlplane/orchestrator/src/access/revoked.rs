//! Nodes and certificates that are let in no more, though their certificates have not ended.
//!
//! Owns: the list, kept in the store. Does not own: the check's place (`api::auth`, at each request, so that open
//! connections end as well). A revoked node stays so until it is reinstated: it cannot enrol again. Cost: a lookup in
//! memory for a request with a certificate. Limits: [`REVOKED_MAX`].

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::identity::{Holder, Identity};
use super::kept;
use crate::failure::Failure;
use crate::store::Store;

/// Entries at most; some 200 bytes each. More are refused: by then `rotate` is what is wanted.
pub const REVOKED_MAX: usize = 100_000;

/// What is let in no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A node, with every certificate it has.
    Node(Uuid),
    /// One certificate, by its number in hex.
    Serial(String),
}

impl What {
    /// A node by its UUID, or a certificate by its number.
    ///
    /// # Errors
    /// A text that is neither.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if let Ok(id) = Uuid::parse_str(text)
            && text.contains('-')
        {
            return Ok(Self::Node(id));
        }
        let is_serial =
            !text.is_empty() && text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_serial {
            return Err(Failure::Invalid(format!(
                "{:?} is neither the UUID of a node nor the number of a certificate (at most 40 hex digits)",
                text.chars().take(80).collect::<String>()
            )));
        }
        Ok(Self::Serial(text.to_ascii_lowercase()))
    }

    /// `node:<uuid>` or `serial:<hex>`.
    pub fn key(&self) -> String {
        match self {
            Self::Node(id) => format!("node:{id}"),
            Self::Serial(serial) => format!("serial:{serial}"),
        }
    }
}

/// Since when, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What, as [`What::key`] writes it.
    pub key: String,
    /// In milliseconds since 1970.
    pub at_ms: u64,
    /// For people.
    pub reason: String,
}

/// The list.
#[derive(Debug)]
pub struct Revoked {
    store: Store,
    held: RwLock<BTreeMap<String, Entry>>,
    changing: tokio::sync::Mutex<()>,
}

impl Revoked {
    /// Reads the list.
    ///
    /// # Errors
    /// The store.
    pub fn open(store: Store) -> Result<Self, Failure> {
        let entries: Vec<Entry> = kept::load(&store, kept::Table::Revoked)?;
        let held = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        Ok(Self { store, held: RwLock::new(held), changing: tokio::sync::Mutex::new(()) })
    }

    /// Whether the holder of a certificate is let in no more.
    pub fn has(&self, identity: &Identity) -> bool {
        let is_node = matches!(identity.holder, Holder::Node(id) if self.entry(&What::Node(id)).is_some());
        is_node || self.entry(&What::Serial(identity.serial.clone())).is_some()
    }

    /// Since when and why something is revoked.
    pub fn entry(&self, what: &What) -> Option<Entry> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).get(&what.key()).cloned()
    }

    /// Everything that is revoked, by key.
    pub fn list(&self) -> Vec<Entry> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Lets something in no more. A second time changes nothing.
    ///
    /// # Errors
    /// [`REVOKED_MAX`], or the store.
    pub async fn add(&self, what: &What, reason: &str, now_ms: u64) -> Result<Entry, Failure> {
        let _changing = self.changing.lock().await;
        if let Some(entry) = self.entry(what) {
            return Ok(entry);
        }
        if self.held.read().unwrap_or_else(PoisonError::into_inner).len() >= REVOKED_MAX {
            return Err(Failure::Exhausted(format!(
                "{REVOKED_MAX} revocations are the most; rotate the authority"
            )));
        }
        let entry = Entry { key: what.key(), at_ms: now_ms, reason: reason.into() };
        kept::put(&self.store, kept::Table::Revoked, &entry.key, &entry).await?;
        self.held.write().unwrap_or_else(PoisonError::into_inner).insert(entry.key.clone(), entry.clone());
        Ok(entry)
    }

    /// Lets something in again.
    ///
    /// # Errors
    /// `NotFound` when it is not revoked, or the store.
    pub async fn remove(&self, what: &What) -> Result<Entry, Failure> {
        let _changing = self.changing.lock().await;
        let entry =
            self.entry(what).ok_or_else(|| Failure::NotFound(format!("{} is not revoked", what.key())))?;
        kept::delete(&self.store, kept::Table::Revoked, &entry.key).await?;
        self.held.write().unwrap_or_else(PoisonError::into_inner).remove(&entry.key);
        Ok(entry)
    }
}

#[cfg(test)]
mod tests;
