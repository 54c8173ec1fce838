//! Placeholder of the room; see branch `store`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The embedded database.
#[derive(Clone, Debug, Default)]
pub struct Store(Arc<Mutex<BTreeMap<(Table, Vec<u8>), Vec<u8>>>>);

/// Why it failed.
#[derive(Debug, thiserror::Error)]
#[error("store")]
pub struct Error;

/// Tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "placeholder")]
pub enum Table {
    Policy,
    Revisions,
    Nodes,
    Rollouts,
    Settings,
}

#[expect(missing_docs, clippy::missing_errors_doc, reason = "placeholder")]
impl Store {
    pub fn put_all(&self, changes: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>) -> Result<(), Error> {
        let mut map = crate::orchestrator::lock(&self.0);
        for (table, key, value) in changes {
            match value {
                Some(value) => map.insert((table, key), value),
                None => map.remove(&(table, key)),
            };
        }
        Ok(())
    }

    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(crate::orchestrator::lock(&self.0).get(&(table, key.to_vec())).cloned())
    }

    pub fn scan(&self, table: Table) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        let map = crate::orchestrator::lock(&self.0);
        Ok(map.iter().filter(|((t, _), _)| *t == table).map(|((_, k), v)| (k.clone(), v.clone())).collect())
    }

    pub fn keys(&self, table: Table) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.scan(table)?.into_iter().map(|(key, _)| key).collect())
    }
}
