//! A node's workers in memory: one network of clients on port 0, one of backends on port 1.

#![allow(dead_code, reason = "shared by the tests and by an example; neither uses all of it")]

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::sync::Arc;

use secbeat_config::NodeConfig;
use secbeat_net::flow::HashKey;
use secbeat_net::fragment::FragmentLimits;
use secbeat_net::halfopen::HalfOpenKeys;
use secbeat_net::link::PortId;
use secbeat_net::neighbor::{Interface, NeighborTable, Route, Via};
use secbeat_net::splice::{SpliceKeys, SpliceLimits};
use secbeat_net::syncookie::{KeySchedule, epoch_at};
use secbeat_net::time::Instant;
use secbeat_net::udp::UdpLimits;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::ethernet::MacAddr;
use secbeat_node::event::What;
use secbeat_node::lists;
use secbeat_node::pipeline::Setup;
use secbeat_node::policy::target::TargetIds;
use secbeat_node::policy::view::{PortView, View};
use secbeat_node::policy::{self, Policy, Sources};
use secbeat_node::start::{self, secret::Master};
use secbeat_node::telemetry::counters::{Counter, WorkerCounters};
use secbeat_node::upstream::{self, Upstream};
use secbeat_node::worker::shared::{Shared, SharedSizes, Stage};
use secbeat_node::worker::{Worker, is_balanced};
use secbeat_pktio::memory::{MemoryConfig, MemoryIo, MemoryPeer};

use super::packet::{Datagram, Segment};

/// Our service, and our addresses on both sides.
pub(crate) const VIP: &str = "10.1.0.1";
pub(crate) const SNAT: &str = "10.2.0.1";
const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
const BACKEND_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];

