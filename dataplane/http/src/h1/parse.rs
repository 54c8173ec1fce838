//! Heads of requests and responses: from bytes to [`crate::head`], and to what their framing means.
//!
//! Owns: line ends, limits, framing (RFC 9112 §6.3), Host rules (§3.2), keep-alive (§9.3). `httparse` splits lines.
//! Incremental: [`Progress`] remembers where the scan for the empty line stopped, so a head that arrives byte by
//! byte is scanned once and parsed once.
//! Cost: one scan for line ends, one httparse, one copy; no allocation in a warm head.
mod facts;
mod scan;
mod target_form;

use std::mem::MaybeUninit;

pub(in crate::h1) use self::facts::Facts;
use self::scan::{Bounds, Side};
use super::{BodyKind, Upgrade, upgrade};
use crate::{
    error::Error,
    head::{Fields, Method, Request, Response, Span, Version},
    limits::{FIELDS_CEILING, Limits},
    syntax,
};

/// How far a head has been scanned. One per connection and direction; back to the default for each new head
/// (the parse functions do so themselves when they return a head or an error).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes seen, which need no second look.
    scanned: u32,
    /// Where the line under way begins.
    line_start: u32,
    /// Complete lines of the head so far, its start line among them.
    lines: u16,
    /// Empty lines before the start line.
    empty_lines: u8,
}

/// What the bytes so far hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<T> {
    /// No whole head yet: call again with the same bytes and more after them.
    Incomplete,
    /// A whole head.
    Head(T),
}

/// A request's framing and what it asks of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head, with empty lines before it: the body begins there.
    pub len: usize,
    /// How the body is delimited; never `UntilClose`.
    pub body: BodyKind,
    /// Whether the client wants to send another request on this connection.
    pub keep_alive: bool,
    /// Whether it waits for 100 (Continue) before it sends the body.
    pub expect_continue: bool,
    /// What it asks to switch to.
    pub upgrade: Option<Upgrade>,
    /// A body that its method gives no meaning to (see [`Method::expects_body`]): the connection to the origin
    /// must not carry another request afterwards.
    pub has_unusual_body: bool,
}

/// What kind of response a head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseKind {
    /// 1xx: another head follows.
    Interim,
    /// 101, as asked: what follows is no HTTP.
    Switched,
    /// The answer.
    Final,
}

/// A response's framing and what it means for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the head.
    pub len: usize,
    /// Interim, switched or final.
    pub kind: ResponseKind,
    /// How the body is delimited.
    pub body: BodyKind,
    /// Whether the connection may carry another request once this response is read.
    pub keep_alive: bool,
}

/// What the request was that a response answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Its method: the answer to HEAD has no body.
    pub method: Method,
    /// What switch was sent with it.
    pub upgrade: Option<Upgrade>,
}

/// Reads a request's head from the start of `input`.
pub fn request(
    input: &[u8],
    progress: &mut Progress,
    limits: &Limits,
    head: &mut Request,
) -> Result<Parsed<Head>, Error> {
    let Some(bounds) = bounds_or_reset(input, Side::Request, progress, limits)? else {
        return Ok(Parsed::Incomplete);
    };
    let block = input.get(bounds.start..bounds.end).unwrap_or_default();
    let facts = read_request(block, limits, head)?;
    let version = head.version();
    let body = match facts.content_length {
        Some(length) => BodyKind::Length(length),
        None if facts.is_chunked => BodyKind::Chunked,
        None => BodyKind::None,
    };
    let has_body = !matches!(body, BodyKind::None | BodyKind::Length(0));
    if has_body && head.method() == Method::Trace {
        return Err(Error::TraceBody);
    }
    Ok(Parsed::Head(Head {
        len: bounds.end,
        body,
        keep_alive: facts.keep_alive(version),
        expect_continue: facts.expects_continue && has_body,
        upgrade: upgrade::of_request(head, &facts, has_body),
        has_unusual_body: has_body && !head.method().expects_body(),
    }))
}

