//! The sending half: what may leave, what must leave again.

use super::{Endpoint, RETRIES_MAX, RTO_MAX, RTO_MIN, State};
use crate::frame::{Options, Segment, flag};
use secbeat_net::time::Instant;

/// What an acknowledgement says about the peer's direction of the stream.
pub(super) struct Acknowledgement<'a> {
    /// Everything below arrived.
    pub(super) offset: u64,
    /// Window in bytes.
    pub(super) window: u64,
    /// Whether the segment carried nothing but the acknowledgement.
    pub(super) is_bare: bool,
    /// SACK blocks as sequence numbers.
    pub(super) sack: &'a [(u32, u32)],
}

impl Endpoint {
    /// Gives data to be sent.
    pub fn write(&mut self, bytes: &[u8], now: Instant) {
        self.sending.data.extend_from_slice(bytes);
        self.push(now);
    }

    /// No more data will be written.
    pub fn finish(&mut self, now: Instant) {
        self.sending.is_finished = true;
        self.push(now);
    }

    /// Whether the application ended this direction.
    pub fn is_finished(&self) -> bool {
        self.sending.is_finished
    }

    /// Ends the connection with RST.
    pub fn abort(&mut self, now: Instant) {
        if matches!(self.state, State::Open | State::SynReceived) {
            let mut segment = self.segment(self.sending.next, Vec::new(), now);
            segment.flags = flag::RST | flag::ACK;
            self.output.push_back(segment);
        }
        self.end(State::Aborted);
    }

    /// Offset just past the last byte of data; the FIN's own offset.
    fn data_end(&self) -> u64 {
        1 + self.sending.data.len() as u64
    }

    fn stream_end(&self) -> u64 {
        self.data_end() + u64::from(self.sending.is_finished)
    }

    /// Whether everything, FIN included, was acknowledged.
    pub(super) fn is_all_acknowledged(&self) -> bool {
        self.sending.is_finished && self.sending.acked == self.stream_end()
    }

    /// Whether the FIN left at least once.
    pub(super) fn has_sent_fin(&self) -> bool {
        self.sending.is_finished && self.sending.highest == self.stream_end()
    }

    /// A segment from `offset` with the current acknowledgement, window and options.
    pub(super) fn segment(&mut self, offset: u64, data: Vec<u8>, now: Instant) -> Segment {
        let timestamps = self.uses_timestamps.then(|| (self.clock(now), self.receiving.timestamp));
        let window = self.advertise();
        self.acknowledge_at = None;
        self.receiving.unacknowledged = 0;
        Segment {
            source_port: self.local.port(),
            destination_port: self.remote.port(),
            seq: self.sending.iss.wrapping_add(offset as u32),
            ack: self.ack_number(),
            flags: flag::ACK,
            window,
            options: Options { timestamps, sack: self.sack_blocks(), ..Options::default() },
            data,
        }
    }

    /// Sends a bare acknowledgement.
    pub(super) fn acknowledge(&mut self, now: Instant) {
        let segment = self.segment(self.sending.next, Vec::new(), now);
        self.output.push_back(segment);
    }

    /// Sends what the windows allow.
    pub(super) fn push(&mut self, now: Instant) {
        if self.state != State::Open {
            return;
        }
        loop {
            self.skip_sacked();
            let in_flight = self.sending.next - self.sending.acked;
            let flight_max = u64::from(self.sending.flight_max) * u64::from(self.segment_bytes_max());
            let room = self.sending.peer_window.min(flight_max).saturating_sub(in_flight);
            if self.sending.next >= self.stream_end() || (room == 0 && self.sending.next < self.data_end()) {
                break;
            }
            let len = room.min(self.data_end() - self.sending.next).min(u64::from(self.segment_bytes_max()));
            self.send_from_next(self.cut_before_sacked(len), now);
        }
        let is_waiting = self.sending.acked < self.stream_end();
        if is_waiting && self.retransmit_at.is_none() {
            self.retransmit_at = Some(now + self.sending.rto);
        }
    }

    /// Payload bytes that fit a segment beside the options it always carries.
    fn segment_bytes_max(&self) -> u16 {
        let timestamps = if self.uses_timestamps { 12 } else { 0 };
        self.sending.peer_mss.min(self.settings.mss) - timestamps
    }

