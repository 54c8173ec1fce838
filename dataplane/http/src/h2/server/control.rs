//! Frames about the connection and about streams as such: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM.

use super::super::event::Event;
use super::super::frame::{FrameHeader, flag, kind};
use super::super::violation::{Reason, Violation};
use super::super::window::{WINDOW_DEFAULT, widen};
use super::{Drain, Server};

/// Settings (RFC 9113 §6.5.2, RFC 9218 §2.1).
mod setting {
    pub(super) const HEADER_TABLE_SIZE: u16 = 0x1;
    pub(super) const ENABLE_PUSH: u16 = 0x2;
    pub(super) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub(super) const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub(super) const MAX_FRAME_SIZE: u16 = 0x5;
    pub(super) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
    pub(super) const NO_RFC7540_PRIORITIES: u16 = 0x9;
}

const SETTING_LEN: usize = 6;
/// SETTINGS_MAX_FRAME_SIZE must lie in between (RFC 9113 §6.5.2). We never send more than the lower.
const FRAME_SIZE_RANGE: core::ops::RangeInclusive<u32> = 16_384..=16_777_215;
/// Highest stream number: the first GOAWAY of a graceful end refuses nothing yet.
const STREAM_MAX: u32 = 0x7fff_ffff;
/// Payload of the PING whose answer says that the client has read that GOAWAY.
const DRAIN_PING: &[u8; 8] = b"draining";

