//! REST: JSON over HTTP for people and programs, described by OpenAPI (`docs/openapi.json`, `docs/rest.md`).
//!
//! ```text
//! rest/serve.rs     HTTP on accepted connections
//! rest/gate.rs      what every request passes
//! rest/asked.rs     headers, query, path, body
//! rest/problem.rs   errors
//! rest/moment.rs    times
//! rest/document.rs  the OpenAPI document
//! rest/<noun>.rs    paths, forms of JSON, conversion to `secbeat.v1`
//! ```
//!
//! Owns: the form of requests and answers. Does not own: what a request does (`service`). Names: times end in `_at`
//! (RFC 3339), durations in `_ms`, hashes are hex. Cost: one task a request. Limits: those of `gate` and `serve`,
//! bodies by `[api] body_bytes_max` where a policy or many bans come, [`BODY_BYTES_SMALL`] elsewhere.

mod asked;
mod audit;
mod bans;
mod document;
mod events;
mod explain;

mod fleet;
mod gate;
mod moment;
mod nodes;
mod policies;
mod problem;
mod revocations;
mod rollouts;
mod serve;
mod status;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::middleware::from_fn_with_state;
use tokio::sync::Semaphore;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use serve::serve;

use problem::Problem;

use crate::access::hex;
use crate::api::rate::Rate;
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;

/// Longest body of a request that carries no policy and no list of bans, in bytes.
pub const BODY_BYTES_SMALL: usize = 64 << 10;

/// Longest wait of a request, in milliseconds: for nodes that enforce a ban or carry out an order.
pub const WAIT_MS_MAX: u64 = 60_000;

/// What handlers and the gate share.
#[derive(Clone, Debug)]
struct Rest {
    orchestrator: Orchestrator,
    rate: Arc<Rate<gate::Client>>,
    requests: Arc<Semaphore>,
    document: Arc<str>,
}

impl FromRef<Rest> for Orchestrator {
    fn from_ref(rest: &Rest) -> Self {
        rest.orchestrator.clone()
    }
}

/// Every path, with everything before it.
pub fn router(orchestrator: &Orchestrator) -> Router {
    let (router, document) = all_routes(orchestrator.config.api.body_bytes_max as usize).split_for_parts();
    let rest = Rest {
        rate: Arc::new(Rate::per_second(orchestrator.config.api.rate_limit_rps)),
        requests: Arc::new(Semaphore::new(gate::REQUESTS_MAX)),
        document: text_of(document).into(),
        orchestrator: orchestrator.clone(),
    };
    router.layer(from_fn_with_state(rest.clone(), gate::pass)).with_state(rest)
}

/// The OpenAPI document, as it is served and as `docs/openapi.json` holds it.
pub fn document() -> String {
    text_of(all_routes(BODY_BYTES_SMALL).into_openapi())
}

fn text_of(mut document: OpenApi) -> String {
    document::complete(&mut document);
    document.to_pretty_json().unwrap_or_default() + "\n"
}

fn all_routes(body_bytes_max: usize) -> OpenApiRouter<Rest> {
    let small = OpenApiRouter::new()
        .merge(audit::routes())
        .merge(bans::routes())
        .merge(events::routes())
        .merge(explain::routes())
        .merge(fleet::routes())
        .merge(nodes::routes())
        .merge(revocations::routes())
        .merge(rollouts::routes())
        .merge(status::routes())
        .merge(tokens::routes());
    let large = OpenApiRouter::new().merge(bans::long_routes()).merge(policies::routes());
    OpenApiRouter::new()
        .merge(small.layer(DefaultBodyLimit::max(BODY_BYTES_SMALL)))
        .merge(large.layer(DefaultBodyLimit::max(body_bytes_max)))
}

/// Words of a list with commas, each by `find`.
fn words<T>(
    name: &str,
    text: Option<&str>,
    known: &str,
    find: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Problem> {
    let word = |word: &str| {
        let wrong = || {
            Problem::unreadable(format!("{name}: {:?} is none of {known}", word.escape_debug().to_string()))
        };
        find(word.trim()).ok_or_else(wrong)
    };
    text.map_or_else(|| Ok(Vec::new()), |text| text.split(',').map(word).collect())
}

/// A text that is null when it is empty.
fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn check_wait(wait_ms: u64) -> Result<(), Problem> {
    if wait_ms > WAIT_MS_MAX {
        return Err(Failure::Invalid(format!(
            "wait_ms: {wait_ms} is out of range: must be 0 to {WAIT_MS_MAX}"
        ))
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
