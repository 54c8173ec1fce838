//! The audit log: who did what, why, and what it was before and after. Append-only, each entry hashed over the one
//! before it.
//!
//! Owns: the chain, its storage, its verification, retention (whole prefixes of the chain; an anchor keeps the hash
//! of the last entry removed, so that the rest can still be verified). Does not own: what is worth an entry
//! (`service::mutation`). One entry costs one durable transaction; entries are written one after another, because each
//! needs the hash of the last.

use std::sync::{Arc, OnceLock};

use prost::Message;
use secbeat_config::policy::Hash;
use secbeat_export::Exports;
use secbeat_proto::v1;
use tokio::sync::Mutex;

use crate::export;
use crate::failure::Failure;
use crate::store::{Order, Store, Table};

/// Bytes of `before` and of `after`; longer ones are cut and say so.
pub const STATE_BYTES_MAX: usize = 4_096;

/// Entries of one page.
pub const PAGE_ENTRIES_MAX: usize = 1_000;

/// Entries removed in one transaction.
const REMOVED_AT_ONCE: usize = 1_024;

const TABLE: Table = Table::Audit;

/// Where the chain begins: number and hash of the last entry removed.
const ANCHOR_KEY: &[u8] = b"anchor";

/// The log.
#[derive(Clone, Debug)]
pub struct Audit {
    store: Store,
    head: Arc<Mutex<Head>>,
    exports: Arc<OnceLock<Arc<Exports>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    number: u64,
    hash: [u8; 32],
}

/// The chain as verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Entries looked at.
    pub entries: u64,
    /// The first that does not fit.
    pub broken_at: Option<u64>,
    /// Hash of the newest entry: to be noted elsewhere, so that a chain rewritten as a whole is found too.
    pub head_hash: [u8; 32],
}

impl Audit {
    /// Opens the log.
    ///
    /// # Errors
    /// When the store cannot be read, or its newest entry is damaged.
    pub fn open(store: Store) -> Result<Self, Failure> {
        let anchor = anchor(&store)?;
        let newest = store.read(|reader| reader.prefix(TABLE, b"e", 1, Order::Down)?.next().transpose())?;
        let head = match newest {
            Some((_, value)) => {
                let entry = decode(&value)?;
                Head { number: entry.number, hash: array(&entry.hash) }
            }
            None => anchor,
        };
        Ok(Self { store, head: Arc::new(Mutex::new(head)), exports: Arc::default() })
    }

    /// Where entries go once they are on the disk. Set once.
    pub fn set_exports(&self, exports: &Arc<Exports>) {
        // A second place would be the same one.
        let _ = self.exports.set(Arc::clone(exports));
    }

    /// Appends an entry; its number and hashes are set here. On disk when this returns.
    ///
    /// # Errors
    /// What the store says.
    pub async fn append(&self, mut entry: v1::AuditEntry) -> Result<u64, Failure> {
        cut(&mut entry.before);
        cut(&mut entry.after);
        let mut head = self.head.lock().await;
        entry.number = head.number + 1;
        entry.previous_hash = head.hash.to_vec();
        entry.hash.clear();
        let hash = Hash::of([entry.encode_to_vec().as_slice()]).0;
        entry.hash = hash.to_vec();
        let (key, value) = (entry_key(entry.number), entry.encode_to_vec());
        self.store.write_async(move |transaction| transaction.put(TABLE, &key, &value)).await?;
        *head = Head { number: entry.number, hash };
        if let Some(exports) = self.exports.get().filter(|exports| !exports.is_empty()) {
            exports.submit(export::of_audit(&entry));
        }
        Ok(entry.number)
    }

    /// Entries below `before_number` (0: from the newest), newest first, that `matches`; and where to go on (0: end).
    /// Blocking.
    ///
    /// # Errors
    /// What the store says.
    pub fn page(
        &self,
        before_number: u64,
        count_max: usize,
        matches: impl Fn(&v1::AuditEntry) -> bool,
    ) -> Result<(Vec<v1::AuditEntry>, u64), Failure> {
        /// Entries looked at for one page; a rarer one is found by the pages after it.
        const LOOKED_AT_MAX: usize = 50_000;
        let count_max = count_max.clamp(1, PAGE_ENTRIES_MAX);
        let end = if before_number == 0 { u64::MAX } else { before_number };
        let mut entries = Vec::new();
        let mut next = 0;
        let values = self.store.read(|reader| {
            let mut values = Vec::new();
            let (from, to) = (entry_key(0), entry_key(end));
            for entry in reader.range(TABLE, from.as_slice()..to.as_slice(), LOOKED_AT_MAX, Order::Down)? {
                values.push(entry?.1);
            }
            Ok::<_, Failure>(values)
        })?;
        let was_cut = values.len() == LOOKED_AT_MAX;
        for value in values {
            let entry = decode(&value)?;
            if entries.len() == count_max {
                return Ok((entries, next));
            }
            next = entry.number;
            if matches(&entry) {
                entries.push(entry);
            }
        }
        Ok((entries, if was_cut { next } else { 0 }))
    }

