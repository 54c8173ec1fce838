//! How many challenge ACKs may be sent (RFC 5961 §7).
//!
//! Owns: the limit of the whole stack. It is drawn anew each second between half and one and a half times the
//! configured number, from a keyed hash: whoever counts the answers it provokes cannot tell from them whether somebody
//! else provoked some (CVE-2016-5696). The limit per connection, one in [`CHALLENGE_INTERVAL_MS`], is in its record.

use crate::flow::HashKey;
use crate::siphash::hash24;
use crate::time::Instant;

/// Least time between two challenge ACKs of one connection: Linux's `tcp_invalid_ratelimit`.
pub(super) const CHALLENGE_INTERVAL_MS: u32 = 500;

/// The stack's budget.
#[derive(Debug)]
pub(super) struct ChallengeBudget {
    key: HashKey,
    per_second: u32,
    second: u64,
    left: u32,
}

impl ChallengeBudget {
    pub(super) const fn new(key: HashKey, per_second: u32) -> Self {
        Self { key, per_second, second: u64::MAX, left: 0 }
    }

    /// Takes one; false when none is left in this second.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if now.as_secs() != self.second {
            self.second = now.as_secs();
            let half = self.per_second.div_ceil(2);
            let random = hash24(&self.key, [self.second], 0, 0);
            self.left = half + (random % u64::from(self.per_second.max(1))) as u32;
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut ChallengeBudget, second: u64) -> usize {
        (0..1_000).filter(|_| budget.take(Instant::from_millis(second * 1_000 + 5))).count()
    }

    #[test]
    fn limit_differs_from_second_to_second_and_stays_near_what_was_asked_for() {
        let mut budget = ChallengeBudget::new(HashKey([1, 2]), 100);
        let limits: Vec<usize> = (0..20).map(|second| taken(&mut budget, second)).collect();
        assert!(limits.iter().all(|limit| (50..150).contains(limit)), "{limits:?}");
        let mut distinct = limits.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 10, "{limits:?}");
    }

    #[test]
    fn limit_of_zero_sends_none() {
        assert_eq!(taken(&mut ChallengeBudget::new(HashKey([1, 2]), 0), 3), 0);
    }
}
