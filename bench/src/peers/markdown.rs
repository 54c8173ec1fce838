//! The report as a page: tables of medians and spread, rendered from the result alone.
//!
//! Owns: which figures are shown and how. Every subject and case that was measured is in the tables, the unfavourable
//! ones too; what failed is listed with its reason. Nothing here computes a figure that `result` and `bars` do not
//! have.

use std::fmt::Write as _;

use super::bars::Bar;
use super::host::Host;
use super::result::{Document, Row};
use super::setup::Front;
use super::{floods, memory, plot, requests, traffic};
use crate::stats;

/// The whole page; `name` is that of the result's files.
pub(super) fn page(document: &Document, name: &str) -> String {
    let mut text = String::from("# SecBeat beside its peers\n\n");
    let repetitions =
        document.rows.iter().flat_map(|row| row.metrics.values().map(Vec::len)).max().unwrap_or(0);
    let _ = writeln!(
        text,
        "Rendered from `{name}.json` by `secbeat-bench report`; every sample is there. One run of {:.0} minutes, subjects in turns, \
         medians of {repetitions}; behind each the half range of the repetitions. Only ratios between rows of one table \
         mean anything on another machine.\n",
        document.seconds / 60.0,
    );
    if !document.complete {
        text.push_str("**This run did not come to its end: chapters or repetitions are missing.**\n\n");
    }
    host(&mut text, &document.host);
    bars(&mut text, &document.bars);
    flood_tables(&mut text, document, name);
    traffic_table(&mut text, document);
    for front in [Front::Socket, Front::Xdp] {
        request_tables(&mut text, document, front, name);
    }
    memory_table(&mut text, document);
    errors(&mut text, document);
    text
}

