//! The blocking part of a stream: applying, merging, numbers, orders. Each runs once at a time in another thread.
//!
//! Owns: which of it is under way, and the messages made of its outcome. Does not own: the work itself.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use secbeat_config::policy::{Delta, Hash, Key, Outcome, wire};
use secbeat_proto::v1;
use secbeat_proto::v1::command::Kind as Ordered;
use secbeat_proto::v1::node_message::Kind as Up;

use super::Session;
use crate::agent::Context;
use crate::agent::events::millis;
use crate::agent::exchange::{self, Exchange};
use crate::agent::host::{Order, Snapshot};
use crate::agent::link::Numbers;
use crate::agent::policy::{Ack, Pending};
use crate::agent::telemetry::Encoder;

/// Work that is finished.
pub(super) enum Done {
    /// Changes are in force, or refused.
    Applied(Vec<Ack>),
    /// Bans are merged; what the other side lacks.
    Merged(Option<Exchange>, Vec<v1::BanDelta>),
    /// Numbers were read.
    Read(Snapshot),
    /// An order was followed, or not.
    Ordered(v1::CommandResult),
    /// The node took note of what does not fit it.
    Noted(Vec<Outcome>),
    /// Who the node is and what it holds, once more.
    Greeted(Box<v1::Hello>),
}

impl Session<'_> {
    /// Applies everything that waits, together.
    pub(super) fn begin_apply(&mut self) {
        if self.is_applying || self.deltas.is_empty() {
            return;
        }
        self.is_applying = true;
        let deltas = core::mem::take(&mut self.deltas);
        let (policy, host) = (Arc::clone(&self.context.policy), Arc::clone(&self.context.host));
        self.jobs.spawn_blocking(move || {
            let changes = deltas.into_iter().map(pending).collect();
            let mut policy = policy.lock().unwrap_or_else(PoisonError::into_inner);
            let acks = policy.take(changes, host.as_ref());
            policy.publish(&acks, host.as_ref());
            Done::Applied(acks)
        });
    }

    /// The node found other resources not to fit than before.
    pub(super) fn begin_note(&mut self, rejected: Vec<(Key, String)>) {
        let (policy, host) = (Arc::clone(&self.context.policy), Arc::clone(&self.context.host));
        self.jobs.spawn_blocking(move || {
            let mut policy = policy.lock().unwrap_or_else(PoisonError::into_inner);
            let refusals = policy.set_rejected(rejected);
            policy.publish(&[], host.as_ref());
            Done::Noted(refusals)
        });
    }

    pub(super) fn begin_merge(&mut self) {
        if self.is_merging {
            return;
        }
        let Some(delta) = self.bans.pop_front() else { return };
        let mut exchange = self.exchange.take().unwrap_or_default();
        self.is_merging = true;
        let host = Arc::clone(&self.context.host);
        self.jobs.spawn_blocking(move || {
            let answers = exchange.receive(delta, host.as_ref());
            Done::Merged(Some(exchange), answers)
        });
    }

    /// Sends everything we have, because some changes were forgotten.
    pub(super) fn begin_whole(&mut self) {
        let host = Arc::clone(&self.context.host);
        self.jobs.spawn_blocking(move || Done::Merged(None, exchange::whole(host.as_ref())));
    }

    pub(super) fn begin_telemetry(&mut self) {
        // Under way still: the machine is busy, and the next report has the same totals.
        if self.is_reading {
            Numbers::add(&self.context.host.link().numbers.telemetry_skipped, 1);
            return;
        }
        self.is_reading = true;
        let host = Arc::clone(&self.context.host);
        self.jobs.spawn_blocking(move || Done::Read(host.snapshot()));
    }

    pub(super) fn begin_command(&mut self, command: v1::Command) {
        let host = Arc::clone(&self.context.host);
        let id = command.id;
        let known = host.link().epoch();
        if command.epoch < known {
            let message = format!("leadership {} is over: this node has seen {known}", command.epoch);
            self.urgent.push_back(Up::CommandResult(v1::CommandResult { id, is_ok: false, message }));
            return;
        }
        let order = match command.kind {
            Some(Ordered::Drain(drain)) => Order::Drain { stop: drain.stop },
            Some(Ordered::Restart(restart)) => Order::Restart { now: restart.now },
            Some(Ordered::Reload(_)) => Order::Reload,
            Some(Ordered::Resync(_)) => {
                let message = "the node tells everything anew".to_owned();
                self.urgent.push_back(Up::CommandResult(v1::CommandResult { id, is_ok: true, message }));
                self.telemetry = Encoder::default();
                let (context, node_id) = (self.context.clone(), self.node_id.clone());
                self.jobs.spawn_blocking(move || Done::Greeted(Box::new(hello(&context, &node_id))));
                return;
            }
            None => {
                Numbers::add(&host.link().numbers.messages_unknown, 1);
                let message = "this node does not know such a command: upgrade it".to_owned();
                self.urgent.push_back(Up::CommandResult(v1::CommandResult { id, is_ok: false, message }));
                return;
            }
        };
        self.jobs.spawn_blocking(move || {
            let outcome = host.execute(order);
            let is_ok = outcome.is_ok();
            let message = outcome.unwrap_or_else(|error| error);
            Done::Ordered(v1::CommandResult { id, is_ok, message })
        });
    }

    pub(super) fn handle_done(&mut self, done: Done) {
        match done {
            Done::Applied(acks) => {
                self.is_applying = false;
                self.urgent.extend(acks.iter().map(|ack| Up::PolicyAck(acknowledgement(ack))));
                self.begin_apply();
            }
            Done::Merged(exchange, answers) => {
                if exchange.is_some() {
                    self.exchange = exchange;
                    self.is_merging = false;
                }
                self.urgent.extend(answers.into_iter().map(Up::Bans));
                self.begin_merge();
            }
            Done::Read(snapshot) => {
                self.is_reading = false;
                self.send_telemetry(snapshot);
            }
            Done::Ordered(result) => self.urgent.push_back(Up::CommandResult(result)),
            Done::Noted(refusals) => self.acknowledge_unasked(&refusals),
            Done::Greeted(hello) => self.urgent.push_back(Up::Hello(*hello)),
        }
    }

    fn send_telemetry(&mut self, snapshot: Snapshot) {
        self.events_lost.clone_from(&snapshot.events_lost);
        // Encoding notes what was told, so it must be certain that this is sent.
        match self.out.try_reserve() {
            Ok(permit) => {
                let report = self.telemetry.report(snapshot, millis(SystemTime::now()));
                permit.send(super::message(Up::Telemetry(report)));
            }
            Err(_) => Numbers::add(&self.context.host.link().numbers.telemetry_skipped, 1),
        }
    }

    /// Tells what is not in force although nothing was sent just now.
    pub(super) fn acknowledge_unasked(&mut self, refusals: &[Outcome]) {
        let now = self.context.host.condition();
        self.urgent.push_back(Up::PolicyAck(acknowledgement(&Ack {
            nonce: 0,
            outcomes: refusals.to_vec(),
            unreadable: Vec::new(),
            applied_hash: now.applied_hash,
            generation: now.generation,
        })));
    }
}