    /// Sends `len` bytes of data from the next offset, and the FIN when it follows.
    fn send_from_next(&mut self, len: u64, now: Instant) {
        let from = self.sending.next;
        let data = if from < self.data_end() {
            let start = (from - 1) as usize;
            self.sending.data[start..start + len as usize].to_vec()
        } else {
            Vec::new()
        };
        let mut next = from + data.len() as u64;
        let is_last = next == self.data_end();
        let mut segment = self.segment(from, data, now);
        if is_last {
            segment.flags |= flag::PSH;
        }
        if is_last && self.sending.is_finished {
            segment.flags |= flag::FIN;
            next += 1;
        }
        self.output.push_back(segment);
        self.sending.next = next;
        self.sending.highest = self.sending.highest.max(next);
    }

    fn skip_sacked(&mut self) {
        let next = self.sending.next;
        if let Some(&(_, right)) =
            self.sending.sacked.iter().find(|(left, right)| (*left..*right).contains(&next))
        {
            self.sending.next = right;
        }
    }

    fn cut_before_sacked(&self, len: u64) -> u64 {
        let next = self.sending.next;
        let lefts = self.sending.sacked.iter().map(|&(left, _)| left);
        lefts.filter(|&left| left > next).map(|left| left - next).min().map_or(len, |cut| len.min(cut))
    }

    /// Takes note of an acknowledgement that was found acceptable.
    pub(super) fn on_acknowledged(&mut self, ack: &Acknowledgement<'_>, now: Instant) {
        self.note_sacked(ack.sack);
        let sending = &mut self.sending;
        if ack.offset > sending.acked {
            sending.acked = ack.offset;
            sending.next = sending.next.max(ack.offset);
            sending.sacked.retain(|&(_, right)| right > ack.offset);
            sending.duplicate_acks = 0;
            sending.retries = 0;
            sending.rto = RTO_MIN;
            sending.flight_max = (sending.flight_max + 1).min(self.settings.flight);
            self.retransmit_at = None;
        } else if ack.is_bare && ack.offset == sending.acked && ack.window == sending.peer_window {
            sending.duplicate_acks += 1;
        }
        sending.peer_window = ack.window;
        sending.peer_window_max = sending.peer_window_max.max(ack.window);
        if self.sending.duplicate_acks == 3 && self.sending.acked < self.sending.highest {
            self.retransmit_first(now);
        }
        self.push(now);
    }

    fn note_sacked(&mut self, blocks: &[(u32, u32)]) {
        if !blocks.is_empty() && !self.uses_sack {
            self.complaints.push("SACK blocks although SACK was not agreed on".into());
            return;
        }
        for &(left, right) in blocks {
            let left = self.sent_offset(left);
            let right = self.sent_offset(right);
            if left >= right || right > self.sending.highest {
                let highest = self.sending.highest;
                self.complaints
                    .push(format!("SACK block {left}..{right} of data never sent (sent {highest})"));
            } else if left > self.sending.acked && !self.sending.sacked.contains(&(left, right)) {
                self.sending.sacked.push((left, right));
            }
        }
    }

    /// The offset of a sequence number near what is being sent.
    pub(super) fn sent_offset(&self, seq: u32) -> u64 {
        let near = self.sending.iss.wrapping_add(self.sending.acked as u32);
        let distance = i64::from(seq.wrapping_sub(near) as i32);
        self.sending.acked.saturating_add_signed(distance)
    }

    /// Sends the first unacknowledged segment again, leaving the rest of the flight alone.
    fn retransmit_first(&mut self, now: Instant) {
        let next = self.sending.next;
        self.sending.next = self.sending.acked;
        let left = self.data_end().saturating_sub(self.sending.acked);
        let len = left.min(u64::from(self.segment_bytes_max())).min(self.sending.peer_window.max(1));
        self.send_from_next(self.cut_before_sacked(len), now);
        self.sending.next = self.sending.next.max(next);
    }

    pub(super) fn on_retransmit_timeout(&mut self, now: Instant) {
        self.retransmit_at = None;
        self.sending.retries += 1;
        if self.sending.retries > RETRIES_MAX {
            self.end(State::GivenUp);
            return;
        }
        self.sending.rto = (self.sending.rto * 2).min(RTO_MAX);
        match self.state {
            State::SynSent | State::SynReceived => self.transmit_syn(now),
            State::Open if self.sending.acked < self.stream_end() => {
                // The receiver may have thrown SACKed data away (RFC 2018 §8): start again from the front.
                self.sending.sacked.clear();
                self.sending.flight_max = 1;
                self.retransmit_first(now);
                // Beyond a closed window only the probe byte was sent.
                self.sending.next =
                    self.sending.next.min(self.sending.acked + u64::from(self.segment_bytes_max()));
                self.retransmit_at = Some(now + self.sending.rto);
            }
            _ => {}
        }
    }
}
