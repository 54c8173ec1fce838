//! How a change gets to the fleet: step by step, each watched, and back when it does harm.
//!
//! Owns: the states of a rollout and every reason to go on or back. Pure: the clock and what is known of the nodes are
//! passed in, what to do comes back as a [`Move`]. Does not own: revisions (`policy`), sending (`session`), audit.
//!
//! ```text
//!             a step is healthy and held
//!  RUNNING --.--------------------------> next step --> last step --> DONE
//!            |                                             | `rollback_after_ms`
//!            |                                             v
//!            |                                  AWAITING_CONFIRMATION --confirmed--> DONE
//!            |  refused, lost, silent, drops, 5xx, cancelled, not confirmed in time
//!            '--------------------------------> ROLLED_BACK
//!  RUNNING, AWAITING_CONFIRMATION -- a newer change --> SUPERSEDED
//! ```

use std::collections::{BTreeMap, BTreeSet};

use secbeat_proto::v1::rollout_status::State as WireState;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod gate;
mod health;
#[cfg(test)]
mod tests;

pub use health::{Answer, Refusal, Shares, Sight};

/// Shares of the fleet that a canary rollout reaches, after one node: per cent.
const STEPS_PERCENT: [usize; 3] = [10, 50, 100];
/// How long a step is watched unless the request says otherwise, milliseconds: telemetry comes every second, and 30
/// samples tell a change from noise.
pub const STEP_HOLD_MS_DEFAULT: u64 = 30_000;
/// Longest hold of a step, milliseconds: a day.
pub const STEP_HOLD_MS_MAX: u64 = 86_400_000;
/// Longest time for confirmation, milliseconds: a week.
pub const ROLLBACK_AFTER_MS_MAX: u64 = 7 * 86_400_000;
/// How long a node may take to answer, milliseconds: compiling 16,384 rules on a loaded machine takes seconds.
pub const ANSWER_MS_MAX: u64 = 60_000;
/// How long a node may be away before it counts as lost to the change, milliseconds: a reconnect with back-off.
pub const LOST_MS_MAX: u64 = 10_000;
/// The same after a restart of the orchestrator, when every node has to come back first, milliseconds.
pub const LOST_AFTER_RESTART_MS_MAX: u64 = 60_000;
/// Refusals that are kept of a rollout; more are counted only.
pub const REFUSALS_MAX: usize = 64;

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// On its way.
    Running,
    /// Everywhere, and waits to be confirmed.
    AwaitingConfirmation,
    /// Ended well.
    Done,
    /// Taken back.
    RolledBack,
    /// A newer change took its place.
    Superseded,
}

impl State {
    /// Whether it can still change.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::AwaitingConfirmation)
    }

    /// On the wire.
    pub fn wire(self) -> WireState {
        match self {
            Self::Running => WireState::Running,
            Self::AwaitingConfirmation => WireState::AwaitingConfirmation,
            Self::Done => WireState::Done,
            Self::RolledBack => WireState::RolledBack,
            Self::Superseded => WireState::Superseded,
        }
    }
}

/// Who is reached when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Every node at once, without gates: what a node refuses, it refuses alone.
    All,
    /// One node, 10 %, 50 %, all; each step behind a gate.
    Canary,
}

/// What is to be done after a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// The next step is reached: tell the nodes.
    Advance,
    /// Everywhere: waits.
    Await,
    /// Ended well.
    Finish,
    /// Take it back; why.
    RollBack(String),
}

/// What a change is asked to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name.
    pub id: Uuid,
    /// What it brings.
    pub revision: u64,
    /// What it goes back to.
    pub previous_revision: u64,
    /// What nodes hold that it has not reached.
    pub base_revision: u64,
    /// Who is reached when.
    pub strategy: Strategy,
    /// How long each step is watched.
    pub step_hold_ms: u64,
    /// Taken back after this time unless confirmed; 0: stays.
    pub rollback_after_ms: u64,
    /// Who is first.
    pub first: Option<Uuid>,
    /// Nodes that an unfinished change before it has reached: they cannot go back first, so they come along.
    pub reached_before: BTreeSet<Uuid>,
    /// Resources that it changes: only their refusals count.
    pub changed: BTreeSet<String>,
}

