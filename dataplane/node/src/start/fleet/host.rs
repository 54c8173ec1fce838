//! What the agent asks of a node, answered.
//!
//! Owns: the translation of these questions. Does not own: what the node does (`node`, `reload`), bans (`bans`).
//! Runs on the agent's threads and may block there; takes the node's lock for moments.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use secbeat_config::ban::Entry;
use secbeat_config::policy::{Hash, Set};

use super::bans::{millis, save};
use crate::agent::{Applied, Condition, Facts, Host, Link, Order, Snapshot};
use crate::api::events::{Class, Level};
use crate::api::{Phase, SecurityEvent};
use crate::command::mode_name;
use crate::start::node::{Node, State, Traffic, Wake};
use crate::telemetry::counters::Gauge;
use crate::telemetry::node::{NodeCounter, NodeGauge};

/// How long every worker may take to run a new policy until the answer says that some do not. They look every
/// millisecond; a second's stall is a machine in trouble.
const ADOPTION_MAX: Duration = Duration::from_secs(2);

/// Time between two looks at the workers.
const ADOPTION_POLL: Duration = Duration::from_millis(1);

/// Bans of the fleet that become events one by one; more become one event.
const BANS_TOLD_MAX: usize = 16;

/// A node as its agent knows it.
#[derive(Debug)]
pub struct FleetHost {
    node: Arc<Node>,
    link: Arc<Link>,
    /// The node was told to end: told once more, it would cut what it was to finish.
    is_ending: AtomicBool,
}

impl FleetHost {
    /// The node, and what it shares with its agent.
    pub fn new(node: Arc<Node>, link: Arc<Link>) -> Self {
        Self { node, link, is_ending: AtomicBool::new(false) }
    }

    /// Has the node finish its connections and end.
    fn drain(&self, answer: &str) -> String {
        if self.is_ending.swap(true, Ordering::AcqRel) {
            return "the node is ending already".into();
        }
        self.node.wake(Wake::Drain);
        answer.into()
    }

    /// Waits until every worker runs the policy in force; says how many do not.
    fn wait_for_workers(&self) -> Option<String> {
        let until = Instant::now() + ADOPTION_MAX;
        loop {
            let behind = self.node.workers_behind();
            if behind == 0 {
                return None;
            }
            if Instant::now() >= until {
                return Some(format!("{behind} workers have not adopted it within {ADOPTION_MAX:?}"));
            }
            std::thread::sleep(ADOPTION_POLL);
        }
    }

    fn record_merged(&self, changed: &[Entry], now: SystemTime) {
        if changed.len() > BANS_TOLD_MAX {
            let event = SecurityEvent::new(Class::Ban, Level::Info, "agent", "bans_received");
            self.node.record_here(event.with("count", changed.len()));
            return;
        }
        for entry in changed {
            let is_active = entry.is_active(millis(now));
            let (level, name) =
                if is_active { (Level::Warn, "ip_banned") } else { (Level::Info, "ban_lifted") };
            let mut event = SecurityEvent::new(Class::Ban, level, "agent", name)
                .with("prefix", entry.prefix.to_string())
                .with("reason", entry.reason.as_str())
                .with("origin", "fleet");
            event.client_ip =
                (entry.prefix.prefix_len() == entry.prefix.max_prefix_len()).then(|| entry.prefix.addr());
            event.blocked = is_active;
            self.node.record_here(event);
        }
    }
}

impl Host for FleetHost {
    fn link(&self) -> &Arc<Link> {
        &self.link
    }

    fn facts(&self) -> Facts {
        let hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let state = self.node.state();
        Facts {
            version: env!("CARGO_PKG_VERSION").into(),
            hostname: hostname.unwrap_or_default(),
            mode: mode_name(state.config.server.mode).into(),
            driver: self.node.facts.driver.into(),
            workers: u32::try_from(self.node.traffic.workers()).unwrap_or(u32::MAX),
            connections_max: u64::from(state.config.server.connections_max),
            memory_bytes: super::numbers::machine_memory_bytes(),
            started_ms: millis(self.node.facts.started),
        }
    }

    fn condition(&self) -> Condition {
        let state = self.node.state();
        let phase = match state.phase {
            Phase::Starting => "starting",
            Phase::Active => "active",
            Phase::Draining => "draining",
        };
        let applied_hash = state.fleet.as_ref().map_or(Hash([0; 32]), |fleet| fleet.applied_hash());
        Condition { phase, applied_hash, generation: state.generation }
    }

