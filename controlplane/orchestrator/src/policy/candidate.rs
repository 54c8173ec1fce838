//! A change before it is made: the set that would be wanted, checked as a whole.
//!
//! Owns: additions, removals, pruning, and what is refused. Pure; linear in the set.

use std::collections::BTreeSet;
use std::sync::Arc;

use secbeat_config::policy::{self, Change, Key, Resource, Set};

use super::Wanted;
use crate::failure::Failure;

/// What is asked for, read.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Resources to add or to replace.
    pub upserts: Vec<Resource>,
    /// Resources to remove.
    pub removals: Vec<Key>,
    /// Remove whatever is not in `upserts`.
    pub prune: bool,
}

/// What would be wanted.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What is wanted now.
    pub before: Arc<Wanted>,
    /// What would be.
    pub set: Set,
    /// The difference.
    pub changes: Vec<Change>,
    /// What is odd but not wrong.
    pub warnings: Vec<String>,
}

impl Candidate {
    /// Of a request.
    ///
    /// # Errors
    /// [`Failure::Invalid`] with everything that is wrong.
    pub fn of_request(before: Arc<Wanted>, request: Request) -> Result<Self, Failure> {
        let mut warnings = Vec::new();
        let mut set = if request.prune { Set::new() } else { before.set.clone() };
        let mut named = BTreeSet::new();
        for resource in request.upserts {
            let key = resource.key.clone();
            if !named.insert(key.clone()) {
                return Err(Failure::Invalid(format!("{key} stands twice in the request")));
            }
            set.insert(resource).map_err(|error| Failure::Invalid(error.to_string()))?;
        }
        for key in request.removals {
            if named.contains(&key) {
                return Err(Failure::Invalid(format!("{key} is both to be written and to be removed")));
            }
            if set.remove(&key).is_none() && before.set.get(&key).is_none() {
                warnings.push(format!("{key} is to be removed and does not exist"));
            }
        }
        Self::of_set(before, set, warnings)
    }

    /// Of a whole set.
    ///
    /// # Errors
    /// [`Failure::Invalid`] with everything that is wrong.
    pub fn of_set(before: Arc<Wanted>, set: Set, warnings: Vec<String>) -> Result<Self, Failure> {
        policy::check(&set).map_err(|errors| Failure::Invalid(errors.to_string()))?;
        let changes = policy::diff(&before.set, &set);
        Ok(Self { before, set, changes, warnings })
    }

    /// Whether anything would change.
    pub fn is_change(&self) -> bool {
        !self.changes.is_empty()
    }
}
