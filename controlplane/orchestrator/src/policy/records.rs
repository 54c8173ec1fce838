//! The policy in the store.
//!
//! Owns: the layout. Table `policy`: `e/<kind>/<name>` the wanted version and hash, `b/<hash>` a body (LZ4),
//! `t/<kind>/<name>` the last version of a removed resource, `f` the highest forgotten one. Table `revisions`: number
//! (big-endian) to what that revision changed. A revision writes what it changed and nothing else, in one transaction.

use std::sync::Arc;

use secbeat_config::policy::{Hash, Key, Resource};
use serde::{Deserialize, Serialize};

use super::book::Dropped;
use super::{Book, Candidate, Changed, Revision};
use crate::batch::{self, Batch};
use crate::failure::Failure;
use crate::store::{Store, Table};

#[derive(Serialize, Deserialize)]
struct RevisionRecord {
    number: u64,
    at_ms: u64,
    actor: String,
    reason: String,
    set_hash: String,
    rolled_back_to: u64,
    changes: Vec<(String, Option<EntryRecord>, Option<EntryRecord>)>,
}

/// Version and hash in hexadecimal.
type EntryRecord = (u64, String);

fn entry_record((version, hash): (u64, Hash)) -> EntryRecord {
    (version, hash.to_string())
}

fn entry_of((version, hash): EntryRecord) -> Result<(u64, Hash), Failure> {
    Ok((version, hash_of(&hash)?))
}

fn hash_of(text: &str) -> Result<Hash, Failure> {
    let mut bytes = [0_u8; 32];
    let is_whole = text.len() == 64 && text.is_ascii();
    for (at, byte) in bytes.iter_mut().enumerate() {
        let digits = text.get(2 * at..2 * at + 2).filter(|_| is_whole);
        let parsed = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        *byte = parsed.ok_or_else(|| damaged(format!("`{text}` is not a hash")))?;
    }
    Ok(Hash(bytes))
}

fn damaged(what: String) -> Failure {
    Failure::Internal(format!("the stored policy is damaged: {what}"))
}

impl RevisionRecord {
    fn of(revision: &Revision) -> Self {
        let change = |change: &Changed| {
            (change.key.to_string(), change.before.map(entry_record), change.after.map(entry_record))
        };
        Self {
            number: revision.number,
            at_ms: revision.at_ms,
            actor: revision.actor.clone(),
            reason: revision.reason.clone(),
            set_hash: revision.set_hash.to_string(),
            rolled_back_to: revision.rolled_back_to,
            changes: revision.changes.iter().map(change).collect(),
        }
    }

    fn read(self) -> Result<Revision, Failure> {
        let change = |(key, before, after): (String, Option<EntryRecord>, Option<EntryRecord>)| {
            Ok(Changed {
                key: key_of(&key)?,
                before: before.map(entry_of).transpose()?,
                after: after.map(entry_of).transpose()?,
            })
        };
        Ok(Revision {
            number: self.number,
            at_ms: self.at_ms,
            actor: self.actor,
            reason: self.reason,
            set_hash: hash_of(&self.set_hash)?,
            rolled_back_to: self.rolled_back_to,
            changes: self.changes.into_iter().map(change).collect::<Result<_, Failure>>()?,
        })
    }
}

fn key_of(text: &str) -> Result<Key, Failure> {
    text.parse().map_err(|error| damaged(format!("{error}")))
}

const FLOOR: &[u8] = b"f";

fn entry_key(key: &Key) -> Vec<u8> {
    format!("e/{key}").into_bytes()
}

fn retired_key(key: &Key) -> Vec<u8> {
    format!("t/{key}").into_bytes()
}

fn body_key(hash: &Hash) -> Vec<u8> {
    [b"b/".as_slice(), &hash.0].concat()
}

/// Reads the book.
pub(super) fn read_book(store: &Store) -> Result<Book, Failure> {
    let mut book = Book::default();
    // Numbers are big-endian: in the order of keys.
    for (_, record) in batch::scan_json::<RevisionRecord>(store, Table::Revisions, b"")? {
        let revision = record.read()?;
        book.newest = book.newest.max(revision.number);
        book.revisions.push_back(Arc::new(revision));
    }
    for (key, entry) in batch::scan_json::<EntryRecord>(store, Table::Policy, b"e/")? {
        book.entries.insert(named(&key)?, entry_of(entry)?);
    }
    book.floor = batch::get_json(store, Table::Policy, FLOOR)?.unwrap_or_default();
    for (key, version) in batch::scan_json::<u64>(store, Table::Policy, b"t/")? {
        book.retired.insert(named(&key)?, version);
    }
    Ok(book)
}

/// The key in a key of the table.
fn named(key: &[u8]) -> Result<Key, Failure> {
    let text = core::str::from_utf8(key).map_err(|error| damaged(error.to_string()))?;
    key_of(text.get(2..).unwrap_or_default())
}

/// Reads a body.
pub(super) fn read_body(store: &Store, key: &Key, hash: &Hash) -> Result<Resource, Failure> {
    let body = batch::get(store, Table::Policy, &body_key(hash))?;
    let body = body.ok_or_else(|| damaged(format!("the body of {key} with hash {hash} is missing")))?;
    let body = lz4_flex::decompress_size_prepended(&body).map_err(|error| damaged(error.to_string()))?;
    let body = String::from_utf8(body).map_err(|error| damaged(error.to_string()))?;
    Ok(Resource { key: key.clone(), body: body.into(), hash: *hash })
}

/// A revision: what it changed, the bodies it brought; lets old revisions and their bodies go.
pub(super) fn put(
    batch: &mut Batch,
    revision: &Revision,
    candidate: &Candidate,
    book: &Book,
    dropped: &Dropped,
) -> Result<(), Failure> {
    batch.put_json(Table::Revisions, &revision.number.to_be_bytes(), &RevisionRecord::of(revision))?;
    for change in &revision.changes {
        let Some((version, hash)) = change.after else {
            batch.delete(Table::Policy, &entry_key(&change.key));
            if let Some(version) = book.retired.get(&change.key) {
                batch.put_json(Table::Policy, &retired_key(&change.key), version)?;
            }
            continue;
        };
        batch.put_json(Table::Policy, &entry_key(&change.key), &entry_record((version, hash)))?;
        batch.delete(Table::Policy, &retired_key(&change.key));
        if let Some(resource) = candidate.set.get(&change.key) {
            let body = lz4_flex::compress_prepend_size(resource.body.as_bytes());
            batch.put(Table::Policy, &body_key(&hash), body);
        }
    }
    batch.put_json(Table::Policy, FLOOR, &book.floor)?;
    drop_all(batch, dropped);
    Ok(())
}

/// Lets old revisions go.
pub(super) fn drop_all(batch: &mut Batch, dropped: &Dropped) {
    dropped.revisions.iter().for_each(|number| batch.delete(Table::Revisions, &number.to_be_bytes()));
    dropped.hashes.iter().for_each(|hash| batch.delete(Table::Policy, &body_key(hash)));
    dropped.retired.iter().for_each(|key| batch.delete(Table::Policy, &retired_key(key)));
}
