//! BBR: a model of the path, its bottleneck's rate and its shortest round trip, instead of a reaction to loss
//! (draft-cardwell-iccrg-bbr-congestion-control-00, draft-cheng-iccrg-delivery-rate-estimation-00), in integers.
//!
//! Owns: samples of the delivery rate, the two filters, the phases, the window and the pace that follow. Does not own:
//! loss detection, timers.
//!
//! ```text
//!  STARTUP ─ rate grows no more ─► DRAIN ─ queue is empty ─► PROBE-BW ─ 10 s without a shorter trip ─► PROBE-RTT
//!  x 2.9 per round trip            x 0.35          1.25 0.75 1 1 1 1 1 1, a trip each                   4 segments
//!                                                             ▲                                             │
//!                                                             └──────────────── 200 ms later ◄──────────────┘
//! ```
//! A link that loses one packet in fifty for reasons of its own still carries what it can: a loss-based window would be
//! nine segments there. In exchange a shallow queue sees more loss than with CUBIC.
//! Cost: 64 bytes in the place of what CUBIC needs, 16 per segment in flight; two divisions per ACK, one per segment.

use crate::tcp::scoreboard::{Record, Stamp};
use crate::tcp::seq::{is_after, is_before, later};

/// Gains are counted in parts of this.
const ONE: u64 = 256;
/// Pace and window while searching: 2/ln 2, so that the rate doubles per round trip.
const GAIN_STARTUP: u64 = 739;
/// Pace while the queue of the search drains: its inverse.
const GAIN_DRAIN: u64 = 88;
/// Pace in the eight phases of PROBE-BW: ask for more, give it back, cruise.
const GAINS_CYCLE: [u64; 8] = [320, 192, ONE, ONE, ONE, ONE, ONE, ONE];
/// Window in PROBE-BW: two round trips' worth, against delayed and merged ACKs.
const GAIN_WINDOW: u64 = 2 * ONE;

/// Round trips with a sample after which a bucket of the rate's filter is full. Two of them: the rate is the greatest
/// of the last five to ten.
const BUCKET_ROUNDS: u8 = 5;
/// Growth that counts as such while searching: a quarter.
const GROWTH_FULL: u64 = 320;
/// Round trips without it after which the pipe is full.
const ROUNDS_FULL: u8 = 3;
/// Age of the shortest round trip after which the queue is emptied to measure it again, milliseconds.
const ROUND_TRIP_AGE_MS_MAX: u32 = 10_000;
/// How long that lasts, milliseconds.
const PROBE_RTT_MS: u32 = 200;
/// Window meanwhile, and the least of all windows, in segments.
const SEGMENTS_MIN: u32 = 4;

/// How far ahead of its pace a connection may send, microseconds: the tick of the timers. A segment whose turn comes
/// within it leaves now, so that what is sent per wake-up is worth it.
const PACE_SLACK_US: u32 = 1_000;
/// How much of a late wake-up is made up for, microseconds: two ticks. Without it every delay of the loop lowers the
/// pace, and with it the rate that is measured (Linux gives half a segment's wait back for the same reason). What was
/// idle for longer gains no more than this.
const PACE_CREDIT_US_MAX: u32 = 2_000;
/// Longest wait that can be real, microseconds; a longer one is a clock that has wrapped during an idle time.
const PACE_WAIT_US_MAX: u32 = 500_000;
/// Slowest pace, bytes per second: a full segment every 90 ms.
const PACE_MIN: u64 = 16_000;
/// Most that one wake-up sends at once, bytes (as Linux's TSO quantum).
const QUANTUM_BYTES_MAX: u64 = 65_536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Startup,
    Drain,
    ProbeBw,
    ProbeRtt,
}

/// What a recovery does to the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conserve {
    /// Nothing.
    Off,
    /// It has begun: the next ACK sets the window to what is in the network.
    Begin,
    /// For a round trip, what leaves the network is what may enter.
    Round,
}

