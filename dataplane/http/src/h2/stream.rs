//! One stream: a request on its way in, its answer on the way out (RFC 9113 §5.1).
//!
//! ```text
//!            HEADERS            END_STREAM                our END_STREAM
//!   (idle) ----------> Open ----------------> HalfClosed ----------------> gone
//!                        |                                 our END_STREAM
//!                        '------------------------------------------------> gone, RST_STREAM(NO_ERROR)
//!   any -- RST_STREAM either way --> gone
//! ```
//! There is no half-closed (local): who has its answer need not finish its request (RFC 9113 §8.1), so we say so and
//! forget the stream. Gone streams are not remembered but for the last few that we reset.
//! Memory: about 350 bytes beside head and body buffers, reused from stream to stream.

use super::assembler::Framing;
use super::timeout::Watch;
use super::window::ReceiveWindow;
use crate::head::{Fields, Method, Request};

/// What the client has still to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// It may send DATA and trailers.
    #[default]
    Open,
    /// half-closed (remote): its request is complete.
    HalfClosed,
}

/// What we have still to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Answer {
    /// A final head.
    #[default]
    Head,
    /// Body, until its end.
    Body,
    /// The end; body bytes are not for the wire (HEAD, 204, 304).
    Silent,
}

/// Whether a stream waits for room to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wait {
    /// No.
    #[default]
    No,
    /// Its turn has not come.
    Queued,
    /// It was told that there is room.
    Granted,
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) request: Request,
    pub(super) trailers: Fields,
    pub(super) state: State,
    pub(super) answer: Answer,
    pub(super) wait: Wait,
    /// HEAD: its answer has no body. Kept apart, since the caller may take the head away.
    pub(super) is_head: bool,
    /// Whether the caller knows of it.
    pub(super) is_announced: bool,
    /// Whether an event about body bytes is on its way.
    pub(super) is_data_announced: bool,
    pub(super) content_length: Option<u64>,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) receive_window: ReceiveWindow,
    pub(super) send_window: i64,
    pub(super) body_watch: Watch,
    pub(super) send_watch: Watch,
    body: Vec<u8>,
    body_start: usize,
}

impl Stream {
    /// Begins with its head in `request`; everything else is as new.
    pub(super) fn begin(&mut self, framing: Framing, receive_window: u32, send_window: i64, now_ms: u64) {
        let is_head = self.request.method() == Method::Head;
        *self = Self {
            request: core::mem::take(&mut self.request),
            trailers: core::mem::take(&mut self.trailers),
            body: core::mem::take(&mut self.body),
            is_head,
            content_length: framing.content_length,
            receive_window: ReceiveWindow::new(receive_window),
            send_window,
            body_watch: Watch::new(now_ms),
            send_watch: Watch::new(now_ms),
            ..Self::default()
        };
    }

    /// Forgets everything but the room.
    pub(super) fn clear(&mut self) {
        self.request.clear();
        self.trailers.clear();
        self.body.clear();
        self.body_start = 0;
    }

    /// Body bytes that wait for the caller.
    pub(super) fn body(&self) -> &[u8] {
        self.body.get(self.body_start..).unwrap_or_default()
    }

    /// Body bytes arrived. The window bounds how many wait.
    pub(super) fn append_body(&mut self, bytes: &[u8]) {
        if self.body_start > 0 && self.body.len() + bytes.len() > self.body.capacity() {
            self.body.drain(..self.body_start);
            self.body_start = 0;
        }
        self.body.extend_from_slice(bytes);
        self.received += bytes.len() as u64;
    }

    /// The caller took `len` of them; returns how many there were to take.
    pub(super) fn consume_body(&mut self, len: usize) -> usize {
        let taken = len.min(self.body.len() - self.body_start);
        self.body_start += taken;
        if self.body_start == self.body.len() {
            self.body.clear();
            self.body_start = 0;
        }
        taken
    }

    /// Heap that it holds, bytes.
    pub(super) fn capacity_bytes(&self) -> usize {
        self.request.fields().capacity_bytes() + self.trailers.capacity_bytes() + self.body.capacity()
    }
}
