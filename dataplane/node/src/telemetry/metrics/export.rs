//! Metrics of the way to a SIEM, one set per `[[export]]`. Only a node that has one has them.

use prometheus::proto::MetricType;
use secbeat_export::SinkStatus;

use super::Families;

/// A counter's name, help, and value.
type Total = (&'static str, &'static str, fn(&SinkStatus) -> u64);

/// Every metric of the sinks.
pub(super) fn of_sinks(list: &mut Families, sinks: &[SinkStatus]) {
    if sinks.is_empty() {
        return;
    }
    let labelled =
        |value: fn(&SinkStatus) -> f64| sinks.iter().map(|sink| (sink.name.clone(), value(sink))).collect();
    list.gauges(
        "secbeat_export_open",
        "1 while the file or connection of a sink works.",
        "sink",
        labelled(|sink| if sink.is_open { 1.0 } else { 0.0 }),
    );
    list.gauges(
        "secbeat_export_waiting",
        "Records that wait to be sent.",
        "sink",
        labelled(|sink| sink.waiting as f64),
    );
    list.gauges(
        "secbeat_export_waiting_bytes",
        "Memory that records which wait take.",
        "sink",
        labelled(|sink| sink.waiting_bytes as f64),
    );
    let totals: [Total; 4] = [
        ("secbeat_export_queued_total", "Records taken into a sink's queue.", |sink| sink.queued),
        ("secbeat_export_sent_total", "Records handed to the kernel; nothing acknowledges more.", |sink| {
            sink.sent
        }),
        ("secbeat_export_opened_total", "Times a sink's file or connection was opened.", |sink| sink.opened),
        (
            "secbeat_export_failures_total",
            "Attempts to open or to send that failed; the records wait and are sent again.",
            |sink| sink.failures,
        ),
    ];
    for (name, help, value) in totals {
        list.counters(
            name,
            help,
            "sink",
            sinks.iter().map(|sink| (sink.name.clone(), value(sink))).collect(),
        );
    }
    let lost = sinks.iter().flat_map(|sink| {
        let labels = |why: &str| vec![("sink", sink.name.clone()), ("reason", why.to_owned())];
        sink.lost.iter().map(move |(why, count)| (labels(why), *count as f64))
    });
    list.push(
        "secbeat_export_lost_total",
        "Records lost: the queue was full, they were too long, the file had its largest size, the receiver's host \
         refused a datagram, or the node ended.",
        MetricType::COUNTER,
        lost.collect(),
    );
}

/// A sink for the documentation.
pub(super) fn sample() -> SinkStatus {
    SinkStatus { name: "siem".to_owned(), lost: vec![("queue_full", 0)], ..SinkStatus::default() }
}