/// The newest of the segments that one ACK tells of, as a sample of the rate.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tcp) struct RateSample {
    prior_delivered: u32,
    prior_us: u32,
    send_elapsed_us: u32,
    is_limited: bool,
    is_set: bool,
}

/// What an ACK tells the model.
#[derive(Clone, Copy, Debug)]
pub(in crate::tcp) struct ModelAck {
    /// The rate.
    pub(in crate::tcp) sample: RateSample,
    /// Bytes newly arrived.
    pub(in crate::tcp) delivered: u32,
    /// Bytes in the network now.
    pub(in crate::tcp) pipe: u32,
    /// Round trip, if this ACK has one, microseconds.
    pub(in crate::tcp) rtt_us: Option<u32>,
    /// Whether something was found lost.
    pub(in crate::tcp) is_loss: bool,
    /// Bytes per segment.
    pub(in crate::tcp) mss: u32,
    /// Most that could ever be in flight, bytes.
    pub(in crate::tcp) cap: u32,
    /// The present, microseconds and milliseconds.
    pub(in crate::tcp) now_us: u32,
    pub(in crate::tcp) now_ms: u32,
}

/// The model of one path.
#[derive(Clone, Copy, Debug)]
pub(in crate::tcp) struct Bbr {
    /// Bytes that have arrived, modulo 2^32.
    delivered: u32,
    /// When the last of them did, microseconds.
    delivered_us: u32,
    /// When the segment was sent whose arrival that was, microseconds.
    first_sent_us: u32,
    /// Samples are limited until so many bytes have arrived.
    limited_until: u32,
    /// Greatest rate of the present and of the last bucket, bytes per second.
    rates: [u32; 2],
    /// Shortest round trip, microseconds, and when it was seen, milliseconds.
    round_trip_us: u32,
    round_trip_at_ms: u32,
    /// The round trip ends when what was delivered at the sending of an arrived segment reaches this.
    round_end: u32,
    /// Rate at which the search last grew.
    rate_full: u32,
    /// When the phase of PROBE-BW began, microseconds; in PROBE-RTT when it may end, milliseconds, or zero.
    phase_at: u32,
    /// Window before PROBE-RTT or a recovery.
    cwnd_before: u32,
    /// Pace, bytes per second; zero before the first sample of a round trip.
    pace: u32,
    /// When the next segment has its turn, microseconds.
    pace_us: u32,
    rounds: u8,
    rounds_full: u8,
    phase: u8,
    mode: Mode,
    conserve: Conserve,
    is_limited: bool,
    is_full: bool,
}

impl Bbr {
    pub(in crate::tcp) fn new(now_us: u32) -> Self {
        Self {
            delivered: 0,
            delivered_us: now_us,
            first_sent_us: now_us,
            limited_until: 0,
            rates: [0; 2],
            round_trip_us: u32::MAX,
            round_trip_at_ms: 0,
            round_end: 0,
            rate_full: 0,
            phase_at: now_us,
            cwnd_before: 0,
            pace: 0,
            pace_us: now_us,
            rounds: 0,
            rounds_full: 0,
            phase: 0,
            mode: Mode::Startup,
            conserve: Conserve::Off,
            is_limited: false,
            is_full: false,
        }
    }

    fn rate(&self) -> u64 {
        u64::from(self.rates[0].max(self.rates[1]))
    }

    /// What a segment that leaves now must remember; `is_first`: nothing is in the network.
    pub(in crate::tcp) fn stamp(&mut self, is_first: bool, now_us: u32) -> Stamp {
        if is_first {
            (self.delivered_us, self.first_sent_us) = (now_us, now_us);
        }
        Stamp {
            delivered: self.delivered,
            delivered_us: self.delivered_us,
            first_sent_us: self.first_sent_us,
            is_limited: self.is_limited,
        }
    }

