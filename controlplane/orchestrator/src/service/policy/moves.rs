//! Rollouts: begin, confirm, cancel, look.

use std::collections::BTreeMap;

use secbeat_config::policy::Key;
use secbeat_config::policy::wire::key_to_wire;
use secbeat_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::Options;
use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};
use crate::policy::rollout::{
    Answer, Plan, ROLLBACK_AFTER_MS_MAX, Rollout, STEP_HOLD_MS_DEFAULT, STEP_HOLD_MS_MAX, Shares, Sight,
    State, Strategy,
};
use crate::policy::{Author, Candidate, Turn};
use crate::registry::{Node, Phase};
use crate::service::Stream;
use crate::service::blocking;
use crate::service::mutation::{Record, carry_out};

/// What a change does to rollouts: one begins, an open one ends.
pub(crate) struct Begun {
    pub(crate) new: Rollout,
    superseded: Option<Rollout>,
}

impl Begun {
    pub(crate) fn rollouts(self) -> Vec<Rollout> {
        self.superseded.into_iter().chain([self.new]).collect()
    }
}

/// The rollout of a change on top of `before`.
pub(crate) fn plan(
    o: &Orchestrator,
    candidate: &Candidate,
    options: &Options,
    now_ms: u64,
) -> Result<Begun, Failure> {
    let before = &candidate.before;
    let wish = options.rollout.clone().unwrap_or_default();
    let strategy = match wish.strategy() {
        v1::rollout::Strategy::Canary => Strategy::Canary,
        v1::rollout::Strategy::All | v1::rollout::Strategy::Unspecified => Strategy::All,
    };
    in_range("rollout.step_hold_ms", wish.step_hold_ms, STEP_HOLD_MS_MAX)?;
    in_range("rollback_after_ms", options.rollback_after_ms, ROLLBACK_AFTER_MS_MAX)?;
    let first = match wish.canary_node_id.as_str() {
        "" => None,
        name => Some(o.registry.find(name)?),
    };
    let nodes = sights(o);
    if let Some(first) = first.filter(|first| !nodes.get(first).is_some_and(|sight| sight.is_connected)) {
        return Err(Failure::Refused(format!("node {first} is to be the first and is not connected")));
    }
    let superseded = o.policy.rollouts().running().map(|running| {
        let mut ended = (*running).clone();
        ended.end(
            State::Superseded,
            Some(format!("revision {} took its place", before.revision + 1)),
            now_ms,
        );
        ended
    });
    // An unfinished change has left nodes at two states: those that it has reached come along with the new one, the
    // others stay where they are, and back means where it began. A change that was everywhere counts as confirmed.
    let unfinished = superseded.as_ref().filter(|ended| !ended.has_reached_all());
    let changed = candidate.changes.iter().map(|change| change.key.to_string());
    let plan = Plan {
        id: Uuid::new_v4(),
        revision: before.revision + 1,
        previous_revision: unfinished.map_or(before.revision, |ended| ended.previous_revision),
        base_revision: unfinished.map_or(before.revision, |ended| ended.base_revision),
        strategy,
        step_hold_ms: if wish.step_hold_ms == 0 { STEP_HOLD_MS_DEFAULT } else { wish.step_hold_ms },
        rollback_after_ms: options.rollback_after_ms,
        first,
        reached_before: unfinished.map(Rollout::reached).unwrap_or_default(),
        changed: changed.chain(unfinished.iter().flat_map(|ended| ended.changed.clone())).collect(),
    };
    Ok(Begun { new: Rollout::start(plan, &nodes, now_ms), superseded })
}

fn in_range(key: &str, value_ms: u64, value_ms_max: u64) -> Result<(), Failure> {
    if value_ms <= value_ms_max {
        return Ok(());
    }
    Err(Failure::Invalid(format!(
        "{key}: {value_ms} is out of range: must be 0 to {value_ms_max} milliseconds"
    )))
}

/// What rollouts know of the nodes.
pub(crate) fn sights(o: &Orchestrator) -> BTreeMap<Uuid, Sight> {
    o.registry.nodes().iter().map(|(id, node)| (*id, sight(node))).collect()
}

