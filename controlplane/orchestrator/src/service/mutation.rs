//! What every change goes through: repetition, dry run, audit.

use core::future::Future;

use prost::Message;
use secbeat_proto::v1;

use crate::caller::Caller;
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};
use crate::request::Requests;

/// Longest request id, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 64;
/// Longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 500;

/// What the audit log says of a change.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// What it was done to: `filter-set/edge`, `203.0.113.7/32`.
    pub target: String,
    /// JSON of the state before.
    pub before: String,
    /// JSON of the state after.
    pub after: String,
}

/// Carries out a change once.
///
/// A request id that was seen within a day answers with the first response (`Conflict` when the request differs).
/// The outcome, also a refusal, is in the audit log before this returns. With `dry_run`, `change` is still called and
/// must itself change nothing; dry runs are neither remembered nor audited.
///
/// # Errors
/// Those of `change`; `Invalid` for an unusable id or reason.
pub async fn carry_out<Q, R, F>(
    orchestrator: &Orchestrator,
    caller: &Caller,
    action: &'static str,
    mutation: &v1::Mutation,
    request: &Q,
    change: F,
) -> Result<R, Failure>
where
    Q: Message,
    R: Message + Default,
    F: Future<Output = Result<(R, Record), Failure>>,
{
    check(mutation)?;
    if mutation.dry_run {
        return change.await.map(|(response, _)| response);
    }
    if mutation.request_id.is_empty() {
        return done(orchestrator, caller, action, mutation, change.await).await;
    }
    let requests = &orchestrator.requests;
    let slot = Requests::slot(&caller.name, action, &mutation.request_id);
    let encoded = request.encode_to_vec();
    let _turn = requests.turn(slot).await;
    if let Some(answer) = requests.answer(slot, &encoded)? {
        return R::decode(answer.as_slice())
            .map_err(|error| Failure::Internal(format!("a remembered answer: {error}")));
    }
    let response = done(orchestrator, caller, action, mutation, change.await).await?;
    requests.remember(slot, now_ms(), &encoded, &response.encode_to_vec()).await?;
    Ok(response)
}

fn check(mutation: &v1::Mutation) -> Result<(), Failure> {
    if mutation.request_id.len() > REQUEST_ID_BYTES_MAX {
        let bytes = mutation.request_id.len();
        return Err(Failure::Invalid(format!(
            "mutation.request_id: {bytes} bytes; at most {REQUEST_ID_BYTES_MAX}"
        )));
    }
    let chars = mutation.reason.chars().count();
    if chars > REASON_CHARS_MAX {
        return Err(Failure::Invalid(format!(
            "mutation.reason: {chars} characters; at most {REASON_CHARS_MAX}"
        )));
    }
    Ok(())
}

/// Writes the outcome into the audit log.
async fn done<R>(
    orchestrator: &Orchestrator,
    caller: &Caller,
    action: &'static str,
    mutation: &v1::Mutation,
    outcome: Result<(R, Record), Failure>,
) -> Result<R, Failure> {
    let (record, said) = match &outcome {
        Ok((_, record)) => (record.clone(), "ok".to_owned()),
        Err(failure) => (Record::default(), failure.to_string().chars().take(REASON_CHARS_MAX).collect()),
    };
    let entry = v1::AuditEntry {
        at_ms: now_ms(),
        actor: caller.name.clone(),
        source: caller.source.clone(),
        action: action.to_owned(),
        target: record.target,
        reason: mutation.reason.clone(),
        request_id: mutation.request_id.clone(),
        outcome: said,
        before: record.before,
        after: record.after,
        ..Default::default()
    };
    orchestrator.audit.append(entry).await?;
    outcome.map(|(response, _)| response)
}
