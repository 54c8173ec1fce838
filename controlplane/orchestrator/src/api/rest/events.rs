//! `/events`, `/threats`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use secbeat_proto::v1;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Asker, Body, Change, ChangeHeaders, ChangeQuery, Query};
use super::moment::Moment;
use super::problem::Problem;
use super::{Rest, some_text};
use crate::orchestrator::Orchestrator;
use crate::service::event;

pub(super) fn routes() -> OpenApiRouter<Rest> {
    OpenApiRouter::new()
        .routes(routes!(list_events))
        .routes(routes!(get_event_stats))
        .routes(routes!(acknowledge_events))
        .routes(routes!(list_threats))
}

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Severity {
    Unknown,
    Info,
    Warn,
    Error,
}

impl From<v1::Severity> for Severity {
    fn from(severity: v1::Severity) -> Self {
        match severity {
            v1::Severity::Unspecified => Self::Unknown,
            v1::Severity::Info => Self::Info,
            v1::Severity::Warn => Self::Warn,
            v1::Severity::Error => Self::Error,
        }
    }
}

impl Severity {
    fn wire(self) -> v1::Severity {
        match self {
            Self::Unknown => v1::Severity::Unspecified,
            Self::Info => v1::Severity::Info,
            Self::Warn => v1::Severity::Warn,
            Self::Error => v1::Severity::Error,
        }
    }
}

/// A security event as a node saw it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Event {
    id: u64,
    /// The node's clock.
    at: Option<Moment>,
    node_id: String,
    severity: Severity,
    /// attack, ban, request, backend, node, policy
    class: String,
    component: String,
    /// attack_started, ip_banned, request_refused, ...
    name: String,
    attack_type: Option<String>,
    client_ip: Option<String>,
    user_agent: Option<String>,
    is_blocked: bool,
    rule_id: Option<String>,
    details: BTreeMap<String, String>,
    acknowledged_by: Option<String>,
    acknowledged_at: Option<Moment>,
}

impl From<v1::Event> for Event {
    fn from(event: v1::Event) -> Self {
        Self {
            severity: event.severity().into(),
            id: event.id,
            at: Moment::of(event.at_ms),
            node_id: event.node_id,
            class: event.class,
            component: event.component,
            name: event.name,
            attack_type: some_text(event.attack_type),
            client_ip: some_text(event.client_ip),
            user_agent: some_text(event.user_agent),
            is_blocked: event.is_blocked,
            rule_id: some_text(event.rule_id),
            details: event.details,
            acknowledged_by: some_text(event.acknowledged_by),
            acknowledged_at: Moment::of(event.acknowledged_at_ms),
        }
    }
}

/// A page of events, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct EventList {
    events: Vec<Event>,
    /// For `before_id`; null on the last page.
    next_before_id: Option<u64>,
    /// Events that were lost on their way, over all time.
    lost: u64,
}

/// Which events. Lists have commas between.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventQuery {
    /// UUIDs of nodes.
    node: Option<String>,
    /// attack, ban, request, backend, node, policy
    class: Option<String>,
    /// attack_started, ip_banned, ...
    name: Option<String>,
    /// syn_flood, sql_injection, ...
    attack_type: Option<String>,
    /// Address or prefix.
    client: Option<String>,
    /// The least grave ones.
    #[param(inline)]
    severity_min: Option<Severity>,
    since: Option<Moment>,
    until: Option<Moment>,
    only_blocked: Option<bool>,
    only_unacknowledged: Option<bool>,
    rule_id: Option<String>,
    page_size: Option<u32>,
    /// Only events before this one.
    before_id: Option<u64>,
}

/// Security events, newest first. Scope `read`.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "list_events", tag = "events", params(EventQuery),
    responses((status = 200, description = "A page of events.", body = EventList)))]
async fn list_events(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
    Query(query): Query<EventQuery>,
) -> Result<Json<EventList>, Problem> {
    let parts = |text: Option<String>| -> Vec<String> {
        text.map(|text| text.split(',').map(|part| part.trim().to_owned()).collect()).unwrap_or_default()
    };
    let filter = v1::EventFilter {
        node_ids: parts(query.node),
        classes: parts(query.class),
        names: parts(query.name),
        attack_types: parts(query.attack_type),
        client: query.client.unwrap_or_default(),
        severity_min: query.severity_min.map_or(0, |severity| severity.wire() as i32),
        since_ms: Moment::ms(query.since),
        until_ms: Moment::ms(query.until),
        only_blocked: query.only_blocked.unwrap_or_default(),
        only_unacknowledged: query.only_unacknowledged.unwrap_or_default(),
        rule_id: query.rule_id.unwrap_or_default(),
    };
    let request = v1::ListEventsRequest {
        filter: Some(filter),
        page_size: query.page_size.unwrap_or_default(),
        before_id: query.before_id.unwrap_or_default(),
    };
    let response = event::list_events(&o, &caller, request).await?;
    Ok(Json(EventList {
        events: response.events.into_iter().map(Event::from).collect(),
        next_before_id: Some(response.next_before_id).filter(|id| *id != 0),
        lost: response.lost,
    }))
}

