//! Metrics of the orchestrator and its health, over HTTP.
//!
//! Owns: names (`secbeat_orchestrator_*`) and the endpoint: `/metrics`, `/health`. Values are read from the parts when
//! they are asked for; nothing is counted twice. Does not own: metrics of nodes (their own endpoints, and `GetNode`).

use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::proto::{Counter as CounterValue, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder as _, TextEncoder};
use secbeat_export::SinkStatus;
use tokio::net::TcpListener;

use crate::api::counters::Counter;
use crate::orchestrator::Orchestrator;
use crate::registry::Phase;

/// Serves until `stop` ends.
///
/// # Errors
/// What the listener says.
pub async fn serve(
    o: Orchestrator,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let routes = Router::new().route("/metrics", get(metrics)).route("/health", get(health)).with_state(o);
    axum::serve(listener, routes).with_graceful_shutdown(stop).await?;
    Ok(())
}

async fn metrics(State(o): State<Orchestrator>) -> impl IntoResponse {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&families(&o), &mut text) {
        Ok(()) => (StatusCode::OK, [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text),
        Err(error) => {
            let text = error.to_string().into_bytes();
            (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], text)
        }
    }
}

/// 200 while the store can be written, 503 when it only can be read.
async fn health(State(o): State<Orchestrator>) -> impl IntoResponse {
    let is_read_only = o.store.stats().is_read_only;
    let status = if is_read_only { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body = serde_json::json!({
        "status": if is_read_only { "read-only" } else { "ok" },
        "orchestrator_id": o.id.to_string(),
        "epoch": o.epoch,
        "policy_revision": o.policy.newest().revision,
        "nodes_connected": o.sessions.len(),
    });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string())
}

/// Every metric, now.
pub fn families(o: &Orchestrator) -> Vec<MetricFamily> {
    let mut all = Families(Vec::new());
    fleet(o, &mut all);
    streams(o, &mut all);
    store(o, &mut all);
    tasks(o, &mut all);
    lists(o, &mut all);
    refusals(o, &mut all);
    exports(o, &mut all);
    all.0
}

fn fleet(o: &Orchestrator, all: &mut Families) {
    let targets = o.policy.targets().borrow().clone();
    let nodes = o.registry.nodes();
    let count = |phase: Phase| nodes.values().filter(|node| node.phase == phase).count() as f64;
    let words = [
        (Phase::Starting, "starting"),
        (Phase::Active, "active"),
        (Phase::Draining, "draining"),
        (Phase::Dead, "dead"),
    ];
    let phases = words.map(|(phase, word)| (vec![("state", word)], count(phase)));
    all.gauge("nodes", "Known nodes by state.", &phases);
    let connected = nodes.values().filter(|node| node.is_connected());
    let in_sync =
        connected.filter(|node| node.progress.applied_hash == Some(targets.of(node.facts.id).hash()));
    all.gauge(
        "nodes_in_sync",
        "Connected nodes that hold what they should.",
        &[(vec![], in_sync.count() as f64)],
    );
    let refused: usize = nodes.values().map(|node| node.refusals().count()).sum();
    all.gauge("resources_refused", "Resources that nodes refuse now.", &[(vec![], refused as f64)]);
    all.gauge(
        "policy_revision",
        "Newest revision of the policy.",
        &[(vec![], targets.newest.revision as f64)],
    );
    all.gauge("policy_resources", "Resources in it.", &[(vec![], targets.newest.set.len() as f64)]);
    let running = f64::from(u8::from(o.policy.rollouts().running().is_some()));
    all.gauge("rollout_running", "Whether a rollout runs or waits.", &[(vec![], running)]);
    all.gauge("uptime_seconds", "Since the start.", &[(vec![], o.started.elapsed().as_secs_f64())]);
    all.gauge("epoch", "Number of this start; nodes refuse lower ones.", &[(vec![], o.epoch as f64)]);
}

fn streams(o: &Orchestrator, all: &mut Families) {
    let counters = o.sessions.counters();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    all.gauge("streams", "Open streams of nodes.", &[(vec![], o.sessions.len() as f64)]);
    let simple = [
        ("streams_opened_total", "Streams that got a welcome.", &counters.opened),
        ("streams_ended_total", "Streams that ended.", &counters.ended),
        ("streams_refused_total", "Streams that were refused.", &counters.refused),
        ("messages_unknown_total", "Messages of unknown kinds, ignored.", &counters.unknown),
        ("policy_deltas_total", "Policy deltas sent.", &counters.deltas),
        ("policy_delta_bytes_total", "Bytes of these.", &counters.delta_bytes),
        ("policy_rejections_total", "Resources that nodes refused.", &counters.rejections),
        ("policy_wholes_total", "Patches that did not fit.", &counters.wholes),
    ];
    for (name, help, counter) in simple {
        all.counter(name, help, &[(vec![], read(counter))]);
    }
    let closed = [("replaced", &counters.replaced), ("slow", &counters.slow), ("silent", &counters.silent)];
    let closed = closed.map(|(why, counter)| (vec![("reason", why)], read(counter)));
    all.counter("streams_closed_total", "Streams that the orchestrator closed.", &closed);
}

