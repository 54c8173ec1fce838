//! Bounds of HTTP/1.1 messages: each with its unit, its reason, and what happens at it.
//!
//! Owns: the numbers. Does not own: body sizes, rates and times, which are the session's (per route).

/// Slots for fields on the stack of the parser, hence the most that [`Limits::fields_max`] may be.
pub const FIELDS_CEILING: usize = 128;

/// Bounds of one HTTP/1.1 message. All are checked while bytes arrive, before anything is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Request line or status line, bytes without CRLF. Over: 414 (RFC 9112 §3 asks for at least 8,000).
    pub start_line_bytes_max: u32,
    /// Whole head with its final empty line, bytes. Over: 431. What a connection may make us hold.
    pub head_bytes_max: u32,
    /// One field line, bytes without CRLF. Over: 431. Large cookies are near 4 KiB each, 8 KiB in sum.
    pub field_bytes_max: u32,
    /// Field lines of a head, at most [`FIELDS_CEILING`]. Over: 431. Browsers send below 30.
    pub fields_max: u16,
    /// Empty lines before a request line that are skipped (RFC 9112 §2.2 asks for one). Over: 400.
    pub empty_lines_max: u8,
    /// Chunk-size line with its extensions, bytes. Over: 400. No known client sends extensions.
    pub chunk_line_bytes_max: u16,
    /// Extension bytes of all chunks of one body. Over: 400. Bounds work that carries no data.
    pub chunk_extension_bytes_max: u32,
    /// Trailer section, bytes. Over: 431.
    pub trailer_bytes_max: u32,
    /// Trailer fields. Over: 431.
    pub trailers_max: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            start_line_bytes_max: 8_192,
            head_bytes_max: 32_768,
            field_bytes_max: 16_384,
            fields_max: 100,
            empty_lines_max: 2,
            chunk_line_bytes_max: 256,
            chunk_extension_bytes_max: 4_096,
            trailer_bytes_max: 4_096,
            trailers_max: 32,
        }
    }
}
