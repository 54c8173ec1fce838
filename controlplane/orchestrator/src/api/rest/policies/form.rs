//! The forms of JSON of `/policies`, and their conversion.

use std::collections::BTreeMap;

use secbeat_config::policy::wire::{key_from_wire, resource_to_wire};
use secbeat_config::policy::{Key, Resource, ResourceError};
use secbeat_proto::v1;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::api::rest::moment::Moment;
use crate::api::rest::problem::Problem;
use crate::api::rest::rollouts::Rollout;
use crate::api::rest::{hex, some_text};
use crate::failure::Failure;

/// A resource of the policy.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PolicyResource {
    /// `kind:name`, as in paths.
    #[schema(example = "filter-set:edge")]
    pub(super) id: String,
    /// backend-group, list, filter-set, limits, waf-set, listener
    pub(super) kind: String,
    pub(super) name: String,
    /// Counts changes of this resource, from 1.
    pub(super) version: u64,
    /// SHA-256 over kind, name and body, hex.
    pub(super) hash: String,
    /// The keys of the resource, as in a policy file.
    pub(super) body: BTreeMap<String, Value>,
}

/// The policy at a revision.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Policy {
    pub(super) revision: u64,
    /// Hash of the whole set (SHA-256, hex).
    pub(super) set_hash: String,
    pub(super) resources: Vec<PolicyResource>,
}

/// Which state of the policy.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RevisionQuery {
    /// An earlier revision; absent: the newest.
    pub(super) revision: Option<u64>,
}

/// A resource to be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewResource {
    /// `kind:name`
    #[schema(example = "list:office")]
    pub(super) id: String,
    /// The keys of the resource, as in a policy file.
    #[schema(example = json!({ "action": "allow", "prefixes": ["198.51.100.0/24"] }))]
    pub(super) body: BTreeMap<String, Value>,
}

/// Resources to be written and removed, in one revision.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyChange {
    #[serde(default)]
    pub(super) upserts: Vec<NewResource>,
    /// Ids of resources to be removed.
    #[serde(default)]
    pub(super) removals: Vec<String>,
    pub(super) rollout: Option<Rollout>,
    /// Taken back by itself after so many milliseconds unless confirmed.
    #[serde(default)]
    pub(super) rollback_after_ms: u64,
    pub(super) reason: Option<String>,
}

/// What a resource shall be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutResource {
    /// The keys of the resource, as in a policy file.
    #[schema(example = json!({ "action": "allow", "prefixes": ["198.51.100.0/24"] }))]
    pub(super) body: BTreeMap<String, Value>,
    pub(super) rollout: Option<Rollout>,
    /// Taken back by itself after so many milliseconds unless confirmed.
    #[serde(default)]
    pub(super) rollback_after_ms: u64,
    pub(super) reason: Option<String>,
}

/// A whole policy: what is not in it is removed. Give `toml` or `resources`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "toml": "[[lists]]\nname = \"office\"\naction = \"allow\"\nprefixes = [\"198.51.100.0/24\"]\n",
    "rollout": { "strategy": "canary" }
}))]
pub(super) struct Deploy {
    /// A policy file.
    pub(super) toml: Option<String>,
    pub(super) resources: Option<Vec<NewResource>>,
    pub(super) rollout: Option<Rollout>,
    /// Taken back by itself after so many milliseconds unless confirmed.
    #[serde(default)]
    pub(super) rollback_after_ms: u64,
    pub(super) reason: Option<String>,
}

/// What a change does to one field.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FieldChange {
    #[schema(example = "rules[id=deny-ssh].action")]
    pub(super) path: String,
    /// Null when it was not there.
    pub(super) before: Value,
    /// Null when it is not there any more.
    pub(super) after: Value,
}

/// What a change does to one resource.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ResourceChange {
    pub(super) id: String,
    /// added, changed, removed
    pub(super) action: String,
    pub(super) version: u64,
    pub(super) fields: Vec<FieldChange>,
    /// Fields beyond the limit of an answer.
    pub(super) fields_omitted: u32,
}

/// What a change did, or would do.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Applied {
    /// Revision after this; unchanged when nothing changed, or in a dry run.
    pub(super) revision: u64,
    pub(super) changes: Vec<ResourceChange>,
    /// Null when nothing is to be rolled out.
    pub(super) rollout_id: Option<String>,
    pub(super) warnings: Vec<String>,
}

/// A revision of the policy.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Revision {
    pub(super) revision: u64,
    pub(super) at: Option<Moment>,
    pub(super) actor: String,
    pub(super) reason: String,
    pub(super) added: u32,
    pub(super) changed: u32,
    pub(super) removed: u32,
    pub(super) set_hash: String,
    /// The revision whose content this one brought back.
    pub(super) rolled_back_to: Option<u64>,
}

/// A page of revisions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevisionList {
    pub(super) revisions: Vec<Revision>,
}

/// Which revisions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    pub(super) page_size: Option<u32>,
    /// Only revisions before this one.
    pub(super) before_revision: Option<u64>,
}

/// Which revision comes back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollback {
    pub(super) to_revision: u64,
    pub(super) rollout: Option<Rollout>,
    pub(super) reason: Option<String>,
}

pub(super) fn read_key(id: &str) -> Result<Key, Problem> {
    id.parse().map_err(|error: ResourceError| Failure::Invalid(error.to_string()).into())
}

/// Checks every resource, and tells every mistake at once.
pub(super) fn resources_in(resources: Vec<NewResource>) -> Result<Vec<v1::Resource>, Problem> {
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

pub(super) fn resource_out(resource: &v1::Resource) -> Result<PolicyResource, Problem> {
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

pub(super) fn applied(response: v1::ApplyResponse) -> Applied {
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
        rollout_id: some_text(response.rollout_id),
        warnings: response.warnings,
    }
}
