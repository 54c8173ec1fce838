//! Names of backends, resolved again and again in a thread of its own: `getaddrinfo` blocks for seconds.
//!
//! Owns: when names are resolved. Does not own: what changes (`pool`). A name that stops resolving keeps its last
//! address: a DNS outage must not take the backends down. The first address of the wanted family is used, in the
//! resolver's order (RFC 6724).

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::ToSocketAddrs;
use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use super::Upstream;

/// Shortest wait between two rounds, whatever is configured.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Wait after a round in which a name did not resolve at all yet.
const RETRY: Duration = Duration::from_secs(2);

/// A name to resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) backend: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) wants_ipv4: Option<bool>,
}

/// Runs until the `Upstream` is gone; a message on `again` starts a round at once.
pub(super) fn run(upstream: Weak<Upstream>, again: Receiver<()>) {
    loop {
        let Some(names) = upstream.upgrade().map(|upstream| upstream.names()) else { return };
        let mut unresolved = false;
        for Name { backend, host, port, wants_ipv4 } in names {
            let result = resolve(&host, port, wants_ipv4);
            let Some(upstream) = upstream.upgrade().filter(|upstream| !upstream.is_stopped()) else { return };
            unresolved |= result.is_err();
            upstream.on_resolved(&backend, &host, result);
        }
        let Some(interval) = upstream.upgrade().map(|upstream| upstream.resolve_interval()) else { return };
        let wait = if unresolved { RETRY.min(interval) } else { interval };
        if again.recv_timeout(wait.max(INTERVAL_MIN)) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

fn resolve(host: &str, port: u16, wants_ipv4: Option<bool>) -> io::Result<SocketAddr> {
    (host, port)
        .to_socket_addrs()?
        .find(|addr| wants_ipv4.is_none_or(|wants| addr.is_ipv4() == wants))
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address of this family"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_of_the_wanted_family_is_chosen() {
        assert_eq!(resolve("127.0.0.1", 80, Some(true)).unwrap(), "127.0.0.1:80".parse().unwrap());
        assert!(resolve("127.0.0.1", 80, Some(false)).is_err());
        assert!(resolve("localhost", 80, None).unwrap().ip().is_loopback());
    }
}
