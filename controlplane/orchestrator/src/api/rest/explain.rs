//! `/explain`.

use axum::Json;
use axum::extract::State;
use secbeat_proto::v1;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::asked::{Asker, Query};
use super::events::Event;
use super::moment::Moment;
use super::problem::Problem;
use crate::orchestrator::Orchestrator;
use crate::service::explain;

pub(super) fn routes() -> OpenApiRouter<Rest> {
    OpenApiRouter::new().routes(routes!(explain_target))
}

/// Something that touches the address.
#[derive(Debug, Serialize, ToSchema)]
struct Finding {
    /// ban, list, filter_rule, limit, waf_rule
    what: String,
    /// Prefix, rule id, name of the limit.
    name: String,
    /// drop, allow, limit
    effect: String,
    explanation: String,
    until: Option<Moment>,
    nodes_enforcing: u32,
    hits: u64,
}

/// What touches an address.
#[derive(Debug, Serialize, ToSchema)]
struct Explanation {
    target: String,
    /// The short answer.
    #[schema(example = "allowlisted by list/partners")]
    summary: String,
    findings: Vec<Finding>,
    /// The newest ones.
    events: Vec<Event>,
}

/// Which address.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ExplainQuery {
    /// Address or prefix.
    #[param(example = "203.0.113.7")]
    target: String,
    events_max: Option<u32>,
}

/// Every list, ban, limit, rule and recent event that touches an address. Scope `read`.
#[utoipa::path(get, path = "/api/v1/explain", operation_id = "explain", tag = "bans", params(ExplainQuery),
    responses((status = 200, description = "What touches it.", body = Explanation)))]
async fn explain_target(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<Explanation>, Problem> {
    let request =
        v1::ExplainRequest { target: query.target, events_max: query.events_max.unwrap_or_default() };
    let response = explain::explain(&o, &caller, request).await?;
    let finding = |finding: v1::explain_response::Finding| Finding {
        what: finding.what,
        name: finding.name,
        effect: finding.effect,
        explanation: finding.explanation,
        until: Moment::of(finding.until_ms),
        nodes_enforcing: finding.nodes_enforcing,
        hits: finding.hits,
    };
    Ok(Json(Explanation {
        target: response.target,
        summary: response.summary,
        findings: response.findings.into_iter().map(finding).collect(),
        events: response.events.into_iter().map(Event::from).collect(),
    }))
}
