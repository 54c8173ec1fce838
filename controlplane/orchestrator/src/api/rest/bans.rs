//! `/bans`.

use axum::Json;
use axum::extract::State;
use secbeat_proto::v1;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Asker, Body, Change, ChangeHeaders, ChangeQuery, PathPart, Query};
use super::moment::Moment;
use super::problem::Problem;
use super::{Rest, some_text, words};
use crate::orchestrator::Orchestrator;
use crate::service::ban;

pub(super) fn routes() -> OpenApiRouter<Rest> {
    OpenApiRouter::new().routes(routes!(list_bans, add_ban)).routes(routes!(remove_ban))
}

/// The one with a long body.
pub(super) fn long_routes() -> OpenApiRouter<Rest> {
    OpenApiRouter::new().routes(routes!(import_bans))
}

/// Who set a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Origin {
    Unknown,
    /// A person or program through an orchestrator.
    Operator,
    /// A node, because of repeated offences.
    Node,
    /// An expert of the control plane.
    Expert,
    /// A person or program through a node's management API.
    NodeApi,
}

const ORIGINS: [(&str, v1::BanOrigin, Origin); 4] = [
    ("operator", v1::BanOrigin::Operator, Origin::Operator),
    ("node", v1::BanOrigin::Node, Origin::Node),
    ("expert", v1::BanOrigin::Expert, Origin::Expert),
    ("node_api", v1::BanOrigin::NodeApi, Origin::NodeApi),
];

/// What a node does about a ban.
#[derive(Debug, Serialize, ToSchema)]
struct NodeHits {
    node_id: String,
    is_enforced: bool,
    /// Dropped there since the ban was set.
    packets: u64,
}

/// A ban, and how it is enforced.
#[derive(Debug, Serialize, ToSchema)]
struct Ban {
    #[schema(example = "203.0.113.7/32")]
    prefix: String,
    reason: String,
    origin: Origin,
    /// Who set it.
    actor: Option<String>,
    /// The node that set it.
    node_id: Option<String>,
    since: Option<Moment>,
    /// Null: never ends by itself.
    until: Option<Moment>,
    /// Whether it was lifted.
    is_removed: bool,
    nodes_connected: u32,
    nodes_enforcing: u32,
    /// Packets dropped by it, on all nodes.
    hits: u64,
    nodes: Vec<NodeHits>,
}

impl From<v1::Ban> for Ban {
    fn from(ban: v1::Ban) -> Self {
        let entry = ban.entry.unwrap_or_default();
        let origin = ORIGINS.iter().find(|(_, wire, _)| *wire == entry.origin());
        let node = |hits: v1::NodeBanHits| NodeHits {
            node_id: hits.node_id,
            is_enforced: hits.is_enforced,
            packets: hits.packets,
        };
        Self {
            origin: origin.map_or(Origin::Unknown, |(_, _, origin)| *origin),
            prefix: entry.prefix,
            reason: entry.reason,
            actor: some_text(entry.actor),
            node_id: some_text(entry.node_id),
            since: Moment::of(entry.since_ms),
            until: Moment::of(entry.until_ms),
            is_removed: entry.is_removed,
            nodes_connected: ban.nodes_connected,
            nodes_enforcing: ban.nodes_enforcing,
            hits: ban.hits,
            nodes: ban.nodes.into_iter().map(node).collect(),
        }
    }
}

/// A page of bans.
#[derive(Debug, Serialize, ToSchema)]
struct BanList {
    bans: Vec<Ban>,
    /// For `page_token`; null on the last page.
    next_page_token: Option<String>,
    /// Bans on all pages.
    total: u64,
}

/// Which bans.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BanQuery {
    /// Only bans that cover this address or lie in this prefix.
    touching: Option<String>,
    /// operator, node, expert, node_api; several with commas between.
    origin: Option<String>,
    /// With what every node does about them.
    with_nodes: Option<bool>,
    page_size: Option<u32>,
    page_token: Option<String>,
}

/// Bans of the whole fleet. Scope `read`.
#[utoipa::path(get, path = "/api/v1/bans", operation_id = "list_bans", tag = "bans", params(BanQuery),
    responses((status = 200, description = "A page of bans.", body = BanList)))]
async fn list_bans(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
    Query(query): Query<BanQuery>,
) -> Result<Json<BanList>, Problem> {
    let find =
        |word: &str| ORIGINS.iter().find(|(known, ..)| *known == word).map(|(_, wire, _)| *wire as i32);
    let request = v1::ListBansRequest {
        page_size: query.page_size.unwrap_or_default(),
        page_token: query.page_token.unwrap_or_default(),
        touching: query.touching.unwrap_or_default(),
        origins: words("origin", query.origin.as_deref(), "operator, node, expert, node_api", find)?,
        with_nodes: query.with_nodes.unwrap_or_default(),
    };
    let response = ban::list_bans(&o, &caller, request).await?;
    Ok(Json(BanList {
        bans: response.bans.into_iter().map(Ban::from).collect(),
        next_page_token: some_text(response.next_page_token),
        total: response.total,
    }))
}

