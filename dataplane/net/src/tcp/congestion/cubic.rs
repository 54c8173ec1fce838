//! CUBIC's congestion avoidance (RFC 9438), in integers.
//!
//! Owns: the curve `W(t) = C * (t - K)^3 + W_max` with C = 0.4 segments/s^3 and beta = 0.7, fast convergence, the
//! Reno-friendly region. Does not own: slow start, the reduction's pace.
//!
//! Time is counted in milliseconds, windows in bytes. The time in which the window was not filled does not count
//! (RFC 9438 §5.8). Cost: a cube root per loss, a few multiplications per ACK.

use super::{Congestion, Growth};

/// Multiplicative decrease in tenths (RFC 9438 §4.6).
const BETA_TENTHS: u64 = 7;

/// Longest distance from the middle of the curve that is computed, milliseconds: there the curve is 10,800 segments
/// high, beyond any window.
const DISTANCE_MS_MAX: u64 = 30_000;

/// The window on a cubic curve.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tcp) struct Cubic {
    /// Window before the last reduction, with fast convergence, bytes; zero before the first loss.
    w_max: u32,
    /// Window at the last reduction, bytes: the Reno-friendly estimate grows faster beyond it.
    prior: u32,
    /// What Reno would have by now, bytes.
    estimate: u32,
    /// Remainder of the estimate's growth.
    estimate_credit: u32,
    /// Remainder of the window's growth.
    credit: u32,
    /// When the present epoch began, milliseconds.
    epoch_ms: u32,
    /// When the last ACK was seen, milliseconds.
    seen_ms: u32,
    /// Time from the epoch's begin to the middle of the curve, milliseconds.
    k_ms: u32,
    is_running: bool,
}

impl Cubic {
    /// Begins an epoch at the first ACK after a reduction (RFC 9438 §4.2).
    fn begin(&mut self, growth: &Growth) {
        self.is_running = true;
        (self.epoch_ms, self.seen_ms) = (growth.now_ms, growth.now_ms);
        (self.credit, self.estimate_credit) = (0, 0);
        self.estimate = growth.cwnd;
        if growth.cwnd < self.w_max {
            // K = cbrt((W_max - cwnd) / C): in milliseconds the cube of it is delta / mss / 0.4 * 10^9.
            let delta = u64::from(self.w_max - growth.cwnd);
            self.k_ms = cube_root(delta * 2_500_000_000 / u64::from(growth.mss.max(1)));
        } else {
            self.k_ms = 0;
            self.w_max = growth.cwnd;
        }
    }

    /// The curve at `t_ms` after the epoch's begin.
    fn curve(&self, t_ms: u64, mss: u32) -> u64 {
        let k = u64::from(self.k_ms);
        let distance = t_ms.abs_diff(k).min(DISTANCE_MS_MAX);
        // C * d^3 segments with d in seconds: 4/10 * (d/1000)^3.
        let height = u64::from(mss) * 4 * distance.pow(3) / 10_000_000_000;
        if t_ms < k { u64::from(self.w_max).saturating_sub(height) } else { u64::from(self.w_max) + height }
    }

    /// Moves the Reno-friendly estimate (RFC 9438 §4.3): alpha = 3 * (1 - beta) / (1 + beta) = 9/17 until it has
    /// reached the window of the last loss, then 1.
    fn move_estimate(&mut self, growth: &Growth) {
        let (alpha, divisor) = if self.estimate < self.prior { (9, 17) } else { (1, 1) };
        let total = u64::from(growth.acked) * u64::from(growth.mss) * alpha / divisor
            + u64::from(self.estimate_credit);
        let cwnd = u64::from(growth.cwnd.max(1));
        self.estimate_credit = (total % cwnd) as u32;
        self.estimate = self.estimate.saturating_add(u32::try_from(total / cwnd).unwrap_or(u32::MAX));
    }
}

impl Congestion for Cubic {
    fn grow(&mut self, growth: &Growth) -> u32 {
        if !self.is_running {
            self.begin(growth);
        }
        self.seen_ms = growth.now_ms;
        self.move_estimate(growth);
        let cwnd = u64::from(growth.cwnd.max(1));
        let t = growth.now_ms.wrapping_sub(self.epoch_ms);
        if self.curve(u64::from(t), growth.mss) < u64::from(self.estimate) {
            return growth.cwnd.max(self.estimate);
        }
        // Where the curve will be a round trip from now, at most half as much again (RFC 9438 §4.4).
        let target = self.curve(u64::from(t) + u64::from(growth.rtt_ms), growth.mss);
        let target = target.clamp(cwnd, cwnd + cwnd / 2);
        let total = (target - cwnd) * u64::from(growth.acked) + u64::from(self.credit);
        self.credit = (total % cwnd) as u32;
        u32::try_from(cwnd + total / cwnd).unwrap_or(u32::MAX)
    }

