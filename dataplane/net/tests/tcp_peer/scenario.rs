//! A world from a number: link, options, applications.

use core::net::IpAddr;
use core::time::Duration;

use pktkit::vtcp::{CongestionKind as PeerCongestion, ConnConfig};
use secbeat_net::syncookie::Offer;
use secbeat_net::tcp::{CongestionKind, Limits, SendCounters};

use crate::frame::Ends;
use crate::link::{Path, Quality};
use crate::ours::{Ours, is_orderly, small_limits};
use crate::peer::{Peer, Plan};
use crate::random::Random;
use crate::world::World;

/// Longest that a conversation may take, microseconds of simulated time: the worst links lose a tenth of everything.
const CONVERSATION_US_MAX: u64 = 1_200_000_000;

/// Longest that a connection may live after its peer vanished: keep-alive of an idle one (2 h and 9 probes) included.
const VANISHED_US_MAX: u64 = 8_400_000_000;

/// Everything that the seed decides.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    seed: u64,
    up: Quality,
    down: Quality,
    pub(crate) client: Plan,
    pub(crate) server: Plan,
    offer: Offer,
    limits: Limits,
    config: ConnConfig,
    is_v6: bool,
    isns: (u32, u32),
    vanishes_us: Option<u64>,
    /// Whether every frame is printed.
    pub(crate) is_traced: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Both sides got everything and closed in order.
    pub(crate) is_complete: bool,
    /// Our connection is gone.
    pub(crate) is_closed: bool,
    pub(crate) time_us: u64,
    pub(crate) frames: u64,
    pub(crate) received: (u64, u64),
    /// Held at the end.
    pub(crate) chunk_bytes: usize,
    pub(crate) segments_in_flight: usize,
    pub(crate) counters: SendCounters,
}

fn quality(random: &mut Random) -> Quality {
    let delay_us = random.pick(&[50, 500, 2_000, 10_000, 20_000, 50_000, 150_000]);
    let is_calm = random.happens(150);
    let level = |random: &mut Random, levels: &[u32]| if is_calm { 0 } else { random.pick(levels) };
    let mut quality = Quality {
        jitter_us: if is_calm { 0 } else { random.between(0, delay_us / 2) },
        is_unordered: random.happens(300),
        loss: level(random, &[0, 0, 5, 10, 20, 50, 100]),
        reorder: level(random, &[0, 0, 5, 10, 30, 100]),
        duplicate: level(random, &[0, 0, 5, 20, 50]),
        corrupt: level(random, &[0, 0, 0, 5, 20]),
        ..Quality::good(delay_us)
    };
    if random.happens(400) {
        quality.bytes_per_ms = random.pick(&[30, 125, 1_250, 12_500]);
        quality.queue_bytes = random.pick(&[8_000, 20_000, 60_000, 250_000]);
    }
    quality
}

fn plan(random: &mut Random, sizes: (u64, u64), streams: (u64, u64)) -> Plan {
    Plan {
        write: sizes.0,
        read: sizes.1,
        piece: random.pick(&[1, 100, 1_000, 5_000, 40_000]),
        pause_us: if random.happens(250) { random.pick(&[100, 5_000, 100_000]) } else { 0 },
        closes_early: random.happens(500),
        streams,
    }
}

/// Bytes of a transfer: often little, sometimes much; single bytes only of little.
fn size(random: &mut Random) -> u64 {
    match random.between(0, 9) {
        0 => 0,
        1..=4 => random.between(1, 5_000),
        5..=8 => random.between(5_000, 100_000),
        _ => random.between(100_000, 600_000),
    }
}

/// What this application can read in a minute, or write as single bytes over the slowest line with the worst losses: a
/// connection that moves slower is given up by limits that are not under test here.
fn bytes_max(plan: &Plan) -> u64 {
    let by_pause = (plan.piece as u64 * 60_000_000).checked_div(plan.pause_us).unwrap_or(u64::MAX);
    if plan.piece == 1 { by_pause.min(500) } else { by_pause }
}

fn config(random: &mut Random) -> ConnConfig {
    let buffer = random.pick(&[4_000, 20_000, 100_000, 1_000_000]);
    ConnConfig::default()
        .mss(random.pick(&[1_460, 1_460, 1_440, 1_000, 536]))
        .no_window_scaling(random.happens(150))
        .enable_timestamps(!random.happens(250))
        .enable_sack(!random.happens(200))
        .nodelay(random.happens(500))
        .recv_buf_size(buffer)
        .recv_buf_max(buffer.max(random.pick(&[4_000, 4_000_000])))
        .congestion(if random.happens(300) { PeerCongestion::NewReno } else { PeerCongestion::Cubic })
}

