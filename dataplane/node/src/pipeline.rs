//! From a frame to its fate: what one worker does with each packet.
//!
//! ```text
//!  parse -> lists and rules -> fragments -> checksum -> TCP  flow? -> splice
//!                                                      |     SYN  -> cookie | half-open | pass through
//!                                                      |     ACK  -> validate -> limits -> open -> splice
//!                                                      |-> UDP  flow? -> rates -> open
//!                                                      '-> ICMP errors -> the flow they are about
//! ```
//!
//! Owns: the order of the checks, what a miss means, the flows' accounts with limits and backends. Does not own: each
//! step (`secbeat-net`), the frames (`worker`). Every frame gets exactly one [`Fate`].
//! Cost: for a SYN answered by cookie one parse, one list look-up and one keyed hash; no lock, no allocation.

mod flow;
mod forefront;
pub mod held;
mod icmp;
mod l7;
pub mod limits;
mod reset;
mod tcp;
mod udp;
pub mod whole;

use core::time::Duration;
use std::sync::Arc;

use secbeat_net::filter;
use secbeat_net::flow::{Endpoint, FlowKey, HashKey, hash_addr};
use secbeat_net::fragment::{FragmentLimits, Reassembler};
use secbeat_net::halfopen::{CookieSwitch, HalfOpen, HalfOpenKeys};
use secbeat_net::limit::RateCell;
use secbeat_net::link::PortId;
use secbeat_net::packet::PacketBuf;
use secbeat_net::splice::{self, Context, FlowId, Ingress, Splice, SpliceKeys, SpliceLimits, Verdict};
use secbeat_net::time::Instant;
use secbeat_net::udp::{UdpCounts, UdpForwarder, UdpLimits};
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::checksum::{self, L4Checksum};
use secbeat_net::wire::{self, Headers, protocol};

use crate::attack::{Detector, LISTENERS_WATCHED_MAX, Offenders};
use crate::event::{AttackKind, Event, ListenerId, What, WorkerId};
use crate::front::packet::Terminator;
use crate::policy::Policy;
use crate::telemetry::counters::{Counter, Gauge, WorkerCounters};
use crate::upstream;
use crate::worker::shared::{Shared, Stage};
use forefront::FrontState;
use held::Held;
use whole::Whole;

/// How often listeners that answer with cookies are asked whether they still must. Their shortest time is seconds.
const SWITCHES_INTERVAL: Duration = Duration::from_millis(100);

/// How a frame ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It leaves by this port.
    Transmit(PortId),
    /// The packet in [`Pipeline::whole`], of which this frame was the last piece, leaves by this port in pieces.
    TransmitWhole(PortId),
    /// It is dropped.
    Drop(DropReason),
    /// It is dropped, and its frame now holds the RST that tells its sender, to leave by this port.
    Reset(DropReason, PortId),
    /// It waits for its flow's backend.
    Hold(FlowId),
    /// It belongs to another worker.
    HandOver(WorkerId),
    /// The packet in [`Pipeline::whole`] belongs to another worker, which gets it in pieces and joins them again.
    HandOverWhole(WorkerId),
    /// It did its work.
    Consumed,
}

/// Where a frame comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a receive ring.
    Wire,
    /// From another worker, which thinks it is ours: it is never handed on again.
    Worker,
    /// It was held.
    Held,
}

/// What the worker must do about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Nothing: it was noted.
    Noted,
    /// Judge the frames held for this flow again.
    Release(FlowId),
    /// Drop the frames held for this flow.
    Discard(FlowId),
}

/// What a worker is made of: numbers and sizes that do not change while it lives.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its number.
    pub id: WorkerId,
    /// Its flow table.
    pub splice: SpliceLimits,
    /// Its UDP flows.
    pub udp: UdpLimits,
    /// Its fragments.
    pub fragments: FragmentLimits,
    /// Frames kept for clients that speak before the backend answers.
    pub early_frames_max: u32,
    /// Secrets of its flow table.
    pub splice_keys: SpliceKeys,
    /// Half-open connections it may answer from memory; 0 when every listener always uses cookies.
    pub half_open_max: u32,
    /// Secrets of its half-open table.
    pub half_open_keys: HalfOpenKeys,
    /// Chooses backends: the same on all workers, and on all nodes of a fleet.
    pub balance_key: HashKey,
    /// Places hints about flows: the same on all workers.
    pub hint_key: HashKey,
}

