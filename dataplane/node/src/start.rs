//! From a configuration to a running node, and from a signal to its end.
//!
//! ```text
//!  privileged    interfaces -> XDP program (taken over if pinned) -> AF_XDP sockets -> listeners, bans into its maps
//!  give up       capabilities, user
//!  unprivileged  workers (one per core) | control | neighbor | upstream | signals | API
//! ```
//!
//! Owns: the order of these steps, which packet engine is used and the one line that says why. Does not own: any of
//! the steps. A node needs nobody else to run: no orchestrator, no other node.

pub mod control;
mod export;
pub mod fleet;
pub mod l7;
pub mod last_good;
pub mod lists;
pub mod node;
pub mod packet;
pub mod ports;
mod pulse;
mod reload;
mod rules;
pub mod secret;
pub mod signal;
mod sizes;
mod status;
mod supervisor;
pub mod workers;
pub mod xdp;

use core::net::IpAddr;
use core::sync::atomic::Ordering;
use core::time::Duration;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::SystemTime;

use anyhow::Context;
use crossbeam::channel::{Receiver, Sender, bounded};
use secbeat_config::NodeConfig;
use secbeat_config::node::{Driver, Mode, SynCookiesAt};
use secbeat_export::Exports;
use secbeat_net::filter::Filter;

use crate::api::{self, InterfaceStatus, Phase};
use crate::cli::{ConfigSource, Exit, ExitError};
use crate::front::socket as front;
use crate::host;
use crate::neighbor::Mirror;
use crate::pipeline::Setup;
use crate::policy::l7::Resources;
use crate::policy::target::TargetIds;
use crate::privilege::{KEPT_FOR_SOCKETS, KEPT_FOR_XDP, Privileges};
use crate::session::access_log::Writer;
use crate::telemetry::Telemetry;
use crate::telemetry::counters::WorkerCounters;
use crate::upstream::{self, Upstream};
use crate::worker::Worker;
use crate::worker::clock::Clock;
use crate::worker::shared::Shared;
use control::Control;
use fleet::{Fleet, Membership};
use node::{Facts, Node, State, Traffic, Wake};
use packet::PacketSide;
use pulse::Pulse;
use secret::{Master, Purpose};
use signal::{Signal, Signals};
use sizes::{setup, shared_sizes, targets_max};
use xdp::Xdp;

/// Wake-ups that may wait. Each kind is idempotent and the control thread looks around every tick anyway.
const WAKES_QUEUED_MAX: usize = 64;

/// How often the neighbour thread looks for new destinations beside listening to the kernel.
const NEIGHBOR_POLL: Duration = Duration::from_millis(250);

