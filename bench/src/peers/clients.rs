//! Honest clients during a flood: two hundred one after the other, then two hundred at fifty a time.
//!
//! A connection that is lost takes its three seconds, and a defender that loses most of them would make one measurement
//! last for minutes. So a connection that has waited for [`PATIENCE`] goes on to its deadline beside the others, and
//! the next one begins: every one has the full deadline, and as many are tried whoever defends.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::result::Row;
use crate::handshake::{self, Report};
use crate::lab::{Lab, vip};
use crate::{cpu, interrupt, netns};

/// Connections of each kind.
pub(super) const CONNECTIONS: u64 = 200;
/// Connections at a time of the second kind.
pub(super) const CONCURRENCY: usize = 50;
/// Deadline of connect and GET together, in milliseconds.
pub(super) const DEADLINE_MS: u64 = 3_000;
/// How long one connection may hold up the next. Beyond the largest p99 that is judged (10 ms) it is late anyway.
pub(super) const PATIENCE: Duration = Duration::from_millis(12);
/// New connections of a kind are begun for so long at most; what has begun goes on to its deadline.
const BEGIN_SECONDS_MAX: u64 = 3;

/// What both kinds came to.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    one_by_one: Report,
    at_once: Report,
}

/// Fetches the page from the client's namespace. The second kind begins when the last of the first has begun.
pub(super) fn run(lab: &Lab, family: u8) -> Result<Seen> {
    let begun = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            let report = fetch(lab, family, 1, |count| begun.store(count, Ordering::Relaxed));
            // Also when it failed: the others wait for it.
            begun.store(CONNECTIONS, Ordering::Relaxed);
            report
        });
        while begun.load(Ordering::Relaxed) < CONNECTIONS && !first.is_finished() && !interrupt::requested() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let at_once = fetch(lab, family, CONCURRENCY, |_| {});
        let one_by_one = first.join().map_err(|_| anyhow!("a client panicked"))?;
        Ok(Seen { one_by_one: one_by_one?, at_once: at_once? })
    })
}

fn fetch(lab: &Lab, family: u8, concurrency: usize, tell: impl Fn(u64) + Sync) -> Result<Report> {
    let options = handshake::Options {
        to: SocketAddr::new(vip(family), 80),
        count: CONNECTIONS,
        concurrency,
        deadline_ms: DEADLINE_MS,
        ..handshake::Options::one_page()
    };
    netns::inside(&lab.topology.client(), || {
        cpu::pin(0, cpu::defence_core())?;
        cpu::prefer(nix::unistd::gettid().as_raw())?;
        let started = Instant::now();
        let mut outcomes = Vec::new();
        let stop = |count| {
            let is_late = started.elapsed() > Duration::from_secs(BEGIN_SECONDS_MAX);
            tell(if is_late { CONNECTIONS } else { count });
            is_late
        };
        handshake::fetch_patiently(&options, Some(PATIENCE), stop, |outcome| outcomes.push(outcome))?;
        Ok(Report::of(&outcomes, started.elapsed()))
    })
}

impl Seen {
    /// Adds what was seen to a row. Latencies are those of connections that succeeded; without any there is none.
    pub(super) fn add_to(&self, row: &mut Row) {
        for (kind, report) in [("one_by_one", &self.one_by_one), ("at_once", &self.at_once)] {
            row.add(&format!("{kind}_count"), report.count as f64);
            row.add(&format!("{kind}_succeeded_count"), report.succeeded as f64);
            row.add(&format!("{kind}_success_percent"), report.success_percent);
            // By cause; a cause that did not occur in a repetition has no sample of it.
            for (cause, count) in &report.failures {
                row.add(&format!("{kind}_failed_{}_count", cause.replace(' ', "_")), *count as f64);
            }
            if report.succeeded > 0 {
                row.add(&format!("{kind}_p50_us"), report.total.p50_us as f64);
                row.add(&format!("{kind}_p99_us"), report.total.p99_us as f64);
            }
        }
    }
}