/// What we remember of a flow beside what splice does; lies at the flow's index.
#[derive(Clone, Copy, Debug, Default)]
struct Note {
    /// The flow, while it lives.
    flow: Option<FlowId>,
    /// Chose the backend, and would choose the next.
    hash: u64,
    /// Backends tried before this one.
    attempt: u32,
    /// The backend that counts this connection.
    backend: Option<upstream::BackendId>,
    /// Whether the limits count it for its source: only once the source has proven its address.
    counted: bool,
    /// Whether its source is allowlisted.
    exempt: bool,
}

/// The packet logic of one worker and everything it remembers.
#[derive(Debug)]
pub struct Pipeline {
    id: WorkerId,
    shared: Arc<Shared>,
    policy: Arc<Policy>,
    page: Arc<WorkerCounters>,
    splice: Splice,
    /// Connections that end here; `None` when no listener was in `l7` mode at the start.
    terminator: Option<Box<Terminator>>,
    notes: Box<[Note]>,
    half_open: HalfOpen,
    half_open_max: u32,
    udp: UdpForwarder,
    /// The backend that counts a UDP flow, by the flow's index.
    udp_notes: Box<[Option<upstream::BackendId>]>,
    fragments: Reassembler,
    /// Counts packets that were cut, to tell their pieces apart.
    fragment_ident: u32,
    /// A packet longer than a frame.
    pub whole: Whole,
    icmp_cell: RateCell,
    /// Per listener: whether SYNs are answered with cookies.
    switches: Box<[CookieSwitch]>,
    switches_judged: Instant,
    /// Frames waiting for their flow's backend.
    pub held: Held,
    detector: Detector,
    offenders: Offenders,
    /// What is known of what stands before the workers.
    front: FrontState,
    balance_key: HashKey,
    hint_key: HashKey,
    stage: Stage,
}

impl Pipeline {
    /// Takes all memory the worker's flows will ever use.
    pub fn new(shared: Arc<Shared>, setup: Setup, now: Instant) -> Self {
        let policy = shared.policy();
        let page = shared.pages.get(usize::from(setup.id)).cloned().unwrap_or_default();
        let flows = setup.splice.flows_max;
        let has_front = shared.forefront.is_some();
        let mut pipeline = Self {
            id: setup.id,
            page,
            splice: Splice::new(setup.splice, setup.splice_keys),
            terminator: None,
            notes: vec![Note::default(); flows as usize].into_boxed_slice(),
            udp_notes: vec![None; setup.udp.flows_max as usize].into_boxed_slice(),
            udp: UdpForwarder::new(setup.udp, setup.splice_keys),
            fragments: Reassembler::new(setup.fragments, setup.splice_keys.table),
            // Any start that another worker does not share: pieces of two packets must not mix.
            fragment_ident: setup.splice_keys.table.0[0] as u32,
            whole: Whole::default(),
            icmp_cell: RateCell::new(now),
            half_open: HalfOpen::new(setup.half_open_max.max(1), setup.half_open_keys),
            half_open_max: setup.half_open_max,
            switches: vec![CookieSwitch::new(now); LISTENERS_WATCHED_MAX].into_boxed_slice(),
            switches_judged: now,
            held: Held::new(setup.early_frames_max, flows),
            detector: Detector::new(now),
            offenders: Offenders::default(),
            front: FrontState::new(setup.id, has_front),
            balance_key: setup.balance_key,
            hint_key: setup.hint_key,
            stage: Stage::Serve,
            policy,
            shared,
        };
        if let Some(front) = pipeline.shared.forefront.clone() {
            pipeline.splice.set_watch(front);
        }
        pipeline.adopt_front(&[], now);
        pipeline.shared.set_adopted(setup.id, pipeline.policy.generation);
        pipeline
    }

    /// The worker's number.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// The worker's page of counters.
    pub fn page(&self) -> &Arc<WorkerCounters> {
        &self.page
    }

