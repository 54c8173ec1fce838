//! One request and its response, of either version of HTTP.
//!
//! Owns: [`Exchange`], what is known about a request from its head to its line in the access log, and [`Pace`], the
//! measure of slow peers. Does not own: the connection it came on, its framing there (`http1`, `http2`).
//! An exchange is used again with the room its heads have grown to, so a warm worker allocates nothing for one.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::borrow::Cow;

use secbeat_http::h1::body::Decoder;
use secbeat_http::h1::{BodyKind, Upgrade};
use secbeat_http::h2::StreamId;
use secbeat_http::head::{Known, Request, Response};
use secbeat_net::time::Instant;

use super::buffer::{Buffer, Buffers};
use super::inspect::{self, Transaction};
use super::policy::Inspection;
use super::reply::Own;
use super::report::{self, Report};
use super::request_id::RequestId;
use super::slab::Key;
use super::tls::Ja4;
use crate::event::{AttackKind, ListenerId, WorkerId};
use crate::upstream::BackendId;
use crate::upstream::http::{Client, ExchangeId};

/// Room of heads that an exchange keeps for the next request, bytes: above every common head.
const HEAD_KEPT_BYTES_MAX: usize = 32 << 10;

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upload {
    /// Its body is on the way.
    Open,
    /// All of it was received.
    Done,
}

/// How far the response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Nothing was sent, an interim response aside.
    Expect,
    /// Its head was sent; the body, framed like this, is on the way.
    Body(BodyKind),
    /// All of it was handed over.
    Done,
}

/// What becomes of body bytes before they may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// They pass at once.
    No,
    /// They are kept until all of them, or so many, are there.
    Collect {
        /// Most bytes kept.
        bytes_max: usize,
    },
    /// They were judged; what was kept goes first.
    Release,
}

/// Bytes a peer moved in a window of time: whoever moves too few is slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) start: Instant,
    bytes: u64,
}

impl Pace {
    pub(super) fn start(now: Instant) -> Self {
        Self { start: now, bytes: 0 }
    }

    pub(super) fn add(&mut self, count: usize) {
        self.bytes = self.bytes.saturating_add(count as u64);
    }

    /// Judges the window at its end: whether the peer moved at least `rate_min` bytes per second, and anything at
    /// all. A new window begins then.
    pub(super) fn is_kept(&mut self, window: Duration, rate_min: u32, now: Instant) -> bool {
        let wanted = u128::from(rate_min) * window.as_millis() / 1_000;
        let is_kept = u128::from(self.bytes) >= wanted.max(1);
        *self = Self::start(now);
        is_kept
    }
}

/// One request and its response.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) session: Key,
    /// HTTP/2 only.
    pub(super) stream: Option<StreamId>,
    pub(super) id: RequestId,
    pub(super) request: Request,
    /// The head of an answer of our own.
    pub(super) answer: Response,
    pub(super) started: Instant,
    pub(super) listener: ListenerId,
    pub(super) route: Option<u16>,
    /// The client, as a trusted proxy names it.
    pub(super) source: IpAddr,
    /// The ends of its connection.
    pub(super) peer: SocketAddr,
    pub(super) server: SocketAddr,
    /// Whether the request's head could be read.
    pub(super) is_readable: bool,

    /// HTTP/1 only, while the body is on the way.
    pub(super) decoder: Option<Decoder>,
    pub(super) body: BodyKind,
    pub(super) upload: Upload,
    pub(super) body_received: u64,
    pub(super) body_max: u64,
    pub(super) pace: Pace,
    /// The client waits for 100 before it sends the body.
    pub(super) expects_continue: bool,
    pub(super) request_hold: Hold,
    pub(super) request_held: Option<Buffer>,
    /// HTTP/2: the client has sent all, though some may wait in the stream.
    pub(super) is_end_seen: bool,
    /// The body's end was passed to the backend.
    pub(super) is_upload_ended: bool,

    pub(super) upstream: Option<ExchangeId>,
    /// The switch of protocol the client asked for, if it may be passed on.
    pub(super) upgrade: Option<Upgrade>,
    /// The connection to the backend must not carry another request.
    pub(super) is_last: bool,

    pub(super) reply: Reply,
    pub(super) status: u16,
    /// The inspector saw its head.
    pub(super) is_response_seen: bool,
    /// Bytes at the front of what the backend has sent that the inspector saw already.
    pub(super) response_seen: usize,
    /// The inspector was told that the body ends.
    pub(super) is_response_end_seen: bool,
    pub(super) response_hold: Hold,
    pub(super) response_held: Option<Buffer>,
    pub(super) body_sent: u64,
    /// Body bytes received when the response ended: what comes beyond is thrown away.
    pub(super) discard_from: u64,
    /// The backend that answered, and how many connections were tried for it.
    pub(super) backend: Option<BackendId>,
    pub(super) connections: u32,
    /// Fingerprint and version of the client's TLS.
    pub(super) tls: Option<(Ja4, &'static str)>,
    /// The client wants, and may have, another request on its connection.
    pub(super) keep_alive: bool,
    /// Why it was refused or failed, for the log.
    pub(super) reason: Option<&'static str>,
    pub(super) transaction: Transaction,
    /// Bytes of its bodies that were held for inspection; counted against the worker's bound until it ends.
    pub(super) held_bytes: u64,
    /// An answer that is held back, and until when.
    pub(super) delayed: Option<(Instant, Own)>,
}

