//! Congestion control: how much may be in flight (RFC 5681), by two algorithms behind one trait.
//!
//! Owns: the window, the slow-start threshold, slow start with appropriate byte counting (RFC 3465), the initial
//! window (RFC 6928), the restart after idle time. Does not own: loss detection (`rack`), how a reduction is
//! spread over a round trip (`recovery`), what an algorithm does above the threshold ([`cubic`], [`new_reno`]).
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

pub(super) mod cubic;
pub(super) mod new_reno;

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
    /// RFC 9438; what Linux uses.
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

/// The congestion window of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    cwnd: u32,
    ssthresh: u32,
    algorithm: Algorithm,
}

impl Window {
    /// The initial window for segments of `mss` bytes.
    pub(super) fn new(kind: CongestionKind, mss: u32) -> Self {
        let algorithm = match kind {
            CongestionKind::Cubic => Algorithm::Cubic(Cubic::default()),
            CongestionKind::NewReno => Algorithm::NewReno(NewReno::default()),
        };
        Self { cwnd: initial(mss), ssthresh: u32::MAX, algorithm }
    }

    /// Bytes that may be in flight.
    #[inline]
    pub(super) fn cwnd(&self) -> u32 {
        self.cwnd
    }

    /// Slow-start threshold in bytes; `u32::MAX` before the first loss.
    #[inline]
    pub(super) fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    /// Whether the window is below the threshold.
    #[inline]
    pub(super) fn is_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// Sets the window directly: proportional rate reduction and its end.
    #[inline]
    pub(super) fn set_cwnd(&mut self, cwnd: u32) {
        self.cwnd = cwnd;
    }

    /// `growth.acked` bytes were acknowledged while the window was full. `cap` is the most that could ever be in
    /// flight: growing beyond it would only store up a burst.
    pub(super) fn on_acked(&mut self, growth: &Growth, is_after_timeout: bool, cap: u32) {
        let mut growth = Growth { cwnd: self.cwnd, ..*growth };
        if self.is_slow_start() {
            let segments = if is_after_timeout { CREDIT_SEGMENTS_AFTER_TIMEOUT } else { CREDIT_SEGMENTS_MAX };
            let credit = growth.acked.min(segments * growth.mss);
            let grown = self.cwnd.saturating_add(credit).min(self.ssthresh);
            // What takes the window over the threshold counts as congestion avoidance.
            growth.acked = credit - (grown - self.cwnd);
            growth.cwnd = grown;
            self.cwnd = grown;
        }
        if !self.is_slow_start() && growth.acked > 0 {
            self.cwnd = self.algorithm.as_congestion().grow(&growth);
        }
        self.cwnd = self.cwnd.min(cap.max(growth.mss));
    }

    /// Data was acknowledged although the window had not been filled (RFC 7661: no growth by disuse).
    pub(super) fn on_unfilled(&mut self, now_ms: u32) {
        self.algorithm.as_congestion().rest(now_ms);
    }

    /// Loss was found: sets the threshold. The window follows by proportional rate reduction, or is set to one
    /// segment after a timeout.
    pub(super) fn reduce(&mut self, mss: u32) {
        self.ssthresh = self.algorithm.as_congestion().reduce(self.cwnd).max(REDUCED_SEGMENTS_MIN * mss);
    }

    /// The last reduction was a mistake (RFC 4015 §3.2): back to what was.
    pub(super) fn undo(&mut self, cwnd: u32, ssthresh: u32) {
        self.cwnd = self.cwnd.max(cwnd);
        self.ssthresh = self.ssthresh.max(ssthresh);
        self.algorithm.as_congestion().undo(self.cwnd);
    }

    /// Nothing was sent for `idle_us`, which is longer than a timeout: what the path carried before says less with
    /// every timeout that passes (RFC 5681 §4.1, RFC 2861 as Linux does it).
    pub(super) fn restart_after_idle(&mut self, idle_us: u32, rto_us: u32, mss: u32) {
        let floor = initial(mss).min(self.cwnd);
        self.ssthresh = self.ssthresh.max(self.cwnd / 4 * 3);
        let halvings = (idle_us / rto_us.max(1)).min(31);
        self.cwnd = (self.cwnd >> halvings).max(floor);
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
        Window::new(CongestionKind::NewReno, MSS)
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
        (0..10).for_each(|_| window.on_acked(&acked(MSS), false, CAP));
        assert_eq!(window.cwnd(), before + 10 * MSS);
    }

    #[test]
    fn acks_cut_into_pieces_gain_nothing() {
        let (mut whole, mut pieces) = (window(), window());
        whole.on_acked(&acked(MSS), false, CAP);
        (0..MSS).for_each(|_| pieces.on_acked(&acked(1), false, CAP));
        assert_eq!(whole.cwnd(), pieces.cwnd());
    }

    #[test]
    fn one_ack_opens_the_window_by_a_bounded_step() {
        let mut window = window();
        let before = window.cwnd();
        window.on_acked(&acked(500 * MSS), false, CAP);
        assert_eq!(window.cwnd(), before + 10 * MSS);
        window.on_acked(&acked(500 * MSS), true, CAP);
        assert_eq!(window.cwnd(), before + 11 * MSS, "after a timeout by one segment");
    }

    #[test]
    fn window_never_passes_the_cap() {
        let mut window = window();
        (0..1_000).for_each(|_| window.on_acked(&acked(10 * MSS), false, 64 * 1024));
        assert_eq!(window.cwnd(), 64 * 1024);
    }

    #[test]
    fn reduction_leaves_two_segments() {
        let mut window = window();
        window.set_cwnd(MSS);
        window.reduce(MSS);
        assert_eq!(window.ssthresh(), 2 * MSS);
    }

    #[test]
    fn idle_time_halves_the_window_per_timeout_down_to_the_initial_one() {
        let mut window = window();
        window.set_cwnd(200 * MSS);
        window.restart_after_idle(450_000, 200_000, MSS);
        assert_eq!(window.cwnd(), 50 * MSS);
        assert_eq!(window.ssthresh(), u32::MAX);
        window.restart_after_idle(u32::MAX, 200_000, MSS);
        assert_eq!(window.cwnd(), initial(MSS));
        window.set_cwnd(2 * MSS);
        window.restart_after_idle(u32::MAX, 200_000, MSS);
        assert_eq!(window.cwnd(), 2 * MSS, "a small window does not grow by rest");
    }

    #[test]
    fn undo_brings_back_window_and_threshold() {
        let mut window = window();
        window.set_cwnd(100 * MSS);
        window.reduce(MSS);
        window.set_cwnd(window.ssthresh());
        window.undo(100 * MSS, u32::MAX);
        assert_eq!((window.cwnd(), window.ssthresh()), (100 * MSS, u32::MAX));
    }
}
