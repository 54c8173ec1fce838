//! What a session is and what its worker has for all of them.
//!
//! ```text
//!              TLS            ALPN h2
//!  accepted --------> Handshake ------------------------------> Http2 --GOAWAY, last stream--.
//!     |                  | http/1.1     preface of HTTP/2         ^                          |
//!     |                  v            .---------------------------'                          v
//!     '-------------> Preface --------+--> Http1 --Connection: close, error, drain-------> Linger --> Gone
//!                                              '--101--> Tunnel --both directions ended------'
//! ```
//! Owns: [`Session`], [`State`], [`Core`], [`Turn`]. Does not own: transitions; each state's module has those.
//! Any state may become Gone: the connection broke, or the session aborted it.

use core::net::SocketAddr;
use std::sync::Arc;

use secbeat_http::h2;
use secbeat_http::head::{Request, Scheme};
use secbeat_http::target::Resolved;
use secbeat_net::time::Instant;

use super::access_log::Lines;
use super::buffer::{Buffer, Store};
use super::date::Date;
use super::exchange::Exchange;
use super::http1::Http1;
use super::http2::Http2;
use super::inspect::Inspector;
use super::policy::L7Policy;
use super::report::Reporter;
use super::request_id::RequestIds;
use super::slab::{Key, Slab};
use super::tls::{Engine, Ja4, Stream};
use super::wire::Wire;
use super::{Accepted, Shared};
use crate::event::{ListenerId, WorkerId};
use crate::front::Front;
use crate::telemetry::counters::WorkerCounters;
use crate::upstream::http::Client;

/// What is spoken on a connection.
#[derive(Debug)]
pub(super) enum State {
    /// The session has ended; its slot is released when the call returns.
    Gone,
    /// TLS is not complete.
    Handshake,
    /// Nothing was received on a connection without TLS that may speak either version.
    Preface,
    /// HTTP/1.0 or 1.1.
    Http1(Http1),
    /// HTTP/2.
    Http2(Box<Http2>),
    /// Bytes both ways, after 101.
    Tunnel(Key),
    /// Our last byte was sent; what still comes is thrown away until the client ends too. Without this the kernel
    /// answers late bytes with RST, and the client may lose a response it had not read (RFC 9112 §9.6).
    Linger,
}

/// One client's connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) key: Key,
    pub(super) wire: Wire,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) listener: ListenerId,
    pub(super) is_exempt: bool,
    pub(super) is_tls: bool,
    /// Received and not yet used: the beginning of a head, or (TLS) what waits for a slow backend.
    pub(super) input: Option<Buffer>,
    /// What is in `input` is the beginning of a head, and more is wanted.
    pub(super) is_partial: bool,
    /// Since when the present wait lasts: for the first byte, for the rest of a head, for the next request.
    pub(super) since: Instant,
    /// Requests so far.
    pub(super) requests: u32,
    /// When its timer is set to.
    pub(super) timer_at: Option<Instant>,
    pub(super) state: State,
}

impl Session {
    pub(super) fn new(
        key: Key,
        accepted: &Accepted,
        tls: Option<Box<Stream>>,
        state: State,
        now: Instant,
    ) -> Self {
        Self {
            key,
            is_tls: tls.is_some(),
            wire: Wire::new(accepted.client, tls),
            source: accepted.source,
            destination: accepted.destination,
            listener: accepted.listener,
            is_exempt: accepted.exempt,
            input: None,
            is_partial: false,
            since: now,
            requests: 0,
            timer_at: None,
            state,
        }
    }

    pub(super) fn scheme(&self) -> Scheme {
        if self.is_tls { Scheme::Https } else { Scheme::Http }
    }

    /// Fingerprint and version of the client's TLS.
    pub(super) fn tls_facts(&self) -> Option<(Ja4, &'static str)> {
        let stream = self.wire.tls.as_ref()?;
        Some((*stream.ja4()?, stream.version()?))
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }
}

/// What a worker has for all its sessions.
pub(super) struct Core {
    pub(super) worker: WorkerId,
    pub(super) policy: Arc<L7Policy>,
    pub(super) shared: Arc<Shared>,
    pub(super) page: Arc<WorkerCounters>,
    pub(super) client: Client,
    pub(super) exchanges: Slab<Exchange>,
    pub(super) store: Store,
    /// `None` = no listener speaks TLS.
    pub(super) tls: Option<Engine>,
    /// What TLS decrypted just now.
    pub(super) plain: Vec<u8>,
    pub(super) inspector: Inspector,
    pub(super) reporter: Reporter,
    pub(super) ids: RequestIds,
    pub(super) lines: Lines,
    pub(super) date: Date,
    pub(super) h2_pool: h2::Pool,
    /// Where the next request's head is read into; changes places with that of an exchange.
    pub(super) head: Request,
    /// The path of the request at hand.
    pub(super) target: Resolved,
    /// A response's head with the beginning of its body, on the way out.
    pub(super) out: Vec<u8>,
    /// A page, a field's value.
    pub(super) text: Vec<u8>,
    /// Millionths of a line that sampling owes.
    pub(super) sampled: u32,
    /// Bytes of bodies held for inspection by exchanges that have not ended.
    pub(super) held_bytes: u64,
    /// Answers that are held back.
    pub(super) tarpitted: u32,
    pub(super) is_draining: bool,
}

/// One call into the sessions: the worker's things, the front, the time.
pub(super) struct Turn<'a> {
    pub(super) core: &'a mut Core,
    pub(super) front: &'a mut dyn Front,
    pub(super) now: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand idle clients are to cost less than 100 MB with TLS; this part of it is less than a kilobyte each.
    #[test]
    fn idle_session_is_small() {
        let bytes = size_of::<Session>();
        assert!(bytes <= 320, "{bytes}");
    }
}
