//! `/rollouts`.

use axum::Json;
use axum::extract::State;
use secbeat_config::policy::wire::key_from_wire;
use secbeat_proto::v1;
use secbeat_proto::v1::rollout::Strategy as WireStrategy;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::asked::{Asker, Change, ChangeHeaders, ChangeQuery, PathPart};
use super::moment::Moment;
use super::problem::Problem;
use crate::orchestrator::Orchestrator;
use crate::service::policy;

pub(super) fn routes() -> OpenApiRouter<Rest> {
    OpenApiRouter::new()
        .routes(routes!(get_rollout))
        .routes(routes!(confirm_rollout))
        .routes(routes!(cancel_rollout))
}

/// Which nodes get a change when.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Strategy {
    /// Every node at once.
    #[default]
    All,
    /// One node, 10 %, 50 %, all; each step when the one before is healthy.
    Canary,
}

/// How a change gets to the fleet.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollout {
    #[serde(default)]
    strategy: Strategy,
    /// How long each step is watched, in milliseconds; 0: as configured.
    #[serde(default)]
    step_hold_ms: u64,
    /// Which node is first; absent: the orchestrator chooses.
    canary_node_id: Option<String>,
}

impl Rollout {
    pub(super) fn wire(self) -> v1::Rollout {
        let strategy = match self.strategy {
            Strategy::All => WireStrategy::All,
            Strategy::Canary => WireStrategy::Canary,
        };
        v1::Rollout {
            strategy: strategy as i32,
            step_hold_ms: self.step_hold_ms,
            canary_node_id: self.canary_node_id.unwrap_or_default(),
        }
    }
}

/// What a node refused.
#[derive(Debug, Serialize, ToSchema)]
struct Rejection {
    node_id: String,
    /// `kind:name`
    resource: String,
    error: String,
}

/// How far a change is.
#[derive(Debug, Serialize, ToSchema)]
struct RolloutStatus {
    id: String,
    revision: u64,
    previous_revision: u64,
    /// running, awaiting_confirmation, done, rolled_back, superseded
    state: String,
    /// Of `steps`, from 0.
    step: u32,
    steps: u32,
    nodes_total: u32,
    nodes_sent: u32,
    nodes_applied: u32,
    nodes_rejected: u32,
    nodes_unreachable: u32,
    rejections: Vec<Rejection>,
    /// Why it was taken back, or what it waits for.
    explanation: String,
    /// When it is taken back unless confirmed.
    rollback_at: Option<Moment>,
    started_at: Option<Moment>,
    ended_at: Option<Moment>,
}

impl From<v1::RolloutStatus> for RolloutStatus {
    fn from(status: v1::RolloutStatus) -> Self {
        let rejection = |rejection: v1::NodeRejection| Rejection {
            node_id: rejection.node_id,
            resource: key_from_wire(rejection.key.as_ref())
                .map_or_else(|_| String::new(), |key| format!("{}:{}", key.kind, key.name)),
            error: rejection.error,
        };
        Self {
            state: status.state().as_str_name().trim_start_matches("STATE_").to_ascii_lowercase(),
            id: status.rollout_id,
            revision: status.revision,
            previous_revision: status.previous_revision,
            step: status.step,
            steps: status.steps,
            nodes_total: status.nodes_total,
            nodes_sent: status.nodes_sent,
            nodes_applied: status.nodes_applied,
            nodes_rejected: status.nodes_rejected,
            nodes_unreachable: status.nodes_unreachable,
            rejections: status.rejections.into_iter().map(rejection).collect(),
            explanation: status.explanation,
            rollback_at: Moment::of(status.rollback_at_ms),
            started_at: Moment::of(status.started_ms),
            ended_at: Moment::of(status.ended_ms),
        }
    }
}

/// The id in the path that means the newest rollout.
fn id_of(part: String) -> String {
    if part == "latest" { String::new() } else { part }
}

/// How far a change is. Scope `read`.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}", operation_id = "get_rollout", tag = "policies",
    params(("id" = String, Path, description = "The rollout's id, or `latest`.")),
    responses((status = 200, description = "The rollout.", body = RolloutStatus)))]
async fn get_rollout(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
    PathPart(id): PathPart,
) -> Result<Json<RolloutStatus>, Problem> {
    let request = v1::GetRolloutRequest { rollout_id: id_of(id) };
    Ok(Json(policy::get_rollout(&o, &caller, request).await?.into()))
}

/// Lets a change stay that would be taken back by itself. Scope `policy:write`.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/confirm", operation_id = "confirm_rollout", tag = "policies",
    params(("id" = String, Path, description = "The rollout's id, or `latest`."), ChangeQuery, ChangeHeaders),
    responses((status = 200, description = "The rollout.", body = RolloutStatus)))]
async fn confirm_rollout(
    State(o): State<Orchestrator>,
    change: Change,
    PathPart(id): PathPart,
) -> Result<Json<RolloutStatus>, Problem> {
    let request = v1::ConfirmRequest { mutation: change.mutation(None), rollout_id: id_of(id) };
    Ok(Json(policy::confirm(&o, &change.caller, request).await?.into()))
}

/// Takes the running change back now. Scope `policy:write`.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/cancel", operation_id = "cancel_rollout", tag = "policies",
    params(("id" = String, Path, description = "The rollout's id, or `latest`."), ChangeQuery, ChangeHeaders),
    responses((status = 200, description = "The rollout.", body = RolloutStatus)))]
async fn cancel_rollout(
    State(o): State<Orchestrator>,
    change: Change,
    PathPart(id): PathPart,
) -> Result<Json<RolloutStatus>, Problem> {
    let request = v1::CancelRequest { mutation: change.mutation(None), rollout_id: id_of(id) };
    Ok(Json(policy::cancel(&o, &change.caller, request).await?.into()))
}
