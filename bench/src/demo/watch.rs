//! The line per second: what the attacker sent, what the node did, what the client got.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::flood::Progress;
use crate::handshake::Outcome;
use crate::interrupt;
use crate::node::{Metrics, Node};
use crate::stats::{Spread, show_count, show_us};

/// Reasons for drops that are named in a line; the rest is summed up.
const REASONS_SHOWN: usize = 3;

/// Part of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before the flood.
    Calm,
    /// During it.
    Flood,
    /// After it.
    After,
    /// After the node was killed.
    Killed,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Flood => "FLOOD",
            Self::After => "after",
            Self::Killed => "node killed",
        }
    }
}

/// What a phase came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Pages asked for.
    pub(crate) pages: u64,
    /// Pages that came.
    pub(crate) pages_ok: u64,
    /// p99 of connect + GET of those that came, in microseconds.
    pub(crate) p99_us: u64,
    /// Packets that came back to the attacker.
    pub(crate) answers: u64,
    /// Connections that proved their address with a cookie.
    pub(crate) validated: f64,
}

/// Follows the demonstration.
pub(crate) struct Watch<'a> {
    pages: &'a Receiver<Outcome>,
    begun: Instant,
    /// Pages that came, by when.
    came: Vec<Instant>,
}

impl<'a> Watch<'a> {
    /// Starts the clock.
    pub(crate) fn begin(pages: &'a Receiver<Outcome>) -> Self {
        Self { pages, begun: Instant::now(), came: Vec::new() }
    }

    /// How long after `instant` the next page came.
    pub(crate) fn first_page_after(&self, instant: Instant) -> Option<Duration> {
        self.came.iter().find(|came| **came > instant).map(|came| *came - instant)
    }

    /// Prints a line per second for `length`, and sums them up.
    pub(crate) fn run(
        &mut self,
        phase: Phase,
        length: Duration,
        node: Option<&Node>,
        flood: Option<&Progress>,
    ) -> Result<Told> {
        let mut told = Told::default();
        let mut totals = Vec::new();
        let begun = Instant::now();
        let mut before = Reading::take(node, flood)?;
        let first = before.clone();
        while begun.elapsed() < length && !interrupt::requested() {
            let line_begun = Instant::now();
            let mut line = Vec::new();
            while line_begun.elapsed() < Duration::from_secs(1) && !interrupt::requested() {
                if let Ok(outcome) = self.pages.recv_timeout(Duration::from_millis(20)) {
                    if outcome.failure.is_none() {
                        self.came.push(Instant::now());
                    }
                    line.push(outcome);
                }
            }
            let now = Reading::take(node, flood)?;
            let seconds = line_begun.elapsed().as_secs_f64();
            self.print(phase, &line, &before, &now, seconds);
            before = now;
            totals.extend(line);
        }
        let ok: Vec<Duration> = succeeded(&totals);
        told.pages = totals.len() as u64;
        told.pages_ok = ok.len() as u64;
        told.p99_us = Spread::of(&ok).p99_us;
        told.answers = before.answers - first.answers;
        told.validated = before.metrics.cookies_valid() - first.metrics.cookies_valid();
        Ok(told)
    }

    fn print(&self, phase: Phase, line: &[Outcome], before: &Reading, now: &Reading, seconds: f64) {
        let ok = succeeded(line);
        let rate = |after: f64, before: f64| show_count((after - before) / seconds);
        println!(
            "{:>3.0} s {:<11} offered {:>8}/s  SYN-ACKs {:>8}/s  validated {:>6}/s  dropped {}  pages {}/{} p99 {}",
            self.begun.elapsed().as_secs_f64(),
            phase.name(),
            rate(now.sent as f64, before.sent as f64),
            rate(now.answers as f64, before.answers as f64),
            rate(now.metrics.cookies_valid(), before.metrics.cookies_valid()),
            drops(&before.metrics, &now.metrics, seconds),
            ok.len(),
            line.len(),
            show_us(Spread::of(&ok).p99_us),
        );
        let (requests, refused) =
            (now.metrics.requests() - before.metrics.requests(), now.metrics.refused_requests());
        if now.metrics.requests() > 0.0 {
            println!(
                "{:17} HTTP: requests {:>8}/s, of them refused {:>8}/s  connections {}",
                "",
                show_count(requests / seconds),
                rate(refused, before.metrics.refused_requests()),
                now.metrics.connections_active(),
            );
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Reading {
    sent: u64,
    answers: u64,
    metrics: Metrics,
}

impl Reading {
    fn take(node: Option<&Node>, flood: Option<&Progress>) -> Result<Self> {
        Ok(Self {
            sent: flood.map_or(0, |flood| flood.sent.load(Ordering::Relaxed)),
            answers: flood.map_or(0, |flood| flood.answers.load(Ordering::Relaxed)),
            metrics: node.map(Node::metrics).transpose()?.unwrap_or_default(),
        })
    }
}

fn succeeded(outcomes: &[Outcome]) -> Vec<Duration> {
    outcomes.iter().filter(|outcome| outcome.failure.is_none()).map(|outcome| outcome.total).collect()
}

/// The most frequent reasons, per second.
fn drops(before: &Metrics, now: &Metrics, seconds: f64) -> String {
    let earlier = before.drops_by_reason();
    let mut rates: BTreeMap<String, f64> = now.drops_by_reason();
    for (reason, count) in earlier {
        rates.entry(reason).and_modify(|total| *total -= count);
    }
    let mut rates: Vec<(String, f64)> = rates
        .into_iter()
        .map(|(reason, count)| (reason, count / seconds))
        .filter(|(_, rate)| *rate >= 1.0)
        .collect();
    rates.sort_by(|a, b| b.1.total_cmp(&a.1));
    if rates.is_empty() {
        return "0".to_owned();
    }
    let rest: f64 = rates.iter().skip(REASONS_SHOWN).map(|(_, rate)| rate).sum();
    let mut shown: Vec<String> = rates
        .iter()
        .take(REASONS_SHOWN)
        .map(|(reason, rate)| format!("{reason} {}/s", show_count(*rate)))
        .collect();
    if rest > 0.0 {
        shown.push(format!("others {}/s", show_count(rest)));
    }
    shown.join(", ")
}
