//! `/policies`, `/config/deploy`, `/revisions`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::header::ETAG;
use secbeat_config::policy::wire::{key_from_wire, key_to_wire, resource_to_wire};
use secbeat_config::policy::{Document, Key, Resource};
use secbeat_proto::v1;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

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

/// A resource of the policy.
#[derive(Debug, Serialize, ToSchema)]
struct PolicyResource {
    /// `kind:name`, as in paths.
    #[schema(example = "filter-set:edge")]
    id: String,
    /// backend-group, list, filter-set, limits, waf-set, listener
    kind: String,
    name: String,
    /// Counts changes of this resource, from 1.
    version: u64,
    /// SHA-256 over kind, name and body, hex.
    hash: String,
    /// The keys of the resource, as in a policy file.
    body: BTreeMap<String, Value>,
}

/// The policy at a revision.
#[derive(Debug, Serialize, ToSchema)]
struct Policy {
    revision: u64,
    /// Hash of the whole set (SHA-256, hex).
    set_hash: String,
    resources: Vec<PolicyResource>,
}

/// Which state of the policy.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RevisionQuery {
    /// An earlier revision; absent: the newest.
    revision: Option<u64>,
}

/// A resource to be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewResource {
    /// `kind:name`
    #[schema(example = "list:office")]
    id: String,
    /// The keys of the resource, as in a policy file.
    #[schema(example = json!({ "action": "allow", "prefixes": ["198.51.100.0/24"] }))]
    body: BTreeMap<String, Value>,
}

/// Resources to be written and removed, in one revision.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PolicyChange {
    #[serde(default)]
    upserts: Vec<NewResource>,
    /// Ids of resources to be removed.
    #[serde(default)]
    removals: Vec<String>,
    rollout: Option<Rollout>,
    /// Taken back by itself after so many milliseconds unless confirmed.
    #[serde(default)]
    rollback_after_ms: u64,
    reason: Option<String>,
}

/// What a resource shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PutResource {
    /// The keys of the resource, as in a policy file.
    #[schema(example = json!({ "action": "allow", "prefixes": ["198.51.100.0/24"] }))]
    body: BTreeMap<String, Value>,
    rollout: Option<Rollout>,
    /// Taken back by itself after so many milliseconds unless confirmed.
    #[serde(default)]
    rollback_after_ms: u64,
    reason: Option<String>,
}

/// A whole policy: what is not in it is removed. Give `toml` or `resources`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "toml": "[[lists]]\nname = \"office\"\naction = \"allow\"\nprefixes = [\"198.51.100.0/24\"]\n",
    "rollout": { "strategy": "canary" }
}))]
struct Deploy {
    /// A policy file.
    toml: Option<String>,
    resources: Option<Vec<NewResource>>,
    rollout: Option<Rollout>,
    /// Taken back by itself after so many milliseconds unless confirmed.
    #[serde(default)]
    rollback_after_ms: u64,
    reason: Option<String>,
}

/// What a change does to one field.
#[derive(Debug, Serialize, ToSchema)]
struct FieldChange {
    #[schema(example = "rules[id=deny-ssh].action")]
    path: String,
    /// Null when it was not there.
    before: Value,
    /// Null when it is not there any more.
    after: Value,
}

/// What a change does to one resource.
#[derive(Debug, Serialize, ToSchema)]
struct ResourceChange {
    id: String,
    /// added, changed, removed
    action: String,
    version: u64,
    fields: Vec<FieldChange>,
    /// Fields beyond the limit of an answer.
    fields_omitted: u32,
}

/// What a change did, or would do.
#[derive(Debug, Serialize, ToSchema)]
struct Applied {
    /// Revision after this; unchanged when nothing changed, or in a dry run.
    revision: u64,
    changes: Vec<ResourceChange>,
    /// Null when nothing is to be rolled out.
    rollout_id: Option<String>,
    warnings: Vec<String>,
}

/// A revision of the policy.
#[derive(Debug, Serialize, ToSchema)]
struct Revision {
    revision: u64,
    at: Option<Moment>,
    actor: String,
    reason: String,
    added: u32,
    changed: u32,
    removed: u32,
    set_hash: String,
    /// The revision whose content this one brought back.
    rolled_back_to: Option<u64>,
}

/// A page of revisions, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct RevisionList {
    revisions: Vec<Revision>,
}

/// Which revisions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    page_size: Option<u32>,
    /// Only revisions before this one.
    before_revision: Option<u64>,
}

/// Which revision comes back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rollback {
    to_revision: u64,
    rollout: Option<Rollout>,
    reason: Option<String>,
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

fn read_key(id: &str) -> Result<Key, Problem> {
    id.parse()
        .map_err(|error: secbeat_config::policy::ResourceError| Failure::Invalid(error.to_string()).into())
}

/// Checks every resource, and tells every mistake at once.
fn resources_in(resources: Vec<NewResource>) -> Result<Vec<v1::Resource>, Problem> {
    let mut errors = Vec::new();
    let mut read = Vec::with_capacity(resources.len());
    for resource in resources {
        let body = serde_json::to_string(&resource.body).unwrap_or_default();
        let parsed = resource.id.parse().and_then(|key: Key| Resource::parse(key, &body));
        match parsed {
            Ok(resource) => read.push(resource_to_wire(&resource, 0)),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { Ok(read) } else { Err(Failure::Invalid(errors.join("\n")).into()) }
}

fn resource_out(resource: &v1::Resource) -> Result<PolicyResource, Problem> {
    let wrong = |why: String| Problem::from(Failure::Internal(format!("a resource of the store: {why}")));
    let key = key_from_wire(resource.key.as_ref()).map_err(|error| wrong(error.to_string()))?;
    Ok(PolicyResource {
        id: format!("{}:{}", key.kind, key.name),
        kind: key.kind.word().into(),
        name: key.name.to_string(),
        version: resource.version,
        hash: hex(&resource.hash),
        body: serde_json::from_slice(&resource.body).map_err(|error| wrong(error.to_string()))?,
    })
}

fn applied(response: v1::ApplyResponse) -> Applied {
    let json = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    let field = |field: v1::FieldChange| FieldChange {
        before: json(&field.before),
        after: json(&field.after),
        path: field.path,
    };
    let change = |change: v1::ResourceChange| ResourceChange {
        id: key_from_wire(change.key.as_ref())
            .map_or_else(|_| String::new(), |k| format!("{}:{}", k.kind, k.name)),
        action: change.action().as_str_name().trim_start_matches("ACTION_").to_ascii_lowercase(),
        version: change.version,
        fields_omitted: change.fields_omitted,
        fields: change.fields.into_iter().map(field).collect(),
    };
    Applied {
        revision: response.revision,
        changes: response.changes.into_iter().map(change).collect(),
        rollout_id: super::some_text(response.rollout_id),
        warnings: response.warnings,
    }
}