/// Reads a response's head from the start of `input`.
///
/// How many interim responses it takes before the final one is the caller's bound.
pub fn response(
    input: &[u8],
    asked: Asked,
    progress: &mut Progress,
    limits: &Limits,
    head: &mut Response,
) -> Result<Parsed<ResponseHead>, Error> {
    let Some(bounds) = bounds_or_reset(input, Side::Response, progress, limits)? else {
        return Ok(Parsed::Incomplete);
    };
    let block = input.get(bounds.start..bounds.end).unwrap_or_default();
    let facts = read_response(block, limits, head)?;
    let kind = response_kind(head, asked, &facts)?;
    let (body, is_clean) = response_body(head.status(), asked.method, &facts);
    let keep_alive = is_clean && body != BodyKind::UntilClose && facts.keep_alive(head.version());
    Ok(Parsed::Head(ResponseHead { len: bounds.end, kind, body, keep_alive }))
}

fn bounds_or_reset(
    input: &[u8],
    side: Side,
    progress: &mut Progress,
    limits: &Limits,
) -> Result<Option<Bounds>, Error> {
    let found = scan::head_bounds(input, side, progress, limits);
    if !matches!(found, Ok(None)) {
        *progress = Progress::default();
    }
    found
}

fn read_request(block: &[u8], limits: &Limits, head: &mut Request) -> Result<Facts, Error> {
    head.clear();
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_CEILING];
    let mut parsed = httparse::Request::new(&mut []);
    let status = parsed
        .parse_with_uninit_headers(block, slots_within(&mut slots, limits))
        .map_err(|error| request_error(error, block))?;
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Error::StartLine);
    };
    if status != httparse::Status::Complete(block.len()) {
        return Err(Error::StartLine);
    }
    head.set_version(if version == 0 { Version::Http10 } else { Version::Http11 });
    let source = Source { block, base: head.push_bytes(block).start };
    head.set_parsed_method(source.span(method.as_bytes()), Method::of(method.as_bytes()));
    let target = source.span(target.as_bytes());
    index_fields(parsed.headers, source, head.fields_mut());
    let version = head.version();
    let facts = Facts::gather(head.fields_mut(), version)?;
    check_host(head, &facts)?;
    target_form::set(head, target)?;
    Ok(facts)
}

fn read_response(block: &[u8], limits: &Limits, head: &mut Response) -> Result<Facts, Error> {
    head.clear();
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_CEILING];
    let mut parsed = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, block, slots_within(&mut slots, limits))
        .map_err(response_error)?;
    let (Some(code), Some(version)) = (parsed.code, parsed.version) else {
        return Err(Error::Status);
    };
    if status != httparse::Status::Complete(block.len()) || !(100..=599).contains(&code) {
        return Err(Error::Status);
    }
    head.set_version(if version == 0 { Version::Http10 } else { Version::Http11 });
    let source = Source { block, base: head.fields_mut().push_bytes(block).start };
    head.set_parsed_status(code, source.span(parsed.reason.unwrap_or_default().as_bytes()));
    index_fields(parsed.headers, source, head.fields_mut());
    let version = head.version();
    Facts::gather(head.fields_mut(), version)
}

fn slots_within<'s, 'b>(
    slots: &'s mut [MaybeUninit<httparse::Header<'b>>; FIELDS_CEILING],
    limits: &Limits,
) -> &'s mut [MaybeUninit<httparse::Header<'b>>] {
    slots.get_mut(..usize::from(limits.fields_max)).unwrap_or_default()
}

/// The bytes that were split, and where their copy begins in the head's buffer.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) block: &'a [u8],
    pub(super) base: u32,
}

