//! The simulated world: hosts, links and the node, stepped by one virtual clock.
//!
//! Owns: the queue of what happens next, and the checks that need to see more than one part: who may send what to
//! whom, and what was promised to each session. Does not own: what hosts do (`client`, `origin`, `attack`), the
//! node (`appliance`), what a seed means (`scenario`).
//!
//! ```text
//!   clients, attackers --> [link] --> worker (by hash) --> [link] --> origins
//!                      <-- [link] <--                  <-- [link] <--
//! ```
//!
//! Everything is drawn from the seed and kept in ordered maps: the same seed makes the same world, byte by byte,
//! and a hash of all frames proves it.

mod datagrams;
mod delivery;
mod report;

pub use report::{Failure, Summary};

use crate::appliance::{Appliance, MAC_DOWN, origin_mac};
use crate::attack::Attacker;
use crate::client::{Promise, Session};
use crate::datagram::Exchange;
use crate::fragment::Reassembly;
use crate::frame::{LinkHeader, write};
use crate::link::Wire;
use crate::origin::{Manner, Origin};
use crate::random::Random;
use crate::scenario::{Action, SERVICE_V4, SERVICE_V6, Scenario};
use core::cmp::Reverse;
use core::net::SocketAddr;
use core::time::Duration;
use secbeat_net::time::Instant;
use std::collections::{BTreeMap, BinaryHeap};

/// What is promised must be kept this long after all links are good.
const PATIENCE: Duration = Duration::from_secs(90);
/// A worker turns at least this often, for its timers and housekeeping.
const IDLE_TURN: Duration = Duration::from_millis(5);
/// Time from a frame's arrival to the turn that takes it, and between busy turns.
const TURN_US: (u64, u64) = (2, 40);
/// Steps after which a world is called stuck; the longest healthy ones take a tenth.
const STEPS_MAX: u64 = 3_000_000;

/// Something that happens.
#[derive(Debug)]
enum Event {
    /// A session starts.
    Start(usize),
    /// A timer of a session.
    ClientTimer(usize),
    /// A timer of an origin's connection.
    OriginTimer(usize, SocketAddr),
    /// A frame reaches the node's port from clients (false) or origins (true).
    ToNode { from_origins: bool, frame: Vec<u8> },
    /// A frame reaches the hosts in front of the node (false) or behind it (true).
    ToHosts { towards_origins: bool, frame: Vec<u8> },
    /// A worker's turn.
    Turn(usize),
    /// The next question of a datagram client.
    Ask(usize),
    /// The next burst of an attack, and how many frames it has left.
    Attack(usize, u64),
    /// Something an operator does.
    Act(Action),
}

/// An event and when; the earlier, then the one that was thought of first.
struct Entry {
    at: Instant,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The four directions of the two links.
struct Wires {
    from_clients: Wire,
    to_clients: Wire,
    from_origins: Wire,
    to_origins: Wire,
}

/// A running world.
pub struct World {
    scenario: Scenario,
    now: Instant,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    node: Appliance,
    wires: Wires,
    sessions: Vec<Option<Session>>,
    /// Timers already queued, so that each is queued once.
    session_timers: Vec<Option<Instant>>,
    origin_timers: BTreeMap<(usize, SocketAddr), Instant>,
    by_client: BTreeMap<SocketAddr, usize>,
    origins: Vec<Origin>,
    exchanges: Vec<Exchange>,
    next_fragment_id: u32,
    attackers: Vec<Attacker>,
    reassembly: Reassembly,
    next_turn: Vec<Instant>,
    random: Random,
    trace: Option<Trace>,
    summary: Summary,
}

/// Prints every frame as it passes.
struct Trace;

impl World {
    /// Makes the world of a scenario.
    ///
    /// # Errors
    /// When the node refuses to start.
    pub fn new(scenario: Scenario, is_traced: bool) -> Result<Self, Failure> {
        let seed = scenario.seed;
        let now = Instant::from_millis(1);
        let node = Appliance::start(&scenario, now).map_err(|text| Failure { seed, at: now, text })?;
        let wire = |impairment, label| Wire::new(impairment, scenario.heals_at, Random::new(seed, label));
        let wires = Wires {
            from_clients: wire(scenario.downstream, "from clients"),
            to_clients: wire(scenario.downstream, "to clients"),
            from_origins: wire(scenario.upstream, "from origins"),
            to_origins: wire(scenario.upstream, "to origins"),
        };
        let origin = |(index, &address): (usize, &SocketAddr)| {
            let random = Random::new(seed, &format!("origin {index}"));
            let is_strict = !scenario.mode.passes_through() && !scenario.reuses_ports_at_once();
            Origin::new(address, scenario.origin_settings, scenario.has_proxy_header, is_strict, random)
        };
        let link = LinkHeader {
            destination: MAC_DOWN,
            source: [2, 0x66, 0, 0, 0, 1],
            vlans: scenario.client_vlans.clone(),
        };
        let attacker = |(index, plan): (usize, &crate::scenario::AttackPlan)| {
            let random = Random::new(seed, &format!("attacker {index}"));
            Attacker::new(plan.kind, plan.disguise, link.clone(), random)
        };
        let mut world = Self {
            now,
            queue: BinaryHeap::new(),
            order: 0,
            wires,
            sessions: scenario.sessions.iter().map(|_| None).collect(),
            session_timers: vec![None; scenario.sessions.len()],
            origin_timers: BTreeMap::new(),
            by_client: BTreeMap::new(),
            origins: scenario.origins.iter().enumerate().map(origin).collect(),
            exchanges: Vec::new(),
            next_fragment_id: 1_000,
            attackers: scenario.attacks.iter().enumerate().map(attacker).collect(),
            reassembly: Reassembly::default(),
            next_turn: vec![now; node.workers()],
            node,
            random: Random::new(seed, "world"),
            trace: is_traced.then_some(Trace),
            summary: Summary::default(),
            scenario,
        };
        world.queue_beginnings();
        Ok(world)
    }

