//! What takes too long: preface and header blocks, our SETTINGS, request bodies, shut windows, unread output.

use super::super::event::{Event, StreamId};
use super::super::stream::{State, Wait};
use super::super::timeout::{PROGRESS_BYTES_MIN, TICK_MS, Watch};
use super::super::violation::Violation;
use super::{Drain, Reading, Server};

impl Server {
    /// When `handle_timeout` has something to do; none while nothing waits for the client.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.is_waiting().then_some(self.tick_at_ms)
    }

    fn is_waiting(&self) -> bool {
        !self.is_closed
            && (!self.work.ids.is_empty()
                || !self.is_acknowledged
                || self.is_head_partial()
                || !self.output().is_empty()
                || matches!(self.drain, Drain::Noticed { .. }))
    }

    /// Time has passed until now. After a time in which nothing waited, all waits begin now: nobody looked meanwhile.
    pub(super) fn advance(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        if !self.is_waiting() {
            self.tick_at_ms = self.now_ms + TICK_MS;
            self.head_watch = Watch::new(self.now_ms);
            self.window_watch = Watch::new(self.now_ms);
            self.output_watch = Watch::new(self.now_ms);
        }
    }

    /// Ends what has taken too long.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.advance(now_ms);
        self.tick_at_ms = self.now_ms + TICK_MS;
        if self.is_closed {
            return;
        }
        if let Err(violation) = self.check_connection().and_then(|()| self.check_streams()) {
            self.fail(violation);
        }
        if let Drain::Noticed { at_ms } = self.drain
            && !self.is_closed
            && self.now_ms.saturating_sub(at_ms) >= u64::from(self.limits.drain_notice_ms)
        {
            self.write_final_goaway();
        }
    }

    /// Whether a preface, a frame other than DATA, or a header block has begun and not ended.
    fn is_head_partial(&self) -> bool {
        let is_cut = match self.reading {
            Reading::Preface(_) | Reading::Payload(_) => true,
            Reading::Header => self.header_len > 0 || !self.has_settings,
            Reading::Data(_) => false,
        };
        is_cut || self.block.is_some()
    }

    fn check_connection(&mut self) -> Result<(), Violation> {
        let now_ms = self.now_ms;
        let settings_age_ms = now_ms.saturating_sub(self.started_ms);
        let is_partial = self.is_head_partial();
        // Each frame counts as the least progress.
        let frames = self.frames.saturating_mul(PROGRESS_BYTES_MIN);
        if self.head_watch.is_overdue(is_partial, frames, now_ms, self.limits.head_timeout_ms) {
            return Err(Violation::SlowHead);
        }
        if !self.is_acknowledged && settings_age_ms >= u64::from(self.limits.settings_timeout_ms) {
            return Err(Violation::SettingsTimeout);
        }
        let has_output = !self.output().is_empty();
        let is_shut = self.send_window <= 0 && !self.work.waiting.is_empty();
        let stall_ms = self.limits.stall_timeout_ms;
        if self.output_watch.is_overdue(has_output, self.bytes_written, now_ms, stall_ms)
            || self.window_watch.is_overdue(is_shut, self.bytes_sent, now_ms, stall_ms)
        {
            return Err(Violation::StalledConnection);
        }
        Ok(())
    }

    fn check_streams(&mut self) -> Result<(), Violation> {
        let mut index = 0;
        while let Some(stream) = self.work.streams.get_mut(index) {
            let waits =
                stream.state == State::Open && stream.receive_window.is_open() && stream.body().is_empty();
            let is_slow = stream.body_watch.is_overdue(
                waits,
                stream.received,
                self.now_ms,
                self.limits.body_timeout_ms,
            );
            let is_shut = stream.wait != Wait::No && stream.send_window <= 0;
            let is_stalled =
                stream.send_watch.is_overdue(is_shut, stream.sent, self.now_ms, self.limits.stall_timeout_ms);
            if is_slow {
                self.fail_stream(index, Violation::SlowBody)?;
            } else if is_stalled {
                self.fail_stream(index, Violation::StalledStream)?;
            } else {
                index += 1;
            }
        }
        Ok(())
    }
}

impl Event {
    /// Whether it says something about this stream that loses its meaning with the stream.
    pub(super) fn is_about(&self, id: StreamId) -> bool {
        match self {
            Self::Request { stream, .. }
            | Self::Data { stream }
            | Self::End { stream }
            | Self::Writable { stream } => *stream == id,
            Self::Reset { .. } | Self::Violation { .. } | Self::Draining | Self::Closed { .. } => false,
        }
    }
}