    /// `len` bytes of `record` have arrived.
    pub(in crate::tcp) fn on_arrived(
        &mut self,
        record: &Record,
        len: u32,
        now_us: u32,
        sample: &mut RateSample,
    ) {
        self.delivered = self.delivered.wrapping_add(len);
        self.delivered_us = now_us;
        let stamp = record.stamp;
        if sample.is_set && is_before(stamp.delivered, sample.prior_delivered) {
            return;
        }
        *sample = RateSample {
            prior_delivered: stamp.delivered,
            prior_us: stamp.delivered_us,
            send_elapsed_us: record.sent_us.wrapping_sub(stamp.first_sent_us),
            is_limited: stamp.is_limited,
            is_set: true,
        };
        self.first_sent_us = later(self.first_sent_us, record.sent_us);
    }

    /// Nothing more waits to be sent with `pipe` bytes in the network.
    pub(in crate::tcp) fn on_nothing_to_send(&mut self, pipe: u32) {
        self.is_limited = true;
        self.limited_until = self.delivered.wrapping_add(pipe);
    }

    /// `len` bytes leave now.
    pub(in crate::tcp) fn on_sent(&mut self, len: u32, now_us: u32) {
        if self.pace == 0 {
            return;
        }
        let wait_us = (u64::from(len) * 1_000_000 / u64::from(self.pace)) as u32;
        let is_ahead = self.pace_us.wrapping_sub(now_us) <= PACE_WAIT_US_MAX;
        let late_us = now_us.wrapping_sub(self.pace_us);
        let from = if is_ahead {
            self.pace_us
        } else if late_us <= PACE_WAIT_US_MAX {
            now_us.wrapping_sub(late_us.min(PACE_CREDIT_US_MAX))
        } else {
            now_us
        };
        self.pace_us = from.wrapping_add(wait_us);
    }

    /// How long the next segment has to wait for its turn, if it has to. Microseconds.
    pub(in crate::tcp) fn pace_wait_us(&self, now_us: u32) -> Option<u32> {
        let wait_us = self.pace_us.wrapping_sub(now_us);
        let is_real = self.pace > 0 && wait_us > PACE_SLACK_US && wait_us <= PACE_WAIT_US_MAX;
        is_real.then(|| wait_us - PACE_SLACK_US)
    }

    /// Loss was found while the window was `cwnd`.
    pub(in crate::tcp) fn begin_recovery(&mut self, cwnd: u32) {
        if self.conserve == Conserve::Off && self.mode != Mode::ProbeRtt {
            self.cwnd_before = cwnd;
        }
        self.conserve = Conserve::Begin;
    }

    /// All that was in flight then is acknowledged: the window of before, if it was greater.
    pub(in crate::tcp) fn end_recovery(&mut self, cwnd: u32) -> u32 {
        self.conserve = Conserve::Off;
        if self.mode == Mode::ProbeRtt { cwnd } else { cwnd.max(self.cwnd_before) }
    }

    /// The end of an ACK: the new window.
    pub(in crate::tcp) fn on_ack(&mut self, ack: &ModelAck, cwnd: u32) -> u32 {
        if self.is_limited && is_after(self.delivered, self.limited_until) {
            self.is_limited = false;
        }
        let is_round = ack.sample.is_set && !is_before(ack.sample.prior_delivered, self.round_end);
        if is_round {
            self.round_end = self.delivered;
        }
        self.take_rate(ack, is_round);
        self.take_phase(ack);
        self.take_fullness(ack, is_round);
        let cwnd = self.take_round_trip(ack, is_round, cwnd);
        self.set_pace(cwnd);
        self.window(ack, is_round, cwnd)
    }

    /// Puts a sample of the rate into the filter.
    fn take_rate(&mut self, ack: &ModelAck, is_round: bool) {
        if !ack.sample.is_set {
            return;
        }
        // The slower of sending and arriving: neither a burst that was sent nor merged ACKs are the path's rate.
        let interval_us = ack.sample.send_elapsed_us.max(ack.now_us.wrapping_sub(ack.sample.prior_us));
        if interval_us == 0 || (self.round_trip_us != u32::MAX && interval_us < self.round_trip_us) {
            return;
        }
        let arrived = u64::from(self.delivered.wrapping_sub(ack.sample.prior_delivered));
        let rate = (arrived * 1_000_000 / u64::from(interval_us)).min(u64::from(u32::MAX));
        if ack.sample.is_limited && rate < self.rate() {
            return;
        }
        if is_round {
            self.rounds += 1;
            if self.rounds >= BUCKET_ROUNDS {
                (self.rates, self.rounds) = ([0, self.rates[0]], 0);
            }
        }
        self.rates[0] = self.rates[0].max(rate as u32);
    }