fn sight(node: &Node) -> Sight {
    let key = |result: &v1::ResourceResult| {
        let key =
            result.key.as_ref().and_then(|key| secbeat_config::policy::wire::key_from_wire(Some(key)).ok());
        key.map_or_else(String::new, |key| key.to_string())
    };
    let refused: Vec<(String, String)> =
        node.refusals().map(|result| (key(result), result.error.clone())).collect();
    Sight {
        is_connected: node.is_connected(),
        is_active: matches!(node.phase, Phase::Active | Phase::Starting),
        disconnected_ms: node.disconnected_ms,
        sent_revision: node.progress.sent_revision,
        answered_revision: node.progress.answered_revision,
        answer: if refused.is_empty() { Answer::Took } else { Answer::Refused(refused) },
        shares: node
            .load
            .as_ref()
            .map(|(_, load)| Shares { dropped: load.validated_drop_share, failed: load.server_error_share }),
        shares_ms: node.load.as_ref().map_or(0, |(at_ms, _)| *at_ms),
    }
}

/// Takes a rollout back: what was wanted before is the newest revision again, for every node at once.
pub(crate) fn roll_back(
    o: &Orchestrator,
    turn: &Turn<'_>,
    mut rollout: Rollout,
    caller: &Caller,
    why: String,
    now_ms: u64,
) -> Result<Rollout, Failure> {
    let previous = o.policy.at(rollout.previous_revision)?;
    let to = previous.revision;
    let candidate = Candidate::of_set(o.policy.newest(), previous.set.clone(), Vec::new())?;
    let reason = format!("rollout {} was taken back: {why}", rollout.id);
    rollout.end(State::RolledBack, Some(why), now_ms);
    let author = Author { actor: caller.name.clone(), reason };
    if candidate.is_change() {
        let newest = o.policy.commit(turn, &candidate, &author, to, vec![rollout.clone()], now_ms)?;
        o.bans.set_policy(&newest.set);
    } else {
        o.policy.move_rollout(turn, rollout.clone())?;
    }
    Ok(rollout)
}

/// Writes a move of a rollout into the audit log.
pub(crate) async fn record_move(
    o: &Orchestrator,
    caller: &Caller,
    action: &'static str,
    rollout: &Rollout,
) -> Result<(), Failure> {
    let after = status(o, rollout);
    let record = move_record(&after);
    let mutation = v1::Mutation { reason: cut(&rollout.explanation), ..v1::Mutation::default() };
    let request = v1::GetRolloutRequest { rollout_id: rollout.id.to_string() };
    carry_out(o, caller, action, &mutation, &request, async { Ok((after, record)) }).await.map(|_| ())
}

fn cut(text: &str) -> String {
    text.chars().take(crate::service::mutation::REASON_CHARS_MAX).collect()
}

fn move_record(status: &v1::RolloutStatus) -> Record {
    let after = serde_json::json!({
        "revision": status.revision,
        "state": status.state().as_str_name(),
        "step": status.step,
        "explanation": status.explanation,
    });
    Record {
        target: format!("rollout {}", status.rollout_id),
        before: String::new(),
        after: after.to_string(),
    }
}

/// Ends the time of a change that waits for confirmation: it stays.
///
/// # Errors
/// [`Failure::Refused`] when nothing waits.
pub async fn confirm(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::ConfirmRequest,
) -> Result<v1::RolloutStatus, Failure> {
    caller.require(Scope::PolicyWrite)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    let change = async {
        let turn = o.policy.begin().await;
        let mut rollout = open_one(o, &request.rollout_id)?;
        if rollout.rollback_at_ms == 0 {
            return Err(Failure::Refused("this change stays: it was made without `rollback_after`".into()));
        }
        rollout.is_confirmed = true;
        if rollout.state == State::AwaitingConfirmation {
            rollout.end(State::Done, None, now_ms());
        }
        if !mutation.dry_run {
            o.policy.move_rollout(&turn, rollout.clone())?;
            o.signals.rollout.notify_one();
        }
        let status = status(o, &rollout);
        let record = move_record(&status);
        Ok((status, record))
    };
    carry_out(o, caller, "policy.confirm", &mutation, &request, change).await
}

