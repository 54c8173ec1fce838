//! The gate of a step: refusals, losses, drops of validated traffic, 5xx.
//!
//! A share counts as risen by the change when it rose on the updated nodes against their own time before the step, and
//! more than on nodes that have not got it: an attack or a failing backend hits both groups, a bad rule only one.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{ANSWER_MS_MAX, LOST_AFTER_RESTART_MS_MAX, LOST_MS_MAX, Move, Rollout, Shares, Sight};

/// How much a share may rise without being blamed on the change: two of a hundred packets or responses. Below it, the
/// noise of one node's second is larger than what is looked for.
const RISE_MAX: f64 = 0.02;

/// One of the shares.
type Share = fn(&Shares) -> f64;

impl Rollout {
    pub(super) fn look_at_step(&mut self, nodes: &BTreeMap<Uuid, Sight>, now_ms: u64) -> Option<Move> {
        if let Some(why) = self.refused(nodes).or_else(|| self.lost(nodes, now_ms)) {
            return Some(Move::RollBack(why));
        }
        let updated = self.updated(nodes);
        if let Some(why) = self.risen(nodes, &updated) {
            return Some(Move::RollBack(why));
        }
        if let Some(silent) = self.present.iter().find(|id| !updated.contains_key(*id)) {
            let since_ms = self.step_started_ms.max(self.watched_since_ms);
            if now_ms.saturating_sub(since_ms) > ANSWER_MS_MAX.max(self.lost_ms_max()) {
                let seconds = ANSWER_MS_MAX / 1_000;
                return Some(Move::RollBack(format!("node {silent} did not answer in {seconds} s")));
            }
            return None;
        }
        if self.step_answered_ms == 0 {
            self.step_answered_ms = now_ms;
        }
        // Telemetry of before the change proves nothing about it.
        let is_judged = updated.values().all(|sight| sight.shares.is_none() || self.is_fresh(sight));
        if now_ms.saturating_sub(self.step_answered_ms) < self.step_hold_ms || !is_judged {
            return None;
        }
        Some(if self.has_reached_all() { self.last_move() } else { Move::Advance })
    }

    /// Nodes of this step that answered.
    fn updated<'n>(&self, nodes: &'n BTreeMap<Uuid, Sight>) -> BTreeMap<Uuid, &'n Sight> {
        let of_step = self.present.iter().filter_map(|id| Some((*id, nodes.get(id)?)));
        of_step.filter(|(_, sight)| sight.answered_revision >= self.revision).collect()
    }

    fn refused(&self, nodes: &BTreeMap<Uuid, Sight>) -> Option<String> {
        let of_step = self.reached();
        let reached = nodes.iter().filter(|(id, _)| of_step.contains(id));
        let mut refused =
            reached.flat_map(|(id, sight)| self.refused_by(sight).map(move |refused| (id, refused)));
        let (id, (key, error)) = refused.next()?;
        Some(format!("node {id} refused {key}: {error}"))
    }

    fn lost_ms_max(&self) -> u64 {
        if self.is_resumed { LOST_AFTER_RESTART_MS_MAX } else { LOST_MS_MAX }
    }

    fn lost(&self, nodes: &BTreeMap<Uuid, Sight>, now_ms: u64) -> Option<String> {
        let since = |sight: &Sight| sight.disconnected_ms.max(self.watched_since_ms);
        let is_lost = |id: &&Uuid| {
            nodes.get(*id).is_none_or(|sight| {
                !sight.is_connected && now_ms.saturating_sub(since(sight)) > self.lost_ms_max()
            })
        };
        let id = self.present.iter().find(is_lost)?;
        Some(format!("node {id} was lost after it got the change"))
    }

    fn is_fresh(&self, sight: &Sight) -> bool {
        self.step_answered_ms != 0 && sight.shares_ms > self.step_answered_ms
    }

    fn risen(&self, nodes: &BTreeMap<Uuid, Sight>, updated: &BTreeMap<Uuid, &Sight>) -> Option<String> {
        let of_step = self.reached();
        let fresh = updated.iter().filter(|(_, sight)| self.is_fresh(sight));
        let fresh: Vec<(Shares, Shares)> = fresh.filter_map(|(id, sight)| self.pair(*id, sight)).collect();
        let others = nodes.iter().filter(|(id, sight)| sight.is_connected && !of_step.contains(id));
        let others: Vec<(Shares, Shares)> = others.filter_map(|(id, sight)| self.pair(*id, sight)).collect();
        let checks: [(&str, Share); 2] = [
            ("drops of validated traffic", |shares| shares.dropped),
            ("responses 5xx", |shares| shares.failed),
        ];
        checks.into_iter().find_map(|(what, share)| {
            let (before, now) = mean(&fresh, share)?;
            let rise = now - before;
            let (others_before, others_now) = mean(&others, share).unwrap_or_default();
            let is_risen = rise > RISE_MAX && rise - (others_now - others_before) > RISE_MAX;
            is_risen.then(|| {
                format!(
                    "{what} rose from {:.1} % to {:.1} % on {} updated nodes ({:.1} % to {:.1} % on {} others)",
                    before * 100.0,
                    now * 100.0,
                    fresh.len(),
                    others_before * 100.0,
                    others_now * 100.0,
                    others.len()
                )
            })
        })
    }

    /// Before the step and now; a node that said nothing before cannot be compared.
    fn pair(&self, id: Uuid, sight: &Sight) -> Option<(Shares, Shares)> {
        Some((*self.baseline.get(&id)?, sight.shares?))
    }
}

fn mean(pairs: &[(Shares, Shares)], share: Share) -> Option<(f64, f64)> {
    if pairs.is_empty() {
        return None;
    }
    let (before, now) = pairs
        .iter()
        .fold((0.0, 0.0), |(before, now), pair| (before + sane(share(&pair.0)), now + sane(share(&pair.1))));
    let count = pairs.len() as f64;
    Some((before / count, now / count))
}

/// A share is between 0 and 1; whatever else a node sends counts as the nearest.
fn sane(share: f64) -> f64 {
    if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
}
