//! Why a message was refused: one variant = one counter = one status.
//!
//! After any of these the connection is closed: where the next message begins is no longer known, or not worth
//! guessing (RFC 9112 §11.2). The same enum serves requests and an origin's responses; for the latter the client
//! gets 502 whatever [`Error::status`] says.
use std::fmt;

macro_rules! errors {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:literal;)+) => {
        /// Why a message was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Error {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Error {
            /// Every refusal, for tables of counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The counter's label: short, stable, snake case.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The status a client gets, when a response can still be sent.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }
        }
    };
}

errors! {
    /// A line that ends in LF alone, or a CR that no LF follows (RFC 9112 §2.2).
    BareLineEnd = "bare_line_end", 400;
    /// A chunk-size line that is not `1*HEXDIG` and extensions (RFC 9112 §7.1).
    ChunkSize = "chunk_size", 400;
    /// A chunk size over 2^63 - 1.
    ChunkSizeOverflow = "chunk_size_overflow", 400;
    /// A malformed chunk extension, or more of them than the limit.
    ChunkExtension = "chunk_extension", 400;
    /// Bytes other than CRLF after a chunk's data.
    ChunkEnd = "chunk_end", 400;
    /// CONNECT: this is no tunnel to elsewhere.
    Connect = "connect", 501;
    /// A `Connection` that is no list of tokens, or that nominates framing or Host (RFC 9110 §7.6.1).
    ConnectionOption = "connection_option", 400;
    /// A Content-Length that is not digits, or over 2^63 - 1 (RFC 9110 §8.6).
    ContentLength = "content_length", 400;
    /// More than one Content-Length, equal or not (RFC 9112 §6.3).
    ContentLengthRepeated = "content_length_repeated", 400;
    /// Content-Length beside Transfer-Encoding (RFC 9112 §6.3).
    ContentLengthWithTransferEncoding = "content_length_with_transfer_encoding", 400;
    /// An expectation other than 100-continue (RFC 9110 §10.1.1).
    Expectation = "expectation", 417;
    /// A field line over its limit.
    FieldBytes = "field_bytes", 431;
    /// A line that continues the one before (obs-fold, RFC 9112 §5.2).
    FieldFolded = "field_folded", 400;
    /// A field name that is no token, or whitespace before its colon (RFC 9112 §5.1).
    FieldName = "field_name", 400;
    /// A control byte in a field's value (RFC 9110 §5.5).
    FieldValue = "field_value", 400;
    /// More fields than the limit.
    FieldsCount = "fields_count", 431;
    /// A head over its limit.
    HeadBytes = "head_bytes", 431;
    /// A Host that is no host and port (RFC 9112 §3.2).
    HostInvalid = "host_invalid", 400;
    /// An absolute-form target that names another host than the Host field.
    HostMismatch = "host_mismatch", 400;
    /// HTTP/1.1 without Host.
    HostMissing = "host_missing", 400;
    /// More than one Host.
    HostRepeated = "host_repeated", 400;
    /// A method that is no token.
    Method = "method", 400;
    /// A start line that cannot be read.
    StartLine = "start_line", 400;
    /// A start line over its limit.
    StartLineBytes = "start_line_bytes", 414;
    /// A status line that cannot be read, or a status outside 100-599.
    Status = "status", 502;
    /// 101 without having been asked (RFC 9110 §15.2.2).
    SwitchUnasked = "switch_unasked", 502;
    /// A request target with a byte it may not hold, or in a form its method does not have (RFC 9112 §3.2).
    Target = "target", 400;
    /// TRACE with a body (RFC 9110 §9.3.8).
    TraceBody = "trace_body", 400;
    /// A trailer section over its limit.
    TrailerBytes = "trailer_bytes", 431;
    /// More trailer fields than the limit.
    TrailersCount = "trailers_count", 431;
    /// Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1).
    TransferEncodingInHttp10 = "transfer_encoding_in_http10", 400;
    /// A transfer coding other than exactly one `chunked` (RFC 9112 §6.1).
    TransferEncoding = "transfer_encoding", 501;
    /// More than one Transfer-Encoding field.
    TransferEncodingRepeated = "transfer_encoding_repeated", 400;
    /// A message that ended before its body did.
    Truncated = "truncated", 400;
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version = "version", 505;
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Error {}
