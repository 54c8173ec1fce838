//! The control thread: everything that is neither a packet nor a request.
//!
//! Owns: the rhythm in which events become logs and bans, copies follow the lists, keys rotate, a policy follows the
//! kernel's tables and the backends' health, and a node drains. Does not own: what is decided (`node`), the
//! threads it hears from.
//!
//! Every step brings a copy up to date with its source and can be done again at any time; a lost wake-up costs a
//! tick, never correctness.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use ipnet::IpNet;
use secbeat_net::syncookie::epoch_at;

use super::node::{Node, State, Wake, ban_event, set_stage};
use super::supervisor::Supervisor;
use crate::api::Phase;
use crate::api::events::{Class, Level, SecurityEvent};
use crate::command::mode_name;
use crate::event::{Event, What};
use crate::lists::{BanRequest, Origin};
use crate::session::report::Report;
use crate::telemetry::counters::Counter;
use crate::telemetry::node::{NodeCounter, NodeGauge};
use crate::worker::shared::Stage;

/// Longest time between two looks at the workers' events and at the clock. Bans must hold within a second; a
/// twentieth of that leaves room for the rest of their way.
const TICK: Duration = Duration::from_millis(50);

/// How often numbers are copied and expired bans are taken out.
const SECOND: Duration = Duration::from_secs(1);

/// Events handled per tick, so that a flood of them cannot keep the thread from its other work.
const EVENTS_PER_TICK_MAX: usize = 4_096;

/// Reports of sessions handled per tick: each is a line of the log.
const REPORTS_PER_TICK_MAX: usize = 256;

/// The control thread's own state.
#[derive(Debug)]
pub struct Control {
    node: Arc<Node>,
    wakes: Receiver<Wake>,
    second_at: Instant,
    drain_until: Option<Instant>,
    /// Something a policy is made of changed.
    is_stale: bool,
    /// Which backends took connections when last looked at.
    usable: BTreeMap<Arc<str>, bool>,
    supervisor: Supervisor,
}

impl Control {
    /// A control thread for `node` that hears `wakes`.
    pub fn new(node: Arc<Node>, wakes: Receiver<Wake>) -> Self {
        let usable = usable_backends(&node);
        let supervisor = Supervisor::from_environment();
        Self {
            node,
            wakes,
            second_at: Instant::now(),
            drain_until: None,
            is_stale: false,
            usable,
            supervisor,
        }
    }

