//! `/audit`.

use axum::Json;
use axum::extract::State;
use secbeat_proto::v1;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Asker, Query};
use super::moment::Moment;
use super::problem::Problem;
use super::{Rest, hex};
use crate::orchestrator::Orchestrator;
use crate::service::audit;

pub(super) fn routes() -> OpenApiRouter<Rest> {
    OpenApiRouter::new().routes(routes!(list_audit)).routes(routes!(verify_audit))
}

/// Who did what.
#[derive(Debug, Serialize, ToSchema)]
struct AuditEntry {
    number: u64,
    at: Option<Moment>,
    actor: String,
    /// Interface and address.
    #[schema(example = "rest 192.0.2.7:5000")]
    source: String,
    /// policy.apply, ban.add, token.create, ...
    action: String,
    target: String,
    reason: String,
    request_id: String,
    /// ok, or why it was refused.
    outcome: String,
    /// State before; a text where it was too long to be kept whole.
    before: Value,
    /// State after.
    after: Value,
    /// Of the entry before (SHA-256, hex).
    previous_hash: String,
    hash: String,
}

/// A page of the audit log, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct AuditList {
    entries: Vec<AuditEntry>,
    /// For `before_number`; null on the last page.
    next_before_number: Option<u64>,
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    actor: Option<String>,
    action: Option<String>,
    since: Option<Moment>,
    page_size: Option<u32>,
    /// Only entries before this one.
    before_number: Option<u64>,
}

/// Who did what, newest first. Scope `audit:read`.
#[utoipa::path(get, path = "/api/v1/audit", operation_id = "list_audit", tag = "access", params(AuditQuery),
    responses((status = 200, description = "A page of the audit log.", body = AuditList)))]
async fn list_audit(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditList>, Problem> {
    let request = v1::ListAuditRequest {
        page_size: query.page_size.unwrap_or_default(),
        before_number: query.before_number.unwrap_or_default(),
        actor: query.actor.unwrap_or_default(),
        action: query.action.unwrap_or_default(),
        since_ms: Moment::ms(query.since),
    };
    let response = audit::list_audit(&o, &caller, request).await?;
    Ok(Json(AuditList {
        entries: response.entries.into_iter().map(entry).collect(),
        next_before_number: Some(response.next_before_number).filter(|number| *number != 0),
    }))
}

fn entry(entry: v1::AuditEntry) -> AuditEntry {
    AuditEntry {
        number: entry.number,
        at: Moment::of(entry.at_ms),
        actor: entry.actor,
        source: entry.source,
        action: entry.action,
        target: entry.target,
        reason: entry.reason,
        request_id: entry.request_id,
        outcome: entry.outcome,
        before: state(entry.before),
        after: state(entry.after),
        previous_hash: hex(&entry.previous_hash),
        hash: hex(&entry.hash),
    }
}

/// A kept state: JSON, or, where it was cut, the text.
fn state(text: String) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// Whether the audit log is whole.
#[derive(Debug, Serialize, ToSchema)]
struct AuditVerdict {
    is_intact: bool,
    entries: u64,
    /// First entry that does not fit.
    broken_at: Option<u64>,
    /// Hash of the newest entry (SHA-256, hex).
    head_hash: String,
}

/// Recomputes the chain of hashes. Scope `audit:read`.
#[utoipa::path(get, path = "/api/v1/audit/verify", operation_id = "verify_audit", tag = "access",
    responses((status = 200, description = "Whether the log is whole.", body = AuditVerdict)))]
async fn verify_audit(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
) -> Result<Json<AuditVerdict>, Problem> {
    let verdict = audit::verify_audit(&o, &caller, v1::VerifyAuditRequest {}).await?;
    Ok(Json(AuditVerdict {
        is_intact: verdict.is_intact,
        entries: verdict.entries,
        broken_at: Some(verdict.broken_at).filter(|number| *number != 0),
        head_hash: hex(&verdict.head_hash),
    }))
}
