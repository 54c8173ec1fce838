//! What sessions report: refused requests and slow clients, to the control thread, and offenders for the ban list.
//!
//! Owns: [`Report`], [`Reports`] (the bounded queue of all workers) and [`Reporter`] (a worker's end, with its
//! budget and its count of offences). Does not own: log lines, the API's events, bans; the control thread makes
//! those. Full queue or spent budget: the report is lost and counted; counters and access log still have the request.
//! Cost: an allocation per report, never more than [`REPORTS_PER_TICK_MAX`] a tick; nothing for a request that
//! passes.

use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use std::borrow::Cow;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use secbeat_net::flow::{HashKey, hash_addr};
use secbeat_net::time::Instant;

use crate::attack::{OffencePolicy, Offenders};
use crate::event::{AttackKind, Event, EventQueue, ListenerId, Offence, WorkerId};

/// Reports that wait for the control thread, which takes them ten times a second.
const REPORTS_QUEUED_MAX: usize = 4_096;
/// Reports per tick of housekeeping and worker: a flood of bad requests must not become a flood of log lines.
pub const REPORTS_PER_TICK_MAX: u32 = 8;
/// Longest text of a client's that is kept, bytes.
const TEXT_BYTES_MAX: usize = 256;
/// Keeps hashes of offenders apart from those of the rate table.
const DOMAIN_OFFENDER: u32 = 0x4f46;

/// One refused request or slow client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When, on the node's clock.
    pub at: Instant,
    /// Which worker.
    pub worker: WorkerId,
    /// The listener.
    pub listener: ListenerId,
    /// What it is an attack of.
    pub attack: AttackKind,
    /// What decided.
    pub rule: Cow<'static, str>,
    /// The client.
    pub client: IpAddr,
    /// What it was answered with; 0 = nothing.
    pub status: u16,
    /// The request's id.
    pub request_id: String,
    /// Its method, host and target; empty when they could not be read.
    pub method: String,
    /// See `method`.
    pub host: String,
    /// See `method`.
    pub target: String,
    /// What the client called itself.
    pub user_agent: String,
    /// Whether it was refused; false: rules only looked.
    pub is_blocked: bool,
}

impl Report {
    /// About a connection, not one request.
    pub(super) fn of_session(
        worker: WorkerId,
        listener: ListenerId,
        attack: AttackKind,
        rule: &'static str,
        client: IpAddr,
        at: Instant,
    ) -> Self {
        Self {
            at,
            worker,
            listener,
            attack,
            rule: Cow::Borrowed(rule),
            client,
            status: 0,
            request_id: String::new(),
            method: String::new(),
            host: String::new(),
            target: String::new(),
            user_agent: String::new(),
            is_blocked: true,
        }
    }
}

/// The way of reports to the control thread.
#[derive(Debug)]
pub struct Reports {
    queue: ArrayQueue<Box<Report>>,
    lost: AtomicU64,
}

impl Default for Reports {
    fn default() -> Self {
        Self { queue: ArrayQueue::new(REPORTS_QUEUED_MAX), lost: AtomicU64::new(0) }
    }
}

impl Reports {
    /// The oldest report.
    pub fn pop(&self) -> Option<Box<Report>> {
        self.queue.pop()
    }

    /// Reports lost since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// A text of a client's, bounded and printable.
pub(super) fn text(bytes: &[u8]) -> String {
    let bytes = bytes.get(..TEXT_BYTES_MAX).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

/// A worker's end.
#[derive(Debug)]
pub(super) struct Reporter {
    worker: WorkerId,
    reports: Arc<Reports>,
    events: Arc<EventQueue>,
    key: HashKey,
    offenders: Offenders,
    budget: u32,
}

impl Reporter {
    pub(super) fn new(
        worker: WorkerId,
        reports: Arc<Reports>,
        events: Arc<EventQueue>,
        key: HashKey,
    ) -> Self {
        Self { worker, reports, events, key, offenders: Offenders::default(), budget: REPORTS_PER_TICK_MAX }
    }

    /// Renews the budgets.
    pub(super) fn handle_tick(&mut self) {
        self.budget = REPORTS_PER_TICK_MAX;
        self.offenders.handle_tick();
    }

    /// Queues a report.
    pub(super) fn report(&mut self, make: impl FnOnce(WorkerId) -> Report) {
        if self.budget == 0 {
            self.reports.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.budget -= 1;
        if self.reports.queue.push(Box::new(make(self.worker))).is_err() {
            self.reports.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes an offence of a source; one too many is reported for a ban.
    pub(super) fn offend(&mut self, source: IpAddr, offence: Offence, policy: &OffencePolicy, now: Instant) {
        if policy.offences_max == 0 {
            return;
        }
        let hash = hash_addr(&self.key, source, DOMAIN_OFFENDER);
        if let Some(what) = self.offenders.handle_offence(source, hash, offence, policy, now) {
            self.events.push(Event { at: now, worker: self.worker, what });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::What;

    fn report(worker: WorkerId) -> Report {
        Report {
            at: Instant::ZERO,
            worker,
            listener: 0,
            attack: AttackKind::PathTraversal,
            rule: Cow::Borrowed("path_traversal"),
            client: IpAddr::from([192, 0, 2, 1]),
            status: 400,
            request_id: String::new(),
            method: String::new(),
            host: String::new(),
            target: text(&[b'x'; 1_000]),
            user_agent: text(b"\xff"),
            is_blocked: true,
        }
    }

    #[test]
    fn reports_beyond_the_budget_are_counted_as_lost() {
        let (reports, events) = (Arc::new(Reports::default()), Arc::new(EventQueue::default()));
        let mut reporter = Reporter::new(3, Arc::clone(&reports), events, HashKey([1, 2]));
        for _ in 0..REPORTS_PER_TICK_MAX + 2 {
            reporter.report(report);
        }
        assert_eq!(reports.lost(), 2);
        let first = reports.pop().expect("a report");
        assert_eq!((first.worker, first.target.len()), (3, TEXT_BYTES_MAX));
        reporter.handle_tick();
        reporter.report(report);
        assert_eq!(reports.lost(), 2);
    }

    #[test]
    fn source_that_offends_too_often_becomes_an_event() {
        let (reports, events) = (Arc::new(Reports::default()), Arc::new(EventQueue::default()));
        let mut reporter = Reporter::new(0, reports, Arc::clone(&events), HashKey([1, 2]));
        let policy = OffencePolicy { offences_max: 2, window: core::time::Duration::from_secs(9) };
        let source = IpAddr::from([192, 0, 2, 1]);
        reporter.offend(source, Offence::RequestRate, &policy, Instant::ZERO);
        assert!(events.pop().is_none());
        reporter.offend(source, Offence::RequestRate, &policy, Instant::ZERO);
        let offence = Offence::RequestRate;
        assert_eq!(events.pop().map(|event| event.what), Some(What::Offender { source, offence }));
    }
}
