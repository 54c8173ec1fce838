//! The bars: what SecBeat must reach beside its peers, judged from the samples of the same run.
//!
//! Owns: the numbers and the judgement. Medians over the repetitions count; the success of honest clients is that of
//! all connections of all repetitions together, which forgives less. What is only reported has `counts` false and
//! fails nothing.

use serde::{Deserialize, Serialize};

use super::defender::Defender;
use super::floods;
use super::result::{Document, Row};
use super::{requests, setup};
use crate::flood::Rate;
use crate::stats;

/// SYN-ACKs that leave at the generator's maximum, of what a bare reflector sends back.
const OF_REFLECTOR_MIN: f64 = 0.5;
/// The same, of what nftables SYNPROXY sends.
const OF_SYNPROXY_MIN: f64 = 5.0;
/// Honest connections that succeed at 1 and 2 million SYNs a second, in percent.
const SUCCESS_PERCENT_MIN: f64 = 99.9;
/// Their p99, connect and GET, in milliseconds.
const P99_MS_MAX: f64 = 10.0;
/// Honest connections that succeed at the generator's maximum, in percent.
const SUCCESS_AT_MAXIMUM_PERCENT_MIN: f64 = 90.0;
/// Requests per CPU-second on kernel sockets, of the better of nginx and HAProxy.
const REQUESTS_RATIO_MIN: f64 = 1.0;
/// The same on AF_XDP over veth, where every packet of 1.5 KB is copied twice more and nothing is offloaded.
const REQUESTS_RATIO_XDP_MIN: f64 = 0.7;
/// Latency that SecBeat may add at half load: half of the requests, in microseconds.
const ADDED_P50_US_MAX: f64 = 300.0;
/// Latency that SecBeat may add at half load: 99 % of the requests, in microseconds.
const ADDED_P99_US_MAX: f64 = 3_000.0;

/// A bar and what was reached of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bar {
    /// What is judged.
    pub(crate) name: String,
    /// What was measured.
    pub(crate) measured: f64,
    /// In what.
    pub(crate) unit: String,
    /// `at least` or `below`.
    pub(crate) relation: Relation,
    /// What it must reach, or stay below.
    pub(crate) bar: f64,
    /// Whether it does.
    pub(crate) passed: bool,
    /// Whether it decides; otherwise it is only reported.
    pub(crate) counts: bool,
}

/// On which side of the bar the good is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Relation {
    /// More is better, equal is enough.
    AtLeast,
    /// Less is better, equal is too much.
    Below,
}

impl Bar {
    /// A bar that decides.
    pub(crate) fn new(
        name: impl Into<String>,
        measured: f64,
        unit: &str,
        relation: Relation,
        bar: f64,
    ) -> Self {
        let passed = match relation {
            Relation::AtLeast => measured >= bar,
            Relation::Below => measured < bar,
        };
        Self { name: name.into(), measured, unit: unit.to_owned(), relation, bar, passed, counts: true }
    }

    fn only_reported(self) -> Self {
        Self { counts: false, ..self }
    }

    /// One line for people.
    pub(crate) fn cells(&self) -> [String; 4] {
        let show = |value: f64| {
            let text = if value.abs() >= 100.0 { format!("{value:.1}") } else { format!("{value:.2}") };
            // 99.9 % is a bar; 100.00 % is a figure nobody reads.
            let text = text.trim_end_matches('0').trim_end_matches('.');
            if self.unit.is_empty() { text.to_owned() } else { format!("{text} {}", self.unit) }
        };
        let relation = match self.relation {
            Relation::AtLeast => "at least",
            Relation::Below => "below",
        };
        let verdict = match (self.passed, self.counts) {
            (true, _) => "pass",
            (false, true) => "FAIL",
            (false, false) => "missed, reported only",
        };
        [self.name.clone(), show(self.measured), format!("{relation} {}", show(self.bar)), verdict.to_owned()]
    }
}

/// Judges everything that was measured; what was not measured has no bar.
pub(super) fn judge(document: &Document) -> Vec<Bar> {
    let mut bars = Vec::new();
    for family in [4, 6] {
        for ours in [Defender::SecbeatSyn, Defender::SecbeatL7] {
            answers(document, ours, family, &mut bars);
            for (pps, name) in
                [(Some(1_000_000), "1 M SYN/s"), (Some(2_000_000), "2 M SYN/s"), (None, "maximum")]
            {
                let rate = pps.map_or(Rate::Max, Rate::Fixed);
                let row = document.find(floods::CHAPTER, ours.name(), &floods::case(rate, family));
                let family = if family == 4 { "" } else { ", IPv6" };
                let at = format!("{} at {name}{family}", ours.name());
                bars.extend(row.into_iter().flat_map(|row| clients(row, &at, pps.is_none())));
            }
        }
    }
    requests_per_cpu_second(document, &mut bars);
    added_latency(document, &mut bars);
    memory(document, &mut bars);
    failures(document, &mut bars);
    bars
}