    fn queue_beginnings(&mut self) {
        for index in 0..self.scenario.sessions.len() {
            self.at(self.scenario.sessions[index].start, Event::Start(index));
        }
        for index in 0..self.scenario.attacks.len() {
            let plan = self.scenario.attacks[index];
            self.at(plan.start, Event::Attack(index, plan.frames));
        }
        for (at, action) in self.scenario.actions.clone() {
            self.at(at, Event::Act(action));
        }
        self.queue_exchanges();
        for worker in 0..self.node.workers() {
            self.at(self.now, Event::Turn(worker));
        }
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Entry { at, order: self.order, event }));
    }

    /// Runs the world to its end.
    ///
    /// # Errors
    /// The first thing that did not hold.
    pub fn run(mut self) -> Result<Summary, Failure> {
        let end = self.scenario.heals_at + PATIENCE;
        while let Some(Reverse(entry)) = self.queue.pop() {
            self.summary.steps += 1;
            if entry.at > end || (self.is_over() && entry.at > self.scenario.heals_at) {
                break;
            }
            if self.summary.steps > STEPS_MAX {
                return Err(self.failure("stuck: too many steps".into()));
            }
            self.now = entry.at;
            self.step(entry.event).map_err(|text| self.failure(text))?;
        }
        self.check_promises().map_err(|text| self.failure(text))?;
        self.summary.virtual_ms = self.now.as_millis();
        self.summary.drops = self.node.drops();
        (self.summary.answered_in_front, self.summary.dropped_in_front) = self.node.front_totals();
        Ok(self.summary)
    }

    fn failure(&self, text: String) -> Failure {
        Failure { seed: self.scenario.seed, at: self.now, text }
    }

    fn is_over(&self) -> bool {
        let mut sessions = self.sessions.iter();
        sessions.all(|session| session.as_ref().is_some_and(Session::is_done)) && self.are_exchanges_over()
    }

    fn step(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Start(index) => self.start(index),
            Event::ClientTimer(index) => {
                self.session_timers[index] = None;
                if let Some(session) = &mut self.sessions[index] {
                    session.handle_timeout(self.now);
                }
                self.after_session(index)?;
            }
            Event::OriginTimer(index, peer) => {
                self.origin_timers.remove(&(index, peer));
                self.origins[index].handle_timeout(peer, self.now);
                self.after_origin(index, peer)?;
            }
            Event::ToNode { from_origins, frame } => self.deliver_to_node(from_origins, &frame)?,
            Event::ToHosts { towards_origins, frame } => self.deliver_to_hosts(towards_origins, &frame)?,
            Event::Turn(worker) => self.turn(worker)?,
            Event::Ask(index) => self.ask(index),
            Event::Attack(index, left) => self.attack(index, left),
            Event::Act(action) => self.act(action)?,
        }
        Ok(())
    }

    fn start(&mut self, index: usize) {
        let plan = self.scenario.sessions[index];
        let host = self.scenario.clients.iter().find(|host| host.address == plan.client.ip());
        let Some(host) = host else { return };
        let link =
            LinkHeader { destination: MAC_DOWN, source: host.mac, vlans: self.scenario.client_vlans.clone() };
        let session = Session::start(plan, link, host.settings, self.random.bits_32(), self.now);
        self.by_client.insert(plan.client, index);
        self.sessions[index] = Some(session);
        self.summary.sessions += 1;
        let _ = self.after_session(index);
    }

    /// Sends what a session has to say and queues its timer.
    fn after_session(&mut self, index: usize) -> Result<(), String> {
        let now = self.now;
        let Some(session) = &mut self.sessions[index] else { return Ok(()) };
        if let Some(fault) = session.fault().filter(|_| !self.scenario.has_impostors()) {
            return Err(format!("session {index}: {fault}"));
        }
        let mut frames = Vec::new();
        while let Some(packet) = session.poll_transmit() {
            frames.push(write::write(&packet));
        }
        if let Some(at) = session.poll_timeout(now)
            && self.session_timers[index].is_none_or(|queued| at < queued)
        {
            self.session_timers[index] = Some(at);
            self.at(at.max(now), Event::ClientTimer(index));
        }
        for frame in frames {
            self.carry_to_node(false, frame);
        }
        Ok(())
    }

    /// Sends what an origin has to say and queues the timer of its connection.
    fn after_origin(&mut self, index: usize, peer: SocketAddr) -> Result<(), String> {
        let origin = &mut self.origins[index];
        if let Some(fault) = origin.faults.first().filter(|_| !self.scenario.has_impostors()) {
            return Err(format!("origin {index}: {fault}"));
        }
        let frames: Vec<Vec<u8>> = origin.take_output().iter().map(write::write).collect();
        let timer = origin.poll_timeout(peer);
        for served in core::mem::take(&mut origin.served) {
            self.check_served(served.id, served.peer, served.announced)?;
        }
        if let Some(at) = timer
            && self.origin_timers.get(&(index, peer)).is_none_or(|queued| at < *queued)
        {
            self.origin_timers.insert((index, peer), at);
            self.at(at.max(self.now), Event::OriginTimer(index, peer));
        }
        for frame in frames {
            self.carry_to_node(true, frame);
        }
        Ok(())
    }

    /// A request arrived: from whom it should, as far as the origin can see.
    fn check_served(
        &mut self,
        id: u64,
        peer: SocketAddr,
        announced: Option<SocketAddr>,
    ) -> Result<(), String> {
        self.summary.requests += 1;
        let session = self.scenario.sessions.iter().find(|plan| plan.id == id);
        let Some(plan) = session else {
            return Err(format!("a request of session {id}, which nobody started"));
        };
        if announced.is_some_and(|announced| announced != plan.client) {
            return Err(format!("the PROXY header of session {id} names {announced:?}, not {}", plan.client));
        }
        let is_own_address = peer == plan.client;
        if self.scenario.is_transparent != is_own_address {
            return Err(format!("the origin sees session {id} of {} as {peer}", plan.client));
        }
        Ok(())
    }

    fn attack(&mut self, index: usize, left: u64) {
        let plan = self.scenario.attacks[index];
        let service = if plan.is_v6 { SERVICE_V6 } else { SERVICE_V4 };
        let count = left.min(plan.burst);
        let clients: Vec<SocketAddr> = self.by_client.keys().copied().collect();
        for _ in 0..count {
            let frame = self.attackers[index].frame(service, &clients);
            self.summary.attack_frames += 1;
            self.carry_to_node(false, frame);
        }
        if left > count {
            self.at(self.now + plan.interval, Event::Attack(index, left - count));
        }
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Recompile => self.node.recompile(),
            Action::NextEpoch => self.node.next_epoch(),
            Action::Ban { client } => self.ban(client),
            Action::Origin { index, accepts, is_silent } => {
                self.origins[index].manner = match (accepts, is_silent) {
                    (true, _) => Manner::Accepts,
                    (false, true) => Manner::Silent,
                    (false, false) => Manner::Refuses,
                };
                Ok(())
            }
            Action::Drain => {
                self.weaken_promises(|session| session.endpoint().received().is_empty());
                for plan in &mut self.scenario.sessions {
                    plan.promise = Promise::Prefix;
                }
                self.weaken_exchanges(None);
                self.node.drain()
            }
        }
    }

    /// An allowlisted client is not touched by a ban; another one is cut off.
    fn ban(&mut self, client: usize) -> Result<(), String> {
        let host = self.scenario.clients[client].clone();
        if !host.is_allowed {
            self.weaken_promises(|session| session.plan.client.ip() == host.address);
            // A session that starts while workers still take over the policy may slip in.
            let grace = self.now + Duration::from_millis(50);
            for plan in self.scenario.sessions.iter_mut().filter(|plan| plan.client.ip() == host.address) {
                plan.promise = if plan.start > grace { Promise::Refused } else { Promise::Prefix };
            }
        }
        if !host.is_allowed && !host.is_blocked {
            self.weaken_exchanges(Some(host.address));
        }
        self.node.ban(host.address)
    }

    fn weaken_promises(&mut self, applies: impl Fn(&Session) -> bool) {
        let sessions = self.sessions.iter_mut().flatten();
        for session in sessions.filter(|session| !session.is_done() && applies(session)) {
            session.plan.promise = Promise::Prefix;
        }
    }

    /// The Ethernet address of an origin and its place.
    fn origin_at(&self, packet: &crate::frame::Packet) -> Option<(usize, [u8; 6])> {
        Appliance::is_towards_origin(packet, &self.scenario).map(|index| (index, origin_mac(index)))
    }
}
