//! All sinks of a process.
//!
//! Owns: which sinks there are, handing each record to those that want it, and that a change of configuration leaves
//! unchanged sinks, with what waits in them, alone. Does not own: queues and threads (`sink`).

use core::time::Duration;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use secbeat_config::export::Export;

use crate::record::{Origin, Record};
use crate::sink::{Counters, Sink, SinkError};

/// How long a sink that was taken out may still send what waits in it.
const LEAVE_TIME: Duration = Duration::from_secs(5);

/// Numbers of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Where it sends.
    pub target: String,
    /// Whether the file or connection is open.
    pub is_open: bool,
    /// Records that wait.
    pub waiting: u64,
    /// Bytes of memory they take.
    pub waiting_bytes: u64,
    /// Records taken in since the start.
    pub queued: u64,
    /// Records handed to the kernel.
    pub sent: u64,
    /// Records lost, by reason.
    pub lost: Vec<(&'static str, u64)>,
    /// Times the file or connection was opened.
    pub opened: u64,
    /// Attempts that failed, and connections that ended.
    pub failures: u64,
}

/// The sinks.
#[derive(Debug)]
pub struct Exports {
    origin: Arc<Origin>,
    sinks: RwLock<Vec<Sink>>,
}

impl Exports {
    /// How long what waits may still be sent when the process ends, for [`Self::stop`].
    pub const STOP_TIME: Duration = Duration::from_secs(3);

    /// No sink yet.
    pub fn new(origin: Origin) -> Self {
        Self { origin: Arc::new(origin), sinks: RwLock::default() }
    }

    /// Hands a record to every sink that wants it. Never waits for any of them.
    pub fn submit(&self, record: Record) {
        let sinks = self.sinks();
        if !sinks.iter().any(|sink| sink.wants(&record)) {
            return;
        }
        let record = Arc::new(record);
        sinks.iter().filter(|sink| sink.wants(&record)).for_each(|sink| sink.push(Arc::clone(&record)));
    }

    /// Whether there is any sink: without one no record need be made.
    pub fn is_empty(&self) -> bool {
        self.sinks().is_empty()
    }

    /// Brings the sinks in line with the configuration. Unchanged ones stay as they are but open their files anew;
    /// those taken out send what waits for some seconds, on their own threads.
    ///
    /// # Errors
    /// The first sink that cannot work: an unreadable certificate, a directory that is not there. Nothing has changed.
    pub fn apply(&self, wanted: &[Export]) -> Result<(), SinkError> {
        let mut fresh = Vec::new();
        let is_new = |export: &&Export| !self.sinks().iter().any(|sink| sink.export() == *export);
        for export in wanted.iter().filter(is_new) {
            let known =
                self.sinks().iter().find(|sink| sink.export().name == export.name).map(Sink::counters);
            let counters = known.unwrap_or_else(|| Arc::new(Counters::default()));
            fresh.push(Sink::prepare(export.clone(), Arc::clone(&self.origin), counters)?);
        }
        let mut started = Vec::new();
        for sink in fresh {
            match sink.start() {
                Ok(sink) => started.push(sink),
                Err(error) => {
                    stop_all(&started, Duration::ZERO);
                    return Err(error);
                }
            }
        }
        let mut sinks = self.sinks.write().unwrap_or_else(PoisonError::into_inner);
        let (kept, gone): (Vec<_>, Vec<_>) =
            core::mem::take(&mut *sinks).into_iter().partition(|sink| wanted.contains(sink.export()));
        kept.iter().for_each(Sink::reopen);
        gone.iter().for_each(|sink| sink.leave(Instant::now() + LEAVE_TIME));
        *sinks = kept.into_iter().chain(started).collect();
        Ok(())
    }

    /// Files are opened anew before the next record: they were moved away.
    pub fn reopen(&self) {
        self.sinks().iter().for_each(Sink::reopen);
    }

    /// Sends what waits, for at most `time`, and ends. What is left is counted as lost.
    pub fn stop(&self, time: Duration) {
        let sinks = core::mem::take(&mut *self.sinks.write().unwrap_or_else(PoisonError::into_inner));
        stop_all(&sinks, time);
    }

    /// Numbers of every sink.
    pub fn status(&self) -> Vec<SinkStatus> {
        self.sinks().iter().map(Sink::status).collect()
    }

    fn sinks(&self) -> RwLockReadGuard<'_, Vec<Sink>> {
        self.sinks.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stop_all(sinks: &[Sink], time: Duration) {
    let until = Instant::now() + time;
    sinks.iter().for_each(|sink| sink.leave(until));
    // A thread that hangs in a look-up of a name is left behind; the process ends anyway.
    for sink in sinks {
        let _ = sink.wait(until + Duration::from_millis(500));
    }
}
