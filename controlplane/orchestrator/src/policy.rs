//! The policy of the fleet: what is wanted, where it came from, and how it gets to the nodes.
//!
//! Owns: the wanted set with a version for each resource and a revision for the whole, the history, what each node is
//! to hold while a rollout runs, the rollout's state. Does not own: what keys mean (`secbeat-config`), who may change
//! it (`service::policy`), the way to the nodes (`session`).
//!
//! ```text
//!  service::policy --propose--> Candidate --commit--> Book (history) --> store
//!                                             |
//!  task: rollout --poll--> Rollout (pure) ----+--> Targets (watch) --> session, one for each node
//! ```
//!
//! One change at a time (`begin`); readers never wait for it. Bodies are kept by their hash, a revision keeps only
//! what it changed, so a rule more costs one body and one line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use secbeat_config::policy::{Hash, Key, Resource, Set};
use tokio::sync::{MutexGuard, watch};
use uuid::Uuid;

use crate::batch::Batch;
use crate::failure::Failure;
use crate::orchestrator::lock;
use crate::store::Store;

mod body;
mod book;
mod candidate;
mod records;
pub mod rollout;
mod running;
#[cfg(test)]
mod tests;

pub use body::Bodies;
pub use book::{Book, Changed, REVISIONS_MAX, Revision};
pub use candidate::{Candidate, Request};
use rollout::Rollout;
pub use running::Rollouts;

/// What shall be held, at one revision.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Counts changes of the whole; 0: nothing was ever wanted.
    pub revision: u64,
    /// The resources.
    pub set: Set,
    /// Of the set.
    pub set_hash: Option<Hash>,
    /// Version of every resource.
    pub versions: BTreeMap<Key, u64>,
}

impl Wanted {
    /// Of a set at a revision.
    pub fn new(revision: u64, set: Set, versions: BTreeMap<Key, u64>) -> Self {
        let set_hash = Some(set.hash());
        Self { revision, set, set_hash, versions }
    }

    /// Hash of the set.
    pub fn hash(&self) -> Hash {
        self.set_hash.unwrap_or_else(|| self.set.hash())
    }

    /// Version of a resource; 0: not in the set.
    pub fn version(&self, key: &Key) -> u64 {
        self.versions.get(key).copied().unwrap_or_default()
    }
}

/// What each node is to hold now.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// The newest.
    pub newest: Arc<Wanted>,
    /// While a rollout has not reached everybody: what the others keep, and whom it reached.
    pub stage: Option<Stage>,
}

/// A rollout on its way.
#[derive(Clone, Debug)]
pub struct Stage {
    /// What nodes hold that it has not reached.
    pub before: Arc<Wanted>,
    /// Nodes that it has reached.
    pub reached: BTreeSet<Uuid>,
}

impl Targets {
    /// What this node is to hold.
    pub fn of(&self, node: Uuid) -> &Arc<Wanted> {
        match &self.stage {
            Some(stage) if !stage.reached.contains(&node) => &stage.before,
            _ => &self.newest,
        }
    }
}

/// Who changes something and why, for the history.
#[derive(Clone, Debug, Default)]
pub struct Author {
    /// Name of the caller.
    pub actor: String,
    /// As they gave it.
    pub reason: String,
}

/// The fleet's policy.
#[derive(Debug)]
pub struct Policies {
    store: Store,
    turn: tokio::sync::Mutex<()>,
    book: Mutex<Book>,
    bodies: Bodies,
    rollouts: Rollouts,
    targets: watch::Sender<Arc<Targets>>,
}

/// The right to change: one at a time.
pub struct Turn<'a>(#[expect(dead_code, reason = "held, not read")] MutexGuard<'a, ()>);

impl Policies {
    /// Reads what is wanted, the history and the rollout that ran.
    ///
    /// # Errors
    /// When the store cannot be read, or a body in it does not fit its hash.
    pub fn open(store: Store, now_ms: u64) -> Result<Self, Failure> {
        let book = records::read_book(&store)?;
        let bodies = Bodies::new(store.clone());
        let newest = bodies.wanted(&book, book.newest())?;
        let rollouts = Rollouts::open(&store, now_ms)?;
        let (targets, _) = watch::channel(Arc::new(Targets { newest: Arc::new(newest), stage: None }));
        let policies = Self {
            store,
            turn: tokio::sync::Mutex::default(),
            book: Mutex::new(book),
            bodies,
            rollouts,
            targets,
        };
        policies.publish(policies.newest())?;
        Ok(policies)
    }

