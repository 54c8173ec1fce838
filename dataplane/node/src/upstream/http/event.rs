//! What goes in and out of the client: a request to begin, events, reasons of failure.
//!
//! Owns: these types. Does not own: what leads to them (`upstream::http`).

use core::net::SocketAddr;
use core::time::Duration;

use secbeat_http::error::Error as HttpError;
use secbeat_http::h1::{BodyKind, Upgrade};
use secbeat_http::head::Request;

use crate::slab::Key;

/// Names one exchange (a request and its response) within its client, from `begin` to `close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeId(pub(super) Key);

/// A request to send.
#[derive(Clone, Copy, Debug)]
pub struct Begin<'a> {
    /// The group of backends, from [`super::Client::group`] for each request: numbers change with a reload.
    pub group: usize,
    /// Which backend: a keyed hash of the client for one that stays, a random number for sharing by weight.
    pub hash: u64,
    /// The head as the backend shall see it, hop-by-hop fields aside; written at once, not kept.
    pub head: &'a Request,
    /// How the body is framed towards the backend; never `UntilClose`.
    pub body: BodyKind,
    /// Our name in `Via`.
    pub via: Option<&'a str>,
    /// The switch of protocol asked for; only a WebSocket is asked of a backend.
    pub upgrade: Option<Upgrade>,
    /// Client and listener, when the backend wants a PROXY v2 header. The connection then serves this client alone.
    pub client: Option<(SocketAddr, SocketAddr)>,
    /// The connection must not carry another request afterwards (`h1::Head::has_unusual_body`).
    pub is_last: bool,
    /// Time for the head of the response; `None` = as [`super::Settings::response_timeout`] says.
    pub response_timeout: Option<Duration>,
    /// Comes back in every event.
    pub user: u64,
}

/// Something happened to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose.
    pub exchange: ExchangeId,
    /// As given to `begin`.
    pub user: u64,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The backend wants the body (100). Other interim responses are not passed on.
    Continue,
    /// The head of the response is there, and perhaps its whole body.
    Head,
    /// There is more of the body, or it is complete now.
    Body,
    /// There is room again after `send_body` took less than it was offered.
    Writable,
    /// 101: from now on bodies are the bytes of a tunnel, in both directions.
    Upgraded,
    /// The exchange is over without a whole response.
    Failed(Failure),
}

/// Why there is no response, or no whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The group has no backend that could be tried.
    NoBackend,
    /// Every backend's circuit breaker is open.
    BreakerOpen,
    /// Every backend has as many connections as it may, and enough requests wait already, or this one waited too long.
    Overloaded,
    /// No backend accepted a connection.
    Connect,
    /// No backend accepted a connection in time.
    ConnectTimeout,
    /// The connection broke before the response began.
    Reset,
    /// No response in time.
    ResponseTimeout,
    /// The backend paused too long inside its response, or takes the request no further.
    IdleTimeout,
    /// The response is not HTTP as it must be.
    BadResponse(HttpError),
    /// The connection broke inside the response.
    Truncated,
}

impl Failure {
    /// The status that a client gets for it while no response has begun.
    pub const fn status(self) -> u16 {
        match self {
            Self::NoBackend | Self::BreakerOpen | Self::Overloaded => 503,
            Self::ConnectTimeout | Self::ResponseTimeout | Self::IdleTimeout => 504,
            Self::Connect | Self::Reset | Self::BadResponse(_) | Self::Truncated => 502,
        }
    }

    /// Its name in logs and counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoBackend => "no_backend",
            Self::BreakerOpen => "breaker_open",
            Self::Overloaded => "overloaded",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Reset => "reset",
            Self::ResponseTimeout => "response_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::BadResponse(_) => "bad_response",
            Self::Truncated => "truncated",
        }
    }
}
