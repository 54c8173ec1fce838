//! Much data over one bad link: our sender beside the peer's, and our receiver beside the peer's.
//!
//! The figures are simulated time, so they are the same on every machine; a change of congestion control or of
//! recovery shows here first.

use core::net::IpAddr;

use CongestionKind::{Bbr, Cubic};
use pktkit::vtcp::ConnConfig;
use secbeat_net::syncookie::Offer;
use secbeat_net::tcp::{CongestionKind, Limits, SendCounters};

use crate::frame::Ends;
use crate::link::{Path, Quality};
use crate::ours::Ours;
use crate::peer::{Peer, Plan};
use crate::random::Random;
use crate::world::World;

/// Longest that one transfer may take, microseconds.
const TRANSFER_US_MAX: u64 = 3_600_000_000;

/// How fast a transfer was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speed {
    /// Kilobytes per second.
    pub(crate) rate: u64,
    /// Of our side.
    pub(crate) counters: SendCounters,
}

const ENDS: Ends = Ends {
    client: IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 7)),
    server: IpAddr::V4(core::net::Ipv4Addr::new(198, 51, 100, 1)),
    client_port: 40_000,
    server_port: 443,
};

fn plan(write: u64, read: u64, streams: (u64, u64)) -> Plan {
    Plan { write, read, piece: 64 << 10, pause_us: 0, closes_early: write > 0, streams }
}

fn limits(congestion: CongestionKind, queue_bytes_max: u32) -> Limits {
    let mut limits = crate::ours::small_limits();
    (limits.send.congestion, limits.send.queue_bytes_max) = (congestion, queue_bytes_max);
    limits
}

/// `bytes` from our server to the peer.
pub(crate) fn ours_sends(
    bytes: u64,
    quality: Quality,
    congestion: CongestionKind,
    queue_bytes_max: u32,
    seed: u64,
) -> Speed {
    let mut random = Random::new(seed);
    let (one, two) = (Random::new(random.next()), Random::new(random.next()));
    crate::clock::set(1_000_000_000_000);
    let ours = Ours::new(
        limits(congestion, queue_bytes_max),
        Offer::default(),
        ENDS,
        plan(bytes, 0, (1, 2)),
        7,
        one,
    );
    let peer = Peer::new(ConnConfig::default(), ENDS, true, plan(0, bytes, (2, 1)), 9, two);
    let mut world = World::new(ENDS, peer, ours, Path::new(quality), Path::new(quality), random);
    assert!(world.run(TRANSFER_US_MAX), "the transfer did not end");
    assert_eq!(world.client.read, bytes);
    Speed { rate: bytes * 1_000 / world.now_us, counters: *world.server.stack.send_counters() }
}

/// `bytes` from the peer to our server.
pub(crate) fn ours_receives(bytes: u64, quality: Quality, seed: u64) -> Speed {
    let mut random = Random::new(seed);
    let (one, two) = (Random::new(random.next()), Random::new(random.next()));
    crate::clock::set(1_000_000_000_000);
    let ours = Ours::new(limits(Cubic, 256 << 10), Offer::default(), ENDS, plan(0, bytes, (1, 2)), 7, one);
    let peer = Peer::new(ConnConfig::default(), ENDS, true, plan(bytes, 0, (2, 1)), 9, two);
    let mut world = World::new(ENDS, peer, ours, Path::new(quality), Path::new(quality), random);
    assert!(world.run(TRANSFER_US_MAX), "the transfer did not end");
    assert_eq!(world.server.read, bytes);
    Speed { rate: bytes * 1_000 / world.now_us, counters: *world.server.stack.send_counters() }
}

/// `bytes` from one of the peer's kind to another.
pub(crate) fn peer_sends(bytes: u64, quality: Quality, seed: u64) -> Speed {
    let mut random = Random::new(seed);
    let (one, two) = (Random::new(random.next()), Random::new(random.next()));
    crate::clock::set(1_000_000_000_000);
    let server = Peer::new(ConnConfig::default(), ENDS, false, plan(bytes, 0, (1, 2)), 7, one);
    let client = Peer::new(ConnConfig::default(), ENDS, true, plan(0, bytes, (2, 1)), 9, two);
    let mut world = World::new(ENDS, client, server, Path::new(quality), Path::new(quality), random);
    assert!(world.run(TRANSFER_US_MAX), "the transfer did not end");
    assert_eq!(world.client.read, bytes);
    Speed { rate: bytes * 1_000 / world.now_us, counters: SendCounters::default() }
}

