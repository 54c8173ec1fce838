//! What a packet costs a worker, without any kernel: nanoseconds per frame through `Worker::turn`, in memory.
//!
//! `cargo run --release -p secbeat-node --example turn_cost`. The in-memory ports copy each frame twice; the line
//! "no listener" shows that floor together with parse, checksum and lists, so look at the differences.

#[path = "../tests/worker/packet.rs"]
mod packet;
#[path = "../tests/worker/talk.rs"]
mod talk;
#[path = "../tests/worker/world.rs"]
mod world;

use std::time::Instant;

use packet::Segment;
use secbeat_net::wire::tcp::Flags;
use world::{CONFIG, VIP, World, at, lists};

/// Frames put on the wire before each turn: one burst.
const BURST: usize = 64;
/// Bursts per measurement.
const ROUNDS: usize = 20_000;

fn main() {
    let vip = at(VIP, 80);
    let source = |n: usize| at(&format!("10.1.{}.{}", n / 200, 2 + n % 200), 1_024 + n as u16);
    let frames = |make: &dyn Fn(usize) -> Segment| -> Vec<Vec<u8>> {
        (0..BURST).map(|n| make(n).frame(world::CLIENT_MAC, [2, 0, 0, 0, 0, 1])).collect()
    };
    let syns = frames(&|n| Segment::new(source(n), vip, Flags::SYN, n as u32, 0).with_syn_options(1));
    let acks = frames(&|n| Segment::new(source(n), vip, Flags::ACK, n as u32, 7).with_timestamps(1, 2));
    let strays = frames(&|n| Segment::new(source(n), at(VIP, 81), Flags::ACK, n as u32, 7));
    measure("no listener", &mut World::new(CONFIG), &strays);
    measure("SYN -> cookie", &mut World::new(CONFIG), &syns);
    measure("forged ACK dropped", &mut World::new(CONFIG), &acks);
    let mut blocked = World::new(CONFIG);
    blocked.reload_with(CONFIG, lists(&[], &["10.1.0.0/16"]));
    measure("blocklisted", &mut blocked, &syns);
    let mut spliced = World::new(CONFIG);
    let mut talk = spliced.establish(at("10.1.0.9", 4_000)).expect("established");
    spliced.say(&mut talk, b"warm up");
    let segment = Segment::new(talk.client, talk.vip, Flags::ACK, talk.client_seq, talk.client_ack);
    let segment = segment.with_timestamps(7, talk.echo);
    measure("spliced ACK", &mut spliced, &frames(&|_| segment.clone()));
}

fn measure(name: &str, world: &mut World, frames: &[Vec<u8>]) {
    let mut spent = std::time::Duration::ZERO;
    for _ in 0..ROUNDS {
        world.load(0, frames);
        let start = Instant::now();
        world.turn_once(0);
        spent += start.elapsed();
        world.discard();
    }
    let per_frame = spent.as_nanos() as f64 / (ROUNDS * frames.len()) as f64;
    println!("{name:20} {per_frame:7.1} ns per frame");
}
