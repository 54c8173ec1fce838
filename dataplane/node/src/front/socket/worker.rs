//! One worker of the socket front: a poll, its listeners, its connections.
//!
//! Owns: the loop and its budgets, TCP connections from accept to close. Does not own: UDP flows (`datagram`), what
//! all workers share (`shared`). All readiness is edge-triggered: a flag is set by an event and cleared only by
//! EAGAIN, and whoever stops earlier stays in the queue, so no wake-up is lost.
//!
//! One turn: poll -> events set flags -> accept (bounded) -> connections in the queue, each with a byte budget ->
//! timers (bounded) -> every 100 ms housekeeping (policy, bans, drain).

mod accept;
mod backend;
mod housekeeping;

use core::sync::atomic::Ordering;
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Poll, Token, Waker};
use secbeat_net::time::Instant;
use secbeat_net::timer_wheel::TimerWheel;

use super::connection::{Connected, Connection, Outcome, Side, Stage, reset};
use super::datagram::{self, Datagrams};
use super::l7::L7;
use super::pipe::Pool;
use super::plan::Plan;
use super::settings::Policy;
use super::shared::{Shared, Wish};
use crate::attack::Offenders;
use crate::event::{Event as Report, What, WorkerId};
use crate::slab::{Key, Slab};
use crate::telemetry::counters::{Counter, Gauge, WorkerCounters};
use crate::upstream::{BackendOutcome, Outcome as Fate};

/// Events taken per poll.
const EVENTS_PER_POLL: usize = 1_024;
/// Time between two rounds of housekeeping; also the longest sleep.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(100);
/// Timers handled per turn.
const TIMERS_PER_TURN_MAX: usize = 1_024;
/// How long accepting rests when descriptors have run out; an ending connection wakes it earlier.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bits of a poll token that say what kind it is of.
const KIND_BITS: u32 = 3;
/// Client of a `tcp` listener.
const KIND_CLIENT: usize = 0;
/// Its backend.
const KIND_BACKEND: usize = 1;
const KIND_LISTENER: usize = 2;
/// UDP flow.
const KIND_FLOW: usize = 3;
/// Client of an `l7` listener.
pub(super) const KIND_CLIENT_L7: usize = 4;
/// Connection of the HTTP client to a backend.
const KIND_BACKEND_L7: usize = 5;
/// The waker's token: no slab is this large.
const WAKE: Token = Token(usize::MAX);

pub(super) fn token(kind: usize, bits: usize) -> Token {
    Token(bits << KIND_BITS | kind)
}

/// The token of a UDP flow.
pub(super) fn flow_token(key: Key) -> Token {
    token(KIND_FLOW, key.to_bits())
}

/// The token of a listener.
pub(super) fn listener_token(index: u16) -> Token {
    token(KIND_LISTENER, usize::from(index))
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    index: u16,
    /// There may be connections waiting.
    is_ready: bool,
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// FIN both ways.
    Finished,
    /// RST to both sides.
    Reset,
}

/// The state of one worker.
pub(super) struct Worker {
    id: WorkerId,
    shared: Arc<Shared>,
    counters: Arc<WorkerCounters>,
    poll: Poll,
    listeners: Vec<Listener>,
    connections: Slab<Connection>,
    /// TCP connections of every kind, at most.
    connections_max: u32,
    datagrams: Datagrams,
    /// Made when the first `l7` listener comes.
    l7: Option<L7>,
    timers: TimerWheel,
    pipes: Pool,
    /// Connections with something to do.
    queue: VecDeque<Key>,
    /// Connections that wait for a pipe.
    starved: Vec<Key>,
    plan: Arc<Plan>,
    plan_generation: u64,
    policy: Arc<Policy>,
    policy_generation: u64,
    offenders: Offenders,
    accept_paused_until: Option<Instant>,
    housekeeping_at: Instant,
    wish: Wish,
    now: Instant,
}

