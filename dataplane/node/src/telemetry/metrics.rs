//! Names and help of every exported metric, and their values as text and JSON.
//!
//! One list: [`families`] makes every metric with its help and values, and the documentation is the same list of an
//! idle node.

mod agent;
mod export;
mod requests;

use prometheus::TextEncoder;
use prometheus::proto::{
    Counter as CounterValue, Gauge as GaugeValue, LabelPair, Metric, MetricFamily, MetricType,
};
use secbeat_net::verdict::DropReason;
use serde_json::{Map, Value, json};

use super::counters::{Counter, Gauge};
use super::node::{NodeCounter, NodeGauge};
use super::{Telemetry, lock, process};
use crate::event::AttackKind;

/// Everything as Prometheus text.
pub(super) fn prometheus(telemetry: &Telemetry) -> String {
    // The encoder refuses only families without name or metrics; `Families::push` makes neither.
    TextEncoder::new().encode_to_string(&families(telemetry).0).unwrap_or_default()
}

/// The page `docs/metrics.md`.
pub fn docs() -> String {
    use core::fmt::Write;
    let telemetry = Telemetry::new(vec![std::sync::Arc::default()]);
    telemetry.set_link(std::sync::Arc::default());
    let mut page = String::from(
        "# Metrics\n\n\
         Generated from the code that exports them (`node::telemetry::metrics`); do not edit.\n\n\
         `GET /metrics` serves these in the Prometheus text format, `GET /api/v1/metrics` as JSON,\n\
         workers one by one.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    let mut list = families(&telemetry);
    export::of_sinks(&mut list, &[export::sample()]);
    for (family, labels) in list.documented() {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::HISTOGRAM => "histogram",
            _ => "gauge",
        };
        let labels = labels.iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(page, "| `{}` | {kind} | {labels} | {} |", family.name(), family.help());
    }
    page.push_str(
        "\n## Drop reasons\n\n\
         Label `reason` of `secbeat_drops_total`. What a worker receives is what it handled plus these.\n\n\
         | reason | meaning |\n|---|---|\n",
    );
    for reason in DropReason::ALL {
        let _ = writeln!(page, "| `{}` | {} |", reason.name(), reason.explain());
    }
    page
}

/// Everything as JSON.
pub(super) fn json(telemetry: &Telemetry) -> Value {
    let computed = telemetry.computed();
    let object = |pairs: Vec<(&'static str, u64)>| {
        Value::Object(
            pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, _>>(),
        )
    };
    let workers = telemetry.workers().iter().enumerate().map(|(index, page)| {
        json!({
            "worker": index,
            "counters": object(Counter::ALL.iter().map(|c| (c.name(), page.get(*c))).collect()),
            "gauges": object(Gauge::ALL.iter().map(|g| (g.name(), page.gauge(*g))).collect()),
            "drops": object(DropReason::ALL.iter().map(|r| (r.name(), page.drops(*r))).collect()),
        })
    });
    let copied = lock(&telemetry.copied);
    let backends = copied.backends.iter().map(|b| {
        json!({"name": b.name, "up": b.up, "connections_active": b.active, "connections": b.connections, "failures": b.failures})
    });
    let xdp: Map<String, Value> = copied.xdp.iter().map(|c| (c.reason.clone(), c.packets.into())).collect();
    json!({
        "uptime_seconds": telemetry.uptime().as_secs(),
        "cpu_usage_percent": computed.cpu_percent,
        "memory_usage_bytes": process::memory_bytes(),
        "packets_in_per_second": computed.packets_in_per_second,
        "packets_out_per_second": computed.packets_out_per_second,
        "requests_per_second": computed.requests_per_second,
        "requests": telemetry.workers().iter().map(|page| page.requests.total()).sum::<u64>(),
        "threat_score": computed.threat_score,
        "connections_active": telemetry.connections_active(),
        "totals": object(Counter::ALL.iter().map(|c| (c.name(), telemetry.total(*c))).collect()),
        "drops": object(DropReason::ALL.iter().map(|r| (r.name(), telemetry.drops(*r))).collect()),
        "attacks_blocked": object(AttackKind::ALL.iter().map(|k| (k.name(), telemetry.attacks(*k))).collect()),
        "xdp": xdp,
        "node": object(
            NodeCounter::ALL.iter().map(|c| (c.name(), telemetry.node.get(*c)))
                .chain(NodeGauge::ALL.iter().map(|g| (g.name(), telemetry.node.gauge(*g))))
                .collect()
        ),
        "backends": backends.collect::<Vec<_>>(),
        "workers": workers.collect::<Vec<_>>(),
    })
}

