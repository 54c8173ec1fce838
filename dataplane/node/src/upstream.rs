//! The backends: who they are, whether they live, and which one takes a connection.
//!
//! ```text
//!   health checks (thread) --.
//!   DNS (thread) ------------+--> BackendsSnapshot (immutable) --> policy --> workers, socket front
//!   report(outcome) ---------'            ^ pick(group, hash, attempt)
//! ```
//!
//! Owns: groups, weights, active health checks, passive ejection, drain, the Maglev tables. Does not own: the way
//! to a backend's link (`neighbor`), the connections themselves. Cost: two threads that mostly sleep;
//! nothing on the packet path but a table look-up.

mod feed;
mod health;
pub mod http;
mod live;
mod monitor;
mod pool;
pub(crate) mod random;
mod resolve;
mod settings;
mod snapshot;
mod status;
mod tcp_options;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use mio::{Poll, Waker};
use secbeat_net::time::Instant;

use live::Live;
use monitor::Monitor;
use pool::Pool;

pub use health::Checked;

pub use settings::{
    BACKENDS_MAX, BackendSettings, EjectionSettings, GroupSettings, HealthSettings, Settings, Target,
    route_group,
};
pub use snapshot::{Backend, BackendId, BackendsSnapshot, Group, TRIES_MAX, TcpOptions};
pub use status::{BackendStatus, Status};

/// Why backends could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More than [`BACKENDS_MAX`].
    #[error("{0} backends; at most {BACKENDS_MAX} are supported")]
    TooManyBackends(usize),
    /// A group names a backend that is not there.
    #[error("group {group:?} names backend {index}, but there are only {count}")]
    UnknownBackend {
        /// The group.
        group: String,
        /// The index it names.
        index: usize,
        /// Backends there are.
        count: usize,
    },
    /// Two backends or two groups of one name.
    #[error("the name {0:?} is used twice")]
    DuplicateName(String),
    /// A thread or its poll could not be made.
    #[error("health checks cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// What became of a connection to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was started: counts against the backend's limit until `Closed`.
    Opened,
    /// The backend accepted it.
    Established,
    /// The backend refused it or did not answer in time; `Closed` follows all the same.
    Failed,
    /// It is over.
    Closed,
}

/// An outcome and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendOutcome {
    /// The backend.
    pub backend: BackendId,
    /// What happened.
    pub outcome: Outcome,
}

/// All backends of a node.
pub struct Upstream {
    snapshot: ArcSwap<BackendsSnapshot>,
    live: Arc<Live>,
    pool: Mutex<Pool>,
    notify: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    /// Backends whose failures in a row reached the limit, one bit each, for the health-check thread.
    failing: [AtomicU64; BACKENDS_MAX / 64],
    /// Failures in a row that eject; a copy of the setting that [`Upstream::report`] reads without the lock.
    failures_max: AtomicU32,
    waker: OnceLock<Waker>,
    resolve_again: OnceLock<SyncSender<()>>,
    stopped: AtomicBool,
    /// Origin of the pool's clock.
    origin: std::time::Instant,
}