    /// Runs until the node has stopped: until every worker ended, or (socket I/O) until told to.
    pub fn run(mut self) {
        while !self.is_over() {
            match self.wakes.recv_timeout(TICK) {
                Ok(wake) => {
                    self.handle_wake(wake);
                    while let Ok(wake) = self.wakes.try_recv() {
                        self.handle_wake(wake);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
            }
            self.handle_events();
            self.handle_reports();
            self.handle_tick();
        }
        self.handle_events();
    }

    fn is_over(&self) -> bool {
        self.node.state().ended.len() >= self.node.traffic.workers()
    }

    fn handle_wake(&mut self, wake: Wake) {
        match wake {
            Wake::Neighbors(neighbors) => {
                self.node.state().neighbors = neighbors;
                self.is_stale = true;
            }
            Wake::Backends => {
                self.record_backends();
                self.is_stale = true;
            }
            Wake::Reload => {
                // Neither before the node is ready nor on its way out: the end of a reload says that it is ready.
                let is_told = self.supervisor.is_ready() && self.drain_until.is_none();
                if is_told {
                    self.supervisor.tell_reloading();
                }
                // The outcome is recorded there.
                let _ = self.node.reload_config();
                if is_told {
                    self.supervisor.tell_ready();
                }
            }
            Wake::Reopen => self.node.reopen_logs(),
            Wake::Drain if self.drain_until.is_none() => self.drain(),
            Wake::Drain | Wake::Stop => self.stop(),
        }
    }

    fn adopt(&self, state: &mut State) {
        if let Err(error) = self.node.adopt_policy(state) {
            tracing::error!(%error, "policy not adopted; the earlier one stays");
        }
    }

    /// Says which backends went down or came back.
    fn record_backends(&mut self) {
        let now = usable_backends(&self.node);
        for (name, &up) in &now {
            if self.usable.get(name) == Some(&up) {
                continue;
            }
            let (level, event) = if up { (Level::Info, "backend_up") } else { (Level::Warn, "backend_down") };
            let event = SecurityEvent::new(Class::Backend, level, "control", event);
            self.node.record(event.with("backend", name.as_ref()));
        }
        self.usable = now;
    }

    fn drain(&mut self) {
        let timeout = self.node.state().config.server.drain_timeout;
        self.drain_until = Some(Instant::now() + timeout);
        self.supervisor.tell_stopping(timeout);
        set_stage(&self.node, Stage::Drain);
        let event = SecurityEvent::new(Class::Node, Level::Info, "control", "draining");
        self.node.record(event.with("timeout_seconds", timeout.as_secs()));
        let mut state = self.node.state();
        self.adopt(&mut state);
    }

    fn stop(&mut self) {
        self.drain_until = Some(Instant::now());
        self.supervisor.tell_stopping(Duration::ZERO);
        set_stage(&self.node, Stage::Stop);
    }

    fn handle_tick(&mut self) {
        if self.drain_until.is_some_and(|until| Instant::now() >= until) {
            set_stage(&self.node, Stage::Stop);
        }
        let every_second = self.second_at.elapsed() >= SECOND;
        let mut state = self.node.state();
        let turns = self.node.telemetry.workers().iter().map(|page| page.get(Counter::Turns));
        state.pulse.handle_turns(turns, self.node.clock.now());
        if every_second {
            self.second_at = Instant::now();
            for ban in state.lists.expire(SystemTime::now()) {
                self.node.telemetry.node.count(NodeCounter::BansEnded);
                self.node.record(ban_event("ban_ended", &ban, ban.origin));
            }
            if let Some(xdp) = &mut state.xdp
                && let Err(error) = xdp.expire()
            {
                tracing::warn!(%error, "expired bans stay in the XDP list for now");
            }
            if let Some(fleet) = &mut state.fleet {
                fleet.bans.expire(SystemTime::now());
            }
        }
        self.node.follow_lists(&mut state);
        // Many changes in one tick make one policy.
        if core::mem::take(&mut self.is_stale) || epoch_at(self.node.clock.now().as_secs()) != state.epoch {
            self.adopt(&mut state);
        }
        let stalled = self.node.stalled_workers(&state);
        let status = every_second.then(|| status_line(&self.node, &state, &stalled));
        drop(state);
        self.tell_supervisor(&stalled, status);
        if every_second {
            self.node.copy_numbers();
            self.node.save_fleet_bans(false);
        }
    }

    /// The service manager hears that the node is ready once, and that it lives while every worker turns.
    fn tell_supervisor(&mut self, stalled: &[u16], status: Option<String>) {
        if stalled.is_empty() {
            if !self.supervisor.is_ready() && self.drain_until.is_none() {
                self.supervisor.tell_ready();
            }
            self.supervisor.feed(Instant::now());
        }
        if let Some(status) = status {
            self.supervisor.tell_status(status);
        }
    }

    fn handle_events(&self) {
        for _ in 0..EVENTS_PER_TICK_MAX {
            let Some(event) = self.node.traffic.events().pop() else {
                return;
            };
            self.handle_event(event);
        }
    }

    /// Refused requests and slow clients become events.
    fn handle_reports(&self) {
        for _ in 0..REPORTS_PER_TICK_MAX {
            let Some(report) = self.node.sessions.reports.pop() else {
                return;
            };
            let name = listener_name(&self.node.state(), Some(report.listener));
            self.node.record(report_event(*report, name));
        }
    }

    fn handle_event(&self, event: Event) {
        let component = format!("worker-{}", event.worker);
        match event.what {
            What::AttackStarted { listener, kind, rate_pps } => {
                let mut state = self.node.state();
                state.attacks.push((kind, listener, event.worker));
                self.count_attacks(&state, true);
                let name = listener_name(&state, listener);
                drop(state);
                let mut record = SecurityEvent::new(Class::Attack, Level::Warn, component, "attack_started")
                    .with("listener", name)
                    .with("rate_pps", rate_pps);
                record.attack_type = Some(kind.name());
                record.blocked = true;
                self.node.record(record);
            }
            What::AttackEnded { listener, kind, duration_ms, packets, rate_pps_max } => {
                let mut state = self.node.state();
                state.attacks.retain(|attack| *attack != (kind, listener, event.worker));
                self.count_attacks(&state, false);
                let name = listener_name(&state, listener);
                drop(state);
                let mut record = SecurityEvent::new(Class::Attack, Level::Info, component, "attack_ended")
                    .with("listener", name)
                    .with("duration_ms", duration_ms)
                    .with("packets", packets)
                    .with("rate_pps_max", rate_pps_max);
                record.attack_type = Some(kind.name());
                record.blocked = true;
                self.node.record(record);
            }
            What::Cookies { listener, active } => {
                let mut state = self.node.state();
                state.cookies.retain(|entry| *entry != (listener, event.worker));
                if active {
                    state.cookies.push((listener, event.worker));
                }
                let name = listener_name(&state, Some(listener));
                drop(state);
                let event = if active { "cookies_on" } else { "cookies_off" };
                self.node.record(
                    SecurityEvent::new(Class::Attack, Level::Info, component, event).with("listener", name),
                );
            }
            What::Offender { source, offence } => self.ban_offender(source, offence.name()),
            What::PolicyAdopted { generation } => {
                tracing::debug!(worker = event.worker, generation, "policy adopted");
            }
            What::Drained { cut } => {
                tracing::info!(worker = event.worker, cut, "worker ended");
                self.node.note_ended(event.worker);
            }
        }
    }

    /// An offender is banned for as long as the lists say; the allowlist refuses quietly.
    fn ban_offender(&self, source: core::net::IpAddr, reason: &str) {
        let bits = match source {
            core::net::IpAddr::V4(_) => 32,
            core::net::IpAddr::V6(_) => self.node.state().config.limits.source_v6_bits,
        };
        let Ok(prefix) = IpNet::new(source, bits) else {
            return;
        };
        let request = BanRequest { prefix, origin: Origin::Auto, reason: reason.to_owned(), duration: None };
        if let Err(refusal) = self.node.ban(request) {
            tracing::info!(%refusal, "offender not banned");
        }
    }

    fn count_attacks(&self, state: &super::node::State, started: bool) {
        let numbers = &self.node.telemetry.node;
        numbers.set(NodeGauge::AttacksActive, state.attacks.len() as u64);
        if started {
            numbers.count(NodeCounter::AttacksDetected);
        }
    }
}

/// What `systemctl status` shows.
fn status_line(node: &Node, state: &State, stalled: &[u16]) -> String {
    if !stalled.is_empty() {
        return format!("workers {stalled:?} do not turn");
    }
    let phase = match state.phase {
        Phase::Starting => "starting",
        Phase::Active => "serving",
        Phase::Draining => "draining",
    };
    let attacks = match state.attacks.len() {
        0 => String::new(),
        _ => "; under attack".to_owned(),
    };
    let (mode, driver) = (mode_name(state.config.server.mode), node.facts.driver);
    let (workers, generation) = (node.traffic.workers(), state.generation);
    format!("{phase}: mode {mode}, driver {driver}, workers {workers}, policy {generation}{attacks}")
}

fn usable_backends(node: &Node) -> BTreeMap<Arc<str>, bool> {
    let snapshot = node.upstream.snapshot();
    snapshot.backends.iter().map(|backend| (Arc::clone(&backend.name), backend.usable)).collect()
}

/// A refused request, or a client that was too slow, as an event.
fn report_event(report: Report, listener: String) -> SecurityEvent {
    let component = format!("worker-{}", report.worker);
    let mut event = SecurityEvent::new(
        Class::Request,
        Level::Warn,
        component,
        if report.is_blocked { "request_refused" } else { "attack_seen" },
    )
    .with("listener", listener);
    let texts = [
        ("request_id", report.request_id),
        ("method", report.method),
        ("host", report.host),
        ("target", report.target),
    ];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        event = event.with(name, text);
    }
    if report.status > 0 {
        event = event.with("status", report.status);
    }
    event.attack_type = Some(report.attack.name());
    event.client_ip = Some(report.client);
    event.user_agent = (!report.user_agent.is_empty()).then_some(report.user_agent);
    event.rule_id = Some(report.rule.into_owned());
    event.blocked = report.is_blocked;
    event
}

fn listener_name(state: &super::node::State, listener: Option<u16>) -> String {
    let found = listener.and_then(|id| state.config.listeners.get(usize::from(id)));
    found.map_or_else(String::new, |listener| listener.name.clone())
}

/// Marks the node as working.
pub fn set_active(node: &Node) {
    node.state().phase = Phase::Active;
    node.telemetry.node.set(NodeGauge::Phase, 1);
}