/// Two backends behind one listener, no limits, cookies always.
pub(crate) const CONFIG: &str = "
[server]
mode = \"syn\"
[io]
snat_ports = \"20000-23999\"
[syn_proxy]
syn_cookies = \"always\"
[limits]
source_rate = 0
source_connections = 0
[[listeners]]
name = \"web\"
bind_address = \"0.0.0.0:80\"
backends = [\"one\", \"two\"]
[[listeners]]
name = \"dns\"
protocol = \"udp\"
bind_address = \"10.1.0.1:5300\"
backends = [\"three\"]
[[backends]]
name = \"one\"
address = \"10.2.0.11:8080\"
[[backends]]
name = \"two\"
address = \"10.2.0.12:8080\"
[[backends]]
name = \"three\"
address = \"10.2.0.13:5300\"
";

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: Vec<Worker<MemoryIo>>,
    peers: Vec<MemoryPeer>,
    upstream: Arc<Upstream>,
    ids: TargetIds,
    cookies: KeySchedule,
    generation: u64,
}

impl World {
    pub(crate) fn new(config: &str) -> Self {
        Self::with_workers(config, 1)
    }

    pub(crate) fn with_workers(text: &str, count: u16) -> Self {
        Self::build(text, count, None)
    }

    /// One worker with so many source ports towards each backend.
    pub(crate) fn with_ports(text: &str, ports: u16) -> Self {
        Self::build(text, 1, Some(ports))
    }

    fn build(text: &str, count: u16, ports: Option<u16>) -> Self {
        let config = secbeat_config::parse(text).expect("configuration");
        let upstream = Upstream::new(upstream::Settings::from_config(&config)).expect("backends");
        let cookies = KeySchedule::new(HashKey([11, 12]));
        let now = Instant::from_millis(1_790_000_000_000);
        let mut ids = TargetIds::new(16);
        let lists = lists::View::default();
        let policy =
            compile(&config, &lists, &upstream, &cookies, &mut ids, (count, 1, now)).expect("policy");
        let sizes = SharedSizes {
            workers: count,
            frame_bytes_max: 2_048,
            limiter_slots: 1_024,
            connections_max: 1_000,
        };
        let shared = Shared::new(sizes, policy, Arc::clone(&upstream), HashKey([5, 6]));
        let master = Master::from_bytes(&[7; 32]).expect("a secret");
        let sessions = start::l7::shared(&config, &master, &upstream, &shared.events);
        let mut world = Self {
            now,
            shared,
            workers: Vec::new(),
            peers: Vec::new(),
            upstream,
            ids,
            cookies,
            generation: 1,
        };
        for id in 0..count {
            let (io, peer) =
                MemoryIo::new(&MemoryConfig { ports: 2, frames: 512, ..MemoryConfig::default() });
            world.peers.push(peer);
            let mut setup = setup(&config, &world.shared.policy(), id);
            if let Some(ports) = ports {
                setup.splice.ports.last = setup.splice.ports.first + ports - 1;
            }
            let mut worker = Worker::new(io, Arc::clone(&world.shared), setup, now);
            if config.has_l7() {
                let terminator = start::l7::terminator(&config, &master, &world.shared, &sessions, id, now)
                    .expect("epoll");
                worker = worker.with_terminator(terminator);
            }
            world.workers.push(worker);
        }
        world
    }

    /// Puts another configuration in force, as a reload does.
    pub(crate) fn reload(&mut self, text: &str) {
        self.reload_with(text, lists::View::default());
    }

    /// Puts another configuration with these lists in force.
    pub(crate) fn reload_with(&mut self, text: &str, lists: lists::View) {
        let config = secbeat_config::parse(text).expect("configuration");
        self.upstream.reload(upstream::Settings::from_config(&config)).expect("backends");
        self.generation += 1;
        let numbers = (self.workers.len() as u16, self.generation, self.now);
        let policy = compile(&config, &lists, &self.upstream, &self.cookies, &mut self.ids, numbers);
        self.shared.set_policy(policy.expect("policy"));
        self.pass(Duration::from_millis(2));
    }

    /// Lets time pass, a millisecond at a time.
    pub(crate) fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() {
            self.now = self.now + Duration::from_millis(1);
            self.turn();
        }
    }

    /// One turn of every worker; twice, so that what was handed over is handled. Sums must balance after each.
    pub(crate) fn turn(&mut self) {
        for _ in 0..2 {
            for worker in &mut self.workers {
                worker.turn(self.now);
                assert!(is_balanced(worker.counters()), "sums of worker {}", worker.id());
            }
        }
    }

    /// A frame arrives at a worker.
    pub(crate) fn inject(&mut self, worker: usize, port: u8, frame: &[u8]) {
        assert!(self.peers[worker].inject(port, frame), "the wire is full");
        self.turn();
    }

    /// Puts frames on the wire towards the clients' port of a worker.
    pub(crate) fn load(&self, worker: usize, frames: &[Vec<u8>]) {
        assert!(frames.iter().all(|frame| self.peers[worker].inject(0, frame)), "the wire is full");
    }

    /// One turn of one worker.
    pub(crate) fn turn_once(&mut self, worker: usize) {
        self.workers[worker].turn(self.now);
    }

    /// Takes everything that was sent off the wires.
    pub(crate) fn discard(&mut self) {
        for peer in &self.peers {
            for port in 0..2 {
                while peer.take_with(port, |_| ()).is_some() {}
            }
        }
    }

    /// A client's segment arrives at the first worker; what comes back to clients.
    pub(crate) fn client(&mut self, segment: &Segment) -> Vec<Segment> {
        let frame = segment.frame(CLIENT_MAC, NODE_MAC);
        self.inject(0, 0, &frame);
        self.to_clients()
    }

    /// A backend's segment arrives at the first worker; what goes out to clients.
    pub(crate) fn backend(&mut self, segment: &Segment) -> Vec<Segment> {
        self.backend_at(0, segment)
    }

    /// A backend's segment arrives at one worker; what goes out to clients.
    pub(crate) fn backend_at(&mut self, worker: usize, segment: &Segment) -> Vec<Segment> {
        let frame = segment.frame(BACKEND_MAC, NODE_MAC);
        self.inject(worker, 1, &frame);
        self.to_clients()
    }

    /// A datagram arrives; what leaves on either side, with its port.
    pub(crate) fn datagram(&mut self, port: u8, datagram: &Datagram) -> Vec<(u8, Datagram)> {
        let mac = if port == 0 { CLIENT_MAC } else { BACKEND_MAC };
        self.inject(0, port, &datagram.frame(mac, NODE_MAC));
        let mut sent = Vec::new();
        for port in 0..2 {
            while let Some(frame) = self.peers[0].take(port) {
                sent.push((port, Datagram::parse(&frame)));
            }
        }
        sent
    }

    pub(crate) fn to_clients(&self) -> Vec<Segment> {
        self.sent(0)
    }

    pub(crate) fn to_backends(&self) -> Vec<Segment> {
        self.sent(1)
    }

    /// Frames that all workers sent on a port.
    pub(crate) fn raw(&self, port: u8) -> Vec<Vec<u8>> {
        let peers = self.peers.iter();
        peers.flat_map(|peer| std::iter::from_fn(move || peer.take(port))).collect()
    }

    /// Segments that all workers sent on a port, their checksums verified.
    fn sent(&self, port: u8) -> Vec<Segment> {
        let peers = self.peers.iter();
        let frames = peers.flat_map(|peer| std::iter::from_fn(move || peer.take(port)));
        frames.map(|frame| Segment::parse(&frame)).collect()
    }

    /// Whether nothing at all was sent.
    pub(crate) fn is_silent(&self) -> bool {
        self.to_clients().is_empty() && self.to_backends().is_empty()
    }

    pub(crate) fn page(&self) -> &WorkerCounters {
        self.workers[0].counters()
    }

    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.page().drops(reason)
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.page().get(counter)
    }

    /// What workers reported since the last call.
    pub(crate) fn reported(&self) -> Vec<What> {
        std::iter::from_fn(|| self.shared.events.pop()).map(|event| event.what).collect()
    }

    pub(crate) fn drain(&mut self) {
        self.shared.set_stage(Stage::Drain);
        self.pass(Duration::from_millis(2));
    }
}

