//! `/tokens`.

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
    OpenApiRouter::new().routes(routes!(list_tokens, create_token)).routes(routes!(revoke_token))
}

/// A token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
struct Token {
    /// The part between prefix and secret.
    id: String,
    name: String,
    /// read, policy:write, ban:write, event:write, fleet:write, audit:read, join, admin
    scopes: Vec<String>,
    created_at: Option<Moment>,
    expires_at: Option<Moment>,
    /// To the minute.
    last_used_at: Option<Moment>,
    is_revoked: bool,
    created_by: String,
}

impl From<v1::TokenInfo> for Token {
    fn from(info: v1::TokenInfo) -> Self {
        Self {
            id: info.token_id,
            name: info.name,
            scopes: info.scopes,
            created_at: Moment::of(info.created_ms),
            expires_at: Moment::of(info.expires_ms),
            last_used_at: Moment::of(info.last_used_ms),
            is_revoked: info.is_revoked,
            created_by: info.created_by,
        }
    }
}

/// Every token.
#[derive(Debug, Serialize, ToSchema)]
struct TokenList {
    tokens: Vec<Token>,
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "ci", "scopes": ["policy:write"], "lifetime_ms": 86_400_000 }))]
struct NewToken {
    /// For the audit log: 1 to 63 letters, digits, `-`, `_`, `.`, `@`.
    #[schema(min_length = 1, max_length = 63)]
    name: String,
    /// read, policy:write, ban:write, event:write, fleet:write, audit:read, join, admin
    #[schema(min_items = 1, max_items = 9)]
    scopes: Vec<String>,
    /// Absent: as long as `[access] token_lifetime_max` allows.
    lifetime_ms: Option<u64>,
    reason: Option<String>,
}

/// A token that was made.
#[derive(Debug, Serialize, ToSchema)]
struct NewTokenAnswer {
    info: Token,
    /// `sbt_...`, shown this once; null in a dry run and when a request is repeated.
    token: Option<String>,
}

/// Every token, without secrets. Scope `admin`.
#[utoipa::path(get, path = "/api/v1/tokens", operation_id = "list_tokens", tag = "access",
    responses((status = 200, description = "All tokens.", body = TokenList)))]
async fn list_tokens(
    State(o): State<Orchestrator>,
    Asker(caller): Asker,
) -> Result<Json<TokenList>, Problem> {
    let response = access::list_tokens(&o, &caller, v1::ListTokensRequest {}).await?;
    Ok(Json(TokenList { tokens: response.tokens.into_iter().map(Token::from).collect() }))
}

/// Makes a token. Scope `admin`.
#[utoipa::path(post, path = "/api/v1/tokens", operation_id = "create_token", tag = "access",
    params(ChangeQuery, ChangeHeaders), request_body = NewToken,
    responses((status = 200, description = "The token, shown this once.", body = NewTokenAnswer)))]
async fn create_token(
    State(o): State<Orchestrator>,
    change: Change,
    Body(new): Body<NewToken>,
) -> Result<Json<NewTokenAnswer>, Problem> {
    let request = v1::CreateTokenRequest {
        mutation: change.mutation(new.reason),
        name: new.name,
        scopes: new.scopes,
        lifetime_ms: new.lifetime_ms.unwrap_or_default(),
    };
    let response = access::create_token(&o, &change.caller, request).await?;
    let token = (!response.token.is_empty()).then_some(response.token);
    Ok(Json(NewTokenAnswer { info: response.info.unwrap_or_default().into(), token }))
}

/// Ends a token. Scope `admin`.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", operation_id = "revoke_token", tag = "access",
    params(("id" = String, Path, description = "The token's id."), ChangeQuery, ChangeHeaders),
    responses((status = 200, description = "The token, ended.", body = Token)))]
async fn revoke_token(
    State(o): State<Orchestrator>,
    change: Change,
    PathPart(token_id): PathPart,
) -> Result<Json<Token>, Problem> {
    let request = v1::RevokeTokenRequest { mutation: change.mutation(None), token_id };
    let response = access::revoke_token(&o, &change.caller, request).await?;
    Ok(Json(response.info.unwrap_or_default().into()))
}
