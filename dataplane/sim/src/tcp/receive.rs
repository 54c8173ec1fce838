//! The receiving half: which segments are acceptable, and what the application gets to read.

use super::send::Acknowledgement;
use super::{DELAYED_ACK, Endpoint, State, TIME_WAIT};
use crate::frame::{Segment, flag};
use secbeat_net::time::Instant;

/// SACK blocks that fit a segment beside timestamps.
const SACK_BLOCKS_MAX: usize = 3;

impl Endpoint {
    /// Handles a segment of the peer whose checksum was right.
    pub fn handle(&mut self, segment: &Segment, now: Instant) {
        match self.state {
            State::SynSent => self.on_syn_sent(segment, now),
            State::SynReceived => self.on_syn_received(segment, now),
            State::Open | State::TimeWait => self.on_open(segment, now),
            State::Closed | State::Reset | State::GivenUp | State::Aborted => {}
        }
    }

    fn on_syn_sent(&mut self, segment: &Segment, now: Instant) {
        let is_ours = segment.has(flag::ACK) && segment.ack == self.sending.iss.wrapping_add(1);
        if segment.has(flag::RST) {
            if is_ours {
                self.end(State::Reset);
            }
            return;
        }
        if !is_ours {
            if segment.has(flag::ACK) {
                let mut reset = self.segment(0, Vec::new(), now);
                reset.seq = segment.ack;
                reset.flags = flag::RST;
                self.output.push_back(reset);
            }
            return;
        }
        if !segment.has(flag::SYN) {
            return;
        }
        self.agree(segment);
        let echo = segment.options.timestamps.map(|(_, echo)| echo);
        if self.uses_timestamps && !echo.is_some_and(|echo| self.has_sent_timestamp(echo, now)) {
            self.complaints.push(format!("SYN-ACK echoes a timestamp that was never sent: {echo:?}"));
        }
        self.on_established();
        self.acknowledge(now);
        self.push(now);
    }

    fn on_syn_received(&mut self, segment: &Segment, now: Instant) {
        if segment.has(flag::RST) {
            if segment.seq == self.ack_number() {
                self.end(State::Reset);
            }
            return;
        }
        if segment.has(flag::SYN) && !segment.has(flag::ACK) && segment.seq == self.receiving.irs {
            self.transmit_syn(now);
            return;
        }
        if segment.has(flag::ACK) && segment.ack == self.sending.iss.wrapping_add(1) {
            self.on_established();
            self.on_open(segment, now);
        }
    }

    fn on_established(&mut self) {
        self.state = State::Open;
        self.sending.acked = 1;
        self.sending.retries = 0;
        self.sending.rto = super::RTO_MIN;
        self.retransmit_at = None;
        self.receiving.edge = self.receiving.edge.max(1);
    }

    fn on_open(&mut self, segment: &Segment, now: Instant) {
        let offset = self.received_offset(segment.seq);
        if segment.has(flag::RST) {
            self.on_reset(offset, now);
            return;
        }
        if segment.has(flag::SYN) || !segment.has(flag::ACK) {
            // RFC 5961 §4: never a reason to end a connection; a repeated SYN-ACK is answered the same way.
            self.acknowledge(now);
            return;
        }
        if self.uses_timestamps && !self.is_timestamp_fresh(segment, offset, now) {
            return;
        }
        let end = offset + u64::from(segment.len());
        if offset > self.receiving.edge || (end < self.receiving.next && !segment.is_empty()) {
            self.acknowledge(now);
            return;
        }
        let acked = self.sent_offset(segment.ack);
        if acked > self.sending.highest || acked + self.sending.peer_window_max < self.sending.acked {
            // RFC 5961 §5.2: an acknowledgement of what was never sent comes from elsewhere.
            self.acknowledge(now);
            return;
        }
        if let Some((value, echo)) = segment.options.timestamps.filter(|_| self.uses_timestamps) {
            if !self.has_sent_timestamp(echo, now) {
                self.complaints.push(format!("echo {echo} of a timestamp that was never sent"));
            }
            if offset <= self.receiving.next {
                self.receiving.timestamp = value;
            }
        }
        let acknowledgement = Acknowledgement {
            offset: acked,
            window: u64::from(segment.window) << self.sending.peer_shift,
            is_bare: segment.is_empty(),
            sack: &segment.options.sack,
        };
        self.on_acknowledged(&acknowledgement, now);
        self.on_data(segment, offset, now);
        self.on_maybe_closed(now);
    }

    fn on_reset(&mut self, offset: u64, now: Instant) {
        if self.state == State::TimeWait {
            return;
        }
        if offset == self.receiving.next {
            self.end(State::Reset);
        } else if offset > self.receiving.next && offset < self.receiving.edge {
            self.acknowledge(now);
        }
    }

    /// PAWS (RFC 7323 §5.3), and a timestamp on every segment once agreed (§3.2).
    fn is_timestamp_fresh(&mut self, segment: &Segment, offset: u64, now: Instant) -> bool {
        let Some((value, _)) = segment.options.timestamps else {
            // Unless someone else sent it: a guess that acknowledges what was never sent is no fault of the peer.
            if self.sent_offset(segment.ack) <= self.sending.highest {
                self.complaints.push("a segment without timestamps although they were agreed on".into());
            }
            return false;
        };
        let is_old = (value.wrapping_sub(self.receiving.timestamp) as i32) < 0;
        if is_old && offset != self.receiving.next.saturating_sub(1) {
            self.acknowledge(now);
        }
        !is_old
    }

