//! What a seed means: the shape of a simulated world.
//!
//! Owns: every random choice that is made before the clock starts. Does not own: what happens then (`world`).
//! A scenario draws few things at a time, so that what fails can be read: the printed summary names them.

use crate::attack::{Disguise, KINDS, Kind};
use crate::client::{Ending, Plan, Promise};
use crate::datagram;
use crate::link::Impairment;
use crate::random::Random;
use crate::tcp::Settings;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use secbeat_net::time::Instant;

/// Sessions of honest clients, at most: enough to meet each other, few enough for a fast seed.
const SESSIONS_MAX: u64 = 40;
/// Most bytes of one answer.
const ANSWER_BYTES_MAX: u64 = 200_000;
/// Attack packets per seed over all attacks, at most.
const ATTACK_FRAMES_MAX: u64 = 6_000;
/// When every link becomes good.
const HEALS_AT_MS: u64 = 4_000;
/// Sessions start before this.
const STARTS_BEFORE_MS: u64 = 3_000;

/// How SYNs are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `mode = "syn"`, `syn_cookies = "always"`.
    Cookies,
    /// `mode = "syn"`, `syn_cookies = "auto"` with a small half-open table.
    Auto,
    /// `mode = "syn"`, `syn_cookies = "never"`.
    HalfOpen,
    /// `mode = "tcp"`, `syn_cookies = "never"`: the backend answers.
    PassThrough,
    /// `mode = "tcp"`, `syn_cookies = "auto"`: the backend answers until there is an attack.
    PassThroughAuto,
}

/// How often each mode is drawn.
const MODES: [Mode; 6] =
    [Mode::Cookies, Mode::Cookies, Mode::Auto, Mode::HalfOpen, Mode::PassThrough, Mode::PassThroughAuto];

impl Mode {
    /// Whether SYNs may be answered with cookies.
    pub fn may_use_cookies(self) -> bool {
        matches!(self, Self::Cookies | Self::Auto | Self::PassThroughAuto)
    }

    /// Whether backends answer SYNs in peace.
    pub fn passes_through(self) -> bool {
        matches!(self, Self::PassThrough | Self::PassThroughAuto)
    }
}

/// Packets of one attack.
#[derive(Clone, Copy, Debug)]
pub struct AttackPlan {
    /// What is sent.
    pub kind: Kind,
    /// Who it claims to come from.
    pub disguise: Disguise,
    /// When it starts.
    pub start: Instant,
    /// Number of packets.
    pub frames: u64,
    /// Time between two bursts.
    pub interval: Duration,
    /// Packets per burst.
    pub burst: u64,
    /// Whether it aims at the IPv6 service.
    pub is_v6: bool,
}

/// Something an operator or the surroundings do while the world runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A policy with the same content: workers must adopt it unnoticed.
    Recompile,
    /// Cookie keys move on by one epoch.
    NextEpoch,
    /// A client is banned; open connections of it are cut off too.
    Ban {
        /// Which client.
        client: usize,
    },
    /// An origin refuses new connections, or accepts them again.
    Origin {
        /// Which origin.
        index: usize,
        /// Whether it accepts.
        accepts: bool,
        /// Whether it stays silent instead of refusing.
        is_silent: bool,
    },
    /// No new connections; open ones end in peace.
    Drain,
}

/// A client host.
#[derive(Clone, Debug)]
pub struct ClientHost {
    /// Its address.
    pub address: IpAddr,
    /// Its (or its router's) Ethernet address.
    pub mac: [u8; 6],
    /// How it speaks TCP.
    pub settings: Settings,
    /// Whether it is on the allowlist.
    pub is_allowed: bool,
    /// Whether it is on the blocklist from the start.
    pub is_blocked: bool,
}

/// Fewer source ports than sessions: those of connections in TIME-WAIT are used again at once.
const FEW_PORTS: u16 = 8;