/// Before a request has come.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Exchange {
    pub(super) fn new() -> Self {
        Self {
            session: Key { index: u32::MAX, generation: 0 },
            stream: None,
            id: RequestId::EMPTY,
            request: Request::new(),
            answer: Response::new(),
            started: Instant::ZERO,
            listener: 0,
            route: None,
            source: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
            peer: UNKNOWN,
            server: UNKNOWN,
            is_readable: false,
            decoder: None,
            body: BodyKind::None,
            upload: Upload::Done,
            body_received: 0,
            body_max: 0,
            pace: Pace::start(Instant::ZERO),
            expects_continue: false,
            request_hold: Hold::No,
            request_held: None,
            is_end_seen: false,
            is_upload_ended: false,
            upstream: None,
            upgrade: None,
            is_last: false,
            reply: Reply::Expect,
            status: 0,
            is_response_seen: false,
            response_seen: 0,
            is_response_end_seen: false,
            response_hold: Hold::No,
            response_held: None,
            body_sent: 0,
            discard_from: 0,
            backend: None,
            connections: 0,
            tls: None,
            keep_alive: false,
            reason: None,
            transaction: Transaction::default(),
            held_bytes: 0,
            delayed: None,
        }
    }

    /// Forgets everything but the room of its heads; buffers go back to the pool.
    pub(super) fn reset(&mut self, buffers: &mut Buffers) {
        buffers.release(&mut self.request_held);
        buffers.release(&mut self.response_held);
        let mut request = core::mem::take(&mut self.request);
        let mut answer = core::mem::take(&mut self.answer);
        if request.fields().capacity_bytes() > HEAD_KEPT_BYTES_MAX {
            request = Request::new();
        }
        request.clear();
        answer.clear();
        *self = Self { request, answer, ..Self::new() };
    }

    /// Gives up what it has with a backend, and remembers who that was.
    pub(super) fn detach(&mut self, client: &mut Client) {
        if let Some(upstream) = self.upstream.take() {
            self.backend = client.backend(upstream);
            self.connections = client.connections_tried(upstream);
            client.close(upstream);
        }
    }

    /// Counts bytes that are to be held for inspection; false when the worker holds as many as it may.
    pub(super) fn may_hold(&mut self, len: usize, held_bytes: &mut u64, policy: &Inspection) -> bool {
        let max = policy.waf.as_ref().map_or(u64::MAX, |waf| waf.held_bytes_max);
        let len = len as u64;
        if held_bytes.saturating_add(len) > max {
            return false;
        }
        *held_bytes += len;
        self.held_bytes += len;
        true
    }

    /// What the control thread is told when it was refused.
    pub(super) fn report(
        &self,
        worker: WorkerId,
        attack: AttackKind,
        rule: &'static str,
        status: u16,
        at: Instant,
    ) -> Report {
        let head = &self.request;
        let method = if self.is_readable { head.method_bytes() } else { b"" };
        Report {
            at,
            worker,
            listener: self.listener,
            attack,
            rule: self.rule(rule),
            client: self.source,
            status,
            request_id: self.id.as_str().to_owned(),
            method: report::text(method),
            host: report::text(head.host()),
            target: report::text(head.target()),
            user_agent: report::text(head.fields().known(Known::UserAgent).unwrap_or_default()),
            is_blocked: true,
        }
    }

    /// What decided: a rule of the WAF has a name of its own.
    fn rule(&self, rule: &'static str) -> Cow<'static, str> {
        let own = self.transaction.running.as_ref().and_then(|running| running.rule());
        match own.filter(|_| rule == inspect::NAME) {
            Some(own) => Cow::Owned(own.to_string()),
            None => Cow::Borrowed(rule),
        }
    }

    /// Whether nothing is left to be done for it.
    pub(super) fn is_complete(&self) -> bool {
        self.reply == Reply::Done && self.upload == Upload::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_moves_too_few_bytes_in_a_window_is_slow() {
        let window = Duration::from_secs(10);
        let mut pace = Pace::start(Instant::ZERO);
        pace.add(4_999);
        assert!(!pace.is_kept(window, 500, Instant::from_millis(10_000)));
        pace.add(5_000);
        assert!(pace.is_kept(window, 500, Instant::from_millis(20_000)));
        assert!(!pace.is_kept(window, 0, Instant::from_millis(30_000)), "nothing at all is slow at any rate");
        pace.add(1);
        assert!(pace.is_kept(window, 0, Instant::from_millis(40_000)));
    }
}
