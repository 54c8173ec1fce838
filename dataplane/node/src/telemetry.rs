//! Numbers about the node: what workers count, and how it is read.
//!
//! [`counters`] is one page per worker, written by that worker alone. [`Telemetry`] holds all pages, the numbers of
//! other threads ([`node`]), and what the control thread copies in (XDP counters, backends); `metrics`
//! turns it into Prometheus text and JSON, `process` reads the process's own use of CPU and memory.
//! Cost: nothing on the packet path; a scrape takes well under a millisecond per worker.

pub mod counters;
mod metrics;
pub mod node;
mod number;
mod process;
pub mod requests;

use core::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use secbeat_export::Exports;
use secbeat_net::verdict::DropReason;

use crate::agent::{Link, Load};
use crate::event::AttackKind;
use crate::waf::hits::Hits;
use counters::{Counter, Gauge, WorkerCounters};
pub use metrics::docs;
use node::NodeNumbers;

/// Shortest time between two samples that rates are computed from: below it a rate is mostly noise.
const SAMPLE_INTERVAL_MIN: Duration = Duration::from_millis(500);

/// A counter kept elsewhere, copied in: one reason of the XDP program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpCount {
    /// Its label value.
    pub reason: String,
    /// Packets.
    pub packets: u64,
}

/// One backend's numbers, copied in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendNumbers {
    /// Its name.
    pub name: String,
    /// Whether it takes connections.
    pub up: bool,
    /// Connections at once.
    pub active: u64,
    /// Connections since the start.
    pub connections: u64,
    /// Connections that failed since the start.
    pub failures: u64,
}

/// All numbers of a node.
#[derive(Debug)]
pub struct Telemetry {
    started: Instant,
    workers: Box<[Arc<WorkerCounters>]>,
    /// Numbers of all other threads.
    pub node: NodeNumbers,
    copied: Mutex<Copied>,
    rates: Mutex<Rates>,
    waf: OnceLock<Arc<Hits>>,
    link: OnceLock<Arc<Link>>,
    exports: OnceLock<Arc<Exports>>,
}

#[derive(Debug, Default)]
struct Copied {
    xdp: Vec<XdpCount>,
    backends: Vec<BackendNumbers>,
}

/// What is computed from two samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Computed {
    packets_in_per_second: f64,
    packets_out_per_second: f64,
    requests_per_second: f64,
    threat_score: f64,
    cpu_percent: f64,
}

#[derive(Debug, Default)]
struct Rates {
    last: Option<Sample>,
    computed: Computed,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    packets_in: u64,
    packets_out: u64,
    requests: u64,
    hostile: u64,
    xdp_dropped: u64,
    cpu: Duration,
}

impl Telemetry {
    /// Numbers of a node with these pages of workers.
    pub fn new(workers: Vec<Arc<WorkerCounters>>) -> Self {
        Self {
            started: Instant::now(),
            workers: workers.into_boxed_slice(),
            node: NodeNumbers::default(),
            copied: Mutex::default(),
            rates: Mutex::default(),
            waf: OnceLock::new(),
            link: OnceLock::new(),
            exports: OnceLock::new(),
        }
    }

    /// The pages of the workers, by number.
    pub fn workers(&self) -> &[Arc<WorkerCounters>] {
        &self.workers
    }

    /// Time since the start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes over the counters of the XDP program. About once a second.
    pub fn set_xdp(&self, counts: Vec<XdpCount>) {
        lock(&self.copied).xdp = counts;
    }

    /// Takes over the numbers of the backends. About once a second.
    pub fn set_backends(&self, backends: Vec<BackendNumbers>) {
        lock(&self.copied).backends = backends;
    }

    /// Where rules of the WAF are counted. Set once.
    pub fn set_waf(&self, hits: Arc<Hits>) {
        // A second place would be the same one.
        let _ = self.waf.set(hits);
    }

    /// Where the agent counts; without one the node is in no fleet. Set once.
    pub fn set_link(&self, link: Arc<Link>) {
        // As above.
        let _ = self.link.set(link);
    }

    /// Where sinks of events count. Set once.
    pub fn set_exports(&self, exports: Arc<Exports>) {
        // As above.
        let _ = self.exports.set(exports);
    }

    /// How often rules of the WAF matched; those that did.
    pub fn waf_hits(&self) -> Vec<(String, u64)> {
        self.waf.get().map(|hits| hits.counts()).unwrap_or_default()
    }

    /// A counter over all workers.
    pub fn total(&self, counter: Counter) -> u64 {
        self.workers.iter().map(|page| page.get(counter)).fold(0, u64::wrapping_add)
    }

    /// A gauge over all workers.
    pub fn sum(&self, gauge: Gauge) -> u64 {
        self.workers.iter().map(|page| page.gauge(gauge)).fold(0, u64::saturating_add)
    }

