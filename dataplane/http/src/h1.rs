//! HTTP/1.1 (RFC 9112), server side towards clients and client side towards origins.
//!
//! [`parse`] reads heads, [`body`] reads bodies, [`encode`] writes both. Strict on purpose: a message that two
//! parsers could read differently is refused, with a status and the end of the connection.
//!
//! ```text
//! bytes -> parse::request -> Head { len, body, .. } -> body::Decoder::new(head.body) -> Data* End -> next head
//! ```
pub mod body;
pub mod encode;
pub mod parse;
mod upgrade;

pub use parse::{Head, Parsed, Progress, ResponseHead};

/// How a message's body is delimited (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyKind {
    /// No body.
    #[default]
    None,
    /// This many bytes; a request with `Content-Length: 0` is `Length(0)`.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// All until the connection ends; responses only.
    UntilClose,
}

/// What a request asks to switch its connection to (RFC 9110 §7.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// A well-formed WebSocket opening handshake (RFC 6455 §4.1).
    WebSocket,
    /// Anything else, h2c among it: never passed on, the request is an ordinary one.
    Other,
}

#[cfg(test)]
mod tests;
