//! The machine's ceilings, and how much of them the node reaches.
//!
//! Every figure is taken on the same veth, the generator on one core and the engine on the other, as the
//! median of several repetitions; baselines and node take turns, so that a drifting machine hits both alike.
//! Time that an engine had to wait for its core is not counted against it, so that a busy machine can be used.
//! What is sent back is dropped by a bare XDP program at its receiver, for baseline and node alike: a veth runs
//! its receiver's work on the sender's core, and another sink would only hide the difference.

mod bare;
mod compare;
mod flows;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::flood::{self, Kind, Progress, Rate};
use crate::lab::{self, Lab};
use crate::{cpu, interrupt, stats};
pub(crate) use bare::Bare;
pub(crate) use compare::{CompareOptions, run as run_compare};

/// Before counting begins: rings fill, caches warm, the generator reaches its speed.
const WARM_UP: Duration = Duration::from_millis(300);

/// Options of `limit`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Repetitions; the median counts
    #[arg(long, default_value_t = 5)]
    pub(crate) repetitions: u32,
    /// Length of each measurement in seconds
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// Prefix of the lab, which is made and removed
    #[arg(long, default_value = "sblim")]
    pub(crate) prefix: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Samples of one thing measured, packets per second.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Series {
    /// What was measured.
    pub(crate) name: &'static str,
    /// Every repetition.
    pub(crate) samples: Vec<f64>,
    /// Their median.
    pub(crate) median: f64,
}

impl Series {
    fn of(name: &'static str, samples: Vec<f64>) -> Self {
        let median = stats::median(&samples).unwrap_or(0.0);
        Self { name, samples, median }
    }
}

/// Runs the `limit` subcommand.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let lab = Lab::up(lab::Options { prefix: options.prefix.clone(), ..lab::Options::default() })?;
    let _awake = cpu::AwakeCores::hold();
    let window = Duration::from_secs_f64(options.seconds.clamp(0.1, 60.0));
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); Bare::ALL.len()];
    for _ in 0..options.repetitions.max(1) {
        for (bare, samples) in Bare::ALL.iter().zip(&mut samples) {
            samples.push(bare.measure(&lab, window)?);
        }
    }
    let series: Vec<Series> =
        Bare::ALL.iter().zip(samples).map(|(bare, samples)| Series::of(bare.name(), samples)).collect();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&series)?);
    } else {
        print!("{}", show(&series));
    }
    Ok(ExitCode::SUCCESS)
}

fn show(series: &[Series]) -> String {
    let mut rows = vec![["what", "median pps", "lowest", "highest"].map(str::to_owned).to_vec()];
    for one in series {
        let lowest = one.samples.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = one.samples.iter().copied().fold(0.0, f64::max);
        let shown = [one.median, lowest, highest].map(stats::show_count);
        rows.push([vec![one.name.to_owned()], shown.to_vec()].concat());
    }
    stats::table(&rows)
}

/// What a measurement sends.
#[derive(Clone, Debug)]
pub(crate) enum Load {
    /// A flood of this kind.
    Flood(Kind),
    /// These frames, as they are.
    Frames(Vec<Vec<u8>>),
    /// These frames, each from another address of the random sources.
    Sources(Vec<Vec<u8>>),
}

/// The rate at which `count` grows while the generator sends `load` at full speed.
///
/// Time during which `engine` (`None`: the generator, which then receives as well) was ready to run and something
/// else had its core is not counted: other work on the machine would otherwise decide the comparison.
pub(crate) fn rate_under(
    lab: &Lab,
    load: &Load,
    window: Duration,
    engine: Option<&cpu::Thread>,
    count: impl Fn() -> Result<f64>,
) -> Result<f64> {
    let progress = Progress::default();
    let mut options = flood::Options::for_lab(&lab.topology.prefix, Kind::Syn, 4, Rate::Max, 120);
    // Whoever measures decides what happens to answers.
    options.keep_answers = true;
    if let Load::Flood(kind) = load {
        options.kind = *kind;
    }
    std::thread::scope(|scope| {
        let generator = scope.spawn(|| match load {
            Load::Flood(_) => flood::flood(&options, &progress),
            Load::Frames(frames) => flood::replay(&options, frames, false, &progress),
            Load::Sources(frames) => flood::replay(&options, frames, true, &progress),
        });
        let measured = (|| {
            let give_up = Instant::now() + Duration::from_secs(5);
            while progress.sent.load(Ordering::Relaxed) == 0 && Instant::now() < give_up {
                if generator.is_finished() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(WARM_UP);
            let Some(engine) = engine.or(progress.thread.get()) else { bail!("the generator does not run") };
            let (begun, waited, before) = (Instant::now(), engine.waited(), count()?);
            interrupt::sleep(window);
            let elapsed = begun.elapsed().saturating_sub(engine.waited().saturating_sub(waited));
            let after = count()?;
            Ok((after - before) / elapsed.as_secs_f64().max(1e-3))
        })();
        progress.stop.store(true, Ordering::Relaxed);
        let sent = generator.join().map_err(|_| anyhow!("the generator panicked"))?;
        sent.context("generator")?;
        if interrupt::requested() {
            bail!("interrupted");
        }
        measured
    })
}
