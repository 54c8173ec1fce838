//! `/policies`, `/config/deploy`, `/revisions`, `/rollback`.

mod form;

use axum::Json;
use axum::extract::State;
use axum::http::header::ETAG;
use secbeat_config::policy::Document;
use secbeat_config::policy::wire::{key_to_wire, resource_to_wire};
use secbeat_proto::v1;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use form::{
    Applied, Deploy, HistoryQuery, NewResource, Policy, PolicyChange, PolicyResource, PutResource, Revision,
    RevisionList, RevisionQuery, Rollback, applied, read_key, resource_out, resources_in,
};

use super::asked::{Asker, Body, Change, ChangeHeaders, ChangeQuery, PathPart, Query};
use super::moment::Moment;
use super::problem::Problem;
use super::rollouts::Rollout;
use super::{Rest, hex};
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;
use crate::service::policy;

pub(super) fn routes() -> OpenApiRouter<Rest> {
    OpenApiRouter::new()
        .routes(routes!(get_policies, change_policies))
        .routes(routes!(get_policy, put_policy, delete_policy))
        .routes(routes!(deploy))
        .routes(routes!(list_revisions))
        .routes(routes!(rollback))
}

/// An answer with the revision as `ETag`, for `If-Match`.
type Tagged<T> = ([(axum::http::HeaderName, String); 1], Json<T>);

fn tagged<T>(revision: u64, body: T) -> Tagged<T> {
    ([(ETAG, format!("\"{revision}\""))], Json(body))
}

/// The policy. Scope `read`.
#[utoipa::path(get, path = "/api/v1/policies", operation_id = "get_policies", tag = "policies",
    params(RevisionQuery), responses((status = 200, description = "The policy.", body = Policy)))]
async fn get_policies(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
    Query(query): Query<RevisionQuery>,
) -> Result<Tagged<Policy>, Problem> {
    let request = v1::GetPolicyRequest { keys: Vec::new(), revision: query.revision.unwrap_or_default() };
    let response = policy::get(&o, &caller, request).await?;
    let resources: Result<_, Problem> = response.resources.iter().map(resource_out).collect();
    let body =
        Policy { revision: response.revision, set_hash: hex(&response.set_hash), resources: resources? };
    Ok(tagged(response.revision, body))
}

/// One resource of the policy. Scope `read`.
#[utoipa::path(get, path = "/api/v1/policies/{id}", operation_id = "get_policy", tag = "policies",
    params(("id" = String, Path, description = "`kind:name`", example = "filter-set:edge"), RevisionQuery),
    responses((status = 200, description = "The resource.", body = PolicyResource)))]
async fn get_policy(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
    PathPart(id): PathPart,
    Query(query): Query<RevisionQuery>,
) -> Result<Tagged<PolicyResource>, Problem> {
    let key = read_key(&id)?;
    let request =
        v1::GetPolicyRequest { keys: vec![key_to_wire(&key)], revision: query.revision.unwrap_or_default() };
    let response = policy::get(&o, &caller, request).await?;
    let found = response.resources.first();
    let found = found.ok_or_else(|| Failure::NotFound(format!("the policy has no {key}")))?;
    Ok(tagged(response.revision, resource_out(found)?))
}

/// Writes and removes resources, in one revision. Scope `policy:write`.
#[utoipa::path(post, path = "/api/v1/policies", operation_id = "change_policies", tag = "policies",
    params(ChangeQuery, ChangeHeaders), request_body = PolicyChange,
    responses((status = 200, description = "What changed.", body = Applied)))]
async fn change_policies(
    State(o): State<Orchestrator>,
    change: Change,
    Body(body): Body<PolicyChange>,
) -> Result<Tagged<Applied>, Problem> {
    let removals: Result<Vec<_>, Problem> =
        body.removals.iter().map(|id| Ok(key_to_wire(&read_key(id)?))).collect();
    let request = v1::ApplyRequest {
        mutation: change.mutation(body.reason),
        upserts: resources_in(body.upserts)?,
        removals: removals?,
        prune: false,
        rollout: body.rollout.map(Rollout::wire),
        rollback_after_ms: body.rollback_after_ms,
    };
    apply(&o, &change, request).await
}

/// Writes one resource, whether it exists or not. Scope `policy:write`.
#[utoipa::path(put, path = "/api/v1/policies/{id}", operation_id = "put_policy", tag = "policies",
    params(("id" = String, Path, description = "`kind:name`", example = "list:office"), ChangeQuery, ChangeHeaders),
    request_body = PutResource,
    responses((status = 200, description = "What changed.", body = Applied)))]
