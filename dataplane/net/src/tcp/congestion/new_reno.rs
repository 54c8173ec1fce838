//! NewReno's congestion avoidance (RFC 5681 §3.1): one segment per round trip, half the window at a loss.

use super::{Congestion, Growth};

/// The window in a straight line.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tcp) struct NewReno {
    /// Acknowledged bytes times segment size that have not yet opened the window.
    credit: u32,
}

impl Congestion for NewReno {
    fn grow(&mut self, growth: &Growth) -> u32 {
        // cwnd += mss * acked / cwnd, the remainder kept: small ACKs add up.
        let total = u64::from(growth.acked) * u64::from(growth.mss) + u64::from(self.credit);
        let cwnd = u64::from(growth.cwnd.max(1));
        self.credit = (total % cwnd) as u32;
        growth.cwnd.saturating_add(u32::try_from(total / cwnd).unwrap_or(u32::MAX))
    }

    fn reduce(&mut self, cwnd: u32) -> u32 {
        self.credit = 0;
        cwnd / 2
    }

    fn undo(&mut self, _cwnd: u32) {}

    fn rest(&mut self, _now_ms: u32) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_full_of_acks_adds_one_segment_however_they_are_cut() {
        for piece in [1, 100, 1_000, 10_000] {
            let (mut reno, mut cwnd) = (NewReno::default(), 100_000);
            for _ in 0..100_000 / piece {
                cwnd = reno.grow(&Growth { acked: piece, mss: 1_000, cwnd, rtt_ms: 20, now_ms: 0 });
            }
            assert!((100_985..=101_000).contains(&cwnd), "{piece}: {cwnd}");
        }
    }

    #[test]
    fn loss_halves_the_window() {
        assert_eq!(NewReno::default().reduce(100_000), 50_000);
    }
}