impl Upstream {
    /// Checks the settings and makes the first snapshot: every backend with an address is usable until it is
    /// known to be down.
    ///
    /// # Errors
    /// When the settings contradict themselves, see [`Error`].
    pub fn new(settings: Settings) -> Result<Arc<Self>, Error> {
        let live = Arc::new(Live::new());
        let failures_max = AtomicU32::new(settings.ejection.failures);
        let mut pool = Pool::new(settings)?;
        let snapshot = pool.snapshot(&live);
        Ok(Arc::new(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            live,
            pool: Mutex::new(pool),
            notify: Mutex::new(None),
            failing: [const { AtomicU64::new(0) }; BACKENDS_MAX / 64],
            failures_max,
            waker: OnceLock::new(),
            resolve_again: OnceLock::new(),
            stopped: AtomicBool::new(false),
            origin: std::time::Instant::now(),
        }))
    }

    /// Starts the health checks and the name resolution in the network namespace of the caller. They end after
    /// [`Upstream::stop`] or when the last `Arc` is dropped. A second call does nothing.
    ///
    /// # Errors
    /// When a thread or a poll cannot be made.
    pub fn start(self: &Arc<Self>) -> Result<(), Error> {
        if self.waker.get().is_some() {
            return Ok(());
        }
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), monitor::WAKE)?;
        if self.waker.set(waker).is_err() {
            return Ok(());
        }
        let monitor = Monitor::new(Arc::downgrade(self), poll);
        std::thread::Builder::new().name("upstream-check".into()).spawn(move || monitor.run())?;
        let (sender, receiver) = sync_channel(1);
        let _ = self.resolve_again.set(sender);
        let upstream = Arc::downgrade(self);
        std::thread::Builder::new()
            .name("upstream-names".into())
            .spawn(move || resolve::run(upstream, receiver))?;
        Ok(())
    }

    /// Ends the threads of [`Upstream::start`].
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// The backends now.
    pub fn snapshot(&self) -> Arc<BackendsSnapshot> {
        self.snapshot.load_full()
    }

    /// Takes note of a connection's fate. No lock; a system call only when a backend reaches its limit of failures.
    pub fn report(&self, report: BackendOutcome) {
        let id = report.backend;
        match report.outcome {
            Outcome::Opened => {
                let _ = self.live.reserve(id, 0);
            }
            Outcome::Established => {
                self.live.succeed(id);
            }
            Outcome::Closed => self.live.close(id),
            Outcome::Failed => {
                let failures_max = self.failures_max.load(Ordering::Relaxed);
                let failures = self.live.fail(id);
                // Every further `failures_max`: the ejection may have been refused, or have ended since.
                if failures_max > 0 && failures > 0 && failures.is_multiple_of(failures_max) {
                    let (word, bit) = (usize::from(id.0 / 64), 1u64 << (id.0 % 64));
                    if let Some(word) = self.failing.get(word) {
                        word.fetch_or(bit, Ordering::Relaxed);
                        self.wake();
                    }
                }
            }
        }
    }

    /// Calls `notify` after every new snapshot, from the thread that made it; it must be short (wake the control
    /// thread). Replaces an earlier one.
    pub fn on_change(&self, notify: impl Fn() + Send + Sync + 'static) {
        *lock(&self.notify) = Some(Arc::new(notify));
    }

    /// Takes new settings; backends that keep their name and target keep their health. Counters of connections belong
    /// to numbers, not names: connections that outlive a renumbering are counted where they were opened.
    ///
    /// # Errors
    /// As [`Upstream::new`]; the old settings then stay in force.
    pub fn reload(&self, settings: Settings) -> Result<(), Error> {
        let failures_max = settings.ejection.failures;
        {
            let mut pool = lock(&self.pool);
            for id in pool.reload(settings)? {
                self.live.reset(id);
            }
            self.failures_max.store(failures_max, Ordering::Relaxed);
            self.publish(&mut pool);
        }
        self.notify();
        self.wake();
        if let Some(again) = self.resolve_again.get() {
            // Full means that a round is due already.
            let _ = again.try_send(());
        }
        Ok(())
    }

    /// Drains a backend (no new connections) or takes it back. False when no backend has this name.
    pub fn set_drain(&self, name: &str, drain: bool) -> bool {
        let found = self.change(|pool| {
            let entry = pool.entries.iter_mut().find(|entry| entry.settings.name == name)?;
            Some(std::mem::replace(&mut entry.drained, drain) != drain)
        });
        found.is_some()
    }

    /// What people are told.
    pub fn status(&self) -> Status {
        Status::of(&lock(&self.pool), &self.live)
    }

    /// Changes the pool; publishes a snapshot when `change` says that something is different.
    fn change(&self, change: impl FnOnce(&mut Pool) -> Option<bool>) -> Option<bool> {
        let changed = {
            let mut pool = lock(&self.pool);
            let changed = change(&mut pool)?;
            if changed {
                self.publish(&mut pool);
            }
            changed
        };
        if changed {
            self.notify();
        }
        Some(changed)
    }

    fn publish(&self, pool: &mut Pool) {
        self.snapshot.store(Arc::new(pool.snapshot(&self.live)));
    }

    fn notify(&self) {
        let notify = lock(&self.notify).clone();
        if let Some(notify) = notify {
            notify();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            // A waker only fails when its poll is gone, and then there is nobody to wake.
            let _ = waker.wake();
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

impl core::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Upstream").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

/// A poisoned lock only means that another thread panicked; the state behind it is whole after each change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
