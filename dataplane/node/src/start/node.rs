//! The node as the control thread and the management API see it.
//!
//! Owns: everything that changes while the node runs but is not decided per packet: configuration in force, lists,
//! policy, what the XDP program knows. Does not own: threads (`control`, `workers`), the packet path. Behind one
//! lock, which no worker ever takes.

use core::net::IpAddr;
use core::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crossbeam::channel::Sender;
use ipnet::IpNet;
use secbeat_config::NodeConfig;
use secbeat_config::ban::Entry;
use secbeat_export::Exports;
use secbeat_net::filter::Filter;
use secbeat_net::syncookie::epoch_at;

use super::export;
use super::fleet::Fleet;
use super::pulse::Pulse;
use super::secret::Master;
use super::xdp::Xdp;
use crate::agent::Link;
use crate::api::events::{Class, Level};
use crate::api::{EventLog, InterfaceStatus, Phase, SecurityEvent};
use crate::cli::ConfigSource;
use crate::event::{AttackKind, EventQueue};
use crate::front::socket as front;
use crate::lists::{Ban, BanRequest, Banned, Changes, Lists, Origin, Refusal};
use crate::logging;
use crate::neighbor;
use crate::policy::l7::Resources;
use crate::policy::target::TargetIds;
use crate::policy::view::{PortView, View};
use crate::policy::{self, Policy, Sources};
use crate::session;
use crate::telemetry::node::{NodeCounter, NodeGauge};
use crate::telemetry::{BackendNumbers, Telemetry};
use crate::upstream::{self, Upstream};
use crate::worker::clock::Clock;
use crate::worker::shared::{Shared, Stage};

/// What wakes the control thread.
#[derive(Clone, Debug)]
pub enum Wake {
    /// The kernel's tables changed.
    Neighbors(Arc<neighbor::Snapshot>),
    /// Health, weight or address of a backend changed.
    Backends,
    /// SIGHUP.
    Reload,
    /// SIGUSR1: open log files anew.
    Reopen,
    /// SIGTERM: finish connections, then stop.
    Drain,
    /// SIGINT, or a second SIGTERM: stop now.
    Stop,
}

/// What does not change while the node runs.
#[derive(Debug)]
pub struct Facts {
    /// `xdp` or `socket`.
    pub driver: &'static str,
    /// Why, and what was obtained.
    pub notes: Vec<String>,
    /// Core of each worker.
    pub cores: Vec<Option<usize>>,
    /// Interfaces as attached.
    pub interfaces: Vec<InterfaceStatus>,
    /// Since when.
    pub started: SystemTime,
}

/// What moves the traffic: packet workers or the socket front.
#[derive(Debug)]
pub enum Traffic {
    /// Workers on AF_XDP.
    Packets(Arc<Shared>),
    /// Threads on kernel sockets.
    Sockets {
        /// Speaks to them.
        handle: front::Handle,
        /// What they report.
        events: Arc<EventQueue>,
        /// Their number.
        workers: usize,
    },
}

impl Traffic {
    /// What workers report.
    pub fn events(&self) -> &EventQueue {
        match self {
            Self::Packets(shared) => &shared.events,
            Self::Sockets { events, .. } => events,
        }
    }

    /// Number of workers.
    pub fn workers(&self) -> usize {
        match self {
            Self::Packets(shared) => shared.workers(),
            Self::Sockets { workers, .. } => *workers,
        }
    }
}

/// The node.
#[derive(Debug)]
pub struct Node {
    /// What does not change.
    pub facts: Facts,
    /// Where the configuration comes from.
    pub source: ConfigSource,
    /// What moves the traffic.
    pub traffic: Traffic,
    /// The backends.
    pub upstream: Arc<Upstream>,
    /// The numbers.
    pub telemetry: Arc<Telemetry>,
    /// The last events.
    pub events: Arc<EventLog>,
    /// The node's clock.
    pub clock: Clock,
    /// Wakes the control thread.
    pub wake: Sender<Wake>,
    /// What sessions of all workers share.
    pub sessions: Arc<session::Shared>,
    /// What the node shares with its agent; `None`: it is in no fleet.
    pub link: Option<Arc<Link>>,
    /// The orchestrator wants the node started again: it ends with an error, so that every supervisor does.
    pub restart: AtomicBool,
    /// Where events are sent beside the log and the orchestrator.
    pub exports: Arc<Exports>,
    /// Held while rules of the WAF are compiled, so that changes come one after the other.
    pub(super) rules_turn: Mutex<()>,
    state: Mutex<State>,
}