/// A node that does not start, or ends, has no figures that could miss a bar.
fn failures(document: &Document, bars: &mut Vec<Bar>) {
    let ours = document.rows.iter().filter(|row| row.subject.starts_with("SecBeat"));
    let failed: usize = ours.map(|row| row.errors.len()).sum();
    if failed > 0 {
        bars.push(Bar::new("SecBeat: measurements that failed", failed as f64, "", Relation::Below, 1.0));
    }
}

fn answers(document: &Document, ours: Defender, family: u8, bars: &mut Vec<Bar>) {
    let case = floods::case(Rate::Max, family);
    let rate = |defender: Defender| {
        document.find(floods::CHAPTER, defender.name(), &case).and_then(|row| row.median("made_pps"))
    };
    let Some(own) = rate(ours) else { return };
    for (other, least) in [(Defender::XdpTx, OF_REFLECTOR_MIN), (Defender::Synproxy, OF_SYNPROXY_MIN)] {
        if let Some(theirs) = rate(other).filter(|rate| *rate > 0.0) {
            let family = if family == 4 { "" } else { ", IPv6" };
            let name = format!("{}: SYN-ACKs/s at maximum of those of {}{family}", ours.name(), other.name());
            bars.push(Bar::new(name, own / theirs, "", Relation::AtLeast, least));
        }
    }
}

fn clients(row: &Row, at: &str, is_maximum: bool) -> Vec<Bar> {
    let mut bars = Vec::new();
    for (kind, words) in [("one_by_one", "one by one"), ("at_once", "50 at a time")] {
        let count = row.sum(&format!("{kind}_count"));
        if count == 0.0 {
            continue;
        }
        let success = 100.0 * row.sum(&format!("{kind}_succeeded_count")) / count;
        let least = if is_maximum { SUCCESS_AT_MAXIMUM_PERCENT_MIN } else { SUCCESS_PERCENT_MIN };
        let mut found =
            vec![Bar::new(format!("{at}: success, {words}"), success, "%", Relation::AtLeast, least)];
        let p99 = row.median(&format!("{kind}_p99_us"));
        if !is_maximum {
            let p99 = p99.map_or(f64::from(u16::MAX), |us| us / 1e3);
            found.push(Bar::new(format!("{at}: p99, {words}"), p99, "ms", Relation::Below, P99_MS_MAX));
        }
        let counts = kind == "one_by_one";
        bars.extend(found.into_iter().map(|bar| if counts { bar } else { bar.only_reported() }));
    }
    bars
}

fn requests_per_cpu_second(document: &Document, bars: &mut Vec<Bar>) {
    for (front, least) in
        [(setup::Front::Socket, REQUESTS_RATIO_MIN), (setup::Front::Xdp, REQUESTS_RATIO_XDP_MIN)]
    {
        let chapter = requests::chapter(front);
        for case in document.cases(chapter) {
            let rows = || document.chapter(chapter).filter(|row| row.case == case);
            let of = |row: &Row| row.median("requests_per_cpu_second");
            let ours = rows().find(|row| row.subject == setup::Peer::Secbeat.name()).and_then(of);
            let others = [setup::Peer::Nginx.name(), setup::Peer::Haproxy.name()];
            let best = rows()
                .filter(|row| others.contains(&row.subject.as_str()))
                .filter_map(|row| Some((row.subject.as_str(), of(row)?)))
                .max_by(|a, b| a.1.total_cmp(&b.1));
            if let (Some(ours), Some((name, theirs))) = (ours, best) {
                let name = format!(
                    "SecBeat l7, {case}, {}: requests per CPU-second of those of {name}",
                    front.name()
                );
                bars.push(Bar::new(name, ours / theirs, "", Relation::AtLeast, least));
            }
        }
    }
}