/// A rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its name.
    pub id: Uuid,
    /// What it brings.
    pub revision: u64,
    /// What it goes back to.
    pub previous_revision: u64,
    /// What nodes hold that it has not reached.
    pub base_revision: u64,
    /// Who is reached when.
    pub strategy: Strategy,
    /// Where it is.
    pub state: State,
    /// Resources that it changes: only their refusals count.
    pub changed: BTreeSet<String>,
    /// Nodes in the order in which they are reached.
    pub order: Vec<Uuid>,
    /// How many of them each step reaches; the last step reaches also nodes that are not in `order`.
    pub counts: Vec<usize>,
    /// Which step, from 0.
    pub step: usize,
    /// When this step began.
    pub step_started_ms: u64,
    /// When the last node of this step had answered; 0: not yet.
    pub step_answered_ms: u64,
    /// How long each step is watched.
    pub step_hold_ms: u64,
    /// When it is taken back unless confirmed; 0: never.
    pub rollback_at_ms: u64,
    /// Whether it was confirmed before it was everywhere.
    pub is_confirmed: bool,
    /// Why it was taken back or what it waits for.
    pub explanation: String,
    /// What nodes refused.
    pub refusals: Vec<Refusal>,
    /// When it began.
    pub started_ms: u64,
    /// When it ended; 0: not yet.
    pub ended_ms: u64,
    /// What every node reported before this step.
    pub baseline: BTreeMap<Uuid, Shares>,
    /// Nodes of this step that were there when it began: they can be lost.
    pub present: BTreeSet<Uuid>,
    /// Since when this process watches it: nodes have to come back after a restart.
    #[serde(skip)]
    pub watched_since_ms: u64,
    /// Whether it was resumed after a restart.
    #[serde(skip)]
    pub is_resumed: bool,
}

impl Rollout {
    /// Begins. `nodes`: what is known of every node.
    pub fn start(plan: Plan, nodes: &BTreeMap<Uuid, Sight>, now_ms: u64) -> Self {
        let order = order(&plan, nodes);
        let counts = counts(&plan, order.len());
        let rollback_at_ms =
            if plan.rollback_after_ms == 0 { 0 } else { now_ms.saturating_add(plan.rollback_after_ms) };
        let mut rollout = Self {
            id: plan.id,
            revision: plan.revision,
            previous_revision: plan.previous_revision,
            base_revision: plan.base_revision,
            strategy: plan.strategy,
            state: State::Running,
            changed: plan.changed,
            order,
            counts,
            step: 0,
            step_started_ms: now_ms,
            step_answered_ms: 0,
            step_hold_ms: plan.step_hold_ms,
            rollback_at_ms,
            is_confirmed: false,
            explanation: String::new(),
            refusals: Vec::new(),
            started_ms: now_ms,
            ended_ms: 0,
            baseline: BTreeMap::new(),
            present: BTreeSet::new(),
            watched_since_ms: now_ms,
            is_resumed: false,
        };
        rollout.begin_step(nodes, now_ms);
        rollout
    }

    /// Goes on after a restart of the orchestrator.
    pub fn resume(&mut self, now_ms: u64) {
        self.watched_since_ms = now_ms;
        self.is_resumed = true;
        // Times of answers before the restart say nothing of now: the step is watched anew.
        self.step_answered_ms = 0;
        self.step_started_ms = now_ms;
    }

    fn begin_step(&mut self, nodes: &BTreeMap<Uuid, Sight>, now_ms: u64) {
        self.step_started_ms = now_ms;
        self.step_answered_ms = 0;
        self.baseline = nodes.iter().filter_map(|(id, sight)| Some((*id, sight.shares?))).collect();
        let is_there = |id: &Uuid| nodes.get(id).is_some_and(|sight| sight.is_connected);
        self.present = self.order.iter().take(self.count()).copied().filter(is_there).collect();
    }

    fn count(&self) -> usize {
        self.counts.get(self.step).copied().unwrap_or(self.order.len())
    }

    /// Whether the last step is reached: then every node gets the change, also one that comes later.
    pub fn has_reached_all(&self) -> bool {
        self.step + 1 >= self.counts.len()
    }

    /// The oldest revision that it needs: what it goes back to, or what nodes hold that it has not reached.
    pub fn oldest_needed(&self) -> u64 {
        self.previous_revision.min(self.base_revision)
    }

    /// Nodes that it has reached; of use until it has reached all.
    pub fn reached(&self) -> BTreeSet<Uuid> {
        self.order.iter().take(self.count()).copied().collect()
    }

