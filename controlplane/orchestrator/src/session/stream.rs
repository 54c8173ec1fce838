//! The task of one stream: what comes from the node, what goes to it, when it ends.
//!
//! Owns: the order of things: greeting, welcome, deltas one at a time, answers. Does not own: meaning of events and
//! bans (`service::node` hands them on).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use secbeat_config::policy::wire::{digest_from_wire, outcome_from_wire};
use secbeat_config::policy::{Hash, Outcome};
use secbeat_proto::v1;
use secbeat_proto::v1::node_message::Kind as FromNode;
use secbeat_proto::v1::orchestrator_message::Kind as ToNode;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_stream::StreamExt as _;
use uuid::Uuid;

use super::view::View;
use super::{Handle, Outgoing, count};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};
use crate::policy::{Targets, Wanted};
use crate::registry::{Facts, hash_of};
use crate::service::Stream;
use crate::service::node;

/// How long a node may take to answer a delta, milliseconds: twice what a rollout waits. Then the stream is closed and
/// the node begins anew with what it holds.
const ANSWER_MS_MAX: u64 = 120_000;
/// Deltas above this wait for their turn, bytes.
const PACED_BYTES_MIN: usize = 64 * 1024;
/// How long one waits for its turn, and how long it keeps it from others: a stuck node must not stop a push.
const PACE_TIME_MAX: Duration = Duration::from_secs(5);
/// Time between looks at deadlines.
const TICK: Duration = Duration::from_millis(500);

/// Who opened a stream.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) caller: Caller,
    pub(crate) address: String,
}

/// Serves one stream until it ends.
pub(crate) async fn run(
    o: Orchestrator,
    peer: Peer,
    mut incoming: Stream<v1::NodeMessage>,
    outgoing: mpsc::Sender<Outgoing>,
) {
    let end = match greet(&o, &peer, &mut incoming, &outgoing).await {
        Ok(mut session) => {
            let end = session.serve(&mut incoming).await;
            session.leave();
            end
        }
        Err(failure) => {
            count(&o.sessions.counters().refused);
            tracing::warn!(peer = peer.address, %failure, "a node's stream was refused");
            Some(failure)
        }
    };
    if let Some(failure) = end {
        // The reason is for the node's log; a node that takes nothing does not get it.
        let _ = timeout(Duration::from_secs(1), outgoing.send(Err(failure))).await;
    }
}

/// The first message, and what it leads to.
async fn greet(
    o: &Orchestrator,
    peer: &Peer,
    incoming: &mut Stream<v1::NodeMessage>,
    outgoing: &mpsc::Sender<Outgoing>,
) -> Result<Session, Failure> {
    let wait = o.config.fleet.registration_timeout;
    let first = timeout(wait, incoming.next()).await;
    let first = first.map_err(|_| Failure::Invalid(format!("no Hello came in {} s", wait.as_secs())))?;
    let first = first.ok_or_else(|| Failure::Invalid("the stream ended before its Hello".into()))??;
    let Some(FromNode::Hello(hello)) = first.kind else {
        return Err(Failure::Invalid("the first message of a stream must be Hello".into()));
    };
    let id = node::identify(&peer.caller, &hello)?;
    if let Some(denied) = node::turned_away(o, id) {
        return Err(denied);
    }
    let protocol = node::protocol(&hello)?;
    let serial = o.sessions.serial.fetch_add(1, Ordering::Relaxed);
    let (close, closing) = watch::channel(None);
    let handle =
        Arc::new(Handle { serial, outgoing: outgoing.clone(), close, orders: std::sync::Mutex::default() });
    let mut session = Session {
        o: o.clone(),
        id,
        address: peer.address.clone(),
        handle,
        closing,
        targets: o.policy.targets(),
        view: View::default(),
        nonce: 0,
        pace: None,
        heard_ms: now_ms(),
        asked_resync: 0,
    };
    session.take_hello(&hello).await?;
    // The welcome first: once the stream is entered, bans go over it at any moment. What changes between is found by
    // the comparison of the lists, which comes after.
    session.send(ToNode::Welcome(node::welcome(o, protocol)));
    o.sessions.enter(id, &session.handle);
    count(&o.sessions.counters().opened);
    node::greet_bans(o, id, &hello, &session.handle);
    Ok(session)
}