/// 20 ms of round trip, and so much loss and reordering both ways, per mille.
pub(crate) fn link(loss: u32, reorder: u32) -> Quality {
    Quality { loss, reorder, ..Quality::good(10_000) }
}

/// The middle of the rates of some seeds.
fn median(rate: impl Fn(u64) -> u64) -> u64 {
    let mut rates: Vec<u64> = (1..=5).map(rate).collect();
    rates.sort_unstable();
    rates[2]
}

/// Whether `ours` is at least nine tenths of `other`.
#[track_caller]
fn assert_comparable(ours: u64, other: u64) {
    println!("ours {ours} kB/s, to compare with {other} kB/s");
    assert!(ours * 10 >= other * 9, "ours {ours} kB/s, to compare with {other} kB/s");
}

#[test]
fn our_sender_is_as_fast_as_the_peers_through_loss() {
    let link = link(10, 0);
    let ours = median(|seed| ours_sends(4_000_000, link, Cubic, 256 << 10, seed).rate);
    assert_comparable(ours, median(|seed| peer_sends(4_000_000, link, seed).rate));
}

#[test]
fn model_of_the_path_carries_many_times_more_through_loss_and_reordering() {
    let link = link(20, 10);
    let model = median(|seed| ours_sends(8_000_000, link, Bbr, 2 << 20, seed).rate);
    let cubic = median(|seed| ours_sends(4_000_000, link, Cubic, 2 << 20, seed).rate);
    assert!(model > 5 * cubic, "BBR {model} kB/s, CUBIC {cubic} kB/s");
}

#[test]
fn model_of_the_path_fills_a_bottleneck_without_losing_in_its_queue() {
    let link = Quality { bytes_per_ms: 1_250, queue_bytes: 60_000, ..link(0, 0) };
    let speed = ours_sends(4_000_000, link, Bbr, 2 << 20, 1);
    assert_comparable(speed.rate, 1_200);
    assert_eq!(speed.counters.retransmitted, 0);
}

#[test]
fn our_receiver_is_as_fast_as_the_peers_through_loss() {
    let link = link(10, 0);
    let ours = median(|seed| ours_receives(4_000_000, link, seed).rate);
    assert_comparable(ours, median(|seed| peer_sends(4_000_000, link, seed).rate));
}

/// Not compared with the peer's engine, which hardly reduces its window once it has seen reordering.
#[test]
fn reordering_costs_our_sender_nothing_beside_the_loss() {
    let reordered = median(|seed| ours_sends(4_000_000, link(20, 10), Cubic, 256 << 10, seed).rate);
    assert_comparable(
        reordered,
        median(|seed| ours_sends(4_000_000, link(20, 0), Cubic, 256 << 10, seed).rate),
    );
}

#[test]
fn reordering_alone_leaves_the_window_open() {
    let speed = ours_sends(4_000_000, link(0, 10), Cubic, 256 << 10, 1);
    assert_eq!(speed.counters.timeouts, 0);
    assert_comparable(speed.rate, ours_sends(4_000_000, link(0, 0), Cubic, 256 << 10, 1).rate);
}

/// The table for the documentation: `cargo test -p secbeat-net --test tcp_peer speeds -- --ignored --nocapture`.
#[test]
#[ignore = "50 MB per row; prints figures"]
fn speeds_of_fifty_megabytes() {
    println!("kB/s by loss and reordering (per mille) and bottleneck (kB/s, with 60 kB of queue)");
    println!("{:>25} | CUBIC 256 KiB | 2 MiB | BBR 256 KiB | 2 MiB | peer -> peer | peer -> ours", "");
    for (loss, reorder, bytes_per_ms) in [
        (0, 0, 0),
        (0, 10, 0),
        (1, 0, 0),
        (10, 0, 0),
        (10, 10, 0),
        (20, 10, 0),
        (50, 10, 0),
        (0, 0, 1_250),
        (1, 0, 1_250),
        (20, 10, 1_250),
    ] {
        let link = Quality { bytes_per_ms, queue_bytes: 60_000, ..link(loss, reorder) };
        let ours = |congestion, queue| ours_sends(50_000_000, link, congestion, queue, 1);
        let rates = [
            ours(Cubic, 256 << 10).rate,
            ours(Cubic, 2 << 20).rate,
            ours(Bbr, 256 << 10).rate,
            ours(Bbr, 2 << 20).rate,
            peer_sends(50_000_000, link, 1).rate,
            ours_receives(50_000_000, link, 1).rate,
        ];
        println!("{loss:>6} {reorder:>6} {bytes_per_ms:>10}   {rates:>8?}");
        println!("   BBR {:?}", ours(Bbr, 2 << 20).counters);
    }
}
