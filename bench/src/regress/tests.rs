//! Verdicts on results with known noise and known changes.

use super::*;
use crate::flood::Random;

/// Noise of a real run: normal in the logarithm, and now and then one repetition that something disturbed.
struct Noise {
    random: Random,
    deviation: f64,
    disturbed_percent: u64,
}

impl Noise {
    fn new(seed: u64, deviation: f64, disturbed_percent: u64) -> Self {
        Self { random: Random::new(seed), deviation, disturbed_percent }
    }

    fn even(&mut self) -> f64 {
        (self.random.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.even()).sum::<f64>() - 6.0
    }

    fn sample(&mut self, middle: f64) -> f64 {
        let noise = self.normal() * self.deviation;
        let disturbed = self.random.below(100) < self.disturbed_percent;
        middle * noise.exp() * if disturbed { 0.6 } else { 1.0 }
    }
}

const RATES: [&str; 6] = ["50 k/s", "200 k/s", "500 k/s", "1 M/s", "2 M/s", "maximum"];

/// A result of seven subjects at six rates, five repetitions each: `machine` for everybody, `ours` for SecBeat alone.
fn result(noise: &mut Noise, machine: f64, ours: f64) -> Vec<Row> {
    let mut document = Document::begin(Default::default(), 0);
    for subject in ["kernel", "nftables", "HAProxy", "nginx", "ModSecurity", "SecBeat syn", "SecBeat l7"] {
        let factor = machine * if subject.starts_with("SecBeat") { ours } else { 1.0 };
        for case in RATES {
            for _ in 0..5 {
                let row = document.row("floods", subject, case);
                row.add("answers_pps", noise.sample(500e3 * factor));
                row.add("one_by_one_p50_us", noise.sample(200.0 / factor));
                row.add("one_by_one_p99_us", noise.sample(2_000.0 / factor));
                row.add("cpu_ns_per_answer", noise.sample(180.0 / factor));
                row.add("one_by_one_count", 200.0);
                row.add("one_by_one_succeeded_count", 200.0);
                row.add("one_by_one_success_percent", 100.0);
            }
        }
    }
    document.rows
}

fn worse(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.verdict == Verdict::Worse).count()
}

/// How many of `pairs` of results have a regression.
fn alarms(pairs: u64, deviation: f64, disturbed_percent: u64, machine: f64, ours: f64) -> usize {
    let is_alarm = |seed: &u64| {
        let mut noise = Noise::new(*seed * 7919, deviation, disturbed_percent);
        let before = result(&mut noise, 1.0, 1.0);
        let now = result(&mut noise, machine, ours);
        worse(&compare(&before, &now, 0.05)) > 0
    };
    (1..=pairs).filter(is_alarm).count()
}

#[test]
fn noise_alone_is_no_regression() {
    for deviation in [0.01, 0.05, 0.2] {
        let found = alarms(100, deviation, 0, 1.0, 1.0);
        assert!(found <= 2, "{found} false alarms of 100 at a deviation of {deviation}");
    }
}

#[test]
fn a_disturbed_repetition_is_no_regression() {
    let found = alarms(100, 0.03, 5, 1.0, 1.0);
    assert!(found <= 2, "{found} false alarms of 100");
}

#[test]
fn a_slower_machine_is_no_regression_of_ours() {
    let found = alarms(100, 0.03, 0, 0.7, 1.0);
    assert!(found <= 2, "{found} false alarms of 100");
}

#[test]
fn a_real_regression_is_found() {
    for (deviation, ours) in [(0.01, 0.92), (0.05, 0.8)] {
        let found = alarms(30, deviation, 0, 1.0, ours);
        assert!(found >= 29, "{found} of 30 found at a deviation of {deviation}");
    }
    let found = alarms(30, 0.03, 0, 1.3, 0.8);
    assert!(found >= 29, "{found} of 30 found on a faster machine");
}

#[test]
fn one_row_that_got_slow_is_named() {
    let mut noise = Noise::new(1, 0.02, 0);
    let (before, mut now) = (result(&mut noise, 1.0, 1.0), result(&mut noise, 1.0, 1.0));
    let row = now.iter_mut().find(|row| row.subject == "SecBeat syn" && row.case == "maximum").unwrap();
    row.metrics.get_mut("answers_pps").unwrap().iter_mut().for_each(|sample| *sample *= 0.8);
    let findings = compare(&before, &now, 0.05);
    let found: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict == Verdict::Worse).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].name.as_str(), found[0].metric.as_str()),
        ("floods, SecBeat syn, maximum", "answers_pps")
    );
    assert!(show(&findings, false).contains("WORSE"));
    assert_eq!(show(&findings, true).lines().count(), findings.len() + 1);
}

#[test]
fn connections_that_fail_are_a_regression_and_one_in_a_thousand_is_chance() {
    let mut noise = Noise::new(3, 0.02, 0);
    let before = result(&mut noise, 1.0, 1.0);
    let failing = |failures: f64| {
        let mut now = before.clone();
        let row = now.iter_mut().find(|row| row.subject == "SecBeat syn").unwrap();
        row.metrics.get_mut("one_by_one_succeeded_count").unwrap()[0] -= failures;
        worse(&compare(&before, &now, 0.05))
    };
    assert_eq!(failing(1.0), 0);
    assert_eq!(failing(0.0), 0);
    let mut now = before.clone();
    let row = now.iter_mut().find(|row| row.subject == "SecBeat syn").unwrap();
    row.metrics.get_mut("one_by_one_succeeded_count").unwrap().iter_mut().for_each(|count| *count = 180.0);
    assert_eq!(worse(&compare(&before, &now, 0.05)), 1);
}

#[test]
fn a_row_that_is_gone_is_a_regression_and_a_chapter_that_was_not_run_is_none() {
    let mut noise = Noise::new(5, 0.02, 0);
    let before = result(&mut noise, 1.0, 1.0);
    let without: Vec<Row> =
        before.iter().filter(|row| row.subject != "SecBeat l7" || row.case != "maximum").cloned().collect();
    assert_eq!(worse(&compare(&before, &without, 0.05)), 5, "each of its figures");
    let other: Vec<Row> =
        before.iter().cloned().map(|row| Row { chapter: "traffic".to_owned(), ..row }).collect();
    assert!(compare(&before, &other, 0.05).is_empty());
}

#[test]
fn results_of_scenarios_are_compared_with_more_patience() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/syn-flood.json");
    let text = fs::read_to_string(path).unwrap();
    let rows = parse(&text).unwrap();
    assert!(
        rows.iter().any(|row| row.subject == "secbeat" && row.samples("answers_pps").len() == 1),
        "{rows:?}"
    );
    let findings = compare(&rows, &rows, 0.05);
    assert!(!findings.is_empty() && findings.iter().all(|finding| finding.verdict == Verdict::Same));
    let slower = |factor: f64| {
        let mut now = rows.clone();
        for row in now.iter_mut().filter(|row| is_ours(row)) {
            row.metrics.entry("answers_pps".to_owned()).and_modify(|samples| samples[0] *= factor);
        }
        worse(&compare(&rows, &now, 0.05))
    };
    assert_eq!(slower(0.8), 0, "one sample says little");
    assert!(slower(0.3) > 0);
    assert!(parse("{\"rows\":[]}").is_err());
}
