//! One sink: a bounded queue and the thread that empties it.
//!
//! ```text
//!  push --> queue --> pending (a batch) --> frames --> connection
//!   full: lost       stays until sent        |  error: close, wait (back-off with jitter), open, go on
//!                                            '-- losses not yet told: a record about them goes first
//! ```
//! Owns: the queue's limits, what is lost and why, back-off, retries, when a sink is left. Does not own: how bytes go out
//! (`connection`), what they look like (`syslog`, `cef`, `json`).
//! A record that was handed to the kernel counts as sent: neither UDP nor a syslog stream acknowledges anything, so what
//! is on its way when a receiver dies is lost without a trace. Cost: a thread per sink, idle in a condition variable.

mod backoff;
mod batch;
mod connection;
mod counters;
mod file;
mod stream;
mod tls;
mod udp;

use core::time::Duration;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use secbeat_config::export::{Export, Kind, WhenFull};

use crate::exports::SinkStatus;
use crate::record::{Origin, Record};
use backoff::Backoff;
use batch::Batch;
use connection::{Connection, Opener};
pub(crate) use counters::Counters;
use counters::Reason;

/// Shortest and longest wait between attempts to open a file or connection.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How often an idle sink looks around: files are forced to the disk, losses told.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// Why a sink cannot work.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A file named in the configuration.
    #[error("[[export]] \"{name}\": {}: {reason}", path.display())]
    File {
        /// The sink.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else.
    #[error("[[export]] \"{name}\": {reason}")]
    Other {
        /// The sink.
        name: String,
        /// What.
        reason: String,
    },
}

/// What both sides of the queue see.
#[derive(Debug)]
struct Shared {
    export: Export,
    state: Mutex<State>,
    wake: Condvar,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Arc<Record>>,
    bytes: usize,
    reopen: bool,
    leave_at: Option<Instant>,
    has_left: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to go, whatever waits.
    fn is_over(&self) -> bool {
        self.state().leave_at.is_some_and(|until| Instant::now() >= until)
    }

