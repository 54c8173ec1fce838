//! The health-check thread: TCP connections to every backend, all in one poll.
//!
//! Owns: the checks under way and when the next ones are due. Does not own: what their results mean (`health`).
//! Cost: one socket per backend and interval; a check ends with a plain close (FIN), which no server logs as an
//! error. The thread holds the `Upstream` only weakly, so dropping it ends the thread.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Weak;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::Upstream;
use super::pool::id_of;
use super::random::Random;
use super::settings::{BACKENDS_MAX, HealthSettings};
use super::snapshot::{BackendId, TcpOptions};
use super::tcp_options::Inspector;

/// The waker's token; checks use the backend's index, which is smaller.
pub(super) const WAKE: Token = Token(BACKENDS_MAX);
/// Longest sleep: ejections end and the thread notices its end at the latest then.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// A check under way.
#[derive(Debug)]
struct Check {
    stream: TcpStream,
    address: SocketAddr,
    deadline: Instant,
}

/// One backend's place in the schedule.
#[derive(Debug)]
struct Slot {
    due: Instant,
    check: Option<Check>,
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Monitor {
    upstream: Weak<Upstream>,
    poll: Poll,
    slots: Vec<Slot>,
    random: Random,
    /// `None` when the kernel has no sock_diag: options then stay unknown.
    inspector: Option<Inspector>,
}

/// A finished check.
struct Finished {
    backend: BackendId,
    address: SocketAddr,
    result: Result<Option<TcpOptions>, io::Error>,
}

impl Monitor {
    pub(super) fn new(upstream: Weak<Upstream>, poll: Poll) -> Self {
        let inspector = Inspector::open()
            .inspect_err(|error| tracing::debug!(%error, "no sock_diag: backends' TCP options stay unknown"))
            .ok();
        Self { upstream, poll, slots: Vec::new(), random: Random::new(), inspector }
    }

    /// Runs until the `Upstream` is gone or stopped.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let Some(upstream) = self.upstream.upgrade().filter(|upstream| !upstream.is_stopped()) else {
                return;
            };
            let health = upstream.health_settings();
            let now = Instant::now();
            let mut finished = Vec::new();
            self.expire(now, &mut finished);
            self.start_due(&upstream, &health, now, &mut finished);
            for check in finished {
                upstream.on_check(check.backend, check.address, check.result);
            }
            upstream.on_tick();
            let timeout = upstream.next_tick().map_or(SLEEP_MAX, |tick| tick.min(SLEEP_MAX));
            let timeout = self.next_wake(now).min(timeout);
            drop(upstream);
            if let Err(error) = self.poll.poll(&mut events, Some(timeout)) {
                if error.kind() != io::ErrorKind::Interrupted {
                    tracing::error!(%error, "health checks: poll failed");
                    std::thread::sleep(SLEEP_MAX);
                }
                continue;
            }
            let mut finished = Vec::new();
            for event in &events {
                if event.token() != WAKE {
                    self.on_ready(event.token().0, &mut finished);
                }
            }
            if finished.is_empty() {
                continue;
            }
            let Some(upstream) = self.upstream.upgrade() else { return };
            for check in finished {
                upstream.on_check(check.backend, check.address, check.result);
            }
        }
    }

    /// Ends checks that took too long.
    fn expire(&mut self, now: Instant, finished: &mut Vec<Finished>) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(check) = slot.check.take_if(|check| check.deadline <= now) {
                let result =
                    Err(io::Error::new(io::ErrorKind::TimedOut, "no answer to a health check in time"));
                finished.push(Finished { backend: id_of(index), address: check.address, result });
            }
        }
    }

    fn start_due(
        &mut self,
        upstream: &Upstream,
        health: &HealthSettings,
        now: Instant,
        finished: &mut Vec<Finished>,
    ) {
        let targets = if health.enable { upstream.check_targets() } else { Vec::new() };
        self.slots.truncate(targets.len());
        while self.slots.len() < targets.len() {
            // The first checks run at once: until then nobody knows whether the backend is there.
            self.slots.push(Slot { due: now, check: None });
        }
        for (index, (slot, target)) in self.slots.iter_mut().zip(targets).enumerate() {
            let Some(address) = target else {
                // Never asked (UDP, or a name without an address yet): a due time in the past would keep the
                // thread awake for ever.
                slot.check = None;
                slot.due = now + SLEEP_MAX;
                continue;
            };
            if slot.check.as_ref().is_some_and(|check| check.address != address) {
                slot.check = None;
                slot.due = now;
            }
            if slot.check.is_some() || slot.due > now {
                continue;
            }
            slot.due = now + self.random.jitter(health.interval);
            match connect(&self.poll, index, address) {
                Ok(stream) => {
                    slot.check = Some(Check { stream, address, deadline: now + health.timeout });
                }
                Err(error) => finished.push(Finished { backend: id_of(index), address, result: Err(error) }),
            }
        }
    }

    /// A check's socket is ready: the connection stands or is refused.
    fn on_ready(&mut self, index: usize, finished: &mut Vec<Finished>) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(check) = slot.check.as_ref() else { return };
        let result = match check.stream.take_error() {
            Ok(Some(error)) | Err(error) => Err(error),
            Ok(None) => match check.stream.peer_addr() {
                // Reported ready before it stands: epoll does that for a socket that is only just made.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
                Err(error) => Err(error),
                Ok(_) => Ok(self
                    .inspector
                    .as_mut()
                    .zip(check.stream.local_addr().ok())
                    .and_then(|(inspector, local)| inspector.options(local, check.address).ok())),
            },
        };
        let address = check.address;
        slot.check = None;
        finished.push(Finished { backend: id_of(index), address, result });
    }

    fn next_wake(&self, now: Instant) -> Duration {
        self.slots
            .iter()
            .map(|slot| slot.check.as_ref().map_or(slot.due, |check| check.deadline))
            .map(|at| at.saturating_duration_since(now))
            .fold(SLEEP_MAX, Duration::min)
    }
}

fn connect(poll: &Poll, index: usize, address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    poll.registry().register(&mut stream, Token(index), Interest::WRITABLE)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::super::settings::{BackendSettings, Settings};
    use super::*;

    /// A regression: the due time of a backend that is never asked stayed in the past, and the thread never slept.
    #[test]
    fn backend_that_is_never_asked_does_not_keep_the_thread_awake() {
        let silent = |name| BackendSettings {
            check: false,
            ..BackendSettings::new(name, SocketAddr::from(([127, 0, 0, 1], 9)))
        };
        let settings = Settings::one_group(vec![silent("dns"), silent("ntp")]);
        let upstream = Upstream::new(settings).expect("backends");
        let health = upstream.health_settings();
        assert!(health.enable);
        let mut monitor = Monitor::new(Weak::new(), Poll::new().expect("a poll"));
        let start = Instant::now();
        for second in 0..120 {
            let now = start + Duration::from_secs(second);
            let mut finished = Vec::new();
            monitor.start_due(&upstream, &health, now, &mut finished);
            assert_eq!(monitor.next_wake(now), SLEEP_MAX, "after {second} s");
            assert!(finished.is_empty());
        }
    }
}
