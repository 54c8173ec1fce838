//! What leaves: heads written from what was inspected, never copied from what came.
//!
//! Owns: the start line, Host first, hop-by-hop removal and `Connection` (RFC 9110 §7.6.1), framing fields, `Via`,
//! chunks. Does not own: which bytes a head may hold (they are checked on the way in).
//! Cost: one reservation, then copies.
use super::BodyKind;
use crate::head::{Fields, Known, Method, Request, Response, Version};

/// What the next hop is told about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Nothing: HTTP/1.1 keeps it open.
    KeepAlive,
    /// `Connection: keep-alive`, for an HTTP/1.0 client that asked.
    KeepAliveNamed,
    /// `Connection: close`.
    Close,
    /// `Connection: Upgrade` and `Upgrade: websocket`.
    WebSocket,
}

/// What is written beside the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop<'a> {
    /// How the body that follows is framed.
    pub body: BodyKind,
    /// What the peer is told about the connection.
    pub connection: Connection,
    /// Our name in `Via` (RFC 9110 §7.6.3), after those of earlier hops; `None` adds none.
    pub via: Option<&'a str>,
}

/// What a head may grow by over its own bytes: `: ` and CRLF are in them, framing, connection and Via are not.
const GROWTH_BYTES: usize = 256;

/// Writes a request's head for an origin, always as HTTP/1.1. `Expect` passes as it is: remove it from the head when
/// 100 (Continue) was answered here. That of HTTP/1.0 has no meaning (RFC 9110 §10.1.1) and must not get one.
///
/// `hop.body` is `None`, `Length` or `Chunked`. A head without authority (HTTP/1.0) gets an empty Host, as RFC 9112
/// §3.2 has it; set one to route it.
pub fn request(head: &Request, hop: Hop<'_>, out: &mut Vec<u8>) {
    out.reserve(head.fields().bytes().len() + GROWTH_BYTES);
    put(out, &[head.method_bytes(), b" ", head.target(), b" HTTP/1.1\r\nHost: ", head.authority(), b"\r\n"]);
    let is_old = head.version() == Version::Http10;
    for field in head.fields().iter() {
        let is_ours = matches!(field.known, Known::ContentLength | Known::Host | Known::Proxy);
        let has_no_meaning = is_old && field.known == Known::Expect;
        if !is_ours && !has_no_meaning && !field.known.is_hop_by_hop() {
            put(out, &[field.name, b": ", field.value, b"\r\n"]);
        }
    }
    match hop.body {
        // A server may wait for a body that a method with a body does not announce.
        BodyKind::None if matches!(head.method(), Method::Post | Method::Put | Method::Patch) => {
            put_content_length(0, out);
        }
        BodyKind::None | BodyKind::UntilClose => {}
        BodyKind::Length(length) => put_content_length(length, out),
        BodyKind::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    finish(head.version().number(), hop, out);
}

/// Writes a response's head for a client, always as HTTP/1.1.
///
/// `BodyKind::None` says that no body follows whatever the fields say (1xx, 204, 304, answers to HEAD): the origin's
/// Content-Length passes with 304 and HEAD, where it describes what GET would have got, and is left out of 1xx and 204
/// (RFC 9110 §8.6). An empty body otherwise is `Length(0)`. `UntilClose` implies `Connection: close`.
pub fn response(head: &Response, hop: Hop<'_>, out: &mut Vec<u8>) {
    let status = head.status();
    let passes_length = hop.body == BodyKind::None && status != 204 && status >= 200;
    let digits =
        [b'0' + (status / 100 % 10) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8];
    out.reserve(head.fields().bytes().len() + GROWTH_BYTES);
    put(out, &[b"HTTP/1.1 ", &digits, b" ", head.reason(), b"\r\n"]);
    for field in head.fields().iter() {
        let is_ours = field.known == Known::ContentLength && !passes_length;
        if !is_ours && !field.known.is_hop_by_hop() {
            put(out, &[field.name, b": ", field.value, b"\r\n"]);
        }
    }
    let mut hop = hop;
    match hop.body {
        BodyKind::None => {}
        BodyKind::UntilClose => hop.connection = Connection::Close,
        BodyKind::Length(length) => put_content_length(length, out),
        BodyKind::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    finish(head.version().number(), hop, out);
}

/// `Via`, the connection, and the empty line.
fn finish(version: &str, hop: Hop<'_>, out: &mut Vec<u8>) {
    if let Some(name) = hop.via {
        put(out, &[b"Via: ", version.as_bytes(), b" ", name.as_bytes(), b"\r\n"]);
    }
    out.extend_from_slice(match hop.connection {
        Connection::KeepAlive => b"\r\n",
        Connection::KeepAliveNamed => b"Connection: keep-alive\r\n\r\n",
        Connection::Close => b"Connection: close\r\n\r\n",
        Connection::WebSocket => b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    });
}

/// Bytes that [`chunk_head`] writes at most: sixteen digits and CRLF.
pub const CHUNK_HEAD_BYTES_MAX: usize = 18;

/// Writes what goes before a chunk of `len` bytes. Nothing for 0: an empty chunk would end the body.
pub fn chunk_head(len: usize, out: &mut Vec<u8>) {
    if len == 0 {
        return;
    }
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        let digit = (len >> (place * 4)) & 0xf;
        out.push(b"0123456789abcdef".get(digit).copied().unwrap_or_default());
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes what goes after a chunk.
pub fn chunk_tail(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Writes a whole chunk; nothing for an empty one.
pub fn chunk(data: &[u8], out: &mut Vec<u8>) {
    if !data.is_empty() {
        chunk_head(data.len(), out);
        out.extend_from_slice(data);
        chunk_tail(out);
    }
}

/// Ends a chunked body, with trailers when there are any; those that may not stand there are left out.
pub fn last_chunk(trailers: Option<&Fields>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for field in trailers.into_iter().flat_map(Fields::iter) {
        if field.may_trail() {
            put(out, &[field.name, b": ", field.value, b"\r\n"]);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes `HTTP/1.1 100 Continue`.
pub fn proceed(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

fn put_content_length(length: u64, out: &mut Vec<u8>) {
    const DIGITS_MAX: usize = 20;
    let mut digits = [b'0'; DIGITS_MAX];
    let mut rest = length;
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    put(out, &[b"Content-Length: ", digits.get(DIGITS_MAX - used..).unwrap_or_default(), b"\r\n"]);
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}
