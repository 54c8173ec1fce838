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
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Registry};

use crate::api::{Level, SecurityEvent};

/// Target of security events, so that `RUST_LOG=security=info` selects them.
pub const SECURITY_TARGET: &str = "security";

/// How long anybody waits for the writing thread: it may hang on a reader that does not read.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);

/// The level of this process, when the configuration decides it.
static LEVEL: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

static LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines dropped since the start because the reader was too slow.
pub fn lines_dropped() -> u64 {
    LINES_DROPPED.load(Ordering::Relaxed)
}

/// What the writing thread is told.
enum Message {
    /// Write this.
    Line(Vec<u8>),
    /// Give up all capabilities, then answer.
    Renounce(Sender<()>),
    /// Everything before this is written; answer and end. The subscriber keeps a sender for ever, so the channel
    /// never closes by itself.
    End(Sender<()>),
}

/// The way to the writing thread of this process.
static WRITER: OnceLock<Sender<Message>> = OnceLock::new();

/// The running log. Dropping it writes what waits, for up to a second.
#[derive(Debug)]
pub struct Log(());

impl Log {
    /// Installs the log of this process. `rust_log` is the variable's value, if it is set.
    ///
    /// # Errors
    /// When there is a log already, or no thread can be made.
    pub fn start(config: &Logging, rust_log: Option<&str>) -> io::Result<Self> {
        let (queue, messages) = bounded::<Message>(config.queue_lines);
        WRITER.set(queue.clone()).map_err(|_| io::Error::other("there is a log already"))?;
        thread::Builder::new().name("log".into()).spawn(move || write(&messages))?;
        let (filter, mistake) = filter(config.level, rust_log);
        let (filter, level) = reload::Layer::new(filter);
        let make = LineQueue { queue: Arc::new(queue) };
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
        Ok(Self(()))
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
        tell(Message::End);
    }
}

/// Makes the writing thread give up all capabilities; it needs none. Not earlier than the process changes its user:
/// glibc changes all threads at once and ends the process when one of them may not.
pub fn renounce_privileges() {
    tell(Message::Renounce);
}

/// Sends a message and waits until it was handled, not for ever.
fn tell(message: fn(Sender<()>) -> Message) {
    let (answer, done) = bounded(1);
    if WRITER.get().is_some_and(|queue| queue.send_timeout(message(answer), ANSWER_TIME_MAX).is_ok()) {
        let _ = done.recv_timeout(ANSWER_TIME_MAX);
    }
}

/// The writing thread.
fn write(messages: &Receiver<Message>) {
    let mut out = io::stderr();
    while let Ok(message) = messages.recv() {
        match message {
            Message::Line(line) => {
                let _ = out.write_all(&line);
            }
            Message::Renounce(answer) => {
                crate::privilege::renounce_in_thread();
                let _ = answer.send(());
            }
            Message::End(answer) => {
                let _ = answer.send(());
                return;
            }
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
    // The netlink library warns about every attribute that is newer than itself: nothing an operator can act on.
    let quiet: Option<Directive> = "netlink_packet_route=error".parse().ok();
    let by_level = || {
        let filter = EnvFilter::default().add_directive(level.into());
        quiet
            .iter()
            .filter(|_| level > LevelFilter::ERROR)
            .fold(filter, |f, quiet| f.add_directive(quiet.clone()))
    };
    match rust_log.map(str::parse::<EnvFilter>) {
        None => (by_level(), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (by_level(), Some(error.to_string())),
    }
}

/// Makes one writer per event; the whole line is queued at its end.
#[derive(Clone, Debug)]
struct LineQueue {
    queue: Arc<Sender<Message>>,
}

impl<'a> MakeWriter<'a> for LineQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: &self.queue, bytes: Vec::with_capacity(256) }
    }
}

struct Line<'a> {
    queue: &'a Sender<Message>,
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
        if !line.is_empty() && self.queue.try_send(Message::Line(line)).is_err() {
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
        let kept = lines.try_iter().filter_map(|message| match message {
            Message::Line(line) => Some(line),
            Message::Renounce(_) | Message::End(_) => None,
        });
        assert_eq!(kept.collect::<Vec<_>>(), [b"a\n", b"b\n"]);
        assert_eq!(lines_dropped() - before, 2);
    }

    #[test]
    fn rust_log_wins_over_the_level_and_a_wrong_one_is_ignored() {
        assert_eq!(filter(LogLevel::Warn, None).0.to_string(), "netlink_packet_route=error,warn");
        assert_eq!(filter(LogLevel::Warn, Some("security=info")).0.to_string(), "security=info");
        let (by_level, mistake) = filter(LogLevel::Error, Some("a=b=c"));
        assert_eq!(by_level.to_string(), "error");
        assert!(mistake.is_some());
    }
}