/// What both kinds of I/O need.
struct Basis {
    config: NodeConfig,
    source: ConfigSource,
    upstream: Arc<Upstream>,
    master: Master,
    clock: Clock,
    notes: Vec<String>,
    resources: Resources,
    fleet: Option<(Membership, Fleet)>,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// What could not be set up.
pub fn run(mut config: NodeConfig, source: ConfigSource) -> anyhow::Result<()> {
    let signals = Signals::block().context("cannot take over signals")?;
    let clock = Clock::start();
    let own = config.clone();
    let mut fleet = fleet::begin(&mut config, &source)?;
    let secret = config.syn_proxy.syn_cookie_secret.as_ref();
    let master = match Master::load(secret, &config.server.state_dir) {
        Ok(master) => master,
        Err(error) => {
            let path = config.server.state_dir.display();
            tracing::warn!(%error, %path, "the secret cannot be kept: a restart will lose handshakes in flight");
            Master::draw().context("no random bytes")?
        }
    };
    let resources = match (l7::load(&config, &master), &mut fleet) {
        (Err(error), Some((membership, fleet))) if !fleet.wanted.is_empty() => {
            // A certificate or rule file that the policy names is gone: better the configuration alone than nothing.
            membership.give_policy_up(fleet, &error.to_string());
            config = own;
            l7::load(&config, &master)
        }
        (loaded, _) => loaded,
    };
    let resources = resources.map_err(|error| ExitError::config(error.to_string()))?;
    let upstream = Upstream::new(upstream::Settings::from_config(&config)).context("backends")?;
    let mut basis = Basis { config, source, upstream, master, clock, notes: Vec::new(), resources, fleet };
    match choose(&mut basis)? {
        Some((interfaces, packets)) => run_packets(basis, signals, interfaces, packets),
        None => run_sockets(basis, signals),
    }
}

/// Which packet engine is used; `None` = kernel sockets. One log line says which and why.
fn choose(basis: &mut Basis) -> anyhow::Result<Option<(Vec<String>, PacketSide)>> {
    let config = &basis.config;
    let refused = match config.io.driver {
        Driver::Socket => "[io] driver says so".to_owned(),
        Driver::Auto | Driver::Xdp => match open_packets(config, &basis.clock) {
            Ok(opened) => {
                basis.notes = opened.1.notes();
                tracing::info!(driver = "xdp", details = basis.notes.join("; "), "packet I/O");
                for unserved in ports::unserved(&opened.0, opened.1.engines.len() as u16) {
                    tracing::warn!(unserved, "packets of some queues take the kernel's way");
                    basis.notes.push(unserved);
                }
                for clash in host::clashes(&host::Machine::this(), config) {
                    tracing::warn!(clash, "local ports");
                    basis.notes.push(clash);
                }
                return Ok(Some(opened));
            }
            Err(why) if config.io.driver == Driver::Xdp => return Err(ExitError::host(why).into()),
            Err(why) => why,
        },
    };
    if config.syn_proxy.syn_cookies_at == SynCookiesAt::Xdp {
        return Err(ExitError::host(format!("[syn_proxy] syn_cookies_at = \"xdp\": {refused}")).into());
    }
    tracing::info!(driver = "socket", why = refused, "packet I/O");
    if config.listeners.iter().any(|listener| listener.mode == Mode::Syn) {
        tracing::warn!("syn mode on kernel sockets: SYN floods are left to the kernel's own defences");
    }
    basis.notes.push(refused);
    Ok(None)
}

fn open_packets(config: &NodeConfig, clock: &Clock) -> Result<(Vec<String>, PacketSide), String> {
    if let Some(backend) = ports::local_backend(config) {
        return Err(format!("backend {backend} is on this host, where packets cannot be sent to"));
    }
    let interfaces = ports::interfaces(config).map_err(|error| format!("interfaces: {error}"))?;
    if interfaces.is_empty() {
        return Err("no interface has a listener's address or a route to a backend".to_owned());
    }
    let workers = ports::workers(config, &interfaces);
    let packets = PacketSide::open(config, &interfaces, workers, clock).map_err(|error| error.to_string())?;
    Ok((interfaces, packets))
}

fn run_packets(
    basis: Basis,
    signals: Signals,
    interfaces: Vec<String>,
    mut packets: PacketSide,
) -> anyhow::Result<()> {
    let Basis { config, source, upstream, master, clock, mut notes, resources, fleet } = basis;
    let (membership, fleet) = fleet.unzip();
    let workers = packets.engines.len() as u16;
    let mut mirror = Mirror::open(&interfaces).context("the kernel's tables")?;
    mirror.set_wanted(&destinations(&upstream));
    let why_workers = packets.why_workers_answer(&mirror.snapshot().ports);
    notes.push(note_cookies(&config, why_workers.as_deref()));
    let facts = Facts {
        driver: "xdp",
        notes,
        cores: ports::cores(&config, workers),
        interfaces: interface_status(&packets, &interfaces, workers),
        started: SystemTime::now(),
    };
    packets.program.set_management_ports(&config.io.management_ports).context("management ports")?;
    let engines = core::mem::take(&mut packets.engines);
    let ids = TargetIds::new(targets_max(&config));
    let xdp = Xdp::new(packets.program, why_workers.is_none(), config.has_l7());
    let forefront = Arc::new(xdp.forefront());
    let mut state = new_state(config, mirror.snapshot(), master, resources, ids, Some(xdp));
    state.fleet = fleet;
    let policy = node::compile(&mut state, &clock, upstream.snapshot(), workers).context("policy")?;
    let sizes = shared_sizes(&state.config, workers);
    let table_key = master.derive(Purpose::Table, u64::from(u16::MAX));
    let shared = Shared::behind(forefront, sizes, policy, Arc::clone(&upstream), table_key);
    let telemetry = Arc::new(Telemetry::new(shared.pages.to_vec()));
    let (wake, wakes) = bounded(WAKES_QUEUED_MAX);
    let setups: Vec<Setup> =
        (0..workers).map(|worker| setup(&state.config, &master, worker, workers)).collect();
    let sessions = l7::shared(&state.config, &master, &upstream, &shared.events);
    let mut terminators = Vec::new();
    for worker in (0..workers).filter(|_| state.config.has_l7()) {
        let made = l7::terminator(&state.config, &master, &shared, &sessions, worker, clock.now());
        terminators.push(made.context("sockets towards backends")?);
    }
    let mut terminators = terminators.into_iter();
    let spin = state.config.io.idle_spin;
    let user = state.config.server.user.clone();
    let state_dir = state.config.server.state_dir.clone();
    let traffic = Traffic::Packets(Arc::clone(&shared));
    let node = Arc::new(Node::new(
        facts,
        source,
        traffic,
        Arc::clone(&upstream),
        telemetry,
        clock,
        wake.clone(),
        sessions,
        membership.as_ref().map(|membership| Arc::clone(&membership.link)),
        state,
    ));
    prepare(&node)?;
    // The queues are directed to the sockets last: until here the kernel, or the program taken over, had the traffic.
    bind_queues(&node, &engines)?;
    give_up(Privileges { keep: KEPT_FOR_XDP, user, state_dir })?;
    let writers = write_logs(&node)?;
    let mut threads = Vec::new();
    for (setup, (engine, _)) in setups.into_iter().zip(engines) {
        let core = node.facts.cores.get(usize::from(setup.id)).copied().flatten();
        let mut worker = Worker::new(engine, Arc::clone(&shared), setup, clock.now());
        if let Some(terminator) = terminators.next() {
            worker = worker.with_terminator(terminator);
        }
        let settings = workers::ThreadSettings { core, spin };
        threads.push(workers::spawn(worker, Arc::clone(&shared), clock, settings).context("worker thread")?);
    }
    spawn_neighbor(mirror, Arc::clone(&upstream), wake.clone())?;
    serve(node, membership, signals, wake, wakes, threads)?;
    // What waits is written.
    drop(writers);
    Ok(())
}

/// Directs every queue of every port to its worker's socket.
fn bind_queues(
    node: &Node,
    engines: &[(secbeat_pktio::xsk::XskIo, secbeat_pktio::xsk::XskReport)],
) -> anyhow::Result<()> {
    let mut state = node.state();
    let xdp = state.xdp.as_mut().context("no XDP program")?;
    for (engine, _) in engines {
        for (port, queue, socket) in engine.sockets() {
            let what = || format!("queue {queue} of port {port}");
            xdp.program_mut().bind_queue(port, queue, socket).with_context(what)?;
        }
    }
    Ok(())
}

fn run_sockets(basis: Basis, signals: Signals) -> anyhow::Result<()> {
    let Basis { config, source, upstream, master, clock, notes, resources, fleet } = basis;
    let (membership, fleet) = fleet.unzip();
    let workers = match config.server.worker_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => usize::from(threads),
    };
    let pages: Vec<Arc<WorkerCounters>> = (0..workers).map(|_| Arc::default()).collect();
    let telemetry = Arc::new(Telemetry::new(pages.clone()));
    let events = Arc::default();
    let user = config.server.user.clone();
    let state_dir = config.server.state_dir.clone();
    let settings = front::Settings::from_config(&config);
    let mut state = new_state(config, Arc::default(), master, resources, TargetIds::new(1), None);
    state.fleet = fleet;
    let policy = node::socket_policy(&mut state, clock.now()).context("policy")?;
    let sessions = l7::shared(&state.config, &master, &upstream, &events);
    let environment = front::Environment {
        upstream: Arc::clone(&upstream),
        events: Arc::clone(&events),
        clock,
        counters: pages,
        key: master.derive(Purpose::Table, 0),
        sessions: Arc::clone(&sessions),
    };
    let front = front::SocketFront::new(settings, policy, environment)
        .map_err(|error| ExitError::host(error.to_string()))?;
    give_up(Privileges { keep: KEPT_FOR_SOCKETS, user, state_dir })?;
    let running = front.run().context("socket front")?;
    let facts = Facts {
        driver: "socket",
        notes,
        cores: vec![None; workers],
        interfaces: Vec::new(),
        started: SystemTime::now(),
    };
    let (wake, wakes) = bounded(WAKES_QUEUED_MAX);
    let traffic = Traffic::Sockets { handle: running.handle().clone(), events, workers };
    let node = Arc::new(Node::new(
        facts,
        source,
        traffic,
        upstream,
        telemetry,
        clock,
        wake.clone(),
        sessions,
        membership.as_ref().map(|membership| Arc::clone(&membership.link)),
        state,
    ));
    prepare(&node)?;
    let writers = write_logs(&node)?;
    let threads = vec![Builder::new().name("sockets".into()).spawn(move || running.join())?];
    serve(node, membership, signals, wake, wakes, threads)?;
    drop(writers);
    Ok(())
}