    /// The policy it runs.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Flows there may be.
    pub fn flows_max(&self) -> usize {
        self.notes.len()
    }

    /// Flows there are, by part of their life.
    pub fn counts(&self) -> splice::Counts {
        self.splice.counts()
    }

    /// UDP flows there are.
    pub fn udp_counts(&self) -> UdpCounts {
        self.udp.counts()
    }

    /// Clients' keys of all TCP flows and connections, those that linger included. For tests and the simulation.
    #[doc(hidden)]
    pub fn client_keys(&self) -> impl Iterator<Item = FlowKey> {
        let ended_here = self.terminator.iter().flat_map(|l7| l7.stack().keys());
        self.splice.keys().chain(ended_here)
    }

    /// What splice counted.
    pub fn splice_counters(&self) -> &splice::SpliceCounters {
        self.splice.counters()
    }

    /// Decides about one frame, rewriting it when it goes on.
    pub fn judge(&mut self, packet: &mut PacketBuf<'_>, port: PortId, origin: Origin, now: Instant) -> Fate {
        let headers = match wire::parse(packet.bytes()) {
            Ok(headers) => headers,
            Err(reason) => return self.refuse(reason),
        };
        match self.judge_packet(packet, &headers, port, origin, now) {
            Ok(fate) => fate,
            Err(reason) => self.refuse(reason),
        }
    }

    fn judge_packet(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        port: PortId,
        origin: Origin,
        now: Instant,
    ) -> Result<Fate, DropReason> {
        headers.sanity()?;
        if headers.fragment.is_some() {
            return self.judge_fragment(packet, headers, port, origin, now);
        }
        self.judge_whole(packet, headers, port, origin, now)
    }

    /// A packet that is no fragment, or no longer.
    fn judge_whole(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        port: PortId,
        origin: Origin,
        now: Instant,
    ) -> Result<Fate, DropReason> {
        headers.sanity()?;
        let exempt = self.filter(headers, now)?;
        let checksum = checksum::verify_l4(headers, packet.bytes());
        if checksum == L4Checksum::Invalid {
            return Err(DropReason::L4Checksum);
        }
        let ingress = Ingress { port, mtu: self.policy.mtu(port), checksum };
        let seen = Seen { ingress, origin, exempt };
        match headers.protocol {
            protocol::TCP => self.judge_tcp(packet, headers, &seen, now),
            protocol::UDP => self.judge_udp(packet, headers, &seen, now),
            protocol::ICMP | protocol::ICMPV6 => self.judge_icmp(packet, headers, &seen, now),
            _ => Err(DropReason::NotOurs),
        }
    }

    /// Lists and rules. `Ok(true)`: the source is allowlisted, and no limit applies to it either. Answers of
    /// backends are not filtered: they only pass where a flow expects them.
    fn filter(&mut self, headers: &Headers, now: Instant) -> Result<bool, DropReason> {
        if let Some(key) = headers.flow_key()
            && self.policy.is_from_backend(key.source, key.destination)
        {
            return Ok(true);
        }
        match self.policy.filter.judge(headers, now) {
            filter::Verdict::Exempt => Ok(true),
            filter::Verdict::Allow(_) | filter::Verdict::Pass => Ok(false),
            filter::Verdict::Blocked { reason } => {
                self.shared.blocked.count(reason);
                Err(DropReason::Blocklisted)
            }
            filter::Verdict::Drop(_) => Err(DropReason::FilterRule),
            filter::Verdict::Limit(rule, limit) => {
                let admitted = self.shared.limits.admit_rule(rule, headers.source, limit, now);
                if admitted { Ok(false) } else { Err(DropReason::FilterRule) }
            }
        }
    }

    /// Counts what a drop says about an attack.
    fn refuse(&mut self, reason: DropReason) -> Fate {
        let kind = match reason {
            DropReason::Fragment | DropReason::FragmentTableFull => AttackKind::FragmentFlood,
            DropReason::UdpRate => AttackKind::UdpFlood,
            _ => return Fate::Drop(reason),
        };
        self.note_attack(None, kind);
        Fate::Drop(reason)
    }