/// Takes the running change back now.
///
/// # Errors
/// [`Failure::Refused`] when it has ended.
pub async fn cancel(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::CancelRequest,
) -> Result<v1::RolloutStatus, Failure> {
    caller.require(Scope::PolicyWrite)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    let change = async {
        let turn = o.policy.begin().await;
        let mut rollout = open_one(o, &request.rollout_id)?;
        if !mutation.dry_run {
            let why = format!("cancelled by {}", caller.name);
            rollout = roll_back(o, &turn, rollout, caller, why, now_ms())?;
        }
        let status = status(o, &rollout);
        let record = move_record(&status);
        Ok((status, record))
    };
    carry_out(o, caller, "policy.cancel", &mutation, &request, change).await
}

fn open_one(o: &Orchestrator, id: &str) -> Result<Rollout, Failure> {
    let rollout = o.policy.rollouts().find(id)?;
    if rollout.state.is_open() {
        return Ok((*rollout).clone());
    }
    let state = rollout.state.wire().as_str_name();
    Err(Failure::Refused(format!("rollout {} has ended ({state}): {}", rollout.id, rollout.explanation)))
}

/// How far a rollout is.
///
/// # Errors
/// [`Failure::NotFound`].
pub async fn get_rollout(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::GetRolloutRequest,
) -> Result<v1::RolloutStatus, Failure> {
    caller.require(Scope::Read)?;
    let rollout = o.policy.rollouts().find(&request.rollout_id)?;
    let o = o.clone();
    blocking(move || Ok(status(&o, &rollout))).await
}

/// Every change of a rollout until it ends.
///
/// # Errors
/// [`Failure::NotFound`].
pub async fn watch_rollout(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::GetRolloutRequest,
) -> Result<Stream<v1::RolloutStatus>, Failure> {
    caller.require(Scope::Read)?;
    let id = o.policy.rollouts().find(&request.rollout_id)?.id.to_string();
    let mut changes = o.policy.rollouts().changes();
    let (sender, receiver) = mpsc::channel(1);
    let o = o.clone();
    tokio::spawn(async move {
        let mut told: Option<v1::RolloutStatus> = None;
        loop {
            changes.borrow_and_update();
            let Ok(rollout) = o.policy.rollouts().find(&id) else { return };
            let now = status(&o, &rollout);
            if told.as_ref() != Some(&now) && sender.send(Ok(now.clone())).await.is_err() {
                return;
            }
            told = Some(now);
            if !rollout.state.is_open() {
                return;
            }
            tokio::select! {
                () = sender.closed() => return,
                changed = changes.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

/// A rollout for people.
pub(crate) fn status(o: &Orchestrator, rollout: &Rollout) -> v1::RolloutStatus {
    let nodes = sights(o);
    let is_all = rollout.has_reached_all();
    let reached = rollout.reached();
    let chosen = |id: &Uuid, sight: &Sight| if is_all { sight.is_connected } else { reached.contains(id) };
    let sent: Vec<&Sight> =
        nodes.iter().filter(|(id, sight)| chosen(id, sight)).map(|(_, sight)| sight).collect();
    let answered = |sight: &&&Sight| sight.answered_revision >= rollout.revision;
    let is_refused = |sight: &&&Sight| matches!(sight.answer, Answer::Refused(_));
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let connected = nodes.values().filter(|sight| sight.is_connected).count();
    let key = |text: &str| text.parse::<Key>().ok().map(|key| key_to_wire(&key));
    let rejection = |refusal: &crate::policy::rollout::Refusal| v1::NodeRejection {
        node_id: refusal.node.to_string(),
        key: key(&refusal.key),
        error: refusal.error.clone(),
    };
    v1::RolloutStatus {
        rollout_id: rollout.id.to_string(),
        revision: rollout.revision,
        previous_revision: rollout.previous_revision,
        state: rollout.state.wire() as i32,
        step: count(rollout.step),
        steps: count(rollout.counts.len()),
        nodes_total: count(connected.max(rollout.order.len())),
        nodes_sent: count(sent.iter().filter(|sight| sight.sent_revision >= rollout.revision).count()),
        nodes_applied: count(sent.iter().filter(answered).filter(|sight| !is_refused(sight)).count()),
        nodes_rejected: count(sent.iter().filter(answered).filter(is_refused).count()),
        nodes_unreachable: count(sent.iter().filter(|sight| !sight.is_connected).count()),
        rejections: rollout.refusals.iter().map(rejection).collect(),
        explanation: rollout.explanation.clone(),
        rollback_at_ms: rollout.rollback_at_ms,
        started_ms: rollout.started_ms,
        ended_ms: rollout.ended_ms,
    }
}