/// The difference to the origin asked directly, repetition by repetition: both drift together.
fn added_latency(document: &Document, bars: &mut Vec<Bar>) {
    for front in [setup::Front::Socket, setup::Front::Xdp] {
        let chapter = requests::latency_chapter(front);
        let ours = document.chapter(chapter).filter(|row| row.subject == setup::Peer::Secbeat.name());
        for row in ours {
            for (metric, words, most) in
                [("added_p50_us", "p50", ADDED_P50_US_MAX), ("added_p99_us", "p99", ADDED_P99_US_MAX)]
            {
                if let Some(median) = stats::median(row.samples(metric)) {
                    let (case, front) = (&row.case, front.name());
                    let name = format!("SecBeat l7, {case}, {front}: latency added at half load, {words}");
                    bars.push(Bar::new(name, median, "us", Relation::Below, most));
                }
            }
        }
    }
}

fn memory(document: &Document, bars: &mut Vec<Bar>) {
    for row in
        document.chapter(super::memory::CHAPTER).filter(|row| row.subject == setup::Peer::Secbeat.name())
    {
        let most =
            super::idle::Kind::ALL.iter().find(|kind| kind.name() == row.case).map(|kind| kind.bytes_max());
        if let (Some(median), Some(most)) = (row.median("bytes_per_connection"), most) {
            let name = format!("SecBeat l7, idle {}: memory of a connection", row.case);
            bars.push(Bar::new(name, median, "B", Relation::Below, most as f64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Host;
    use super::*;

    fn document(own: f64, success: &[f64], p99_us: f64) -> Document {
        let mut document = Document::begin(Host::default(), 0);
        for (defender, answers) in
            [(Defender::XdpTx, 8e6), (Defender::Synproxy, 0.5e6), (Defender::SecbeatSyn, own)]
        {
            document.row(floods::CHAPTER, defender.name(), "maximum").add("made_pps", answers);
        }
        let row = document.row(floods::CHAPTER, Defender::SecbeatSyn.name(), "1 M/s");
        for succeeded in success {
            for kind in ["one_by_one", "at_once"] {
                row.add(&format!("{kind}_count"), 200.0);
                row.add(&format!("{kind}_succeeded_count"), *succeeded);
                row.add(&format!("{kind}_p99_us"), p99_us);
            }
        }
        document
    }

    fn failed(document: &Document) -> Vec<String> {
        judge(document).into_iter().filter(|bar| !bar.passed && bar.counts).map(|bar| bar.name).collect()
    }

    #[test]
    fn each_bar_fails_on_its_own() {
        assert!(failed(&document(4e6, &[200.0; 5], 9_999.0)).is_empty());
        assert_eq!(failed(&document(3.9e6, &[200.0; 5], 9_999.0)).len(), 1);
        assert_eq!(failed(&document(2.4e6, &[200.0; 5], 9_999.0)).len(), 2);
        assert_eq!(failed(&document(4e6, &[200.0; 5], 10_000.0)).len(), 1, "10 ms is not below 10 ms");
    }

    #[test]
    fn success_counts_every_connection_and_not_the_median_round() {
        // 999 of 1000 pass, 998 do not, though the median round is perfect in both.
        assert!(failed(&document(4e6, &[200.0, 200.0, 199.0, 200.0, 200.0], 1.0)).is_empty());
        assert_eq!(failed(&document(4e6, &[200.0, 199.0, 199.0, 200.0, 200.0], 1.0)).len(), 1);
    }

    #[test]
    fn fifty_at_a_time_is_reported_and_decides_nothing() {
        let bars = judge(&document(4e6, &[100.0], 50_000.0));
        let parallel: Vec<&Bar> = bars.iter().filter(|bar| bar.name.contains("50 at a time")).collect();
        assert_eq!(parallel.len(), 2);
        assert!(parallel.iter().all(|bar| !bar.passed && !bar.counts));
        assert_eq!(parallel[0].cells()[3], "missed, reported only");
    }

    #[test]
    fn a_node_that_ends_misses_a_bar() {
        let mut document = document(4e6, &[200.0], 1.0);
        document.row(floods::CHAPTER, "nginx, reverse proxy", "1 M/s").errors.push("ended".to_owned());
        assert!(failed(&document).is_empty(), "a peer may");
        document.row(floods::CHAPTER, "SecBeat l7", "1 M/s").errors.push("ended".to_owned());
        assert_eq!(failed(&document), ["SecBeat: measurements that failed"]);
    }

    #[test]
    fn what_was_not_measured_has_no_bar() {
        assert!(judge(&Document::begin(Host::default(), 0)).is_empty());
    }
}
