//! Reconcilers: tasks that look at how things are and bring them to how they should be.
//!
//! Owns: when they run (on a signal and on a period), their counters, that neither an error nor a panic ends one. Does
//! not own: what they do. A reconciler takes no input: a signal that is lost costs a period, never a wrong state.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::ban::Progress;
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};

mod rollout;
#[cfg(test)]
mod tests;

/// Something happened that a reconciler should look at before its period ends.
#[derive(Debug, Default)]
pub struct Signals {
    /// An answer, a load, a lost node, a confirmation.
    pub rollout: Notify,
    /// A node came or went.
    pub leases: Notify,
    /// Things are to be forgotten now.
    pub retention: Notify,
}

/// What a reconciler did so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Runs that ended.
    pub runs: AtomicU64,
    /// Runs that ended with an error or a panic.
    pub failures: AtomicU64,
    /// Time of all runs, microseconds.
    pub busy_us: AtomicU64,
}

/// Tallies by name of the reconciler.
#[derive(Debug, Default)]
pub struct Tallies {
    /// Rollout.
    pub rollout: Arc<Tally>,
    /// Leases of nodes.
    pub leases: Arc<Tally>,
    /// Forgetting.
    pub retention: Arc<Tally>,
    /// Ends of bans.
    pub bans: Arc<Tally>,
}

impl Tallies {
    /// With their names.
    pub fn all(&self) -> [(&'static str, &Tally); 4] {
        [
            ("rollout", &self.rollout),
            ("leases", &self.leases),
            ("retention", &self.retention),
            ("bans", &self.bans),
        ]
    }
}

/// Pause after a run that failed: a full disk is not asked five times a second.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// Time between looks at a rollout without a signal.
const ROLLOUT_PERIOD: Duration = Duration::from_millis(200);
/// Time between looks at leases.
const LEASES_PERIOD: Duration = Duration::from_secs(1);
/// Time between looks at what can be forgotten.
const RETENTION_PERIOD: Duration = Duration::from_secs(600);
/// How long an answer is remembered for a request that is repeated.
const REQUESTS_KEPT: Duration = Duration::from_secs(86_400);

/// Starts all of them. Dropping the handles does not stop them; aborting does.
pub fn start(o: &Orchestrator) -> Vec<JoinHandle<()>> {
    let tallies = &o.tallies;
    vec![
        spawn(
            o,
            "rollout",
            &tallies.rollout,
            ROLLOUT_PERIOD,
            |o| &o.signals.rollout,
            |o| async move { rollout::reconcile(&o).await },
        ),
        spawn(
            o,
            "leases",
            &tallies.leases,
            LEASES_PERIOD,
            |o| &o.signals.leases,
            |o| async move { leases(&o) },
        ),
        spawn(
            o,
            "retention",
            &tallies.retention,
            RETENTION_PERIOD,
            |o| &o.signals.retention,
            |o| async move { retention(&o).await },
        ),
        spawn_bans(o),
        tokio::spawn(o.events.clone().write_blocks()),
    ]
}

fn spawn<F: Future<Output = Result<(), Failure>> + Send + 'static>(
    o: &Orchestrator,
    name: &'static str,
    tally: &Arc<Tally>,
    period: Duration,
    signal: impl Fn(&Orchestrator) -> &Notify + Send + 'static,
    run: impl Fn(Orchestrator) -> F + Send + 'static,
) -> JoinHandle<()> {
    let o = o.clone();
    let tally = Arc::clone(tally);
    tokio::spawn(async move {
        loop {
            let _ = timeout(period, signal(&o).notified()).await;
            if !once(name, &tally, run(o.clone())).await {
                sleep(FAILURE_PAUSE).await;
            }
        }
    })
}

/// One run, counted; whether it went well. A panic is caught by the task it runs in.
async fn once(
    name: &'static str,
    tally: &Tally,
    run: impl Future<Output = Result<(), Failure>> + Send + 'static,
) -> bool {
    let started = Instant::now();
    let outcome = tokio::spawn(run).await;
    let busy_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    tally.busy_us.fetch_add(busy_us, Ordering::Relaxed);
    tally.runs.fetch_add(1, Ordering::Relaxed);
    let why = match outcome {
        Ok(Ok(())) => return true,
        Ok(Err(failure)) => failure.to_string(),
        Err(panic) => panic.to_string(),
    };
    tally.failures.fetch_add(1, Ordering::Relaxed);
    tracing::error!(task = name, why, "a reconciler failed; it runs again");
    false
}

fn leases(o: &Orchestrator) -> Result<(), Failure> {
    for id in o.registry.expire(o.leases, now_ms()) {
        tracing::warn!(node = %id, "nothing was heard of a node for too long: it counts as dead");
    }
    Ok(())
}

async fn retention(o: &Orchestrator) -> Result<(), Failure> {
    let turn = o.policy.begin().await;
    o.policy.retain(&turn)?;
    drop(turn);
    o.access.tokens.save_uses().await?;
    let o = o.clone();
    let removed = tokio::task::spawn_blocking(move || forget(&o)).await;
    removed.map_err(|error| Failure::Internal(error.to_string()))?
}

/// What is older than `[storage]` says.
fn forget(o: &Orchestrator) -> Result<(), Failure> {
    let now = now_ms();
    let before = |kept: Duration| now.saturating_sub(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
    o.events.remove_old(before(o.config.storage.retention_events))?;
    o.audit.remove_old(before(o.config.storage.retention_audit))?;
    o.requests.remove_old(before(REQUESTS_KEPT))?;
    Ok(())
}

/// The ban list has a rhythm of its own: it waits for its next run by itself.
fn spawn_bans(o: &Orchestrator) -> JoinHandle<()> {
    let o = o.clone();
    let tally = Arc::clone(&o.tallies.bans);
    tokio::spawn(async move {
        let progress = Arc::new(tokio::sync::Mutex::new(Progress::default()));
        loop {
            o.bans.wait_for_run().await;
            let (o, progress) = (o.clone(), Arc::clone(&progress));
            once(
                "bans",
                &tally,
                async move { o.bans.reconcile(&o.sessions, &mut *progress.lock().await).await },
            )
            .await;
        }
    })
}
