//! Rollouts: the one that runs and those that ended lately.
//!
//! Owns: that at most one runs, its persistence, whom a status tells. Does not own: when it moves (`rollout`), what a
//! move does (`service::policy`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use uuid::Uuid;

use super::rollout::Rollout;
use crate::batch::{self, Batch};
use crate::failure::Failure;
use crate::orchestrator::lock;
use crate::store::{Store, Table};

/// Ended rollouts that are kept; the oldest go first.
pub(super) const ENDED_MAX: usize = 100;

/// All of them.
#[derive(Debug)]
pub struct Rollouts {
    store: Store,
    kept: Mutex<BTreeMap<Uuid, Arc<Rollout>>>,
    changes: watch::Sender<u64>,
}

impl Rollouts {
    /// Reads them; one that ran goes on.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: &Store, now_ms: u64) -> Result<Self, Failure> {
        let records = batch::scan_json::<Rollout>(store, Table::Rollouts, b"")?;
        let resume = |(_, mut rollout): (Vec<u8>, Rollout)| {
            if rollout.state.is_open() {
                rollout.resume(now_ms);
            }
            (rollout.id, Arc::new(rollout))
        };
        let kept = records.into_iter().map(resume).collect();
        let (changes, _) = watch::channel(0);
        Ok(Self { store: store.clone(), kept: Mutex::new(kept), changes })
    }

    /// The one that can still change.
    pub fn running(&self) -> Option<Arc<Rollout>> {
        lock(&self.kept).values().find(|rollout| rollout.state.is_open()).cloned()
    }

    /// One by its name; empty: the latest.
    ///
    /// # Errors
    /// [`Failure::NotFound`].
    pub fn find(&self, id: &str) -> Result<Arc<Rollout>, Failure> {
        let kept = lock(&self.kept);
        if id.is_empty() {
            let latest = kept.values().max_by_key(|rollout| (rollout.started_ms, rollout.revision));
            return latest.cloned().ok_or_else(|| Failure::NotFound("there was no rollout yet".into()));
        }
        let known = id.parse::<Uuid>().ok().and_then(|id| kept.get(&id));
        known.cloned().ok_or_else(|| {
            let id: String = id.chars().take(80).collect();
            Failure::NotFound(format!("no rollout `{id}`; the last {ENDED_MAX} are kept"))
        })
    }

    /// Counts changes of any rollout.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The oldest revision that the running one may go back to.
    pub fn oldest_needed(&self) -> u64 {
        self.running().map_or(u64::MAX, |rollout| rollout.oldest_needed())
    }

    /// Writes these and forgets the oldest, with whatever else is in the batch.
    ///
    /// # Errors
    /// When one cannot be written as JSON: a defect.
    pub fn put(&self, batch: &mut Batch, rollouts: &[Rollout]) -> Result<(), Failure> {
        for rollout in rollouts {
            batch.put_json(Table::Rollouts, rollout.id.as_bytes(), rollout)?;
        }
        self.too_many().iter().for_each(|id| batch.delete(Table::Rollouts, id.as_bytes()));
        Ok(())
    }

    /// Shows what is on disk now: to be called after the batch of [`Self::put`] was written.
    pub fn adopt(&self, rollouts: Vec<Rollout>) {
        let too_many = self.too_many();
        let mut kept = lock(&self.kept);
        too_many.iter().for_each(|id| {
            kept.remove(id);
        });
        kept.extend(rollouts.into_iter().map(|rollout| (rollout.id, Arc::new(rollout))));
        drop(kept);
        self.touch();
    }

    /// Keeps what became of one: on disk before anybody is told.
    ///
    /// # Errors
    /// When the store cannot write; then the earlier state holds.
    pub fn keep(&self, rollout: Rollout) -> Result<(), Failure> {
        let mut batch = Batch::new();
        self.put(&mut batch, core::slice::from_ref(&rollout))?;
        batch.write(&self.store)?;
        self.adopt(vec![rollout]);
        Ok(())
    }

    /// Remembers what a look has seen, without the disk (after a restart it is seen anew), and has everybody who
    /// watches look again: nodes may have answered.
    pub fn note(&self, rollout: Rollout) {
        lock(&self.kept).insert(rollout.id, Arc::new(rollout));
        self.touch();
    }

    fn touch(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn too_many(&self) -> Vec<Uuid> {
        let kept = lock(&self.kept);
        let mut ended: Vec<(u64, Uuid)> = kept
            .values()
            .filter(|rollout| !rollout.state.is_open())
            .map(|rollout| (rollout.started_ms, rollout.id))
            .collect();
        ended.sort_unstable();
        let surplus = ended.len().saturating_sub(ENDED_MAX);
        ended.into_iter().take(surplus).map(|(_, id)| id).collect()
    }
}
