//! Congestion control: how much may be in flight, and how fast it may leave.
//!
//! Owns: the window; of what reacts to loss (RFC 5681) the slow-start threshold, slow start with appropriate byte
//! counting (RFC 3465), the initial window (RFC 6928), the restart after idle time, reductions and taking them back.
//! Does not own: loss detection (`rack`), what an algorithm does above the threshold ([`cubic`], [`new_reno`]: one
//! trait), the model of the path that the third one keeps instead of reacting to loss ([`bbr`]).
//!
//! ```text
//!  cwnd │            W_max ......╭──────╮ CUBIC: a cubic curve of the time since the last loss
//!       │   slow    ╱        ╱───╯      │ NewReno: a straight line, one segment per round trip
//!       │   start  ╱ │   ╱───╯          │
//!       │ IW10 ╱───  │ x 0.7            │ x 0.7 ...
//!       └───────────────────────────────────► time
//! ```
//! The window counts bytes acknowledged, never ACKs: a peer that cuts its ACKs into pieces gains nothing (ACK
//! division), one that acknowledges what it has not received gains at most the send cap of the connection.
//! Integers only. Cost: about 20 ns per ACK.

use core::fmt::Debug;

pub(super) mod bbr;
pub(super) mod cubic;
pub(super) mod new_reno;

use super::recovery::{Reduction, Undo};
use super::scoreboard::{Record, Stamp};
use bbr::{Bbr, ModelAck, RateSample};
use cubic::Cubic;
use new_reno::NewReno;

/// Initial window in segments (RFC 6928 §2).
const INITIAL_SEGMENTS: u32 = 10;

/// Initial window in bytes, whatever the segment size (RFC 6928 §2).
const INITIAL_BYTES: u32 = 14_600;

/// Most segments by which one ACK opens the window in slow start. RFC 3465 §2.3 proposes 2; receivers that merge
/// segments before acknowledging them (GRO) send one ACK for ten and more, and would be starved.
const CREDIT_SEGMENTS_MAX: u32 = 10;

/// The same after a timeout, when an ACK may cover data that was received long ago (RFC 3465 §2.3).
const CREDIT_SEGMENTS_AFTER_TIMEOUT: u32 = 1;

/// Smallest window that a reduction leaves (RFC 5681 §3.1).
const REDUCED_SEGMENTS_MIN: u32 = 2;

/// What an algorithm learns from an ACK in congestion avoidance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    /// Bytes newly acknowledged.
    pub(super) acked: u32,
    /// Bytes per segment.
    pub(super) mss: u32,
    /// The window before.
    pub(super) cwnd: u32,
    /// Smoothed round trip, milliseconds.
    pub(super) rtt_ms: u32,
    /// The present, milliseconds.
    pub(super) now_ms: u32,
}

/// How the window moves above the slow-start threshold.
pub(super) trait Congestion: Debug {
    /// The window after an ACK in congestion avoidance.
    fn grow(&mut self, growth: &Growth) -> u32;

    /// Loss was found: the new threshold for a window of `cwnd` bytes.
    fn reduce(&mut self, cwnd: u32) -> u32;

    /// The last reduction was a mistake; the window is `cwnd` again.
    fn undo(&mut self, cwnd: u32);

    /// The window was not filled until `now_ms`: this time must not count as time to grow in.
    fn rest(&mut self, now_ms: u32);
}

/// Which algorithm to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CongestionKind {
    /// A model of the path instead of a reaction to loss (draft-cardwell-iccrg-bbr-congestion-control-00), for peers
    /// with SACK; others get CUBIC.
    Bbr,
    /// RFC 9438; what Linux uses by default.
    #[default]
    Cubic,
    /// RFC 5681.
    NewReno,
}

/// The algorithm of a connection, inline: a pointer per connection would cost an allocation.
#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Cubic(Cubic),
    NewReno(NewReno),
}

impl Algorithm {
    fn as_congestion(&mut self) -> &mut dyn Congestion {
        match self {
            Self::Cubic(cubic) => cubic,
            Self::NewReno(new_reno) => new_reno,
        }
    }
}

/// What reacts to loss.
#[derive(Clone, Copy, Debug)]
struct LossBased {
    ssthresh: u32,
    algorithm: Algorithm,
    reduction: Reduction,
    undo: Undo,
}

/// What moves the window.
#[derive(Clone, Copy, Debug)]
enum Control {
    Loss(LossBased),
    Model(Bbr),
}

/// The congestion window of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    cwnd: u32,
    control: Control,
}

