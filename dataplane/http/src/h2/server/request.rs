//! Header blocks and DATA: requests on their way in.

use core::ops::ControlFlow;

use super::super::assembler::Assembler;
use super::super::event::{Event, StreamId};
use super::super::frame::{FrameHeader, flag, kind};
use super::super::hpack;
use super::super::stream::{State, Stream};
use super::super::violation::{Reason, Violation};
use super::super::window::WINDOW_DEFAULT;
use super::{Block, Data, Drain, Reading, Server};

/// Priority fields of a HEADERS frame: read and ignored.
const PRIORITY_LEN: usize = 5;

impl Server {
    pub(super) fn handle_headers(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Violation> {
        if header.stream.is_multiple_of(2) {
            // Zero is the connection, even numbers are ours to open (RFC 9113 §5.1.1).
            return Err(Violation::FrameOrder);
        }
        let fragment = without_padding(header, payload).ok_or(Violation::FrameOrder)?;
        let end = header.has(flag::END_STREAM);
        if header.has(flag::END_HEADERS) {
            return self.end_block(header.stream, end, fragment);
        }
        self.work.block.extend_from_slice(fragment);
        self.block = Some(Block { stream: header.stream, end });
        Ok(())
    }

    pub(super) fn handle_continuation(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<(), Violation> {
        let Some(Block { stream, end }) = self.block else { return Err(Violation::FrameOrder) };
        // Coded, a list is never longer than what it counts as: more cannot be a list within the limit.
        if self.work.block.len() + payload.len() > self.limits.header_list_bytes_max as usize {
            return Err(Violation::HeaderBomb);
        }
        self.work.block.extend_from_slice(payload);
        if !header.has(flag::END_HEADERS) {
            return Ok(());
        }
        self.block = None;
        let mut block = core::mem::take(&mut self.work.block);
        let outcome = self.end_block(stream, end, &block);
        block.clear();
        self.work.block = block;
        outcome
    }

    /// A header block is whole. Whatever becomes of it, it is decoded: the table must follow.
    fn end_block(&mut self, id: u32, end: bool, block: &[u8]) -> Result<(), Violation> {
        if let Some(index) = self.index(id) {
            return self.end_with_trailers(index, end, block);
        }
        if id > self.last_stream {
            self.last_stream = id;
            return self.open(id, end, block);
        }
        let mut spare = self.work.spare.pop().unwrap_or_default();
        let outcome = self.decode(block, |_, _, _| {}, &mut spare);
        self.work.spare.push(spare);
        outcome?;
        // On its way when we reset the stream; otherwise the client itself had ended it.
        if self.resets.contains(&id) {
            self.floods.stray(&self.limits, self.now_ms)
        } else {
            Err(Violation::StreamClosed)
        }
    }

    fn decode(
        &mut self,
        block: &[u8],
        mut take: impl FnMut(&mut Stream, &[u8], &[u8]),
        stream: &mut Stream,
    ) -> Result<(), Violation> {
        let list_max = self.limits.header_list_bytes_max as usize * 2;
        let mut list_bytes = 0;
        let mut scratch = core::mem::take(&mut self.work.scratch);
        let outcome = self.decoder.decode(block, &mut scratch, |name, value| {
            list_bytes += name.len() + value.len() + 32;
            take(stream, name, value);
            if list_bytes > list_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.work.scratch = scratch;
        match outcome {
            Err(hpack::Malformed) => Err(Violation::Compression),
            Ok(()) if list_bytes > list_max => Err(Violation::HeaderBomb),
            Ok(()) => Ok(()),
        }
    }

    /// A new stream.
    fn open(&mut self, id: u32, end: bool, block: &[u8]) -> Result<(), Violation> {
        let mut stream = self.work.spare.pop().unwrap_or_default();
        let limits = std::sync::Arc::clone(&self.limits);
        let mut assembler = Assembler::head();
        let take = |stream: &mut Stream, name: &[u8], value: &[u8]| {
            assembler.request_field(&mut stream.request, &limits, name, value);
        };
        let outcome =
            self.decode(block, take, &mut stream).map(|()| assembler.finish(&mut stream.request, end));
        let refused = match outcome {
            Err(violation) => return Err(violation),
            Ok(_) if self.drain == Drain::Final => Some(None),
            Ok(_) if self.work.ids.len() >= limits.streams_max as usize => {
                Some(Some(Violation::ConcurrentStreams))
            }
            Ok(Err(violation)) => Some(Some(violation)),
            Ok(Ok(framing)) => {
                // Until the client knows our settings, it may take the window for the default one.
                let window = match self.is_acknowledged {
                    true => limits.stream_window_bytes,
                    false => limits.stream_window_bytes.max(WINDOW_DEFAULT),
                };
                stream.begin(framing, window, i64::from(self.stream_send_window), self.now_ms);
                None
            }
        };
        if let Some(violation) = refused {
            stream.clear();
            self.work.spare.push(stream);
            return self.refuse(id, end, violation);
        }
        if end {
            stream.state = State::HalfClosed;
        }
        self.work.ids.push(id);
        self.work.streams.push(stream);
        self.work.events.push_back(Event::Request { stream: StreamId(id), end });
        Ok(())
    }

    /// A request that never becomes a stream; without a violation it came after our last GOAWAY.
    fn refuse(&mut self, id: u32, end: bool, violation: Option<Violation>) -> Result<(), Violation> {
        let Some(violation) = violation else {
            self.write_reset(id, Reason::RefusedStream);
            return Ok(());
        };
        match violation.status() {
            Some(status) => {
                self.write_bare_answer(id, status);
                if !end {
                    self.write_reset(id, Reason::NoError);
                }
            }
            None => self.write_reset(id, violation.reason()),
        }
        self.work.events.push_back(Event::Violation { stream: Some(StreamId(id)), violation });
        self.floods.own_reset(&self.limits, self.now_ms)
    }

    /// A second header block on an open stream.
    fn end_with_trailers(&mut self, index: usize, end: bool, block: &[u8]) -> Result<(), Violation> {
        let Some(mut stream) = self.work.streams.get_mut(index).map(core::mem::take) else { return Ok(()) };
        let limits = std::sync::Arc::clone(&self.limits);
        let mut assembler = Assembler::trailers();
        let is_open = stream.state == State::Open;
        let take = |stream: &mut Stream, name: &[u8], value: &[u8]| {
            if is_open {
                assembler.trailer_field(&mut stream.trailers, &limits, name, value);
            }
        };
        let outcome = self.decode(block, take, &mut stream);
        if let Some(slot) = self.work.streams.get_mut(index) {
            *slot = stream;
        }
        outcome?;
        if !is_open {
            return self.fail_stream(index, Violation::StreamClosed);
        }
        if !end {
            return self.fail_stream(index, Violation::Trailers);
        }
        match assembler.violation() {
            Some(violation) => self.fail_stream(index, violation),
            None => self.end_request(index),
        }
    }

    /// The request is complete.
    fn end_request(&mut self, index: usize) -> Result<(), Violation> {
        let (Some(id), Some(stream)) = (self.work.ids.get(index), self.work.streams.get_mut(index)) else {
            return Ok(());
        };
        if stream.content_length.is_some_and(|length| length != stream.received) {
            return self.fail_stream(index, Violation::ContentLength);
        }
        stream.state = State::HalfClosed;
        self.work.events.push_back(Event::End { stream: StreamId(*id) });
        Ok(())
    }

    /// The header of a DATA frame: flow control counts its whole payload (RFC 9113 §6.9.1).
    pub(super) fn begin_data(&mut self, header: FrameHeader) -> Result<(), Violation> {
        self.check_not_idle(header.stream)?;
        if !self.receive_window.take(header.len) {
            return Err(Violation::FlowControl);
        }
        let is_padded = header.has(flag::PADDED);
        if is_padded && header.len == 0 {
            return Err(Violation::FrameSize);
        }
        match self.index(header.stream) {
            Some(index) => self.check_data(index, header)?,
            None if self.resets.contains(&header.stream) => self.floods.stray(&self.limits, self.now_ms)?,
            None => {
                self.write_reset(header.stream, Reason::StreamClosed);
                self.floods.own_reset(&self.limits, self.now_ms)?;
            }
        }
        let data = Data {
            stream: header.stream,
            is_pad_unknown: is_padded,
            len: header.len,
            padding: 0,
            end: header.has(flag::END_STREAM),
        };
        self.continue_data(data)
    }

    /// Whether this stream may have this DATA frame; if not, the stream ends and the frame is skipped.
    fn check_data(&mut self, index: usize, header: FrameHeader) -> Result<(), Violation> {
        let Some(stream) = self.work.streams.get_mut(index) else { return Ok(()) };
        if stream.state != State::Open {
            return self.fail_stream(index, Violation::StreamClosed);
        }
        if !stream.receive_window.take(header.len) {
            return self.fail_stream(index, Violation::FlowControl);
        }
        Ok(())
    }

    pub(super) fn step_data(&mut self, mut data: Data, bytes: &[u8]) -> Result<usize, Violation> {
        if data.is_pad_unknown {
            let padding = usize::from(bytes.first().copied().unwrap_or_default());
            if padding >= data.len {
                return Err(Violation::FrameOrder);
            }
            self.skip_data(data.stream, 1);
            data = Data { is_pad_unknown: false, len: data.len - 1 - padding, padding, ..data };
            self.continue_data(data)?;
            return Ok(1);
        }
        if data.len == 0 {
            let taken = data.padding.min(bytes.len());
            self.skip_data(data.stream, taken);
            data.padding -= taken;
            self.continue_data(data)?;
            return Ok(taken);
        }
        let taken = data.len.min(bytes.len());
        self.take_data(data.stream, bytes.get(..taken).unwrap_or_default())?;
        data.len -= taken;
        self.continue_data(data)?;
        Ok(taken)
    }

    /// Goes on with the frame, or ends it.
    fn continue_data(&mut self, data: Data) -> Result<(), Violation> {
        if data.len > 0 || data.padding > 0 {
            self.reading = Reading::Data(data);
            return Ok(());
        }
        self.reading = Reading::Header;
        self.frames += 1;
        match self.index(data.stream) {
            Some(index) if data.end => self.end_request(index),
            _ => Ok(()),
        }
    }

    /// Padding is used up as it comes.
    fn skip_data(&mut self, id: u32, len: usize) {
        match self.index(id) {
            Some(index) => self.release(index, len),
            None => self.release_connection(len),
        }
    }

    fn take_data(&mut self, id: u32, bytes: &[u8]) -> Result<(), Violation> {
        let Some(index) = self.index(id) else {
            self.release_connection(bytes.len());
            return Ok(());
        };
        let Some(stream) = self.work.streams.get_mut(index) else { return Ok(()) };
        let received = stream.received + bytes.len() as u64;
        if stream.content_length.is_some_and(|length| received > length) {
            self.release_connection(bytes.len());
            return self.fail_stream(index, Violation::ContentLength);
        }
        stream.append_body(bytes);
        if !stream.is_data_announced {
            stream.is_data_announced = true;
            self.work.events.push_back(Event::Data { stream: StreamId(id) });
        }
        Ok(())
    }
}

/// The fragment of a HEADERS frame; none when its padding leaves no room for it.
fn without_padding(header: FrameHeader, payload: &[u8]) -> Option<&[u8]> {
    debug_assert_eq!(header.kind, kind::HEADERS);
    let (padding, rest) = match header.has(flag::PADDED) {
        true => payload.split_first().map(|(padding, rest)| (usize::from(*padding), rest))?,
        false => (0, payload),
    };
    let start = if header.has(flag::PRIORITY) { PRIORITY_LEN } else { 0 };
    rest.get(start..rest.len().checked_sub(padding)?)
}
