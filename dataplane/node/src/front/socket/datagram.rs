//! UDP over sockets: each client gets a socket of its own towards its backend, so that answers find their way back.
//!
//! Owns: UDP listeners, flows, their time-outs, the amplification filter. Does not own: lists and rates (`shared`).
//! A source of datagrams is not validated: a flood of forged ones may fill the table, and then the flow idle longest
//! goes; it takes nothing away from TCP. Cost: one socket per flow, two system calls per datagram.

mod io;

use core::net::{IpAddr, SocketAddr};
use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use mio::net::UdpSocket;
use mio::{Interest, Registry};
use secbeat_net::filter::{Filter, Listed};
use secbeat_net::flow::Protocol;
use secbeat_net::time::Instant;
use secbeat_net::timer_wheel::TimerWheel;
use secbeat_net::udp::ROUNDS_VALIDATED;
use secbeat_net::verdict::DropReason;

use super::plan::Plan;
use super::settings::{Policy, Settings};
use super::shared::Shared;
use super::worker::{flow_token, listener_token};
use crate::slab::{Key, Slab};
use crate::telemetry::counters::{Counter, WorkerCounters};
use crate::upstream::{BackendId, BackendOutcome, Outcome};
use io::Buffers;

/// Datagrams taken from one socket per turn.
const DATAGRAMS_PER_TURN_MAX: usize = 64;
/// Flows looked at when one must go: each look gives a flow that was busy meanwhile a second chance.
const EVICTION_LOOKS_MAX: usize = 64;
/// Timers handled per turn.
const TIMERS_PER_TURN_MAX: usize = 1_024;

/// A client at one of our addresses.
type Client = (u16, SocketAddr, Option<IpAddr>);

#[derive(Debug)]
struct Listener {
    socket: UdpSocket,
    index: u16,
    bound: SocketAddr,
    is_ready: bool,
}

#[derive(Debug)]
struct Flow {
    socket: UdpSocket,
    client: Client,
    backend: BackendId,
    active_at: Instant,
    bytes_in: u64,
    bytes_out: u64,
    /// The backend has answered.
    is_answered: bool,
    /// Times the client spoke again after an answer; see `net::udp::ROUNDS_VALIDATED`.
    rounds: u8,
    /// The last datagram was an answer.
    is_answer_last: bool,
    is_queued: bool,
}

impl Flow {
    /// Whether the backend may send `bytes` more to a client that perhaps never asked: the rule of `net::udp`.
    fn may_answer(&self, bytes: u64, ratio_max: u64) -> bool {
        ratio_max == 0
            || self.rounds >= ROUNDS_VALIDATED
            || self.bytes_out.saturating_add(bytes) <= self.bytes_in.saturating_mul(ratio_max)
    }
}

/// All UDP of one worker.
#[derive(Debug)]
pub(super) struct Datagrams {
    listeners: Vec<Listener>,
    flows: Slab<Flow>,
    by_client: HashMap<Client, Key>,
    timers: TimerWheel,
    /// Flows in about the order of their last datagram, with the time that order was noted.
    oldest: VecDeque<(Key, Instant)>,
    queue: VecDeque<Key>,
    buffers: Buffers,
    is_draining: bool,
}

/// What a turn works with.
pub(super) struct Turn<'a> {
    pub(super) registry: &'a Registry,
    pub(super) shared: &'a Shared,
    pub(super) plan: &'a Plan,
    pub(super) policy: &'a Policy,
    pub(super) counters: &'a WorkerCounters,
    pub(super) now: Instant,
}

impl Datagrams {
    pub(super) fn new(settings: &Settings, now: Instant) -> Self {
        Self {
            listeners: Vec::new(),
            flows: Slab::new(settings.udp_flows_max),
            by_client: HashMap::new(),
            timers: TimerWheel::new(settings.udp_flows_max, now),
            oldest: VecDeque::new(),
            queue: VecDeque::new(),
            buffers: Buffers::new(),
            is_draining: false,
        }
    }

    pub(super) fn listen(&mut self, registry: &Registry, index: u16, fd: OwnedFd) -> std::io::Result<()> {
        let mut socket = UdpSocket::from_std(std::net::UdpSocket::from(fd));
        registry.register(&mut socket, listener_token(index), Interest::READABLE)?;
        let bound = socket.local_addr()?;
        self.listeners.push(Listener { socket, index, bound, is_ready: true });
        Ok(())
    }