impl Server {
    /// Our side's first frames: SETTINGS, and the connection's window.
    pub(super) fn write_preface(&mut self) {
        let limits = &self.limits;
        let settings = [
            (setting::HEADER_TABLE_SIZE, limits.header_table_bytes),
            (setting::MAX_CONCURRENT_STREAMS, limits.streams_max),
            (setting::INITIAL_WINDOW_SIZE, limits.stream_window_bytes),
            (setting::MAX_HEADER_LIST_SIZE, limits.header_list_bytes_max),
            (setting::NO_RFC7540_PRIORITIES, 1),
        ];
        let increment = limits.connection_window_bytes.saturating_sub(WINDOW_DEFAULT);
        let mut payload = Vec::with_capacity(settings.len() * SETTING_LEN);
        for (identifier, value) in settings {
            payload.extend_from_slice(&identifier.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        self.write_frame(kind::SETTINGS, 0, 0, &payload);
        if increment > 0 {
            self.write_frame(kind::WINDOW_UPDATE, 0, 0, &increment.to_be_bytes());
        }
    }

    pub(super) fn handle_settings(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Violation> {
        if header.stream != 0 {
            return Err(Violation::FrameOrder);
        }
        if header.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(Violation::FrameSize);
            }
            self.is_acknowledged = true;
            self.decoder.acknowledged();
            return Ok(());
        }
        let (settings, rest) = payload.as_chunks::<SETTING_LEN>();
        if !rest.is_empty() {
            return Err(Violation::FrameSize);
        }
        if settings.len() > self.limits.settings_per_frame_max as usize {
            return Err(Violation::SettingsFlood);
        }
        for [i0, i1, v0, v1, v2, v3] in settings {
            let value = u32::from_be_bytes([*v0, *v1, *v2, *v3]);
            self.apply(u16::from_be_bytes([*i0, *i1]), value)?;
        }
        self.has_settings = true;
        self.write_frame(kind::SETTINGS, flag::ACK, 0, &[]);
        Ok(())
    }

    /// One setting of the client's. Its table size does not concern us (we keep none), nor how many streams it takes
    /// (we open none), nor its list size (advice), nor larger frames (we send none).
    fn apply(&mut self, identifier: u16, value: u32) -> Result<(), Violation> {
        match identifier {
            setting::ENABLE_PUSH if value > 1 => Err(Violation::SettingValue),
            setting::MAX_FRAME_SIZE if !FRAME_SIZE_RANGE.contains(&value) => Err(Violation::SettingValue),
            setting::INITIAL_WINDOW_SIZE if value > STREAM_MAX => Err(Violation::FlowControl),
            setting::INITIAL_WINDOW_SIZE => {
                // The windows of open streams follow, below zero if need be (RFC 9113 §6.9.2).
                let change = i64::from(value) - i64::from(self.stream_send_window);
                self.stream_send_window = value;
                let is_good =
                    self.work.streams.iter_mut().all(|stream| widen(&mut stream.send_window, change));
                if is_good { Ok(()) } else { Err(Violation::FlowControl) }
            }
            _ => Ok(()),
        }
    }

    pub(super) fn handle_ping(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Violation> {
        if header.stream != 0 {
            return Err(Violation::FrameOrder);
        }
        if payload.len() != 8 {
            return Err(Violation::FrameSize);
        }
        if !header.has(flag::ACK) {
            self.write_frame(kind::PING, flag::ACK, 0, payload);
        } else if payload == DRAIN_PING && matches!(self.drain, Drain::Noticed { .. }) {
            self.write_final_goaway();
        }
        Ok(())
    }

    pub(super) fn handle_goaway(&mut self, header: FrameHeader) -> Result<(), Violation> {
        if header.stream != 0 {
            return Err(Violation::FrameOrder);
        }
        if header.len < 8 {
            return Err(Violation::FrameSize);
        }
        if !self.is_peer_draining {
            self.is_peer_draining = true;
            self.work.events.push_back(Event::Draining);
        }
        Ok(())
    }

    pub(super) fn handle_window_update(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<(), Violation> {
        let &[b0, b1, b2, b3] = payload else { return Err(Violation::FrameSize) };
        let increment = u32::from_be_bytes([b0, b1, b2, b3]) & STREAM_MAX;
        if header.stream == 0 {
            if increment == 0 {
                return Err(Violation::WindowIncrement);
            }
            let is_good = widen(&mut self.send_window, i64::from(increment));
            return if is_good { Ok(()) } else { Err(Violation::FlowControl) };
        }
        self.check_not_idle(header.stream)?;
        let Some(index) = self.index(header.stream) else { return Ok(()) };
        if increment == 0 {
            return self.fail_stream(index, Violation::WindowIncrement);
        }
        let is_good = self
            .work
            .streams
            .get_mut(index)
            .is_some_and(|stream| widen(&mut stream.send_window, i64::from(increment)));
        if is_good { Ok(()) } else { self.fail_stream(index, Violation::FlowControl) }
    }

    pub(super) fn handle_reset(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Violation> {
        let &[b0, b1, b2, b3] = payload else { return Err(Violation::FrameSize) };
        self.check_not_idle(header.stream)?;
        if let Some(index) = self.index(header.stream) {
            self.forget(index, Reason::from_code(u32::from_be_bytes([b0, b1, b2, b3])));
        }
        Ok(())
    }

    /// Only HEADERS and PRIORITY may name a stream that was not opened (RFC 9113 §5.1).
    pub(super) fn check_not_idle(&self, stream: u32) -> Result<(), Violation> {
        let was_opened = !stream.is_multiple_of(2) && stream <= self.last_stream;
        if was_opened { Ok(()) } else { Err(Violation::FrameOrder) }
    }

    /// Takes no further request, in two steps: a notice, and once the client has read it (or
    /// [`drain_notice_ms`](super::super::Limits::drain_notice_ms) later) the last stream that is served. Ends with
    /// [`Event::Closed`] when the open streams have ended.
    pub fn shut_down(&mut self, now_ms: u64) {
        self.advance(now_ms);
        if self.drain == Drain::No && !self.is_closed {
            self.drain = Drain::Noticed { at_ms: self.now_ms };
            self.write_goaway(STREAM_MAX, Reason::NoError, &[]);
            self.write_frame(kind::PING, 0, 0, DRAIN_PING);
        }
    }

    pub(super) fn write_final_goaway(&mut self) {
        self.drain = Drain::Final;
        self.write_goaway(self.last_stream, Reason::NoError, &[]);
    }
}
