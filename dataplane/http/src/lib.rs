//! HTTP of the data plane: bytes in, heads, bodies and bytes out.
//!
//! Pure: no clock, no randomness, no I/O, no log line. One type of head ([`head::Request`], [`head::Response`])
//! serves HTTP/1.1 and HTTP/2, so that what inspects a request sees one thing. What leaves is written from that
//! head by [`h1::encode`]: no byte of a message's framing is ever copied through (RFC 9112 §11.2).
//!
//! From the wire inward: [`h1::parse`] / [`h2`] -> [`head`] -> [`target`] (what a path would mean) -> the caller
//! -> [`h1::encode`]. [`limits`] names every bound, [`error`] every refusal with its status and counter.
#![forbid(unsafe_code)]

pub mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod h1;
pub mod h2;
pub mod head;
pub mod limits;
pub mod syntax;
pub mod target;
