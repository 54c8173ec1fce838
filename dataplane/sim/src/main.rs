//! `secbeat-sim`: runs simulated worlds from seeds.
#![forbid(unsafe_code)]

use clap::Parser;
use secbeat_sim::scenario::Scenario;
use std::ops::Range;
use std::process::ExitCode;

/// Runs simulated worlds from seeds and says which one failed.
#[derive(Parser)]
struct Cli {
    /// One seed to run.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// A range of seeds, `0..200`.
    #[arg(long, value_parser = parse_range, default_value = "0..200")]
    seeds: Range<u64>,
    /// Print every frame.
    #[arg(long)]
    trace: bool,
    /// Print what the seed means before running it.
    #[arg(long)]
    show: bool,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("a range looks like 0..200")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    Ok(number(from)?..number(to)?)
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let seeds = cli.seed.map_or(cli.seeds, |seed| seed..seed + 1);
    let is_single = cli.seed.is_some();
    let mut failures = 0;
    for seed in seeds.clone() {
        if cli.show {
            println!("{:#?}", Scenario::draw(seed));
        }
        match secbeat_sim::run(seed, cli.trace) {
            Ok(summary) if is_single => println!("{summary:#?}"),
            Ok(_) => {}
            Err(failure) => {
                println!("{failure}");
                failures += 1;
            }
        }
    }
    println!("{} seeds, {failures} failed", seeds.end - seeds.start);
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