struct Session {
    o: Orchestrator,
    id: Uuid,
    address: String,
    handle: Arc<Handle>,
    closing: watch::Receiver<Option<Failure>>,
    targets: watch::Receiver<Arc<Targets>>,
    view: View,
    nonce: u64,
    /// The turn of a large delta, and since when.
    pace: Option<(OwnedSemaphorePermit, Instant)>,
    heard_ms: u64,
    /// Revision for which the node was asked to tell everything anew: once for each.
    asked_resync: u64,
}

impl Session {
    async fn serve(&mut self, incoming: &mut Stream<v1::NodeMessage>) -> Option<Failure> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.push().await;
        loop {
            tokio::select! {
                biased;
                _ = self.closing.changed() => return self.closing.borrow().clone(),
                message = incoming.next() => match message {
                    None => return None,
                    Some(Err(failure)) => return Some(failure),
                    Some(Ok(message)) => {
                        self.heard_ms = now_ms();
                        if let Err(failure) = self.take(message).await {
                            return Some(failure);
                        }
                    }
                },
                changed = self.targets.changed() => {
                    if changed.is_err() {
                        return Some(Failure::Unavailable("the orchestrator stops".into()));
                    }
                    self.push().await;
                }
                _ = tick.tick() => if let Err(failure) = self.look_at_clock() {
                    return Some(failure);
                },
            }
        }
    }

    fn leave(&mut self) {
        let now = now_ms();
        self.o.sessions.leave(self.id, self.handle.serial);
        if self.o.registry.disconnect(self.id, self.handle.serial, now) {
            node::farewell(&self.o, self.id);
        }
        count(&self.o.sessions.counters().ended);
        self.o.signals.rollout.notify_one();
    }

    fn send(&self, kind: ToNode) {
        self.handle.send(self.o.sessions.counters(), kind);
    }

    fn look_at_clock(&mut self) -> Result<(), Failure> {
        let now = now_ms();
        if self.pace.as_ref().is_some_and(|(_, since)| since.elapsed() > PACE_TIME_MAX) {
            self.pace = None;
        }
        if let Some(denied) = node::turned_away(&self.o, self.id) {
            return Err(denied);
        }
        let silence_ms_max = self.o.leases.silence_ms_max;
        if now.saturating_sub(self.heard_ms) > silence_ms_max {
            count(&self.o.sessions.counters().silent);
            return Err(Failure::Unavailable(format!("nothing was heard for {silence_ms_max} ms")));
        }
        let waits_ms = self.view.waits_since_ms().map_or(0, |since| now.saturating_sub(since));
        if waits_ms > ANSWER_MS_MAX {
            count(&self.o.sessions.counters().silent);
            return Err(Failure::Unavailable(format!("a policy was not answered in {ANSWER_MS_MAX} ms")));
        }
        Ok(())
    }

    async fn take(&mut self, message: v1::NodeMessage) -> Result<(), Failure> {
        match message.kind {
            Some(FromNode::Hello(hello)) => {
                if node::identify(&Caller::internal("stream"), &hello)? != self.id {
                    return Err(Failure::Invalid("a stream belongs to one node".into()));
                }
                self.take_hello(&hello).await?;
                node::greet_bans(&self.o, self.id, &hello, &self.handle);
                self.push().await;
            }
            Some(FromNode::Heartbeat(beat)) => {
                self.o.registry.heartbeat(self.id, &beat, self.heard_ms);
                self.o.signals.rollout.notify_one();
            }
            Some(FromNode::PolicyAck(ack)) => self.take_ack(&ack).await,
            Some(FromNode::Events(batch)) => {
                node::take_events(&self.o, self.id, batch, &self.handle).await;
            }
            Some(FromNode::Telemetry(telemetry)) => {
                self.o.registry.telemetry(self.id, &telemetry, self.heard_ms);
                node::take_hits(&self.o, self.id, &telemetry);
            }
            Some(FromNode::Bans(delta)) => node::take_bans(&self.o, self.id, delta, &self.handle).await,
            Some(FromNode::CommandResult(result)) => self.handle.answer(result),
            None => count(&self.o.sessions.counters().unknown),
        }
        Ok(())
    }

    /// What the node says of itself: at the beginning, and again when it was asked to tell everything anew.
    async fn take_hello(&mut self, hello: &v1::Hello) -> Result<(), Failure> {
        let now = now_ms();
        let facts = Facts::of_hello(self.id, hello, &self.address, now);
        self.o.registry.connect(facts, self.handle.serial, now, hello.now_ms).await?;
        // A digest that is none (a kind of a newer node) is not ours to replace.
        let held = hello.held.iter().filter_map(|digest| digest_from_wire(digest).ok());
        self.view.renew(held.filter(|_| !hello.wants_resync));
        self.pace = None;
        let results = self.view.results();
        let held = self.view.hash();
        self.o.registry.progress(self.id, |progress| {
            progress.results = results;
            progress.applied_hash = Some(held);
        });
        if hello.wants_resync {
            tracing::warn!(node = %self.id, reason = hello.resync_reason, "a node lost its policy and gets it anew");
        }
        Ok(())
    }

    /// Sends what the node lacks, unless an earlier delta waits for its answer.
    async fn push(&mut self) {
        if self.view.waits_since_ms().is_some() {
            return;
        }
        let target = Arc::clone(self.targets.borrow_and_update().of(self.id));
        let ahead = self.view.ahead(&target);
        let base = self.view.base(&target);
        let made = self.o.sessions.deltas.make(&self.o.policy, &base, &target, &ahead, self.o.epoch);
        if made.is_empty() {
            self.note_answered(&target, target.revision);
            return;
        }
        self.take_turn(made.bytes).await;
        self.nonce += 1;
        let mut message = made.message.clone();
        message.nonce = self.nonce;
        self.view.sent(self.nonce, Arc::clone(&target), &made.updates, &made.removals, now_ms());
        self.o.registry.progress(self.id, |progress| progress.sent_revision = target.revision);
        let counters = self.o.sessions.counters();
        count(&counters.deltas);
        counters.delta_bytes.fetch_add(made.bytes as u64, Ordering::Relaxed);
        self.send(ToNode::Policy(message));
    }

    async fn take_turn(&mut self, bytes: usize) {
        if bytes < PACED_BYTES_MIN {
            return;
        }
        let kib = u32::try_from((bytes / 1024).clamp(1, super::PACE_KIB)).unwrap_or(1);
        let turn = Arc::clone(&self.o.sessions.pace).acquire_many_owned(kib);
        self.pace = match timeout(PACE_TIME_MAX, turn).await {
            Ok(Ok(permit)) => Some((permit, Instant::now())),
            _ => None,
        };
    }

    async fn take_ack(&mut self, ack: &v1::PolicyAck) {
        let outcomes: Vec<Outcome> =
            ack.results.iter().filter_map(|result| outcome_from_wire(result).ok()).collect();
        let Some(answered) = self.view.answered(ack.nonce, &outcomes) else { return };
        self.pace = None;
        let counters = self.o.sessions.counters();
        let is_refused = |result: &&v1::ResourceResult| result.state() == v1::ResourceState::Rejected;
        let refused = ack.results.iter().filter(is_refused).count() as u64;
        counters.rejections.fetch_add(refused, Ordering::Relaxed);
        let results = self.view.results();
        let applied_hash = hash_of(&ack.applied_hash);
        self.o.registry.progress(self.id, |progress| {
            progress.take(results, &ack.results);
            progress.applied_hash = applied_hash.or(progress.applied_hash);
            progress.generation = ack.dataplane_generation;
        });
        if answered.wants_more {
            count(&counters.wholes);
        } else {
            let target = Arc::clone(&answered.target);
            self.note_answered(&target, answered.target.revision);
            if answered.is_comparable {
                self.compare(&target, applied_hash);
            }
        }
        self.push().await;
    }

    fn note_answered(&self, target: &Wanted, revision: u64) {
        self.o.registry.progress(self.id, |progress| {
            progress.sent_revision = progress.sent_revision.max(target.revision);
            progress.answered_revision = revision;
        });
        self.o.signals.rollout.notify_one();
    }

    /// A node that holds something else than its answers say (it could not keep what it had, say) tells everything
    /// anew, once for each revision.
    fn compare(&mut self, target: &Wanted, applied: Option<Hash>) {
        let differs = applied.is_some_and(|applied| applied != self.view.hash());
        if differs && self.asked_resync != target.revision {
            self.asked_resync = target.revision;
            tracing::warn!(node = %self.id, revision = target.revision, "a node holds another set than it answered");
            let kind = Some(v1::command::Kind::Resync(v1::command::Resync {}));
            self.send(ToNode::Command(v1::Command { id: 0, epoch: self.o.epoch, kind }));
        }
    }
}