    /// Whether this host's clock showed `echo` during the last two minutes.
    fn has_sent_timestamp(&self, echo: u32, now: Instant) -> bool {
        self.clock(now).wrapping_sub(echo) <= 120_000
    }

    /// The offset of a sequence number near what is expected.
    fn received_offset(&self, seq: u32) -> u64 {
        let distance = i64::from(seq.wrapping_sub(self.ack_number()) as i32);
        self.receiving.next.saturating_add_signed(distance)
    }

    fn on_data(&mut self, segment: &Segment, offset: u64, now: Instant) {
        if segment.is_empty() {
            return;
        }
        if segment.has(flag::FIN) {
            let at = offset + segment.data.len() as u64;
            if self.receiving.fin_at.is_some_and(|known| known != at) {
                self.complaints.push(format!("FIN at {at} and at {:?}", self.receiving.fin_at));
            }
            self.receiving.fin_at = Some(at);
        }
        let is_next = offset <= self.receiving.next;
        self.store(segment, offset);
        let may_wait = self.settings.delays_acks && is_next && self.receiving.early.is_empty();
        self.receiving.unacknowledged += 1;
        if may_wait && self.receiving.unacknowledged < 2 && !segment.has(flag::FIN) {
            self.acknowledge_at = self.acknowledge_at.or(Some(now + DELAYED_ACK));
        } else {
            self.acknowledge(now);
        }
    }

    fn store(&mut self, segment: &Segment, offset: u64) {
        let has_sent_fin = self.has_sent_fin();
        let receiving = &mut self.receiving;
        let cut = (receiving.next.saturating_sub(offset) as usize).min(segment.data.len());
        let room = receiving.edge.saturating_sub(offset + cut as u64) as usize;
        let data = &segment.data[cut..];
        let data = &data[..data.len().min(room)];
        if !data.is_empty() {
            let at = offset + cut as u64;
            let known = receiving.early.entry(at).or_default();
            if known.len() < data.len() {
                *known = data.to_vec();
            }
            receiving.last_early = Some(at);
        }
        while let Some(entry) = receiving.early.first_entry().filter(|entry| *entry.key() <= receiving.next) {
            let (at, data) = entry.remove_entry();
            let known = ((receiving.next - at) as usize).min(data.len());
            receiving.data.extend_from_slice(&data[known..]);
            receiving.next += (data.len() - known) as u64;
        }
        if receiving.fin_at == Some(receiving.next) {
            receiving.next += 1;
            // Who sees the other's FIN before sending its own has no TIME-WAIT (RFC 9293 §3.6).
            receiving.is_passive = !has_sent_fin;
        }
    }

    /// SACK blocks of what arrived early, the newest first (RFC 2018 §4).
    pub(super) fn sack_blocks(&self) -> Vec<(u32, u32)> {
        if !self.uses_sack {
            return Vec::new();
        }
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (&left, data) in &self.receiving.early {
            let right = left + data.len() as u64;
            match ranges.last_mut() {
                Some(last) if last.1 >= left => last.1 = last.1.max(right),
                _ => ranges.push((left, right)),
            }
        }
        let newest = self.receiving.last_early;
        ranges.sort_by_key(|&(left, right)| !newest.is_some_and(|at| (left..right).contains(&at)));
        let seq = |offset: u64| self.receiving.irs.wrapping_add(offset as u32);
        ranges.iter().take(SACK_BLOCKS_MAX).map(|&(left, right)| (seq(left), seq(right))).collect()
    }

    /// The window field to send; the right edge never moves back (RFC 9293 §3.8.6.2.1).
    pub(super) fn advertise(&mut self) -> u16 {
        let receiving = &mut self.receiving;
        let unread = (receiving.data.len() - receiving.read) as u64;
        let free = u64::from(self.settings.buffer).saturating_sub(unread);
        let wanted = (receiving.next + free).max(receiving.edge);
        let field = ((wanted - receiving.next) >> receiving.shift).min(0xffff);
        receiving.edge = receiving.edge.max(receiving.next + (field << receiving.shift));
        field as u16
    }

    /// Takes up to `count` unread bytes; a window that was closed opens again with an acknowledgement.
    pub fn read(&mut self, count: usize, now: Instant) -> usize {
        let unread = self.receiving.data.len() - self.receiving.read;
        let taken = unread.min(count);
        let was_tight = self.receiving.edge - self.receiving.next < u64::from(self.settings.mss);
        self.receiving.read += taken;
        if taken > 0 && was_tight && self.state == State::Open {
            self.acknowledge(now);
        }
        taken
    }

    fn on_maybe_closed(&mut self, now: Instant) {
        if self.state != State::Open || !self.is_read_to_end() || !self.is_all_acknowledged() {
            return;
        }
        if self.receiving.is_passive {
            self.end(State::Closed);
        } else {
            self.retransmit_at = None;
            self.state = State::TimeWait;
            self.time_wait_until = Some(now + TIME_WAIT);
        }
    }
}