    fn apply(&self, wanted: &Set) -> Result<Applied, String> {
        let (generation, rejected) = {
            let _turn = self.node.rules_turn.lock().unwrap_or_else(PoisonError::into_inner);
            // As last read without mistakes: a file that somebody is editing must not stop a policy.
            let layers = self.node.state().fleet.as_ref().map(|fleet| fleet.layers.clone());
            let layers = layers.ok_or("the node is in no fleet")?;
            let (reloaded, rejected) = self.node.compose(layers, wanted.clone())?;
            (reloaded.generation, rejected)
        };
        self.node.telemetry.node.count(NodeCounter::ReloadsDone);
        let note = self.wait_for_workers();
        let state = self.node.state();
        let fleet = state.fleet.as_ref().ok_or("the node is in no fleet")?;
        let waiting = fleet.waiting.iter();
        let needs_restart = waiting.map(|(key, name)| {
            (key.clone(), format!("[{}] is only read at start", name.replacen('.', "] ", 1)))
        });
        Ok(Applied {
            rejected,
            needs_restart: needs_restart.collect(),
            hash: fleet.applied_hash(),
            generation,
            note,
        })
    }

    fn bans_digest(&self) -> Hash {
        let state = self.node.state();
        Hash(state.fleet.as_ref().map_or([0; 32], |fleet| fleet.bans.replica().digest()))
    }

    fn ban_entries(&self) -> Vec<Entry> {
        let state = self.node.state();
        state.fleet.iter().flat_map(|fleet| fleet.bans.replica().entries()).collect()
    }

    fn merge_bans(&self, entries: Vec<Entry>) -> usize {
        let now = SystemTime::now();
        let mut state = self.node.state();
        let State { lists, fleet, .. } = &mut *state;
        let Some(fleet) = fleet else { return 0 };
        let changed = fleet.bans.merge(entries, lists, now);
        // Workers and XDP program have them when this returns.
        self.node.follow_lists(&mut state);
        drop(state);
        self.record_merged(&changed, now);
        changed.len()
    }

    fn snapshot(&self) -> Snapshot {
        super::numbers::snapshot(&self.node)
    }

    fn execute(&self, order: Order) -> Result<String, String> {
        match order {
            Order::Reload => {
                let reloaded = self.node.reload_config()?;
                let mut text = format!("reloaded, policy {}", reloaded.generation);
                if !reloaded.needs_restart.is_empty() {
                    text = format!("{text}; only after a restart: {}", reloaded.needs_restart.join(", "));
                }
                Ok(text)
            }
            Order::Drain { stop: true } => Ok(self.drain("finishing connections, then the node ends")),
            Order::Drain { stop: false } => self.node.cordon(),
            Order::Restart { now } => {
                self.node.restart.store(true, Ordering::Release);
                if now {
                    self.node.wake(Wake::Stop);
                    return Ok("ending; the supervisor starts the node again".into());
                }
                Ok(self.drain("finishing connections; the supervisor then starts the node again"))
            }
        }
    }

    fn record(&self, event: SecurityEvent) {
        self.node.record(event);
    }
}

impl Node {
    /// Workers that run an earlier policy than the one in force.
    fn workers_behind(&self) -> usize {
        let wanted = match &self.traffic {
            Traffic::Packets(shared) => shared.generation(),
            Traffic::Sockets { handle, .. } => handle.policy_generation(),
        };
        let ended = self.state().ended.clone();
        let pages = self.telemetry.workers().iter().enumerate();
        let running = pages.filter(|(worker, _)| !ended.contains(&(*worker as u16)));
        running.filter(|(_, page)| page.gauge(Gauge::PolicyGeneration) < wanted).count()
    }

    /// Takes no new connections, and runs on.
    fn cordon(&self) -> Result<String, String> {
        if matches!(self.traffic, Traffic::Sockets { .. }) {
            // The kernel accepts for them; nothing but closing its sockets would stop that.
            return Err("with kernel sockets a node drains only to stop: use `--stop`".into());
        }
        let mut state = self.state();
        state.phase = Phase::Draining;
        self.telemetry.node.set(NodeGauge::Phase, 2);
        self.adopt_policy(&mut state).map_err(|error| error.to_string())?;
        drop(state);
        self.record(SecurityEvent::new(Class::Node, Level::Info, "agent", "cordoned"));
        Ok("no new connections; the node runs on".into())
    }

    /// Writes the replicated bans if they changed.
    pub(in crate::start) fn save_fleet_bans(&self, is_last: bool) {
        let work = self.state().fleet.as_mut().and_then(|fleet| fleet.bans.to_save(is_last));
        let Some((path, entries)) = work else { return };
        if let Err(error) = save(&path, entries) {
            self.telemetry.node.count(NodeCounter::SavesFailed);
            tracing::error!(%error, path = %path.display(), "replicated bans cannot be saved");
        }
    }
}
