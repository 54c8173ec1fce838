//! Who asks: a token, a client certificate, or this machine.
//!
//! Owns: from what a request carries to a [`Caller`]; failed logins. Does not own: tokens and certificates
//! (`access`), what a caller may do (`caller`).
//!
//! A token counts before a certificate; a wrong one is an error even where none is needed. What failed tells the
//! client only that it failed: whether an id exists, has ended or was revoked stands in the log. Limits:
//! [`FAILURES_PER_MINUTE`].

use core::net::IpAddr;

use super::counters::Counter;
use super::rate::{Rate, client_of};
use super::tls::accept::Peer;
use crate::access::identity::Holder;
use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};

/// Failed logins of one address (IPv6: of a /64) in a minute that are logged and answered as such; more are only
/// counted and answered with `Exhausted`. Whoever is behind the same address with a valid token is not locked out.
pub const FAILURES_PER_MINUTE: u32 = 10;

/// Failed logins, by address.
#[derive(Debug)]
pub struct Failures(Rate<IpAddr>);

impl Default for Failures {
    fn default() -> Self {
        Self(Rate::per_minute(FAILURES_PER_MINUTE))
    }
}

/// Who asks. `authorization` is the header or metadata of that name, as it came.
///
/// # Errors
/// `Unauthenticated`, or `Exhausted` after too many failures.
pub fn caller_of(
    orchestrator: &Orchestrator,
    peer: &Peer,
    authorization: Option<&str>,
) -> Result<Caller, Failure> {
    let source = format!("{} {}", peer.face.word(), peer.address);
    let caller = |name: String, scopes| Ok(Caller { name, source: source.clone(), scopes });
    if let Some(header) = authorization {
        let token = bearer(header).ok_or_else(|| failed(orchestrator, peer, "not a bearer token"))?;
        let shown = orchestrator.access.tokens.find(token, now_ms());
        let shown = shown.ok_or_else(|| failed(orchestrator, peer, "no valid token"))?;
        return caller(shown.name, shown.scopes);
    }
    if let Some(identity) = &peer.identity {
        // TLS looked when the connection began, which may be long ago.
        if identity.not_after_ms <= now_ms() {
            return Err(failed(orchestrator, peer, "the certificate has ended"));
        }
        if orchestrator.access.revoked.has(identity) {
            return Err(failed(orchestrator, peer, "the certificate is revoked"));
        }
        return match &identity.holder {
            Holder::Node(id) => caller(format!("node {id}"), vec![Scope::Node]),
            Holder::Operator { name, scopes } => caller(name.clone(), scopes.clone()),
        };
    }
    if peer.is_open_loopback && peer.address.ip().is_loopback() {
        return caller("loopback".into(), vec![Scope::Admin]);
    }
    Err(Failure::Unauthenticated(
        "a token is needed: `Authorization: Bearer sbt_...`, or a client certificate".into(),
    ))
}

/// The UUID of a caller that is a node.
pub fn node_of(caller: &Caller) -> Option<&str> {
    caller.scopes.contains(&Scope::Node).then(|| caller.name.strip_prefix("node "))?
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn failed(orchestrator: &Orchestrator, peer: &Peer, why: &str) -> Failure {
    let access = &orchestrator.access;
    access.counters.add(Counter::LoginsFailed);
    match access.failures.0.take(client_of(peer.address.ip())) {
        Ok(()) => {
            tracing::warn!(face = peer.face.word(), address = %peer.address, why, "login failed");
            Failure::Unauthenticated("the token or certificate is not valid".into())
        }
        Err(wait) => {
            access.counters.add(Counter::LoginsLimited);
            Failure::Exhausted(format!("too many failed logins; again in {} s", wait.as_secs() + 1))
        }
    }
}

#[cfg(test)]
mod tests;
