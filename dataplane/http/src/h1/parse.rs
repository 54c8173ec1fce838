//! Heads of requests and responses: from bytes to [`crate::head`], and to what their framing means.
//!
//! Owns: line ends, limits, framing (RFC 9112 §6.3), Host rules (§3.2), keep-alive (§9.3). `httparse` splits lines.
//! Incremental: [`Progress`] remembers where the scan for the empty line stopped, so a head that arrives byte by
//! byte is scanned once and parsed once.
//! Cost: one scan for line ends, one httparse, one copy; no allocation in a warm head.
use super::{BodyKind, Upgrade};
use crate::{
    error::Error,
    head::{Method, Request, Response},
    limits::Limits,
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
    let _ = (input, progress, limits, head);
    Err(Error::StartLine)
}

/// Reads a response's head from the start of `input`.
pub fn response(
    input: &[u8],
    asked: Asked,
    progress: &mut Progress,
    limits: &Limits,
    head: &mut Response,
) -> Result<Parsed<ResponseHead>, Error> {
    let _ = (input, asked, progress, limits, head);
    Err(Error::Status)
}
