//! One step of a scenario: a flood, and honest clients while it lasts.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::file::{Clients, Step};
use crate::flood::{self, Progress};
use crate::handshake;
use crate::lab::{Lab, vip};
use crate::node::Node;
use crate::{cpu, interrupt, netns};

/// Before clients begin: the flood is at its rate, queues are as full as they get.
const SETTLE: Duration = Duration::from_millis(700);

/// Rates are read over at least so long, even when the clients are done sooner.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// What was seen during a step.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Seen {
    /// The flood's packets per second.
    pub(crate) offered_pps: f64,
    /// Packets per second that came back to the attacker: SYN-ACKs, RSTs.
    pub(crate) answers_pps: f64,
    /// Connections one after the other.
    pub(crate) sequential: handshake::Report,
    /// Connections several at a time.
    pub(crate) parallel: handshake::Report,
    /// Memory of the node before and after, in KiB.
    pub(crate) memory_kib: Option<(u64, u64)>,
    /// The node's drops during the step, by reason.
    pub(crate) drops: std::collections::BTreeMap<String, f64>,
}

/// Plays a step.
///
/// # Errors
/// When the generator or the node fails; failing clients are a result.
pub(crate) fn play(lab: &Lab, clients: &Clients, step: &Step, node: Option<&Node>) -> Result<Seen> {
    let progress = Progress::default();
    std::thread::scope(|scope| {
        let generator = step.flood.map(|(kind, rate)| {
            let mut options = flood::Options::for_lab(&lab.topology.prefix, kind, step.family, rate, 300);
            options.sources = step.sources;
            options.engine = step.engine;
            let progress = &progress;
            scope.spawn(move || flood::flood(&options, progress))
        });
        if generator.is_some() {
            interrupt::sleep(SETTLE);
        }
        // After the flood has begun: what it needs once is no growth.
        let before = node.map(|node| (node.resident_kib(), node.metrics().unwrap_or_default()));
        let begun = (Instant::now(), read(&progress));
        let reports = run_clients(lab, clients, step.family);
        if generator.is_some() {
            interrupt::sleep(WINDOW_MIN.saturating_sub(begun.0.elapsed()));
        }
        let elapsed = begun.0.elapsed().as_secs_f64();
        let (sent, answers) = read(&progress);
        let after = node.map(|node| (node.resident_kib(), node.metrics().unwrap_or_default()));
        progress.stop.store(true, Ordering::Relaxed);
        if let Some(generator) = generator {
            generator.join().map_err(|_| anyhow!("the generator panicked"))?.context("generator")?;
        }
        let (sequential, parallel) = reports?;
        let per_second = |after: u64, before: u64| (after - before) as f64 / elapsed.max(1e-9);
        let mut drops = after.as_ref().map(|(_, metrics)| metrics.drops_by_reason()).unwrap_or_default();
        if let Some((_, metrics)) = &before {
            for (reason, count) in metrics.drops_by_reason() {
                drops.entry(reason).and_modify(|total| *total -= count);
            }
        }
        drops.retain(|_, count| *count > 0.0);
        Ok(Seen {
            offered_pps: per_second(sent, begun.1.0),
            answers_pps: per_second(answers, begun.1.1),
            sequential,
            parallel,
            memory_kib: before.zip(after).map(|(before, after)| (before.0, after.0)),
            drops,
        })
    })
}

fn read(progress: &Progress) -> (u64, u64) {
    (progress.sent.load(Ordering::Relaxed), progress.answers.load(Ordering::Relaxed))
}

fn run_clients(lab: &Lab, clients: &Clients, family: u8) -> Result<(handshake::Report, handshake::Report)> {
    let run = |count, concurrency| {
        let options = handshake::Options {
            to: SocketAddr::new(vip(family), 80),
            count,
            concurrency,
            deadline_ms: clients.deadline_ms,
            ..handshake::Options::one_page()
        };
        netns::inside(&lab.topology.client(), || {
            cpu::pin(0, cpu::defence_core())?;
            let started = Instant::now();
            let end = Duration::from_secs(clients.seconds_max);
            let mut outcomes = Vec::new();
            handshake::fetch(&options, || started.elapsed() > end, |outcome| outcomes.push(outcome))?;
            Ok(handshake::Report::of(&outcomes, started.elapsed()))
        })
    };
    Ok((run(clients.sequential, 1)?, run(clients.parallel, clients.concurrency)?))
}
