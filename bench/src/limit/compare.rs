//! `compare-limit`: the node against the machine's ceilings, in one run.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::bare::{Sink, forged_acks, forged_syns};
use super::flows::Flows;
use super::{Bare, Load, Series, rate_under, show};
use crate::flood::Kind;
use crate::lab::{self, ATTACK, DefenderReceives, Lab, ORIGIN};
use crate::node::{Node, Settings};
use crate::{cpu, stats};

/// Sources of the blocklist measurement: what the generator draws random sources from.
const BLOCKED: &str = "32.0.0.0/3";
/// Connections whose segments are spliced: as many as the generator sends in turn.
const FLOWS: u16 = 16;

/// Options of `compare-limit`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompareOptions {
    /// Repetitions; medians are compared
    #[arg(long, default_value_t = 5)]
    pub(crate) repetitions: u32,
    /// Length of each measurement in seconds
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// Only these comparisons
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Subject>,
    /// Prefix of the lab, which is made and removed
    #[arg(long, default_value = "sblim")]
    pub(crate) prefix: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the JSON to this file as well
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

/// A comparison that the node must pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Subject {
    /// SYN answered with a cookie
    SynAck,
    /// Forged ACK dropped
    ForgedAck,
    /// One blocklisted source
    Blocked,
    /// Random blocklisted sources
    BlockedMany,
    /// Established segment spliced
    Spliced,
}

impl Subject {
    const ALL: [Self; 5] = [Self::SynAck, Self::ForgedAck, Self::Blocked, Self::BlockedMany, Self::Spliced];

    fn name(self) -> &'static str {
        match self {
            Self::SynAck => "node: SYN answered with a cookie",
            Self::ForgedAck => "node: forged ACK dropped",
            Self::Blocked => "node: blocklisted source dropped",
            Self::BlockedMany => "node: the same, random sources, other core",
            Self::Spliced => "node: established segment spliced",
        }
    }

    fn baseline(self) -> Bare {
        match self {
            Self::SynAck | Self::Spliced => Bare::XskEcho,
            Self::ForgedAck => Bare::XskDrop,
            Self::Blocked => Bare::XdpDrop,
            Self::BlockedMany => Bare::XdpDropMany,
        }
    }

    /// Least share of the baseline; `None` is only reported.
    fn bar(self) -> Option<f64> {
        match self {
            Self::SynAck => Some(0.85),
            Self::ForgedAck => Some(0.70),
            Self::Blocked => Some(0.90),
            // Shows what reading a packet costs that lies in the other core's cache, see `Bare::XdpDropMany`.
            Self::BlockedMany => None,
            Self::Spliced => Some(0.60),
        }
    }
}

/// One line of the verdict.
#[derive(Clone, Debug, serde::Serialize)]
struct Ratio {
    name: &'static str,
    baseline: &'static str,
    ratio: f64,
    bar: Option<f64>,
    passed: bool,
}

#[derive(Debug, serde::Serialize)]
struct Outcome {
    kernel: String,
    repetitions: u32,
    seconds: f64,
    series: Vec<Series>,
    ratios: Vec<Ratio>,
}

