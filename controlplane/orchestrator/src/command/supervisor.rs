//! What the service manager is told: that the orchestrator is ready, reloads, stops, and still lives (sd_notify(3)).
//!
//! Owns: the messages, the rhythm of the watchdog, and what counts as living: the runtime's timers and tasks run, and
//! the reconciler of leases, which takes the registry's lock once a second, comes round. A store that waits for its
//! disk is none of that: a restart would not make the disk faster, and `/health` says so. Does not own: the parts
//! looked at. Without `NOTIFY_SOCKET` nothing is sent.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use crate::orchestrator::Orchestrator;

/// How often the line for people is renewed when nobody waits for signs of life.
const STATUS_PERIOD: Duration = Duration::from_secs(10);
/// How long the reconciler of leases may take to come round. Its period is a second.
const STALL_MAX: Duration = Duration::from_secs(10);

/// Every listener serves.
pub(super) fn tell_ready() {
    send(&[NotifyState::Ready]);
}

/// A reload begins. Ends with [`tell_ready`], whatever came of it.
pub(super) fn tell_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        // A reload without the time would be taken for a failure by newer service managers.
        Err(error) => tracing::warn!(%error, "the reload is not announced"),
    }
}

/// No new calls; streams end.
pub(super) fn tell_stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Signs of life while there is life, and one line for people. Runs until it is aborted.
pub(super) async fn report(o: Orchestrator) {
    let limit = sd_notify::watchdog_enabled();
    // A third: two of them may be late.
    let period = limit.map_or(STATUS_PERIOD, |limit| limit / 3).max(Duration::from_millis(1));
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beat = Beat::new(Instant::now());
    let mut shown = String::new();
    loop {
        ticks.tick().await;
        let runs = o.tallies.leases.runs.load(Ordering::Relaxed);
        let is_alive = beat.is_alive(runs, Instant::now());
        let status = if is_alive { status_line(&o) } else { "reconcilers do not run".to_owned() };
        if status != shown {
            send(&[NotifyState::Status(&status)]);
            shown = status;
        }
        if is_alive && limit.is_some() {
            send(&[NotifyState::Watchdog]);
        }
    }
}

fn status_line(o: &Orchestrator) -> String {
    let read_only = if o.store.stats().is_read_only { "; the store is read-only" } else { "" };
    format!("serving: {} nodes connected, policy {}{read_only}", o.sessions.len(), o.policy.newest().revision)
}

/// What was last seen of a reconciler.
#[derive(Debug)]
struct Beat {
    runs: u64,
    since: Instant,
}

impl Beat {
    fn new(now: Instant) -> Self {
        Self { runs: 0, since: now }
    }

    /// Whether it ran lately, told how often it ran so far.
    fn is_alive(&mut self, runs: u64, now: Instant) -> bool {
        if runs != self.runs {
            *self = Self { runs, since: now };
        }
        now.saturating_duration_since(self.since) < STALL_MAX
    }
}

fn send(messages: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(messages) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconciler_that_does_not_come_round_is_noticed_and_one_that_does_again_too() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut beat = Beat::new(start);
        assert!(beat.is_alive(0, at(9)), "not yet due");
        assert!(!beat.is_alive(0, at(10)));
        assert!(beat.is_alive(1, at(11)));
        assert!(beat.is_alive(1, at(20)));
        assert!(!beat.is_alive(1, at(21)));
        assert!(beat.is_alive(2, at(22)));
    }
}
