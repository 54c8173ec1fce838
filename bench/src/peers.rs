//! `peers`: SecBeat beside its peers, in one run on one machine, with identical load; the report of the product.
//!
//! Owns: the command line, the order of chapters, saving after every repetition. What a chapter measures is in its
//! module: `floods` (SYN floods with honest clients), `traffic` (fresh connections, bulk), `requests` (requests per
//! CPU-second and latency of proxies), `memory` (idle connections). `result` is the file, `bars` the judgement,
//! `markdown` and `plot` the pages. A subject that fails is an error in its rows; the run goes on. Ctrl-C ends it
//! after the measurement at hand, with everything taken down and what was measured saved.

mod bars;
mod clients;
mod defender;
mod floods;
mod host;
pub(crate) mod idle;
mod load;
mod markdown;
mod memory;
mod plot;
pub(crate) mod report;
mod requests;
pub(crate) mod result;
mod rules;
mod setup;
mod traffic;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Args;

use crate::flood::Rate;
use crate::{cpu, interrupt, stats};
use defender::Defender;
use host::Host;
use result::Document;
use setup::Front;

/// A chapter of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Chapter {
    /// SYN floods: SYN-ACKs, honest clients, processor, memory
    Floods,
    /// Fresh connections and bulk throughput through every defender
    Traffic,
    /// Requests per CPU-second and latency of reverse proxies, kernel sockets on loopback
    Requests,
    /// The same with SecBeat on AF_XDP, over the lab's links
    RequestsXdp,
    /// Memory of idle connections
    Memory,
}

impl Chapter {
    const ALL: [Self; 5] = [Self::Floods, Self::Traffic, Self::Requests, Self::RequestsXdp, Self::Memory];
}

/// Options of `peers`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Only these chapters
    #[arg(long, value_enum, value_delimiter = ',')]
    chapter: Vec<Chapter>,
    /// Repetitions; medians count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    repetitions: u32,
    /// One repetition, three rates, short windows: to see that it works, not to quote
    #[arg(long)]
    quick: bool,
    /// Rates of the floods
    #[arg(long, value_delimiter = ',', default_value = "50k,200k,500k,1M,2M,max")]
    rates: Vec<Rate>,
    /// IP versions of the floods
    #[arg(long, value_delimiter = ',', default_value = "4", value_parser = ip_version)]
    family: Vec<u8>,
    /// Only these defenders in the lab
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Defender>,
    /// Prefix of the lab, which is made and removed
    #[arg(long, default_value = "sbpeers")]
    prefix: String,
    /// Folder for the results (default: bench/results, with --quick target/results)
    #[arg(long)]
    results: Option<PathBuf>,
    /// Name of the result's files
    #[arg(long, default_value = "peers")]
    name: String,
}

fn ip_version(text: &str) -> Result<u8, String> {
    match text {
        "4" => Ok(4),
        "6" => Ok(6),
        _ => Err("4 or 6".to_owned()),
    }
}

/// What a run needs to know everywhere.
#[derive(Clone, Debug)]
struct Plan {
    repetitions: u32,
    /// Length of one measurement of throughput, in whole seconds: wrk counts no others.
    seconds: u32,
    rates: Vec<Rate>,
    families: Vec<u8>,
    defenders: Vec<Defender>,
    prefix: String,
    /// Idle connections that are held.
    idle: u32,
}

impl Plan {
    fn of(options: &Options) -> Self {
        let quick = options.quick;
        let rates = if quick {
            vec![Rate::Fixed(200_000), Rate::Fixed(1_000_000), Rate::Max]
        } else {
            options.rates.clone()
        };
        let is_wanted = |defender: &Defender| options.only.is_empty() || options.only.contains(defender);
        Self {
            repetitions: if quick { 1 } else { options.repetitions },
            seconds: if quick { 1 } else { 2 },
            rates,
            families: options.family.clone(),
            defenders: Defender::ALL.into_iter().filter(is_wanted).collect(),
            prefix: options.prefix.clone(),
            idle: if quick { 2_000 } else { 10_000 },
        }
    }

    /// Defenders of one round: the first is another one each time, so that nobody always comes after the same.
    fn turn(&self, round: u32) -> Vec<Defender> {
        let mut order = self.defenders.clone();
        let count = order.len().max(1);
        order.rotate_left(round as usize % count);
        order
    }
}

/// A result that is being made, and where it goes.
struct Book {
    document: Document,
    path: PathBuf,
    begun: Instant,
}