impl Worker {
    /// A worker whose listeners wait in its inbox.
    pub(super) fn new(id: WorkerId, shared: Arc<Shared>, counters: Arc<WorkerCounters>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        if let Some(slot) = shared.wakers.get(usize::from(id)) {
            let _ = slot.set(waker);
        }
        let now = shared.clock.now();
        let plan = shared.plan.load_full();
        // Read before the policy: a newer one may come in between, and is then adopted once more.
        let policy_generation = shared.policy_generation.load(Ordering::Acquire);
        counters.set(Gauge::PolicyGeneration, policy_generation);
        let connections_max = plan.settings.connections_max;
        Ok(Self {
            id,
            counters,
            poll,
            listeners: Vec::new(),
            connections: Slab::new(connections_max),
            connections_max,
            datagrams: Datagrams::new(&plan.settings, now),
            l7: None,
            timers: TimerWheel::new(connections_max, now),
            pipes: Pool::new(plan.settings.pipe_bytes),
            queue: VecDeque::new(),
            starved: Vec::new(),
            plan,
            plan_generation: 0,
            policy: shared.policy.load_full(),
            policy_generation,
            offenders: Offenders::default(),
            accept_paused_until: None,
            housekeeping_at: now,
            wish: Wish::Serve,
            now,
            shared,
        })
    }

