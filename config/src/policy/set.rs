//! A set of resources: what a fleet, or one node, is told.
//!
//! Owns: the set, its bounds, its hash. Does not own: whether its resources fit together (`compose`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::resource::{Hash, Key, Resource};
use super::{RESOURCES_MAX, SET_BYTES_MAX};

/// Resources by key, in the order of application. At most [`RESOURCES_MAX`], with [`SET_BYTES_MAX`] bytes together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set(BTreeMap<Key, Arc<Resource>>);

/// A set is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a policy has at most {RESOURCES_MAX} resources with {SET_BYTES_MAX} bytes together: remove some")]
pub struct TooMany;

impl Set {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of all bodies.
    pub fn bytes(&self) -> usize {
        self.0.values().map(|resource| resource.body.len()).sum()
    }

    /// One of them.
    pub fn get(&self, key: &Key) -> Option<&Arc<Resource>> {
        self.0.get(key)
    }

    /// Adds a resource, or replaces the one with its key.
    ///
    /// # Errors
    /// When the set is full; it is unchanged then.
    pub fn insert(&mut self, resource: impl Into<Arc<Resource>>) -> Result<(), TooMany> {
        let resource = resource.into();
        let earlier = self.0.get(&resource.key).map(|earlier| earlier.body.len());
        let bytes = self.bytes() - earlier.unwrap_or(0) + resource.body.len();
        if (earlier.is_none() && self.0.len() >= RESOURCES_MAX) || bytes > SET_BYTES_MAX {
            return Err(TooMany);
        }
        self.0.insert(resource.key.clone(), resource);
        Ok(())
    }

    /// Takes one out.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Resource>> {
        self.0.remove(key)
    }

    /// All, in the order of application.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Resource>)> {
        self.0.iter()
    }

    /// Over keys and hashes in their order.
    pub fn hash(&self) -> Hash {
        let parts = self.0.iter().flat_map(|(key, resource)| {
            [key.kind.word().as_bytes(), key.name.as_bytes(), resource.hash.0.as_slice()]
        });
        Hash::of(parts)
    }
}
