//! Bytes to frames. A frame that is whole in the input is handled there; one that is cut is put together first;
//! DATA is passed on in the pieces it comes in.

use super::super::frame::{FrameHeader, HEADER_LEN, PAYLOAD_LEN_MAX, PREFACE, flag, kind};
use super::super::pool::Pool;
use super::super::violation::Violation;
use super::{EVENTS_MAX, Reading, Server};

impl Server {
    /// Bytes from the client, in order. Returns how many were taken: fewer while much waits in `output` or in
    /// `poll_event`; offer the rest again when that was taken.
    pub fn receive(&mut self, bytes: &[u8], now_ms: u64, pool: &mut Pool) -> usize {
        self.advance(now_ms);
        if self.work.is_new() {
            self.work = pool.take();
        }
        let mut at = 0;
        while !self.is_closed && self.takes_input() {
            let rest = bytes.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return at;
            }
            match self.step(rest) {
                Ok(taken) => at += taken,
                Err(violation) => self.fail(violation),
            }
        }
        // After the end, whatever comes is of no interest (RFC 9113 §5.4.1).
        if self.is_closed { bytes.len() } else { at }
    }

    /// A client that does not read its answers is not read from; one that makes events faster than they are
    /// polled waits.
    fn takes_input(&self) -> bool {
        self.output().len() < self.limits.output_bytes_max && self.work.events.len() < EVENTS_MAX
    }

    /// Takes some of `bytes`, which are not empty.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        match self.reading {
            Reading::Preface(len) => self.step_preface(len, bytes),
            Reading::Header => self.step_header(bytes),
            Reading::Payload(header) => self.step_payload(header, bytes),
            Reading::Data(data) => self.step_data(data, bytes),
        }
    }

    fn step_preface(&mut self, len: usize, bytes: &[u8]) -> Result<usize, Violation> {
        let expected = PREFACE.get(len..).unwrap_or_default();
        let taken = expected.len().min(bytes.len());
        if expected.get(..taken) != bytes.get(..taken) {
            return Err(Violation::Preface);
        }
        self.reading = match len + taken {
            len if len == PREFACE.len() => Reading::Header,
            len => Reading::Preface(len),
        };
        Ok(taken)
    }

    fn step_header(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        if self.header_len == 0
            && let Some(header) = FrameHeader::parse(bytes)
        {
            self.begin(header)?;
            return Ok(HEADER_LEN);
        }
        let taken = (HEADER_LEN - self.header_len).min(bytes.len());
        let room = self.header.get_mut(self.header_len..self.header_len + taken);
        if let (Some(room), Some(bytes)) = (room, bytes.get(..taken)) {
            room.copy_from_slice(bytes);
        }
        self.header_len += taken;
        if self.header_len == HEADER_LEN
            && let Some(header) = FrameHeader::parse(&self.header)
        {
            self.header_len = 0;
            self.begin(header)?;
        }
        Ok(taken)
    }

    /// A frame header is there: what does not depend on its payload.
    fn begin(&mut self, header: FrameHeader) -> Result<(), Violation> {
        if header.len > PAYLOAD_LEN_MAX {
            return Err(Violation::FrameSize);
        }
        if !self.has_settings && (header.kind != kind::SETTINGS || header.has(flag::ACK)) {
            // RFC 9113 §3.4: SETTINGS is the first frame.
            return Err(Violation::Preface);
        }
        if let Some(block) = self.block
            && (header.kind != kind::CONTINUATION || header.stream != block.stream)
        {
            return Err(Violation::FrameOrder);
        }
        self.floods.count(header, &self.limits, self.now_ms)?;
        if header.kind == kind::DATA {
            return self.begin_data(header);
        }
        if header.len == 0 {
            return self.end_frame(header, &[]);
        }
        self.reading = Reading::Payload(header);
        Ok(())
    }

    fn step_payload(&mut self, header: FrameHeader, bytes: &[u8]) -> Result<usize, Violation> {
        if self.work.partial.is_empty()
            && let Some(payload) = bytes.get(..header.len)
        {
            self.end_frame(header, payload)?;
            return Ok(header.len);
        }
        let taken = header.len.saturating_sub(self.work.partial.len()).min(bytes.len());
        self.work.partial.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if self.work.partial.len() >= header.len {
            let mut payload = core::mem::take(&mut self.work.partial);
            let outcome = self.end_frame(header, &payload);
            payload.clear();
            self.work.partial = payload;
            outcome?;
        }
        Ok(taken)
    }

    /// A frame is whole.
    fn end_frame(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Violation> {
        self.reading = Reading::Header;
        self.handle_frame(header, payload)?;
        // A header block counts as one, however many frames it comes in.
        self.frames += u64::from(self.block.is_none());
        Ok(())
    }

    fn handle_frame(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Violation> {
        match header.kind {
            kind::HEADERS => self.handle_headers(header, payload),
            kind::CONTINUATION => self.handle_continuation(header, payload),
            kind::PRIORITY => handle_priority(header),
            kind::RST_STREAM => self.handle_reset(header, payload),
            kind::SETTINGS => self.handle_settings(header, payload),
            kind::PING => self.handle_ping(header, payload),
            kind::GOAWAY => self.handle_goaway(header),
            kind::WINDOW_UPDATE => self.handle_window_update(header, payload),
            // Only servers promise (RFC 9113 §8.4).
            kind::PUSH_PROMISE => Err(Violation::FrameOrder),
            // Unknown types are ignored (RFC 9113 §4.1), PRIORITY_UPDATE is advice we do not take (RFC 9218).
            _ => Ok(()),
        }
    }
}

/// Priorities of the older scheme are read and ignored (RFC 9113 §5.3.2); only their form counts.
fn handle_priority(header: FrameHeader) -> Result<(), Violation> {
    match header {
        FrameHeader { stream: 0, .. } => Err(Violation::FrameOrder),
        FrameHeader { len: 5, .. } => Ok(()),
        _ => Err(Violation::FrameSize),
    }
}