    /// Runs until told to stop, or until drained.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        while !self.is_over() {
            let timeout = self.sleep();
            if let Err(error) = self.poll.poll(&mut events, Some(timeout))
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(worker = self.id, %error, "socket front: poll failed");
                std::thread::sleep(ACCEPT_PAUSE);
            }
            self.turn(&events);
        }
        self.end();
    }

    fn turn(&mut self, events: &Events) {
        self.now = self.shared.clock.now();
        self.counters.count(Counter::Turns);
        for event in events {
            self.on_event(event);
        }
        self.accept();
        self.serve();
        self.serve_l7();
        let turn = datagram::Turn {
            registry: self.poll.registry(),
            shared: &self.shared,
            plan: &self.plan,
            policy: &self.policy,
            counters: &self.counters,
            now: self.now,
        };
        self.datagrams.serve(&turn);
        self.expire();
        if self.now >= self.housekeeping_at {
            self.housekeeping_at = self.now + HOUSEKEEPING_INTERVAL;
            self.keep_house();
        }
    }

    fn sleep(&self) -> Duration {
        let is_accepting = self.accept_paused_until.is_none() && self.listeners.iter().any(|l| l.is_ready);
        let has_l7_work = self.l7.as_ref().is_some_and(L7::has_work);
        if !self.queue.is_empty() || is_accepting || self.datagrams.has_work() || has_l7_work {
            return Duration::ZERO;
        }
        let next = [
            self.timers.poll_timeout(),
            self.datagrams.poll_timeout(),
            self.l7.as_ref().and_then(L7::poll_timeout),
            Some(self.housekeeping_at),
        ];
        let now = self.shared.clock.now();
        next.into_iter().flatten().min().map_or(HOUSEKEEPING_INTERVAL, |at| at.saturating_since(now))
    }

    fn on_event(&mut self, event: &Event) {
        if event.token() == WAKE {
            self.housekeeping_at = self.now;
            return;
        }
        let bits = event.token().0 >> KIND_BITS;
        match event.token().0 & ((1 << KIND_BITS) - 1) {
            KIND_CLIENT => self.on_ready(Key::from_bits(bits), Side::Client, event),
            KIND_BACKEND => self.on_ready(Key::from_bits(bits), Side::Backend, event),
            KIND_LISTENER => {
                match self.listeners.iter_mut().find(|listener| usize::from(listener.index) == bits) {
                    Some(listener) => listener.is_ready = true,
                    None => self.datagrams.on_listener_ready(bits),
                }
            }
            KIND_CLIENT_L7 => {
                if let Some(l7) = &mut self.l7 {
                    l7.on_client_ready(Key::from_bits(bits), event);
                }
            }
            KIND_BACKEND_L7 => {
                if let Some(l7) = &mut self.l7 {
                    l7.on_backend_ready(event, self.now);
                }
            }
            _ => self.datagrams.on_flow_ready(Key::from_bits(bits)),
        }
    }

    fn on_ready(&mut self, key: Key, side: Side, event: &Event) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let is_broken = event.is_error();
        let readable = event.is_readable() || event.is_read_closed() || is_broken;
        connection.on_ready(side, readable, event.is_writable() || is_broken);
        // A reset is met by reading; where nothing is read any more, it must be met here.
        let is_open = connection.stage == Stage::Open;
        if is_broken && (is_open && connection.is_ended(side) || !is_open && side == Side::Client) {
            self.close(key, Ending::Reset);
            return;
        }
        self.enqueue(key);
    }

    fn enqueue(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.is_queued
        {
            connection.is_queued = true;
            self.queue.push_back(key);
        }
    }

    /// Gives each connection that was in the queue at the start one turn.
    fn serve(&mut self) {
        for _ in 0..self.queue.len() {
            let Some(key) = self.queue.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.is_queued = false;
            if connection.stage == Stage::ExpectBackend {
                match connection.connected() {
                    Connected::NotYet => continue,
                    Connected::No(error) => {
                        self.on_refused(key, &error);
                        continue;
                    }
                    Connected::Yes if !self.on_connected(key) => continue,
                    Connected::Yes => {}
                }
            }
            self.pump(key);
        }
    }

    fn pump(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let before = (connection.up.bytes + connection.down.bytes, in_flight(connection));
        let outcome = connection.pump(&mut self.pipes, self.now);
        let delivered = connection.up.bytes + connection.down.bytes - before.0;
        let taken = (delivered + in_flight(connection)).saturating_sub(before.1);
        self.counters.add(Counter::BytesIn, taken);
        self.counters.add(Counter::BytesOut, delivered);
        match outcome {
            Ok(Outcome::Wait) => {}
            Ok(Outcome::Again) => self.enqueue(key),
            Ok(Outcome::Starved) => self.starved.push(key),
            Ok(Outcome::Done) => self.close(key, Ending::Finished),
            Err(_) => self.close(key, Ending::Reset),
        }
    }

    fn expire(&mut self) {
        for _ in 0..TIMERS_PER_TURN_MAX {
            let Some(index) = self.timers.poll_expired(self.now) else { break };
            let Some(key) = self.connections.key_at(index) else { continue };
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let settings = &self.plan.settings;
            let deadline = match connection.stage {
                Stage::ExpectBackend => connection.connect_by,
                Stage::Open if connection.is_half_closed() => {
                    connection.active_at + settings.half_closed_timeout
                }
                Stage::Open => connection.active_at + settings.idle_timeout,
            };
            if deadline > self.now {
                // A connection may become half-closed meanwhile, and then has less time.
                let check = self.now + settings.half_closed_timeout;
                self.timers.schedule(index, deadline.min(check));
            } else if connection.stage == Stage::ExpectBackend {
                self.on_refused(key, &io::Error::from(io::ErrorKind::TimedOut));
            } else {
                self.close(key, Ending::Reset);
            }
        }
    }

    fn close(&mut self, key: Key, ending: Ending) {
        let Some(connection) = self.connections.remove(key) else { return };
        self.timers.cancel(key.index);
        if ending == Ending::Reset {
            connection.reset();
        }
        if let Some(backend) = &connection.backend {
            self.shared.upstream.report(BackendOutcome { backend: backend.id, outcome: Fate::Closed });
        }
        self.shared.counts.release(connection.source.ip(), &self.policy.connections);
        self.counters.count(Counter::ConnectionsClosed);
        // Its descriptors are free now.
        drop(connection);
        self.accept_paused_until = None;
    }

    /// Gives `l7` clients their turn, and takes note of those that ended.
    fn serve_l7(&mut self) {
        let Some(l7) = &mut self.l7 else { return };
        l7.serve(self.now);
        let mut ended = 0;
        let (counts, limits) = (&self.shared.counts, &self.policy.connections);
        let (bytes_in, bytes_out) = l7.take_accounts(|source| {
            counts.release(source, limits);
            ended += 1;
        });
        self.counters.add(Counter::BytesIn, bytes_in);
        self.counters.add(Counter::BytesOut, bytes_out);
        if ended > 0 {
            self.counters.add(Counter::ConnectionsClosed, ended);
            // Their descriptors are free now.
            self.accept_paused_until = None;
        }
    }

    /// TCP connections of every kind.
    fn connections_count(&self) -> u32 {
        self.connections.len() + self.l7.as_ref().map_or(0, L7::len)
    }

    fn report(&self, what: What) {
        self.shared.events.push(Report { at: self.now, worker: self.id, what });
    }
}

fn in_flight(connection: &Connection) -> u64 {
    (connection.up.in_flight() + connection.down.in_flight()) as u64
}
