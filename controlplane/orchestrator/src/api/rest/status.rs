//! `/health` and `/api/v1/openapi.json`, for everybody.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;

pub(super) fn routes() -> OpenApiRouter<Rest> {
    OpenApiRouter::new().routes(routes!(get_health)).routes(routes!(get_document))
}

/// Whether the orchestrator serves.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `ok`
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether it serves. For load balancers; says nothing else to whoever has no token.
#[utoipa::path(get, path = "/health", operation_id = "get_health", tag = "service",
    responses((status = 200, description = "It serves.", body = Health)))]
async fn get_health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "get_document", tag = "service",
    responses((status = 200, description = "The OpenAPI document.", body = serde_json::Value)))]
async fn get_document(State(rest): State<Rest>) -> Response {
    ([(CONTENT_TYPE, "application/json")], rest.document.to_string()).into_response()
}
