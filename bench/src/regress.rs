//! `regress`: two result files, row by row; fails on a real regression and not on noise.
//!
//! Owns: reading both kinds of result (`peers`, `scenario`), pairing their rows, the table, the exit code. What
//! counts as a change is decided in `noise`. Only rows of SecBeat are judged. The peers' rows of the same chapter and
//! figure tell how the machine itself has changed between the two runs; that drift is shown, and taken out of
//! SecBeat's change.

mod noise;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::peers::result::{Document, Row};
use crate::stats;
use noise::{Change, Scale, Typical, Verdict};

/// Options of `regress`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Result of before
    old: PathBuf,
    /// Result of now
    new: PathBuf,
    /// A change that is smaller than this is none, in percent
    #[arg(long, default_value_t = 5.0)]
    tolerance_percent: f64,
    /// Show every row, not only what changed
    #[arg(long)]
    all: bool,
}

/// Whether more of a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    Higher,
    Lower,
}

/// Beginnings and ends of the figures that are judged; what is in no line of this is only reported by `peers`.
const JUDGED: &[(&str, Better, Scale)] = &[
    ("success_percent", Better::Higher, Scale::Points),
    ("answers_pps", Better::Higher, Scale::Ratio),
    ("made_pps", Better::Higher, Scale::Ratio),
    ("per_second", Better::Higher, Scale::Ratio),
    ("per_cpu_second", Better::Higher, Scale::Ratio),
    ("cpu_ns_per_answer", Better::Lower, Scale::Ratio),
    ("cpu_us_per_request", Better::Lower, Scale::Ratio),
    ("p50_us", Better::Lower, Scale::Ratio),
    ("p99_us", Better::Lower, Scale::Ratio),
    ("resident_kib", Better::Lower, Scale::Ratio),
    ("bytes_per_connection", Better::Lower, Scale::Ratio),
];
/// Figures that end like a judged one and are none: differences around zero, and what was asked for.
const NOT_JUDGED: &[&str] = &["added_p50_us", "added_p99_us", "asked_per_second"];

fn judged(metric: &str) -> Option<(Better, Scale)> {
    if NOT_JUDGED.contains(&metric) {
        return None;
    }
    JUDGED.iter().find(|(end, _, _)| metric.ends_with(end)).map(|(_, better, scale)| (*better, *scale))
}

/// Runs the `regress` subcommand; fails on a regression.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let (old, new) = (load(&options.old)?, load(&options.new)?);
    let findings = compare(&old, &new, options.tolerance_percent / 100.0);
    ensure!(!findings.is_empty(), "the two results have no row of SecBeat in common");
    print!("{}", show(&findings, options.all));
    let count = |verdict: Verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    println!(
        "{} figures: {} worse, {} better, {} within noise or tolerance",
        findings.len(),
        count(Verdict::Worse),
        count(Verdict::Better),
        count(Verdict::Same)
    );
    Ok(if count(Verdict::Worse) > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Reads a result of `peers`, or one of `scenario` as rows with one sample.
fn load(path: &Path) -> Result<Vec<Row>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Vec<Row>> {
    let value: Value = serde_json::from_str(text)?;
    if value.get("format").is_some() {
        return Ok(Document::parse(text)?.rows);
    }
    let name =
        value.get("name").and_then(Value::as_str).context("neither a result of `peers` nor of `scenario`")?;
    let rows = value.get("rows").and_then(Value::as_array).context("a result without rows")?;
    rows.iter().map(|row| scenario_row(name, row)).collect()
}

fn scenario_row(name: &str, row: &Value) -> Result<Row> {
    let text = |key: &str| match row.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "none".to_owned(),
    };
    let mut found = Row {
        chapter: format!("scenario {name}"),
        subject: text("defender"),
        case: format!("{} {}, IPv{}", text("kind"), text("rate"), text("family")),
        ..Row::default()
    };
    let seen = row.get("seen").context("a row without what was seen")?;
    let number = |path: &str| seen.pointer(path).and_then(Value::as_f64);
    if row.get("kind").is_some_and(|kind| !kind.is_null()) {
        for metric in ["offered_pps", "answers_pps"] {
            found.add(metric, number(&format!("/{metric}")).unwrap_or(0.0));
        }
    }
    for kind in ["sequential", "parallel"] {
        let names = [
            ("count", "count"),
            ("succeeded_count", "succeeded"),
            ("success_percent", "success_percent"),
            ("p50_us", "total/p50_us"),
            ("p99_us", "total/p99_us"),
        ];
        for (metric, path) in names {
            if let Some(value) = number(&format!("/{kind}/{path}")) {
                found.add(&format!("{kind}_{metric}"), value);
            }
        }
    }
    if let Some(kib) = number("/memory_kib/1") {
        found.add("resident_kib", kib);
    }
    Ok(found)
}

