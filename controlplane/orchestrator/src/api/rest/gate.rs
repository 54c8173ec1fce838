//! What every request passes: browsers of other sites, limits, who asks, time; and what every answer carries.
//!
//! Owns: the order of these. A request that was let in is carried out by a task of its own: a client that goes away, or
//! a time that ends, never stops a change half way. Limits: [`REQUESTS_MAX`], [`REQUEST_TIMEOUT_MS`],
//! `[api] rate_limit_rps` for each token, certificate and address.

use core::net::IpAddr;
use core::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio_stream::StreamExt as _;

use super::Rest;
use super::asked;
use super::problem::{MEDIA_TYPE, Problem};
use crate::api::auth::caller_of;
use crate::api::counters::Counter;
use crate::api::rate::client_of;
use crate::api::tls::accept::Peer;
use crate::failure::Failure;

/// Requests at the same time. More are answered with 503.
pub(super) const REQUESTS_MAX: usize = 256;
/// Longest time of a request, in milliseconds; more than the longest `wait_ms`. What it began is finished.
pub(super) const REQUEST_TIMEOUT_MS: u64 = 90_000;
/// Bytes of a body that nobody wants which are read and thrown away, and for how long, in milliseconds: a connection
/// that is closed with bytes unread loses the answer on its way. Beyond: it is closed all the same.
const DRAINED_BYTES_MAX: usize = 16 << 20;
/// See [`DRAINED_BYTES_MAX`].
const DRAINED_MS_MAX: u64 = 2_000;
/// Paths for everybody.
const OPEN_PATHS: [&str; 2] = ["/health", "/api/v1/openapi.json"];

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// Whoever has not said who it is.
    Address(IpAddr),
    /// A token or certificate, by its name.
    Name(String),
}

/// On every answer: nothing here is a page, and nothing may be kept or shown elsewhere.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
];

/// The way of every request.
pub(super) async fn pass(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let mut sent = body.into_data_stream();
    let entered = enter(&rest, parts, &mut sent, next).await;
    // Too much or too slow: the connection ends with the answer.
    let _ = tokio::time::timeout(Duration::from_millis(DRAINED_MS_MAX), drain(&mut sent)).await;
    let mut response = match entered {
        Ok(response) => explained(response),
        Err(problem) => problem.into_response(),
    };
    for (name, value) in HEADERS {
        // The console's pages bring stricter or wider ones of their own.
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn enter(
    rest: &Rest,
    mut parts: Parts,
    sent: &mut BodyDataStream,
    next: Next,
) -> Result<Response, Problem> {
    let peer = parts.extensions.get::<Peer>().cloned();
    let peer = peer.ok_or_else(|| Failure::Internal("the connection has no address".into()))?;
    check_origin(&parts.headers, &peer)?;
    let counters = &rest.orchestrator.access.counters;
    let permit = rest.requests.clone().try_acquire_owned().map_err(|_| {
        counters.add(Counter::RequestsRefused);
        Problem::from(Failure::Unavailable(format!("{REQUESTS_MAX} requests at the same time are the most")))
    })?;
    let mut client = Client::Address(client_of(peer.address.ip()));
    if !OPEN_PATHS.contains(&parts.uri.path()) {
        let authorization = asked::header(&parts.headers, "authorization")?;
        match caller_of(&rest.orchestrator, &peer, authorization) {
            Ok(caller) => {
                client = Client::Name(caller.name.clone());
                parts.extensions.insert(caller);
            }
            Err(failure) => {
                limit(rest, client)?;
                return Err(failure.into());
            }
        }
    }
    limit(rest, client)?;
    let body = read(sent, rest.orchestrator.config.api.body_bytes_max as usize);
    let body = tokio::time::timeout(Duration::from_millis(REQUEST_TIMEOUT_MS), body).await;
    let body = body.map_err(|_| Problem::of_status(StatusCode::REQUEST_TIMEOUT))??;
    let request = Request::from_parts(parts, Body::from(body));
    let work = tokio::spawn(async move {
        let response = next.run(request).await;
        drop(permit);
        response
    });
    match tokio::time::timeout(Duration::from_millis(REQUEST_TIMEOUT_MS), work).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => {
            tracing::error!(%error, "a request ended unexpectedly");
            Err(Failure::Internal("a defect of the orchestrator; its log says more".into()).into())
        }
        Err(_) => {
            counters.add(Counter::RequestsTimedOut);
            let detail = "no answer in time; what was begun is finished, and the same Idempotency-Key tells the outcome";
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail))
        }
    }
}

/// The whole body, or why not.
async fn read(sent: &mut BodyDataStream, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    while let Some(chunk) = sent.next().await {
        let chunk = chunk.map_err(|error| Problem::unreadable(format!("the body ends early: {error}")))?;
        if body.len() + chunk.len() > bytes_max {
            let detail = format!("the body is longer than {bytes_max} bytes ([api] body_bytes_max)");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads what is left of a body, as far as that is worth it.
async fn drain(sent: &mut BodyDataStream) {
    let mut bytes = 0;
    while let Some(Ok(chunk)) = sent.next().await {
        bytes += chunk.len();
        if bytes > DRAINED_BYTES_MAX {
            return;
        }
    }
}

fn limit(rest: &Rest, client: Client) -> Result<(), Problem> {
    rest.rate.take(client).map_err(|wait| {
        rest.orchestrator.access.counters.add(Counter::RequestsLimited);
        let rps = rest.orchestrator.config.api.rate_limit_rps;
        let detail = format!("more than {rps} requests per second ([api] rate_limit_rps)");
        let seconds = u32::try_from(wait.as_secs() + 1).unwrap_or(u32::MAX);
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "exhausted", detail).after(seconds)
    })
}

/// A page of another site in somebody's browser must not act with the certificate or the loopback of that person: its
/// requests name the site as `Origin`, or this machine under a name of theirs.
fn check_origin(headers: &HeaderMap, peer: &Peer) -> Result<(), Problem> {
    let denied = |detail: &str| Problem::from(Failure::Denied(detail.into()));
    let host = asked::header(headers, "host")?.unwrap_or_default();
    if let Some(origin) = asked::header(headers, "origin")?
        && origin.split_once("://").is_none_or(|(_, authority)| !authority.eq_ignore_ascii_case(host))
    {
        return Err(denied("requests from pages of other origins are not served"));
    }
    if peer.is_open_loopback && !is_this_machine(host) {
        return Err(denied("on open loopback the Host must be localhost, 127.0.0.1 or [::1]"));
    }
    Ok(())
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Gives an error that has no explanation one.
fn explained(response: Response) -> Response {
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_explained = content_type.is_some_and(|value| value.as_bytes() == MEDIA_TYPE.as_bytes());
    if !(status.is_client_error() || status.is_server_error()) || is_explained {
        return response;
    }
    let mut problem = Problem::of_status(status).into_response();
    if let Some(allow) = response.headers().get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, allow.clone());
    }
    problem
}
