//! What leaves: heads written from what was inspected, never copied from what came.
//!
//! Owns: the start line, Host first, hop-by-hop removal and `Connection` (RFC 9110 §7.6.1), framing fields, `Via`,
//! chunks. Does not own: which bytes a head may hold (they are checked on the way in).
use super::BodyKind;
use crate::head::{Fields, Request, Response};

/// What the next hop is told about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Nothing: HTTP/1.1 keeps it open.
    KeepAlive,
    /// `Connection: keep-alive`, for an HTTP/1.0 client that asked.
    KeepAliveNamed,
    /// `Connection: close`.
    Close,
    /// `Connection: upgrade` and `Upgrade: websocket`.
    WebSocket,
}

/// What is written beside the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop<'a> {
    /// How the body that follows is framed.
    pub body: BodyKind,
    /// What the peer is told about the connection.
    pub connection: Connection,
    /// Our name in `Via` (RFC 9110 §7.6.3), appended to those before; `None` writes none of ours.
    pub via: Option<&'a str>,
}

/// Writes a request's head for an origin, always as HTTP/1.1. `Expect` passes as it is.
pub fn request(head: &Request, hop: Hop<'_>, out: &mut Vec<u8>) {
    let _ = (head, hop, out);
}

/// Writes a response's head for a client, always as HTTP/1.1.
///
/// For the answer to HEAD and for 304, `hop.body` is `None` and the origin's Content-Length passes as it is.
pub fn response(head: &Response, hop: Hop<'_>, out: &mut Vec<u8>) {
    let _ = (head, hop, out);
}

/// Bytes that [`chunk_head`] writes at most.
pub const CHUNK_HEAD_BYTES_MAX: usize = 18;

/// Writes what goes before a chunk of `len` bytes, `len > 0`.
pub fn chunk_head(len: usize, out: &mut Vec<u8>) {
    let _ = (len, out);
}

/// Writes what goes after a chunk.
pub fn chunk_tail(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Ends a chunked body, with trailers when there are any.
pub fn last_chunk(trailers: Option<&Fields>, out: &mut Vec<u8>) {
    let _ = (trailers, out);
}

/// Writes `HTTP/1.1 100 Continue`.
pub fn proceed(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}
