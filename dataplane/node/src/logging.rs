//! Log lines: JSON or for people, to standard error, never waiting for the reader.
//!
//! Owns: the subscriber, both formats, the queue to the writing thread, [`security`] for security events. Does not
//! own: what is worth a line. Workers never log; they send events and the control thread logs those.
//! Full queue: the line is dropped and counted ([`lines_dropped`]); a reader that hangs never stops the node.

mod format;

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};
use secbeat_config::node::{LogFormat, LogLevel, Logging};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry};

use crate::api::{Level, SecurityEvent};

/// Target of security events, so that `RUST_LOG=security=info` selects them.
pub const SECURITY_TARGET: &str = "security";

/// How long the end of the process waits for the last lines to be written.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// The level of this process, when the configuration decides it.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

static LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines dropped since the start because the reader was too slow.
pub fn lines_dropped() -> u64 {
    LINES_DROPPED.load(Ordering::Relaxed)
}

/// The running log. Dropping it writes what waits, for up to a second.
#[derive(Debug)]
pub struct Log {
    queue: Sender<Vec<u8>>,
    done: Receiver<()>,
}

impl Log {
    /// Installs the log of this process. `rust_log` is the variable's value, if it is set.
    ///
    /// # Errors
    /// When there is a log already, or no thread can be made.
    pub fn start(config: &Logging, rust_log: Option<&str>) -> io::Result<Self> {
        let (queue, lines) = bounded::<Vec<u8>>(config.queue_lines);
        let (finished, done) = bounded(1);
        thread::Builder::new().name("log".into()).spawn(move || {
            // The thread that writes text needs no privilege, whatever the process started with.
            crate::privilege::renounce_in_thread();
            let mut out = io::stderr();
            // An empty line is the end: the subscriber keeps a sender for ever, so the channel never closes.
            while let Some(line) = lines.recv().ok().filter(|line| !line.is_empty()) {
                let _ = out.write_all(&line);
            }
            let _ = finished.send(());
        })?;
        let (filter, mistake) = filter(config.level, rust_log);
        let (filter, level) = reload::Layer::new(filter);
        let make = LineQueue { queue: Arc::new(queue.clone()) };
        let layer = tracing_subscriber::fmt::layer().with_writer(make);
        let failed = |error: TryInitError| io::Error::other(error);
        let registry = tracing_subscriber::registry().with(filter);
        match config.format {
            LogFormat::Json => registry.with(layer.event_format(format::Json)).try_init().map_err(failed)?,
            LogFormat::Pretty => {
                registry.with(layer.event_format(format::Pretty)).try_init().map_err(failed)?;
            }
        }
        if let Some(mistake) = mistake {
            tracing::warn!(component = "log", event = "rust_log_ignored", "RUST_LOG is not valid: {mistake}");
        }
        if rust_log.is_none() {
            let _ = LEVEL.set(level);
        }
        Ok(Self { queue, done })
    }
}

/// Takes the level of a reloaded configuration, unless `RUST_LOG` decides.
pub fn set_level(config: &Logging) {
    if let Some(level) = LEVEL.get() {
        // Fails only when the subscriber is gone, at the end of the process.
        let _ = level.reload(filter(config.level, None).0);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.queue.send_timeout(Vec::new(), FLUSH_TIME_MAX).is_ok() {
            let _ = self.done.recv_timeout(FLUSH_TIME_MAX);
        }
    }
}

fn filter(level: LogLevel, rust_log: Option<&str>) -> (EnvFilter, Option<String>) {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let by_level = || EnvFilter::default().add_directive(level.into());
    match rust_log.map(str::parse::<EnvFilter>) {
        None => (by_level(), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (by_level(), Some(error.to_string())),
    }
}

/// Makes one writer per event; the whole line is queued at its end.
#[derive(Clone, Debug)]
struct LineQueue {
    queue: Arc<Sender<Vec<u8>>>,
}

impl<'a> MakeWriter<'a> for LineQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: &self.queue, bytes: Vec::with_capacity(256) }
    }
}

struct Line<'a> {
    queue: &'a Sender<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = core::mem::take(&mut self.bytes);
        if !line.is_empty() && self.queue.try_send(line).is_err() {
            LINES_DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes a security event. In JSON the line is the event as the API shows it.
pub fn security(event: &SecurityEvent) {
    // Both formats print the fields of `record` in place of it.
    let record = serde_json::to_string(event).unwrap_or_default();
    match event.level {
        Level::Error => tracing::error!(target: SECURITY_TARGET, record),
        Level::Warn => tracing::warn!(target: SECURITY_TARGET, record),
        Level::Info => tracing::info!(target: SECURITY_TARGET, record),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_queue_drops_lines_and_counts_them() {
        let (queue, lines) = bounded(2);
        let make = LineQueue { queue: Arc::new(queue) };
        let before = lines_dropped();
        for text in ["a\n", "b\n", "c\n", "d\n"] {
            make.make_writer().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), [b"a\n", b"b\n"]);
        assert_eq!(lines_dropped() - before, 2);
    }

    #[test]
    fn rust_log_wins_over_the_level_and_a_wrong_one_is_ignored() {
        assert_eq!(filter(LogLevel::Warn, None).0.to_string(), "warn");
        assert_eq!(filter(LogLevel::Warn, Some("security=info")).0.to_string(), "security=info");
        let (by_level, mistake) = filter(LogLevel::Error, Some("a=b=c"));
        assert_eq!(by_level.to_string(), "error");
        assert!(mistake.is_some());
    }
}
