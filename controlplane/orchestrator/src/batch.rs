//! Changes that go into the store together, as a value.
//!
//! Owns: the way of the parts' records (JSON or bytes) into tables and back. Does not own: what a record says.

use core::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::store::{self, Order, Reader, Store, Table, Writer};

/// Changes; all of them or none.
#[derive(Debug, Default)]
pub struct Batch {
    changes: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes bytes.
    pub fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>) {
        self.changes.push((table, key.to_vec(), Some(value)));
    }

    /// Writes a record as JSON.
    ///
    /// # Errors
    /// When it cannot be written as JSON: a defect.
    pub fn put_json(&mut self, table: Table, key: &[u8], value: &impl Serialize) -> Result<(), Failure> {
        let value = serde_json::to_vec(value).map_err(|error| Failure::Internal(error.to_string()))?;
        self.put(table, key, value);
        Ok(())
    }

    /// Removes.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.changes.push((table, key.to_vec(), None));
    }

    /// Carries them out; durable when this returns. Blocks for a commit.
    ///
    /// # Errors
    /// When the store cannot write; then none of them is carried out.
    pub fn write(self, store: &Store) -> Result<(), Failure> {
        if self.changes.is_empty() {
            return Ok(());
        }
        Ok(store.write(move |writer| self.run(writer))?)
    }

    /// The same for many at once: the call itself queues, many share one commit. Dropping the future drops only the
    /// answer.
    ///
    /// # Errors
    /// As [`Self::write`], and when too many wait.
    pub fn write_async(self, store: &Store) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        let written = store.write_async(move |writer: &mut Writer<'_>| self.run(writer));
        async move { written.await.map_err(|error: store::Error| error.into()) }
    }

    fn run(self, writer: &mut Writer<'_>) -> store::Result<()> {
        self.changes.iter().try_for_each(|(table, key, value)| match value {
            Some(value) => writer.put(*table, key, value),
            None => writer.remove(*table, key),
        })
    }
}

/// The bytes under a key.
///
/// # Errors
/// When they cannot be read.
pub fn get(store: &Store, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    store.read(|reader: &Reader<'_>| Ok(reader.get(table, key)?))
}

/// One record.
///
/// # Errors
/// When it cannot be read.
pub fn get_json<T: DeserializeOwned>(store: &Store, table: Table, key: &[u8]) -> Result<Option<T>, Failure> {
    get(store, table, key)?.map(|value| of_json(table, key, &value)).transpose()
}

/// Every record whose key begins so, in the order of keys.
///
/// # Errors
/// When one cannot be read.
pub fn scan_json<T: DeserializeOwned>(
    store: &Store,
    table: Table,
    prefix: &[u8],
) -> Result<Vec<(Vec<u8>, T)>, Failure> {
    store.read(|reader: &Reader<'_>| {
        let records = reader.prefix(table, prefix, usize::MAX, Order::Up)?;
        records
            .map(|record| {
                let (key, value) = record?;
                let value = of_json(table, &key, &value)?;
                Ok((key, value))
            })
            .collect()
    })
}

fn of_json<T: DeserializeOwned>(table: Table, key: &[u8], value: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(value).map_err(|error| {
        let key = String::from_utf8_lossy(key);
        Failure::Internal(format!("the record {key} of table {} cannot be understood: {error}", table.name()))
    })
}
