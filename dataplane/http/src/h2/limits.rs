//! What one HTTP/2 connection may cost us. Every limit with its reason and what happens at it.
//!
//! Owns: [`Limits`] and its defaults. Each limit that is passed is reported as one [`Violation`](super::Violation).
//! One copy per worker, lent to its connections.

use super::flood::Rate;

/// Limits of one connection. Times in milliseconds, sizes in bytes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// SETTINGS_MAX_CONCURRENT_STREAMS. 100 is the least RFC 9113 §6.5.2 recommends and what nginx and browsers are
    /// tuned to; more only buys an attacker more open requests. At the limit: REFUSED_STREAM (`concurrent_streams`).
    pub streams_max: u32,
    /// SETTINGS_INITIAL_WINDOW_SIZE: body bytes one stream may have on the way to us or unread by the origin.
    /// 64 KiB carry 25 Mbit/s at 20 ms. Past it: `flow_control`.
    pub stream_window_bytes: u32,
    /// The connection's receive window: what all bodies together may hold. It is the memory promise of one client:
    /// four full streams. Past it: `flow_control`.
    pub connection_window_bytes: u32,
    /// SETTINGS_MAX_HEADER_LIST_SIZE: names + values + 32 per field. Above: 431 on the stream (`header_list_size`);
    /// above twice this: GOAWAY (`header_bomb`).
    pub header_list_bytes_max: u32,
    /// `:path`. Above: 414 (`target_bytes`). As HTTP/1.1's request line.
    pub target_bytes_max: u32,
    /// Fields of one request, pseudo-header fields counted. Above: as `header_list_bytes_max`.
    pub header_fields_max: u32,
    /// Trailers of one request, counted as `header_list_bytes_max` is. Above: `header_list_size`. They are written to
    /// the origin as HTTP/1.1 trailers: 4 KiB of those, and what the counting adds to 32 of them.
    pub trailer_list_bytes_max: u32,
    /// Trailers of one request, as HTTP/1.1 has it. Above: as `trailer_list_bytes_max`.
    pub trailers_max: u32,
    /// SETTINGS_HEADER_TABLE_SIZE: what the decoder may keep per connection (with an index beside it), and what one
    /// byte of a header block can unfold to. Both sides start with 4,096 (RFC 9113 §6.5.2); 1,024 hold what a browser
    /// repeats. Memory is taken as entries come.
    pub header_table_bytes: u32,
    /// CONTINUATION frames of one header block. A block at `header_list_bytes_max` fits one HEADERS frame; eight
    /// leave room for odd clients. Above: GOAWAY (`continuation_flood`).
    pub continuations_max: u32,
    /// Settings in one SETTINGS frame. There are seven; forty leave room for unknown ones. Above: `settings_flood`.
    pub settings_per_frame_max: u32,
    /// Bytes waiting to be written to the client before we stop reading and stop taking response bodies. Two frames
    /// of 16 KiB keep a TLS record writer busy. Nothing is dropped at it.
    pub output_bytes_max: usize,
    /// PING frames. Clients measure round trips with one a second at most; gRPC sends one per burst of data.
    pub ping: Rate,
    /// SETTINGS frames. A client sends one, some send another after a while.
    pub settings: Rate,
    /// RST_STREAM by the client, and streams reset through its fault. A browser that leaves a page cancels all its
    /// streams at once, twice in a row when the user is quick; hundreds a second are CVE-2023-44487.
    pub reset: Rate,
    /// DATA frames under 64 bytes that do not end a stream. Small messages are legitimate (gRPC), thousands a
    /// second cost more than they carry.
    pub small_data: Rate,
    /// WINDOW_UPDATE frames beyond the two (stream, connection) that each DATA frame of ours allows.
    pub window_update: Rate,
    /// PRIORITY, PRIORITY_UPDATE. Firefox sends six at the start and some per page.
    pub priority: Rate,
    /// Frames of unknown types, and frames on streams that are gone: what was on the way when we reset a stream.
    pub stray: Rate,
    /// Time for a preface, a frame and a header block to become complete. Slower: `slow_head`.
    pub head_timeout_ms: u32,
    /// Time for our SETTINGS to be acknowledged. Later: `settings_timeout`.
    pub settings_timeout_ms: u32,
    /// Time without a byte of a request body that we have room for. Longer: `slow_body`.
    pub body_timeout_ms: u32,
    /// Time a window or the transport may stay shut while we have something to send. Longer: `stalled_stream`,
    /// `stalled_connection`.
    pub stall_timeout_ms: u32,
    /// Time between the two GOAWAYs of a graceful end when the client does not answer our PING.
    pub drain_notice_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams_max: 100,
            stream_window_bytes: 64 * 1024,
            connection_window_bytes: 256 * 1024,
            header_list_bytes_max: 32 * 1024,
            target_bytes_max: 8 * 1024,
            header_fields_max: 128,
            trailer_list_bytes_max: 5 * 1024,
            trailers_max: 32,
            header_table_bytes: 1024,
            continuations_max: 8,
            settings_per_frame_max: 40,
            output_bytes_max: 32 * 1024,
            ping: Rate::new(32, 500),
            settings: Rate::new(8, 5_000),
            reset: Rate::new(200, 50),
            small_data: Rate::new(1_000, 2),
            window_update: Rate::new(1_000, 10),
            priority: Rate::new(256, 50),
            stray: Rate::new(512, 20),
            head_timeout_ms: 10_000,
            settings_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            stall_timeout_ms: 30_000,
            drain_notice_ms: 1_000,
        }
    }
}
