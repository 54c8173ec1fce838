//! Bodies of resources by their hash: recent ones in memory, all that history needs in the store.
//!
//! Owns: the memory of bodies that nodes may hold still, so that a change can be sent as a patch. Limit:
//! [`BYTES_MAX`]; beyond, the oldest go and are read from the store when asked for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use secbeat_config::policy::{Hash, Key, Resource, Set};

use super::{Book, Wanted, records};
use crate::failure::Failure;
use crate::orchestrator::lock;
use crate::store::Store;

/// Bytes of bodies kept in memory beside the wanted set: ten changes of a set with 10,000 rules.
pub(super) const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The memory.
#[derive(Debug)]
pub struct Bodies {
    store: Store,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    by_hash: BTreeMap<Hash, Arc<Resource>>,
    order: VecDeque<Hash>,
    bytes: usize,
}

impl Recent {
    fn keep(&mut self, resource: &Arc<Resource>) {
        if self.by_hash.contains_key(&resource.hash) {
            return;
        }
        self.bytes += resource.body.len();
        self.order.push_back(resource.hash);
        self.by_hash.insert(resource.hash, Arc::clone(resource));
        while self.bytes > BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            self.bytes -= self.by_hash.remove(&oldest).map_or(0, |resource| resource.body.len());
        }
    }
}

impl Bodies {
    /// An empty memory before a store.
    pub fn new(store: Store) -> Self {
        Self { store, recent: Mutex::default() }
    }

    /// Keeps what a change replaces or removes, and what it brings.
    pub fn remember(&self, before: &Wanted, after: &Set) {
        let mut recent = lock(&self.recent);
        for (key, resource) in before.set.iter() {
            if after.get(key).is_none_or(|newer| newer.hash != resource.hash) {
                recent.keep(resource);
            }
        }
        for (key, resource) in after.iter() {
            if before.set.get(key).is_none_or(|older| older.hash != resource.hash) {
                recent.keep(resource);
            }
        }
    }

    /// A body.
    ///
    /// # Errors
    /// When it is not known, or cannot be read.
    pub fn get(&self, key: &Key, hash: &Hash) -> Result<Arc<Resource>, Failure> {
        if let Some(known) = lock(&self.recent).by_hash.get(hash) {
            return Ok(Arc::clone(known));
        }
        let resource = Arc::new(records::read_body(&self.store, key, hash)?);
        lock(&self.recent).keep(&resource);
        Ok(resource)
    }

    /// The wanted set at a revision, with bodies.
    ///
    /// # Errors
    /// When the revision is not kept or a body cannot be read.
    pub fn wanted(&self, book: &Book, revision: u64) -> Result<Wanted, Failure> {
        let mut set = Set::new();
        let mut versions = BTreeMap::new();
        for (key, (version, hash)) in book.at(revision)? {
            let resource = self.get(&key, &hash)?;
            set.insert(resource).map_err(|error| Failure::Internal(error.to_string()))?;
            versions.insert(key, version);
        }
        Ok(Wanted::new(revision, set, versions))
    }
}