/// The whole drawing.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The number all this comes from.
    pub seed: u64,
    /// Workers of the node.
    pub workers: u16,
    /// Whether clients and origins are on the same port.
    pub is_one_armed: bool,
    /// How SYNs are answered.
    pub mode: Mode,
    /// Whether the XDP program answers with cookies.
    pub is_fronted: bool,
    /// Whether origins expect a PROXY header.
    pub has_proxy_header: bool,
    /// Whether origins see the client's address.
    pub is_transparent: bool,
    /// Whether replies of origins arrive at the worker that owns the flow.
    pub is_reply_steered: bool,
    /// Source ports towards origins per worker: few make reuse frequent.
    pub snat_ports: u16,
    /// VLAN ids in front of the node.
    pub client_vlans: Vec<u16>,
    /// VLAN ids behind the node.
    pub origin_vlans: Vec<u16>,
    /// Towards and from clients.
    pub downstream: Impairment,
    /// Towards and from origins.
    pub upstream: Impairment,
    /// When links become good.
    pub heals_at: Instant,
    /// Client hosts.
    pub clients: Vec<ClientHost>,
    /// Addresses of origins; even ones IPv4, odd ones IPv6.
    pub origins: Vec<SocketAddr>,
    /// How all origins speak TCP.
    pub origin_settings: Settings,
    /// Sessions, by start.
    pub sessions: Vec<Plan>,
    /// Datagram clients.
    pub exchanges: Vec<datagram::Plan>,
    /// Attacks.
    pub attacks: Vec<AttackPlan>,
    /// Actions, by time.
    pub actions: Vec<(Instant, Action)>,
}

/// The services: one address per family.
pub const SERVICE_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1)), 80);
/// The same for IPv6.
pub const SERVICE_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1)), 80);

/// The datagram services.
pub const DATAGRAMS_V4: SocketAddr = SocketAddr::new(SERVICE_V4.ip(), 5_353);
/// The same for IPv6.
pub const DATAGRAMS_V6: SocketAddr = SocketAddr::new(SERVICE_V6.ip(), 5_353);

