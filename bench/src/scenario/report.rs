//! What a scenario came to: a table for people, JSON for `bench/results/`.

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::file::{Scenario, Step};
use super::phase::Seen;
use crate::flood::{Kind, Rate};
use crate::stats::{show_count, show_us, table};

/// The result of a scenario.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Report {
    /// Name of the scenario.
    pub(crate) name: String,
    /// Seconds since 1970 when it began.
    pub(crate) begun_unix: u64,
    /// Kernel release.
    pub(crate) kernel: String,
    /// Number of cores.
    pub(crate) cores: usize,
    /// One row per defender and step.
    pub(crate) rows: Vec<Row>,
}

/// One defender in one step.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Row {
    /// Who defended.
    pub(crate) defender: &'static str,
    /// What was sent; `None` is silence.
    pub(crate) kind: Option<Kind>,
    /// How fast.
    pub(crate) rate: Option<Rate>,
    /// IP version.
    pub(crate) family: u8,
    /// What was seen.
    pub(crate) seen: Seen,
    /// Expectations that were not met, in words; only the node has any.
    pub(crate) failed: Vec<String>,
}

impl Report {
    /// An empty report.
    pub(crate) fn begin(scenario: &Scenario) -> Self {
        Self {
            name: scenario.name.clone(),
            begun_unix: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            cores: crate::cpu::count(),
            rows: Vec::new(),
        }
    }

    /// Whether every expectation was met.
    pub(crate) fn passed(&self) -> bool {
        self.rows.iter().all(|row| row.failed.is_empty())
    }
}

impl Row {
    /// Compares what was seen with what was expected; peers are only reported.
    pub(crate) fn judge(defender: &'static str, step: &Step, seen: Seen, is_node: bool) -> Self {
        let failed = if is_node { failures(step, &seen) } else { Vec::new() };
        let (kind, rate) = step.flood.unzip();
        Self { defender, kind, rate, family: step.family, seen, failed }
    }

    fn cells(&self) -> Vec<String> {
        let growth = self.seen.memory_kib.map_or("-".to_owned(), |(before, after)| {
            format!("{:+} KiB", i128::from(after) - i128::from(before))
        });
        let flood = match (self.kind, self.rate) {
            (Some(kind), Some(rate)) => format!("{kind:?} {rate}").to_lowercase(),
            _ => "none".to_owned(),
        };
        let percent = |report: &crate::handshake::Report| format!("{:.1} %", report.success_percent);
        vec![
            self.defender.to_owned(),
            format!("{flood} v{}", self.family),
            show_count(self.seen.offered_pps),
            show_count(self.seen.answers_pps),
            percent(&self.seen.sequential),
            show_us(self.seen.sequential.total.p50_us),
            show_us(self.seen.sequential.total.p99_us),
            percent(&self.seen.parallel),
            show_us(self.seen.parallel.total.p99_us),
            growth,
            if self.failed.is_empty() { "" } else { "FAIL" }.to_owned(),
        ]
    }
}

fn failures(step: &Step, seen: &Seen) -> Vec<String> {
    let mut failed = Vec::new();
    let expect = &step.expect;
    let parallel_p99_ms = expect.parallel_p99_ms.or(expect.p99_ms);
    for (name, report, p99_ms) in
        [("sequential", &seen.sequential, expect.p99_ms), ("parallel", &seen.parallel, parallel_p99_ms)]
    {
        if let Some(least) = expect.success_percent
            && report.success_percent < least
        {
            failed.push(format!("{name}: {:.2} % succeeded, {least} % expected", report.success_percent));
        }
        if let Some(most) = p99_ms
            && report.total.p99_us > most * 1000
        {
            failed.push(format!("{name}: p99 {}, at most {most} ms expected", show_us(report.total.p99_us)));
        }
    }
    if let (Some(most), Some((before, after))) = (expect.memory_growth_kib, seen.memory_kib)
        && after.saturating_sub(before) > most
    {
        failed.push(format!("memory grew by {} KiB, at most {most} expected", after - before));
    }
    if let (Some(least), Some((_, Rate::Fixed(pps)))) = (expect.offered_percent, step.flood)
        && seen.offered_pps < pps as f64 * least / 100.0
    {
        let offered = show_count(seen.offered_pps);
        failed
            .push(format!("only {offered} packets/s were offered: the generator's core was busy elsewhere"));
    }
    failed
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cells().join(" | "))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = [
            "defender",
            "flood",
            "offered/s",
            "answers/s",
            "seq ok",
            "p50",
            "p99",
            "50 at once ok",
            "p99",
            "memory",
            "",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.rows.iter().map(Row::cells));
        f.write_str(&table(&rows))?;
        for row in &self.rows {
            for failure in &row.failed {
                writeln!(f, "not met ({}): {failure}", row.cells()[1])?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::Expect;
    use super::*;
    use crate::flood::{Engine, Sources};
    use crate::handshake;

    fn step(expect: Expect) -> Step {
        Step {
            flood: Some((Kind::Syn, Rate::Fixed(500_000))),
            family: 4,
            sources: Sources::Random,
            engine: Engine::Live,
            expect,
        }
    }

    fn seen(success_percent: f64, growth_kib: u64) -> Seen {
        let report = handshake::Report { success_percent, ..handshake::Report::default() };
        Seen {
            offered_pps: 450_000.0,
            answers_pps: 0.0,
            sequential: report.clone(),
            parallel: report,
            memory_kib: Some((1000, 1000 + growth_kib)),
            drops: Default::default(),
        }
    }

    #[test]
    fn each_expectation_fails_on_its_own() {
        let all = Expect {
            success_percent: Some(100.0),
            p99_ms: Some(3000),
            parallel_p99_ms: None,
            memory_growth_kib: Some(512),
            offered_percent: Some(80.0),
        };
        assert!(Row::judge("secbeat", &step(all.clone()), seen(100.0, 0), true).failed.is_empty());
        assert_eq!(Row::judge("secbeat", &step(all.clone()), seen(99.8, 0), true).failed.len(), 2);
        assert_eq!(Row::judge("secbeat", &step(all.clone()), seen(100.0, 513), true).failed.len(), 1);
        let strict = Expect { offered_percent: Some(95.0), ..all };
        assert_eq!(Row::judge("secbeat", &step(strict), seen(100.0, 0), true).failed.len(), 1);
    }

    #[test]
    fn those_at_once_may_wait_longer() {
        let with = |p99_ms, parallel_p99_ms| {
            let mut seen = seen(100.0, 0);
            (seen.sequential.total.p99_us, seen.parallel.total.p99_us) = (9_000, 40_000);
            let expect = Expect { p99_ms, parallel_p99_ms, ..Expect::default() };
            Row::judge("secbeat", &step(expect), seen, true).failed.len()
        };
        assert_eq!(with(Some(10), None), 1);
        assert_eq!(with(Some(10), Some(50)), 0);
        assert_eq!(with(Some(8), Some(30)), 2);
        assert_eq!(with(None, Some(30)), 1);
    }

    #[test]
    fn peers_are_reported_not_judged() {
        let strict = Expect { success_percent: Some(100.0), ..Expect::default() };
        assert!(Row::judge("nftables SYNPROXY", &step(strict), seen(2.0, 0), false).failed.is_empty());
    }
}
