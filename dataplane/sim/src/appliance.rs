//! The node under test: real workers, real policy, packet engines in memory.
//!
//! Owns: the workers of one node, their wires, and the part of the control thread that compiles policies. Does not
//! own: time, the network. After every turn it checks what must hold inside a worker: every frame is accounted for,
//! no frame is kept, nothing was allocated or freed.

use crate::forefront::{self, FrontModel};
use crate::frame::Packet;
use crate::random::Random;
use crate::scenario::{DATAGRAMS_V4, DATAGRAMS_V6, Mode, SERVICE_V4, SERVICE_V6, Scenario};
use core::fmt::Write;
use core::net::IpAddr;
use secbeat_config::NodeConfig;
use secbeat_net::filter::{Block, Filter, Parts, Prefix};
use secbeat_net::flow::HashKey;
use secbeat_net::fragment::FragmentLimits;
use secbeat_net::halfopen::HalfOpenKeys;
use secbeat_net::link::PortId;
use secbeat_net::neighbor::{Interface, NeighborTable, Route, Via};
use secbeat_net::splice::{PortRange, SpliceKeys, SpliceLimits};
use secbeat_net::syncookie::KeySchedule;
use secbeat_net::time::Instant;
use secbeat_net::udp::UdpLimits;
use secbeat_net::wire::ethernet::MacAddr;
use secbeat_node::pipeline::Setup;
use secbeat_node::policy::target::TargetIds;
use secbeat_node::policy::view::{PortView, View};
use secbeat_node::policy::{Policy, Sources};
use secbeat_node::telemetry::counters::{Counter, WorkerCounters};
use secbeat_node::upstream::{Settings, Upstream};
use secbeat_node::worker::shared::{Shared, SharedSizes, Stage};
use secbeat_node::worker::{TurnReport, Worker};
use secbeat_pktio::PacketIo;
use secbeat_pktio::memory::{MemoryConfig, MemoryIo, MemoryPeer};
use std::sync::Arc;

/// The node's Ethernet address towards clients.
pub const MAC_DOWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The node's Ethernet address towards origins, unless both are on one port.
pub const MAC_UP: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Our addresses towards origins.
pub const SNAT_V4: &str = "10.30.0.1/24";
/// The same for IPv6.
pub const SNAT_V6: &str = "fd30::1/64";

/// MTU of all links, bytes.
const MTU: u16 = 1_500;
/// Numbers for backends: more than a scenario has origins.
const TARGETS_MAX: u16 = 16;

/// The Ethernet address of an origin.
pub fn origin_mac(index: usize) -> [u8; 6] {
    [2, 0x30, 0, 0, 0, index as u8]
}

/// A node in memory.
pub struct Appliance {
    shared: Arc<Shared>,
    front: Option<Arc<FrontModel>>,
    units: Vec<Unit>,
    upstream: Arc<Upstream>,
    config: NodeConfig,
    view: View,
    schedule: KeySchedule,
    epoch: u32,
    ids: TargetIds,
    generation: u64,
    is_draining: bool,
    blocked: Vec<IpAddr>,
    allowed: Vec<IpAddr>,
}

/// A worker and its wires.
struct Unit {
    worker: Worker<MemoryIo>,
    peer: MemoryPeer,
}

impl Appliance {
    /// Starts the node of a scenario.
    ///
    /// # Errors
    /// When the scenario's configuration is refused: a fault of the scenario or of the configuration's parser.
    pub fn start(scenario: &Scenario, now: Instant) -> Result<Self, String> {
        let mut random = Random::new(scenario.seed, "node");
        let config = secbeat_config::parse(&config_text(scenario)).map_err(|error| error.to_string())?;
        let upstream = Upstream::new(Settings::from_config(&config)).map_err(|error| error.to_string())?;
        let schedule = KeySchedule::new(HashKey(random.key()));
        let hosts = || scenario.clients.iter();
        let blocked: Vec<IpAddr> = hosts().filter(|host| host.is_blocked).map(|host| host.address).collect();
        let allowed: Vec<IpAddr> = hosts().filter(|host| host.is_allowed).map(|host| host.address).collect();
        let mut ids = TargetIds::new(TARGETS_MAX);
        let view = view(scenario);
        let sources = Sources {
            config: &config,
            view: &view,
            backends: upstream.snapshot(),
            filter: filter(&blocked, &allowed)?,
            keys: schedule.keys(1),
            resources: &secbeat_node::policy::l7::Resources::default(),
            workers: scenario.workers,
            draining: false,
        };
        let mut policy = Policy::compile(sources, &mut ids, 1).map_err(|error| error.to_string())?;
        let front = scenario.is_fronted.then(|| Arc::new(FrontModel::default()));
        if front.is_some() {
            policy.front_slots = FrontModel::slots();
        }
        let sizes = SharedSizes {
            workers: scenario.workers,
            frame_bytes_max: 2_048,
            limiter_slots: 4_096,
            connections_max: 10_000,
        };
        let key = HashKey(random.key());
        let shared = match &front {
            Some(front) => {
                Shared::behind(Arc::<FrontModel>::clone(front), sizes, policy, Arc::clone(&upstream), key)
            }
            None => Shared::new(sizes, policy, Arc::clone(&upstream), key),
        };
        let mut appliance = Self {
            shared,
            front,
            units: Vec::new(),
            upstream,
            config,
            view,
            schedule,
            epoch: 1,
            ids,
            generation: 1,
            is_draining: false,
            blocked,
            allowed,
        };
        appliance.start_workers(scenario, &mut random, now);
        Ok(appliance)
    }

