//! Limits shared by all workers: rates per key (GCRA), and connections open at once.
//!
//! Owns: [`RateTable`] (many keys, fixed memory), [`RateCell`] (one thing, such as a listener),
//! [`ConnectionCounts`]. Does not own: what is counted under which key, and what
//! happens to what is refused. A key is a keyed hash (`flow::hash_addr`), so strangers cannot aim at a slot.
//!
//! **GCRA** (generic cell rate algorithm, ITU-T I.371): one time per key, the *theoretical arrival time* (TAT), tells
//! all. With `T = 1 / rate` and `tau = (burst - 1) * T`, a cell at `now` is admitted when `TAT <= now + tau`, and
//! then `TAT = max(TAT, now) + T`. So never more than `burst + rate * t` are admitted in any time `t`.
//!
//! ```text
//! slot: | tag, 20 bits of the hash, never 0 | TAT, 44 bits, 32 ns units, wraps after 6.5 days |   0 = empty
//! set:  8 slots, one cache line, chosen by other bits of the hash
//! ```
//! **When a set is full** the slot with the oldest TAT is given to the new key. Its owner was the nearest to
//! having all its credit back; if it had debts left, they are forgiven and the answer says so
//! ([`Admission::AdmittedEvicting`]), to be counted: many of these mean that the table is too small.
//!
//! Cost: a hit is one cache line and one compare-and-swap, about 15 ns; no lock, no allocation after `new`.

pub mod connections;
mod table;

use core::time::Duration;

pub use connections::{ConnectionCounts, ConnectionLimits, Refusal};
pub use table::{RateTable, SLOTS_MAX};

use crate::time::Instant;

/// Atomics of the standard library, or of the model checker under `cfg(loom)`.
pub(crate) mod sync {
    #[cfg(loom)]
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    #[cfg(not(loom))]
    pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}

use sync::{AtomicU64, Ordering};

/// Nanoseconds per unit of the times in slots, as a shift: 32 ns. Coarse enough that 44 bits last for days, fine
/// enough that a rate of 1 M/s (31.25 units) is met within 3 %.
const UNIT_SHIFT: u32 = 5;

/// Bits of a TAT.
const TAT_BITS: u32 = 44;
const TAT_MASK: u64 = (1 << TAT_BITS) - 1;

/// Longest debt a limit may define, in seconds: `burst / rate`. A slot's time wraps after 6.5 days; what lies
/// further ahead than any debt is read as past, so an hour leaves the two apart. A longer one is cut to it.
pub const DEBT_SECS_MAX: u64 = 3600;

/// Highest rate of a [`RateTable`] or [`RateCell`], per second: one unit of time. A higher one is cut to it, since
/// "no limit" is better said by having none.
pub const RATE_PER_SEC_MAX: u64 = 1_000_000_000 >> UNIT_SHIFT;

/// How far the clocks of two workers may be apart, in units: one second, far more than a turn takes. A debt that
/// is longer than its limit allows by more than this is a time from before the clock wrapped; the price is that a key
/// not seen for exactly a multiple of 6.5 days can be refused for as long as its own burst takes to refill.
const CLOCK_SKEW: u64 = RATE_PER_SEC_MAX;

/// How much of something is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many in `interval`, in the long run. 0 counts as 1.
    pub count: u64,
    /// In what time.
    pub interval: Duration,
    /// How many may come at once after a pause. 0 counts as 1.
    pub burst: u32,
}

impl Rate {
    /// `count` per second with a burst of as many.
    pub const fn per_second(count: u32) -> Self {
        Self { count: count as u64, interval: Duration::from_secs(1), burst: count }
    }
}

/// A [`Rate`] in the units of the slots, ready for the packet path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// T, units per cell, rounded up: never more than the rate.
    increment: u64,
    /// tau, units.
    tolerance: u64,
}

impl RateLimit {
    /// Prepares a rate.
    pub fn new(rate: Rate) -> Self {
        let debt_max = DEBT_SECS_MAX * RATE_PER_SEC_MAX;
        let interval = rate.interval.as_nanos();
        let unit = u128::from(rate.count.max(1)) << UNIT_SHIFT;
        let increment = u64::try_from(interval.div_ceil(unit)).unwrap_or(debt_max).clamp(1, debt_max);
        let tolerance = increment.saturating_mul(u64::from(rate.burst.max(1)) - 1).min(debt_max);
        Self { increment, tolerance }
    }
}

/// Answer of a limiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// Within the limit.
    Admitted,
    /// Within the limit; another key that still had debts was forgotten for it.
    AdmittedEvicting,
    /// Over the limit.
    Refused,
}

impl Admission {
    /// Whether it may pass.
    pub const fn is_admitted(self) -> bool {
        !matches!(self, Self::Refused)
    }
}

/// `now` in units, cut to the bits of a slot.
#[inline]
const fn units(now: Instant) -> u64 {
    (now.as_nanos() >> UNIT_SHIFT) & TAT_MASK
}

/// How far `tat` lies after `now`, in units; 0 when it is past. Both wrap.
#[inline]
const fn debt(tat: u64, now: u64) -> u64 {
    let ahead = tat.wrapping_sub(now) & TAT_MASK;
    // No limit makes a longer debt than twice this; anything further "ahead" is behind.
    if ahead > 2 * DEBT_SECS_MAX * RATE_PER_SEC_MAX { 0 } else { ahead }
}

/// The new TAT after admitting `cells`, or `None` when the limit is exceeded.
#[inline]
const fn advance(tat: u64, now: u64, limit: &RateLimit, cells: u32) -> Option<u64> {
    let mut debt = debt(tat, now);
    // More than this limit can leave behind: a time from before the last wrap of the clock.
    if debt > limit.tolerance + limit.increment + CLOCK_SKEW {
        debt = 0;
    }
    // `cells` at once conform when the last of them does.
    let extra = limit.increment.saturating_mul(cells.saturating_sub(1) as u64);
    if debt.saturating_add(extra) > limit.tolerance {
        return None;
    }
    Some((now + debt + extra + limit.increment) & TAT_MASK)
}

/// A limit on one thing, shared by all workers: the SYNs of a listener, all of the node's new connections.
#[derive(Debug)]
pub struct RateCell(AtomicU64);

impl RateCell {
    /// A cell with all its credit at `now`.
    pub fn new(now: Instant) -> Self {
        Self(AtomicU64::new(units(now)))
    }

    /// Takes `cells` at once, all or none. More than the burst at once never pass.
    #[inline]
    pub fn hit(&self, limit: &RateLimit, cells: u32, now: Instant) -> Admission {
        let now = units(now);
        let mut tat = self.0.load(Ordering::Relaxed);
        // Each failed exchange means that another worker's succeeded: lock-free, bounded by their number.
        while let Some(next) = advance(tat, now, limit, cells) {
            match self.0.compare_exchange_weak(tat, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Admission::Admitted,
                Err(current) => tat = current,
            }
        }
        Admission::Refused
    }
}