/// What changes, under the lock.
#[derive(Debug)]
pub struct State {
    /// The configuration in force.
    pub config: NodeConfig,
    /// Allowlist, blocklist, bans.
    pub lists: Lists,
    /// The XDP program; `None` with socket I/O.
    pub xdp: Option<Xdp>,
    /// The kernel's tables.
    pub neighbors: Arc<neighbor::Snapshot>,
    /// Numbers of backends.
    pub ids: TargetIds,
    /// The node's secret.
    pub master: Master,
    /// Certificates and pages, as last read.
    pub resources: Resources,
    /// The filter as last compiled, with the lists' generation it was made of; `u64::MAX` when its rules may be those
    /// of another configuration.
    pub filter: (u64, Arc<Filter>),
    /// Epoch of the cookie keys in force.
    pub epoch: u32,
    /// Number of the policy in force.
    pub generation: u64,
    /// Attacks going on: kind, listener, worker.
    pub attacks: Vec<(AttackKind, Option<u16>, u16)>,
    /// Listeners that answer with cookies, per worker.
    pub cookies: Vec<(u16, u16)>,
    /// Where the node is in its life.
    pub phase: Phase,
    /// Workers whose thread ended.
    pub ended: Vec<u16>,
    /// Who still turns.
    pub pulse: Pulse,
    /// Whether the last attempt to save bans failed: said once, not at every tick.
    pub is_save_failing: bool,
    /// Policy and bans of the fleet; `None`: the node is in none.
    pub fleet: Option<Fleet>,
}

impl Node {
    /// A node around its state.
    #[expect(clippy::too_many_arguments, reason = "made once, from everything that was set up")]
    pub fn new(
        facts: Facts,
        source: ConfigSource,
        traffic: Traffic,
        upstream: Arc<Upstream>,
        telemetry: Arc<Telemetry>,
        clock: Clock,
        wake: Sender<Wake>,
        sessions: Arc<session::Shared>,
        link: Option<Arc<Link>>,
        mut state: State,
    ) -> Self {
        state.lists.set_hits(match &traffic {
            Traffic::Packets(shared) => Arc::clone(&shared.blocked),
            Traffic::Sockets { handle, .. } => handle.blocked(),
        });
        telemetry.set_waf(Arc::clone(&state.resources.lasting.hits));
        if let Some(link) = &link {
            telemetry.set_link(Arc::clone(link));
        }
        let exports = Arc::new(export::exports());
        telemetry.set_exports(Arc::clone(&exports));
        let events = Arc::new(EventLog::new(state.config.api.events_max as usize));
        Self {
            facts,
            source,
            traffic,
            upstream,
            telemetry,
            events,
            clock,
            wake,
            sessions,
            link,
            restart: AtomicBool::new(false),
            exports,
            rules_turn: Mutex::new(()),
            state: Mutex::new(state),
        }
    }

    /// The state. Held for milliseconds at most.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the control thread. A full channel means that it is about to look anyway.
    pub fn wake(&self, wake: Wake) {
        let _ = self.wake.try_send(wake);
    }

    /// Keeps an event for the API and writes it to the log.
    pub fn record(&self, mut event: SecurityEvent) {
        self.keep(&mut event);
        if let Some(link) = &self.link {
            link.push_event(event);
        }
    }

    /// The same for what the fleet told us: it need not hear it again.
    pub(super) fn record_here(&self, mut event: SecurityEvent) {
        self.keep(&mut event);
    }

    fn keep(&self, event: &mut SecurityEvent) {
        event.id = self.events.push(event.clone());
        logging::security(event);
        if !self.exports.is_empty() {
            self.exports.submit(export::record(event));
        }
    }

    /// Tells the fleet what was decided here about a ban.
    pub(super) fn tell_fleet(&self, entry: Option<Entry>) {
        if let (Some(link), Some(entry)) = (&self.link, entry) {
            link.push_ban(entry);
        }
    }

    /// Compiles a policy of what is known now and puts it in force.
    ///
    /// # Errors
    /// Why it cannot be; the earlier one stays.
    pub fn adopt_policy(&self, state: &mut State) -> Result<(), policy::Error> {
        let shared = match &self.traffic {
            Traffic::Packets(shared) => shared,
            Traffic::Sockets { handle, .. } => {
                handle.set_policy(socket_policy(state, self.clock.now())?);
                // No cookies here; without this the control thread would call again every tick.
                state.epoch = epoch_at(self.clock.now().as_secs());
                self.telemetry.node.set(NodeGauge::PolicyGeneration, state.generation);
                return Ok(());
            }
        };
        let mut policy = compile(state, &self.clock, self.upstream.snapshot(), shared.workers() as u16)?;
        if let Some(xdp) = &mut state.xdp {
            match xdp.follow_policy(&policy, state.config.syn_proxy.syn_cookies_at) {
                Ok(slots) => policy.front_slots = slots,
                Err(error) => tracing::error!(%error, "the XDP program does not follow the policy"),
            }
        }
        shared.set_policy(policy);
        self.telemetry.node.set(NodeGauge::PolicyGeneration, state.generation);
        Ok(())
    }