    fn reduce(&mut self, cwnd: u32) -> u32 {
        self.is_running = false;
        self.prior = cwnd;
        // Fast convergence (RFC 9438 §4.7): a flow that lost before it came back to its height makes room for others.
        let reduced = (u64::from(cwnd) * (10 + BETA_TENTHS) / 20) as u32;
        self.w_max = if cwnd < self.w_max { reduced } else { cwnd };
        (u64::from(cwnd) * BETA_TENTHS / 10) as u32
    }

    fn undo(&mut self, cwnd: u32) {
        self.is_running = false;
        self.w_max = self.w_max.max(cwnd);
    }

    fn rest(&mut self, now_ms: u32) {
        if self.is_running {
            self.epoch_ms = self.epoch_ms.wrapping_add(now_ms.wrapping_sub(self.seen_ms));
            self.seen_ms = now_ms;
        }
    }
}

/// The largest integer whose cube is at most `value`.
fn cube_root(value: u64) -> u32 {
    let (mut root, mut rest) = (0u64, value);
    for shift in (0..=63).rev().step_by(3) {
        root *= 2;
        let step = 3 * root * (root + 1) + 1;
        if rest >> shift >= step {
            rest -= step << shift;
            root += 1;
        }
    }
    root as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    /// The window after `rtts` round trips of full windows at `rtt_ms`, from `cwnd` at 1 s.
    fn run(cubic: &mut Cubic, mut cwnd: u32, rtt_ms: u32, rtts: u32) -> Vec<u32> {
        let mut windows = Vec::new();
        for round in 0..rtts {
            let now_ms = 1_000 + round * rtt_ms;
            for _ in 0..cwnd / MSS {
                cwnd = cubic.grow(&Growth { acked: MSS, mss: MSS, cwnd, rtt_ms, now_ms });
            }
            windows.push(cwnd);
        }
        windows
    }

    #[test]
    fn cube_root_is_exact() {
        for root in [0u64, 1, 2, 3, 999, 1_000, 46_415, 2_642_244] {
            assert_eq!(u64::from(cube_root(root.pow(3))), root);
            if root > 1 {
                assert_eq!(u64::from(cube_root(root.pow(3) - 1)), root - 1);
            }
        }
        assert_eq!(cube_root(u64::MAX), 2_642_245);
    }

    #[test]
    fn window_comes_back_to_its_height_after_k() {
        // W_max = 1000 segments: K = cbrt(300 / 0.4) = 9.086 s.
        let mut cubic = Cubic::default();
        let after_loss = cubic.reduce(1_000 * MSS);
        assert_eq!(after_loss, 700 * MSS);
        let windows = run(&mut cubic, after_loss, 100, 140);
        assert_eq!(cubic.k_ms, 9_085);
        assert!(windows[85] < 1_000 * MSS && windows[85] > 995 * MSS, "{}", windows[85]);
        assert!(windows[95] >= 999 * MSS, "{}", windows[95]);
        // Concave before the middle, convex after.
        assert!(windows[10] - windows[0] > windows[80] - windows[70]);
        assert!(windows[139] - windows[129] > windows[105] - windows[95]);
    }

    #[test]
    fn short_round_trips_follow_reno() {
        // At 1 ms Reno is far faster than the curve: 9/17 of a segment per round trip.
        let mut cubic = Cubic::default();
        let after_loss = cubic.reduce(100 * MSS);
        let windows = run(&mut cubic, after_loss, 1, 34);
        let grown = windows[33] - after_loss;
        assert!((16 * MSS..=18 * MSS).contains(&grown), "{grown}");
    }

    #[test]
    fn loss_below_the_last_height_gives_up_some_of_it() {
        let mut cubic = Cubic::default();
        cubic.reduce(1_000 * MSS);
        cubic.reduce(800 * MSS);
        assert_eq!(cubic.w_max, 680 * MSS);
    }

    #[test]
    fn time_in_which_the_window_was_not_filled_does_not_count() {
        let (mut busy, mut resting) = (Cubic::default(), Cubic::default());
        for cubic in [&mut busy, &mut resting] {
            cubic.reduce(1_000 * MSS);
            cubic.grow(&Growth { acked: MSS, mss: MSS, cwnd: 700 * MSS, rtt_ms: 20, now_ms: 1_000 });
        }
        resting.rest(60_000);
        let growth = |now_ms| Growth { acked: MSS, mss: MSS, cwnd: 700 * MSS, rtt_ms: 20, now_ms };
        assert_eq!(resting.grow(&growth(60_100)), busy.grow(&growth(1_100)));
    }

    #[test]
    fn nothing_overflows_at_the_largest_windows() {
        let mut cubic = Cubic::default();
        cubic.reduce(u32::MAX);
        let growth = Growth { acked: u32::MAX, mss: 65_535, cwnd: u32::MAX - 1, rtt_ms: 60_000, now_ms: 0 };
        cubic.grow(&growth);
        assert!(cubic.grow(&Growth { now_ms: u32::MAX / 2, ..growth }) >= growth.cwnd);
    }
}