    /// Looks at the nodes and decides. Changes only what was seen; the move is made by [`Self::advance`],
    /// [`Self::wait`], [`Self::end`].
    pub fn look(&mut self, nodes: &BTreeMap<Uuid, Sight>, now_ms: u64) -> Option<Move> {
        if !self.state.is_open() {
            return None;
        }
        self.note_refusals(nodes);
        if self.rollback_at_ms != 0 && !self.is_confirmed && now_ms >= self.rollback_at_ms {
            return Some(Move::RollBack("it was not confirmed in time".into()));
        }
        if self.state == State::AwaitingConfirmation {
            return self.is_confirmed.then_some(Move::Finish);
        }
        match self.strategy {
            Strategy::All => self.look_at_all(nodes, now_ms),
            Strategy::Canary => self.look_at_step(nodes, now_ms),
        }
    }

    fn look_at_all(&mut self, nodes: &BTreeMap<Uuid, Sight>, now_ms: u64) -> Option<Move> {
        let connected = nodes.values().filter(|sight| sight.is_connected);
        let silent = connected.filter(|sight| sight.answered_revision < self.revision).count();
        let is_late = now_ms.saturating_sub(self.step_started_ms) > ANSWER_MS_MAX;
        if silent > 0 && !is_late {
            return None;
        }
        self.explanation = match (silent, self.refusals.len()) {
            (0, 0) => String::new(),
            (0, refused) => format!("{refused} resources were refused, each by its node alone"),
            (silent, _) => format!("{silent} nodes did not answer in {} s", ANSWER_MS_MAX / 1_000),
        };
        Some(self.last_move())
    }

    fn last_move(&self) -> Move {
        if self.rollback_at_ms == 0 || self.is_confirmed { Move::Finish } else { Move::Await }
    }

    /// Makes the next step.
    pub fn advance(&mut self, nodes: &BTreeMap<Uuid, Sight>, now_ms: u64) {
        self.step = (self.step + 1).min(self.counts.len().saturating_sub(1));
        self.explanation.clear();
        self.begin_step(nodes, now_ms);
    }

    /// It is everywhere, and waits.
    pub fn wait(&mut self) {
        self.state = State::AwaitingConfirmation;
        let why = "it is taken back unless confirmed: `secbeat policy confirm`";
        self.explanation =
            if self.explanation.is_empty() { why.into() } else { format!("{}; {why}", self.explanation) };
    }

    /// It ended.
    pub fn end(&mut self, state: State, explanation: Option<String>, now_ms: u64) {
        self.state = state;
        self.ended_ms = now_ms;
        self.baseline.clear();
        self.present.clear();
        if let Some(explanation) = explanation {
            self.explanation = explanation;
        } else if state == State::Done && self.is_confirmed {
            self.explanation = "confirmed".into();
        }
    }

    /// What a node refused of this change.
    pub(super) fn refused_by<'s>(&'s self, sight: &'s Sight) -> impl Iterator<Item = &'s (String, String)> {
        let refused: &[(String, String)] = match &sight.answer {
            Answer::Refused(refused) if sight.answered_revision >= self.revision => refused,
            _ => &[],
        };
        refused.iter().filter(|(key, _)| self.changed.contains(key))
    }

    fn note_refusals(&mut self, nodes: &BTreeMap<Uuid, Sight>) {
        for (id, sight) in nodes {
            let new = self
                .refused_by(sight)
                .filter(|(key, _)| !self.refusals.iter().any(|known| known.node == *id && known.key == *key));
            let room = REFUSALS_MAX.saturating_sub(self.refusals.len());
            let new = new.map(|(key, error)| Refusal { node: *id, key: key.clone(), error: error.clone() });
            let new: Vec<Refusal> = new.take(room).collect();
            self.refusals.extend(new);
        }
    }
}

/// Connected nodes that take traffic, the first one first, then those that an unfinished change has reached.
fn order(plan: &Plan, nodes: &BTreeMap<Uuid, Sight>) -> Vec<Uuid> {
    let is_able = |id: &&Uuid| nodes.get(*id).is_some_and(|sight| sight.is_connected && sight.is_active);
    let mut order: Vec<Uuid> = Vec::new();
    let first = plan.first.iter().chain(&plan.reached_before);
    for id in first.chain(nodes.keys().filter(is_able)) {
        if !order.contains(id) {
            order.push(*id);
        }
    }
    order
}

/// How many nodes each step reaches: growing, the last one all.
fn counts(plan: &Plan, nodes: usize) -> Vec<usize> {
    if plan.strategy == Strategy::All {
        return vec![nodes];
    }
    let shares = STEPS_PERCENT.iter().map(|percent| (nodes * percent).div_ceil(100));
    let least = plan.reached_before.len().max(1);
    let mut counts = Vec::new();
    for count in [1].into_iter().chain(shares) {
        let count = count.max(least).min(nodes);
        if counts.last() != Some(&count) {
            counts.push(count);
        }
    }
    counts
}
