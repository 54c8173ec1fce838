//! What workers share with each other and with the control thread: nothing else is.
//!
//! Owns: the current policy, the limiter tables, queues, counter pages and each worker's stage of life. Does not
//! own: flows (each worker's own). Everything here is an atomic, a bounded queue or immutable.

use core::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;

use super::published::Published;
use crate::attack::LISTENERS_WATCHED_MAX;
use crate::event::{EventQueue, WorkerId};
use crate::forefront::{Board, Forefront};
use crate::handover::{HINT_SLOTS, Handover, HintTable, INBOX_FRAMES_MAX};
use crate::lists::BlockHits;
use crate::pipeline::limits::LimitTables;
use crate::policy::Policy;
use crate::telemetry::counters::WorkerCounters;
use crate::upstream::Upstream;

/// What a worker is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Take connections.
    Serve = 0,
    /// Finish connections, take no new ones, end when none is left.
    Drain = 1,
    /// Reset what is open and end.
    Stop = 2,
}

/// Sizes of what workers share; all of it is taken at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedSizes {
    /// Number of workers.
    pub workers: u16,
    /// Longest frame that is handed over, bytes.
    pub frame_bytes_max: usize,
    /// Sources and prefixes that the limiters tell apart.
    pub limiter_slots: usize,
    /// Connections at once that may be counted.
    pub connections_max: u32,
}

/// What all workers of a node share.
#[derive(Debug)]
pub struct Shared {
    policy: Published<Policy>,
    stage: AtomicU8,
    /// From workers to the control thread.
    pub events: Arc<EventQueue>,
    /// How often bans dropped something.
    pub blocked: Arc<BlockHits>,
    /// From worker to worker.
    pub handover: Handover,
    /// Which worker opened which flow.
    pub hints: HintTable,
    /// Rates and numbers per source and prefix.
    pub limits: LimitTables,
    /// Where the fate of connections to backends is reported.
    pub upstream: Arc<Upstream>,
    /// One page of counters per worker.
    pub pages: Box<[Arc<WorkerCounters>]>,
    /// What answers and drops before the workers; `None` where nothing can.
    pub forefront: Option<Arc<dyn Forefront>>,
    /// What workers agree on about it.
    pub board: Board,
}

impl Shared {
    /// Takes all memory that workers will share. `hash_key` places sources in the limiter tables.
    pub fn new(
        sizes: SharedSizes,
        policy: Policy,
        upstream: Arc<Upstream>,
        hash_key: secbeat_net::flow::HashKey,
    ) -> Arc<Self> {
        Arc::new(Self::without_forefront(sizes, policy, upstream, hash_key))
    }

    /// The same behind something that answers and drops before the workers.
    pub fn behind(
        forefront: Arc<dyn Forefront>,
        sizes: SharedSizes,
        policy: Policy,
        upstream: Arc<Upstream>,
        hash_key: secbeat_net::flow::HashKey,
    ) -> Arc<Self> {
        let shared = Self::without_forefront(sizes, policy, upstream, hash_key);
        Arc::new(Self { forefront: Some(forefront), ..shared })
    }

    fn without_forefront(
        sizes: SharedSizes,
        policy: Policy,
        upstream: Arc<Upstream>,
        hash_key: secbeat_net::flow::HashKey,
    ) -> Self {
        let workers = usize::from(sizes.workers.max(1));
        let hints = if workers > 1 { HINT_SLOTS } else { 1 };
        let generation = policy.generation;
        Self {
            policy: Published::new(policy, generation, workers),
            stage: AtomicU8::new(Stage::Serve as u8),
            events: Arc::default(),
            blocked: Arc::default(),
            handover: Handover::new(workers, INBOX_FRAMES_MAX, sizes.frame_bytes_max),
            hints: HintTable::new(hints),
            limits: LimitTables::new(sizes.limiter_slots, sizes.connections_max, hash_key),
            upstream,
            pages: (0..workers).map(|_| Arc::new(WorkerCounters::new())).collect(),
            forefront: None,
            board: Board::new(LISTENERS_WATCHED_MAX, workers),
        }
    }

    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.pages.len()
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load()
    }

    /// Number of the policy in force: one load, to see whether there is a new one.
    pub fn generation(&self) -> u64 {
        self.policy.generation()
    }

    /// Puts a policy in force; every worker adopts it at its next housekeeping.
    pub fn set_policy(&self, policy: Policy) {
        let generation = policy.generation;
        self.policy.publish(policy, generation);
    }

    /// Notes that a worker runs a policy.
    pub fn set_adopted(&self, worker: WorkerId, generation: u64) {
        self.policy.confirm(worker, generation);
    }

    /// The oldest generation that any worker still runs.
    pub fn adopted_by_all(&self) -> u64 {
        self.policy.adopted_by_all()
    }

    /// What the workers are told to do.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Serve,
            1 => Stage::Drain,
            _ => Stage::Stop,
        }
    }

    /// Tells the workers; never goes back to an earlier stage.
    pub fn set_stage(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
    }
}
