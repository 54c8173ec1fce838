//! Requests on the wrong connection: 421 (RFC 9110 §15.5.20).
//!
//! HTTP/2 clients send requests for several hosts over one connection, as long as its certificate is for all of them
//! (RFC 9113 §9.1.1). One that asks for a host which the certificate is not for has made a mistake, or hides from a
//! filter on the way which host it speaks to. It is told to connect anew, and a client that can, does so by itself.
//!
//! Owns: this rule. Does not own: certificates and their names (`tls`). Cost: one comparison where the host is the
//! one of the handshake, else two or three look-ups.
//! Not judged: connections without TLS or without a name, names that no certificate is for (the default one serves
//! them, and the client let it pass), proxies that are trusted, and what never reaches a route (redirects, health).

use core::net::IpAddr;

use secbeat_config::node::Misdirected;

use super::policy::{L7Policy, Listener};
use super::tls::{Coverage, Engine};
use super::wire::Wire;

/// Whether a request for `host` (no port, any case; empty = none named) does not belong on this connection.
pub(super) fn is_misdirected(
    policy: &L7Policy,
    listener: &Listener,
    wire: &Wire,
    engine: Option<&Engine>,
    peer: IpAddr,
    host: &[u8],
) -> bool {
    let is_judged = match policy.misdirected {
        Misdirected::Off => false,
        Misdirected::Routes => listener.routes.has_hosts(),
        Misdirected::Strict => true,
    };
    let asked = wire.tls.as_ref().and_then(|stream| stream.server_name());
    let (true, Some(asked), Some(engine)) = (is_judged, asked, engine) else { return false };
    if host.is_empty() || host.eq_ignore_ascii_case(asked.as_bytes()) || policy.forwarding.is_trusted(peer) {
        return false;
    }
    // An authority is ASCII; what is not is nobody's name.
    let host = core::str::from_utf8(host).unwrap_or_default();
    match engine.coverage(asked, host) {
        Coverage::Unnamed | Coverage::Covered => false,
        Coverage::Elsewhere => true,
        Coverage::Nowhere => policy.misdirected == Misdirected::Strict,
    }
}
