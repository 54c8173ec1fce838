//! The worlds that every change must survive. `SIM_SEEDS=1000..2000` runs others.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds that are run by default.
const SEEDS: Range<u64> = 0..200;
/// How many of them are run twice.
const SEEDS_TWICE: u64 = 20;

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("SIM_SEEDS") else { return SEEDS };
    let (from, to) = text.split_once("..").expect("SIM_SEEDS looks like 0..200");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn every_seed_keeps_all_promises() {
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let run = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return failures;
                }
                if let Err(failure) = secbeat_sim::run(seed, false) {
                    failures.push(failure.to_string());
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a world panicked")).collect()
    });
    assert!(
        failures.is_empty(),
        "{} of {} seeds failed:\n{}",
        failures.len(),
        seeds.clone().count(),
        failures.join("\n")
    );
}

#[test]
fn same_seed_makes_the_same_world() {
    for seed in 0..SEEDS_TWICE {
        let runs = [secbeat_sim::run(seed, false), secbeat_sim::run(seed, false)];
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}
