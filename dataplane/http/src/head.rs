//! The head of a message: one reusable buffer and an index into it, the same for HTTP/1.1 and HTTP/2.
//!
//! Owns: method, target, status and fields as bytes that are already known to be well formed: nothing can be put
//! into a head that could end a line early, so what [`crate::h1::encode`] writes cannot be split.
//! Does not own: framing (Content-Length and Transfer-Encoding are read by the parsers and written by the encoder).
//! Cost: one copy of the head's bytes; no allocation once a reused head has grown to its traffic.
//!
//! ```text
//! bytes   GET/index.html?q=1Hostexample.comAccept*/*...   (what is replaced stays as a hole until `clear`)
//! index   method target+path_len [name,value,Known] [name,value,Known] ...
//! ```
mod fields;
mod known;
mod request;
mod response;
mod trailers;
mod word;

pub use fields::{Field, Fields};
pub use known::Known;
pub use request::Request;
pub use response::Response;
pub use word::{Form, Method, Scheme, Version};

/// A part of a head's buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Span {
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes.get(start..start + self.len as usize).unwrap_or_default()
    }
}
