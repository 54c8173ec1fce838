//! What a request says beside its own body: who asks, and how a change is to be carried out.
//!
//! Owns: reading headers, query, path and body into what handlers take; every rejection is a `Problem`.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use secbeat_proto::v1;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::problem::Problem;
use crate::caller::Caller;

/// The query of every change.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangeQuery {
    /// Check everything and change nothing.
    dry_run: Option<bool>,
}

/// The headers of every change.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "read by hand; here for the document")]
pub(super) struct ChangeHeaders {
    /// Chosen by the client; the same key within a day answers with the first outcome.
    #[param(rename = "Idempotency-Key", max_length = 64)]
    idempotency_key: Option<String>,
    /// Revision of the policy that the change is based on; refused with 409 when it is another one by now.
    #[param(rename = "If-Match", example = "\"12\"")]
    if_match: Option<String>,
    /// For the audit log. A `reason` in the body comes first.
    #[param(rename = "X-Reason", max_length = 500)]
    reason: Option<String>,
}

/// Who asks for something that changes nothing.
#[derive(Debug)]
pub(super) struct Asker(pub(super) Caller);

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        caller(parts).map(Self)
    }
}

/// Who asks for a change, and how it is to be carried out.
#[derive(Debug)]
pub(super) struct Change {
    /// Who.
    pub(super) caller: Caller,
    mutation: v1::Mutation,
}

impl Change {
    /// What goes into the request.
    pub(super) fn mutation(&self, reason: Option<String>) -> Option<v1::Mutation> {
        let mut mutation = self.mutation.clone();
        if let Some(reason) = reason {
            mutation.reason = reason;
        }
        Some(mutation)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Change {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let caller = caller(parts)?;
        let query = axum::extract::Query::<ChangeQuery>::try_from_uri(&parts.uri)?;
        let mutation = v1::Mutation {
            request_id: header(&parts.headers, "idempotency-key")?.unwrap_or_default().to_owned(),
            expected_revision: expected_revision(&parts.headers)?,
            dry_run: query.0.dry_run.unwrap_or_default(),
            reason: header(&parts.headers, "x-reason")?.unwrap_or_default().to_owned(),
        };
        Ok(Self { caller, mutation })
    }
}

/// The query of a request; unknown parameters are refused where the type says so.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self(axum::extract::Query::try_from_uri(&parts.uri)?.0))
    }
}

/// One part of the path.
#[derive(Debug)]
pub(super) struct PathPart(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathPart {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(axum::extract::Path::from_request_parts(parts, state).await?.0))
    }
}

/// A body of JSON.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Ok(Self(axum::Json::from_request(request, state).await?.0))
    }
}

/// A header as text.
pub(super) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| Problem::unreadable(format!("{name}: only visible ASCII is read")))
}

fn expected_revision(headers: &HeaderMap) -> Result<u64, Problem> {
    match header(headers, "if-match")?.map(str::trim) {
        None | Some("*") => Ok(0),
        Some(text) => {
            let number = text.trim_matches('"');
            number
                .parse()
                .map_err(|_| Problem::unreadable(format!("if-match: {text:?} is no revision such as \"12\"")))
        }
    }
}

fn caller(parts: &Parts) -> Result<Caller, Problem> {
    let caller = parts.extensions.get::<Caller>().cloned();
    caller.ok_or_else(|| crate::failure::Failure::Unauthenticated("nobody asks".into()).into())
}
