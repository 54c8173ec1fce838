//! What happens to the ban list without anybody asking: ends, forgetting, and what the allowlist came to cover.
//!
//! Owns: one run; `task` runs it on a signal and every second. Idempotent, without input.

use core::sync::atomic::Ordering;
use core::time::Duration;

use ipnet::IpNet;
use secbeat_config::ban::Entry;

use super::exchange::exempt_reason;
use super::{Bans, DECIDED_PER_LOCK, Exempt};
use crate::failure::Failure;
use crate::orchestrator::now_ms;
use crate::session::Sessions;

/// Prefixes with reports of nodes that one run looks at, to forget those without an entry.
const HITS_PER_RUN: usize = 4_096;

/// Time between two runs.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Runs between two looks at what the allowlist covers while it does not change: a decision that was under way when
/// it changed is found within a minute.
const RUNS_PER_EXEMPT_LOOK: u32 = 60;

/// Where the last run stopped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    last_hit: Option<IpNet>,
    runs: u32,
}

impl Bans {
    /// Waits for the next run: a second, or a change of the allowlist.
    pub async fn wait_for_run(&self) {
        // Either way it is time.
        let _ = tokio::time::timeout(PERIOD, self.inner.signal.notified()).await;
    }

    /// One run.
    ///
    /// # Errors
    /// When the store cannot write; the next run goes on.
    pub async fn reconcile(&self, sessions: &Sessions, progress: &mut Progress) -> Result<(), Failure> {
        let is_changed = self.inner.is_exempt_changed.swap(false, Ordering::Relaxed);
        if is_changed || progress.runs.is_multiple_of(RUNS_PER_EXEMPT_LOOK) {
            self.lift_exempt(sessions).await?;
        }
        progress.runs = progress.runs.wrapping_add(1);
        loop {
            let now_ms = now_ms();
            let (rewritten, written) = self.change(&mut |replica| {
                replica.expire(now_ms);
                replica.take_rewritten()
            });
            self.publish(sessions, rewritten, None);
            written.await?;
            if !self.replica().is_due(now_ms) {
                break;
            }
        }
        self.forget_hits(&mut progress.last_hit);
        Ok(())
    }

    /// Lifts what an allow list covers.
    async fn lift_exempt(&self, sessions: &Sessions) -> Result<(), Failure> {
        let exempt = self.exempt();
        let nets: Vec<IpNet> = exempt.iter().map(|(net, _)| *net).collect();
        for nets in nets.chunks(DECIDED_PER_LOCK) {
            // Almost always nothing: found by looking, without a transaction.
            let covered = self.covered(nets);
            for prefixes in covered.chunks(DECIDED_PER_LOCK) {
                self.lift_all(sessions, &exempt, prefixes).await?;
            }
        }
        Ok(())
    }

    fn covered(&self, nets: &[IpNet]) -> Vec<IpNet> {
        let now_ms = now_ms();
        let mut covered = Vec::new();
        for net in nets {
            let mut last = None;
            loop {
                let page = self.look(|replica| {
                    replica.page(last, Some(*net), &[], DECIDED_PER_LOCK, DECIDED_PER_LOCK, now_ms)
                });
                covered.extend(page.entries.into_iter().map(|entry| entry.prefix));
                last = page.next;
                if last.is_none() {
                    break;
                }
            }
        }
        covered
    }

    async fn lift_all(
        &self,
        sessions: &Sessions,
        exempt: &Exempt,
        prefixes: &[IpNet],
    ) -> Result<(), Failure> {
        let lifted: Vec<Entry> = self
            .decide(sessions, |decisions| {
                let lift = |prefix: &IpNet| {
                    let (net, list) = exempt.covering(prefix)?;
                    decisions.lift(*prefix, "", &exempt_reason(list, net))
                };
                Ok(prefixes.iter().filter_map(lift).collect())
            })
            .await?;
        for entry in lifted {
            tracing::info!(prefix = %entry.prefix, reason = entry.reason, "a ban is lifted");
        }
        Ok(())
    }

    /// Forgets reports of prefixes that the list no longer holds.
    fn forget_hits(&self, last: &mut Option<IpNet>) {
        for _ in 0..HITS_PER_RUN / DECIDED_PER_LOCK {
            let prefixes = self.hits().after(*last, DECIDED_PER_LOCK);
            *last = prefixes.last().copied();
            let gone: Vec<IpNet> = {
                let replica = self.replica();
                prefixes.iter().filter(|prefix| replica.get(prefix).is_none()).copied().collect()
            };
            self.hits().forget(&gone);
            if last.is_none() {
                return;
            }
        }
    }
}