/// A ban to be set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "prefix": "203.0.113.7", "duration_ms": 3_600_000, "reason": "scanner" }))]
struct NewBan {
    /// Address or CIDR.
    prefix: String,
    /// Absent: as long as the configuration says.
    duration_ms: Option<u64>,
    /// Never ends by itself.
    #[serde(default)]
    is_permanent: bool,
    /// Stands at the ban, and in the audit log.
    #[serde(default)]
    reason: String,
    /// Answers when every connected node enforces it, or after so many milliseconds.
    #[serde(default)]
    #[schema(maximum = 60_000)]
    wait_ms: u64,
}

/// A ban that was set.
#[derive(Debug, Serialize, ToSchema)]
struct AddedBan {
    ban: Ban,
    /// Allowlisted prefixes inside it, which stay exempt.
    exempt: Vec<String>,
}

/// Bans an address or prefix on the whole fleet. Scope `ban:write`.
#[utoipa::path(post, path = "/api/v1/bans", operation_id = "add_ban", tag = "bans",
    params(ChangeQuery, ChangeHeaders), request_body = NewBan,
    responses((status = 200, description = "The ban.", body = AddedBan)))]
async fn add_ban(
    State(o): State<Orchestrator>,
    change: Change,
    Body(new): Body<NewBan>,
) -> Result<Json<AddedBan>, Problem> {
    super::check_wait(new.wait_ms)?;
    let request = v1::AddBanRequest {
        mutation: change.mutation(some_text(new.reason.clone())),
        ban: Some(v1::NewBan {
            prefix: new.prefix,
            duration_ms: new.duration_ms.unwrap_or_default(),
            reason: new.reason,
            is_permanent: new.is_permanent,
        }),
        wait_ms: new.wait_ms,
    };
    let response = ban::add_ban(&o, &change.caller, request).await?;
    Ok(Json(AddedBan { ban: response.ban.unwrap_or_default().into(), exempt: response.exempt }))
}

/// Lifts a ban. Scope `ban:write`.
#[utoipa::path(delete, path = "/api/v1/bans/{prefix}", operation_id = "remove_ban", tag = "bans",
    params(("prefix" = String, Path, description = "Address or CIDR, the slash as %2F.",
        example = "203.0.113.0%2F24"), ChangeQuery, ChangeHeaders),
    responses((status = 200, description = "The ban, lifted.", body = Ban)))]
async fn remove_ban(
    State(o): State<Orchestrator>,
    change: Change,
    PathPart(prefix): PathPart,
) -> Result<Json<Ban>, Problem> {
    let request = v1::RemoveBanRequest { mutation: change.mutation(None), prefix, wait_ms: 0 };
    let response = ban::remove_ban(&o, &change.caller, request).await?;
    Ok(Json(response.ban.unwrap_or_default().into()))
}

/// One of many bans.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ImportedBan {
    /// Address or CIDR.
    prefix: String,
    /// Absent: as long as the configuration says.
    duration_ms: Option<u64>,
    /// Never ends by itself.
    #[serde(default)]
    is_permanent: bool,
    #[serde(default)]
    reason: String,
}

/// Many bans.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Import {
    bans: Vec<ImportedBan>,
    /// For the audit log.
    reason: Option<String>,
}

/// A ban that was refused.
#[derive(Debug, Serialize, ToSchema)]
struct Refusal {
    prefix: String,
    error: String,
}

/// What became of many bans.
#[derive(Debug, Serialize, ToSchema)]
struct Imported {
    added: u64,
    unchanged: u64,
    refusals: Vec<Refusal>,
}

/// Sets many bans; each is set or refused alone. Scope `ban:write`.
#[utoipa::path(post, path = "/api/v1/bans/import", operation_id = "import_bans", tag = "bans",
    params(ChangeQuery, ChangeHeaders), request_body = Import,
    responses((status = 200, description = "What became of them.", body = Imported)))]
async fn import_bans(
    State(o): State<Orchestrator>,
    change: Change,
    Body(body): Body<Import>,
) -> Result<Json<Imported>, Problem> {
    let ban = |ban: ImportedBan| v1::NewBan {
        prefix: ban.prefix,
        duration_ms: ban.duration_ms.unwrap_or_default(),
        reason: ban.reason,
        is_permanent: ban.is_permanent,
    };
    let request = v1::ImportBansRequest {
        mutation: change.mutation(body.reason),
        bans: body.bans.into_iter().map(ban).collect(),
    };
    let response = ban::import_bans(&o, &change.caller, request).await?;
    let refusal = |refusal: v1::import_bans_response::ImportRefusal| Refusal {
        prefix: refusal.prefix,
        error: refusal.error,
    };
    Ok(Json(Imported {
        added: response.added,
        unchanged: response.unchanged,
        refusals: response.refusals.into_iter().map(refusal).collect(),
    }))
}