    /// Brings XDP program, filter and file up to date with the lists, as far as they changed.
    pub fn follow_lists(&self, state: &mut State) {
        let now = SystemTime::now();
        let changes = state.lists.take_changes(now);
        let nothing = matches!(&changes, Changes::Steps(steps) if steps.is_empty());
        if !nothing && let Some(xdp) = &mut state.xdp {
            match xdp.follow_lists(changes, &state.lists, now) {
                Ok(0) => {}
                Ok(full) => {
                    tracing::warn!(full, "prefixes beyond the XDP list's size are dropped by workers only");
                }
                Err(error) => tracing::error!(%error, "the XDP program does not follow the lists"),
            }
        }
        if state.filter.0 != state.lists.generation()
            && let Err(error) = self.adopt_policy(state)
        {
            tracing::error!(%error, "policy not adopted");
        }
        if state.lists.is_unsaved() {
            let saved = state.lists.save();
            let was_failing = core::mem::replace(&mut state.is_save_failing, saved.is_err());
            if let Err(error) = saved {
                self.telemetry.node.count(NodeCounter::SavesFailed);
                if !was_failing {
                    tracing::error!(%error, "bans cannot be saved; trying again until they can");
                }
            }
        }
        if !nothing {
            let numbers = &self.telemetry.node;
            numbers.set(NodeGauge::Bans, state.lists.bans().count() as u64);
            numbers.set(NodeGauge::BlockedByConfiguration, state.lists.configured().count() as u64);
            numbers.set_total(NodeCounter::BansDisplaced, state.lists.displaced());
        }
    }

    /// Bans a prefix. Saved when this returns; workers and the XDP program follow at once.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn ban(&self, request: BanRequest) -> Result<Banned, Refusal> {
        let mut state = self.state();
        let origin = request.origin;
        let now = SystemTime::now();
        let banned = state.lists.ban(request, now);
        match &banned {
            Ok(banned) => {
                self.telemetry.node.count(NodeCounter::BansSet);
                self.follow_lists(&mut state);
                let entry = state.fleet.as_mut().and_then(|fleet| fleet.bans.note_ban(&banned.ban, now));
                self.tell_fleet(entry);
                drop(state);
                self.record(ban_event("ip_banned", &banned.ban, origin));
            }
            Err(_) => self.telemetry.node.count(NodeCounter::BansRefused),
        }
        banned
    }

    /// Takes note that a worker ended.
    pub fn note_ended(&self, worker: u16) {
        let mut state = self.state();
        if !state.ended.contains(&worker) {
            state.ended.push(worker);
        }
    }

    /// Workers that should turn and do not. While the node drains, one that has ended is none of them.
    pub fn stalled_workers(&self, state: &State) -> Vec<u16> {
        let is_stalled = |worker: &u16| match state.ended.contains(worker) {
            true => state.phase != Phase::Draining,
            false => !state.pulse.is_beating(usize::from(*worker)),
        };
        (0..self.traffic.workers() as u16).filter(is_stalled).collect()
    }

    /// Copies numbers that are kept elsewhere to where they are read. About once a second.
    pub fn copy_numbers(&self) {
        let status = self.upstream.status();
        let backends = status.backends.iter().map(|backend| BackendNumbers {
            name: backend.name.clone(),
            up: backend.usable,
            active: u64::from(backend.connections_active),
            connections: backend.connections_total,
            failures: backend.failures_total,
        });
        self.telemetry.set_backends(backends.collect());
        if let Some(xdp) = &self.state().xdp {
            self.telemetry.set_xdp(xdp.counts());
        }
        self.telemetry.node.set_total(NodeCounter::EventsLost, self.traffic.events().lost());
        self.telemetry.node.set_total(NodeCounter::LogLinesDropped, logging::lines_dropped());
        self.telemetry.node.set_total(NodeCounter::AuditLinesLost, self.sessions.audit_log.lines_lost());
        if let Traffic::Sockets { handle, .. } = &self.traffic {
            self.telemetry.node.set(NodeGauge::SocketConnections, u64::from(handle.connections()));
        }
        self.telemetry.sample();
    }
}

