//! The node's agent: its only contact with an orchestrator.
//!
//! ```text
//!   worker -> events -> control thread --Link (bounded, losses counted)--> agent <== one gRPC stream ==> orchestrator
//!             policy <- Host::apply <----- thread for blocking work <------'
//! ```
//!
//! Owns: the connection (back-off, TLS, certificate of the node), the stream of `secbeat.v1.NodeService`, the last
//! policy on disk, and acknowledging each resource with what the data plane holds. Does not own: what a policy means
//! (`secbeat_config::policy`), bringing it into force ([`Host`], which `start` implements), events, bans.
//!
//! Runs in one thread of its own with its own runtime; blocking work goes to a second one. No worker waits for it or
//! pushes to it. A node works without an orchestrator: whatever goes wrong here is logged, counted and tried again.

mod backoff;
mod connect;
mod events;
mod exchange;
mod file;
pub mod host;
pub mod identity;
pub mod link;
mod policy;
mod session;
mod settings;
pub mod simulated;
mod telemetry;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::SystemTime;

pub use file::{FILE_NAME as POLICY_FILE_NAME, load as load_policy};
pub use host::{Applied, BanHits, Condition, Facts, Host, Load, Order, Snapshot};
pub use link::{Link, Status};
pub use policy::Restored;
pub use settings::{CONNECT_TIMEOUT, RETRY_MAX, RETRY_MIN, Settings};

use crate::api::SecurityEvent;
use crate::api::events::{Class, Level};
use backoff::Backoff;
use link::Numbers;
use policy::Policy;
use session::{End, Session};

/// An agent.
#[derive(Debug)]
pub struct Agent;

/// A running agent. Dropping it leaves the agent running.
#[derive(Debug)]
pub struct AgentHandle {
    link: Arc<Link>,
    thread: JoinHandle<()>,
}

impl AgentHandle {
    /// Closes the stream and ends the thread.
    pub fn stop(self) {
        self.link.stop();
        if self.thread.join().is_err() {
            tracing::error!(component = "agent", "the agent panicked");
        }
    }
}

/// What lasts from stream to stream.
#[derive(Clone)]
struct Context {
    settings: Arc<Settings>,
    host: Arc<dyn Host>,
    policy: Arc<Mutex<Policy>>,
}

impl Agent {
    /// Starts an agent in a thread of its own.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(settings: Settings, host: Arc<dyn Host>) -> io::Result<AgentHandle> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Applying, merging and reading numbers: each once at a time.
            .max_blocking_threads(4)
            .thread_name("agent-work")
            .build()?;
        let link = Arc::clone(host.link());
        let thread = Builder::new().name("agent".into()).spawn(move || {
            runtime.block_on(Self::run(settings, host));
            runtime.shutdown_background();
        })?;
        Ok(AgentHandle { link, thread })
    }

    /// The same as a future, for many agents in one runtime. Ends after [`Link::stop`].
    pub async fn run(settings: Settings, host: Arc<dyn Host>) {
        let link = Arc::clone(host.link());
        link.change_status(|status| {
            status.url.clone_from(&settings.url);
            status.node_id = settings.node_id.to_string();
            status.since = Some(SystemTime::now());
        });
        let policy = Policy::new(settings.restored.clone(), settings.policy_path.clone());
        policy.publish(&[], host.as_ref());
        let mut backoff = Backoff::new(settings.retry.0, settings.retry.1);
        let context = Context { settings: Arc::new(settings), host, policy: Arc::new(Mutex::new(policy)) };
        let mut last_told = String::new();
        loop {
            let end = tokio::select! {
                () = link.stop.notified() => return,
                connected = connect::connect(&context) => match connected {
                    Ok(client) => Session::run(&context, client).await,
                    Err(error) => End::Lost { error: error.to_string(), was_welcome: false },
                },
            };
            let (error, was_welcome) = match end {
                End::Stopped => return,
                End::Again => continue,
                End::Lost { error, was_welcome } => (error, was_welcome),
            };
            if was_welcome {
                backoff.reset();
                last_told.clear();
            }
            let wait = backoff.wait();
            note_lost(&context, &error, &mut last_told);
            tokio::select! {
                () = link.stop.notified() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

/// Writes a file of the state directory so that after a crash either the old or the new content is there.
///
/// # Errors
/// When the file system refuses; the old file is intact then.
pub fn write_file(path: &std::path::Path, content: &[u8]) -> io::Result<()> {
    file::write(path, content, 0o640)
}

/// Says why there is no connection: each reason once, not at every attempt.
fn note_lost(context: &Context, error: &str, last_told: &mut String) {
    let link = context.host.link();
    Numbers::add(&link.numbers.disconnections, 1);
    link.change_status(|status| {
        if core::mem::take(&mut status.connected) {
            status.since = Some(SystemTime::now());
        }
        status.last_error = Some(error.to_owned());
    });
    if last_told != error {
        error.clone_into(last_told);
        let event = SecurityEvent::new(Class::Policy, Level::Warn, "agent", "orchestrator_lost");
        context.host.record(event.with("error", error).with("url", context.settings.url.as_str()));
    }
}