/// One figure of one row in both results.
#[derive(Clone, Debug)]
struct Finding {
    name: String,
    metric: String,
    scale: Scale,
    change: Change,
    verdict: Verdict,
    note: &'static str,
}

fn is_ours(row: &Row) -> bool {
    row.subject.to_lowercase().starts_with("secbeat")
}

fn compare(old: &[Row], new: &[Row], tolerance: f64) -> Vec<Finding> {
    let same = |a: &Row, b: &Row| a.chapter == b.chapter && a.subject == b.subject && a.case == b.case;
    let pairs: Vec<(&Row, Option<&Row>)> =
        old.iter().map(|before| (before, new.iter().find(|after| same(before, after)))).collect();
    let typical = Typical::of(old.iter().chain(new).flat_map(|row| {
        row.metrics
            .iter()
            .filter(|(metric, _)| judged(metric).is_some_and(|(_, scale)| scale == Scale::Ratio))
    }));
    let drifts = drifts(&pairs, &typical);
    let chapters: Vec<&str> = new.iter().map(|row| row.chapter.as_str()).collect();
    let mut findings = Vec::new();
    for (before, after) in pairs.into_iter().filter(|(before, _)| is_ours(before)) {
        // A run of fewer chapters is no regression; a row that is missing from a chapter that was run is one.
        if !chapters.contains(&before.chapter.as_str()) {
            continue;
        }
        for (metric, samples) in &before.metrics {
            let Some((better, scale)) = judged(metric) else { continue };
            let found = after.map_or(&[][..], |row| row.samples(metric));
            let name = format!("{}, {}, {}", before.chapter, before.subject, before.case);
            if found.is_empty() {
                let gone = Change { before: stats::median(samples).unwrap_or(0.0), ..Change::default() };
                let (metric, verdict, note) = (metric.clone(), Verdict::Worse, "not measured any more");
                findings.push(Finding { name, metric, scale, change: gone, verdict, note });
                continue;
            }
            let change = match scale {
                Scale::Ratio => {
                    let drift = drifts.get(&(before.chapter.clone(), metric.clone())).copied();
                    Change::of_ratio(samples, found, typical.of_metric(metric), drift.unwrap_or_default())
                }
                Scale::Points => {
                    Change::of_share(shares(before, metric), shares(after.unwrap_or(before), metric))
                }
            };
            let verdict = change.judge(scale, better == Better::Higher, tolerance);
            findings.push(Finding { name, metric: metric.clone(), scale, change, verdict, note: "" });
        }
    }
    findings
}

/// (succeeded, count) of each repetition that a success in percent was made of.
fn shares(row: &Row, metric: &str) -> Vec<(f64, f64)> {
    let kind = metric.trim_end_matches("success_percent");
    let succeeded = row.samples(&format!("{kind}succeeded_count"));
    succeeded.iter().copied().zip(row.samples(&format!("{kind}count")).iter().copied()).collect()
}

/// How the machine has changed, by chapter and figure: the middle of the peers' changes, where there are enough.
fn drifts(pairs: &[(&Row, Option<&Row>)], typical: &Typical) -> BTreeMap<(String, String), noise::Drift> {
    let mut changes: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for (before, after) in pairs.iter().filter(|(before, _)| !is_ours(before)) {
        for (metric, samples) in &before.metrics {
            let found = after.map_or(&[][..], |row| row.samples(metric));
            if judged(metric).is_some_and(|(_, scale)| scale == Scale::Ratio) && !found.is_empty() {
                let noise = typical.of_metric(metric);
                let change = Change::of_ratio(samples, found, noise, noise::Drift::default());
                changes.entry((before.chapter.clone(), metric.clone())).or_default().push(change.change);
            }
        }
    }
    changes.into_iter().filter_map(|(key, changes)| Some((key, noise::Drift::of(&changes)?))).collect()
}

fn show(findings: &[Finding], all: bool) -> String {
    let mut rows = vec![
        ["row", "figure", "before", "now", "change", "noise", "machine", ""].map(str::to_owned).to_vec(),
    ];
    for finding in findings.iter().filter(|finding| all || finding.verdict != Verdict::Same) {
        let change = &finding.change;
        let percent = |log: f64| format!("{:+.1} %", 100.0 * log.exp_m1());
        let (moved, noise, drift) = match finding.scale {
            Scale::Ratio => (
                percent(change.change),
                format!("±{:.1} %", 100.0 * change.noise.exp_m1()),
                percent(change.drift),
            ),
            Scale::Points => {
                (format!("{:+.2} points", change.change), format!("±{:.2}", change.noise), String::new())
            }
        };
        rows.push(vec![
            finding.name.clone(),
            finding.metric.clone(),
            stats::show_count(change.before),
            stats::show_count(change.now),
            moved,
            noise,
            drift,
            format!("{} {}", finding.verdict.name(), finding.note).trim().to_owned(),
        ]);
    }
    if rows.len() == 1 { String::new() } else { stats::table(&rows) }
}

#[cfg(test)]
mod tests;
