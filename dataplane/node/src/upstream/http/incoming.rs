//! The response on its way from a backend: head, body, what is lent to the caller and what is stored for it.
//!
//! ```text
//! worker's read buffer:  | carried part of a head | bytes just read .................... |
//!                                                  head | payload, made contiguous | (what follows: never ours)
//!                                                        '--- lent: peeked in place, the rest stored before the
//!                                                             buffer is read into again
//! ```
//!
//! Owns: parsing and decoding of one response, back-pressure (nothing is read while payload waits). Does not own: the
//! socket and the read buffer (`upstream::http`). Cost: no copy of a body that the caller takes at once and that comes
//! with its length; one move inside the buffer for chunks that share a read.

use core::ops::Range;

use secbeat_http::error::Error as HttpError;
use secbeat_http::h1::body::{Decoder, Step};
use secbeat_http::h1::parse::{self, Asked, ResponseKind};
use secbeat_http::h1::{BodyKind, Parsed, Progress, ResponseHead};
use secbeat_http::head::{Fields, Response};
use secbeat_http::limits::Limits;

/// Interim responses before the answer: a backend sends one or two; more is a loop, refused as `Status`.
const INTERIM_MAX: u32 = 16;
/// Stored payload beyond this gives its buffer back after the exchange.
const BUFFER_KEPT_BYTES: usize = 16 << 10;

/// Where a response stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    ExpectHead,
    Body,
    Tunnel,
    Complete,
}

/// What one read brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Brought {
    /// 100: the backend wants the body.
    pub(super) proceed: bool,
    /// The head of the answer.
    pub(super) head: bool,
    /// Payload, or the end of the message.
    pub(super) body: bool,
    /// 101.
    pub(super) upgraded: bool,
    /// Bytes after the end of the message.
    pub(super) leftover: bool,
}

