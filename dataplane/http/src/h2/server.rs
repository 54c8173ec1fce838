//! One connection, the server's side.
//!
//! ```text
//!  server/receive   bytes -> frames, cut as they come
//!  server/control   SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM
//!  server/request   header blocks and DATA -> requests
//!  server/answer    answers -> frames, flow control, whose turn it is
//!  server/deadline  what takes too long
//! ```
//! Owns: the connection's state between calls. Does not own: bytes under way (`receive`, `output`), the clock
//! (`now_ms`), buffers while idle ([`Pool`]), what a request means.
//! Memory: about 500 bytes and the HPACK table while idle. Every queue is bounded: streams by
//! [`Limits::streams_max`], bodies by the connection's window, output by [`Limits::output_bytes_max`] and one
//! head per stream, events by [`EVENTS_MAX`].

mod answer;
mod control;
mod deadline;
mod receive;
mod request;

use std::sync::Arc;

use super::event::{Event, StreamId};
use super::flood::Floods;
use super::frame::{FrameHeader, HEADER_LEN, kind};
use super::hpack::Decoder;
use super::limits::Limits;
use super::pool::{Pool, Workspace};
use super::stream::{State, Stream, Wait};
use super::timeout::{TICK_MS, Watch};
use super::violation::{Reason, Violation};
use super::window::{ReceiveWindow, WINDOW_DEFAULT};
use crate::head::{Fields, Request};

/// Events that may wait to be polled before `receive` stops taking bytes. A frame makes three at most.
const EVENTS_MAX: usize = 256;
/// Streams reset by us that frames may still be on the way for. More are remembered by nobody: their frames are
/// answered with another reset.
const RESETS_REMEMBERED: usize = 16;

/// The stream is gone, or was answered before; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// The client preface; so many bytes of it were there.
    Preface(usize),
    /// A frame header.
    Header,
    /// The payload of a frame that is handled whole.
    Payload(FrameHeader),
    /// The payload of DATA, handled as it comes.
    Data(Data),
}

/// The rest of a DATA frame.
#[derive(Clone, Copy, Debug)]
struct Data {
    stream: u32,
    /// The first byte says how much padding there is.
    is_pad_unknown: bool,
    len: usize,
    padding: usize,
    end: bool,
}

/// A header block cut into frames.
#[derive(Clone, Copy, Debug)]
struct Block {
    stream: u32,
    end: bool,
}

/// How far a graceful end is (RFC 9113 §6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// Not begun.
    No,
    /// GOAWAY with the highest number and a PING were sent; requests on their way still count.
    Noticed { at_ms: u64 },
    /// GOAWAY with the last stream was sent.
    Final,
}

/// The server's side of one connection.
#[derive(Debug)]
pub struct Server {
    limits: Arc<Limits>,
    decoder: Decoder,
    floods: Floods,
    reading: Reading,
    header: [u8; HEADER_LEN],
    header_len: usize,
    block: Option<Block>,
    receive_window: ReceiveWindow,
    send_window: i64,
    /// The client's SETTINGS_INITIAL_WINDOW_SIZE.
    stream_send_window: u32,
    /// Highest stream the client opened.
    last_stream: u32,
    resets: [u32; RESETS_REMEMBERED],
    resets_next: usize,
    has_settings: bool,
    is_acknowledged: bool,
    has_encoded: bool,
    is_closed: bool,
    is_peer_draining: bool,
    drain: Drain,
    now_ms: u64,
    started_ms: u64,
    /// When waits are looked at again.
    tick_at_ms: u64,
    frames: u64,
    bytes_sent: u64,
    bytes_written: u64,
    head_watch: Watch,
    window_watch: Watch,
    output_watch: Watch,
    work: Workspace,
}

