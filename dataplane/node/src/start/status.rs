//! What a running node tells and does when the management API asks.
//!
//! Owns: the answers. Does not own: the state (`node`), HTTP (`crate::api`).

use std::time::SystemTime;

use ipnet::IpNet;
use secbeat_config::node::{Listener, SynCookies, Transport};
use secbeat_config::waf_rules::Rule;

use super::fleet::Fleet;
use super::node::{Node, State, Traffic, ban_event};
use crate::api::{
    BackendStatus, Control, ListenerStatus, Reloaded, Status, WafFailure, WafRules, WorkerStatus,
};
use crate::command::mode_name;
use crate::event::ListenerId;
use crate::lists::{Ban, BanRequest, Banned, Refusal};
use crate::telemetry::counters::Gauge;
use crate::telemetry::node::NodeCounter;
use crate::upstream;

impl Control for Node {
    fn status(&self) -> Status {
        let state = self.state();
        let mode = mode_name(state.config.server.mode);
        let uptime = self.facts.started.elapsed().unwrap_or_default();
        Status {
            phase: state.phase,
            version: env!("CARGO_PKG_VERSION"),
            mode,
            driver: self.facts.driver,
            driver_notes: self.facts.notes.clone(),
            started: self.facts.started,
            uptime,
            generation: state.generation,
            connections_active: self.telemetry.connections_active(),
            requests_active: self.telemetry.workers().iter().map(|page| page.gauge(Gauge::Exchanges)).sum(),
            connections_max: u64::from(state.config.server.connections_max),
            bans: state.lists.bans().count(),
            workers: self.worker_status(&state),
            interfaces: self.facts.interfaces.clone(),
            listeners: self.listener_status(&state),
            backends: self.backend_status(),
            orchestrator: self.link.as_ref().map(|link| link.status()),
        }
    }

    fn block(&self, request: BanRequest) -> Result<Banned, Refusal> {
        self.ban(request)
    }

    fn unblock(&self, prefix: IpNet) -> Result<Ban, Refusal> {
        let mut state = self.state();
        let ban = state.lists.unban(prefix)?;
        self.telemetry.node.count(NodeCounter::BansEnded);
        self.follow_lists(&mut state);
        let lifted =
            |fleet: &mut Fleet| fleet.bans.note_lift(ban.prefix, "lifted on a node", SystemTime::now());
        let entry = state.fleet.as_mut().and_then(lifted);
        self.tell_fleet(entry);
        drop(state);
        self.record(ban_event("ban_lifted", &ban, ban.origin));
        Ok(ban)
    }

    fn bans(&self, after: Option<IpNet>, count_max: usize) -> (Vec<Ban>, usize) {
        let state = self.state();
        let all = state.lists.bans().count();
        let wanted = state.lists.bans().filter(|ban| after.is_none_or(|after| ban.prefix > after));
        (wanted.take(count_max).cloned().collect(), all)
    }

    fn reload(&self) -> Result<Reloaded, String> {
        self.reload_config()
    }

    fn waf_rules(&self) -> Option<WafRules> {
        Self::waf_rules(self)
    }

    fn add_waf_rule(&self, rule: Rule) -> Result<(), WafFailure> {
        Self::add_waf_rule(self, rule)
    }

    fn remove_waf_rule(&self, id: &str) -> Result<(), WafFailure> {
        Self::remove_waf_rule(self, id)
    }
}

impl Node {
    fn worker_status(&self, state: &State) -> Vec<WorkerStatus> {
        let stalled = self.stalled_workers(state);
        let pages = self.telemetry.workers().iter().enumerate();
        pages
            .map(|(index, page)| WorkerStatus {
                worker: index as u16,
                core: self.facts.cores.get(index).copied().flatten().map(|core| core as u16),
                alive: !stalled.contains(&(index as u16)) && !state.ended.contains(&(index as u16)),
                generation: page.gauge(Gauge::PolicyGeneration),
            })
            .collect()
    }

    fn backend_status(&self) -> Vec<BackendStatus> {
        let status = self.upstream.status();
        let state = |backend: &upstream::BackendStatus| match backend {
            b if b.address.is_none() => "unresolved",
            b if b.drained => "draining",
            b if b.ejected => "ejected",
            b if !b.usable => "down",
            _ => "up",
        };
        status
            .backends
            .iter()
            .map(|backend| BackendStatus {
                name: backend.name.clone(),
                address: backend.address.clone().unwrap_or_else(|| backend.target.clone()),
                state: state(backend),
                weight: backend.weight,
                connections_active: u64::from(backend.connections_active),
                connections: backend.connections_total,
                failures: backend.failures_total,
            })
            .collect()
    }
}

impl Node {
    fn listener_status(&self, state: &State) -> Vec<ListenerStatus> {
        let listeners = state.config.listeners.iter().enumerate();
        listeners.map(|(index, listener)| self.status_of(state, index as ListenerId, listener)).collect()
    }

    fn status_of(&self, state: &State, id: ListenerId, listener: &Listener) -> ListenerStatus {
        let attacks = state.attacks.iter().filter(|(_, listener, _)| *listener == Some(id));
        let mut attacks: Vec<&'static str> = attacks.map(|(kind, ..)| kind.name()).collect();
        attacks.sort_unstable();
        attacks.dedup();
        let is_front = match &self.traffic {
            Traffic::Packets(shared) => shared.board.is_answering(id),
            Traffic::Sockets { .. } => false,
        };
        let cookies = listener.protocol == Transport::Tcp
            && (is_front
                || listener.syn_cookies == SynCookies::Always
                || state.cookies.iter().any(|(listener, _)| *listener == id));
        ListenerStatus {
            name: listener.name.clone(),
            protocol: match listener.protocol {
                Transport::Tcp => "tcp",
                Transport::Udp => "udp",
            },
            mode: mode_name(listener.mode),
            tls: listener.tls,
            address: listener.bind_address.to_string(),
            cookies,
            cookies_at: cookies.then_some(if is_front { "xdp" } else { "worker" }),
            attacks,
        }
    }
}