    fn start_workers(&mut self, scenario: &Scenario, random: &mut Random, now: Instant) {
        let mut key = || HashKey(random.key());
        let (isn, half_open_isn, balance, hint) = (key(), key(), key(), key());
        let memory = MemoryConfig {
            ports: if scenario.is_one_armed { 1 } else { 2 },
            frames: 1_024,
            queue_frames: 1_024,
            ..MemoryConfig::default()
        };
        let policy = self.shared.policy();
        for id in 0..scenario.workers {
            let (io, peer) = MemoryIo::new(&memory);
            let first = policy.snat_ports.slice(id).first;
            let setup = Setup {
                id,
                splice: SpliceLimits {
                    flows_max: 512,
                    half_open_max: 128,
                    backends_max: TARGETS_MAX,
                    ports: PortRange { first, last: first + scenario.snat_ports - 1 },
                    ..SpliceLimits::default()
                },
                udp: UdpLimits {
                    flows_max: 256,
                    backends_max: TARGETS_MAX,
                    ports: policy.snat_ports.slice(id),
                    ..UdpLimits::default()
                },
                fragments: FragmentLimits {
                    datagrams_max: 64,
                    bytes_max: 256 << 10,
                    ..FragmentLimits::default()
                },
                early_frames_max: 128,
                splice_keys: SpliceKeys { table: HashKey(random.key()), isn },
                half_open_max: 64,
                half_open_keys: HalfOpenKeys { table: HashKey(random.key()), isn: half_open_isn },
                balance_key: balance,
                hint_key: hint,
            };
            let worker = Worker::new(io, Arc::clone(&self.shared), setup, now);
            self.units.push(Unit { worker, peer });
        }
    }

    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.units.len()
    }

    /// What the XDP program makes of a frame from clients.
    pub fn judge_in_front(&self, frame: &[u8], source: Option<IpAddr>, now: Instant) -> forefront::Fate {
        let Some(front) = &self.front else { return forefront::Fate::Worker };
        let is_blocked = source.is_some_and(|source| self.blocked.contains(&source));
        front.judge(frame, &self.shared.policy(), is_blocked, now)
    }

    /// SYNs that the XDP program answered, and segments that it dropped.
    pub fn front_totals(&self) -> (u64, u64) {
        self.front.as_ref().map_or((0, 0), |front| front.totals())
    }

    /// Puts a frame on a worker's wire; false when its queue is full.
    pub fn inject(&self, worker: usize, port: u8, frame: &[u8]) -> bool {
        self.units[worker].peer.inject(port, frame)
    }

    /// The frames that a worker sent since the last call, with their port.
    pub fn sent(&self, worker: usize) -> Vec<(u8, Vec<u8>)> {
        let unit = &self.units[worker];
        let ports = 0..unit.worker.io().ports();
        ports
            .flat_map(|port| std::iter::from_fn(move || unit.peer.take(port)).map(move |frame| (port, frame)))
            .collect()
    }

    /// Whether something waits for a worker: frames on its wire or from other workers.
    pub fn has_work(&self, worker: usize) -> bool {
        let unit = &self.units[worker];
        let on_wire = (0..unit.worker.io().ports()).any(|port| unit.peer.waiting(port) > 0);
        on_wire || !self.shared.handover.is_empty(worker as u16)
    }

    /// The worker whose source ports a reply of an origin is addressed to.
    pub fn owner_of_port(&self, port: u16) -> Option<usize> {
        self.shared.policy().snat_ports.owner(port).map(usize::from)
    }

    /// One turn of a worker, and everything that must hold after it.
    ///
    /// # Errors
    /// What does not hold.
    pub fn turn(&mut self, worker: usize, now: Instant) -> Result<TurnReport, String> {
        let unit = &mut self.units[worker];
        let mut report = TurnReport::default();
        let memory = allocation_counter::measure(|| report = unit.worker.turn(now));
        if memory.count_total != 0 || memory.count_current != 0 {
            return Err(format!("worker {worker} allocated or freed memory in a turn: {memory:?}"));
        }
        unit.check(worker)?;
        let keys = || self.units.iter().flat_map(|unit| unit.worker.pipeline().client_keys());
        if let Some(text) = self.front.as_ref().and_then(|front| front.difference(keys())) {
            return Err(format!("flows that the XDP program knows: {text}"));
        }
        Ok(report)
    }

    /// TCP flows over all workers, finished ones included.
    pub fn flows(&self) -> u32 {
        self.units.iter().map(|unit| unit.worker.pipeline().counts().flows).sum()
    }

    /// A counter over all workers.
    pub fn total(&self, counter: Counter) -> u64 {
        self.units.iter().map(|unit| unit.worker.counters().get(counter)).sum()
    }

    /// Every reason with its number of drops over all workers.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        use secbeat_net::verdict::DropReason;
        let count = |reason| self.units.iter().map(|unit| unit.worker.counters().drops(reason)).sum();
        let all = DropReason::ALL.iter().map(|&reason| (reason.name(), count(reason)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// Bans an address.
    ///
    /// # Errors
    /// When the policy is refused.
    pub fn ban(&mut self, address: IpAddr) -> Result<(), String> {
        self.blocked.push(address);
        self.recompile()
    }

    /// Moves cookie keys on by one epoch.
    ///
    /// # Errors
    /// When the policy is refused.
    pub fn next_epoch(&mut self) -> Result<(), String> {
        self.epoch += 1;
        self.recompile()
    }

    /// Takes no new connections from now on.
    ///
    /// # Errors
    /// When the policy is refused.
    pub fn drain(&mut self) -> Result<(), String> {
        self.is_draining = true;
        self.shared.set_stage(Stage::Drain);
        self.recompile()
    }

    /// Compiles the policy anew and puts it in force.
    ///
    /// # Errors
    /// When it is refused.
    pub fn recompile(&mut self) -> Result<(), String> {
        self.generation += 1;
        let sources = Sources {
            config: &self.config,
            view: &self.view,
            backends: self.upstream.snapshot(),
            filter: filter(&self.blocked, &self.allowed)?,
            keys: self.schedule.keys(self.epoch),
            resources: &secbeat_node::policy::l7::Resources::default(),
            workers: self.units.len() as u16,
            draining: self.is_draining,
        };
        let mut policy =
            Policy::compile(sources, &mut self.ids, self.generation).map_err(|error| error.to_string())?;
        if self.front.is_some() {
            policy.front_slots = FrontModel::slots();
        }
        self.shared.set_policy(policy);
        Ok(())
    }

    /// What the control thread would take from the queue; the world only empties it.
    pub fn drain_events(&self) {
        while self.shared.events.pop().is_some() {}
    }

    /// Whether a packet that the node sent goes to a host towards origins.
    pub fn is_towards_origin(packet: &Packet, scenario: &Scenario) -> Option<usize> {
        scenario.origins.iter().position(|origin| origin.ip() == packet.destination)
    }
}

impl Unit {
    /// Frames in = frames accounted for; frames in hand = frames held for later.
    fn check(&self, worker: usize) -> Result<(), String> {
        let page = self.worker.counters();
        let get = |counter| page.get(counter);
        let taken = get(Counter::FramesIn) + get(Counter::FramesTakenOver) + get(Counter::FramesReleased);
        let ended = get(Counter::FramesTransmitted)
            + get(Counter::FramesConsumed)
            + get(Counter::FramesHeld)
            + get(Counter::FramesHandedOver)
            + page.drops_total();
        if taken != ended {
            return Err(format!(
                "worker {worker} took {taken} frames and accounts for {ended}: {}",
                ledger(page)
            ));
        }
        let io = self.worker.io();
        if io.counters().received != get(Counter::FramesIn) {
            return Err(format!(
                "worker {worker} received {} frames: {}",
                io.counters().received,
                ledger(page)
            ));
        }
        let sent = io.counters().transmitted + io.counters().transmit_lost;
        if sent != get(Counter::FramesTransmitted) + get(Counter::FramesBuilt) {
            return Err(format!("worker {worker} sent {sent} frames: {}", ledger(page)));
        }
        let held = get(Counter::FramesHeld) - get(Counter::FramesReleased);
        if io.frames_held() as u64 != held {
            return Err(format!(
                "worker {worker} keeps {} frames and holds {held} for flows",
                io.frames_held()
            ));
        }
        Ok(())
    }
}

fn ledger(page: &WorkerCounters) -> String {
    let numbers = Counter::ALL.iter().map(|&counter| (counter.name(), page.get(counter)));
    let mut text = String::new();
    for (name, value) in numbers.filter(|(_, value)| *value > 0) {
        let _ = write!(text, "{name}={value} ");
    }
    let _ = write!(text, "drops={}", page.drops_total());
    text
}

fn filter(blocked: &[IpAddr], allowed: &[IpAddr]) -> Result<Arc<Filter>, String> {
    let prefix = |address: &IpAddr| Prefix::new(*address, if address.is_ipv4() { 32 } else { 128 });
    let parts = Parts {
        allow: allowed.iter().filter_map(prefix).collect(),
        block: blocked
            .iter()
            .filter_map(prefix)
            .map(|prefix| Block { prefix, expires: None, reason: 1 })
            .collect(),
        rules: Vec::new(),
    };
    Filter::new(parts).map(Arc::new).map_err(|error| error.to_string())
}

fn config_text(scenario: &Scenario) -> String {
    let (mode, cookies) = match scenario.mode {
        Mode::Cookies => ("syn", "always"),
        Mode::Auto => ("syn", "auto"),
        Mode::HalfOpen => ("syn", "never"),
        Mode::PassThrough => ("tcp", "never"),
        Mode::PassThroughAuto => ("tcp", "auto"),
    };
    let options = &scenario.origin_settings;
    let mut text = format!(
        "[server]\nmode = \"{mode}\"\nmax_connections = 10000\n\
         [io]\ndriver = \"xdp\"\ninterfaces = [\"down\", \"up\"]\ntransparent = {}\nsnat_ports = \"10000-19999\"\n\
         [syn_proxy]\nsyn_cookies = \"{cookies}\"\nmax_syn_backlog = 64\nbackend_tries = 16\n\
         window_scaling = {}\nsack = {}\ntimestamps = {}\nmss_max = {}\n\
         [limits]\nsource_rate = 0\nsource_connections = 0\nudp_rate = 0\n\
         [lists]\nauto_ban = false\n",
        scenario.is_transparent,
        options.window_scale.is_some(),
        options.sack,
        options.timestamps,
        options.mss,
    );
    let listeners = [
        ("t4", "tcp", SERVICE_V4),
        ("t6", "tcp", SERVICE_V6),
        ("u4", "udp", DATAGRAMS_V4),
        ("u6", "udp", DATAGRAMS_V6),
    ];
    for (name, protocol, service) in listeners {
        let own = scenario.origins.iter().enumerate().filter(|(_, o)| o.is_ipv4() == service.is_ipv4());
        let backends: Vec<String> = own.map(|(index, _)| format!("\"o{index}\"")).collect();
        let proxy = if scenario.has_proxy_header && protocol == "tcp" { "v2" } else { "off" };
        let _ = write!(
            text,
            "[[listeners]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\nbind_address = \"{service}\"\n\
             proxy_protocol = \"{proxy}\"\nbackends = [{}]\n",
            backends.join(", ")
        );
    }
    for (index, origin) in scenario.origins.iter().enumerate() {
        let _ = write!(text, "[[backends]]\nname = \"o{index}\"\naddress = \"{origin}\"\n");
    }
    text
}

fn view(scenario: &Scenario) -> View {
    let net = |text: &str| text.parse().expect("a prefix of the simulated world");
    let down = vec![net("10.20.0.1/16"), net("fd20::1/32")];
    let up = vec![net(SNAT_V4), net(SNAT_V6)];
    let port = |port, addresses| PortView { port: PortId(port), mtu: MTU, addresses };
    let up_port = u8::from(!scenario.is_one_armed);
    let ports = if scenario.is_one_armed {
        vec![port(0, [down, up].concat())]
    } else {
        vec![port(0, down), port(1, up)]
    };
    let mut neighbors = NeighborTable::new();
    let tags = &scenario.origin_vlans;
    let tag = |(at, &id): (usize, &u16)| (if at == 0 && tags.len() > 1 { 0x88a8 } else { 0x8100 }, id);
    let mac = MacAddr(if scenario.is_one_armed { MAC_DOWN } else { MAC_UP });
    let tags = tags.iter().enumerate().map(tag).collect();
    neighbors.add_interface(10, Interface { port: PortId(up_port), mac, mtu: MTU, tags });
    for (destination, prefix_len) in [("10.30.0.0", 24), ("fd30::", 64)] {
        let via = Via { interface: 10, gateway: None, source: None, mtu: None };
        let destination = destination.parse().expect("an address of the simulated world");
        neighbors.add_route(Route { destination, prefix_len, via: Some(via), metric: 0 });
    }
    for (index, origin) in scenario.origins.iter().enumerate() {
        neighbors.add_neighbor(10, origin.ip(), MacAddr(origin_mac(index)));
    }
    neighbors.seal();
    View { ports, other_addresses: vec![SERVICE_V4.ip(), SERVICE_V6.ip()], neighbors }
}
