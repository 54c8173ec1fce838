//! Metrics of requests: what `l7` listeners have served, and what was wrong with the rest.

use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};
use secbeat_http::error::Error;
use secbeat_http::h2::Violation;

use super::super::Telemetry;
use super::super::counters::Counter;
use super::super::node::NodeCounter;
use super::super::requests::{BUCKETS_SECONDS, METHODS, RequestCounters};
use super::Families;
use crate::session::tls::Outcome;

/// Timeouts: label `phase`.
const TIMEOUTS: [(&str, Counter); 8] = [
    ("tls_handshake", Counter::TimeoutsTlsHandshake),
    ("request_head", Counter::TimeoutsRequestHead),
    ("request_body", Counter::TimeoutsRequestBody),
    ("response", Counter::TimeoutsResponse),
    ("keep_alive", Counter::TimeoutsKeepAlive),
    ("upstream", Counter::TimeoutsUpstream),
    ("tunnel", Counter::TimeoutsTunnel),
    ("total", Counter::TimeoutsTotal),
];

/// Limits of rates: label `limit`.
const LIMITS: [(&str, Counter); 3] = [
    ("source", Counter::RequestsLimitedSource),
    ("route", Counter::RequestsLimitedRoute),
    ("global", Counter::RequestsLimitedGlobal),
];

/// What the WAF did.
const WAF: [(&str, Counter); 8] = [
    ("secbeat_waf_transactions_total", Counter::WafTransactions),
    ("secbeat_waf_interrupted_total", Counter::WafInterrupted),
    ("secbeat_waf_detected_total", Counter::WafDetected),
    ("secbeat_waf_sanitized_total", Counter::WafSanitized),
    ("secbeat_waf_responses_encoded_total", Counter::WafResponsesEncoded),
    ("secbeat_waf_held_full_total", Counter::WafHeldFull),
    ("secbeat_waf_tarpitted_total", Counter::WafTarpitted),
    ("secbeat_waf_tarpit_full_total", Counter::WafTarpitFull),
];

/// Its bounds: label `limit`.
const WAF_LIMITS: [(&str, Counter); 6] = [
    ("work", Counter::WafLimitWork),
    ("data", Counter::WafLimitData),
    ("arguments", Counter::WafLimitArguments),
    ("request_body", Counter::WafLimitRequestBody),
    ("response_body", Counter::WafLimitResponseBody),
    ("matches", Counter::WafLimitMatches),
];

/// Adds them.
pub(super) fn requests(list: &mut Families, t: &Telemetry) {
    answered(list, t);
    list.gauge(
        "secbeat_requests_per_second",
        "HTTP requests per second, between the last two samples.",
        t.computed().requests_per_second,
    );
    list.0.push(times(t));
    list.counters(
        "secbeat_requests_limited_total",
        "HTTP requests answered with 429, by the limit they were over.",
        "limit",
        by_counter(t, &LIMITS),
    );
    list.counter(
        "secbeat_requests_blocked_total",
        Counter::RequestsBlocked.explain(),
        t.total(Counter::RequestsBlocked),
    );
    list.counters(
        "secbeat_request_errors_total",
        "Requests that were not HTTP as it must be, by what was wrong.",
        "error",
        Error::ALL.iter().map(|error| (error.name().into(), sum(t, |page| page.errors(*error)))).collect(),
    );
    list.counters(
        "secbeat_http2_violations_total",
        "Streams and connections of HTTP/2 that were ended by the client's fault, by what it did.",
        "violation",
        Violation::ALL
            .iter()
            .map(|violation| (violation.name().into(), sum(t, |page| page.violations(*violation))))
            .collect(),
    );
    list.counters(
        "secbeat_request_timeouts_total",
        "Sessions and requests ended because something took too long, by what it was.",
        "phase",
        by_counter(t, &TIMEOUTS),
    );
    list.counters(
        "secbeat_tls_handshakes_total",
        "TLS handshakes by result.",
        "result",
        Outcome::ALL
            .iter()
            .map(|outcome| (outcome.name().into(), sum(t, |page| page.handshakes(*outcome))))
            .collect(),
    );
    waf(list, t);
}

/// What rules found.
fn waf(list: &mut Families, t: &Telemetry) {
    let mut hits = t.waf_hits();
    if hits.is_empty() {
        // The family is there from the start, so that a query for it finds something.
        hits.push(("none".to_owned(), 0));
    }
    let help = "Requests and responses that a WAF rule matched, by rule.";
    list.counters("secbeat_waf_rules_triggered_total", help, "rule", hits);
    for (name, counter) in WAF {
        list.counter(name, counter.explain(), t.total(counter));
    }
    let help = "Requests and responses at a bound of the WAF, by bound.";
    list.counters("secbeat_waf_limits_total", help, "limit", by_counter(t, &WAF_LIMITS));
    let help = "Records of the WAF's audit log lost because the writer was too slow or could not write.";
    list.counter("secbeat_waf_audit_lost_total", help, t.node.get(NodeCounter::AuditLinesLost));
}

fn sum(t: &Telemetry, of: impl Fn(&RequestCounters) -> u64) -> u64 {
    t.workers().iter().map(|page| of(&page.requests)).fold(0, u64::wrapping_add)
}

fn by_counter(t: &Telemetry, list: &[(&str, Counter)]) -> Vec<(String, u64)> {
    list.iter().map(|(name, counter)| ((*name).to_owned(), t.total(*counter))).collect()
}

fn answered(list: &mut Families, t: &Telemetry) {
    let mut counts = std::collections::BTreeMap::new();
    for page in t.workers() {
        for (method, status, count) in page.requests.answered() {
            *counts.entry((method, status)).or_insert(0u64) += count;
        }
    }
    // The family is there from the start, so that a query for it finds something.
    counts.entry((0, 200)).or_insert(0);
    let samples = counts.into_iter().map(|((method, status), count)| {
        let method = METHODS.get(method).copied().unwrap_or("other");
        (vec![("method", method.to_owned()), ("status", status.to_string())], count as f64)
    });
    let help = "HTTP requests by method and status; 499: the client or the node went before an answer.";
    list.push("secbeat_requests_total", help, MetricType::COUNTER, samples.collect());
}

fn times(t: &Telemetry) -> MetricFamily {
    let mut counts = [0u64; BUCKETS_SECONDS.len() + 1];
    for page in t.workers() {
        for (sum, count) in counts.iter_mut().zip(page.requests.times()) {
            *sum += count;
        }
    }
    let mut histogram = Histogram::default();
    let buckets = BUCKETS_SECONDS.iter().zip(counts).map(|(end, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*end);
        bucket.set_cumulative_count(count);
        bucket
    });
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.last().copied().unwrap_or_default());
    histogram.set_sample_sum(t.workers().iter().map(|page| page.requests.time_seconds()).sum());
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    let mut family = MetricFamily::default();
    family.set_name("secbeat_response_time_seconds".into());
    family.set_help("Time from a request's head to the end of its response.".into());
    family.set_field_type(MetricType::HISTOGRAM);
    family.set_metric(vec![metric]);
    family
}