    /// Bytes that fill the path, times `gain`, and what merging of segments and ACKs on the way needs.
    fn inflight(&self, gain: u64, mss: u32) -> u32 {
        if self.round_trip_us == u32::MAX || self.rate() == 0 {
            return super::initial(mss);
        }
        let product = self.rate() * u64::from(self.round_trip_us) / 1_000_000;
        let quantum = (self.rate() / 1_000).clamp(u64::from(mss), QUANTUM_BYTES_MAX);
        u32::try_from(product * gain / ONE + 3 * quantum).unwrap_or(u32::MAX)
    }

    /// PROBE-BW: the next phase, when this one has lasted.
    fn take_phase(&mut self, ack: &ModelAck) {
        if self.mode != Mode::ProbeBw {
            return;
        }
        let has_lasted = ack.now_us.wrapping_sub(self.phase_at) > self.round_trip_us;
        let gain = GAINS_CYCLE[usize::from(self.phase) % GAINS_CYCLE.len()];
        let is_over = match gain {
            // Asking for more lasts until more is in the network, or it shows that it has no room.
            gain if gain > ONE => has_lasted && (ack.is_loss || ack.pipe >= self.inflight(gain, ack.mss)),
            gain if gain < ONE => has_lasted || ack.pipe <= self.inflight(ONE, ack.mss),
            _ => has_lasted,
        };
        if is_over {
            self.phase = (self.phase + 1) % GAINS_CYCLE.len() as u8;
            self.phase_at = ack.now_us;
        }
    }

    /// Begins PROBE-BW in one of its phases but the second, so that flows do not ask for more in step.
    fn probe_rate(&mut self, ack: &ModelAck) {
        self.mode = Mode::ProbeBw;
        let turn = (self.delivered ^ ack.now_us) % 7;
        self.phase = if turn == 0 { 0 } else { turn as u8 + 1 };
        self.phase_at = ack.now_us;
    }

    /// Whether the pipe is full, and the queue that showed it empty again.
    fn take_fullness(&mut self, ack: &ModelAck, is_round: bool) {
        if !self.is_full && is_round && !ack.sample.is_limited {
            if self.rate() * ONE >= u64::from(self.rate_full) * GROWTH_FULL {
                (self.rate_full, self.rounds_full) = (self.rates[0].max(self.rates[1]), 0);
            } else {
                self.rounds_full += 1;
                self.is_full = self.rounds_full >= ROUNDS_FULL;
            }
        }
        if self.mode == Mode::Startup && self.is_full {
            self.mode = Mode::Drain;
        }
        if self.mode == Mode::Drain && ack.pipe <= self.inflight(ONE, ack.mss) {
            self.probe_rate(ack);
        }
    }

    /// The shortest round trip, and PROBE-RTT when it is old. The window.
    fn take_round_trip(&mut self, ack: &ModelAck, is_round: bool, cwnd: u32) -> u32 {
        let is_old = self.round_trip_us != u32::MAX
            && ack.now_ms.wrapping_sub(self.round_trip_at_ms) > ROUND_TRIP_AGE_MS_MAX;
        if let Some(rtt_us) = ack.rtt_us.filter(|rtt_us| is_old || *rtt_us <= self.round_trip_us) {
            (self.round_trip_us, self.round_trip_at_ms) = (rtt_us.max(1), ack.now_ms);
        }
        // What was idle has just measured it with an empty queue.
        if is_old && self.mode != Mode::ProbeRtt && !ack.sample.is_limited {
            self.mode = Mode::ProbeRtt;
            self.phase_at = 0;
            self.cwnd_before = if self.conserve == Conserve::Off { cwnd } else { cwnd.max(self.cwnd_before) };
        }
        if self.mode != Mode::ProbeRtt {
            return cwnd;
        }
        self.on_nothing_to_send(ack.pipe);
        if self.phase_at == 0 {
            if ack.pipe <= SEGMENTS_MIN * ack.mss {
                self.phase_at = (ack.now_ms.wrapping_add(PROBE_RTT_MS)).max(1);
                self.round_end = self.delivered;
            }
        } else if is_round && !is_before(ack.now_ms, self.phase_at) {
            self.round_trip_at_ms = ack.now_ms;
            if self.is_full {
                self.probe_rate(ack);
            } else {
                self.mode = Mode::Startup;
            }
            return cwnd.max(self.cwnd_before);
        }
        cwnd
    }

