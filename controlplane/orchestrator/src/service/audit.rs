//! Use cases of the audit log.

use secbeat_proto::v1;

use super::blocking;
use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;

/// Entries of a page that names no size.
const PAGE_SIZE: u32 = 100;

/// Entries, newest first.
///
/// # Errors
/// `Denied`, what the store says.
pub async fn list_audit(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::ListAuditRequest,
) -> Result<v1::ListAuditResponse, Failure> {
    caller.require(Scope::AuditRead)?;
    let audit = o.audit.clone();
    let count_max = if request.page_size == 0 { PAGE_SIZE } else { request.page_size } as usize;
    blocking(move || {
        let matches = |entry: &v1::AuditEntry| {
            entry.at_ms >= request.since_ms
                && (request.actor.is_empty() || entry.actor == request.actor)
                && (request.action.is_empty() || entry.action.starts_with(&request.action))
        };
        let (entries, next_before_number) = audit.page(request.before_number, count_max, matches)?;
        Ok(v1::ListAuditResponse { entries, next_before_number })
    })
    .await
}

/// Computes the chain of hashes again.
///
/// # Errors
/// `Denied`, what the store says.
pub async fn verify_audit(
    o: &Orchestrator,
    caller: &Caller,
    _request: v1::VerifyAuditRequest,
) -> Result<v1::VerifyAuditResponse, Failure> {
    caller.require(Scope::AuditRead)?;
    let audit = o.audit.clone();
    let verified = blocking(move || audit.verify()).await?;
    Ok(v1::VerifyAuditResponse {
        is_intact: verified.broken_at.is_none(),
        entries: verified.entries,
        broken_at: verified.broken_at.unwrap_or(0),
        head_hash: verified.head_hash.to_vec(),
    })
}