    /// Places a source among the offenders.
    fn offender_hash(&self, source: core::net::IpAddr) -> u64 {
        hash_addr(&self.hint_key, source, 0)
    }

    fn note_attack(&mut self, listener: Option<ListenerId>, kind: AttackKind) {
        self.detector.count(listener, kind);
        self.page.add_attack(kind, 1);
    }

    /// Places the hint of a flow, given from the client's side. In transparent mode the answers of a backend know
    /// the client's end only: the listener's address and port are not in them.
    fn hint_hash(&self, key: &FlowKey) -> u64 {
        if self.policy.transparent {
            let nowhere = Endpoint { addr: key.source.addr, port: 0 };
            return FlowKey { destination: nowhere, ..*key }.hash(&self.hint_key);
        }
        key.hash(&self.hint_key)
    }

    /// The worker that a frame without flow here belongs to, if another one.
    fn owner(&self, key: &FlowKey, origin: Origin) -> Option<WorkerId> {
        if origin != Origin::Wire || self.shared.workers() < 2 {
            return None;
        }
        let owner = if self.policy.is_from_backend(key.source, key.destination) {
            if self.policy.transparent {
                self.shared.hints.owner(self.hint_hash(&key.reversed()))
            } else {
                self.policy.snat_ports.owner(key.destination.port)
            }
        } else {
            self.shared.hints.owner(self.hint_hash(key))
        };
        owner.filter(|&owner| owner != self.id)
    }

    /// Lets time pass for at most `budget` flows; returns how many had something to do.
    pub fn handle_timeout(&mut self, now: Instant, budget: usize) -> usize {
        let expired = self.half_open.handle_timeout(now, budget);
        self.page.add(Counter::HandshakesExpired, expired as u64);
        let fragments = self.fragments.handle_timeout(now, budget);
        let sessions = self.terminator.as_mut().map_or(0, |l7| l7.handle_timeout(now, budget));
        let flows = self.splice.handle_timeout(now, budget) + self.udp.handle_timeout(now, budget);
        expired + fragments + sessions + flows
    }