fn host(text: &mut String, host: &Host) {
    let kind = if host.hypervisor { "virtual" } else { "physical" };
    let mut rows = vec![
        ("machine", format!("{kind}, {}, {} cores, {} MiB", host.cpu, host.cores, host.memory_mib)),
        ("clock governor", host.governor.clone()),
        ("system", format!("{}, kernel {}", host.system, host.kernel)),
        ("load average at the start", format!("{:.2}", host.load_average)),
        ("source", host.source.clone()),
        ("command", format!("`{}`", host.command)),
    ];
    rows.extend(host.versions.iter().map(|(name, version)| (name.as_str(), version.clone())));
    rows.extend(host.lab.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let mitigations: Vec<String> =
        host.mitigations.iter().map(|(name, how)| format!("{name} ({how})")).collect();
    rows.push(("mitigations", mitigations.join(", ")));
    text.push_str("## Where and how\n\n| | |\n|---|---|\n");
    for (name, value) in rows {
        let _ = writeln!(text, "| {} | {} |", name.replace('_', " "), value.replace('|', "/"));
    }
    text.push('\n');
}

/// The bars as a table.
pub(super) fn bars(text: &mut String, bars: &[Bar]) {
    if bars.is_empty() {
        return;
    }
    text.push_str("## Bars\n\n| bar | measured | must be | |\n|---|---|---|---|\n");
    for bar in bars {
        let _ = writeln!(text, "| {} |", bar.cells().join(" | "));
    }
    text.push_str("\nOne by one decides; fifty at a time is shown beside it.\n\n");
}

/// A table with subjects as rows and cases as columns; nothing when no cell has a figure.
fn matrix(
    text: &mut String,
    document: &Document,
    chapter: &str,
    title: &str,
    cell: impl Fn(&Row) -> Option<String>,
) {
    let cases = document.cases(chapter);
    let mut lines = String::new();
    let mut filled = false;
    for subject in document.subjects(chapter) {
        let cells: Vec<String> = cases
            .iter()
            .map(|case| {
                let found = document.find(chapter, subject, case).and_then(&cell);
                filled |= found.is_some();
                found.unwrap_or("-".to_owned())
            })
            .collect();
        let _ = writeln!(lines, "| {subject} | {} |", cells.join(" | "));
    }
    if filled {
        let _ =
            writeln!(text, "{title}:\n\n| | {} |\n|---|{}", cases.join(" | "), "---|".repeat(cases.len()));
        let _ = writeln!(text, "{lines}");
    }
}

/// Median and half range of a figure, in percent of the median.
pub(super) fn shown(row: &Row, metric: &str, show: impl Fn(f64) -> String) -> Option<String> {
    let samples = row.samples(metric);
    let median = stats::median(samples)?;
    let lowest = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let text = show(median);
    if samples.len() < 2 || median == 0.0 {
        return Some(text);
    }
    Some(format!("{text} ±{:.0} %", 50.0 * (highest - lowest) / median.abs()))
}

fn time(us: f64) -> String {
    stats::show_us(us as u64)
}

fn percent(value: f64) -> String {
    format!("{value:.0} %")
}

fn mib(kib: f64) -> String {
    format!("{:.1} MiB", kib / 1024.0)
}

/// Of all repetitions together.
fn success(row: &Row, kind: &str) -> Option<String> {
    let count = row.sum(&format!("{kind}_count"));
    let succeeded = row.sum(&format!("{kind}_succeeded_count"));
    (count > 0.0).then(|| match succeeded == count {
        true => format!("100 % of {count:.0}"),
        // Never rounded up to 100.
        false => format!("{:.2} %", (1e4 * succeeded / count).floor() / 100.0),
    })
}

fn flood_tables(text: &mut String, document: &Document, name: &str) {
    let chapter = floods::CHAPTER;
    if document.chapter(chapter).next().is_none() {
        return;
    }
    text.push_str(
        "## SYN floods\n\nSYNs from random sources at the rate above each column. The bare programs are ceilings and no \
         defence; the honest client reaches the server beside them on an interface of its own.\n\n",
    );
    for (file, what) in plot::FLOOD_PLOTS {
        let _ = writeln!(text, "![{what}]({name}-{file}.svg)");
    }
    text.push('\n');
    let count = |metric: &'static str| move |row: &Row| shown(row, metric, stats::show_count);
    matrix(text, document, chapter, "SYN-ACKs per second sent", count("made_pps"));
    matrix(
        text,
        document,
        chapter,
        "SYN-ACKs per second that the attacker's core could take",
        count("answers_pps"),
    );
    for (kind, words) in [("one_by_one", "one by one"), ("at_once", "fifty at a time")] {
        let title = format!("Honest connections that succeed, {words}");
        matrix(text, document, chapter, &title, |row| success(row, kind));
        let p50 = format!("{kind}_p50_us");
        let p99 = format!("{kind}_p99_us");
        let title = format!("Connect and GET of those, {words}, p50 / p99");
        matrix(text, document, chapter, &title, |row| {
            let p50 = row.median(&p50).map(time)?;
            Some(format!("{p50} / {}", shown(row, &p99, time)?))
        });
    }
    matrix(text, document, chapter, "SYNs per second really sent", count("offered_pps"));
    matrix(text, document, chapter, "The defender's core is busy (client and origin included)", |row| {
        row.median("core_busy_percent").map(percent)
    });
    matrix(text, document, chapter, "Of that, the defender's processes / the attacker's interface", |row| {
        let process = row.median("process_busy_percent").map(percent)?;
        Some(format!("{process} / {}", row.median("receive_busy_percent").map(percent)?))
    });
    matrix(text, document, chapter, "Processor time of the defender for one answer", |row| {
        shown(row, "cpu_ns_per_answer", |ns| format!("{ns:.0} ns"))
    });
    matrix(
        text,
        document,
        chapter,
        "Memory of the defender's processes, and growth of the kernel's slabs",
        |row| {
            let resident = row.median("resident_kib").map(mib)?;
            Some(format!("{resident} / {:+.1} MiB", row.median("slab_growth_kib")? / 1024.0))
        },
    );
}

/// Head of a column, its figure, and how that is shown.
type Column<'a> = (&'a str, &'a str, fn(f64) -> String);

/// A table with figures as columns.
fn columns(text: &mut String, document: &Document, chapter: &str, case: &str, figures: &[Column<'_>]) {
    let rows: Vec<&Row> = document.chapter(chapter).filter(|row| row.case == case).collect();
    if rows.is_empty() {
        return;
    }
    let heads: Vec<&str> = figures.iter().map(|(head, _, _)| *head).collect();
    let _ = writeln!(text, "| {case} | {} |\n|---|{}", heads.join(" | "), "---|".repeat(heads.len()));
    for row in rows {
        let cells: Vec<String> = figures
            .iter()
            .map(|(_, metric, show)| shown(row, metric, show).unwrap_or("-".to_owned()))
            .collect();
        let _ = writeln!(text, "| {} | {} |", row.subject, cells.join(" | "));
    }
    text.push('\n');
}

fn traffic_table(text: &mut String, document: &Document) {
    if document.chapter(traffic::CHAPTER).next().is_none() {
        return;
    }
    text.push_str(
        "## Connections and bulk\n\nWithout a flood, through every defender. Core 0 has wrk and the origin, so it may be the \
         narrower part; the figures per second of the defender's core show what that core could do. The kernel listener \
         has the files itself.\n\n",
    );
    columns(
        text,
        document,
        traffic::CHAPTER,
        traffic::FRESH,
        &[
            ("connections/s", "connections_per_second", stats::show_count),
            ("per CPU-second", "connections_per_cpu_second", stats::show_count),
            ("p50", "p50_us", time),
            ("p99", "p99_us", time),
            ("core busy", "core_busy_percent", percent),
            ("failed", "failed_count", stats::show_count),
        ],
    );
    columns(
        text,
        document,
        traffic::CHAPTER,
        traffic::BULK,
        &[
            ("bits/s", "goodput_bits_per_second", stats::show_count),
            ("per CPU-second", "goodput_bits_per_cpu_second", stats::show_count),
            ("core busy", "core_busy_percent", percent),
            ("failed", "failed_count", stats::show_count),
        ],
    );
}

fn request_tables(text: &mut String, document: &Document, front: Front, name: &str) {
    let (chapter, latency) = (requests::chapter(front), requests::latency_chapter(front));
    if document.chapter(chapter).next().is_none() {
        return;
    }
    let _ = writeln!(
        text,
        "## Requests, SecBeat on {}\n\nKeep-alive GET of 1 KB on 32 connections, one worker on one core each{}.\n",
        front.name(),
        match front {
            Front::Socket => ", everything on loopback",
            Front::Xdp =>
                "; over the veth links of a lab, where each packet is copied twice more and nothing is offloaded; \
                           the peers on kernel sockets over the same links",
        }
    );
    if front == Front::Socket {
        let _ = writeln!(text, "![requests per CPU-second]({name}-{}.svg)\n", plot::REQUESTS_PLOT);
    }
    for case in document.cases(chapter) {
        columns(
            text,
            document,
            chapter,
            case,
            &[
                ("per CPU-second", "requests_per_cpu_second", stats::show_count),
                ("CPU/request", "cpu_us_per_request", |us| format!("{us:.1} us")),
                ("requests/s", "requests_per_second", stats::show_count),
                ("p50", "p50_us", time),
                ("p99", "p99_us", time),
                ("memory", "resident_kib", mib),
            ],
        );
    }
    if document.chapter(latency).next().is_some() {
        text.push_str("Latency at half load, the same rate for all, and what each adds to the origin asked directly:\n\n");
    }
    let signed = |us: f64| format!("{us:+.0} us");
    for case in document.cases(latency) {
        columns(
            text,
            document,
            latency,
            case,
            &[
                ("asked/s", "asked_per_second", stats::show_count),
                ("p50", "p50_us", time),
                ("p99", "p99_us", time),
                ("adds, p50", "added_p50_us", signed),
                ("adds, p99", "added_p99_us", signed),
            ],
        );
    }
}

fn memory_table(text: &mut String, document: &Document) {
    if document.chapter(memory::CHAPTER).next().is_none() {
        return;
    }
    text.push_str(
        "## Idle connections\n\nEach made one request and stays; memory of all processes of the proxy.\n\n",
    );
    for case in document.cases(memory::CHAPTER) {
        columns(
            text,
            document,
            memory::CHAPTER,
            case,
            &[
                ("connections", "connections_count", stats::show_count),
                ("before", "resident_before_kib", mib),
                ("with them", "resident_kib", mib),
                ("each", "bytes_per_connection", |bytes| format!("{bytes:.0} B")),
            ],
        );
    }
}

fn errors(text: &mut String, document: &Document) {
    let failed: Vec<&Row> = document.rows.iter().filter(|row| !row.errors.is_empty()).collect();
    if failed.is_empty() {
        return;
    }
    text.push_str("## What could not be measured\n\n");
    for row in failed {
        let mut causes = row.errors.clone();
        causes.dedup();
        let _ = writeln!(
            text,
            "* {}, {}, {}: {} of the repetitions: {}",
            row.chapter,
            row.subject,
            row.case,
            row.errors.len(),
            causes.join("; ").replace('\n', " ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let mut document = Document::begin(Host::default(), 0);
        for (succeeded, answers) in [(200.0, 1e6), (199.0, 1.2e6)] {
            let row = document.row(floods::CHAPTER, "SecBeat syn", "1 M/s");
            row.add("answers_pps", answers);
            row.add("made_pps", answers);
            row.add("one_by_one_count", 200.0);
            row.add("one_by_one_succeeded_count", succeeded);
        }
        document.row(floods::CHAPTER, "HAProxy, TCP mode", "1 M/s").errors.push("no haproxy".to_owned());
        document
    }

    #[test]
    fn a_failure_is_never_rounded_away() {
        let row = &document().rows[0];
        assert_eq!(success(row, "one_by_one").unwrap(), "99.75 %");
        let mut large = Row::default();
        large.add("x_count", 99_999.0);
        large.add("x_succeeded_count", 99_998.0);
        assert_eq!(success(&large, "x").unwrap(), "99.99 %");
    }

    #[test]
    fn medians_have_their_spread_and_failures_their_reason() {
        let text = page(&document(), "peers");
        assert!(text.contains("| SecBeat syn | 1.00 M ±10 % |"), "{text}");
        assert!(text.contains("| HAProxy, TCP mode | - |"), "{text}");
        assert!(
            text.contains("* floods, HAProxy, TCP mode, 1 M/s: 1 of the repetitions: no haproxy"),
            "{text}"
        );
        assert!(text.contains("did not come to its end"), "an incomplete run says so");
    }
}
