//! The node in a fleet: what it starts with, and what its agent speaks for.
//!
//! ```text
//!   layers (file, environment, command line) --.
//!   last policy (state directory) -------------+--compose--> configuration in force
//!   policy of the orchestrator --(agent)-------'
//! ```
//!
//! Owns: composing configuration and policy at start and at reload, the wish to join ([`begin`], [`join`]). Does not
//! own: the connection (`crate::agent`), the replicated ban list ([`bans`]), what the agent asks ([`host`]).

pub mod bans;
pub mod host;
mod numbers;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use secbeat_config::policy::{Hash, Key, Kind, Set, compose};
use secbeat_config::{Layers, NodeConfig};
use uuid::Uuid;

use super::node::Node;
use crate::agent::{self, Agent, AgentHandle, Link, POLICY_FILE_NAME, Restored, Settings, identity};
use crate::api::SecurityEvent;
use crate::api::events::{Class, Level};
use crate::cli::ConfigSource;
use bans::FleetBans;
use host::FleetHost;
use numbers::Rates;

/// Membership in a fleet, as it begins.
#[derive(Debug)]
pub struct Membership {
    /// Who the node is.
    pub node_id: Uuid,
    /// What it shares with its agent.
    pub link: Arc<Link>,
    /// What it started with.
    pub restored: Restored,
}

/// What a node in a fleet holds beside its configuration; under the node's lock.
#[derive(Debug)]
pub struct Fleet {
    /// Where the configuration came from when it was last read without mistakes.
    pub layers: Layers,
    /// The policy that the orchestrator wants here.
    pub wanted: Set,
    /// What of it the data plane holds.
    pub in_force: Set,
    /// What of it waits for a restart, and why.
    pub waiting: BTreeMap<Key, String>,
    /// The replicated ban list.
    pub bans: FleetBans,
    rates: Rates,
}

/// Prepares membership, if the configuration wants it: `config` becomes what the last policy makes of it.
///
/// # Errors
/// When the node's number can neither be read nor kept.
pub fn begin(config: &mut NodeConfig, source: &ConfigSource) -> anyhow::Result<Option<(Membership, Fleet)>> {
    if !config.orchestrator.enabled {
        return Ok(None);
    }
    let state_dir = config.server.state_dir.clone();
    let node_id = identity::node_id(&identity::directory(&state_dir)).context("the node's number")?;
    let layers = source.layers()?;
    let mut restored = agent::load_policy(&state_dir);
    let set = restored.held.set().clone();
    let mut in_force = set.clone();
    match compose(&layers, &set) {
        Ok(composed) => {
            *config = composed.config;
            for (key, error) in &composed.rejected {
                tracing::warn!(component = "agent", resource = %key, error, "left out of the last policy");
                in_force.remove(key);
            }
            restored.rejected = composed.rejected;
        }
        // The file was changed since it was read a moment ago, or the policy is no good with it at all.
        Err(error) => fall_back(&mut restored, &mut in_force, &error.to_string()),
    }
    let bans_path = state_dir.join(bans::FILE_NAME);
    let entries_max = config.lists.entries_max as usize;
    let (bans, warnings) = FleetBans::open(bans_path, node_id.into_bytes(), entries_max);
    for warning in warnings {
        tracing::warn!(component = "agent", warning, "replicated bans");
    }
    let link = Arc::new(Link::new(config.orchestrator.events_queue as usize));
    let fleet =
        Fleet { layers, wanted: set, in_force, waiting: BTreeMap::new(), bans, rates: Rates::default() };
    Ok(Some((Membership { node_id, link, restored }, fleet)))
}

/// The last policy cannot be used: configuration alone, and everything is asked for anew.
fn fall_back(restored: &mut Restored, in_force: &mut Set, error: &str) {
    let why = format!("the last policy does not fit the configuration: {error}");
    *in_force = Set::new();
    let (epoch, resync) = (restored.epoch, Some(why));
    *restored = Restored { epoch, resync, ..Restored::default() };
}

impl Membership {
    /// The configuration with the last policy cannot be started with: the one without it is.
    pub fn give_policy_up(&mut self, fleet: &mut Fleet, error: &str) {
        fall_back(&mut self.restored, &mut fleet.in_force, error);
        fleet.wanted = Set::new();
    }

    /// Says what the node started with.
    fn report(&self, node: &Node) {
        let event = |level, name| SecurityEvent::new(Class::Policy, level, "agent", name);
        if let Some(why) = &self.restored.resync {
            node.record(event(Level::Error, "policy_lost").with("error", why.as_str()));
            return;
        }
        let count = self.restored.held.set().len();
        if count > 0 {
            node.record(
                event(Level::Info, "policy_restored")
                    .with("resources", count)
                    .with("revision", self.restored.revision),
            );
        }
        for (key, error) in &self.restored.rejected {
            node.record(
                event(Level::Warn, "resource_left_out")
                    .with("resource", key.to_string())
                    .with("error", error.as_str()),
            );
        }
    }
}

