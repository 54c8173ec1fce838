//! Our TCP against an independent one, on bad links, from seeds.
//!
//! The peer is the engine of `pktkit`, which shares no code and no author with ours. Every world is a number: the same
//! number makes the same link, the same applications and the same losses. A failing run prints it; to see it again:
//! `SECBEAT_TCP_SEED=<number> cargo test -p secbeat-net --test tcp_peer one_seed -- --nocapture`.
//!
//! What must hold in every world, checked after every step: what arrives is a prefix of what was written; no segment
//! reaches beyond the peer's window; the scoreboard adds up and lies between SND.UNA and SND.NXT; a timer runs while
//! something is in flight; frames carry right checksums; at the end no chunk and no record is held; and the end
//! comes within bounded time, also when the peer vanishes.

mod bulk;
mod clock;
mod frame;
mod link;
mod ours;
mod peer;
mod random;
mod scenario;
mod world;

use scenario::{Outcome, Scenario};

/// Seeds of one test; four tests run beside each other.
const SEEDS: u64 = 1_000;

fn run_seeds(range: core::ops::Range<u64>) {
    for seed in range {
        // Printed only when a test fails: the last one is the failing one.
        println!("seed {seed}");
        let outcome = Scenario::from_seed(seed).run();
        assert!(outcome.is_complete, "seed {seed} did not end: {outcome:?}");
        assert_eq!((outcome.chunk_bytes, outcome.segments_in_flight), (0, 0), "seed {seed} holds memory");
    }
}

#[test]
fn first_quarter_of_the_seeds_delivers_everything() {
    run_seeds(0..SEEDS);
}

#[test]
fn second_quarter_of_the_seeds_delivers_everything() {
    run_seeds(SEEDS..2 * SEEDS);
}

#[test]
fn third_quarter_of_the_seeds_delivers_everything() {
    run_seeds(2 * SEEDS..3 * SEEDS);
}

#[test]
fn last_quarter_of_the_seeds_delivers_everything() {
    run_seeds(3 * SEEDS..4 * SEEDS);
}

/// One world, told by the environment, or seed 0, frame by frame.
#[test]
fn one_seed() {
    let seed = std::env::var("SECBEAT_TCP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let mut scenario = Scenario::from_seed(seed);
    scenario.is_traced = true;
    println!("{scenario:#?}");
    let outcome = scenario.run();
    println!("{outcome:#?}");
    assert!(outcome.is_complete);
}

#[test]
fn the_same_seed_makes_the_same_world() {
    for seed in [3, 77, 1_234_567] {
        let outcomes: Vec<Outcome> = (0..2).map(|_| Scenario::from_seed(seed).run()).collect();
        assert_eq!(outcomes[0], outcomes[1], "seed {seed}");
    }
}

#[test]
fn connection_ends_in_bounded_time_when_its_peer_vanishes() {
    for seed in 10_000..10_040 {
        println!("seed {seed}");
        let outcome = Scenario::from_seed(seed).with_vanishing_peer().run();
        assert!(outcome.is_closed, "seed {seed}: {outcome:?}");
        assert_eq!((outcome.chunk_bytes, outcome.segments_in_flight), (0, 0), "seed {seed} holds memory");
    }
}
