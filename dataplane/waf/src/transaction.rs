//! One evaluation of a rule set: a request and its response.
//!
//! ```text
//!  begin -> request_head (phase 1) -> request_body (2) -> response_head (3) -> response_body (4) -> finish (5)
//! ```
//! Owns: [`Transaction`], what is known of one request, and [`Evaluator`], what one worker needs to judge any of them.
//! Does not own: connections, buffers of bodies, what becomes of an [`Interruption`].
//!
//! Cost: a transaction keeps what the request holds and no more; changed values, presence maps and caches of
//! expressions belong to the worker. Both are used again: a warm worker allocates nothing for a request that no rule
//! matches.

mod data;
mod effect;
mod evaluate;
mod expand;
#[doc(hidden)]
pub mod fuzz;
mod group;
mod observe;
mod outcome;
mod persistent;
mod request;
mod response;
mod sanitize;
mod shown;
mod time;
mod value;
mod workspace;

use std::sync::Arc;

pub use observe::Observer;
pub use outcome::{Interruption, InterruptionKind, Limit, Limits, MatchView};
pub use persistent::Persistent;
pub use request::{Connection, RequestHead};
pub use response::ResponseHead;
pub use sanitize::Cleaned;

use crate::ruleset::{Ruleset, Site};
use data::Data;
use outcome::Outcome;
use workspace::Workspace;

/// Bounds of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Most bytes that transformations, expressions and other operators may read, in all phases together: what bounds
    /// the time of a transaction, since each of them is linear.
    pub work_bytes_max: u64,
    /// Most matches that are noted; further ones only count.
    pub matches_max: u32,
    /// Most bytes kept of the request, the response and what rules make of them.
    pub data_bytes_max: usize,
    /// What becomes of a request at one of these bounds: it is refused, or passes.
    pub refuses: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { work_bytes_max: 256 << 20, matches_max: 256, data_bytes_max: 64 << 20, refuses: true }
    }
}

/// What is known of one request and its response.
#[derive(Debug, Default)]
pub struct Transaction {
    pub(crate) data: Data,
    pub(crate) outcome: Outcome,
    site: Option<Arc<Site>>,
    serial: u64,
}

impl Transaction {
    /// Nothing known; [`Evaluator::begin`] makes it ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Memory it holds on to, bytes.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.data.capacity_bytes()
    }
}

/// Judges the transactions of one worker by one rule set.
#[derive(Debug)]
pub struct Evaluator {
    pub(crate) set: Arc<Ruleset>,
    pub(crate) space: Workspace,
    pub(crate) budget: Budget,
    pub(crate) persistent: Arc<Persistent>,
    serial: u64,
}

impl Evaluator {
    /// For one worker; `persistent` is shared by all.
    #[must_use]
    pub fn new(set: Arc<Ruleset>, persistent: Arc<Persistent>, budget: Budget) -> Self {
        Self { space: Workspace::new(&set), set, budget, persistent, serial: 0 }
    }

    /// The rule set it judges by.
    #[must_use]
    pub const fn ruleset(&self) -> &Arc<Ruleset> {
        &self.set
    }

    /// Memory of this worker's caches, bytes, as far as they tell.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.space.bytes()
    }
}