/// Runs the `compare-limit` subcommand; fails when a ratio is below its bar.
pub(crate) fn run(options: &CompareOptions) -> Result<ExitCode> {
    let lab = Lab::up(lab::Options { prefix: options.prefix.clone(), ..lab::Options::default() })?;
    let _awake = cpu::AwakeCores::hold();
    let outcome = measure(&lab, options)?;
    let json = serde_json::to_string_pretty(&outcome)?;
    if let Some(path) = &options.out {
        fs::write(path, &json).with_context(|| format!("write {}", path.display()))?;
    }
    if options.json {
        println!("{json}");
    } else {
        print!("{}\n{}", show(&outcome.series), show_ratios(&outcome.ratios));
    }
    let passed = outcome.ratios.iter().all(|ratio| ratio.passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(lab: &Lab, options: &CompareOptions) -> Result<Outcome> {
    let window = Duration::from_secs_f64(options.seconds.clamp(0.1, 60.0));
    let repetitions = options.repetitions.max(1);
    let is_wanted = |subject: &Subject| options.only.is_empty() || options.only.contains(subject);
    let subjects: Vec<Subject> = Subject::ALL.into_iter().filter(is_wanted).collect();
    let is_needed = |bare: &Bare| subjects.iter().any(|subject| subject.baseline() == *bare);
    let baselines: Vec<Bare> = Bare::ALL.into_iter().filter(is_needed).collect();
    let mut bare = vec![Vec::new(); baselines.len()];
    let mut node = vec![Vec::new(); subjects.len()];
    for round in 0..repetitions {
        for (baseline, samples) in baselines.iter().zip(&mut bare) {
            samples.push(baseline.measure(lab, window)?);
        }
        for (subject, samples) in subjects.iter().zip(&mut node) {
            let rate = subject.measure(lab, window, round).with_context(|| subject.name())?;
            samples.push(rate);
        }
        eprintln!("repetition {} of {repetitions} done", round + 1);
    }
    let named = |names: Vec<&'static str>, samples: Vec<Vec<f64>>| -> Vec<Series> {
        names.into_iter().zip(samples).map(|(name, samples)| Series::of(name, samples)).collect()
    };
    let bare = named(baselines.iter().map(|bare| bare.name()).collect(), bare);
    let node = named(subjects.iter().map(|subject| subject.name()).collect(), node);
    let ratios = subjects.iter().zip(&node).map(|(subject, series)| ratio(*subject, series, &bare)).collect();
    Ok(Outcome {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        repetitions,
        seconds: window.as_secs_f64(),
        series: [bare, node].concat(),
        ratios,
    })
}

fn ratio(subject: Subject, series: &Series, bare: &[Series]) -> Ratio {
    let baseline = subject.baseline().name();
    let ceiling = bare.iter().find(|one| one.name == baseline).map_or(0.0, |one| one.median);
    let ratio = if ceiling > 0.0 { series.median / ceiling } else { 0.0 };
    let bar = subject.bar();
    Ratio { name: series.name, baseline, ratio, bar, passed: bar.is_none_or(|bar| ratio >= bar) }
}

fn show_ratios(ratios: &[Ratio]) -> String {
    let mut rows = vec![["verdict", "of", "reached", "bar", ""].map(str::to_owned).to_vec()];
    for one in ratios {
        rows.push(vec![
            one.name.to_owned(),
            one.baseline.to_owned(),
            format!("{:.0} %", one.ratio * 100.0),
            one.bar.map_or("-".to_owned(), |bar| format!("{:.0} %", bar * 100.0)),
            match (one.bar, one.passed) {
                (None, _) => "",
                (_, true) => "pass",
                (_, false) => "FAIL",
            }
            .to_owned(),
        ]);
    }
    stats::table(&rows)
}

impl Subject {
    fn measure(self, lab: &Lab, window: Duration, round: u32) -> Result<f64> {
        let is_blocked = matches!(self, Self::Blocked | Self::BlockedMany);
        let block = if is_blocked { vec![BLOCKED.to_owned()] } else { Vec::new() };
        let node = Node::start(lab, &Settings { block, ..Settings::default() })?;
        let worker =
            cpu::Thread::named(node.pid(), "worker-0").context("the node has no thread `worker-0`")?;
        let attacker = lab.topology.attacker();
        match self {
            Self::SynAck => {
                let sink = Sink::attach(&attacker, ATTACK.far_if)?;
                rate_under(lab, &Load::Flood(Kind::Syn), window, Some(&worker), || Ok(sink.packets()))
            }
            Self::ForgedAck => {
                let _sink = Sink::attach(&attacker, ATTACK.far_if)?;
                rate_under(lab, &forged_acks(), window, Some(&worker), || Ok(node.metrics()?.worker_drops()))
            }
            Self::Blocked | Self::BlockedMany => {
                let many = self == Self::BlockedMany;
                let receives = many.then(|| DefenderReceives::begin(&lab.topology)).transpose()?;
                let engine = receives.as_ref().map(|receives| &receives.thread);
                let load = forged_syns(many);
                rate_under(lab, &load, window, engine, || Ok(node.metrics()?.blocklisted()))
            }
            Self::Spliced => {
                let flows = Flows::open(lab, FLOWS, round)?;
                // The origin answers the handshakes first; then its side only counts.
                std::thread::sleep(Duration::from_millis(100));
                let sink = Sink::attach(&lab.topology.origin(), ORIGIN.far_if)?;
                let load = Load::Frames(flows.frames.clone());
                rate_under(lab, &load, window, Some(&worker), || Ok(sink.packets()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_judged_against_its_own_baseline() {
        let bare: Vec<Series> = Bare::ALL
            .iter()
            .zip([8e6, 1.4e6, 9e6, 5e6])
            .map(|(one, pps)| Series::of(one.name(), vec![pps]))
            .collect();
        let judge = |subject: Subject, pps| ratio(subject, &Series::of(subject.name(), vec![pps]), &bare);
        assert!(judge(Subject::SynAck, 1.2e6).passed);
        assert!(!judge(Subject::SynAck, 1.1e6).passed);
        assert!(judge(Subject::ForgedAck, 5.7e6).passed);
        assert!(!judge(Subject::Blocked, 8e6).passed);
        assert!(judge(Subject::Spliced, 0.85e6).passed);
    }

    #[test]
    fn no_baseline_is_no_pass() {
        assert!(!ratio(Subject::SynAck, &Series::of("x", vec![1.0]), &[]).passed);
    }
}