    /// Sleeps for that long, less when the sink is to be left or a file to be opened anew.
    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.state();
        loop {
            let end = state.leave_at.map_or(until, |leave| leave.min(until));
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() || state.reopen {
                return;
            }
            state = self.wake.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The near end.
#[derive(Debug)]
pub(crate) struct Sink {
    shared: Arc<Shared>,
    opener: Option<Opener>,
    origin: Arc<Origin>,
}

impl Sink {
    /// A sink whose files have been looked at; it runs after [`Self::start`].
    pub(crate) fn prepare(
        export: Export,
        origin: Arc<Origin>,
        counters: Arc<Counters>,
    ) -> Result<Self, SinkError> {
        let opener = Some(Opener::prepare(&export)?);
        let shared = Shared { export, state: Mutex::default(), wake: Condvar::new(), counters };
        Ok(Self { shared: Arc::new(shared), opener, origin })
    }

    /// Starts its thread.
    pub(crate) fn start(mut self) -> Result<Self, SinkError> {
        let Some(opener) = self.opener.take() else { return Ok(self) };
        let mut runner = Runner::new(Arc::clone(&self.shared), opener, Arc::clone(&self.origin));
        let name = self.shared.export.name.clone();
        // A thread's name is 15 bytes.
        let thread = thread::Builder::new().name(format!("export-{}", name.get(..8).unwrap_or(&name)));
        let failed = |error: std::io::Error| SinkError::Other { name, reason: error.to_string() };
        drop(thread.spawn(move || runner.run()).map_err(failed)?);
        Ok(self)
    }

    pub(crate) fn export(&self) -> &Export {
        &self.shared.export
    }

    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    pub(crate) fn wants(&self, record: &Record) -> bool {
        let export = &self.shared.export;
        record.kind == Kind::Export
            || (record.severity <= export.severity_min && export.kinds.contains(&record.kind))
    }

    /// Queues a record. Full: one is lost and counted.
    pub(crate) fn push(&self, record: Arc<Record>) {
        let Shared { export, counters, wake, .. } = &*self.shared;
        let weight = record.weight();
        let mut state = self.shared.state();
        let is_full = |state: &State| {
            state.queue.len() >= export.queue_records || state.bytes + weight > export.queue_bytes
        };
        while is_full(&state) {
            counters.lose(Reason::QueueFull, 1);
            if export.when_full == WhenFull::DropNew {
                return;
            }
            let Some(old) = state.queue.pop_front() else { return };
            state.bytes -= old.weight();
        }
        state.bytes += weight;
        state.queue.push_back(record);
        counters.count_queued();
        let was_empty = state.queue.len() == 1;
        drop(state);
        if was_empty {
            wake.notify_all();
        }
    }

    /// Opens the file anew before the next record: it was moved away.
    pub(crate) fn reopen(&self) {
        self.shared.state().reopen = true;
        self.shared.wake.notify_all();
    }

    /// Ends when nothing waits any more, or then.
    pub(crate) fn leave(&self, until: Instant) {
        self.shared.state().leave_at = Some(until);
        self.shared.wake.notify_all();
    }

    /// Waits for its end; whether it came in time.
    pub(crate) fn wait(&self, until: Instant) -> bool {
        let mut state = self.shared.state();
        while !state.has_left {
            let Some(rest) = until.checked_duration_since(Instant::now()) else { return false };
            state = self.shared.wake.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(crate) fn status(&self) -> SinkStatus {
        let Shared { export, counters, .. } = &*self.shared;
        let state = self.shared.state();
        let (waiting, bytes) = (state.queue.len() as u64, state.bytes as u64);
        drop(state);
        counters.status(export.name.clone(), export.target.to_string(), waiting, bytes)
    }
}

/// The far end: what the thread has.
struct Runner {
    shared: Arc<Shared>,
    opener: Opener,
    connection: Option<Connection>,
    backoff: Backoff,
    batch: Batch,
    /// Whether the log said that it does not work.
    has_complained: bool,
}

impl Runner {
    fn new(shared: Arc<Shared>, opener: Opener, origin: Arc<Origin>) -> Self {
        let batch = Batch::new(origin, &shared.counters);
        let backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
        Self { shared, opener, connection: None, backoff, batch, has_complained: false }
    }

    fn run(&mut self) {
        while self.wait_for_work() {
            if let Err(error) = self.turn() {
                self.fail(&error);
            }
        }
        if let Some(connection) = self.connection.take() {
            connection.close();
        }
        let mut state = self.shared.state();
        let left = state.queue.len() + self.batch.len();
        state.queue.clear();
        state.bytes = 0;
        state.has_left = true;
        drop(state);
        self.shared.counters.set_open(false);
        self.shared.counters.lose(Reason::Stopped, left as u64);
        self.shared.wake.notify_all();
    }

    /// Waits until there is something to do; false: the end. Fills the batch.
    fn wait_for_work(&mut self) -> bool {
        loop {
            let mut state = self.shared.state();
            if core::mem::take(&mut state.reopen) {
                // Away from the lock: the old file may be forced to the disk.
                drop(state);
                self.connection = self.connection.take().and_then(Connection::reopened);
                continue;
            }
            let is_over = state.leave_at.is_some_and(|until| Instant::now() >= until);
            let is_idle = state.queue.is_empty() && self.batch.is_empty();
            if is_over || (is_idle && state.leave_at.is_some()) {
                return false;
            }
            while self.batch.has_room()
                && let Some(record) = state.queue.pop_front()
            {
                state.bytes -= record.weight();
                self.batch.push(record);
            }
            // A way that is closed is opened at once: that it does not work shows before it is needed.
            if !self.batch.is_empty()
                || self.connection.is_none()
                || self.batch.is_loss_untold(&self.shared.counters)
            {
                return true;
            }
            drop(self.shared.wake.wait_timeout(state, IDLE_TIME));
            if let Some(connection) = &mut self.connection
                && let Err(error) = connection.handle_idle()
            {
                self.fail(&error);
            }
        }
    }

    /// Opens the connection if need be, and sends the batch.
    fn turn(&mut self) -> std::io::Result<()> {
        let counters = &self.shared.counters;
        if self.connection.is_none() {
            self.connection = Some(self.opener.open(&self.shared.export)?);
            counters.count_opened();
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        self.batch.write(&self.shared.export, counters);
        let frames = self.batch.frames();
        let shared = &self.shared;
        let sent = connection.send(frames, &|| shared.is_over());
        self.batch.settle(&sent, counters);
        if sent.error.is_none() || sent.done > 0 {
            self.backoff.reset();
        }
        match sent.error {
            None => {
                if core::mem::take(&mut self.has_complained) {
                    let export = &self.shared.export;
                    tracing::info!(component = "export", sink = export.name, "records are sent again");
                }
                counters.set_open(true);
                if sent.lost > 0 {
                    // Full until somebody moves it: what is told about that, too, does not fit.
                    self.shared.pause(IDLE_TIME);
                }
                Ok(())
            }
            Some(error) => Err(error),
        }
    }

    fn fail(&mut self, error: &std::io::Error) {
        self.connection = None;
        self.shared.counters.count_failure();
        self.shared.counters.set_open(false);
        if !self.has_complained {
            self.has_complained = true;
            let export = &self.shared.export;
            let target = export.target.to_string();
            tracing::warn!(component = "export", sink = export.name, target, %error, "records cannot be sent; they wait");
        }
        self.shared.pause(self.backoff.wait());
    }
}

#[cfg(test)]
mod tests;