    /// Frames dropped by all workers for a reason.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.workers.iter().map(|page| page.drops(reason)).fold(0, u64::wrapping_add)
    }

    /// Packets refused by all workers as part of a kind of attack.
    pub fn attacks(&self, kind: AttackKind) -> u64 {
        self.workers.iter().map(|page| page.attacks(kind)).fold(0, u64::wrapping_add)
    }

    /// Connections at once.
    pub fn connections_active(&self) -> u64 {
        self.sum(Gauge::ConnectionsActive)
    }

    /// Everything in the Prometheus text format.
    pub fn prometheus(&self) -> String {
        self.sample();
        metrics::prometheus(self)
    }

    /// Everything as JSON, workers one by one.
    pub fn json(&self) -> serde_json::Value {
        self.sample();
        metrics::json(self)
    }

    /// Computes rates anew if the last time is long enough ago. Called by every scrape; calling it once a second
    /// from elsewhere makes rates independent of who scrapes.
    pub fn sample(&self) {
        let now = Instant::now();
        let mut rates = lock(&self.rates);
        if rates.last.is_some_and(|last| now.duration_since(last.at) < SAMPLE_INTERVAL_MIN) {
            return;
        }
        let sample = Sample {
            at: now,
            packets_in: self.total(Counter::FramesIn),
            packets_out: self.total(Counter::FramesOut),
            requests: self.workers.iter().map(|page| page.requests.total()).fold(0, u64::wrapping_add),
            hostile: self.hostile(),
            xdp_dropped: lock(&self.copied).xdp.iter().filter(|c| is_xdp_drop(c)).map(|c| c.packets).sum(),
            cpu: process::cpu_time().unwrap_or_default(),
        };
        if let Some(last) = rates.last {
            rates.computed = compute(&last, &sample);
        }
        rates.last = Some(sample);
        self.node.set_total(node::NodeCounter::LogLinesDropped, crate::logging::lines_dropped());
    }

    /// How busy the node is; shares and what else needs an earlier look are left to the caller.
    pub fn load(&self) -> Load {
        let computed = self.computed();
        Load {
            cpu_percent: computed.cpu_percent,
            memory_bytes: process::memory_bytes(),
            connections: self.connections_active(),
            requests_per_second: computed.requests_per_second,
            packets_per_second: computed.packets_in_per_second,
            ..Load::default()
        }
    }

    /// Packets dropped by the XDP program, as last copied in.
    pub fn xdp_dropped(&self) -> u64 {
        lock(&self.copied).xdp.iter().filter(|count| is_xdp_drop(count)).map(|count| count.packets).sum()
    }

    /// Packets that workers refused as part of an attack: what the XDP program dropped is counted among its drops.
    fn hostile(&self) -> u64 {
        let all = AttackKind::ALL.iter().map(|kind| self.attacks(*kind)).fold(0, u64::wrapping_add);
        all.wrapping_sub(self.total(Counter::XdpAcksForged))
            .wrapping_sub(self.total(Counter::XdpSegmentsStray))
    }

    fn computed(&self) -> Computed {
        lock(&self.rates).computed
    }
}

/// Counters of the XDP program that stand for dropped packets; the others are `pass_...` and `worker...`.
fn is_xdp_drop(count: &XdpCount) -> bool {
    count.reason.starts_with("drop_")
}

fn compute(last: &Sample, now: &Sample) -> Computed {
    let seconds = now.at.duration_since(last.at).as_secs_f64().max(1e-3);
    let grown = |before: u64, after: u64| after.saturating_sub(before) as f64;
    let received = grown(last.packets_in, now.packets_in);
    let xdp_dropped = grown(last.xdp_dropped, now.xdp_dropped);
    let offered = received + xdp_dropped;
    // The share of what arrives that is refused as part of an attack: 0 in peace, near 100 in a flood.
    let hostile = grown(last.hostile, now.hostile).min(received) + xdp_dropped;
    Computed {
        packets_in_per_second: received / seconds,
        packets_out_per_second: grown(last.packets_out, now.packets_out) / seconds,
        requests_per_second: grown(last.requests, now.requests) / seconds,
        threat_score: if offered > 0.0 { 100.0 * hostile / offered } else { 0.0 },
        cpu_percent: 100.0 * now.cpu.saturating_sub(last.cpu).as_secs_f64() / seconds,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here can be left half-changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Relaxed is enough: every number stands for itself.
const RELAXED: Ordering = Ordering::Relaxed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_threat_come_from_two_samples() {
        let at = Instant::now();
        let last = Sample {
            at,
            packets_in: 100,
            packets_out: 10,
            requests: 5,
            hostile: 0,
            xdp_dropped: 0,
            cpu: Duration::ZERO,
        };
        let now = Sample {
            at: at + Duration::from_secs(2),
            packets_in: 300,
            packets_out: 30,
            requests: 25,
            hostile: 50,
            xdp_dropped: 200,
            cpu: Duration::from_secs(1),
        };
        let computed = compute(&last, &now);
        assert_eq!((computed.packets_in_per_second, computed.packets_out_per_second), (100.0, 10.0));
        assert_eq!(computed.requests_per_second, 10.0);
        assert_eq!((computed.threat_score, computed.cpu_percent), (62.5, 50.0));
        assert_eq!(compute(&now, &Sample { at: at + Duration::from_secs(3), ..now }).threat_score, 0.0);
    }

    #[test]
    fn totals_add_up_over_workers() {
        let telemetry = Telemetry::new(vec![Arc::default(), Arc::default()]);
        telemetry.workers()[0].add(Counter::CookiesSent, 3);
        telemetry.workers()[1].add(Counter::CookiesSent, 4);
        telemetry.workers()[1].count_drop(DropReason::Blocklisted);
        assert_eq!(telemetry.total(Counter::CookiesSent), 7);
        assert_eq!(telemetry.drops(DropReason::Blocklisted), 1);
    }
}