    fn set_pace(&mut self, cwnd: u32) {
        let gain = match self.mode {
            Mode::Startup => GAIN_STARTUP,
            Mode::Drain => GAIN_DRAIN,
            Mode::ProbeBw => GAINS_CYCLE[usize::from(self.phase) % GAINS_CYCLE.len()],
            Mode::ProbeRtt => ONE,
        };
        let mut pace = self.rate() * gain / ONE;
        if self.pace == 0 {
            // The first pace is that of the first window: what a handshake or a short answer has shown until then says
            // how little there was to send, not what the path carries.
            if self.round_trip_us == u32::MAX {
                return;
            }
            pace = pace.max(u64::from(cwnd) * 1_000_000 / u64::from(self.round_trip_us) * gain / ONE);
        }
        // Before the pipe is full a sample can only be too low.
        if self.is_full || pace > u64::from(self.pace) {
            self.pace = pace.clamp(PACE_MIN, u64::from(u32::MAX)) as u32;
        }
    }

    /// What the path holds by the model with its queue as long as it is wanted: what is less in flight, a loss does not
    /// take away.
    fn inflight_in_recovery(&self, mss: u32) -> u32 {
        if self.rate() == 0 {
            return 0;
        }
        self.inflight(if self.is_full { ONE } else { GAIN_WINDOW }, mss)
    }

    /// The window of a connection that nothing holds back now, for whoever provides data ahead of it.
    pub(in crate::tcp) fn window_wanted(&self, mss: u32) -> u32 {
        self.inflight(GAIN_WINDOW, mss)
    }