/// One response on its way.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) response: Response,
    pub(super) phase: Phase,
    /// How the backend frames the body.
    pub(super) kind: BodyKind,
    /// Whether the backend keeps the connection.
    pub(super) keep_alive: bool,
    asked: Asked,
    progress: Progress,
    decoder: Option<Decoder>,
    /// The part of a head that is there.
    carried: Vec<u8>,
    /// Payload in the read buffer.
    lent: Range<usize>,
    /// Payload that the caller left, from `taken` on.
    stored: Vec<u8>,
    taken: usize,
    interim: u32,
    /// A byte of a response came.
    has_begun: bool,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self {
            response: Response::new(),
            phase: Phase::ExpectHead,
            kind: BodyKind::None,
            keep_alive: false,
            asked: Asked { method: secbeat_http::head::Method::Get, upgrade: None },
            progress: Progress::default(),
            decoder: None,
            carried: Vec::new(),
            lent: 0..0,
            stored: Vec::new(),
            taken: 0,
            interim: 0,
            has_begun: false,
        }
    }

    /// Starts over.
    pub(super) fn start(&mut self, asked: Asked) {
        self.response.clear();
        self.phase = Phase::ExpectHead;
        self.kind = BodyKind::None;
        self.keep_alive = false;
        self.asked = asked;
        self.progress = Progress::default();
        self.decoder = None;
        self.carried.clear();
        self.lent = 0..0;
        self.stored.clear();
        self.taken = 0;
        self.interim = 0;
        self.has_begun = false;
    }

    /// Gives back what a large response took.
    pub(super) fn shrink(&mut self) {
        self.decoder = None;
        for buffer in [&mut self.stored, &mut self.carried] {
            buffer.clear();
            if buffer.capacity() > BUFFER_KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
    }

    /// Whether the backend has said anything.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether the head of the answer is there.
    pub(super) fn has_head(&self) -> bool {
        self.phase != Phase::ExpectHead
    }

    /// Whether more may be read: everything so far was taken.
    pub(super) fn wants_bytes(&self) -> bool {
        self.phase != Phase::Complete && self.lent.is_empty() && self.stored.is_empty()
    }

    /// Payload that waits for the caller.
    pub(super) fn peek<'a>(&'a self, buffer: &'a [u8]) -> &'a [u8] {
        if self.lent.is_empty() {
            self.stored.get(self.taken..).unwrap_or_default()
        } else {
            buffer.get(self.lent.clone()).unwrap_or_default()
        }
    }

    /// The caller has taken `len` bytes.
    pub(super) fn consume(&mut self, len: usize) {
        if self.lent.is_empty() {
            self.taken = self.taken.saturating_add(len).min(self.stored.len());
            if self.taken == self.stored.len() {
                self.stored.clear();
                self.taken = 0;
            }
        } else {
            self.lent.start = self.lent.start.saturating_add(len).min(self.lent.end);
        }
    }

    /// Bytes held here.
    pub(super) fn held_bytes(&self) -> usize {
        self.stored.len() + self.carried.len()
    }

    /// Stores what is left in the read buffer, before that is read into again.
    pub(super) fn settle(&mut self, buffer: &[u8]) {
        if !self.lent.is_empty() {
            self.stored.extend_from_slice(buffer.get(self.lent.clone()).unwrap_or_default());
            self.taken = 0;
        }
        self.lent = 0..0;
    }

    /// Puts what is carried over at the front of the read buffer; says how much.
    pub(super) fn carry_into(&mut self, buffer: &mut [u8]) -> usize {
        let len = self.carried.len();
        if let Some(front) = buffer.get_mut(..len) {
            front.copy_from_slice(&self.carried);
        }
        self.carried.clear();
        len
    }

    /// Nothing was read: what was carried is carried again.
    pub(super) fn carry_back(&mut self, bytes: &[u8]) {
        self.carried.extend_from_slice(bytes);
    }

    /// The trailer section of a complete response.
    pub(super) fn trailers(&self) -> Option<&Fields> {
        self.decoder.as_ref()?.trailers()
    }

    /// Bytes from the backend: what is carried over and what was read.
    pub(super) fn absorb(&mut self, bytes: &mut [u8], limits: &Limits) -> Result<Brought, HttpError> {
        let mut brought = Brought::default();
        self.has_begun = true;
        let mut at = 0;
        while self.phase == Phase::ExpectHead {
            let input = bytes.get(at..).unwrap_or_default();
            let parsed = parse::response(input, self.asked, &mut self.progress, limits, &mut self.response)?;
            let Parsed::Head(head) = parsed else {
                self.carried.extend_from_slice(input);
                return Ok(brought);
            };
            at += head.len;
            self.on_head(head, limits, &mut brought)?;
        }
        match self.phase {
            Phase::Tunnel => {
                self.lent = at..bytes.len();
                brought.body |= !self.lent.is_empty();
            }
            Phase::Body => self.decode(bytes, at, &mut brought)?,
            Phase::ExpectHead | Phase::Complete => brought.leftover = at < bytes.len(),
        }
        Ok(brought)
    }

    fn on_head(
        &mut self,
        head: ResponseHead,
        limits: &Limits,
        brought: &mut Brought,
    ) -> Result<(), HttpError> {
        match head.kind {
            ResponseKind::Interim => {
                brought.proceed |= self.response.status() == 100;
                self.response.clear();
                self.interim += 1;
                if self.interim > INTERIM_MAX {
                    return Err(HttpError::Status);
                }
            }
            ResponseKind::Switched => {
                self.phase = Phase::Tunnel;
                brought.upgraded = true;
            }
            ResponseKind::Final => {
                self.kind = head.body;
                self.keep_alive = head.keep_alive;
                self.phase = match head.body {
                    BodyKind::None | BodyKind::Length(0) => Phase::Complete,
                    BodyKind::Length(_) | BodyKind::Chunked | BodyKind::UntilClose => Phase::Body,
                };
                if self.phase == Phase::Body {
                    self.decoder = Some(Decoder::new(head.body, limits));
                }
                brought.head = true;
            }
        }
        Ok(())
    }

    /// Finds the payload in `bytes` from `at` on and makes it one piece.
    fn decode(&mut self, bytes: &mut [u8], at: usize, brought: &mut Brought) -> Result<(), HttpError> {
        let Some(decoder) = &mut self.decoder else { return Ok(()) };
        let mut at = at;
        let mut lent = at..at;
        loop {
            match decoder.decode(bytes.get(at..).unwrap_or_default())? {
                Step::Data(range) => {
                    let (start, end) = (at + range.start, at + range.end);
                    if lent.is_empty() {
                        lent = start..end;
                    } else {
                        bytes.copy_within(start..end, lent.end);
                        lent.end += end - start;
                    }
                    at = end;
                }
                Step::End { consumed } => {
                    at += consumed;
                    self.phase = Phase::Complete;
                    break;
                }
                Step::NeedMore => break,
            }
        }
        brought.body |= !lent.is_empty() || self.phase == Phase::Complete;
        brought.leftover = self.phase == Phase::Complete && at < bytes.len();
        self.lent = lent;
        Ok(())
    }

    /// The backend ended its side. `Ok` when that ends the response as it should.
    pub(super) fn finish(&mut self) -> Result<(), HttpError> {
        match self.phase {
            Phase::ExpectHead => Err(HttpError::Truncated),
            Phase::Tunnel | Phase::Complete => {
                self.phase = Phase::Complete;
                Ok(())
            }
            Phase::Body => {
                if let Some(decoder) = &mut self.decoder {
                    decoder.finish()?;
                }
                self.phase = Phase::Complete;
                Ok(())
            }
        }
    }
}
