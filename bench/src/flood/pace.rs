//! Sending at a fixed rate: how many packets are due now.
//!
//! Arithmetic on counts since the beginning, not on gaps, so rounding never adds up to a wrong rate.

use std::time::Duration;

/// Packets sent at once at most: the slots of a veth's ring.
pub(crate) const BATCH_PACKETS_MAX: u32 = 256;

/// Packets sent at once up to [`BIG_BATCHES_PPS`]: half a ring, since its reader may be late.
const BATCH_PACKETS_USUAL: u32 = 128;

/// Above this rate a call for 128 packets costs more than the time they may take.
const BIG_BATCHES_PPS: u64 = 1_000_000;

/// Time one batch should cover at a fixed rate: short enough to look smooth, long enough to pay for a call.
const BATCH_MICROS: u64 = 200;

/// Debt beyond this is forgiven: catching up would be a flood at a rate nobody asked for. Covers the time that a
/// busy machine takes the core away.
const DEBT_MILLIS_MAX: u64 = 30;

/// How fast to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Rate {
    /// Packets per second.
    Fixed(u64),
    /// As fast as the engine can.
    #[serde(serialize_with = "as_word")]
    Max,
}

fn as_word<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("max")
}

impl std::str::FromStr for Rate {
    type Err = String;

    /// `500000`, `500k`, `1.5M` or `max`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let (number, factor) = match text.strip_suffix(['k', 'K']) {
            Some(number) => (number, 1e3),
            None => text.strip_suffix(['m', 'M']).map_or((text, 1.0), |number| (number, 1e6)),
        };
        let pps = number.parse::<f64>().ok().map(|value| value * factor);
        match pps {
            Some(pps) if (1.0..=1e9).contains(&pps) => Ok(Self::Fixed(pps as u64)),
            _ => Err(format!("`{text}`: a rate is packets per second like 500000, 500k, 1.5M, or `max`")),
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(pps) => write!(f, "{}", crate::stats::show_count(*pps as f64)),
            Self::Max => f.write_str("max"),
        }
    }
}

/// Decides how many packets are due.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    rate: Rate,
    /// Packets accounted for: sent, or forgiven.
    counted: u64,
    forgiven: u64,
}

impl Pacer {
    /// A pacer whose clock begins with the first call of [`Self::due`] at elapsed zero.
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, counted: 0, forgiven: 0 }
    }

    /// Packets to send now, `elapsed` after the beginning; zero means not yet.
    ///
    /// They count as sent.
    pub(crate) fn due(&mut self, elapsed: Duration) -> u32 {
        let Rate::Fixed(pps) = self.rate else { return BATCH_PACKETS_MAX };
        let target = (u128::from(pps) * elapsed.as_nanos() / 1_000_000_000) as u64;
        let debt = target.saturating_sub(self.counted);
        let debt_max = (pps * DEBT_MILLIS_MAX / 1000).max(u64::from(BATCH_PACKETS_MAX));
        if debt > debt_max {
            self.forgiven += debt - debt_max;
            self.counted += debt - debt_max;
        }
        let largest = if pps > BIG_BATCHES_PPS { BATCH_PACKETS_MAX } else { BATCH_PACKETS_USUAL };
        let batch = (pps * BATCH_MICROS / 1_000_000).clamp(1, u64::from(largest));
        let debt = target.saturating_sub(self.counted);
        if debt < batch {
            return 0;
        }
        let due = debt.min(u64::from(largest));
        self.counted += due;
        due as u32
    }

    /// Packets that could not be sent in time and never were.
    pub(crate) fn forgiven(&self) -> u64 {
        self.forgiven
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns the pacer every `step` for one second and returns (sent, largest batch).
    fn one_second(rate: u64, step: Duration) -> (u64, u32) {
        let mut pacer = Pacer::new(Rate::Fixed(rate));
        let mut elapsed = Duration::ZERO;
        let (mut sent, mut largest) = (0_u64, 0);
        while elapsed <= Duration::from_secs(1) {
            let due = pacer.due(elapsed);
            sent += u64::from(due);
            largest = largest.max(due);
            elapsed += step;
        }
        (sent, largest)
    }

    #[test]
    fn the_rate_is_kept_within_a_batch_for_every_rate() {
        for rate in [10, 50_000, 333_333, 500_000, 1_000_000, 2_000_000] {
            let (sent, largest) = one_second(rate, Duration::from_micros(7));
            assert!(sent.abs_diff(rate) <= u64::from(BATCH_PACKETS_MAX), "{rate}: {sent}");
            assert!(largest <= BATCH_PACKETS_MAX);
        }
    }

    #[test]
    fn a_long_stall_is_forgiven_not_caught_up() {
        let mut pacer = Pacer::new(Rate::Fixed(1_000_000));
        let _ = pacer.due(Duration::ZERO);
        let mut sent = u64::from(pacer.due(Duration::from_secs(1)));
        loop {
            match pacer.due(Duration::from_secs(1)) {
                0 => break,
                due => sent += u64::from(due),
            }
        }
        assert!(sent <= 30_000, "{sent} sent after the stall");
        let left = 1_000_000 - sent - pacer.forgiven();
        assert!(left < u64::from(BATCH_PACKETS_MAX), "{left} are neither sent nor forgiven");
    }

    #[test]
    fn maximum_is_always_a_full_batch() {
        assert_eq!(Pacer::new(Rate::Max).due(Duration::ZERO), BATCH_PACKETS_MAX);
    }

    #[test]
    fn rates_are_read_with_and_without_suffix() {
        assert_eq!("500k".parse(), Ok(Rate::Fixed(500_000)));
        assert_eq!("1.5M".parse(), Ok(Rate::Fixed(1_500_000)));
        assert_eq!("max".parse(), Ok(Rate::Max));
        for bad in ["", "0", "-5", "fast", "1e99", "nan"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
