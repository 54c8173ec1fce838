//! `/nodes`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use secbeat_config::policy::wire::key_from_wire;
use secbeat_proto::v1;
use secbeat_proto::v1::command::{Drain, Kind, Restart};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Asker, Body, Change, ChangeHeaders, ChangeQuery, PathPart, Query};
use super::fleet::{Load, Scale, Scaled, scale};
use super::moment::Moment;
use super::problem::Problem;
use super::words;
use super::{Rest, WAIT_MS_MAX, hex};
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;
use crate::service::fleet;

pub(super) fn routes() -> OpenApiRouter<Rest> {
    OpenApiRouter::new()
        .routes(routes!(list_nodes))
        .routes(routes!(get_node))
        .routes(routes!(get_node_metrics))
        .routes(routes!(restart_node))
        .routes(routes!(drain_node))
        .routes(routes!(scale_node))
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum NodeState {
    Unknown,
    Starting,
    Active,
    Draining,
    Dead,
}

impl NodeState {
    const ALL: [(&'static str, v1::NodeState, Self); 4] = [
        ("starting", v1::NodeState::Starting, Self::Starting),
        ("active", v1::NodeState::Active, Self::Active),
        ("draining", v1::NodeState::Draining, Self::Draining),
        ("dead", v1::NodeState::Dead, Self::Dead),
    ];

    fn of(state: v1::NodeState) -> Self {
        Self::ALL.iter().find(|(_, wire, _)| *wire == state).map_or(Self::Unknown, |(_, _, state)| *state)
    }
}

/// A node of the fleet.
#[derive(Debug, Serialize, ToSchema)]
struct Node {
    /// UUID.
    id: String,
    hostname: String,
    address: String,
    state: NodeState,
    /// Whether a stream is open now.
    is_connected: bool,
    version: String,
    mode: String,
    driver: String,
    registered_at: Option<Moment>,
    last_seen_at: Option<Moment>,
    started_at: Option<Moment>,
    /// Whether it holds the whole policy it should.
    is_in_sync: bool,
    /// Hash of the policy it holds, and of the one it should hold (SHA-256, hex).
    applied_hash: String,
    wanted_hash: String,
    applied_revision: u64,
    load: Option<Load>,
    /// Its clock minus ours, in milliseconds.
    clock_skew_ms: i64,
    events_lost: u64,
    dataplane_generation: u64,
    labels: BTreeMap<String, String>,
    /// Resources that it refused.
    rejected: u32,
}

impl From<v1::NodeInfo> for Node {
    fn from(info: v1::NodeInfo) -> Self {
        Self {
            state: NodeState::of(info.state()),
            id: info.node_id,
            hostname: info.hostname,
            address: info.address,
            is_connected: info.is_connected,
            version: info.version,
            mode: info.mode,
            driver: info.driver,
            registered_at: Moment::of(info.registered_ms),
            last_seen_at: Moment::of(info.last_seen_ms),
            started_at: Moment::of(info.started_ms),
            is_in_sync: info.is_in_sync,
            applied_hash: hex(&info.applied_hash),
            wanted_hash: hex(&info.wanted_hash),
            applied_revision: info.applied_revision,
            load: info.load.map(Load::from),
            clock_skew_ms: info.clock_skew_ms,
            events_lost: info.events_lost,
            dataplane_generation: info.dataplane_generation,
            labels: info.labels,
            rejected: info.rejected,
        }
    }
}

/// A page of nodes.
#[derive(Debug, Serialize, ToSchema)]
struct NodeList {
    nodes: Vec<Node>,
    /// For `page_token`; null on the last page.
    next_page_token: Option<String>,
    /// Nodes on all pages.
    total: u32,
}

/// Which nodes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct NodeQuery {
    /// starting, active, draining, dead; several with commas between.
    #[param(example = "active,draining")]
    state: Option<String>,
    page_size: Option<u32>,
    page_token: Option<String>,
}

/// What a node says of one resource of the policy.
#[derive(Debug, Serialize, ToSchema)]
struct NodeResource {
    /// `filter-set/edge`
    id: String,
    version: u64,
    /// SHA-256, hex.
    hash: String,
    /// applied, rejected, needs_restart, needs_whole, superseded, unspecified
    state: String,
    /// Why it was refused: key, value, what is allowed.
    error: Option<String>,
}

/// A node and what it holds.
#[derive(Debug, Serialize, ToSchema)]
struct NodeDetail {
    node: Node,
    resources: Vec<NodeResource>,
}

/// A counter or gauge.
#[derive(Debug, Serialize, ToSchema)]
struct Sample {
    #[schema(example = "secbeat_requests_total{method=\"GET\",status=\"200\"}")]
    name: String,
    /// Null when it is no number.
    value: Option<f64>,
}

/// What a node counted and measured, as its metrics endpoint says it.
#[derive(Debug, Serialize, ToSchema)]
struct NodeMetrics {
    id: String,
    samples: Vec<Sample>,
}

/// A page of the fleet's nodes. Scope `read`.
#[utoipa::path(get, path = "/api/v1/nodes", operation_id = "list_nodes", tag = "nodes", params(NodeQuery),
    responses((status = 200, description = "A page of nodes.", body = NodeList)))]
