//! Random numbers for jitter and for sharing by weight; never for secrets.

use core::time::Duration;
use std::hash::{BuildHasher, RandomState};

/// xorshift64*, seeded by the process's hash keys.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Self(RandomState::new().hash_one(0u8) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 90 % to 110 % of `interval`, so that many nodes do not check one backend at the same moment.
    pub(crate) fn jitter(&mut self, interval: Duration) -> Duration {
        let percent = 90 + u32::try_from(self.next() % 21).unwrap_or(0);
        interval.saturating_mul(percent) / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth() {
        let mut random = Random::new();
        for _ in 0..1_000 {
            let wait = random.jitter(Duration::from_secs(10));
            assert!((Duration::from_secs(9)..=Duration::from_secs(11)).contains(&wait), "{wait:?}");
        }
    }
}