/// Backends and clients are on the link; both networks are resolved.
fn view() -> View {
    let mut neighbors = NeighborTable::new();
    let mac = MacAddr(NODE_MAC);
    for (index, port) in [(1, PortId(0)), (2, PortId(1))] {
        neighbors.add_interface(index, Interface { port, mac, mtu: 1_500, tags: Default::default() });
        let network: IpAddr = format!("10.{index}.0.0").parse().expect("address");
        let source = Some(format!("10.{index}.0.1").parse().expect("address"));
        let via = Some(Via { interface: index, gateway: None, source, mtu: None });
        neighbors.add_route(Route { destination: network, prefix_len: 24, via, metric: 0 });
    }
    for host in 11..=13 {
        let addr = format!("10.2.0.{host}").parse().expect("address");
        neighbors.add_neighbor(2, addr, MacAddr(BACKEND_MAC));
    }
    neighbors.seal();
    let port = |port, net: &str| PortView {
        port: PortId(port),
        mtu: 1_500,
        addresses: vec![net.parse().expect("prefix")],
    };
    let ports = vec![port(0, "10.1.0.1/24"), port(1, "10.2.0.1/24")];
    View { ports, other_addresses: Vec::new(), neighbors }
}

fn compile(
    config: &NodeConfig,
    lists: &lists::View,
    upstream: &Upstream,
    cookies: &KeySchedule,
    ids: &mut TargetIds,
    (workers, generation, now): (u16, u64, Instant),
) -> Result<Policy, policy::Error> {
    let filter = policy::filter::compile(config, lists, now)?;
    let sources = Sources {
        config,
        view: &view(),
        backends: upstream.snapshot(),
        filter: Arc::new(filter),
        keys: cookies.keys(epoch_at(now.as_secs())),
        resources: &policy::l7::Resources::default(),
        workers,
        draining: false,
    };
    Policy::compile(sources, ids, generation)
}

fn setup(config: &NodeConfig, policy: &Policy, id: u16) -> Setup {
    let ports = policy.snat_ports.slice(id);
    Setup {
        id,
        splice: SpliceLimits {
            flows_max: 64,
            half_open_max: 32,
            backends_max: 16,
            ports,
            ..SpliceLimits::default()
        },
        udp: UdpLimits {
            flows_max: 16,
            backends_max: 16,
            ports,
            amplification_factor: 0,
            ..UdpLimits::default()
        },
        fragments: FragmentLimits { datagrams_max: 8, bytes_max: 64 << 10, ..FragmentLimits::default() },
        early_frames_max: 32,
        splice_keys: SpliceKeys { table: HashKey([1, u64::from(id)]), isn: HashKey([3, 4]) },
        half_open_max: config.syn_proxy.syn_backlog_max,
        half_open_keys: HalfOpenKeys { table: HashKey([7, u64::from(id)]), isn: HashKey([8, 8]) },
        balance_key: HashKey([9, 9]),
        hint_key: HashKey([10, 10]),
    }
}

/// An address and a port.
pub(crate) fn at(addr: &str, port: u16) -> SocketAddr {
    SocketAddr::new(addr.parse().expect("address"), port)
}

/// Lists that block and allow these prefixes.
pub(crate) fn lists(allow: &[&str], block: &[&str]) -> lists::View {
    let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("prefix")).collect::<Vec<_>>();
    let block = nets(block).into_iter().map(|net| (net, None)).collect();
    lists::View { generation: 1, allow: nets(allow), block, numbers: Vec::new() }
}

/// Lists with one ban that ends.
pub(crate) fn ban(prefix: &str, left: Duration) -> lists::View {
    lists::View {
        generation: 1,
        allow: Vec::new(),
        block: vec![(prefix.parse().expect("prefix"), Some(left))],
        numbers: Vec::new(),
    }
}