    pub(super) fn len(&self) -> u32 {
        self.flows.len()
    }

    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.listeners.iter().any(|listener| listener.is_ready)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.poll_timeout()
    }

    pub(super) fn on_listener_ready(&mut self, index: usize) {
        if let Some(listener) =
            self.listeners.iter_mut().find(|listener| usize::from(listener.index) == index)
        {
            listener.is_ready = true;
        }
    }

    pub(super) fn on_flow_ready(&mut self, key: Key) {
        if let Some(flow) = self.flows.get_mut(key)
            && !flow.is_queued
        {
            flow.is_queued = true;
            self.queue.push_back(key);
        }
    }

    /// No new flow from now on.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
    }

    /// One turn: what came from clients, what came from backends, what has been idle too long.
    pub(super) fn serve(&mut self, turn: &Turn<'_>) {
        let now = turn.now;
        for index in 0..self.listeners.len() {
            self.receive(index, turn);
        }
        for _ in 0..self.queue.len() {
            let Some(key) = self.queue.pop_front() else { break };
            self.answer(key, turn);
        }
        for _ in 0..TIMERS_PER_TURN_MAX {
            let Some(index) = self.timers.poll_expired(now) else { break };
            let Some(key) = self.flows.key_at(index) else { continue };
            let Some(flow) = self.flows.get_mut(key) else { continue };
            let deadline = flow.active_at + turn.plan.settings.udp_idle_timeout;
            if deadline > now {
                self.timers.schedule(index, deadline);
            } else {
                self.close(key, turn.shared, turn.counters);
            }
        }
    }

    /// Datagrams from clients.
    fn receive(&mut self, index: usize, turn: &Turn<'_>) {
        for _ in 0..DATAGRAMS_PER_TURN_MAX {
            let Some(listener) = self.listeners.get_mut(index).filter(|listener| listener.is_ready) else {
                return;
            };
            let received = match self.buffers.receive(&listener.socket, listener.bound.ip().is_unspecified())
            {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    listener.is_ready = false;
                    return;
                }
                // An ICMP error about an answer of ours; the socket itself is fine.
                Err(_) => continue,
            };
            turn.counters.add(Counter::BytesIn, received.len as u64);
            let (number, bound) = (listener.index, listener.bound);
            let destination = received.local.map_or(bound, |local| SocketAddr::new(local, bound.port()));
            if let Err(reason) =
                self.forward((number, received.source, received.local), destination, received.len, turn)
            {
                turn.counters.count_drop(reason);
            }
        }
    }

    fn forward(
        &mut self,
        client: Client,
        destination: SocketAddr,
        len: usize,
        turn: &Turn<'_>,
    ) -> Result<(), DropReason> {
        let source = client.1;
        let admitted = turn.shared.admit(turn.policy, Protocol::Udp, source, destination, turn.now)?;
        let known = self.by_client.get(&client).copied();
        let is_reflector = turn.plan.settings.amplification_ports.contains(&source.port());
        if known.is_none() && is_reflector && !admitted.is_exempt {
            return Err(DropReason::UdpAmplification);
        }
        let key = match known {
            Some(key) => key,
            None => self.open(client, turn)?,
        };
        let Some(flow) = self.flows.get_mut(key) else { return Err(DropReason::NoFlow) };
        match flow.socket.send(self.buffers.payload(len)) {
            Ok(_) => {
                flow.active_at = turn.now;
                flow.bytes_in = flow.bytes_in.saturating_add(len as u64);
                if core::mem::take(&mut flow.is_answer_last) {
                    flow.rounds = flow.rounds.saturating_add(1);
                }
                turn.counters.add(Counter::BytesOut, len as u64);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(DropReason::TxFull),
            Err(_) => {
                self.on_unreachable(key, turn);
                Err(DropReason::NoBackend)
            }
        }
    }

    fn open(&mut self, client: Client, turn: &Turn<'_>) -> Result<Key, DropReason> {
        if self.is_draining {
            return Err(DropReason::Draining);
        }
        if self.flows.is_full() {
            self.evict(turn)?;
        }
        let snapshot = turn.shared.upstream.snapshot();
        let listener = turn.plan.listener(client.0).ok_or(DropReason::NoBackend)?;
        let group = snapshot.group(&listener.name).ok_or(DropReason::NoBackend)?;
        let hash = turn.shared.backend_hash(client.1.ip());
        let backend = snapshot.pick(group, hash, 0).ok_or(DropReason::NoBackend)?;
        let address =
            snapshot.backend(backend).and_then(|backend| backend.address).ok_or(DropReason::NoBackend)?;
        if !snapshot.reserve(backend) {
            return Err(DropReason::NoBackend);
        }
        let inserted = io::connect(address).ok().and_then(|socket| {
            self.flows.insert_with(|_| Flow {
                socket,
                client,
                backend,
                active_at: turn.now,
                bytes_in: 0,
                bytes_out: 0,
                is_answered: false,
                rounds: 0,
                is_answer_last: false,
                is_queued: false,
            })
        });
        let Some(key) = inserted else {
            turn.shared.upstream.report(BackendOutcome { backend, outcome: Outcome::Closed });
            return Err(DropReason::FlowTableFull);
        };
        self.by_client.insert(client, key);
        self.timers.schedule(key.index, turn.now + turn.plan.settings.udp_idle_timeout);
        self.note(key, turn.now);
        turn.counters.count(Counter::UdpFlowsOpened);
        if let Some(flow) = self.flows.get_mut(key)
            && turn.registry.register(&mut flow.socket, flow_token(key), Interest::READABLE).is_err()
        {
            self.close(key, turn.shared, turn.counters);
            return Err(DropReason::FlowTableFull);
        }
        Ok(key)
    }

    /// Remembers when a flow was opened, and forgets flows that are gone before the list outgrows the table.
    fn note(&mut self, key: Key, now: Instant) {
        if self.oldest.len() > 2 * self.flows.len() as usize + EVICTION_LOOKS_MAX {
            let flows = &mut self.flows;
            self.oldest.retain(|(key, _)| flows.get_mut(*key).is_some());
        }
        self.oldest.push_back((key, now));
    }

    /// Makes room: the flow idle longest goes, as far as a few looks can tell.
    fn evict(&mut self, turn: &Turn<'_>) -> Result<(), DropReason> {
        for look in 0..EVICTION_LOOKS_MAX {
            let Some((key, noted_at)) = self.oldest.pop_front() else { break };
            let Some(flow) = self.flows.get_mut(key) else { continue };
            if flow.active_at > noted_at && look + 1 < EVICTION_LOOKS_MAX {
                self.oldest.push_back((key, flow.active_at));
                continue;
            }
            turn.counters.count(Counter::FlowsEvicted);
            self.close(key, turn.shared, turn.counters);
            return Ok(());
        }
        Err(DropReason::FlowTableFull)
    }

    /// Datagrams from a backend.
    fn answer(&mut self, key: Key, turn: &Turn<'_>) {
        let ratio_max = u64::from(turn.plan.settings.amplification_ratio_max);
        for _ in 0..DATAGRAMS_PER_TURN_MAX {
            let Some(flow) = self.flows.get_mut(key) else { return };
            flow.is_queued = false;
            let len = match self.buffers.receive_connected(&flow.socket) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.on_unreachable(key, turn),
            };
            turn.counters.add(Counter::BytesIn, len as u64);
            if !flow.is_answered {
                flow.is_answered = true;
                let outcome = BackendOutcome { backend: flow.backend, outcome: Outcome::Established };
                turn.shared.upstream.report(outcome);
            }
            if !flow.may_answer(len as u64, ratio_max) {
                turn.counters.count_drop(DropReason::UdpAmplification);
                continue;
            }
            let (number, to, local) = flow.client;
            let Some(listener) = self.listeners.iter().find(|listener| listener.index == number) else {
                return;
            };
            match self.buffers.send(&listener.socket, len, to, local) {
                Ok(()) => {
                    flow.active_at = turn.now;
                    flow.bytes_out = flow.bytes_out.saturating_add(len as u64);
                    flow.is_answer_last = true;
                    turn.counters.add(Counter::BytesOut, len as u64);
                }
                Err(_) => turn.counters.count_drop(DropReason::TxFull),
            }
        }
        self.on_flow_ready(key);
    }

    /// The backend's host says that nobody listens there.
    fn on_unreachable(&mut self, key: Key, turn: &Turn<'_>) {
        if let Some(flow) = self.flows.get_mut(key) {
            turn.shared.upstream.report(BackendOutcome { backend: flow.backend, outcome: Outcome::Failed });
        }
        self.close(key, turn.shared, turn.counters);
    }

    /// Closes a listener and the flows whose answers would have left through it.
    pub(super) fn unlisten(&mut self, slot: u16, shared: &Shared, counters: &WorkerCounters) {
        let flows = self.flows.iter().filter(|(_, flow)| flow.client.0 == slot);
        let keys: Vec<Key> = flows.map(|(key, _)| key).collect();
        for key in keys {
            self.close(key, shared, counters);
        }
        self.listeners.retain(|listener| listener.index != slot);
    }

    /// Looks at every timer again, after a change of the idle time.
    pub(super) fn reschedule(&mut self, now: Instant) {
        for (key, _) in self.flows.iter() {
            self.timers.schedule(key.index, now);
        }
    }

    pub(super) fn cut_banned(
        &mut self,
        shared: &Shared,
        filter: &Filter,
        counters: &WorkerCounters,
        now: Instant,
    ) {
        let banned = |source| matches!(filter.listed(source, now), Listed::Blocked { .. });
        let flows = self.flows.iter().filter(|(_, flow)| banned(flow.client.1.ip()));
        let keys: Vec<Key> = flows.map(|(key, _)| key).collect();
        for key in keys {
            self.close(key, shared, counters);
        }
    }

    pub(super) fn close_all(&mut self, shared: &Shared, counters: &WorkerCounters) {
        let keys: Vec<Key> = self.flows.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.close(key, shared, counters);
        }
        self.listeners.clear();
    }

    fn close(&mut self, key: Key, shared: &Shared, counters: &WorkerCounters) {
        let Some(flow) = self.flows.remove(key) else { return };
        self.timers.cancel(key.index);
        self.by_client.remove(&flow.client);
        shared.upstream.report(BackendOutcome { backend: flow.backend, outcome: Outcome::Closed });
        counters.count(Counter::UdpFlowsClosed);
    }
}
