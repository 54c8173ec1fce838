//! Answers on their way out: heads, bodies under flow control, whose turn it is.
//!
//! A body is taken only as far as the stream's window, the connection's window and `output` have room. A stream
//! whose [`Server::send`] was short waits in a queue; when there is room again the first of it is told
//! ([`Event::Writable`]), and while others wait nobody gets more than [`QUANTUM_BYTES`] at a time. So streams share
//! a connection evenly, and a response waits at the origin instead of here.

use super::super::event::{Event, StreamId};
use super::super::frame::{FrameHeader, HEADER_LEN, PAYLOAD_LEN_MAX, flag, kind};
use super::super::hpack;
use super::super::stream::{Answer, State, Wait};
use super::super::violation::Reason;
use super::{Drain, Gone, Server};
use crate::head::{Field, Fields, Known, Response};
use crate::syntax;

/// What one stream may send while others wait: one frame.
const QUANTUM_BYTES: usize = PAYLOAD_LEN_MAX;
/// A frame smaller than this, though more waits, is the window's doing: it earns the client no further updates.
const FRAME_BYTES_GOOD: usize = 1_024;

impl Server {
    /// Sends an answer's head; `end`: it has no body. A head of 1xx announces, the final one follows. Fields that
    /// concern an HTTP/1.1 connection are left out.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn respond(&mut self, stream: StreamId, head: &Response, end: bool) -> Result<(), Gone> {
        let index = self.index(stream.0).ok_or(Gone)?;
        let open = self.work.streams.get_mut(index).ok_or(Gone)?;
        if open.answer != Answer::Head {
            return Err(Gone);
        }
        let is_interim = head.status() < 200;
        if !is_interim {
            let is_silent = open.is_head || matches!(head.status(), 204 | 304);
            open.answer = if is_silent { Answer::Silent } else { Answer::Body };
        }
        let end = end && !is_interim;
        self.write_block(stream.0, end, |out| {
            hpack::status(head.status(), out);
            // No body, no length (RFC 9110 §8.6).
            let has_length = !is_interim && head.status() != 204;
            let may_pass = |field: &Field<'_>| {
                !field.known.is_hop_by_hop() && (has_length || field.known != Known::ContentLength)
            };
            write_fields(head.fields(), may_pass, out);
        });
        if end {
            self.end_answer(index);
        }
        Ok(())
    }

    /// How many body bytes [`Server::send`] would take now. When that is less than there is, send nevertheless:
    /// only a short `send` is followed by [`Event::Writable`].
    pub fn room(&self, stream: StreamId) -> usize {
        let Some(open) = self.stream(stream) else { return 0 };
        match open.answer {
            Answer::Head => return 0,
            Answer::Silent => return PAYLOAD_LEN_MAX,
            Answer::Body if open.wait == Wait::Queued => return 0,
            Answer::Body => {}
        }
        let output = self.limits.output_bytes_max.saturating_sub(self.output().len());
        let window = usize::try_from(open.send_window.min(self.send_window)).unwrap_or(0);
        let room = window.min(output);
        if self.work.waiting.is_empty() { room } else { room.min(QUANTUM_BYTES) }
    }

    /// Sends body bytes; `end`: these are the last, which counts only when all were taken. Returns how many were
    /// taken. After a short one [`Event::Writable`] tells when there is room again.
    pub fn send(&mut self, stream: StreamId, bytes: &[u8], end: bool) -> usize {
        let Some(index) = self.index(stream.0) else { return 0 };
        let Some(open) = self.work.streams.get(index) else { return 0 };
        let is_silent = open.answer == Answer::Silent;
        let room = self.room(stream);
        if !is_silent {
            let taken = self.write_body(index, bytes, room, end);
            if taken < bytes.len() {
                self.queue(index, taken > 0);
                return taken;
            }
        }
        if end && (is_silent || bytes.is_empty()) && self.is_answering(index) {
            self.write_frame(kind::DATA, flag::END_STREAM, stream.0, &[]);
        }
        if end && self.is_answering(index) {
            self.end_answer(index);
        }
        bytes.len()
    }

    /// Ends an answer with trailers.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn send_trailers(&mut self, stream: StreamId, trailers: &Fields) -> Result<(), Gone> {
        let index = self.index(stream.0).filter(|index| self.is_answering(*index)).ok_or(Gone)?;
        let may_pass = |field: &Field<'_>| field.may_trail();
        if trailers.iter().any(|field| may_pass(&field)) {
            self.write_block(stream.0, true, |out| write_fields(trailers, may_pass, out));
        } else {
            self.write_frame(kind::DATA, flag::END_STREAM, stream.0, &[]);
        }
        self.end_answer(index);
        Ok(())
    }

    /// Ends a stream before its answer is complete.
    pub fn reset(&mut self, stream: StreamId, reason: Reason) {
        if let Some(index) = self.index(stream.0) {
            self.write_reset(stream.0, reason);
            self.work.events.retain(|event| !event.is_about(stream));
            self.remove(index);
        }
    }

    /// An answer without fields and body, for a request that was refused.
    pub(super) fn write_bare_answer(&mut self, id: u32, status: u16) {
        self.write_block(id, true, |out| {
            hpack::status(status, out);
            hpack::field(b"content-length", b"0", out);
        });
    }

    /// The next stream that waits and has room.
    pub(super) fn grant(&mut self) -> Option<Event> {
        if self.send_window <= 0 || self.output().len() + FRAME_BYTES_GOOD > self.limits.output_bytes_max {
            return None;
        }
        for _ in 0..self.work.waiting.len() {
            let id = self.work.waiting.pop_front()?;
            let Some(open) = self.stream_mut(StreamId(id)) else { continue };
            if open.send_window > 0 {
                open.wait = Wait::Granted;
                return Some(Event::Writable { stream: StreamId(id) });
            }
            self.work.waiting.push_back(id);
        }
        None
    }

    fn is_answering(&self, index: usize) -> bool {
        self.work.streams.get(index).is_some_and(|open| open.answer != Answer::Head)
    }

    /// Writes as much of a body as `room` allows. The flag of the end goes with its last byte.
    fn write_body(&mut self, index: usize, bytes: &[u8], room: usize, end: bool) -> usize {
        let Some(id) = self.work.ids.get(index).copied() else { return 0 };
        // A body waits for a frame worth sending, unless it is the client's window that is small.
        let output = self.limits.output_bytes_max.saturating_sub(self.output().len());
        if room < bytes.len() && output < FRAME_BYTES_GOOD {
            return 0;
        }
        let len = bytes.len().min(room);
        let is_whole = len == bytes.len();
        let mut frames = bytes.get(..len).unwrap_or_default().chunks(PAYLOAD_LEN_MAX).peekable();
        while let Some(frame) = frames.next() {
            let is_last = is_whole && end && frames.peek().is_none();
            let flags = if is_last { flag::END_STREAM } else { 0 };
            self.write_frame(kind::DATA, flags, id, frame);
            if is_whole || frame.len() >= FRAME_BYTES_GOOD {
                self.floods.data_sent(&self.limits);
            }
        }
        self.send_window -= len as i64;
        self.bytes_sent += len as u64;
        if let Some(open) = self.work.streams.get_mut(index) {
            open.send_window -= len as i64;
            open.sent += len as u64;
            open.wait = if open.wait == Wait::Granted { Wait::No } else { open.wait };
        }
        len
    }

    /// A short send: behind the others, or in front again when its turn brought it nothing.
    fn queue(&mut self, index: usize, has_sent: bool) {
        let (Some(id), Some(open)) = (self.work.ids.get(index), self.work.streams.get_mut(index)) else {
            return;
        };
        match open.wait {
            Wait::Queued => return,
            Wait::Granted if !has_sent => self.work.waiting.push_front(*id),
            Wait::Granted | Wait::No => self.work.waiting.push_back(*id),
        }
        open.wait = Wait::Queued;
    }

    /// Our side is done. A request that is still on its way is not waited for (RFC 9113 §8.1).
    fn end_answer(&mut self, index: usize) {
        let (Some(id), Some(open)) = (self.work.ids.get(index).copied(), self.work.streams.get(index)) else {
            return;
        };
        if open.state == State::Open {
            self.write_reset(id, Reason::NoError);
        }
        self.work.events.retain(|event| !event.is_about(StreamId(id)));
        self.remove(index);
    }

    /// HEADERS, and CONTINUATION for what does not fit.
    fn write_block(&mut self, id: u32, end: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.work.output.len();
        self.work.output.extend_from_slice(&[0; HEADER_LEN]);
        if !core::mem::replace(&mut self.has_encoded, true) {
            hpack::table_size_zero(&mut self.work.output);
        }
        write(&mut self.work.output);
        let len = self.work.output.len() - start - HEADER_LEN;
        let end_stream = if end { flag::END_STREAM } else { 0 };
        if len <= PAYLOAD_LEN_MAX {
            let flags = flag::END_HEADERS | end_stream;
            let header = FrameHeader { len, kind: kind::HEADERS, flags, stream: id }.emit();
            if let Some(room) = self.work.output.get_mut(start..start + HEADER_LEN) {
                room.copy_from_slice(&header);
            }
            return;
        }
        let block = self.work.output.split_off(start + HEADER_LEN);
        self.work.output.truncate(start);
        let mut fragments = block.chunks(PAYLOAD_LEN_MAX).peekable();
        let mut frame = (kind::HEADERS, end_stream);
        while let Some(fragment) = fragments.next() {
            let end_headers = if fragments.peek().is_none() { flag::END_HEADERS } else { 0 };
            self.write_frame(frame.0, frame.1 | end_headers, id, fragment);
            frame = (kind::CONTINUATION, 0);
        }
    }

    /// Whether a graceful end has come so far that no further request is taken.
    pub fn is_draining(&self) -> bool {
        self.drain != Drain::No || self.is_peer_draining
    }
}

/// Fields of a head or of trailers, without those that its Connection field names.
fn write_fields(fields: &Fields, may_pass: impl Fn(&Field<'_>) -> bool, out: &mut Vec<u8>) {
    let has_connection = fields.known(Known::Connection).is_some();
    for field in fields.iter().filter(|field| may_pass(field)) {
        if !(has_connection && is_named_by_connection(fields, field.name)) {
            hpack::field(field.name, field.value, out);
        }
    }
}

fn is_named_by_connection(fields: &Fields, name: &[u8]) -> bool {
    let mut members = fields.all_known(Known::Connection).flat_map(syntax::list);
    members.any(|member| member.eq_ignore_ascii_case(name))
}