impl Source<'_> {
    /// Where the copy of `part`, which lies in the block, is. Empty for what does not lie in it: httparse answers
    /// with a static empty reason phrase, for one.
    pub(super) fn span(self, part: &[u8]) -> Span {
        let offset = (part.as_ptr() as usize).wrapping_sub(self.block.as_ptr() as usize);
        let is_within = offset.checked_add(part.len()).is_some_and(|end| end <= self.block.len());
        match (is_within, u32::try_from(offset), u32::try_from(part.len())) {
            (true, Ok(offset), Ok(len)) => Span { start: self.base + offset, len },
            _ => Span::default(),
        }
    }
}

/// Indexes fields whose block was copied into `fields`.
pub(super) fn index_fields(headers: &[httparse::Header<'_>], source: Source<'_>, fields: &mut Fields) {
    for header in headers {
        fields.push_parsed(source.span(header.name.as_bytes()), source.span(header.value));
    }
}

/// HTTP/1.1 has exactly one Host, HTTP/1.0 one at most, and both a good one (RFC 9112 §3.2).
fn check_host(head: &Request, facts: &Facts) -> Result<(), Error> {
    match facts.hosts {
        0 if head.version() == Version::Http10 => Ok(()),
        0 => Err(Error::HostMissing),
        1 if syntax::is_authority(head.authority()) => Ok(()),
        1 => Err(Error::HostInvalid),
        _ => Err(Error::HostRepeated),
    }
}

fn response_kind(head: &Response, asked: Asked, facts: &Facts) -> Result<ResponseKind, Error> {
    match head.status() {
        101 if asked.upgrade == Some(Upgrade::WebSocket) && upgrade::is_switch(head, facts) => {
            Ok(ResponseKind::Switched)
        }
        101 => Err(Error::SwitchUnasked),
        100..=199 => Ok(ResponseKind::Interim),
        _ => Ok(ResponseKind::Final),
    }
}

/// How the body is delimited (RFC 9112 §6.3), and whether the head agrees with itself: a length on a response that
/// has no body may be followed by one all the same, so its connection is not used again.
fn response_body(status: u16, asked: Method, facts: &Facts) -> (BodyKind, bool) {
    let has_framing = facts.is_chunked || facts.content_length.is_some_and(|length| length > 0);
    match status {
        100..=199 | 204 => (BodyKind::None, !has_framing),
        304 => (BodyKind::None, true),
        _ if asked == Method::Head => (BodyKind::None, true),
        _ if facts.is_chunked => (BodyKind::Chunked, true),
        _ => (facts.content_length.map_or(BodyKind::UntilClose, BodyKind::Length), true),
    }
}

fn request_error(error: httparse::Error, block: &[u8]) -> Error {
    match error {
        httparse::Error::HeaderName => Error::FieldName,
        httparse::Error::HeaderValue => Error::FieldValue,
        httparse::Error::TooManyHeaders => Error::FieldsCount,
        _ => start_line_error(block),
    }
}

fn response_error(error: httparse::Error) -> Error {
    match error {
        httparse::Error::HeaderName => Error::FieldName,
        httparse::Error::HeaderValue => Error::FieldValue,
        httparse::Error::NewLine => Error::BareLineEnd,
        httparse::Error::TooManyHeaders => Error::FieldsCount,
        httparse::Error::Version => Error::Version,
        _ => Error::Status,
    }
}

/// Which part of a refused request line is at fault.
fn start_line_error(block: &[u8]) -> Error {
    let line_len = memchr::memchr(b'\n', block).unwrap_or(block.len());
    let line = block.get(..line_len).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if memchr::memchr(b'\r', line).is_some() {
        return Error::BareLineEnd;
    }
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Error::StartLine;
    };
    if !syntax::is_token(method) {
        return Error::Method;
    }
    if !syntax::is_target(target) {
        return Error::Target;
    }
    match version {
        // Nothing is wrong with this line: the line end that httparse missed is further down.
        b"HTTP/1.0" | b"HTTP/1.1" => Error::BareLineEnd,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Error::Version
        }
        _ => Error::StartLine,
    }
}