/// Who the node is and what it holds.
pub(super) fn hello(context: &Context, node_id: &str) -> v1::Hello {
    let facts = context.host.facts();
    let policy = context.policy.lock().unwrap_or_else(PoisonError::into_inner);
    let digests = policy.digests();
    v1::Hello {
        node_id: node_id.to_owned(),
        protocol: secbeat_proto::PROTOCOL,
        version: facts.version,
        hostname: facts.hostname,
        mode: facts.mode,
        driver: facts.driver,
        workers: facts.workers,
        connections_max: facts.connections_max,
        memory_bytes: facts.memory_bytes,
        started_ms: facts.started_ms,
        held: digests.iter().map(|(key, version, hash)| wire::digest_to_wire(key, *version, hash)).collect(),
        wants_resync: policy.resync().is_some(),
        resync_reason: policy.resync().unwrap_or_default().to_owned(),
        bans_digest: context.host.bans_digest().0.to_vec(),
        now_ms: millis(SystemTime::now()),
        labels: context.settings.labels.clone(),
    }
}

fn pending(message: v1::PolicyDelta) -> Pending {
    let (nonce, revision, epoch) = (message.nonce, message.revision, message.epoch);
    match wire::delta_from_wire(&message) {
        Ok((delta, unreadable)) => Pending { nonce, revision, epoch, delta, unreadable },
        Err(error) => {
            // Nothing of it is taken; whatever it names is answered.
            let error = error.to_string();
            let refused = |update: v1::ResourceUpdate| v1::ResourceResult {
                key: update.key,
                version: update.version,
                hash: update.hash,
                state: v1::ResourceState::Rejected.into(),
                error: error.clone(),
            };
            let unreadable = message.upserts.into_iter().map(refused).collect();
            let delta = Delta { updates: Vec::new(), removals: Vec::new(), set_hash: Hash([0; 32]) };
            // The revision was not reached.
            Pending { nonce, revision: 0, epoch, delta, unreadable }
        }
    }
}

fn acknowledgement(ack: &Ack) -> v1::PolicyAck {
    let outcomes = ack.outcomes.iter().map(wire::outcome_to_wire);
    let results = outcomes.chain(ack.unreadable.iter().cloned()).collect();
    v1::PolicyAck {
        nonce: ack.nonce,
        results,
        applied_hash: ack.applied_hash.0.to_vec(),
        dataplane_generation: ack.generation,
    }
}
