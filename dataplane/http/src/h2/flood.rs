//! How many frames of each kind a client may send: one bucket per kind, filled by time and by what we sent.
//!
//! Owns: [`Rate`], [`Floods`] (eight words per connection). Does not own: what a frame means, the clock.
//! Cost: a subtraction and a comparison per frame, no allocation.

use super::frame::{FrameHeader, flag, kind};
use super::limits::Limits;
use super::violation::Violation;

/// A DATA frame with fewer bytes than this counts as small: its header and our work for it weigh more than it.
const SMALL_DATA_BYTES: usize = 64;

/// A rate with its burst: `burst` at once, then one every `interval_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many may come at once.
    pub burst: u32,
    /// Milliseconds after which one more is allowed.
    pub interval_ms: u32,
}

impl Rate {
    /// `burst` at once, then one every `interval_ms`.
    pub const fn new(burst: u32, interval_ms: u32) -> Self {
        Self { burst, interval_ms }
    }
}

/// Tells when a kind of frame comes above its rate (GCRA: the time at which the bucket would be empty again).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// The bucket is empty from this time on, in the caller's milliseconds.
    empty_at_ms: u64,
}

impl Bucket {
    /// Counts one; false when it is above the rate.
    pub(super) fn take(&mut self, rate: Rate, now_ms: u64) -> bool {
        let interval = u64::from(rate.interval_ms);
        let filled = self.empty_at_ms.max(now_ms).saturating_add(interval);
        if filled - now_ms > interval.saturating_mul(u64::from(rate.burst)) {
            return false;
        }
        self.empty_at_ms = filled;
        true
    }

    /// Takes `count` back: what the client may send because of what we sent.
    pub(super) fn give_back(&mut self, rate: Rate, count: u32) {
        let span = u64::from(rate.interval_ms).saturating_mul(u64::from(count));
        self.empty_at_ms = self.empty_at_ms.saturating_sub(span);
    }
}

/// What one client has sent of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floods {
    ping: Bucket,
    settings: Bucket,
    reset: Bucket,
    small_data: Bucket,
    window_update: Bucket,
    priority: Bucket,
    stray: Bucket,
    continuations: u32,
}

impl Floods {
    /// Counts a frame by its header.
    ///
    /// # Errors
    /// The flood it is part of.
    pub(super) fn count(
        &mut self,
        header: FrameHeader,
        limits: &Limits,
        now_ms: u64,
    ) -> Result<(), Violation> {
        let (bucket, rate, violation) = match header.kind {
            kind::CONTINUATION => {
                self.continuations += 1;
                let is_flood = self.continuations > limits.continuations_max;
                return if is_flood { Err(Violation::ContinuationFlood) } else { Ok(()) };
            }
            kind::HEADERS => {
                self.continuations = 0;
                return Ok(());
            }
            kind::DATA => {
                if header.len >= SMALL_DATA_BYTES || header.has(flag::END_STREAM) {
                    return Ok(());
                }
                (&mut self.small_data, limits.small_data, Violation::EmptyDataFlood)
            }
            kind::PING if header.has(flag::ACK) => return self.stray(limits, now_ms),
            kind::PING => (&mut self.ping, limits.ping, Violation::PingFlood),
            kind::SETTINGS => (&mut self.settings, limits.settings, Violation::SettingsFlood),
            kind::RST_STREAM => (&mut self.reset, limits.reset, Violation::RapidReset),
            kind::WINDOW_UPDATE => {
                (&mut self.window_update, limits.window_update, Violation::WindowUpdateFlood)
            }
            kind::PRIORITY | kind::PRIORITY_UPDATE => {
                (&mut self.priority, limits.priority, Violation::PriorityFlood)
            }
            _ => return self.stray(limits, now_ms),
        };
        if bucket.take(rate, now_ms) { Ok(()) } else { Err(violation) }
    }

    /// Counts a frame that means nothing to us: unknown type, a stream that is gone.
    pub(super) fn stray(&mut self, limits: &Limits, now_ms: u64) -> Result<(), Violation> {
        if self.stray.take(limits.stray, now_ms) { Ok(()) } else { Err(Violation::StrayFrameFlood) }
    }

    /// Counts a stream that we had to reset through the client's fault: as dear as one it resets itself
    /// (CVE-2025-8671).
    pub(super) fn own_reset(&mut self, limits: &Limits, now_ms: u64) -> Result<(), Violation> {
        if self.reset.take(limits.reset, now_ms) { Ok(()) } else { Err(Violation::RapidReset) }
    }

    /// We sent a DATA frame: the client may update the stream's and the connection's window.
    pub(super) fn data_sent(&mut self, limits: &Limits) {
        self.window_update.give_back(limits.window_update, 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::new(3, 100);

    #[test]
    fn a_burst_passes_and_the_next_one_does_not() {
        let mut bucket = Bucket::default();
        assert!((0..3).all(|_| bucket.take(RATE, 1_000)));
        assert!(!bucket.take(RATE, 1_000));
        assert!(!bucket.take(RATE, 1_099));
        assert!(bucket.take(RATE, 1_100));
        assert!(!bucket.take(RATE, 1_100));
    }

    #[test]
    fn a_quiet_time_fills_the_burst_and_no_more() {
        let mut bucket = Bucket::default();
        assert!((0..3).all(|_| bucket.take(RATE, 0)));
        assert!((0..3).all(|_| bucket.take(RATE, 1_000_000)));
        assert!(!bucket.take(RATE, 1_000_000));
    }

    #[test]
    fn what_we_send_lets_the_client_send_more() {
        let mut bucket = Bucket::default();
        assert!((0..3).all(|_| bucket.take(RATE, 500)));
        bucket.give_back(RATE, 2);
        assert!((0..2).all(|_| bucket.take(RATE, 500)));
        assert!(!bucket.take(RATE, 500));
    }

    #[test]
    fn a_clock_that_steps_back_grants_nothing() {
        let mut bucket = Bucket::default();
        assert!((0..3).all(|_| bucket.take(RATE, 5_000)));
        assert!(!bucket.take(RATE, 4_000));
    }
}