impl Scenario {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x7ea5_1e55);
        let (up, mut down) = (quality(&mut random), quality(&mut random));
        if random.happens(200) {
            down.mtu = random.pick(&[1_492, 1_400, 1_300]);
            down.says_too_big = random.happens(600);
        }
        let (mut sent, mut received) = (size(&mut random), size(&mut random));
        let (mut client, mut server) =
            (plan(&mut random, (0, 0), (seed, !seed)), plan(&mut random, (0, 0), (!seed, seed)));
        sent = sent.min(bytes_max(&client)).min(bytes_max(&server));
        received = received.min(bytes_max(&client)).min(bytes_max(&server));
        (client.write, client.read) = (received, sent);
        (server.write, server.read) = (sent, received);
        // A client that says nothing after its handshake, whose ACK was lost, is not known to a server with cookies.
        client.closes_early |= client.write == 0;
        // Somebody must begin to close, and not both wait for the other.
        if !client.closes_early && !server.closes_early {
            server.closes_early = true;
        }
        let mut limits = small_limits();
        // A reader of single bytes may take longer than any sensible limit.
        limits.fin_wait_2 = Duration::from_secs(1_200);
        limits.send.congestion =
            random.pick(&[CongestionKind::Bbr, CongestionKind::Cubic, CongestionKind::NewReno]);
        limits.send.queue_bytes_max = random.pick(&[16 << 10, 64 << 10, 256 << 10]);
        let near_wrap = 0u32.wrapping_sub(random.between(1, 50_000) as u32);
        Self {
            seed,
            up,
            down,
            client,
            server,
            offer: Offer::default(),
            limits,
            config: config(&mut random),
            is_v6: random.happens(300),
            isns: (random.pick(&[near_wrap, 1, 0x7fff_f000]), random.pick(&[near_wrap, 7, 0x7fff_ff00])),
            vanishes_us: None,
            is_traced: false,
        }
    }

    /// The same, but at some moment nothing passes any more.
    pub(crate) fn with_vanishing_peer(mut self) -> Self {
        let mut random = Random::new(self.seed);
        self.vanishes_us = Some(self.up.delay_us * 3 + random.between(1, 2_000_000));
        // One that has not closed yet, so that there is something to be missed.
        (self.client.closes_early, self.server.closes_early) = (false, true);
        self.client.write = self.client.write.max(1);
        self.server.read = self.client.write;
        self
    }

    pub(crate) fn ends(&self) -> Ends {
        let addr = |v4: [u8; 4], v6: u16| {
            if self.is_v6 { IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, v6]) } else { IpAddr::from(v4) }
        };
        Ends {
            client: addr([192, 0, 2, 7], 7),
            server: addr([198, 51, 100, 1], 1),
            client_port: 40_000,
            server_port: 443,
        }
    }

    pub(crate) fn run(&self) -> Outcome {
        let ends = self.ends();
        let mut random = Random::new(self.seed);
        let (one, two) = (Random::new(random.next()), Random::new(random.next()));
        crate::clock::set(1_000_000_000_000);
        let ours = Ours::new(self.limits, self.offer, ends, self.server.clone(), self.isns.1, one);
        let peer = Peer::new(self.config.clone(), ends, true, self.client.clone(), self.isns.0, two);
        let mut world = World::new(ends, peer, ours, Path::new(self.up), Path::new(self.down), random);
        (world.cut_us, world.is_traced) = (self.vanishes_us, self.is_traced);
        let limit = if self.vanishes_us.is_some() { VANISHED_US_MAX } else { CONVERSATION_US_MAX };
        let is_over = world.run(limit);
        let closed = world.server.closed;
        let is_complete = is_over
            && closed.as_ref().is_some_and(is_orderly)
            && world.server.read == self.server.read
            && world.client.read == self.client.read;
        Outcome {
            is_complete,
            is_closed: closed.is_some() || world.server.connection.is_none(),
            time_us: world.now_us,
            frames: world.frames,
            received: (world.client.read, world.server.read),
            chunk_bytes: world.server.stack.counts().chunk_bytes,
            segments_in_flight: world.server.stack.counts().segments_in_flight,
            counters: *world.server.stack.send_counters(),
        }
    }
}