    fn window(&mut self, ack: &ModelAck, is_round: bool, cwnd: u32) -> u32 {
        let least = SEGMENTS_MIN * ack.mss;
        let entering = ack.pipe.saturating_add(ack.delivered.max(ack.mss));
        // The queue of a path that holds less than its model has not overflowed: what waits behind a hole, or had
        // nothing to send, would else begin anew from the few segments in flight.
        let entering = entering.max(cwnd.min(self.inflight_in_recovery(ack.mss)));
        match self.conserve {
            Conserve::Begin => {
                self.conserve = Conserve::Round;
                self.round_end = self.delivered;
                return entering.min(ack.cap.max(least));
            }
            Conserve::Round if !is_round => return cwnd.max(entering).min(ack.cap.max(least)),
            Conserve::Round => self.conserve = Conserve::Off,
            Conserve::Off => {}
        }
        let gain =
            if self.mode == Mode::Startup || self.mode == Mode::Drain { GAIN_STARTUP } else { GAIN_WINDOW };
        let target = self.inflight(gain, ack.mss);
        let grown = cwnd.saturating_add(ack.delivered);
        let cwnd = if self.is_full {
            grown.min(target)
        } else if cwnd < target || self.delivered < super::initial(ack.mss) {
            grown
        } else {
            cwnd
        };
        let cwnd = cwnd.min(ack.cap).max(least);
        if self.mode == Mode::ProbeRtt { cwnd.min(least) } else { cwnd }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::scoreboard::{RecordPool, Scoreboard};

    const MSS: u32 = 1_000;
    const RTT_US: u32 = 20_000;

    /// A sender that always has data, and a path with a bottleneck whose queue is endless.
    struct Path {
        bbr: Bbr,
        cwnd: u32,
        pool: RecordPool,
        board: Scoreboard,
        next: u32,
        now_us: u32,
        /// Bytes per second.
        bottleneck: u64,
        /// When each segment in flight arrives back.
        arrivals: std::collections::VecDeque<u32>,
        free_us: u32,
        queue_us_max: u32,
    }

    impl Path {
        fn new(bottleneck: u64) -> Self {
            Self {
                bbr: Bbr::new(1_000_000),
                cwnd: super::super::initial(MSS),
                pool: RecordPool::new(10_000),
                board: Scoreboard::EMPTY,
                next: 0,
                now_us: 1_000_000,
                bottleneck,
                arrivals: std::collections::VecDeque::new(),
                free_us: 1_000_000,
                queue_us_max: 0,
            }
        }

        fn pipe(&self) -> u32 {
            self.arrivals.len() as u32 * MSS
        }

        fn send(&mut self) {
            while self.pipe() + MSS <= self.cwnd && self.bbr.pace_wait_us(self.now_us).is_none() {
                let stamp = self.bbr.stamp(self.arrivals.is_empty(), self.now_us);
                assert!(self.board.push(&mut self.pool, self.next, MSS as u16, self.now_us, stamp));
                self.bbr.on_sent(MSS, self.now_us);
                self.next = self.next.wrapping_add(MSS);
                let from = if is_after(self.free_us, self.now_us) { self.free_us } else { self.now_us };
                self.free_us = from + (u64::from(MSS) * 1_000_000 / self.bottleneck) as u32;
                self.queue_us_max = self.queue_us_max.max(self.free_us - self.now_us);
                self.arrivals.push_back(self.free_us + RTT_US);
            }
        }

        /// Half a millisecond passes.
        fn step(&mut self) {
            self.now_us += 500;
            while self.arrivals.front().is_some_and(|at| !is_after(*at, self.now_us)) {
                self.arrivals.pop_front();
                let record = self.board.pop(&mut self.pool).unwrap();
                let mut sample = RateSample::default();
                self.bbr.on_arrived(&record, MSS, self.now_us, &mut sample);
                let ack = ModelAck {
                    sample,
                    delivered: MSS,
                    pipe: self.pipe(),
                    rtt_us: Some(self.now_us - record.sent_us),
                    is_loss: false,
                    mss: MSS,
                    cap: 1 << 30,
                    now_us: self.now_us,
                    now_ms: self.now_us / 1_000,
                };
                self.cwnd = self.bbr.on_ack(&ack, self.cwnd);
            }
            self.send();
        }

        fn run(&mut self, millis: u32) {
            (0..millis * 2).for_each(|_| self.step());
        }
    }

    #[test]
    fn rate_of_the_bottleneck_is_found_and_its_queue_drained() {
        for bottleneck in [200_000, 2_000_000, 20_000_000] {
            let mut path = Path::new(bottleneck);
            path.run(2_000);
            assert!(path.bbr.is_full && path.bbr.mode == Mode::ProbeBw, "{:?}", path.bbr);
            let rate = path.bbr.rate();
            assert!(
                rate * 100 >= bottleneck * 90 && rate * 100 <= bottleneck * 115,
                "{rate} of {bottleneck}"
            );
            path.queue_us_max = 0;
            path.run(1_000);
            assert!(path.queue_us_max < 3 * RTT_US, "{} us of queue", path.queue_us_max);
        }
    }

    #[test]
    fn rate_that_grows_is_followed() {
        let mut path = Path::new(1_000_000);
        path.run(2_000);
        path.bottleneck = 3_000_000;
        path.run(4_000);
        assert!(path.bbr.rate() > 2_500_000, "{}", path.bbr.rate());
    }

    #[test]
    fn window_is_small_for_a_moment_every_ten_seconds() {
        let mut path = Path::new(2_000_000);
        path.run(9_000);
        let (mut least, mut small) = (u32::MAX, 0);
        for _ in 0..8_000 {
            path.step();
            least = least.min(path.cwnd);
            small += u32::from(path.cwnd <= SEGMENTS_MIN * MSS);
        }
        assert_eq!(least, SEGMENTS_MIN * MSS);
        assert!((300..800).contains(&small), "{small} half milliseconds");
        assert!(path.cwnd > 40 * MSS);
    }

    #[test]
    fn pace_holds_segments_back_but_a_clock_that_wrapped_does_not() {
        let mut bbr = Bbr::new(0);
        assert_eq!(bbr.pace_wait_us(0), None);
        bbr.pace = 1_000_000;
        (0..5).for_each(|_| bbr.on_sent(1_000, 0));
        assert_eq!(bbr.pace_wait_us(0), Some(4_000));
        assert_eq!(bbr.pace_wait_us(4_000), None, "a tick ahead it may go");
        assert_eq!(bbr.pace_wait_us(1 << 31), None);
        bbr.on_sent(1_000, 1 << 31);
        assert_eq!(bbr.pace_us, (1 << 31) + 1_000, "no credit is saved up");
    }

    #[test]
    fn recovery_holds_the_window_for_a_round_trip_and_gives_it_back() {
        let mut path = Path::new(2_000_000);
        path.run(2_000);
        let before = path.cwnd;
        path.bbr.begin_recovery(before);
        path.step();
        assert!(path.cwnd <= path.bbr.inflight(ONE, MSS).max(path.pipe() + 2 * MSS));
        assert!(path.cwnd < before);
        assert_eq!(path.bbr.end_recovery(path.cwnd), before);
    }

    /// An ACK of one segment that was sent 40 ms ago.
    fn ack(bbr: &mut Bbr, now_us: u32, pipe: u32) -> ModelAck {
        let (mut pool, mut board) = (RecordPool::new(1), Scoreboard::EMPTY);
        let stamp = bbr.stamp(false, now_us - 40_000);
        assert!(board.push(&mut pool, 0, MSS as u16, now_us - 40_000, stamp));
        let record = board.pop(&mut pool).unwrap();
        let mut sample = RateSample::default();
        bbr.on_arrived(&record, MSS, now_us, &mut sample);
        ModelAck {
            sample,
            delivered: MSS,
            pipe,
            rtt_us: Some(40_000),
            is_loss: false,
            mss: MSS,
            cap: 1 << 30,
            now_us,
            now_ms: now_us / 1_000,
        }
    }

    #[test]
    fn first_pace_is_that_of_the_first_window_whatever_a_handshake_has_shown() {
        let mut bbr = Bbr::new(1_000_000);
        bbr.on_nothing_to_send(MSS);
        let first = ack(&mut bbr, 1_040_000, 0);
        let cwnd = bbr.on_ack(&first, 10 * MSS);
        assert!(bbr.rate() < 30_000, "{bbr:?}");
        assert!(u64::from(bbr.pace) >= u64::from(cwnd) * 25 * GAIN_STARTUP / ONE * 9 / 10, "{bbr:?}");
    }

    #[test]
    fn recovery_behind_a_hole_keeps_what_the_path_holds() {
        let mut path = Path::new(2_000_000);
        path.run(2_000);
        path.bbr.begin_recovery(path.cwnd);
        // All but one segment have been sacked: the pipe says nothing of a queue.
        let now_us = path.now_us + 40_000;
        let only = ack(&mut path.bbr, now_us, MSS);
        let cwnd = path.bbr.on_ack(&only, path.cwnd);
        assert!(cwnd >= path.bbr.inflight(ONE, MSS), "{cwnd}");
    }

    #[test]
    fn late_wake_up_is_made_up_for_within_bounds() {
        let mut bbr = Bbr::new(0);
        bbr.pace = 1_000_000;
        bbr.on_sent(1_000, 0);
        bbr.on_sent(1_000, 2_500);
        assert_eq!(bbr.pace_us, 2_000, "1.5 ms late");
        bbr.on_sent(1_000, 100_000);
        assert_eq!(bbr.pace_us, 99_000, "no more than two ticks");
    }
}
