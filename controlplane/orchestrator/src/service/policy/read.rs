//! What is wanted, and what was.

use std::collections::BTreeSet;

use secbeat_config::policy::Key;
use secbeat_config::policy::wire::key_from_wire;
use secbeat_proto::v1;

use super::{PAGE_MAX, wire_resources};
use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;
use crate::service::blocking;

/// Resources, now or at a revision.
///
/// # Errors
/// [`Failure::NotFound`] for a revision that is not kept, or a key that is not in it.
pub async fn get(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::GetPolicyRequest,
) -> Result<v1::GetPolicyResponse, Failure> {
    caller.require(Scope::Read)?;
    let keys: Result<BTreeSet<Key>, _> = request.keys.iter().map(|key| key_from_wire(Some(key))).collect();
    let keys = keys.map_err(|error| Failure::Invalid(format!("keys: {error}")))?;
    let o = o.clone();
    blocking(move || {
        let wanted = if request.revision == 0 { o.policy.newest() } else { o.policy.at(request.revision)? };
        if let Some(missing) = keys.iter().find(|key| wanted.set.get(key).is_none()) {
            return Err(Failure::NotFound(format!(
                "{missing} is not in the policy of revision {}",
                wanted.revision
            )));
        }
        Ok(v1::GetPolicyResponse {
            revision: wanted.revision,
            set_hash: wanted.hash().0.to_vec(),
            resources: wire_resources(&wanted, |key| keys.is_empty() || keys.contains(key)),
        })
    })
    .await
}

/// Who changed what when.
///
/// # Errors
/// [`Failure::Denied`].
pub async fn history(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::HistoryRequest,
) -> Result<v1::HistoryResponse, Failure> {
    caller.require(Scope::Read)?;
    let size = if request.page_size == 0 { PAGE_MAX } else { request.page_size.min(PAGE_MAX) };
    let revisions = o.policy.history(request.before_revision, size as usize);
    let info = |revision: &std::sync::Arc<crate::policy::Revision>| {
        let (added, changed, removed) = revision.counts();
        v1::RevisionInfo {
            revision: revision.number,
            at_ms: revision.at_ms,
            actor: revision.actor.clone(),
            reason: revision.reason.clone(),
            added,
            changed,
            removed,
            set_hash: revision.set_hash.0.to_vec(),
            rolled_back_to: revision.rolled_back_to,
        }
    };
    Ok(v1::HistoryResponse { revisions: revisions.iter().map(info).collect() })
}
