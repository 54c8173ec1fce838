//! `/fleet`, `/scale`, `/cleanup`, `/info`.

use axum::Json;
use axum::extract::State;
use secbeat_proto::v1;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::asked::{Asker, Body, Change, ChangeHeaders, ChangeQuery};
use super::moment::Moment;
use super::problem::Problem;
use crate::orchestrator::Orchestrator;
use crate::service::fleet;

pub(super) fn routes() -> OpenApiRouter<Rest> {
    OpenApiRouter::new()
        .routes(routes!(get_fleet_stats))
        .routes(routes!(get_node_stats))
        .routes(routes!(scale_fleet))
        .routes(routes!(scale_nodes))
        .routes(routes!(cleanup))
        .routes(routes!(get_info))
}

/// How much a node, or the fleet, has to do.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Load {
    cpu_percent: f64,
    memory_bytes: u64,
    connections: u64,
    requests_per_second: f64,
    packets_per_second: f64,
    bits_per_second_in: f64,
    bits_per_second_out: f64,
    drops_per_second: f64,
    /// Share of validated traffic that was dropped, 0 to 1.
    validated_drop_share: f64,
    /// Share of answers 5xx, 0 to 1.
    server_error_share: f64,
    attacks_active: u64,
}

impl From<v1::NodeLoad> for Load {
    fn from(load: v1::NodeLoad) -> Self {
        // JSON has no infinity.
        let finite = |value: f64| if value.is_finite() { value } else { 0.0 };
        Self {
            cpu_percent: finite(load.cpu_percent),
            memory_bytes: load.memory_bytes,
            connections: load.connections,
            requests_per_second: finite(load.requests_per_second),
            packets_per_second: finite(load.packets_per_second),
            bits_per_second_in: finite(load.bits_per_second_in),
            bits_per_second_out: finite(load.bits_per_second_out),
            drops_per_second: finite(load.drops_per_second),
            validated_drop_share: finite(load.validated_drop_share),
            server_error_share: finite(load.server_error_share),
            attacks_active: load.attacks_active,
        }
    }
}

/// Nodes by state.
#[derive(Debug, Serialize, ToSchema)]
struct NodeStats {
    total: u32,
    starting: u32,
    active: u32,
    draining: u32,
    dead: u32,
    /// With an open stream now.
    connected: u32,
    /// That hold the whole policy they should.
    in_sync: u32,
    /// Sums over connected nodes; cpu and shares are means.
    load: Load,
}

/// The fleet as a whole.
#[derive(Debug, Serialize, ToSchema)]
struct FleetStats {
    nodes: NodeStats,
    policy_revision: u64,
    bans: u64,
    events_stored: u64,
    events_lost: u64,
    attacks_active: u64,
    /// How long the orchestrator runs, in milliseconds.
    uptime_ms: u64,
}

impl From<&v1::FleetStats> for NodeStats {
    fn from(stats: &v1::FleetStats) -> Self {
        Self {
            total: stats.nodes_total,
            starting: stats.nodes_starting,
            active: stats.nodes_active,
            draining: stats.nodes_draining,
            dead: stats.nodes_dead,
            connected: stats.nodes_connected,
            in_sync: stats.nodes_in_sync,
            load: stats.load.unwrap_or_default().into(),
        }
    }
}

/// The fleet as a whole. Scope `read`.
#[utoipa::path(get, path = "/api/v1/fleet/stats", operation_id = "get_fleet_stats", tag = "nodes",
    responses((status = 200, description = "The fleet in numbers.", body = FleetStats)))]
async fn get_fleet_stats(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
) -> Result<Json<FleetStats>, Problem> {
    let stats = fleet::get_fleet_stats(&o, &caller, v1::GetFleetStatsRequest {}).await?;
    Ok(Json(FleetStats {
        nodes: (&stats).into(),
        policy_revision: stats.policy_revision,
        bans: stats.bans,
        events_stored: stats.events_stored,
        events_lost: stats.events_lost,
        attacks_active: stats.attacks_active,
        uptime_ms: stats.uptime_ms,
    }))
}

/// Nodes by state, and their load. Scope `read`.
#[utoipa::path(get, path = "/api/v1/nodes/stats", operation_id = "get_node_stats", tag = "nodes",
    responses((status = 200, description = "The nodes in numbers.", body = NodeStats)))]
async fn get_node_stats(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
) -> Result<Json<NodeStats>, Problem> {
    let stats = fleet::get_fleet_stats(&o, &caller, v1::GetFleetStatsRequest {}).await?;
    Ok(Json((&stats).into()))
}

