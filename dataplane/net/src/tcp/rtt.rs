//! Round-trip time and the retransmission timeout (RFC 6298), with Linux's constants.
//!
//! Owns: the smoothed time, its variance, the smallest recent sample, the back-off. Does not own: which segment may
//! be sampled (Karn: `send` never samples a retransmitted one but by its timestamp), timers.
//! All times are microseconds in 32 bits; a sample above [`SAMPLE_US_MAX`] counts as that.
//! Cost: a dozen instructions per sample, 20 bytes.

use core::time::Duration;

/// Timeout before the first sample (RFC 6298 §2.1).
pub(super) const RTO_INITIAL_US: u32 = 1_000_000;

/// Least that the timeout leaves above the smoothed round trip. RFC 6298 asks for a floor of 1 s under the whole;
/// 200 ms above the round trip, as in Linux, outlasts any delayed ACK and repairs a lost tail five times sooner.
pub(super) const RTO_MARGIN_US_MIN: u32 = 200_000;

/// Longest timeout, as in Linux (RFC 6298 §2.4 allows no less than 60 s).
pub(super) const RTO_US_MAX: u32 = 120_000_000;

/// Longest round trip believed. Above it the timeout would be at its maximum anyway.
const SAMPLE_US_MAX: u32 = 60_000_000;

/// Doublings of the timeout at most: 2^10 * 200 ms is beyond the longest one.
const BACKOFF_MAX: u8 = 10;

/// Age at which the smallest sample is forgotten, so that a longer path after a change of routes becomes known.
/// Milliseconds; five minutes as in Linux.
const MINIMUM_AGE_MS_MAX: u32 = 300_000;

/// The round trips of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rtt {
    /// Smoothed, in eighths of a microsecond; zero before the first sample.
    smoothed_8: u32,
    /// Mean deviation, in quarters of a microsecond.
    deviation_4: u32,
    minimum_us: u32,
    minimum_at_ms: u32,
    backoff: u8,
}

impl Rtt {
    /// Nothing known yet.
    pub(super) const UNKNOWN: Self =
        Self { smoothed_8: 0, deviation_4: 0, minimum_us: u32::MAX, minimum_at_ms: 0, backoff: 0 };

    /// Takes a sample (RFC 6298 §2.2, §2.3) and ends the back-off.
    pub(super) fn sample(&mut self, rtt_us: u32, now_ms: u32) {
        let rtt_us = rtt_us.clamp(1, SAMPLE_US_MAX);
        if rtt_us <= self.minimum_us || now_ms.wrapping_sub(self.minimum_at_ms) > MINIMUM_AGE_MS_MAX {
            (self.minimum_us, self.minimum_at_ms) = (rtt_us, now_ms);
        }
        if self.smoothed_8 == 0 {
            self.smoothed_8 = rtt_us * 8;
            self.deviation_4 = rtt_us * 2;
        } else {
            let error = rtt_us.abs_diff(self.smoothed_8 / 8);
            self.deviation_4 = self.deviation_4 - self.deviation_4 / 4 + error;
            self.smoothed_8 = self.smoothed_8 - self.smoothed_8 / 8 + rtt_us;
        }
        self.backoff = 0;
    }

    /// Smoothed round trip, once there is a sample. Microseconds.
    pub(super) fn smoothed_us(&self) -> Option<u32> {
        (self.smoothed_8 != 0).then_some((self.smoothed_8 / 8).max(1))
    }

    /// Smallest recent round trip, once there is a sample. Microseconds.
    pub(super) fn minimum_us(&self) -> Option<u32> {
        (self.minimum_us != u32::MAX).then_some(self.minimum_us)
    }

    /// The timeout without back-off. Microseconds.
    pub(super) fn rto_base_us(&self) -> u32 {
        match self.smoothed_us() {
            None => RTO_INITIAL_US,
            Some(smoothed) => (smoothed + self.deviation_4.max(RTO_MARGIN_US_MIN)).min(RTO_US_MAX),
        }
    }

