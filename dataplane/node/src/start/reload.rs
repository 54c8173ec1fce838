//! Reading the configuration again, and bringing it into force with the fleet's policy in it.
//!
//! Owns: the order in which the parts of a running node adopt a configuration, going back when one of them refuses,
//! and which keys only a restart changes. Does not own: the state (`node`), what a policy is (`fleet`).

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use secbeat_config::node::SynCookiesAt;
use secbeat_config::policy::{Key, Set, compose};
use secbeat_config::{Layers, NodeConfig, Secret};

use super::node::{Node, State, Traffic, own_addresses};
use super::{l7, last_good, lists as list_settings, sizes};
use crate::api::events::{Class, Level};
use crate::api::{Reloaded, SecurityEvent};
use crate::front::socket as front;
use crate::logging;
use crate::telemetry::node::NodeCounter;
use crate::upstream;
use crate::waf::Waf;

impl Node {
    /// Reads the configuration again; the fleet's policy stays in place. The running one stays in force when the new
    /// one is wrong.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn reload_config(&self) -> Result<Reloaded, String> {
        let result = self.source.layers().map_err(|error| error.to_string()).and_then(|layers| {
            let _turn = self.rules_turn.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(wanted) = self.state().fleet.as_ref().map(|fleet| fleet.wanted.clone()) else {
                let config = NodeConfig::load(&layers).map_err(|error| error.to_string())?;
                return self.bring_in(config);
            };
            let (mut reloaded, rejected) = self.compose(layers, wanted)?;
            let left_out = |(key, error): &(Key, String)| format!("{key} of the policy is left out: {error}");
            reloaded.notes.extend(rejected.iter().map(left_out));
            if let Some(link) = &self.link {
                link.set_rejected(rejected);
            }
            Ok(reloaded)
        });
        let (counter, event) = match &result {
            Ok(_) => (
                NodeCounter::ReloadsDone,
                SecurityEvent::new(Class::Node, Level::Info, "control", "reloaded"),
            ),
            Err(error) => {
                let event = SecurityEvent::new(Class::Node, Level::Error, "control", "reload_refused");
                (NodeCounter::ReloadsRefused, event.with("error", error.as_str()))
            }
        };
        self.telemetry.node.count(counter);
        self.record(event);
        result
    }

    /// Brings a configuration with a policy in it into force; what of the policy does not fit is left out and given
    /// back. To be called with `rules_turn` held.
    pub(super) fn compose(
        &self,
        layers: Layers,
        wanted: Set,
    ) -> Result<(Reloaded, Vec<(Key, String)>), String> {
        let composed = compose(&layers, &wanted).map_err(|error| error.to_string())?;
        let reloaded = self.bring_in(composed.config)?;
        if let Some(fleet) = &mut self.state().fleet {
            fleet.layers = layers;
            fleet.adopt(wanted, &composed.rejected, &reloaded.needs_restart);
        }
        Ok((reloaded, composed.rejected))
    }

    /// Compiles what takes long outside the node's lock, up to a second, then puts all of it in force.
    fn bring_in(&self, config: NodeConfig) -> Result<Reloaded, String> {
        let lasting = Arc::clone(&self.state().resources.lasting);
        let waf = l7::load_waf(&config, &lasting).map_err(|error| error.to_string())?;
        let old_exports = self.state().config.exports.clone();
        self.exports.apply(&config.exports).map_err(|error| error.to_string())?;
        self.apply(config, waf).inspect_err(|_| {
            // They worked until now; one that does not any more is left out and told by its metrics.
            if let Err(error) = self.exports.apply(&old_exports) {
                tracing::error!(%error, "exports");
            }
        })
    }

    /// Log files are opened anew before the next write: they were moved away.
    pub(super) fn reopen_logs(&self) {
        self.sessions.access_log.reopen();
        self.sessions.audit_log.reopen();
        self.exports.reopen();
    }

    fn apply(&self, mut config: NodeConfig, waf: Option<Arc<Waf>>) -> Result<Reloaded, String> {
        let mut state = self.state();
        if config.syn_proxy.syn_cookies_at == SynCookiesAt::Xdp && state.xdp.is_none() {
            let why =
                "[syn_proxy] syn_cookies_at = \"xdp\": the node runs on sockets, without an XDP program";
            return Err(why.to_owned());
        }
        let needs_restart = needs_restart(&state.config, &config);
        // Workers were made for one mode, with or without a half-open table.
        config.server.mode = state.config.server.mode;
        // First, because it fails most often; certificates are in force from here on, whatever follows.
        let resources =
            l7::reload(&state.resources, &config, &state.master, waf).map_err(|error| error.to_string())?;
        let own = own_addresses(&state.neighbors);
        logging::set_level(&config.logging);
        let (settings, notes) = list_settings::settings(&config, &own);
        self.upstream.reload(upstream::Settings::from_config(&config)).map_err(|error| error.to_string())?;
        if let Traffic::Sockets { handle, .. } = &self.traffic
            && let Err(error) = handle.reload(front::Settings::from_config(&config))
        {
            let _ = self.upstream.reload(upstream::Settings::from_config(&state.config));
            return Err(error.to_string());
        }
        let old = core::mem::replace(&mut state.config, config);
        state.resources = resources;
        // The filter's rules may have changed even if the lists did not.
        let old_filter = state.filter.clone();
        state.filter.0 = u64::MAX;
        if let Err(error) = self.adopt_policy(&mut state) {
            state.config = old;
            state.filter = old_filter;
            let _ = self.upstream.reload(upstream::Settings::from_config(&state.config));
            if let Traffic::Sockets { handle, .. } = &self.traffic {
                let _ = handle.reload(front::Settings::from_config(&state.config));
            }
            return Err(error.to_string());
        }
        state.lists.reload(settings);
        let State { lists, fleet, .. } = &mut *state;
        if let Some(fleet) = fleet {
            // The allowlist may cover less than before.
            fleet.bans.enforce_all(lists, SystemTime::now());
        }
        self.follow_lists(&mut state);
        self.reopen_logs();
        last_good::keep(&self.source, &state.config);
        Ok(Reloaded { generation: state.generation, needs_restart, notes })
    }
}