impl Book {
    /// Saves what there is. A full disk is told, and the run goes on.
    fn save(&mut self) {
        self.document.seconds = self.begun.elapsed().as_secs_f64();
        self.document.bars = bars::judge(&self.document);
        if let Err(error) = self.document.save(&self.path) {
            eprintln!("secbeat-bench: {error:#}");
        }
    }
}

/// Runs the `peers` subcommand; fails when a bar is missed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let plan = Plan::of(options);
    let chapters: Vec<Chapter> = Chapter::ALL
        .into_iter()
        .filter(|one| options.chapter.is_empty() || options.chapter.contains(one))
        .collect();
    // A quick run never replaces a result that is quoted.
    let usual = if options.quick { "target/results" } else { "bench/results" };
    let folder = options.results.clone().unwrap_or_else(|| usual.into());
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    idle::raise_descriptors_to_hard_limit()?;
    let host = Host::ask(&floods::settings());
    let begun_unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let path = folder.join(format!("{}.json", options.name));
    let mut book = Book { document: Document::begin(host, begun_unix), path, begun: Instant::now() };
    let (_awake, _ungrouped) = (cpu::AwakeCores::hold(), cpu::UngroupedSessions::hold());
    let mut failed = false;
    for chapter in chapters {
        if interrupt::requested() {
            break;
        }
        let begun = Instant::now();
        if let Err(error) = play(chapter, &plan, &mut book) {
            failed |= !interrupt::requested();
            eprintln!("{chapter:?}: {error:#}");
        }
        book.save();
        eprintln!("{chapter:?}: {:.0} s", begun.elapsed().as_secs_f64());
    }
    book.document.complete = !failed && !interrupt::requested();
    book.save();
    report::write(&book.document, &folder, &options.name)?;
    println!("{}", show_bars(&book.document));
    println!("result: {}", book.path.display());
    let passed = book.document.complete && book.document.bars.iter().all(|bar| bar.passed || !bar.counts);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn play(chapter: Chapter, plan: &Plan, book: &mut Book) -> Result<()> {
    match chapter {
        Chapter::Floods => {
            let lab = floods::make_lab(&plan.prefix)?;
            repeat(plan, book, "floods", |round, document| {
                floods::round(&lab, document, &plan.turn(round), &plan.rates, &plan.families);
                Ok(())
            })
        }
        Chapter::Traffic => {
            let lab = floods::make_lab(&plan.prefix)?;
            floods::place_others(&lab, cpu::ATTACK_CORE)?;
            repeat(plan, book, "traffic", |round, document| {
                traffic::round(&lab, document, &plan.turn(round), plan.seconds);
                Ok(())
            })
        }
        Chapter::Requests => requests::play(plan, book, Front::Socket),
        Chapter::RequestsXdp => requests::play(plan, book, Front::Xdp),
        Chapter::Memory => memory::play(plan, book),
    }
}

/// Rounds one after the other, saved each: a machine that changes its mind does so for all.
fn repeat(
    plan: &Plan,
    book: &mut Book,
    name: &str,
    mut round: impl FnMut(u32, &mut Document) -> Result<()>,
) -> Result<()> {
    for number in 0..plan.repetitions {
        if interrupt::requested() {
            return Ok(());
        }
        let begun = Instant::now();
        let outcome = round(number, &mut book.document);
        book.save();
        outcome?;
        eprintln!(
            "{name}: repetition {} of {}, {:.0} s",
            number + 1,
            plan.repetitions,
            begun.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

fn show_bars(document: &Document) -> String {
    let mut rows = vec![["bar", "measured", "must be", ""].map(str::to_owned).to_vec()];
    rows.extend(document.bars.iter().map(|bar| bar.cells().to_vec()));
    stats::table(&rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn plan(line: &str) -> Plan {
        Plan::of(&Line::parse_from(std::iter::once("peers").chain(line.split_whitespace())).options)
    }

    #[test]
    fn everybody_is_first_once() {
        let plan = plan("");
        let firsts: Vec<Defender> = (0..9).map(|round| plan.turn(round)[0]).collect();
        for defender in Defender::ALL {
            assert_eq!(firsts.iter().filter(|first| **first == defender).count(), 1, "{defender:?}");
        }
        assert_eq!(plan.rates.len(), 6);
    }

    #[test]
    fn quick_is_one_repetition_of_fewer_rates() {
        let quick = plan("--quick --only secbeat-syn,synproxy --family 6");
        assert_eq!((quick.repetitions, quick.rates.len(), quick.defenders.len()), (1, 3, 2));
        assert_eq!(quick.families, [6]);
    }
}