    /// The timeout with back-off.
    pub(super) fn rto(&self) -> Duration {
        let micros = (u64::from(self.rto_base_us()) << self.backoff).min(u64::from(RTO_US_MAX));
        Duration::from_micros(micros)
    }

    /// The timer has run out: the next wait is twice as long (RFC 6298 §5.5).
    pub(super) fn back_off(&mut self) {
        self.backoff = (self.backoff + 1).min(BACKOFF_MAX);
    }

    /// Something was acknowledged that could not be sampled (Karn). One doubling is taken back: where everything has to
    /// be sent twice for a while, a timeout that only grows would end the connection; where the path has become longer
    /// than the timeout, doublings still outnumber this until a sample is had.
    pub(super) fn on_progress(&mut self) {
        self.backoff = self.backoff.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(samples: &[u32]) -> Rtt {
        let mut rtt = Rtt::UNKNOWN;
        samples.iter().for_each(|sample| rtt.sample(*sample, 0));
        rtt
    }

    #[test]
    fn timeout_is_one_second_before_the_first_sample() {
        assert_eq!(Rtt::UNKNOWN.rto(), Duration::from_secs(1));
        assert_eq!((Rtt::UNKNOWN.smoothed_us(), Rtt::UNKNOWN.minimum_us()), (None, None));
    }

    #[test]
    fn first_sample_sets_srtt_to_it_and_rttvar_to_its_half() {
        // RFC 6298 §2.2: RTO = R + 4 * R/2.
        let rtt = after(&[400_000]);
        assert_eq!(rtt.smoothed_us(), Some(400_000));
        assert_eq!(rtt.rto(), Duration::from_micros(400_000 + 800_000));
    }

    #[test]
    fn later_samples_move_by_an_eighth_and_a_quarter() {
        // RFC 6298 §2.3 with R = 400 ms, R' = 800 ms: RTTVAR = 3/4 * 200 + 1/4 * 400 = 250, SRTT = 7/8 * 400 + 100.
        let rtt = after(&[400_000, 800_000]);
        assert_eq!(rtt.smoothed_us(), Some(450_000));
        assert_eq!(rtt.rto(), Duration::from_micros(450_000 + 1_000_000));
    }

    #[test]
    fn steady_round_trip_keeps_the_margin_of_200_ms() {
        let rtt = after(&[20_000; 100]);
        assert_eq!(rtt.rto(), Duration::from_millis(220));
    }

    #[test]
    fn back_off_doubles_up_to_the_maximum_and_a_sample_ends_it() {
        let mut rtt = after(&[20_000; 100]);
        rtt.back_off();
        assert_eq!(rtt.rto(), Duration::from_millis(440));
        (0..50).for_each(|_| rtt.back_off());
        assert_eq!(rtt.rto(), Duration::from_secs(120));
        rtt.sample(20_000, 0);
        assert_eq!(rtt.rto(), Duration::from_millis(220));
    }

    #[test]
    fn progress_without_a_sample_takes_back_one_doubling() {
        let mut rtt = after(&[20_000; 100]);
        (0..3).for_each(|_| rtt.back_off());
        rtt.on_progress();
        assert_eq!(rtt.rto(), Duration::from_millis(880));
    }

    #[test]
    fn smallest_sample_is_forgotten_after_five_minutes() {
        let mut rtt = after(&[10_000]);
        rtt.sample(50_000, 300_000);
        assert_eq!(rtt.minimum_us(), Some(10_000));
        rtt.sample(50_000, 300_001);
        assert_eq!(rtt.minimum_us(), Some(50_000));
    }

    #[test]
    fn absurd_samples_neither_overflow_nor_reach_zero() {
        let mut rtt = after(&[0, u32::MAX, u32::MAX, 0, u32::MAX]);
        (0..1_000).for_each(|_| rtt.sample(u32::MAX, 0));
        assert!(rtt.rto() <= Duration::from_secs(120));
        assert!(after(&[0]).smoothed_us().unwrap() > 0);
    }
}
