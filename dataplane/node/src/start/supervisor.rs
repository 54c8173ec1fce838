//! What the service manager is told: that the node is ready, reloads, stops, and still lives (sd_notify(3)).
//!
//! Owns: the messages and the rhythm of the watchdog. Does not own: whether workers turn (`pulse`), when a step of the
//! node's life begins (`control`). Without `NOTIFY_SOCKET` nothing is sent. Costs a datagram per change and one per
//! half of `WATCHDOG_USEC`, from the control thread alone: one that hangs tells nothing, and is restarted.
//!
//! The socket blocks when the service manager does not read (512 datagrams by its default). That takes a dead PID 1
//! half an hour at the usual rhythm, and stops only the control thread: workers go on.

use core::time::Duration;
use std::time::Instant;

use sd_notify::NotifyState;

/// What is asked for beyond `drain_timeout`: bans are saved, the agent says goodbye, memory is given back.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// The node's side of the service manager.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// Longest time between two signs of life; `None`: nobody waits for them.
    period: Option<Duration>,
    fed_at: Option<Instant>,
    status: String,
    is_ready: bool,
    is_failing: bool,
}

impl Supervisor {
    /// What the environment says about the service manager.
    pub(super) fn from_environment() -> Self {
        // Half of what is allowed, as sd_watchdog_enabled(3) recommends.
        let period = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        Self { period, fed_at: None, status: String::new(), is_ready: false, is_failing: false }
    }

    /// Whether readiness has been told.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Every worker has turned.
    pub(super) fn tell_ready(&mut self) {
        self.is_ready = true;
        self.send(&[NotifyState::Ready]);
    }

    /// A reload begins. Ends with [`Self::tell_ready`], whatever came of it: the earlier configuration serves on.
    pub(super) fn tell_reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            // A reload without the time would be taken for a failure by newer service managers.
            Err(error) => tracing::warn!(%error, "the reload is not announced"),
        }
    }

    /// The node drains for at most `drain` and then stops; the service manager shall wait for as long.
    pub(super) fn tell_stopping(&mut self, drain: Duration) {
        let wait_us = u32::try_from((drain + STOP_GRACE).as_micros()).unwrap_or(u32::MAX);
        self.send(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(wait_us)]);
    }

    /// One line for people, sent when it differs from the last.
    pub(super) fn tell_status(&mut self, status: String) {
        if self.status != status {
            self.send(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    /// A sign of life, if one is due. To be called only while the node lives.
    pub(super) fn feed(&mut self, now: Instant) {
        let Some(period) = self.period else { return };
        if self.fed_at.is_none_or(|fed| now.saturating_duration_since(fed) >= period) {
            self.fed_at = Some(now);
            self.send(&[NotifyState::Watchdog]);
        }
    }

    fn send(&mut self, messages: &[NotifyState<'_>]) {
        let sent = sd_notify::notify(messages);
        let was_failing = core::mem::replace(&mut self.is_failing, sent.is_err());
        if let Err(error) = sent
            && !was_failing
        {
            tracing::warn!(%error, "the service manager cannot be told; going on without");
        }
    }
}