async fn list_nodes(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
    Query(query): Query<NodeQuery>,
) -> Result<Json<NodeList>, Problem> {
    let find = |word: &str| {
        NodeState::ALL.iter().find(|(known, ..)| *known == word).map(|(_, wire, _)| *wire as i32)
    };
    let request = v1::ListNodesRequest {
        states: words("state", query.state.as_deref(), "starting, active, draining, dead", find)?,
        page_size: query.page_size.unwrap_or_default(),
        page_token: query.page_token.unwrap_or_default(),
    };
    let response = fleet::list_nodes(&o, &caller, request).await?;
    Ok(Json(NodeList {
        nodes: response.nodes.into_iter().map(Node::from).collect(),
        next_page_token: super::some_text(response.next_page_token),
        total: response.total,
    }))
}

/// A node and what it holds. Scope `read`.
#[utoipa::path(get, path = "/api/v1/nodes/{id}", operation_id = "get_node", tag = "nodes",
    params(("id" = String, Path, description = "UUID, its unique beginning, or the host name.")),
    responses((status = 200, description = "The node.", body = NodeDetail)))]
async fn get_node(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
    PathPart(node_id): PathPart,
) -> Result<Json<NodeDetail>, Problem> {
    let detail = fleet::get_node(&o, &caller, v1::GetNodeRequest { node_id }).await?;
    let resource = |result: v1::ResourceResult| NodeResource {
        id: key_from_wire(result.key.as_ref()).map_or_else(|_| String::new(), |key| key.to_string()),
        state: result.state().as_str_name().trim_start_matches("RESOURCE_STATE_").to_ascii_lowercase(),
        version: result.version,
        hash: hex(&result.hash),
        error: super::some_text(result.error),
    };
    Ok(Json(NodeDetail {
        node: detail.info.unwrap_or_default().into(),
        resources: detail.resources.into_iter().map(resource).collect(),
    }))
}

/// What a node counted and measured. Scope `read`.
#[utoipa::path(get, path = "/api/v1/nodes/{id}/metrics", operation_id = "get_node_metrics", tag = "nodes",
    params(("id" = String, Path, description = "UUID, its unique beginning, or the host name.")),
    responses((status = 200, description = "Its counters and gauges.", body = NodeMetrics)))]
async fn get_node_metrics(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
    PathPart(node_id): PathPart,
) -> Result<Json<NodeMetrics>, Problem> {
    let detail = fleet::get_node(&o, &caller, v1::GetNodeRequest { node_id }).await?;
    let sample = |sample: v1::Sample| Sample {
        name: sample.name,
        value: Some(sample.value).filter(|value| value.is_finite()),
    };
    Ok(Json(NodeMetrics {
        id: detail.info.unwrap_or_default().node_id,
        samples: detail.samples.into_iter().map(sample).collect(),
    }))
}