fn store(o: &Orchestrator, all: &mut Families) {
    let stats = o.store.stats();
    all.counter("store_commits_total", "Transactions on the disk.", &[(vec![], stats.commits as f64)]);
    all.counter("store_batches_total", "Durable commits.", &[(vec![], stats.batches as f64)]);
    all.counter(
        "store_failed_total",
        "Transactions lost to a failure, as their callers were told.",
        &[(vec![], stats.failed as f64)],
    );
    all.counter(
        "store_refused_total",
        "Transactions refused: the queue was full.",
        &[(vec![], stats.refused as f64)],
    );
    all.counter(
        "store_corrupt_values_total",
        "Damaged values met.",
        &[(vec![], stats.corrupt_values as f64)],
    );
    all.gauge("store_queue_depth", "Transactions that wait.", &[(vec![], stats.queue_depth as f64)]);
    if let Ok(bytes) = o.store.size_bytes() {
        all.gauge("store_bytes", "Size on the disk.", &[(vec![], bytes as f64)]);
    }
}

fn tasks(o: &Orchestrator, all: &mut Families) {
    let tallies = o.tallies.all();
    let each = |value: fn(&crate::task::Tally) -> f64| {
        tallies.map(|(name, tally)| (vec![("task", name)], value(tally)))
    };
    let runs = each(|tally| tally.runs.load(Ordering::Relaxed) as f64);
    all.counter("task_runs_total", "Runs of reconcilers.", &runs);
    let failures = each(|tally| tally.failures.load(Ordering::Relaxed) as f64);
    all.counter("task_failures_total", "Runs that failed.", &failures);
    let busy = each(|tally| tally.busy_us.load(Ordering::Relaxed) as f64 / 1e6);
    all.counter("task_busy_seconds_total", "Time of all runs.", &busy);
}

fn lists(o: &Orchestrator, all: &mut Families) {
    let bans = o.bans.numbers();
    all.gauge("bans", "Bans in force.", &[(vec![], bans.active as f64)]);
    all.gauge("ban_entries", "Entries of the ban list, ended ones too.", &[(vec![], bans.entries as f64)]);
    all.counter(
        "ban_entries_malformed_total",
        "Entries of nodes that cannot be understood.",
        &[(vec![], bans.malformed as f64)],
    );
    all.counter(
        "ban_reports_lost_total",
        "Reports of hits without room.",
        &[(vec![], bans.hits_lost as f64)],
    );
    let events = o.events.numbers();
    all.gauge("events", "Events in the store.", &[(vec![], events.stored as f64)]);
    all.gauge("events_waiting", "Events that wait to be stored.", &[(vec![], events.waiting as f64)]);
    all.counter("events_ingested_total", "Events taken in.", &[(vec![], events.ingested as f64)]);
    all.counter("events_lost_total", "Events that nodes lost.", &[(vec![], events.lost as f64)]);
    all.counter(
        "event_blocks_damaged_total",
        "Blocks that could not be read.",
        &[(vec![], events.damaged_blocks as f64)],
    );
}

fn refusals(o: &Orchestrator, all: &mut Families) {
    let counters = &o.access.counters;
    let values = Counter::ALL.map(|(counter, name)| (vec![("what", name)], counters.get(counter) as f64));
    all.counter("api_refusals_total", "What the faces refused.", &values);
}

fn exports(o: &Orchestrator, all: &mut Families) {
    let sinks = o.exports.status();
    if sinks.is_empty() {
        return;
    }
    let each = |value: fn(&SinkStatus) -> f64| -> Vec<Value<'_>> {
        sinks.iter().map(|sink| (vec![("sink", sink.name.as_str())], value(sink))).collect()
    };
    let open = each(|sink| f64::from(u8::from(sink.is_open)));
    all.gauge("export_open", "Whether a sink's file or connection works.", &open);
    all.gauge("export_waiting", "Records that wait to be sent.", &each(|sink| sink.waiting as f64));
    let bytes = each(|sink| sink.waiting_bytes as f64);
    all.gauge("export_waiting_bytes", "Memory that they take.", &bytes);
    all.counter(
        "export_queued_total",
        "Records taken into a sink's queue.",
        &each(|sink| sink.queued as f64),
    );
    all.counter("export_sent_total", "Records handed to the kernel.", &each(|sink| sink.sent as f64));
    all.counter("export_opened_total", "Times a sink was opened.", &each(|sink| sink.opened as f64));
    let failures = each(|sink| sink.failures as f64);
    all.counter("export_failures_total", "Attempts to open or to send that failed.", &failures);
    let lost: Vec<_> = sinks
        .iter()
        .flat_map(|sink| {
            sink.lost
                .iter()
                .map(|(why, count)| (vec![("sink", sink.name.as_str()), ("reason", *why)], *count as f64))
        })
        .collect();
    all.counter("export_lost_total", "Records lost, by reason.", &lost);
}

type Value<'a> = (Vec<(&'a str, &'a str)>, f64);

struct Families(Vec<MetricFamily>);

impl Families {
    fn counter(&mut self, name: &str, help: &str, values: &[Value<'_>]) {
        self.add(name, help, MetricType::COUNTER, values);
    }

    fn gauge(&mut self, name: &str, help: &str, values: &[Value<'_>]) {
        self.add(name, help, MetricType::GAUGE, values);
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, values: &[Value<'_>]) {
        let mut family = MetricFamily::default();
        family.set_name(format!("secbeat_orchestrator_{name}"));
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(values.iter().map(|(labels, value)| metric(kind, labels, *value)).collect());
        self.0.push(family);
    }
}

fn metric(kind: MetricType, labels: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = Metric::default();
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    metric.set_label(pairs.collect());
    if kind == MetricType::COUNTER {
        let mut counter = CounterValue::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}
