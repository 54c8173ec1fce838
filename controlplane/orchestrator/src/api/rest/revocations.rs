//! `/revocations`.

use axum::Json;
use axum::extract::State;
use secbeat_proto::v1;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::asked::{Asker, Body, Change, ChangeHeaders, ChangeQuery, PathPart};
use super::moment::Moment;
use super::problem::Problem;
use crate::orchestrator::Orchestrator;
use crate::service::access;

pub(super) fn routes() -> OpenApiRouter<Rest> {
    OpenApiRouter::new().routes(routes!(list_revocations, revoke)).routes(routes!(reinstate))
}

/// A node or certificate that is let in no more.
#[derive(Debug, Serialize, ToSchema)]
struct Revocation {
    /// `node:<uuid>` or `serial:<hex>`
    target: String,
    at: Option<Moment>,
    reason: String,
}

impl From<v1::Revocation> for Revocation {
    fn from(revocation: v1::Revocation) -> Self {
        Self { target: revocation.target, at: Moment::of(revocation.revoked_ms), reason: revocation.reason }
    }
}

/// Everything that is revoked.
#[derive(Debug, Serialize, ToSchema)]
struct RevocationList {
    revocations: Vec<Revocation>,
}

/// What is let in no more.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Revoke {
    /// UUID of a node, which loses every certificate, or number of one certificate in hex.
    #[schema(example = "6f1c2a34-9b6e-4d1f-8a53-0c5d3c3a7f10")]
    target: String,
    reason: Option<String>,
}

/// Nodes and certificates that are let in no more. Scope `admin`.
#[utoipa::path(get, path = "/api/v1/revocations", operation_id = "list_revocations", tag = "access",
    responses((status = 200, description = "Everything that is revoked.", body = RevocationList)))]
async fn list_revocations(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
) -> Result<Json<RevocationList>, Problem> {
    let revocations = access::list_revocations(&o, &caller)?;
    Ok(Json(RevocationList { revocations: revocations.into_iter().map(Revocation::from).collect() }))
}

/// Lets a node or a certificate in no more; an open stream of the node ends. Scope `admin`.
#[utoipa::path(post, path = "/api/v1/revocations", operation_id = "revoke", tag = "access",
    params(ChangeQuery, ChangeHeaders), request_body = Revoke,
    responses((status = 200, description = "What is revoked.", body = Revocation)))]
async fn revoke(
    State(o): State<Orchestrator>,
    change: Change,
    Body(body): Body<Revoke>,
) -> Result<Json<Revocation>, Problem> {
    let request = v1::RevokeCertificateRequest {
        mutation: change.mutation(body.reason),
        target: body.target,
        reinstate: false,
    };
    Ok(Json(access::revoke_certificate(&o, &change.caller, request).await?.into()))
}

/// Lets a node or a certificate in again. Scope `admin`.
#[utoipa::path(delete, path = "/api/v1/revocations/{target}", operation_id = "reinstate", tag = "access",
    params(("target" = String, Path, description = "UUID of a node, or number of a certificate in hex."),
        ChangeQuery, ChangeHeaders),
    responses((status = 200, description = "What was revoked.", body = Revocation)))]
async fn reinstate(
    State(o): State<Orchestrator>,
    change: Change,
    PathPart(target): PathPart,
) -> Result<Json<Revocation>, Problem> {
    let request = v1::RevokeCertificateRequest { mutation: change.mutation(None), target, reinstate: true };
    Ok(Json(access::revoke_certificate(&o, &change.caller, request).await?.into()))
}