impl Server {
    /// A connection on which nothing was received; our SETTINGS already wait in `output`.
    pub fn new(limits: Arc<Limits>, now_ms: u64) -> Self {
        let mut server = Self {
            decoder: Decoder::new(limits.header_table_bytes as usize),
            floods: Floods::default(),
            reading: Reading::Preface(0),
            header: [0; HEADER_LEN],
            header_len: 0,
            block: None,
            receive_window: ReceiveWindow::new(limits.connection_window_bytes.max(WINDOW_DEFAULT)),
            send_window: i64::from(WINDOW_DEFAULT),
            stream_send_window: WINDOW_DEFAULT,
            last_stream: 0,
            resets: [0; RESETS_REMEMBERED],
            resets_next: 0,
            has_settings: false,
            is_acknowledged: false,
            has_encoded: false,
            is_closed: false,
            is_peer_draining: false,
            drain: Drain::No,
            now_ms,
            started_ms: now_ms,
            tick_at_ms: now_ms + TICK_MS,
            frames: 0,
            bytes_sent: 0,
            bytes_written: 0,
            head_watch: Watch::new(now_ms),
            window_watch: Watch::new(now_ms),
            output_watch: Watch::new(now_ms),
            work: Workspace::default(),
            limits,
        };
        server.write_preface();
        server
    }

    /// What happened, in order; none: nothing further. Ask after `receive`, `consume_output` and `handle_timeout`.
    pub fn poll_event(&mut self) -> Option<Event> {
        let Some(event) = self.work.events.pop_front() else {
            return self.grant().or_else(|| self.end_of_drain());
        };
        match event {
            Event::Request { stream, .. } => {
                if let Some(stream) = self.stream_mut(stream) {
                    stream.is_announced = true;
                }
            }
            Event::Data { stream } => {
                if let Some(stream) = self.stream_mut(stream) {
                    stream.is_data_announced = false;
                }
            }
            _ => {}
        }
        Some(event)
    }

    /// A request's head.
    pub fn request(&self, stream: StreamId) -> Option<&Request> {
        self.stream(stream).map(|stream| &stream.request)
    }

    /// A request's head, to change before it is forwarded, or to take away in exchange for an empty one.
    pub fn request_mut(&mut self, stream: StreamId) -> Option<&mut Request> {
        self.stream_mut(stream).map(|stream| &mut stream.request)
    }

    /// The Content-Length of a request; its body is held to it.
    pub fn content_length(&self, stream: StreamId) -> Option<u64> {
        self.stream(stream)?.content_length
    }

    /// The trailers of a request, once it is complete; empty without.
    pub fn trailers(&self, stream: StreamId) -> Option<&Fields> {
        self.stream(stream).map(|stream| &stream.trailers)
    }

    /// The same, to change before they are forwarded.
    pub fn trailers_mut(&mut self, stream: StreamId) -> Option<&mut Fields> {
        self.stream_mut(stream).map(|stream| &mut stream.trailers)
    }

    /// Body bytes that wait; empty: none now.
    pub fn peek_body(&self, stream: StreamId) -> &[u8] {
        self.stream(stream).map(Stream::body).unwrap_or_default()
    }

    /// Takes `len` body bytes; only then may the client send as many more.
    pub fn consume_body(&mut self, stream: StreamId, len: usize) {
        let Some(index) = self.index(stream.0) else { return };
        let Some(stream) = self.work.streams.get_mut(index) else { return };
        let taken = stream.consume_body(len);
        self.release(index, taken);
    }

    /// Bytes for the client.
    pub fn output(&self) -> &[u8] {
        self.work.output.get(self.work.output_taken..).unwrap_or_default()
    }

    /// Takes `len` bytes of `output`.
    pub fn consume_output(&mut self, len: usize) {
        let work = &mut self.work;
        let taken = len.min(work.output.len() - work.output_taken);
        work.output_taken += taken;
        self.bytes_written += taken as u64;
        if work.output_taken == work.output.len() {
            work.output.clear();
            work.output_taken = 0;
        }
    }

    /// Open streams.
    pub fn stream_count(&self) -> usize {
        self.work.ids.len()
    }

    /// Whether the connection is over: nothing is received or sent any more but what `output` holds.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Gives back what an idle connection does not need. To be called when a turn with this connection is over.
    pub fn settle(&mut self, pool: &mut Pool) {
        if self.work.is_idle() && !self.work.is_new() {
            pool.give(core::mem::take(&mut self.work));
        }
    }

    fn index(&self, id: u32) -> Option<usize> {
        self.work.ids.iter().position(|open| *open == id)
    }

    fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.work.streams.get(self.index(id.0)?)
    }

    fn stream_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let index = self.index(id.0)?;
        self.work.streams.get_mut(index)
    }

    fn write_frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let header = FrameHeader { len: payload.len(), kind, flags, stream };
        self.work.output.extend_from_slice(&header.emit());
        self.work.output.extend_from_slice(payload);
    }

    /// Body bytes of a stream were used up: by the caller, or because nobody wants them.
    fn release(&mut self, index: usize, len: usize) {
        self.release_connection(len);
        let (Some(id), Some(stream)) = (self.work.ids.get(index), self.work.streams.get_mut(index)) else {
            return;
        };
        if stream.state == State::HalfClosed {
            return;
        }
        let id = *id;
        if let Some(increment) = stream.receive_window.release(len) {
            self.write_frame(kind::WINDOW_UPDATE, 0, id, &increment.to_be_bytes());
        }
    }

    fn release_connection(&mut self, len: usize) {
        if let Some(increment) = self.receive_window.release(len) {
            self.write_frame(kind::WINDOW_UPDATE, 0, 0, &increment.to_be_bytes());
        }
    }

    /// Takes a stream out; its buffers serve the next one.
    fn remove(&mut self, index: usize) {
        if index >= self.work.ids.len() || index >= self.work.streams.len() {
            return;
        }
        let id = self.work.ids.swap_remove(index);
        let mut stream = self.work.streams.swap_remove(index);
        if stream.wait != Wait::No {
            self.work.waiting.retain(|waiting| *waiting != id);
        }
        let unread = stream.body().len();
        stream.clear();
        self.work.spare.push(stream);
        self.release_connection(unread);
    }

    /// RST_STREAM, and frames that cross it on the way are expected.
    fn write_reset(&mut self, id: u32, reason: Reason) {
        self.write_frame(kind::RST_STREAM, 0, id, &reason.code().to_be_bytes());
        if let Some(slot) = self.resets.get_mut(self.resets_next) {
            *slot = id;
        }
        self.resets_next = (self.resets_next + 1) % RESETS_REMEMBERED;
    }

    /// Ends an open stream through the client's fault.
    fn fail_stream(&mut self, index: usize, violation: Violation) -> Result<(), Violation> {
        let Some(id) = self.work.ids.get(index).copied() else { return Ok(()) };
        self.write_reset(id, violation.reason());
        self.work.events.push_back(Event::Violation { stream: Some(StreamId(id)), violation });
        self.forget(index, violation.reason());
        self.floods.own_reset(&self.limits, self.now_ms)
    }

    /// Takes a stream out and says so, unless the caller has not heard of it yet: then it never will.
    fn forget(&mut self, index: usize, reason: Reason) {
        let Some(id) = self.work.ids.get(index).copied() else { return };
        let is_announced = self.work.streams.get(index).is_some_and(|stream| stream.is_announced);
        if is_announced {
            self.work.events.push_back(Event::Reset { stream: StreamId(id), reason });
        } else {
            self.work.events.retain(|event| !event.is_about(StreamId(id)));
        }
        self.remove(index);
    }

    /// Ends the connection through the client's fault.
    fn fail(&mut self, violation: Violation) {
        if self.is_closed {
            return;
        }
        self.work.events.push_back(Event::Violation { stream: None, violation });
        self.write_goaway(self.last_stream, violation.reason(), violation.name().as_bytes());
        self.close(violation.reason());
    }

    fn write_goaway(&mut self, last_stream: u32, reason: Reason, debug: &[u8]) {
        let header = FrameHeader { len: 8 + debug.len(), kind: kind::GOAWAY, flags: 0, stream: 0 };
        let output = &mut self.work.output;
        output.extend_from_slice(&header.emit());
        output.extend_from_slice(&last_stream.to_be_bytes());
        output.extend_from_slice(&reason.code().to_be_bytes());
        output.extend_from_slice(debug);
    }

    fn close(&mut self, reason: Reason) {
        self.is_closed = true;
        while !self.work.ids.is_empty() {
            let mut stream = self.work.streams.pop().unwrap_or_default();
            self.work.ids.pop();
            stream.clear();
            self.work.spare.push(stream);
        }
        self.work.waiting.clear();
        self.work.partial.clear();
        self.work.block.clear();
        self.work.events.push_back(Event::Closed { reason });
    }

    /// A drained connection without streams is over.
    fn end_of_drain(&mut self) -> Option<Event> {
        if self.drain != Drain::Final || self.is_closed || !self.work.ids.is_empty() {
            return None;
        }
        self.close(Reason::NoError);
        self.work.events.pop_front()
    }
}

// What an idle connection costs beside its HPACK table.
const _: () = assert!(size_of::<Server>() <= 1_024);