/// Compiles a policy of what is known now.
///
/// # Errors
/// Why it cannot be.
pub fn compile(
    state: &mut State,
    clock: &Clock,
    backends: Arc<upstream::BackendsSnapshot>,
    workers: u16,
) -> Result<Policy, policy::Error> {
    let now = clock.now();
    refresh_filter(state, now)?;
    let epoch = epoch_at(now.as_secs());
    let view = view(&state.neighbors);
    let sources = Sources {
        config: &state.config,
        view: &view,
        backends,
        filter: Arc::clone(&state.filter.1),
        keys: state.master.cookies().keys(epoch),
        resources: &state.resources,
        workers,
        draining: state.phase == Phase::Draining,
    };
    let generation = state.generation + 1;
    let policy = Policy::compile(sources, &mut state.ids, generation)?;
    state.generation = generation;
    state.epoch = epoch;
    Ok(policy)
}

/// A policy of what is known now for the socket front.
///
/// # Errors
/// Why it cannot be.
pub fn socket_policy(
    state: &mut State,
    now: secbeat_net::time::Instant,
) -> Result<front::Policy, policy::Error> {
    let filter = Filter::clone(refresh_filter(state, now)?);
    let generation = state.generation + 1;
    let place = |index, _: &str| Some(index as crate::event::ListenerId);
    let l7 = Arc::new(policy::l7::compile(&state.config, &state.resources, generation, place));
    state.generation = generation;
    Ok(front::Policy::from_config(&state.config, filter, l7))
}

/// The filter of the lists as they are, compiled anew if they changed; its rules only if the configuration changed.
///
/// # Errors
/// When there are more entries than a filter holds; the earlier one stays.
pub fn refresh_filter(state: &mut State, now: secbeat_net::time::Instant) -> Result<&Filter, policy::Error> {
    if state.filter.0 != state.lists.generation() {
        let view = state.lists.view(SystemTime::now());
        // Rules take long to compile and change with the configuration only, which `u64::MAX` stands for.
        let filter = if state.filter.0 == u64::MAX {
            policy::filter::compile(&state.config, &view, now)?
        } else {
            policy::filter::with_lists(Arc::clone(state.filter.1.rules()), &view, now)?
        };
        state.filter = (view.generation, Arc::new(filter));
    }
    Ok(&state.filter.1)
}

/// The surroundings as the kernel's tables show them.
pub fn view(neighbors: &neighbor::Snapshot) -> View {
    let ports = neighbors.ports.iter().map(|port| PortView {
        port: port.port,
        mtu: port.mtu,
        addresses: port.addresses.clone(),
    });
    let own = super::ports::addresses().unwrap_or_default();
    let on_ports: Vec<IpAddr> =
        neighbors.ports.iter().flat_map(|p| p.addresses.iter().map(IpNet::addr)).collect();
    let other_addresses =
        own.into_values().flatten().filter(|addr| !addr.is_loopback() && !on_ports.contains(addr)).collect();
    View { ports: ports.collect(), other_addresses, neighbors: neighbors.table.clone() }
}

/// Addresses of this host on its interfaces.
pub fn own_addresses(neighbors: &neighbor::Snapshot) -> Vec<IpAddr> {
    neighbors.ports.iter().flat_map(|port| port.addresses.iter().map(IpNet::addr)).collect()
}

/// A ban as an event.
pub fn ban_event(name: &'static str, ban: &Ban, origin: Origin) -> SecurityEvent {
    let mut event = SecurityEvent::new(Class::Ban, Level::Warn, "control", name)
        .with("prefix", ban.prefix.to_string())
        .with("reason", ban.reason.as_str())
        .with("origin", format!("{origin:?}").to_lowercase());
    event.client_ip = (ban.prefix.prefix_len() == ban.prefix.max_prefix_len()).then(|| ban.prefix.addr());
    event.blocked = true;
    event
}

/// Tells the workers to finish (or to stop) and marks the node.
pub fn set_stage(node: &Node, stage: Stage) {
    let mut state = node.state();
    if stage > Stage::Serve {
        state.phase = Phase::Draining;
        node.telemetry.node.set(NodeGauge::Phase, 2);
    }
    match &node.traffic {
        Traffic::Packets(shared) => shared.set_stage(stage),
        Traffic::Sockets { handle, .. } if stage == Stage::Drain => {
            handle.drain(state.config.server.drain_timeout);
        }
        Traffic::Sockets { handle, .. } => handle.stop(),
    }
}