/// A key or section that is only read at start, and its value as text.
type StartKey = (&'static str, fn(&NodeConfig) -> String);

/// What a reload cannot change. Compared as text: these are plain values, and a reload is rare.
const START_KEYS: &[StartKey] = &[
    ("io", |config| format!("{:?}", config.io)),
    ("server.mode", |config| format!("{:?}", config.server.mode)),
    ("server.worker_threads", |config| config.server.worker_threads.to_string()),
    ("server.max_connections", |config| config.server.connections_max.to_string()),
    ("server.buffer_size", |config| config.server.buffer_bytes.to_string()),
    ("server.state_dir", |config| format!("{:?}", config.server.state_dir)),
    ("server.user", |config| format!("{:?}", config.server.user)),
    ("flows", |config| format!("{:?}", config.flows)),
    ("udp", |config| format!("{:?}", config.udp)),
    ("syn_proxy.max_syn_backlog", |config| config.syn_proxy.syn_backlog_max.to_string()),
    ("syn_proxy.handshake_timeout", |config| format!("{:?}", config.syn_proxy.handshake_timeout)),
    ("syn_proxy.backend_syn_timeout", |config| format!("{:?}", config.syn_proxy.backend_syn_timeout)),
    // Workers are made with or without sessions, and with or without room for what is forwarded.
    ("listeners.mode", |config| format!("{} {:?}", config.has_l7(), sizes::forwards(config))),
    ("http.upstream", |config| format!("{:?}", config.http.upstream)),
    ("access_log.path", |config| format!("{:?}", config.access_log.target)),
    ("access_log.queue_lines", |config| config.access_log.queue_lines.to_string()),
    ("waf.audit_log", |config| format!("{:?}", config.waf.audit_log)),
    ("limits.slots", |config| config.limits.slots.to_string()),
    ("metrics", |config| format!("{:?}", config.metrics)),
    ("api", |config| format!("{:?}", config.api)),
    ("orchestrator", |config| format!("{:?}", config.orchestrator)),
    ("logging.format", |config| format!("{:?}", config.logging.format)),
    ("logging.queue_lines", |config| config.logging.queue_lines.to_string()),
];

/// Keys that differ but are only read at start.
fn needs_restart(old: &NodeConfig, new: &NodeConfig) -> Vec<String> {
    let mut names: Vec<_> = START_KEYS
        .iter()
        .filter(|(_, read)| read(old) != read(new))
        .map(|(name, _)| (*name).to_owned())
        .collect();
    // Not in the table: their text is hidden, and two hidden secrets look alike.
    let shown = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
    let cookie = |config: &NodeConfig| shown(&config.syn_proxy.syn_cookie_secret);
    let token = |config: &NodeConfig| shown(&config.api.token);
    if cookie(old) != cookie(new) {
        names.push("syn_proxy.syn_cookie_secret".to_owned());
    }
    if token(old) != token(new) {
        names.push("api.token".to_owned());
    }
    names
}