    /// Waits for the right to change.
    pub async fn begin(&self) -> Turn<'_> {
        Turn(self.turn.lock().await)
    }

    /// What is wanted now.
    pub fn newest(&self) -> Arc<Wanted> {
        Arc::clone(&self.targets.borrow().newest)
    }

    /// What each node is to hold, and every change of it.
    pub fn targets(&self) -> watch::Receiver<Arc<Targets>> {
        self.targets.subscribe()
    }

    /// Rollouts.
    pub fn rollouts(&self) -> &Rollouts {
        &self.rollouts
    }

    /// What was wanted at a revision.
    ///
    /// # Errors
    /// [`Failure::NotFound`] when it never was or is no longer kept.
    pub fn at(&self, revision: u64) -> Result<Arc<Wanted>, Failure> {
        let newest = self.newest();
        if revision == newest.revision {
            return Ok(newest);
        }
        let book = lock(&self.book).clone();
        Ok(Arc::new(self.bodies.wanted(&book, revision)?))
    }

    /// Revisions before one (0: from the newest), newest first.
    pub fn history(&self, before: u64, count_max: usize) -> Vec<Arc<Revision>> {
        lock(&self.book).before(before, count_max)
    }

    /// An earlier body that a node may hold still, so that only the difference need be sent.
    pub fn earlier(&self, key: &Key, hash: &Hash) -> Option<Arc<Resource>> {
        self.bodies.get(key, hash).ok()
    }

    /// Makes a candidate the newest revision, with what that does to rollouts: all of it or nothing is on disk. Then
    /// the sessions are told.
    ///
    /// # Errors
    /// When the store cannot write; then nothing has changed.
    pub fn commit(
        &self,
        _turn: &Turn<'_>,
        candidate: &Candidate,
        author: &Author,
        rolled_back_to: u64,
        rollouts: Vec<Rollout>,
        now_ms: u64,
    ) -> Result<Arc<Wanted>, Failure> {
        let mut book = lock(&self.book).clone();
        let revision = book.revise(candidate, author, rolled_back_to, now_ms);
        let needed = rollouts.iter().filter(|rollout| rollout.state.is_open());
        let needed = needed.map(Rollout::oldest_needed).min().unwrap_or(u64::MAX);
        let dropped = book.shorten(needed);
        let mut batch = Batch::new();
        records::put(&mut batch, &revision, candidate, &book, &dropped)?;
        self.rollouts.put(&mut batch, &rollouts)?;
        batch.write(&self.store)?;
        let newest = Arc::new(Wanted::new(revision.number, candidate.set.clone(), book.versions()));
        self.bodies.remember(&candidate.before, &candidate.set);
        *lock(&self.book) = book;
        self.rollouts.adopt(rollouts);
        self.publish(Arc::clone(&newest))?;
        Ok(newest)
    }

    /// Tells the sessions what each node is to hold now, as far as the running rollout is.
    ///
    /// # Errors
    /// When what nodes held before can no longer be read.
    fn publish(&self, newest: Arc<Wanted>) -> Result<(), Failure> {
        let stage = match self.rollouts.running() {
            Some(rollout) if rollout.revision == newest.revision && !rollout.has_reached_all() => {
                Some(Stage { before: self.at(rollout.base_revision)?, reached: rollout.reached() })
            }
            _ => None,
        };
        self.targets.send_replace(Arc::new(Targets { newest, stage }));
        Ok(())
    }

    /// Keeps what became of a rollout, then tells the sessions.
    ///
    /// # Errors
    /// When the store cannot write; then nothing has changed.
    pub fn move_rollout(&self, _turn: &Turn<'_>, rollout: Rollout) -> Result<(), Failure> {
        self.rollouts.keep(rollout)?;
        self.publish(self.newest())
    }

    /// Forgets revisions beyond what is kept, and bodies that nothing needs. Gives how many revisions went.
    ///
    /// # Errors
    /// When the store cannot write.
    pub fn retain(&self, _turn: &Turn<'_>) -> Result<u64, Failure> {
        let mut book = lock(&self.book).clone();
        let dropped = book.shorten(self.rollouts.oldest_needed());
        let mut batch = Batch::new();
        records::drop_all(&mut batch, &dropped);
        batch.write(&self.store)?;
        *lock(&self.book) = book;
        Ok(dropped.revisions.len() as u64)
    }
}