impl Scenario {
    /// Draws the world of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed, "scenario");
        let random = &mut random;
        let mode = random.pick(&MODES);
        let has_proxy_header = !mode.passes_through() && random.chance(300);
        let is_transparent = random.chance(150);
        let origin_count = random.between(1, 3) as usize * 2;
        let mut scenario = Self {
            seed,
            workers: random.pick(&[1, 1, 2, 3]),
            is_one_armed: random.chance(250),
            mode,
            // Of its own stream: worlds with and without are otherwise the same.
            is_fronted: mode.may_use_cookies() && Random::new(seed, "forefront").chance(500),
            has_proxy_header,
            is_transparent,
            is_reply_steered: random.chance(500),
            snat_ports: if mode == Mode::Cookies { random.pick(&[FEW_PORTS, 40, 1_000]) } else { 1_000 },
            client_vlans: vlans(random),
            origin_vlans: vlans(random),
            downstream: impairment(random),
            upstream: impairment(random),
            heals_at: Instant::from_millis(HEALS_AT_MS),
            clients: Vec::new(),
            origins: (0..origin_count).map(origin_address).collect(),
            origin_settings: settings(random, false),
            sessions: Vec::new(),
            exchanges: Vec::new(),
            attacks: Vec::new(),
            actions: Vec::new(),
        };
        if scenario.is_one_armed {
            scenario.origin_vlans.clone_from(&scenario.client_vlans);
        }
        scenario.draw_clients(random);
        scenario.draw_actions(random);
        scenario.draw_sessions(random);
        scenario.draw_exchanges(random);
        scenario.draw_attacks(random);
        scenario.weaken_promises();
        scenario
    }

    fn draw_clients(&mut self, random: &mut Random) {
        for index in 0..random.between(2, 8) as u8 {
            let address = if random.chance(600) {
                IpAddr::V4(Ipv4Addr::new(10, 20, 0, 10 + index))
            } else {
                IpAddr::V6(Ipv6Addr::new(0xfd20, 0, 0, index.into(), 0, 0, 0, 10))
            };
            self.clients.push(ClientHost {
                address,
                mac: [2, 0x20, 0, 0, 0, if random.chance(500) { 1 } else { index }],
                settings: settings(random, true),
                is_allowed: random.chance(200),
                is_blocked: random.chance(150),
            });
        }
    }

    fn draw_actions(&mut self, random: &mut Random) {
        let at = |random: &mut Random| Instant::from_millis(random.between(100, HEALS_AT_MS));
        for _ in 0..random.below(4) {
            let action = random.pick(&[Action::Recompile, Action::Recompile, Action::NextEpoch]);
            let when = at(random);
            self.actions.push((when, action));
        }
        // One origin of each family always accepts, so that what is promised can be kept.
        if self.origins.len() > 2 && !self.mode.passes_through() && random.chance(400) {
            let index = 2 + random.below(self.origins.len() as u64 - 2) as usize;
            let is_silent = random.chance(500);
            let (first, second) = (at(random), at(random));
            self.actions.push((first.min(second), Action::Origin { index, accepts: false, is_silent }));
            self.actions.push((first.max(second), Action::Origin { index, accepts: true, is_silent }));
        }
        if random.chance(150) {
            let client = random.below(self.clients.len() as u64) as usize;
            let when = at(random);
            self.actions.push((when, Action::Ban { client }));
        }
        if random.chance(200) {
            let drain_at = Instant::from_millis(random.between(STARTS_BEFORE_MS + 500, HEALS_AT_MS));
            self.actions.push((drain_at, Action::Drain));
        }
        self.actions.sort_by_key(|(at, _)| *at);
    }

    fn draw_sessions(&mut self, random: &mut Random) {
        for id in 0..random.between(5, SESSIONS_MAX) {
            let client = random.below(self.clients.len() as u64) as usize;
            let host = &self.clients[client];
            let ending = random.pick(&[
                Ending::ClientFirst,
                Ending::ClientFirst,
                Ending::ServerFirst,
                Ending::ServerFirst,
                Ending::ClientReset,
                Ending::ServerReset,
            ]);
            let is_reset = matches!(ending, Ending::ClientReset | Ending::ServerReset);
            let promise = match host {
                ClientHost { is_blocked: true, is_allowed: false, .. } => Promise::Refused,
                _ if is_reset => Promise::Prefix,
                // A port that is needed again forgets its connection, and with it a last ACK that was lost.
                _ if self.snat_ports == FEW_PORTS => Promise::Whole,
                _ => Promise::Served,
            };
            let request_max = random.pick(&[800, 800, 800, 20_000]);
            let answer_max = random.pick(&[200, 5_000, 40_000, ANSWER_BYTES_MAX]);
            self.sessions.push(Plan {
                id,
                client: SocketAddr::new(host.address, 30_000 + id as u16),
                service: if host.address.is_ipv4() { SERVICE_V4 } else { SERVICE_V6 },
                request: random.between(0, request_max) as u32,
                answer: random.between(1, answer_max) as u32,
                ending,
                start: Instant::from_millis(random.between(10, STARTS_BEFORE_MS)),
                reads_per_ms: if random.chance(100) { 2_000 } else { u32::MAX },
                promise,
            });
        }
        self.sessions.sort_by_key(|plan| plan.start);
    }

    fn draw_exchanges(&mut self, random: &mut Random) {
        for id in 0..random.below(4) {
            let host = &self.clients[random.below(self.clients.len() as u64) as usize];
            let is_refused = host.is_blocked && !host.is_allowed;
            self.exchanges.push(datagram::Plan {
                id,
                client: SocketAddr::new(host.address, 31_000 + id as u16),
                service: if host.address.is_ipv4() { DATAGRAMS_V4 } else { DATAGRAMS_V6 },
                count: random.between(1, 30) as u32,
                len: random.pick(&[20, 600, 1_300, 3_000]),
                start: Instant::from_millis(random.between(10, STARTS_BEFORE_MS)),
                interval: Duration::from_millis(random.between(10, 400)),
                promise: if is_refused { Promise::Refused } else { Promise::Served },
            });
        }
    }

    fn draw_attacks(&mut self, random: &mut Random) {
        let count = random.below(4);
        for _ in 0..count {
            let burst = random.between(1, 200);
            self.attacks.push(AttackPlan {
                kind: random.pick(&KINDS),
                disguise: random.pick(&[
                    Disguise::Random,
                    Disguise::Random,
                    Disguise::Fixed,
                    Disguise::Client,
                ]),
                start: Instant::from_millis(random.between(0, HEALS_AT_MS)),
                frames: random.between(burst, ATTACK_FRAMES_MAX / count),
                interval: Duration::from_micros(random.between(100, 20_000)),
                burst,
                is_v6: random.chance(400),
            });
        }
    }

    /// Without cookies a flood of SYNs displaces connections that are about to open, and a SYN with a client's own
    /// address and port meets it at the backend; nothing can be promised then.
    fn weaken_promises(&mut self) {
        let floods = |attack: &AttackPlan| attack.kind == Kind::Syn || attack.kind == Kind::Noise;
        let is_flooded = self.mode == Mode::PassThrough && self.attacks.iter().any(floods);
        if is_flooded || self.has_impostors() {
            for plan in self.sessions.iter_mut().filter(|plan| plan.promise != Promise::Refused) {
                plan.promise = Promise::Prefix;
            }
        }
    }

    /// Whether ports towards origins are so few that one may be used again faster than sequence numbers grow.
    pub fn reuses_ports_at_once(&self) -> bool {
        self.snat_ports == FEW_PORTS
    }

    /// Whether SYNs that carry a client's own address and port are passed to backends: what these answer reaches the
    /// client among the segments of its own connection.
    pub fn has_impostors(&self) -> bool {
        let is_syn = |attack: &AttackPlan| matches!(attack.kind, Kind::Syn | Kind::Noise);
        let attacks = || self.attacks.iter().filter(|attack| attack.disguise == Disguise::Client);
        self.mode.passes_through() && attacks().any(is_syn)
    }
}