impl Window {
    /// The initial window for segments of `mss` bytes.
    pub(super) fn new(kind: CongestionKind, mss: u32, has_sack: bool, now_us: u32) -> Self {
        let algorithm = match kind {
            CongestionKind::Bbr if has_sack => {
                return Self { cwnd: initial(mss), control: Control::Model(Bbr::new(now_us)) };
            }
            CongestionKind::Cubic | CongestionKind::Bbr => Algorithm::Cubic(Cubic::default()),
            CongestionKind::NewReno => Algorithm::NewReno(NewReno::default()),
        };
        let (reduction, undo) = (Reduction::default(), Undo::NONE);
        let control = Control::Loss(LossBased { ssthresh: u32::MAX, algorithm, reduction, undo });
        Self { cwnd: initial(mss), control }
    }

    /// Bytes that may be in flight.
    #[inline]
    pub(super) fn cwnd(&self) -> u32 {
        self.cwnd
    }

    /// What [`Window::cwnd`] is while nothing holds it back: a model lowers it for a round trip after a loss, and for a
    /// moment to measure, and knows where it goes back to.
    pub(super) fn wanted(&self, mss: u32) -> u32 {
        match &self.control {
            Control::Loss(_) => self.cwnd,
            Control::Model(bbr) => self.cwnd.max(bbr.window_wanted(mss)),
        }
    }

    /// Slow-start threshold in bytes; `u32::MAX` before the first loss, and where a model has none.
    #[inline]
    pub(super) fn ssthresh(&self) -> u32 {
        match &self.control {
            Control::Loss(loss) => loss.ssthresh,
            Control::Model(_) => u32::MAX,
        }
    }