async fn put_policy(
    State(o): State<Orchestrator>,
    change: Change,
    PathPart(id): PathPart,
    Body(body): Body<PutResource>,
) -> Result<Tagged<Applied>, Problem> {
    let request = v1::ApplyRequest {
        mutation: change.mutation(body.reason),
        upserts: resources_in(vec![NewResource { id, body: body.body }])?,
        removals: Vec::new(),
        prune: false,
        rollout: body.rollout.map(Rollout::wire),
        rollback_after_ms: body.rollback_after_ms,
    };
    apply(&o, &change, request).await
}

/// Removes one resource. Scope `policy:write`.
#[utoipa::path(delete, path = "/api/v1/policies/{id}", operation_id = "delete_policy", tag = "policies",
    params(("id" = String, Path, description = "`kind:name`", example = "list:office"), ChangeQuery, ChangeHeaders),
    responses((status = 200, description = "What changed.", body = Applied)))]
async fn delete_policy(
    State(o): State<Orchestrator>,
    change: Change,
    PathPart(id): PathPart,
) -> Result<Tagged<Applied>, Problem> {
    let request = v1::ApplyRequest {
        mutation: change.mutation(None),
        removals: vec![key_to_wire(&read_key(&id)?)],
        ..v1::ApplyRequest::default()
    };
    apply(&o, &change, request).await
}

/// Deploys a whole policy: resources that are not in it are removed. Scope `policy:write`.
#[utoipa::path(post, path = "/api/v1/config/deploy", operation_id = "deploy", tag = "policies",
    params(ChangeQuery, ChangeHeaders), request_body = Deploy,
    responses((status = 200, description = "What changed.", body = Applied)))]
async fn deploy(
    State(o): State<Orchestrator>,
    change: Change,
    Body(body): Body<Deploy>,
) -> Result<Tagged<Applied>, Problem> {
    let upserts = match (body.toml, body.resources) {
        (Some(text), None) => {
            let document =
                Document::parse("policy", &text).map_err(|errors| Failure::Invalid(errors.to_string()))?;
            if !document.bans.is_empty() {
                return Err(Failure::Invalid("[[bans]]: bans are set at /api/v1/bans".into()).into());
            }
            document.resources.iter().map(|resource| resource_to_wire(resource, 0)).collect()
        }
        (None, Some(resources)) => resources_in(resources)?,
        _ => return Err(Failure::Invalid("give either `toml` or `resources`".into()).into()),
    };
    let request = v1::ApplyRequest {
        mutation: change.mutation(body.reason),
        upserts,
        removals: Vec::new(),
        prune: true,
        rollout: body.rollout.map(Rollout::wire),
        rollback_after_ms: body.rollback_after_ms,
    };
    apply(&o, &change, request).await
}

/// Earlier states of the policy, newest first. Scope `read`.
#[utoipa::path(get, path = "/api/v1/revisions", operation_id = "list_revisions", tag = "policies",
    params(HistoryQuery), responses((status = 200, description = "A page of revisions.", body = RevisionList)))]
async fn list_revisions(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<RevisionList>, Problem> {
    let request = v1::HistoryRequest {
        page_size: query.page_size.unwrap_or_default(),
        before_revision: query.before_revision.unwrap_or_default(),
    };
    let response = policy::history(&o, &caller, request).await?;
    let revision = |info: v1::RevisionInfo| Revision {
        revision: info.revision,
        at: Moment::of(info.at_ms),
        actor: info.actor,
        reason: info.reason,
        added: info.added,
        changed: info.changed,
        removed: info.removed,
        set_hash: hex(&info.set_hash),
        rolled_back_to: Some(info.rolled_back_to).filter(|revision| *revision != 0),
    };
    Ok(Json(RevisionList { revisions: response.revisions.into_iter().map(revision).collect() }))
}

/// Makes the policy of an earlier revision the newest one. Scope `policy:write`.
#[utoipa::path(post, path = "/api/v1/rollback", operation_id = "rollback", tag = "policies",
    params(ChangeQuery, ChangeHeaders), request_body = Rollback,
    responses((status = 200, description = "What changed.", body = Applied)))]
async fn rollback(
    State(o): State<Orchestrator>,
    change: Change,
    Body(body): Body<Rollback>,
) -> Result<Tagged<Applied>, Problem> {
    let request = v1::RollbackRequest {
        mutation: change.mutation(body.reason),
        to_revision: body.to_revision,
        rollout: body.rollout.map(Rollout::wire),
    };
    let response = policy::rollback(&o, &change.caller, request).await?;
    Ok(tagged(response.revision, applied(response)))
}

async fn apply(
    o: &Orchestrator,
    change: &Change,
    request: v1::ApplyRequest,
) -> Result<Tagged<Applied>, Problem> {
    let response = policy::apply(o, &change.caller, request).await?;
    Ok(tagged(response.revision, applied(response)))
}