/// How a node is restarted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RestartNode {
    /// Without finishing its connections first.
    #[serde(default)]
    now: bool,
    /// How long to wait for the node's answer, in milliseconds.
    #[serde(default)]
    #[schema(maximum = 60_000)]
    wait_ms: u64,
    reason: Option<String>,
}

/// How a node is drained.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DrainNode {
    /// Stop when the connections are finished; else it only takes no new ones.
    #[serde(default)]
    stop: bool,
    /// How long to wait for the node's answer, in milliseconds.
    #[serde(default)]
    #[schema(maximum = 60_000)]
    wait_ms: u64,
    reason: Option<String>,
}

/// What became of an order.
#[derive(Debug, Serialize, ToSchema)]
struct OrderResult {
    node_id: String,
    is_ok: bool,
    message: String,
}

/// Restarts a node by its supervisor, after its connections have finished. Scope `fleet:write`.
#[utoipa::path(post, path = "/api/v1/nodes/{id}/restart", operation_id = "restart_node", tag = "nodes",
    params(("id" = String, Path, description = "UUID, its unique beginning, or the host name."), ChangeQuery,
        ChangeHeaders),
    request_body = RestartNode,
    responses((status = 200, description = "What became of the order.", body = OrderResult)))]
async fn restart_node(
    State(o): State<Orchestrator>,
    change: Change,
    PathPart(id): PathPart,
    Body(order): Body<RestartNode>,
) -> Result<Json<OrderResult>, Problem> {
    let kind = Kind::Restart(Restart { now: order.now });
    give(&o, &change, id, kind, order.wait_ms, order.reason).await
}

/// Lets a node finish its connections and take no new ones. Scope `fleet:write`.
#[utoipa::path(post, path = "/api/v1/nodes/{id}/drain", operation_id = "drain_node", tag = "nodes",
    params(("id" = String, Path, description = "UUID, its unique beginning, or the host name."), ChangeQuery,
        ChangeHeaders),
    request_body = DrainNode,
    responses((status = 200, description = "What became of the order.", body = OrderResult)))]
async fn drain_node(
    State(o): State<Orchestrator>,
    change: Change,
    PathPart(id): PathPart,
    Body(order): Body<DrainNode>,
) -> Result<Json<OrderResult>, Problem> {
    give(&o, &change, id, Kind::Drain(Drain { stop: order.stop }), order.wait_ms, order.reason).await
}

async fn give(
    o: &Orchestrator,
    change: &Change,
    node_id: String,
    kind: Kind,
    wait_ms: u64,
    reason: Option<String>,
) -> Result<Json<OrderResult>, Problem> {
    super::check_wait(wait_ms)?;
    let request = v1::OrderNodesRequest {
        mutation: change.mutation(reason),
        node_ids: vec![node_id],
        command: Some(v1::Command { kind: Some(kind), ..v1::Command::default() }),
        wait_ms,
    };
    let response = fleet::order_nodes(o, &change.caller, request).await?;
    let result = response.results.into_iter().next();
    let result = result.ok_or_else(|| Failure::Internal(format!("no result within {WAIT_MS_MAX} ms")))?;
    Ok(Json(OrderResult { node_id: result.node_id, is_ok: result.is_ok, message: result.message }))
}

/// Asks the webhook for more or fewer nodes beside this one. Scope `fleet:write`.
#[utoipa::path(post, path = "/api/v1/nodes/{id}/scale", operation_id = "scale_node", tag = "nodes",
    params(("id" = String, Path, description = "UUID, its unique beginning, or the host name."), ChangeQuery,
        ChangeHeaders),
    request_body = Scale,
    responses((status = 200, description = "What the receiver said.", body = Scaled)))]
async fn scale_node(
    State(o): State<Orchestrator>,
    change: Change,
    PathPart(id): PathPart,
    Body(body): Body<Scale>,
) -> Result<Json<Scaled>, Problem> {
    scale(&o, &change, body, id).await
}