    /// When the next timer is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = [
            self.splice.poll_timeout(),
            self.half_open.poll_timeout(),
            self.udp.poll_timeout(),
            self.fragments.poll_timeout(),
            self.terminator.as_ref().and_then(|l7| l7.poll_timeout()),
        ];
        timeouts.into_iter().flatten().min()
    }

    /// Whether there is a packet of our own to send.
    pub fn has_transmit(&self, now: Instant) -> bool {
        self.splice.has_transmit()
            || self.terminator.as_ref().is_some_and(|l7| l7.has_transmit())
            || self.half_open.poll_timeout().is_some_and(|at| at <= now)
    }

    /// Builds the next packet of our own.
    pub fn poll_transmit(&mut self, packet: &mut PacketBuf<'_>, now: Instant) -> Option<PortId> {
        if let Some(port) = self.splice.poll_transmit(packet, &self.policy.targets, now) {
            return Some(port);
        }
        if let Some(port) = self.terminator.as_mut().and_then(|l7| l7.poll_transmit(packet, now)) {
            return Some(port);
        }
        let port = self.half_open.poll_transmit(packet, now)?;
        self.page.count(Counter::SynAckSent);
        Some(port)
    }

    /// The next finding about a flow.
    pub fn poll_wake(&mut self, now: Instant) -> Option<Wake> {
        if let Some(event) = self.splice.poll_event() {
            return Some(self.note_event(event, now));
        }
        if self.note_finding(now) {
            return Some(Wake::Noted);
        }
        self.note_udp_closed().then_some(Wake::Noted)
    }

    /// Resets every flow, for an end without patience. Returns their number.
    pub fn abort_all(&mut self, now: Instant) -> u64 {
        let live = self.notes.iter().filter_map(|note| note.flow);
        let flows: u64 = live.map(|flow| u64::from(self.splice.abort(flow, now))).sum();
        flows + self.terminator.as_mut().map_or(0, |l7| l7.abort_all(now))
    }

    /// Everything that need not be done for each packet: policy, rates, gauges. Once a millisecond.
    pub fn handle_housekeeping(&mut self, now: Instant) {
        if self.shared.generation() != self.policy.generation {
            self.adopt(now);
        }
        let stage = self.shared.stage();
        if stage != self.stage {
            self.stage = stage;
            self.splice.set_draining(stage > Stage::Serve);
            self.udp.set_draining(stage > Stage::Serve);
            if let Some(l7) = &mut self.terminator {
                l7.set_draining(now);
            }
        }
        self.keep_front(now);
        self.offenders.handle_tick();
        if self.detector.is_due(now) {
            self.count_front(now);
        }
        let (events, id) = (&self.shared.events, self.id);
        self.detector.handle_tick(&self.policy.thresholds, now, |what| {
            events.push(Event { at: now, worker: id, what });
        });
        if now.saturating_since(self.switches_judged) >= SWITCHES_INTERVAL {
            self.switches_judged = now;
            let active = self.decide_cookies_again(now);
            self.page.set(Gauge::CookieListeners, active);
        }
        self.count_reassembly();
        self.keep_sessions(now);
        self.set_gauges();
    }

    /// Frames kept for reassembly count as consumed; what became of their datagrams is counted here.
    fn count_reassembly(&mut self) {
        let counted = *self.fragments.counters();
        let evicted = counted.evicted - self.page.get(Counter::ReassemblyEvicted);
        for (counter, total) in [
            (Counter::ReassemblyEvicted, counted.evicted),
            (Counter::ReassemblyExpired, counted.expired),
            (Counter::ReassemblyVoided, counted.voided),
        ] {
            self.page.add(counter, total - self.page.get(counter));
        }
        for _ in 0..evicted {
            self.note_attack(None, AttackKind::FragmentFlood);
        }
    }

    fn adopt(&mut self, now: Instant) {
        let old = core::mem::replace(&mut self.policy, self.shared.policy());
        self.adopt_front(&old.front_slots, now);
        if let Some(l7) = &mut self.terminator {
            l7.adopt(&self.policy.l7);
        }
        let generation = self.policy.generation;
        self.shared.set_adopted(self.id, generation);
        self.page.count(Counter::PoliciesAdopted);
        self.report(What::PolicyAdopted { generation }, now);
    }

    fn set_gauges(&self) {
        let counts = self.splice.counts();
        let page = &self.page;
        let connections = self.terminator.as_ref().map_or(0, |l7| l7.stack().counts().connections);
        let spliced = counts.flows.saturating_sub(counts.time_wait);
        page.set(Gauge::ConnectionsActive, u64::from(spliced) + u64::from(connections));
        page.set(Gauge::HalfOpen, u64::from(counts.half_open) + u64::from(self.half_open.len()));
        page.set(Gauge::FlowsUsed, u64::from(counts.flows));
        let udp = self.udp.counts();
        page.set(Gauge::UdpFlows, u64::from(udp.one_way) + u64::from(udp.two_way));
        page.set(Gauge::Reassembling, self.fragments.len() as u64);
        page.set(Gauge::EarlyFrames, u64::from(self.held.len()));
        page.set(Gauge::PolicyGeneration, self.policy.generation);
        self.set_front_gauges();
    }

    fn report(&self, what: What, now: Instant) {
        self.shared.events.push(Event { at: now, worker: self.id, what });
    }

    /// What splice needs to know about the outside.
    fn context<'a>(policy: &'a Policy, ingress: Ingress) -> Context<'a> {
        Context { backends: &policy.targets, ingress }
    }
}

/// What is known of a frame before its protocol is looked at.
#[derive(Clone, Copy, Debug)]
struct Seen {
    ingress: Ingress,
    origin: Origin,
    /// The source is allowlisted: no limit applies.
    exempt: bool,
}

/// The fate of a frame that splice judged; `None` when it has no flow.
fn fate(verdict: Verdict) -> Option<Result<Fate, DropReason>> {
    Some(match verdict {
        Verdict::Transmit(port) => Ok(Fate::Transmit(port)),
        Verdict::Drop(reason) => Err(reason),
        Verdict::Hold(flow) => Ok(Fate::Hold(flow)),
        Verdict::Consumed => Ok(Fate::Consumed),
        Verdict::Miss => return None,
    })
}