/// Events in numbers.
#[derive(Debug, Serialize, ToSchema)]
struct EventStats {
    total: u64,
    blocked: u64,
    unacknowledged: u64,
    by_class: BTreeMap<String, u64>,
    by_attack_type: BTreeMap<String, u64>,
    by_node: BTreeMap<String, u64>,
    by_severity: BTreeMap<String, u64>,
    /// Lost on their way: on nodes, on the wire, here.
    lost: BTreeMap<String, u64>,
    oldest_at: Option<Moment>,
    newest_at: Option<Moment>,
}

/// Which time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TimeQuery {
    since: Option<Moment>,
    until: Option<Moment>,
}

/// Events in numbers. Scope `read`.
#[utoipa::path(get, path = "/api/v1/events/stats", operation_id = "get_event_stats", tag = "events",
    params(TimeQuery), responses((status = 200, description = "Events in numbers.", body = EventStats)))]
async fn get_event_stats(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
    Query(query): Query<TimeQuery>,
) -> Result<Json<EventStats>, Problem> {
    let request =
        v1::GetEventStatsRequest { since_ms: Moment::ms(query.since), until_ms: Moment::ms(query.until) };
    let stats = event::get_event_stats(&o, &caller, request).await?;
    Ok(Json(EventStats {
        total: stats.total,
        blocked: stats.blocked,
        unacknowledged: stats.unacknowledged,
        by_class: stats.by_class,
        by_attack_type: stats.by_attack_type,
        by_node: stats.by_node,
        by_severity: stats.by_severity,
        lost: stats.lost,
        oldest_at: Moment::of(stats.oldest_ms),
        newest_at: Moment::of(stats.newest_ms),
    }))
}

/// Which events are acknowledged: `ids`, or, without any, all that match the rest.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "attack_types": ["syn_flood"], "until": "2026-03-01T12:00:00Z" }))]
struct Acknowledge {
    #[serde(default)]
    ids: Vec<u64>,
    #[serde(default)]
    node_ids: Vec<String>,
    #[serde(default)]
    classes: Vec<String>,
    #[serde(default)]
    attack_types: Vec<String>,
    /// Address or prefix.
    client: Option<String>,
    since: Option<Moment>,
    until: Option<Moment>,
    reason: Option<String>,
}

/// What was acknowledged.
#[derive(Debug, Serialize, ToSchema)]
struct Acknowledged {
    acknowledged: u64,
}

/// Notes that somebody has seen events. Scope `event:write`.
#[utoipa::path(post, path = "/api/v1/events/acknowledge", operation_id = "acknowledge_events", tag = "events",
    params(ChangeQuery, ChangeHeaders), request_body = Acknowledge,
    responses((status = 200, description = "How many were acknowledged.", body = Acknowledged)))]
async fn acknowledge_events(
    State(o): State<Orchestrator>,
    change: Change,
    Body(body): Body<Acknowledge>,
) -> Result<Json<Acknowledged>, Problem> {
    let filter = v1::EventFilter {
        node_ids: body.node_ids,
        classes: body.classes,
        attack_types: body.attack_types,
        client: body.client.unwrap_or_default(),
        since_ms: Moment::ms(body.since),
        until_ms: Moment::ms(body.until),
        ..v1::EventFilter::default()
    };
    let request = v1::AcknowledgeEventsRequest {
        mutation: change.mutation(body.reason),
        ids: body.ids,
        filter: Some(filter),
    };
    let response = event::acknowledge_events(&o, &change.caller, request).await?;
    Ok(Json(Acknowledged { acknowledged: response.acknowledged }))
}

/// Who attacks.
#[derive(Debug, Serialize, ToSchema)]
struct Threat {
    client_ip: String,
    events: u64,
    blocked: u64,
    by_attack_type: BTreeMap<String, u64>,
    first_at: Option<Moment>,
    last_at: Option<Moment>,
    /// Nodes that saw it.
    nodes: u32,
    is_banned: bool,
}

/// Who attacks, most events first.
#[derive(Debug, Serialize, ToSchema)]
struct ThreatList {
    threats: Vec<Threat>,
}

/// Which attackers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ThreatQuery {
    since: Option<Moment>,
    page_size: Option<u32>,
}

/// Who attacks, most events first. Scope `read`.
#[utoipa::path(get, path = "/api/v1/threats", operation_id = "list_threats", tag = "events", params(ThreatQuery),
    responses((status = 200, description = "Sources of attacks.", body = ThreatList)))]
async fn list_threats(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
    Query(query): Query<ThreatQuery>,
) -> Result<Json<ThreatList>, Problem> {
    let request = v1::ListThreatsRequest {
        since_ms: Moment::ms(query.since),
        page_size: query.page_size.unwrap_or_default(),
    };
    let response = event::list_threats(&o, &caller, request).await?;
    let threat = |threat: v1::Threat| Threat {
        client_ip: threat.client_ip,
        events: threat.events,
        blocked: threat.blocked,
        by_attack_type: threat.by_attack_type,
        first_at: Moment::of(threat.first_ms),
        last_at: Moment::of(threat.last_ms),
        nodes: threat.nodes,
        is_banned: threat.is_banned,
    };
    Ok(Json(ThreatList { threats: response.threats.into_iter().map(threat).collect() }))
}