/// Puts lists and policy where they are needed, for the first time.
fn prepare(node: &Arc<Node>) -> anyhow::Result<()> {
    let mut state = node.state();
    let node::State { lists, fleet, .. } = &mut *state;
    let own = fleet.as_mut().map(|fleet| fleet.bans.reconcile(lists, SystemTime::now()));
    own.into_iter().flatten().for_each(|entry| node.tell_fleet(Some(entry)));
    node.follow_lists(&mut state);
    node.adopt_policy(&mut state).context("policy")?;
    last_good::keep(&node.source, &state.config);
    Ok(())
}

/// Starts the writers of the access log and the audit log.
fn write_logs(node: &Node) -> anyhow::Result<[Option<Writer>; 2]> {
    let state = node.state();
    let access = l7::write_access_log(&state.config, &node.sessions.access_log)?;
    Ok([access, l7::write_audit_log(&state.config, &node.sessions.audit_log)?])
}

fn give_up(privileges: Privileges) -> anyhow::Result<()> {
    let report = privileges.give_up().context("privileges")?;
    tracing::info!(%report, "privileges");
    Ok(())
}

/// Runs everything that is not a worker, until the workers have ended.
fn serve(
    node: Arc<Node>,
    membership: Option<Membership>,
    signals: Signals,
    wake: Sender<Wake>,
    wakes: Receiver<Wake>,
    threads: Vec<JoinHandle<()>>,
) -> anyhow::Result<()> {
    node.upstream.on_change({
        let wake = wake.clone();
        move || {
            let _ = wake.try_send(Wake::Backends);
        }
    });
    node.upstream.start().context("health checks")?;
    let wanted = node.state().config.exports.clone();
    node.exports.apply(&wanted).map_err(|error| ExitError::config(error.to_string()))?;
    spawn_signals(signals, wake)?;
    let settings = api::ApiSettings::from_config(&node.state().config);
    let server = match settings {
        Some(settings) => {
            let control: Arc<dyn api::Control> = Arc::<Node>::clone(&node);
            let started =
                api::Server::start(settings, control, Arc::clone(&node.telemetry), Arc::clone(&node.events));
            Some(started.context("management API")?)
        }
        None => None,
    };
    control::set_active(&node);
    let started = api::SecurityEvent::new(api::Class::Node, api::Level::Info, "control", "started");
    node.record(started.with("driver", node.facts.driver).with("workers", node.traffic.workers()));
    let agent = membership.map(|membership| fleet::join(&node, membership)).transpose()?;
    Control::new(Arc::clone(&node), wakes).run();
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a worker panicked");
        }
    }
    drop(server);
    if let Some(agent) = agent {
        agent.stop();
    }
    node.upstream.stop();
    node.save_fleet_bans(true);
    let mut state = node.state();
    if let Err(error) = state.lists.save() {
        tracing::error!(%error, "bans cannot be saved");
    }
    drop(state);
    node.exports.stop(Exports::STOP_TIME);
    if node.restart.load(Ordering::Acquire) {
        // A supervisor that restarts only what failed must do so, too.
        return Err(ExitError { exit: Exit::Restart, message: "ended to be started again".into() }.into());
    }
    tracing::info!("stopped");
    Ok(())
}