fn vlans(random: &mut Random) -> Vec<u16> {
    match random.below(5) {
        0 => vec![random.between(1, 4_094) as u16],
        1 => vec![random.between(1, 4_094) as u16, random.between(1, 4_094) as u16],
        _ => Vec::new(),
    }
}

fn impairment(random: &mut Random) -> Impairment {
    let mut chance = |of: u64, max: u64| if random.chance(of) { random.between(1, max) } else { 0 };
    Impairment {
        loss: chance(400, 60),
        reorder: chance(400, 60),
        duplicate: chance(300, 60),
        corrupt: chance(200, 30),
        jitter_us: chance(500, 3_000),
        delay_us: chance(900, 20_000),
    }
}

fn settings(random: &mut Random, is_client: bool) -> Settings {
    let window_scale = random.pick(&[None, Some(0), Some(2), Some(7), Some(7), Some(10)]);
    Settings {
        mss: random.pick(&[536, 1_200, 1_400, 1_440]),
        window_scale,
        sack: random.chance(800),
        timestamps: random.chance(700),
        // A window below one unit of the scale could never be said.
        buffer: random.pick(&[8_000, 30_000, 60_000, 300_000]).max(4 << window_scale.unwrap_or(0)),
        flight: random.between(2, if is_client { 10 } else { 40 }) as u32,
        delays_acks: random.chance(500),
        clock_start: random.bits_32(),
    }
}

fn origin_address(index: usize) -> SocketAddr {
    let host = 10 + (index / 2) as u16;
    let address = if index.is_multiple_of(2) {
        IpAddr::V4(Ipv4Addr::new(10, 30, 0, host as u8))
    } else {
        IpAddr::V6(Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, host))
    };
    SocketAddr::new(address, 8_080)
}
