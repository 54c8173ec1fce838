//! The reconciler of rollouts: looks at the nodes and makes the move that the rollout decides on.

use crate::caller::Caller;
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};
use crate::policy::rollout::{Move, State};
use crate::service::policy::{record_move, roll_back, sights};

/// One look.
pub(super) async fn reconcile(o: &Orchestrator) -> Result<(), Failure> {
    if o.policy.rollouts().running().is_none() {
        return Ok(());
    }
    let turn = o.policy.begin().await;
    // Again under the turn: a newer change may have taken its place.
    let Some(running) = o.policy.rollouts().running() else { return Ok(()) };
    let mut rollout = (*running).clone();
    let nodes = sights(o);
    let now = now_ms();
    let Some(next) = rollout.look(&nodes, now) else {
        o.policy.rollouts().note(rollout);
        return Ok(());
    };
    let caller = Caller::internal("rollout");
    match next {
        Move::Advance => {
            rollout.advance(&nodes, now);
            tracing::info!(rollout = %rollout.id, step = rollout.step, "a rollout makes its next step");
            record_move(o, &caller, "policy.rollout_step", &rollout).await?;
            o.policy.move_rollout(&turn, rollout)
        }
        Move::Await => {
            rollout.wait();
            record_move(o, &caller, "policy.rollout_wait", &rollout).await?;
            o.policy.move_rollout(&turn, rollout)
        }
        Move::Finish => {
            rollout.end(State::Done, None, now);
            tracing::info!(rollout = %rollout.id, "a rollout ended");
            record_move(o, &caller, "policy.rollout_done", &rollout).await?;
            o.policy.move_rollout(&turn, rollout)
        }
        Move::RollBack(why) => {
            tracing::warn!(rollout = %rollout.id, why, "a rollout is taken back");
            let ended = roll_back(o, &turn, rollout, &caller, why, now)?;
            record_move(o, &caller, "policy.rollout_back", &ended).await
        }
    }
}
