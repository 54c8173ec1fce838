//! Tokens, revocations and enrolled nodes in the store: JSON, one record a key.
//!
//! Owns: how they lie there (`t/<id>`, `r/<what>`, `n/<node>` in the table of tokens). Does not own: what they mean.
//! Cost: a change is one transaction, and is on the disk when it returns.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::enrolled::ENROLLED_MAX;
use super::revoked::REVOKED_MAX;
use super::token::TOKENS_MAX;
use crate::failure::Failure;
use crate::store::{self, Order, Store};

/// Where records lie.
#[derive(Clone, Copy, Debug)]
pub(super) enum Table {
    /// `token::Record` by id.
    Tokens,
    /// `revoked::Entry` by key.
    Revoked,
    /// `enrolled::Entry` by node.
    Enrolled,
}

impl Table {
    fn prefix(self) -> &'static str {
        match self {
            Self::Tokens => "t/",
            Self::Revoked => "r/",
            Self::Enrolled => "n/",
        }
    }

    fn count_max(self) -> usize {
        match self {
            Self::Tokens => TOKENS_MAX,
            Self::Revoked => REVOKED_MAX,
            Self::Enrolled => ENROLLED_MAX,
        }
    }

    fn key(self, key: &str) -> Vec<u8> {
        [self.prefix(), key].concat().into_bytes()
    }
}

/// Every record.
pub(super) fn load<T: DeserializeOwned>(store: &Store, table: Table) -> Result<Vec<T>, Failure> {
    store.read(|reader| {
        let found =
            reader.prefix(store::Table::Tokens, table.prefix().as_bytes(), table.count_max(), Order::Up)?;
        found
            .map(|record| {
                let (key, value) = record?;
                serde_json::from_slice(&value).map_err(|error| {
                    let key = String::from_utf8_lossy(&key).into_owned();
                    Failure::Unavailable(format!("the store: table tokens, key {key}: {error}"))
                })
            })
            .collect()
    })
}

/// Writes a record.
pub(super) async fn put<T: Serialize>(
    store: &Store,
    table: Table,
    key: &str,
    record: &T,
) -> Result<(), Failure> {
    let key = table.key(key);
    let value = serde_json::to_vec(record).map_err(|error| Failure::Internal(error.to_string()))?;
    store
        .write_async(move |writer| writer.put(store::Table::Tokens, &key, &value).map_err(Failure::from))
        .await
}

/// Removes a record.
pub(super) async fn delete(store: &Store, table: Table, key: &str) -> Result<(), Failure> {
    let key = table.key(key);
    store.write_async(move |writer| writer.remove(store::Table::Tokens, &key).map_err(Failure::from)).await
}
