//! Whole nodes in one thread from a seed.
//!
//! A seed draws a world: clients, attackers, origins, bad links, operators. Real workers run in it on a virtual
//! clock, and after every step it is checked that
//!
//! * every frame a worker took is sent, held, used up, handed over or dropped for a counted reason, and every
//!   chunk of packet memory is where it should be;
//! * no turn of a worker allocates or frees memory;
//! * the bytes of each connection arrive whole and in order, and what must complete does once links are good;
//! * the table by which the XDP program drops what belongs to no flow misses no live one (half of the worlds have
//!   such a program, see `forefront`);
//! * no flow exists for a source that has not proved its address, and no such packet reaches an origin;
//! * an allowlisted client is served whatever the lists say, a blocklisted one is not;
//! * every frame the node sends is well-formed, and addressed to the right host on the right wire;
//! * the same seed makes the same frames at the same times.
//!
//! `cargo run -p secbeat-sim -- --seed 17` replays a world, `--seeds 0..200` runs many.
#![forbid(unsafe_code)]

pub mod appliance;
pub mod attack;
pub mod client;
pub mod datagram;
pub mod forefront;
pub mod fragment;
pub mod frame;
pub mod link;
pub mod origin;
pub mod random;
pub mod scenario;
pub mod tcp;
pub mod world;

use scenario::Scenario;
use world::{Failure, Summary, World};

/// Runs the world of a seed.
///
/// # Errors
/// What did not hold, with the seed.
pub fn run(seed: u64, is_traced: bool) -> Result<Summary, Failure> {
    World::new(Scenario::draw(seed), is_traced)?.run()
}