/// How many nodes there shall be: a number, or a difference.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "delta": 2, "reason": "before the sale" }))]
pub(super) struct Scale {
    /// Wanted number.
    nodes: Option<u32>,
    /// More, or fewer when negative.
    delta: Option<i32>,
    reason: Option<String>,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Scaled {
    nodes_now: u32,
    nodes_wanted: u32,
    /// Number of the delivery to the webhook.
    delivery_id: String,
    /// HTTP status of the receiver; 0 in a dry run.
    receiver_status: u32,
    /// What the receiver said.
    message: String,
}

pub(super) async fn scale(
    o: &Orchestrator,
    change: &Change,
    body: Scale,
    node_id: String,
) -> Result<Json<Scaled>, Problem> {
    if body.nodes.is_some() == body.delta.is_some() {
        return Err(crate::failure::Failure::Invalid("give either `nodes` or `delta`".into()).into());
    }
    let request = v1::ScaleRequest {
        mutation: change.mutation(body.reason),
        nodes: body.nodes.unwrap_or_default(),
        delta: body.delta.unwrap_or_default(),
        node_id,
    };
    let response = fleet::scale(o, &change.caller, request).await?;
    Ok(Json(Scaled {
        nodes_now: response.nodes_now,
        nodes_wanted: response.nodes_wanted,
        delivery_id: response.delivery_id,
        receiver_status: response.status,
        message: response.message,
    }))
}

/// Asks the configured webhook for more or fewer nodes. Scope `fleet:write`.
#[utoipa::path(post, path = "/api/v1/scale", operation_id = "scale_fleet", tag = "nodes",
    params(ChangeQuery, ChangeHeaders), request_body = Scale,
    responses((status = 200, description = "What the receiver said.", body = Scaled)))]
async fn scale_fleet(
    State(o): State<Orchestrator>,
    change: Change,
    Body(body): Body<Scale>,
) -> Result<Json<Scaled>, Problem> {
    scale(&o, &change, body, String::new()).await
}

/// The same as `/scale`. Scope `fleet:write`.
#[utoipa::path(post, path = "/api/v1/nodes/scale", operation_id = "scale_nodes", tag = "nodes",
    params(ChangeQuery, ChangeHeaders), request_body = Scale,
    responses((status = 200, description = "What the receiver said.", body = Scaled)))]
async fn scale_nodes(
    State(o): State<Orchestrator>,
    change: Change,
    Body(body): Body<Scale>,
) -> Result<Json<Scaled>, Problem> {
    scale(&o, &change, body, String::new()).await
}

/// What is to be forgotten.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Cleanup {
    /// Nodes that are dead for so long, in milliseconds. Absent: as configured.
    dead_for_ms: Option<u64>,
    /// Events older than this, in milliseconds. Absent: as configured.
    events_older_than_ms: Option<u64>,
    reason: Option<String>,
}

/// What was forgotten.
#[derive(Debug, Serialize, ToSchema)]
struct Cleaned {
    nodes_removed: u64,
    events_removed: u64,
    bans_removed: u64,
    revisions_removed: u64,
}

/// Forgets dead nodes, old events, ended bans, old revisions. Scope `fleet:write`.
#[utoipa::path(post, path = "/api/v1/cleanup", operation_id = "cleanup", tag = "service",
    params(ChangeQuery, ChangeHeaders), request_body = Cleanup,
    responses((status = 200, description = "What was forgotten.", body = Cleaned)))]
async fn cleanup(
    State(o): State<Orchestrator>,
    change: Change,
    Body(body): Body<Cleanup>,
) -> Result<Json<Cleaned>, Problem> {
    let request = v1::CleanupRequest {
        mutation: change.mutation(body.reason),
        dead_for_ms: body.dead_for_ms.unwrap_or_default(),
        events_older_than_ms: body.events_older_than_ms.unwrap_or_default(),
    };
    let response = fleet::cleanup(&o, &change.caller, request).await?;
    Ok(Json(Cleaned {
        nodes_removed: response.nodes_removed,
        events_removed: response.events_removed,
        bans_removed: response.bans_removed,
        revisions_removed: response.revisions_removed,
    }))
}

/// Who answers, and who asks.
#[derive(Debug, Serialize, ToSchema)]
struct Info {
    orchestrator_id: String,
    version: String,
    started_at: Option<Moment>,
    store_schema: u64,
    store_bytes: u64,
    /// Who the caller is, and what it may do.
    principal: String,
    scopes: Vec<String>,
}

/// Who answers, and who asks. For every caller.
#[utoipa::path(get, path = "/api/v1/info", operation_id = "get_info", tag = "service",
    responses((status = 200, description = "Orchestrator and caller.", body = Info)))]
async fn get_info(State(o): State<Orchestrator>, Asker(caller): Asker) -> Result<Json<Info>, Problem> {
    let info = fleet::get_server_info(&o, &caller, v1::GetServerInfoRequest {}).await?;
    Ok(Json(Info {
        orchestrator_id: info.orchestrator_id,
        version: info.version,
        started_at: Moment::of(info.started_ms),
        store_schema: info.store_schema,
        store_bytes: info.store_bytes,
        principal: info.principal,
        scopes: info.scopes,
    }))
}
