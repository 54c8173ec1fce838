//! Honest clients: each session asks for an answer of known bytes and reads it to the end.
//!
//! Owns: one TCP session from the client's side and what was promised about it. Does not own: the network.

use crate::frame::{LinkHeader, Packet, Payload, Segment};
use crate::random::pattern;
use crate::tcp::{Endpoint, Settings, State};
use core::net::SocketAddr;
use secbeat_net::time::Instant;

/// Bytes in front of a request: session id, length of the request, length of the answer, way of closing.
pub const HEADER_BYTES: usize = 17;

/// Distinguishes the answer's bytes from the request's.
const ANSWER: u64 = 1 << 63;

/// Who ends a session, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// The client sends FIN right behind its request and reads on: a half-closed connection.
    ClientFirst = 0,
    /// The server sends FIN behind its answer.
    ServerFirst = 1,
    /// The client resets in the middle of the answer.
    ClientReset = 2,
    /// The server resets in the middle of the answer.
    ServerReset = 3,
}

/// What must become of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The whole answer arrives and both directions end in order.
    Served,
    /// The whole answer arrives; how it ends is left open.
    Whole,
    /// Not a byte of an answer arrives.
    Refused,
    /// Whatever arrives is right; it may end early.
    Prefix,
}

/// A session to be.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Its number; the seed of its bytes.
    pub id: u64,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The service it asks.
    pub service: SocketAddr,
    /// Bytes of the request, its header apart.
    pub request: u32,
    /// Bytes of the answer.
    pub answer: u32,
    /// Who ends it.
    pub ending: Ending,
    /// When it starts.
    pub start: Instant,
    /// Bytes that the client's application reads per millisecond; `u32::MAX` for a fast one.
    pub reads_per_ms: u32,
    /// What must become of it.
    pub promise: Promise,
}

impl Plan {
    /// The request's bytes.
    pub fn request_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.request as usize);
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.request.to_be_bytes());
        bytes.extend(self.answer.to_be_bytes());
        bytes.push(self.ending as u8);
        bytes.extend((0..u64::from(self.request)).map(|offset| pattern(self.id, offset)));
        bytes
    }

    /// One byte of the answer.
    pub fn answer_byte(id: u64, offset: u64) -> u8 {
        pattern(id | ANSWER, offset)
    }
}

/// A running session.
#[derive(Debug)]
pub struct Session {
    /// What was planned.
    pub plan: Plan,
    /// How frames of this client begin.
    pub link: LinkHeader,
    endpoint: Endpoint,
    verified: usize,
    /// When the last byte of the answer arrived.
    pub answered_at: Option<Instant>,
    fault: Option<String>,
}

impl Session {
    /// Starts it: the SYN is ready, the request queued behind it.
    pub fn start(plan: Plan, link: LinkHeader, settings: Settings, iss: u32, now: Instant) -> Self {
        let mut endpoint = Endpoint::connect(plan.client, plan.service, settings, iss, now);
        endpoint.write(&plan.request_bytes(), now);
        if plan.ending == Ending::ClientFirst {
            endpoint.finish(now);
        }
        Self { plan, link, endpoint, verified: 0, answered_at: None, fault: None }
    }

    /// Its TCP.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Handles a segment from the network.
    pub fn handle(&mut self, segment: &Segment, now: Instant) {
        self.endpoint.handle(segment, now);
        self.progress(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.progress(now);
    }

    /// When [`Session::handle_timeout`] should be called; a slow reader reads every millisecond.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let is_reading = self.plan.reads_per_ms != u32::MAX && !self.endpoint.is_over();
        let read_at = is_reading.then(|| now + core::time::Duration::from_millis(1));
        self.endpoint.poll_timeout().into_iter().chain(read_at).min()
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self) -> Option<Packet> {
        let segment = self.endpoint.poll_transmit()?;
        Some(Packet {
            link: self.link.clone(),
            source: self.plan.client.ip(),
            destination: self.plan.service.ip(),
            hop_limit: 61,
            payload: Payload::Tcp(segment),
        })
    }

    fn progress(&mut self, now: Instant) {
        let received = self.endpoint.received();
        for (offset, &byte) in received.iter().enumerate().skip(self.verified) {
            if byte != Plan::answer_byte(self.plan.id, offset as u64) || offset >= self.plan.answer as usize {
                self.fault = Some(format!("byte {offset} of the answer is wrong"));
                break;
            }
        }
        self.verified = received.len();
        let is_answered = self.verified == self.plan.answer as usize;
        if is_answered && self.answered_at.is_none() {
            self.answered_at = Some(now);
        }
        self.endpoint.read(self.plan.reads_per_ms as usize, now);
        let is_half_way = self.verified * 2 >= self.plan.answer as usize && self.verified > 0;
        if self.plan.ending == Ending::ClientReset && is_half_way && !self.endpoint.is_over() {
            self.endpoint.abort(now);
        } else if self.endpoint.is_read_to_end() && !self.endpoint.is_finished() {
            self.endpoint.finish(now);
        }
    }

    /// Whether nothing more is expected of it.
    pub fn is_done(&self) -> bool {
        self.endpoint.is_over() || self.endpoint.state() == State::TimeWait
    }

    /// What is wrong at any moment: bytes that differ, complaints of its TCP.
    pub fn fault(&self) -> Option<String> {
        let complaint = self.endpoint.complaints().first().cloned();
        self.fault.clone().or(complaint)
    }

    /// What is wrong at the end.
    pub fn broken_promise(&self) -> Option<String> {
        let state = self.endpoint.state();
        let got = format!("{} of {} bytes, {state:?}", self.verified, self.plan.answer);
        match self.plan.promise {
            Promise::Served => {
                let is_whole = self.verified == self.plan.answer as usize;
                let is_in_order = matches!(state, State::TimeWait | State::Closed);
                (!is_whole || !is_in_order).then(|| format!("was to be served: {got}"))
            }
            Promise::Whole => (self.verified != self.plan.answer as usize)
                .then(|| format!("was to get the whole answer: {got}")),
            Promise::Refused => (self.verified > 0).then(|| format!("was to be refused: {got}")),
            Promise::Prefix => None,
        }
    }
}