/// The list under construction.
struct Families(Vec<MetricFamily>);

/// Labels and value of one sample.
type Sample = (Vec<(&'static str, String)>, f64);

impl Families {
    fn push(&mut self, name: &str, help: &str, kind: MetricType, samples: Vec<Sample>) {
        // An empty family would not be valid text; it is left out until it has a sample.
        if samples.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.into());
        family.set_help(help.into());
        family.set_field_type(kind);
        family.set_metric(samples.into_iter().map(|(labels, value)| metric(kind, labels, value)).collect());
        self.0.push(family);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.push(name, help, MetricType::COUNTER, vec![(Vec::new(), value as f64)]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.push(name, help, MetricType::GAUGE, vec![(Vec::new(), value)]);
    }

    fn counters(&mut self, name: &str, help: &str, label: &'static str, values: Vec<(String, u64)>) {
        let samples = values.into_iter().map(|(of, value)| (vec![(label, of)], value as f64)).collect();
        self.push(name, help, MetricType::COUNTER, samples);
    }

    fn gauges(&mut self, name: &str, help: &str, label: &'static str, values: Vec<(String, f64)>) {
        let samples = values.into_iter().map(|(of, value)| (vec![(label, of)], value)).collect();
        self.push(name, help, MetricType::GAUGE, samples);
    }

    /// Each family with the names of its labels.
    fn documented(&self) -> impl Iterator<Item = (&MetricFamily, Vec<&str>)> {
        self.0.iter().map(|family| {
            let first = family.get_metric().first();
            (family, first.map(|m| m.get_label().iter().map(LabelPair::name).collect()).unwrap_or_default())
        })
    }
}

fn metric(kind: MetricType, labels: Vec<(&'static str, String)>, value: f64) -> Metric {
    let labels = labels.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.into());
        pair.set_value(value);
        pair
    });
    let mut metric = Metric::from_label(labels.collect());
    if kind == MetricType::COUNTER {
        let mut counter = CounterValue::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = GaugeValue::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

/// Every metric of the node.
fn families(telemetry: &Telemetry) -> Families {
    let mut list = Families(Vec::new());
    requests::requests(&mut list, telemetry);
    traffic(&mut list, telemetry);
    security(&mut list, telemetry);
    system(&mut list, telemetry);
    if let Some(link) = telemetry.link.get() {
        agent::agent(&mut list, link);
    }
    if let Some(exports) = telemetry.exports.get() {
        export::of_sinks(&mut list, &exports.status());
    }
    workers(&mut list, telemetry);
    list
}

fn traffic(list: &mut Families, t: &Telemetry) {
    let computed = t.computed();
    list.gauge("secbeat_connections_active", "TCP connections at once.", t.connections_active() as f64);
    let opened = t.total(Counter::ConnectionsOpened);
    list.counter("secbeat_connections_total", "TCP connections opened.", opened);
    list.counters(
        "secbeat_bandwidth_bytes_total",
        "Bytes received from (in) and handed to (out) the network; socket I/O counts clients' bytes only.",
        "direction",
        vec![("in".into(), t.total(Counter::BytesIn)), ("out".into(), t.total(Counter::BytesOut))],
    );
    list.counters(
        "secbeat_packets_total",
        "Frames received from (in) and handed to (out) the network by workers.",
        "direction",
        vec![("in".into(), t.total(Counter::FramesIn)), ("out".into(), t.total(Counter::FramesOut))],
    );
    list.gauges(
        "secbeat_packets_per_second",
        "The same per second, between the last two samples.",
        "direction",
        vec![("in".into(), computed.packets_in_per_second), ("out".into(), computed.packets_out_per_second)],
    );
    list.counters(
        "secbeat_drops_total",
        "Frames dropped by workers, by reason (see below).",
        "reason",
        DropReason::ALL.iter().map(|reason| (reason.name().into(), t.drops(*reason))).collect(),
    );
    copied(list, t);
}

/// What the control thread copied in: the XDP program's counters, the backends.
fn copied(list: &mut Families, t: &Telemetry) {
    let copied = lock(&t.copied);
    let xdp = copied.xdp.iter().map(|count| (count.reason.clone(), count.packets)).collect();
    list.counters(
        "secbeat_xdp_packets_total",
        "Packets by what the XDP program did with them and why.",
        "reason",
        xdp,
    );
    let of = |value: fn(&super::BackendNumbers) -> u64| -> Vec<(String, u64)> {
        copied.backends.iter().map(|backend| (backend.name.clone(), value(backend))).collect()
    };
    let gauges =
        |values: Vec<(String, u64)>| values.into_iter().map(|(name, value)| (name, value as f64)).collect();
    list.gauges(
        "secbeat_backend_up",
        "1 when a backend takes connections.",
        "backend",
        gauges(of(|b| b.up.into())),
    );
    list.gauges(
        "secbeat_backend_connections_active",
        "Connections at once per backend.",
        "backend",
        gauges(of(|b| b.active)),
    );
    list.counters(
        "secbeat_backend_connections_total",
        "Connections per backend.",
        "backend",
        of(|b| b.connections),
    );
    list.counters(
        "secbeat_backend_failures_total",
        "Connections per backend that failed.",
        "backend",
        of(|b| b.failures),
    );
}

fn security(list: &mut Families, t: &Telemetry) {
    let attacks: Vec<_> =
        AttackKind::ALL.iter().map(|kind| (kind.name().to_owned(), t.attacks(*kind))).collect();
    let sum = attacks.iter().map(|(_, count)| count).sum();
    list.counters(
        "secbeat_attacks_blocked_total",
        "Packets refused as part of an attack, by its type.",
        "type",
        attacks,
    );
    list.counter("secbeat_blocked_attacks_total", "The same over all types.", sum);
    list.counter(
        "secbeat_attacks_detected_total",
        NodeCounter::AttacksDetected.explain(),
        t.node.get(NodeCounter::AttacksDetected),
    );
    list.gauge(
        "secbeat_attacks_active",
        NodeGauge::AttacksActive.explain(),
        t.node.gauge(NodeGauge::AttacksActive) as f64,
    );
    list.counter(
        "secbeat_blocked_ips_total",
        NodeCounter::BansSet.explain(),
        t.node.get(NodeCounter::BansSet),
    );
    list.gauge("secbeat_bans_active", NodeGauge::Bans.explain(), t.node.gauge(NodeGauge::Bans) as f64);
    for (name, counter) in [
        ("secbeat_bans_ended_total", NodeCounter::BansEnded),
        ("secbeat_bans_refused_total", NodeCounter::BansRefused),
        ("secbeat_bans_displaced_total", NodeCounter::BansDisplaced),
    ] {
        list.counter(name, counter.explain(), t.node.get(counter));
    }
    list.gauge(
        "secbeat_threat_score",
        "Share of offered packets refused as part of an attack, in percent.",
        t.computed().threat_score,
    );
    list.counter(
        "secbeat_syn_cookies_sent_total",
        Counter::CookiesSent.explain(),
        t.total(Counter::CookiesSent),
    );
    list.counter(
        "secbeat_syn_cookies_valid_total",
        Counter::CookiesValid.explain(),
        t.total(Counter::CookiesValid),
    );
}

fn system(list: &mut Families, t: &Telemetry) {
    list.gauge(
        "secbeat_cpu_usage_percent",
        "CPU time used by the process; 100 is one core.",
        t.computed().cpu_percent,
    );
    list.gauge(
        "secbeat_memory_usage_bytes",
        "Resident memory of the process, huge pages included.",
        process::memory_bytes() as f64,
    );
    list.gauge("secbeat_uptime_seconds", "Time since the start.", t.uptime().as_secs_f64());
    list.gauges(
        "secbeat_build_info",
        "Always 1; the version is in the label.",
        "version",
        vec![(env!("CARGO_PKG_VERSION").into(), 1.0)],
    );
    list.gauge("secbeat_phase", NodeGauge::Phase.explain(), t.node.gauge(NodeGauge::Phase) as f64);
    list.gauge(
        "secbeat_policy_generation",
        NodeGauge::PolicyGeneration.explain(),
        t.node.gauge(NodeGauge::PolicyGeneration) as f64,
    );
    for (name, counter) in [
        ("secbeat_events_lost_total", NodeCounter::EventsLost),
        ("secbeat_log_lines_dropped_total", NodeCounter::LogLinesDropped),
        ("secbeat_api_connections_refused_total", NodeCounter::ApiConnectionsRefused),
        ("secbeat_saves_failed_total", NodeCounter::SavesFailed),
    ] {
        list.counter(name, counter.explain(), t.node.get(counter));
    }
    list.counters(
        "secbeat_api_requests_total",
        "Requests to the management API, by result.",
        "result",
        vec![
            ("ok".into(), t.node.get(NodeCounter::ApiRequestsOk)),
            ("refused".into(), t.node.get(NodeCounter::ApiRequestsRefused)),
            ("failed".into(), t.node.get(NodeCounter::ApiRequestsFailed)),
        ],
    );
    list.counters(
        "secbeat_reloads_total",
        "Reloads of the configuration, by result.",
        "result",
        vec![
            ("done".into(), t.node.get(NodeCounter::ReloadsDone)),
            ("refused".into(), t.node.get(NodeCounter::ReloadsRefused)),
        ],
    );
}

/// One family per number of a worker, with one sample per worker.
fn workers(list: &mut Families, t: &Telemetry) {
    let pages = || t.workers().iter().enumerate().map(|(index, page)| (index.to_string(), page));
    for counter in Counter::ALL {
        let name = format!("secbeat_worker_{}_total", counter.name());
        list.counters(
            &name,
            counter.explain(),
            "worker",
            pages().map(|(of, page)| (of, page.get(*counter))).collect(),
        );
    }
    for gauge in Gauge::ALL {
        let name = format!("secbeat_worker_{}", gauge.name());
        list.gauges(
            &name,
            gauge.explain(),
            "worker",
            pages().map(|(of, page)| (of, page.gauge(*gauge) as f64)).collect(),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{BackendNumbers, XdpCount};
    use super::*;

    /// Every name that users were promised.
    const PROMISED: &[&str] = &[
        "secbeat_requests_total",
        "secbeat_requests_per_second",
        "secbeat_response_time_seconds",
        "secbeat_connections_active",
        "secbeat_connections_total",
        "secbeat_bandwidth_bytes_total",
        "secbeat_attacks_blocked_total",
        "secbeat_blocked_attacks_total",
        "secbeat_waf_rules_triggered_total",
        "secbeat_blocked_ips_total",
        "secbeat_threat_score",
        "secbeat_syn_cookies_sent_total",
        "secbeat_syn_cookies_valid_total",
        "secbeat_cpu_usage_percent",
        "secbeat_memory_usage_bytes",
        "secbeat_uptime_seconds",
        "secbeat_tls_handshakes_total",
    ];

    #[test]
    fn every_promised_metric_is_exported_with_help_and_type() {
        let text = Telemetry::new(vec![Arc::default()]).prometheus();
        for name in PROMISED {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
            assert!(text.contains(&format!("# TYPE {name} ")), "{name} has no type");
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} has no value");
        }
    }

    #[test]
    fn names_are_unique_and_counters_end_in_total() {
        let telemetry = Telemetry::new(vec![Arc::default()]);
        let list = families(&telemetry);
        let mut names: Vec<_> = list.0.iter().map(|family| family.name().to_owned()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for family in &list.0 {
            let is_counter = family.get_field_type() == MetricType::COUNTER;
            assert_eq!(family.name().ends_with("_total"), is_counter, "{}", family.name());
            assert!(family.help().ends_with('.') || family.help().ends_with("below)."), "{}", family.help());
        }
    }

    #[test]
    fn values_reach_the_text() {
        let telemetry = Telemetry::new(vec![Arc::default(), Arc::default()]);
        telemetry.workers()[1].add(Counter::CookiesValid, 5);
        telemetry.workers()[0].add_drops(DropReason::CookieInvalid, 7);
        telemetry.workers()[0].add_attack(AttackKind::AckFlood, 9);
        telemetry.set_xdp(vec![XdpCount { reason: "drop_blocklist".into(), packets: 11 }]);
        telemetry.set_backends(vec![BackendNumbers {
            name: "a\"b".into(),
            up: true,
            active: 1,
            connections: 2,
            failures: 3,
        }]);
        let text = telemetry.prometheus();
        for line in [
            "secbeat_syn_cookies_valid_total 5",
            "secbeat_worker_cookies_valid_total{worker=\"1\"} 5",
            "secbeat_drops_total{reason=\"cookie_invalid\"} 7",
            "secbeat_attacks_blocked_total{type=\"ack_flood\"} 9",
            "secbeat_blocked_attacks_total 9",
            "secbeat_xdp_packets_total{reason=\"drop_blocklist\"} 11",
            "secbeat_backend_up{backend=\"a\\\"b\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        let json = telemetry.json();
        assert_eq!(json["drops"]["cookie_invalid"], 7);
        assert_eq!(json["workers"][1]["counters"]["cookies_valid"], 5);
    }

    #[test]
    fn documentation_names_every_metric_and_drop_reason() {
        let page = docs();
        for name in PROMISED {
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
        }
        for reason in DropReason::ALL {
            assert!(page.contains(&format!("| `{}` | {} |", reason.name(), reason.explain())));
        }
    }
}