    /// Computes every hash again. Blocking; some 300,000 entries a second.
    ///
    /// # Errors
    /// What the store says.
    pub fn verify(&self) -> Result<Verified, Failure> {
        let Head { mut number, mut hash } = anchor(&self.store)?;
        let mut entries = 0;
        let mut broken_at = None;
        let values = |from: u64| {
            self.store.read(|reader| {
                let (from, to) = (entry_key(from), entry_key(u64::MAX));
                let keys = from.as_slice()..to.as_slice();
                reader.range(TABLE, keys, REMOVED_AT_ONCE, Order::Up)?.collect::<Result<Vec<_>, _>>()
            })
        };
        loop {
            let some = values(number + 1)?;
            if some.is_empty() {
                return Ok(Verified { entries, broken_at, head_hash: hash });
            }
            for (_, value) in some {
                let Ok(mut entry) = v1::AuditEntry::decode(value.as_slice()) else {
                    return Ok(Verified { entries, broken_at: Some(number + 1), head_hash: hash });
                };
                let stored = core::mem::take(&mut entry.hash);
                let follows = entry.number == number + 1 && entry.previous_hash == hash;
                let computed = Hash::of([entry.encode_to_vec().as_slice()]).0;
                if broken_at.is_none() && !(follows && stored == computed) {
                    broken_at = Some(number + 1);
                }
                entries += 1;
                number = entry.number.max(number + 1);
                hash = array(&stored);
            }
        }
    }

    /// Removes entries older than that from the beginning of the chain. Blocking.
    ///
    /// # Errors
    /// What the store says.
    pub fn remove_old(&self, before_ms: u64) -> Result<u64, Failure> {
        let mut removed = 0;
        loop {
            let oldest = self.store.read(|reader| {
                reader.prefix(TABLE, b"e", REMOVED_AT_ONCE, Order::Up)?.collect::<Result<Vec<_>, _>>()
            })?;
            let mut gone = Vec::new();
            let mut last = None;
            for (_, value) in oldest {
                let entry = decode(&value)?;
                if entry.at_ms >= before_ms {
                    break;
                }
                gone.push(entry_key(entry.number));
                last = Some(entry);
            }
            let Some(last) = last else { return Ok(removed) };
            removed += gone.len() as u64;
            let mut anchor = last.number.to_be_bytes().to_vec();
            anchor.extend_from_slice(&last.hash);
            self.store.write(move |transaction| {
                transaction.put(TABLE, ANCHOR_KEY, &anchor)?;
                gone.iter().try_for_each(|key| transaction.remove(TABLE, key))
            })?;
        }
    }
}

fn anchor(store: &Store) -> Result<Head, Failure> {
    let bytes = store.read(|reader| reader.get(TABLE, ANCHOR_KEY))?.unwrap_or_default();
    let number = bytes.get(..8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_be_bytes);
    Ok(Head { number, hash: array(bytes.get(8..).unwrap_or_default()) })
}

fn entry_key(number: u64) -> [u8; 9] {
    let mut key = [b'e'; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

fn decode(value: &[u8]) -> Result<v1::AuditEntry, Failure> {
    v1::AuditEntry::decode(value).map_err(|error| Failure::Internal(format!("an audit entry: {error}")))
}

fn array(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().unwrap_or([0; 32])
}

/// Cuts a state to its limit, at a boundary of characters.
fn cut(state: &mut String) {
    const SAYS_SO: &str = "... (cut)";
    if state.len() > STATE_BYTES_MAX {
        let mut end = STATE_BYTES_MAX - SAYS_SO.len();
        while !state.is_char_boundary(end) {
            end -= 1;
        }
        state.truncate(end);
        state.push_str(SAYS_SO);
    }
}

#[cfg(test)]
mod tests;
