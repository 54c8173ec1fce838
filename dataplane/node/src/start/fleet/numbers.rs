//! The node's numbers as the orchestrator gets them.
//!
//! Owns: samples by name (those of the metrics endpoint, workers one by one left out), the load a node is judged by,
//! hits of bans in turn. Does not own: counting (`crate::telemetry`), what changed since the last report
//! (`crate::agent`). About a millisecond a second, outside every lock but for moments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ipnet::IpNet;
use secbeat_net::verdict::DropReason;

use super::bans::millis;
use crate::agent::{BanHits, Load, Snapshot};
use crate::host::Machine;
use crate::start::node::Node;
use crate::telemetry::Telemetry;
use crate::telemetry::counters::Counter;
use crate::telemetry::node::NodeCounter;

/// Bans whose hits are read per report, two system calls each and the node's lock held. More: the next ones come in the
/// next report.
const BANS_PER_REPORT_MAX: usize = 2_000;

/// Drops that hit sources which had proved their address: what a rollout must not raise.
const VALIDATED: &[DropReason] = &[
    DropReason::ConnectionRate,
    DropReason::ConnectionLimit,
    DropReason::FlowTableFull,
    DropReason::NoBackend,
    DropReason::NoPort,
    DropReason::EarlyDataFull,
];

/// What the last report was made of.
#[derive(Debug, Default)]
pub(super) struct Rates {
    last: Option<(Instant, Totals)>,
    ban_after: Option<IpNet>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    bytes_in: u64,
    bytes_out: u64,
    drops: u64,
    validated: u64,
    validated_dropped: u64,
    requests: u64,
    server_errors: u64,
}

/// Everything at this moment.
pub(super) fn snapshot(node: &Node) -> Snapshot {
    let telemetry = &node.telemetry;
    let now = Instant::now();
    let totals = totals(telemetry);
    let mut state = node.state();
    let Some(fleet) = &mut state.fleet else { return Snapshot::default() };
    let last = fleet.rates.last.replace((now, totals));
    let bans = next_bans(fleet.bans.replica(), &mut fleet.rates.ban_after);
    let hits = state.xdp.as_ref().map(|xdp| xdp.hits(&bans)).unwrap_or_default();
    let hit = |prefix: IpNet| BanHits {
        prefix,
        // What the XDP program lets through to workers (its list was full, or another port) is dropped there.
        packets: hits.get(&prefix).copied().unwrap_or(0) + state.lists.hits(&prefix),
        is_enforced: state.lists.is_blocked(&prefix),
    };
    let ban_hits = bans.into_iter().map(hit).collect();
    let attacks_active = state.attacks.len() as u64;
    drop(state);
    let mut load = telemetry.load();
    load.attacks_active = attacks_active;
    if let Some((at, last)) = last {
        rates(&mut load, &last, &totals, now.duration_since(at).as_secs_f64().max(1e-3));
    }
    let events_lost = BTreeMap::from([("workers".to_owned(), telemetry.node.get(NodeCounter::EventsLost))]);
    Snapshot { samples: samples(&telemetry.prometheus()), load, ban_hits, events_lost }
}

/// The next bans in force, in turn.
fn next_bans(replica: &secbeat_config::ban::Replica, after: &mut Option<IpNet>) -> Vec<IpNet> {
    let now_ms = millis(SystemTime::now());
    let all = replica.active_prefixes(now_ms).map(|(prefix, _)| prefix);
    let bans: Vec<IpNet> = match *after {
        Some(after) => all.filter(|prefix| *prefix > after).take(BANS_PER_REPORT_MAX).collect(),
        None => all.take(BANS_PER_REPORT_MAX).collect(),
    };
    *after = if bans.len() < BANS_PER_REPORT_MAX { None } else { bans.last().copied() };
    bans
}

fn totals(telemetry: &Telemetry) -> Totals {
    let sum = |reasons: &[DropReason]| reasons.iter().map(|reason| telemetry.drops(*reason)).sum::<u64>();
    let answered = || telemetry.workers().iter().flat_map(|page| page.requests.answered());
    let requests: u64 = answered().map(|(_, _, count)| count).sum();
    let refused = telemetry.total(Counter::WafInterrupted);
    let dropped = sum(VALIDATED);
    Totals {
        bytes_in: telemetry.total(Counter::BytesIn),
        bytes_out: telemetry.total(Counter::BytesOut),
        drops: sum(DropReason::ALL) + telemetry.xdp_dropped(),
        validated: telemetry.total(Counter::ConnectionsOpened) + dropped + requests,
        validated_dropped: dropped + refused,
        requests,
        server_errors: answered().filter(|(_, status, _)| *status >= 500).map(|(_, _, count)| count).sum(),
    }
}

fn rates(load: &mut Load, last: &Totals, now: &Totals, seconds: f64) {
    let grown = |before: u64, after: u64| after.saturating_sub(before) as f64;
    let share = |part: f64, whole: f64| if whole > 0.0 { (part / whole).min(1.0) } else { 0.0 };
    load.bits_per_second_in = 8.0 * grown(last.bytes_in, now.bytes_in) / seconds;
    load.bits_per_second_out = 8.0 * grown(last.bytes_out, now.bytes_out) / seconds;
    load.drops_per_second = grown(last.drops, now.drops) / seconds;
    let validated = grown(last.validated, now.validated);
    load.validated_drop_share = share(grown(last.validated_dropped, now.validated_dropped), validated);
    load.server_error_share =
        share(grown(last.server_errors, now.server_errors), grown(last.requests, now.requests));
}

/// The samples of a page of metrics. Numbers of single workers and buckets of histograms are left out: they are many
/// and a fleet is judged by sums.
fn samples(page: &str) -> Vec<(Arc<str>, f64)> {
    let lines = page.lines().filter(|line| !line.starts_with('#') && !line.starts_with("secbeat_worker_"));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        let is_bucket = name.contains("_bucket{");
        Some((Arc::from(name), value.parse().ok()?)).filter(|_| !is_bucket)
    };
    lines.filter_map(sample).collect()
}

/// Memory of this machine; 0 where it does not say.
pub(super) fn machine_memory_bytes() -> u64 {
    Machine::this().memory_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_those_of_the_metrics_page_without_single_workers() {
        let page = "# HELP a b\nsecbeat_x_total{kind=\"a b\"} 7\nsecbeat_worker_turns_total{worker=\"0\"} 9\n\
                    secbeat_time_bucket{le=\"1\"} 3\nsecbeat_y 0.5\n";
        let samples = samples(page);
        let shown: Vec<_> = samples.iter().map(|(name, value)| (name.as_ref(), *value)).collect();
        assert_eq!(shown, [("secbeat_x_total{kind=\"a b\"}", 7.0), ("secbeat_y", 0.5)]);
    }

    #[test]
    fn shares_come_from_two_totals() {
        let mut load = Load::default();
        let last = Totals::default();
        let now = Totals {
            bytes_in: 1_000,
            validated: 100,
            validated_dropped: 5,
            requests: 50,
            server_errors: 5,
            ..last
        };
        rates(&mut load, &last, &now, 2.0);
        assert_eq!((load.bits_per_second_in, load.validated_drop_share), (4_000.0, 0.05));
        assert_eq!(load.server_error_share, 0.1);
        rates(&mut load, &now, &now, 1.0);
        assert_eq!((load.validated_drop_share, load.server_error_share), (0.0, 0.0));
    }
}
