//! TLS of sessions (RFC 8446, RFC 5246), by rustls with the aws-lc-rs provider.
//!
//! ```text
//!  bytes --> ClientHello whole? --> limits --> rustls (unbuffered) --> plaintext
//!              kept until then      source,     decrypts in place      appended to the caller's buffer
//!              (bounded)            worker
//! ```
//! Owns: certificates and their reload ([`Acceptor`], one per node), what a worker needs beside a connection
//! ([`Engine`]), one connection ([`Stream`]), tickets, JA4, the limits on handshakes. Does not own: timeouts (the
//! session's), what is spoken inside.
//!
//! Before a whole ClientHello has arrived a connection holds those bytes and nothing else; afterwards rustls' state
//! (about 3.4 KB), and the bytes of a record that is not whole yet. No session is stored: resumption is by tickets.
//! Cost: a full handshake about 95 us of a core, a resumed one about the same (its key exchange runs again).

mod acceptor;
mod certificate;
pub mod client_hello;
mod engine;
mod error;
mod ja4;
mod output;
mod resolver;
mod self_signed;
mod stream;
mod ticket;

#[cfg(test)]
mod tests;

pub use acceptor::{Acceptor, Loaded};
pub use certificate::LoadError;
pub use engine::Engine;
pub use error::{Outcome, TlsError};
pub use ja4::Ja4;
pub use output::Output;
pub use resolver::Coverage;
pub use stream::{Received, Stream};

/// What is spoken inside TLS, as agreed by ALPN (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, also when the client offered no protocol at all.
    Http11,
    /// HTTP/2.
    H2,
}

impl Protocol {
    /// The name on the wire.
    pub const fn wire(self) -> &'static [u8] {
        match self {
            Self::Http11 => b"http/1.1",
            Self::H2 => b"h2",
        }
    }
}