    /// Whether the window is below the threshold.
    #[inline]
    pub(super) fn is_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh()
    }

    /// Raises a window that is below one segment, after segments became larger or smaller.
    pub(super) fn raise_to(&mut self, mss: u32) {
        self.cwnd = self.cwnd.max(mss);
    }

    fn loss_based(&mut self) -> Option<&mut LossBased> {
        match &mut self.control {
            Control::Loss(loss) => Some(loss),
            Control::Model(_) => None,
        }
    }

    /// Data was acknowledged outside a fast recovery. `growth.acked` bytes arrived; `cap` is the most that could ever
    /// be in flight: growing beyond it would only store up a burst. `is_filled`: the window was what held us back.
    pub(super) fn on_acked(&mut self, growth: &Growth, is_filled: bool, is_after_timeout: bool, cap: u32) {
        let (cwnd, is_slow_start) = (self.cwnd, self.is_slow_start());
        let Control::Loss(loss) = &mut self.control else { return };
        if !is_filled {
            // RFC 7661: no growth by disuse.
            loss.algorithm.as_congestion().rest(growth.now_ms);
            return;
        }
        let mut growth = Growth { cwnd, ..*growth };
        if is_slow_start {
            let segments = if is_after_timeout { CREDIT_SEGMENTS_AFTER_TIMEOUT } else { CREDIT_SEGMENTS_MAX };
            let credit = growth.acked.min(segments * growth.mss);
            let grown = cwnd.saturating_add(credit).min(loss.ssthresh);
            // What takes the window over the threshold counts as congestion avoidance.
            growth.acked = credit - (grown - cwnd);
            growth.cwnd = grown;
        }
        let is_above = growth.cwnd >= loss.ssthresh && growth.acked > 0;
        let grown = if is_above { loss.algorithm.as_congestion().grow(&growth) } else { growth.cwnd };
        self.cwnd = grown.min(cap.max(growth.mss));
    }

    /// Loss was found with `flight` bytes outstanding (RFC 5681 §3.2): sets the threshold; the window follows by
    /// proportional rate reduction.
    pub(super) fn begin_recovery(&mut self, flight: u32, mss: u32) {
        let cwnd = self.cwnd;
        match &mut self.control {
            Control::Loss(loss) => {
                loss.undo = Undo::begin(cwnd, loss.ssthresh);
                loss.reduce(cwnd, mss);
                loss.reduction = Reduction::begin(flight);
            }
            Control::Model(bbr) => bbr.begin_recovery(cwnd),
        }
    }

    /// An ACK or a timer in fast recovery: `delivered` bytes left the network, `pipe` are in it. `is_safe`: the ACK
    /// advanced and showed no further loss.
    pub(super) fn on_recovery(&mut self, delivered: u32, pipe: u32, mss: u32, is_safe: bool) {
        if let Control::Loss(loss) = &mut self.control {
            let cwnd = loss.reduction.on_ack(delivered, pipe, loss.ssthresh, mss, is_safe);
            self.cwnd = cwnd.max(mss);
        }
    }

    /// A recovery has ended; `is_fast`: not that of a timeout.
    pub(super) fn end_recovery(&mut self, is_fast: bool) {
        match &mut self.control {
            Control::Loss(loss) if is_fast => self.cwnd = loss.ssthresh,
            Control::Loss(_) => {}
            Control::Model(bbr) => self.cwnd = bbr.end_recovery(self.cwnd),
        }
    }

    /// The retransmission timer ran out. `is_new`: not of the same flight as the last time; `is_first`: no recovery
    /// was under way.
    pub(super) fn on_timeout(&mut self, mss: u32, is_new: bool, is_first: bool) {
        let cwnd = self.cwnd;
        match &mut self.control {
            Control::Loss(loss) => {
                if is_new && is_first {
                    loss.undo = Undo::begin(cwnd, loss.ssthresh);
                }
                // RFC 5681 §3.1: once per flight, not once per timeout of it.
                if is_new {
                    loss.reduce(cwnd, mss);
                }
            }
            Control::Model(bbr) => bbr.begin_recovery(cwnd),
        }
        self.cwnd = mss;
    }

    /// A tail loss probe repaired a loss that nobody saw (RFC 8985 §7.4.2).
    pub(super) fn reduce_at_once(&mut self, mss: u32) {
        let cwnd = self.cwnd;
        if let Some(loss) = self.loss_based() {
            loss.reduce(cwnd, mss);
            self.cwnd = self.ssthresh();
        }
    }

    /// `len` bytes were sent; `clock` is our timestamp clock when they were sent before.
    #[inline]
    pub(super) fn on_sent(&mut self, len: u32, again: Option<u32>, now_us: u32) {
        match &mut self.control {
            Control::Loss(loss) => {
                loss.reduction.on_sent(len);
                if let Some(clock) = again {
                    loss.undo.on_retransmitted(clock);
                }
            }
            Control::Model(bbr) => bbr.on_sent(len, now_us),
        }
    }

    /// What a segment that leaves now must remember.
    #[inline]
    pub(super) fn stamp(&mut self, is_first: bool, now_us: u32) -> Stamp {
        match &mut self.control {
            Control::Loss(_) => Stamp::default(),
            Control::Model(bbr) => bbr.stamp(is_first, now_us),
        }
    }

    /// `record` has arrived.
    #[inline]
    pub(super) fn on_arrived(&mut self, record: &Record, len: u32, now_us: u32, sample: &mut RateSample) {
        if let Control::Model(bbr) = &mut self.control {
            bbr.on_arrived(record, len, now_us, sample);
        }
    }

    /// The end of an ACK: a model draws its conclusions.
    #[inline]
    pub(super) fn on_model_ack(&mut self, ack: &ModelAck) {
        if let Control::Model(bbr) = &mut self.control {
            self.cwnd = bbr.on_ack(ack, self.cwnd);
        }
    }

    /// Nothing more waits to be sent, with `pipe` bytes in the network: what is measured until they have arrived says
    /// little about the path.
    #[inline]
    pub(super) fn on_nothing_to_send(&mut self, pipe: u32) {
        if let Control::Model(bbr) = &mut self.control {
            bbr.on_nothing_to_send(pipe);
        }
    }

    /// How long the next segment has to wait for its turn, if it has to.
    #[inline]
    pub(super) fn pace_wait_us(&self, now_us: u32) -> Option<u32> {
        match &self.control {
            Control::Loss(_) => None,
            Control::Model(bbr) => bbr.pace_wait_us(now_us),
        }
    }

    /// Whether the timestamp `echo` of newly acknowledged data proves the last reduction to be a mistake.
    pub(super) fn is_proven_mistake(&self, echo: u32) -> bool {
        matches!(&self.control, Control::Loss(loss) if loss.undo.is_proven_by(echo))
    }

    /// A D-SACK arrived. Whether it proves the last reduction to be a mistake.
    pub(super) fn on_duplicate_sack(&mut self) -> bool {
        self.loss_based().is_some_and(|loss| loss.undo.on_duplicate_sack())
    }

    /// The last reduction was a mistake (RFC 4015 §3.2): back to what was.
    pub(super) fn undo(&mut self) {
        if let Control::Loss(loss) = &mut self.control {
            let (cwnd, ssthresh) = loss.undo.take();
            self.cwnd = self.cwnd.max(cwnd);
            loss.ssthresh = loss.ssthresh.max(ssthresh);
            loss.algorithm.as_congestion().undo(self.cwnd);
        }
    }

    /// Nothing was sent for `idle_us`, which is longer than a timeout: what the path carried before says less with
    /// every timeout that passes (RFC 5681 §4.1, RFC 2861 as Linux does it). A model keeps its own time.
    pub(super) fn restart_after_idle(&mut self, idle_us: u32, rto_us: u32, mss: u32) {
        let cwnd = self.cwnd;
        let Some(loss) = self.loss_based() else { return };
        loss.ssthresh = loss.ssthresh.max(cwnd / 4 * 3);
        let halvings = (idle_us / rto_us.max(1)).min(31);
        self.cwnd = (cwnd >> halvings).max(initial(mss).min(cwnd));
    }
}