/// Starts the agent of a node that runs.
///
/// # Errors
/// When the system gives no thread.
pub fn join(node: &Arc<Node>, membership: Membership) -> anyhow::Result<AgentHandle> {
    membership.report(node);
    let settings = settings(&node.state().config, &membership);
    let host = FleetHost::new(Arc::clone(node), membership.link);
    Agent::spawn(settings, Arc::new(host)).context("agent thread")
}

fn settings(config: &NodeConfig, membership: &Membership) -> Settings {
    let orchestrator = &config.orchestrator;
    let state_dir = &config.server.state_dir;
    Settings {
        allow_plaintext: orchestrator.allow_plaintext,
        authority: orchestrator.ca_path.clone(),
        join_token: orchestrator.join_token.clone(),
        labels: orchestrator.labels.clone(),
        identity_dir: Some(identity::directory(state_dir)),
        policy_path: Some(state_dir.join(POLICY_FILE_NAME)),
        restored: membership.restored.clone(),
        retry: (agent::RETRY_MIN, orchestrator.register_interval),
        heartbeat_interval: orchestrator.heartbeat.interval,
        heartbeat_timeout: orchestrator.heartbeat.timeout,
        heartbeats_missed_max: orchestrator.heartbeat.missed_max,
        telemetry_interval: orchestrator.telemetry_interval,
        ..Settings::new(orchestrator.url.clone(), membership.node_id)
    }
}

impl Fleet {
    /// Takes note of a set that came into force, but for `rejected`, and of keys that only a restart brings in.
    pub(super) fn adopt(&mut self, wanted: Set, rejected: &[(Key, String)], needs_restart: &[String]) {
        let mut usable = wanted.clone();
        for (key, _) in rejected {
            usable.remove(key);
        }
        let keys: Vec<Key> = usable.iter().chain(self.in_force.iter()).map(|(key, _)| key.clone()).collect();
        let before = core::mem::replace(&mut self.in_force, usable);
        for key in keys {
            if before.get(&key) == self.in_force.get(&key) {
                continue;
            }
            let reason = needs_restart.iter().find(|name| is_part_of(name, key.kind)).cloned();
            if let Some(name) = reason.or_else(|| self.waiting.get(&key).cloned()) {
                self.waiting.insert(key.clone(), name);
                match before.get(&key).cloned() {
                    // It took this place before.
                    Some(earlier) => drop(self.in_force.insert(earlier)),
                    None => drop(self.in_force.remove(&key)),
                }
            }
        }
        let in_force = &self.in_force;
        self.waiting.retain(|key, _| wanted.get(key) != in_force.get(key) && wanted.get(key).is_some());
        self.wanted = wanted;
    }

    /// Hash of what the data plane holds.
    pub(super) fn applied_hash(&self) -> Hash {
        self.in_force.hash()
    }
}

/// Whether a key that is only read at start is made of resources of a kind.
fn is_part_of(name: &str, kind: Kind) -> bool {
    let section = match kind {
        Kind::Listener => "listeners",
        Kind::Limits => "limits",
        Kind::WafSet => "waf",
        Kind::BackendGroup | Kind::List | Kind::FilterSet => return false,
    };
    name.split('.').next() == Some(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(key: &str, body: &str) -> secbeat_config::policy::Resource {
        secbeat_config::policy::Resource::parse(key.parse().unwrap(), body).unwrap()
    }

    fn fleet(set: Set) -> Fleet {
        let dir = tempfile::tempdir().unwrap();
        let (bans, _) = FleetBans::open(dir.path().join(bans::FILE_NAME), [1; 16], 100);
        Fleet {
            layers: Layers::default(),
            wanted: set.clone(),
            in_force: set,
            waiting: BTreeMap::new(),
            bans,
            rates: Rates::default(),
        }
    }

    #[test]
    fn hash_in_force_leaves_out_what_was_refused_and_what_waits_for_a_restart() {
        let key: Key = "limits/default".parse().unwrap();
        let list = resource("list/friends", r#"{"action":"allow","prefixes":["192.0.2.0/24"]}"#);
        let mut old = Set::new();
        old.insert(resource("limits/default", r#"{"slots":65536}"#)).unwrap();
        let mut fleet = fleet(old.clone());
        let mut wanted = Set::new();
        wanted.insert(resource("limits/default", r#"{"slots":131072}"#)).unwrap();
        wanted.insert(list.clone()).unwrap();
        fleet.adopt(wanted.clone(), &[(list.key.clone(), "no".into())], &["limits.slots".into()]);
        assert_eq!(fleet.applied_hash(), old.hash());
        assert_eq!(fleet.waiting.get(&key).map(String::as_str), Some("limits.slots"));
        fleet.adopt(wanted.clone(), &[], &[]);
        assert!(fleet.in_force.get(&list.key).is_some());
        assert_ne!(fleet.applied_hash(), wanted.hash(), "the restart is still to come");
        fleet.adopt(old.clone(), &[], &[]);
        assert!(fleet.waiting.is_empty());
        assert_eq!(fleet.applied_hash(), old.hash());
    }
}