fn spawn_signals(mut signals: Signals, wake: Sender<Wake>) -> anyhow::Result<()> {
    let run = move || {
        loop {
            let sent = match signals.wait() {
                Ok(Signal::Reload) => wake.send(Wake::Reload),
                Ok(Signal::Reopen) => wake.send(Wake::Reopen),
                Ok(Signal::Drain) => wake.send(Wake::Drain),
                Ok(Signal::Stop) => wake.send(Wake::Stop),
                Err(error) => {
                    tracing::error!(%error, "signals cannot be read");
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    };
    Builder::new().name("signals".into()).spawn(run).context("signal thread")?;
    Ok(())
}

/// Follows the kernel's tables, and tells it which next hops must stay resolved.
fn spawn_neighbor(mut mirror: Mirror, upstream: Arc<Upstream>, wake: Sender<Wake>) -> anyhow::Result<()> {
    let run = move || {
        let mut wanted = destinations(&upstream);
        let mut generation = 0;
        loop {
            let backends = upstream.snapshot();
            if backends.generation != generation {
                generation = backends.generation;
                let now_wanted = destinations(&upstream);
                if now_wanted != wanted {
                    mirror.set_wanted(&now_wanted);
                    wanted = now_wanted;
                }
            }
            match mirror.poll(NEIGHBOR_POLL) {
                Ok(true) => {
                    if wake.send(Wake::Neighbors(mirror.snapshot())).is_err() {
                        return;
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "the kernel's tables cannot be followed");
                    std::thread::sleep(NEIGHBOR_POLL);
                }
            }
        }
    };
    Builder::new().name("neighbor".into()).spawn(run).context("neighbour thread")?;
    Ok(())
}

fn destinations(upstream: &Upstream) -> Vec<IpAddr> {
    let snapshot = upstream.snapshot();
    snapshot.backends.iter().filter_map(|backend| Some(backend.address?.ip())).collect()
}

fn new_state(
    config: NodeConfig,
    neighbors: Arc<crate::neighbor::Snapshot>,
    master: Master,
    resources: Resources,
    ids: TargetIds,
    xdp: Option<Xdp>,
) -> State {
    let (settings, mut warnings) = lists::settings(&config, &node::own_addresses(&neighbors));
    let (lists, more) = crate::lists::Lists::open(settings, SystemTime::now());
    warnings.extend(more);
    for warning in warnings {
        tracing::warn!(warning, "lists");
    }
    State {
        config,
        lists,
        xdp,
        neighbors,
        ids,
        master,
        resources,
        filter: (u64::MAX, Arc::new(Filter::open())),
        epoch: 0,
        generation: 0,
        attacks: Vec::new(),
        cookies: Vec::new(),
        phase: Phase::Starting,
        is_save_failing: false,
        ended: Vec::new(),
        pulse: Pulse::default(),
        fleet: None,
    }
}

/// Who answers with SYN cookies, for the log and the API.
fn note_cookies(config: &NodeConfig, why_workers: Option<&str>) -> String {
    let rate = config.limits.syn_rate.is_some().then_some("[limits] syn_rate is theirs to keep");
    let (place, why) = match config.syn_proxy.syn_cookies_at {
        SynCookiesAt::Worker => ("workers", Some("configured")),
        SynCookiesAt::Xdp => ("the XDP program", Some("configured")),
        SynCookiesAt::Auto => match rate.or(why_workers) {
            Some(why) => ("workers", Some(why)),
            None => ("the XDP program", None),
        },
    };
    let note = why.map_or_else(|| place.to_owned(), |why| format!("{place} ({why})"));
    tracing::info!(place = note, "SYN cookies");
    format!("SYN cookies: {note}")
}

fn interface_status(packets: &PacketSide, interfaces: &[String], workers: u16) -> Vec<InterfaceStatus> {
    let zero_copy = packets.engines.first().is_some_and(|(_, report)| report.zero_copy);
    let attached = packets.program.attached();
    let status = interfaces.iter().enumerate().map(|(index, name)| InterfaceStatus {
        name: name.clone(),
        attach: attached.get(index).map_or("", |attached| packet::mode_name(attached.mode)).to_owned(),
        zero_copy,
        queues: workers,
    });
    status.collect()
}