impl LossBased {
    fn reduce(&mut self, cwnd: u32, mss: u32) {
        self.ssthresh = self.algorithm.as_congestion().reduce(cwnd).max(REDUCED_SEGMENTS_MIN * mss);
    }
}

/// The initial window (RFC 6928 §2).
pub(super) fn initial(mss: u32) -> u32 {
    (INITIAL_SEGMENTS * mss).min(INITIAL_BYTES.max(2 * mss))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_448;
    const CAP: u32 = 1 << 30;

    fn acked(bytes: u32) -> Growth {
        Growth { acked: bytes, mss: MSS, cwnd: 0, rtt_ms: 20, now_ms: 1_000 }
    }

    fn window() -> Window {
        Window::new(CongestionKind::NewReno, MSS, true, 0)
    }

    #[test]
    fn initial_window_is_that_of_rfc_6928() {
        assert_eq!(initial(1_460), 14_600);
        assert_eq!(initial(536), 5_360);
        assert_eq!(initial(8_960), 17_920);
    }

    #[test]
    fn slow_start_doubles_per_round_trip() {
        let mut window = window();
        let before = window.cwnd();
        (0..10).for_each(|_| window.on_acked(&acked(MSS), true, false, CAP));
        assert_eq!(window.cwnd(), before + 10 * MSS);
    }

    #[test]
    fn acks_cut_into_pieces_gain_nothing() {
        let (mut whole, mut pieces) = (window(), window());
        whole.on_acked(&acked(MSS), true, false, CAP);
        (0..MSS).for_each(|_| pieces.on_acked(&acked(1), true, false, CAP));
        assert_eq!(whole.cwnd(), pieces.cwnd());
    }

    #[test]
    fn one_ack_opens_the_window_by_a_bounded_step() {
        let mut window = window();
        let before = window.cwnd();
        window.on_acked(&acked(500 * MSS), true, false, CAP);
        assert_eq!(window.cwnd(), before + 10 * MSS);
        window.on_acked(&acked(500 * MSS), true, true, CAP);
        assert_eq!(window.cwnd(), before + 11 * MSS, "after a timeout by one segment");
    }

    #[test]
    fn window_never_passes_the_cap() {
        let mut window = window();
        (0..1_000).for_each(|_| window.on_acked(&acked(10 * MSS), true, false, 64 * 1024));
        assert_eq!(window.cwnd(), 64 * 1024);
    }

    #[test]
    fn reduction_leaves_two_segments() {
        let mut window = window();
        window.cwnd = MSS;
        window.begin_recovery(MSS, MSS);
        assert_eq!(window.ssthresh(), 2 * MSS);
    }

    #[test]
    fn idle_time_halves_the_window_per_timeout_down_to_the_initial_one() {
        let mut window = window();
        window.cwnd = 200 * MSS;
        window.restart_after_idle(450_000, 200_000, MSS);
        assert_eq!(window.cwnd(), 50 * MSS);
        assert_eq!(window.ssthresh(), u32::MAX);
        window.restart_after_idle(u32::MAX, 200_000, MSS);
        assert_eq!(window.cwnd(), initial(MSS));
        window.cwnd = 2 * MSS;
        window.restart_after_idle(u32::MAX, 200_000, MSS);
        assert_eq!(window.cwnd(), 2 * MSS, "a small window does not grow by rest");
    }

    #[test]
    fn undo_brings_back_window_and_threshold() {
        let mut window = window();
        window.cwnd = 100 * MSS;
        window.begin_recovery(100 * MSS, MSS);
        window.end_recovery(true);
        assert_eq!(window.cwnd(), 50 * MSS);
        window.undo();
        assert_eq!((window.cwnd(), window.ssthresh()), (100 * MSS, u32::MAX));
    }
}
