//! One stream with an orchestrator, from Hello to its end.
//!
//! Owns: what is said when, and that nothing waits for anything else: reading goes on while a policy is applied, and
//! a slow reader at the other end delays numbers, never acknowledgements. Does not own: connecting (`connect`), what a
//! policy does (`policy`), the rest's form on the wire (`events`, `telemetry`, `exchange`).
//!
//! ```text
//!   stream --> deltas waiting --(thread)--> acknowledgements --.
//!          --> bans waiting   --(thread)--> answers -----------+--> urgent (never lost) --> channel --> stream
//!   timers --> heartbeat, numbers (left out when the channel is full), events (wait in their queue)
//! ```

mod work;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use secbeat_proto::v1;
use secbeat_proto::v1::node_message::Kind as Up;
use secbeat_proto::v1::orchestrator_message::Kind as Down;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::Context;
use super::connect::{Connected, explain};
use super::events::{Events, millis};
use super::exchange::{self, Exchange, PART_ENTRIES_MAX};
use super::link::Numbers;
use super::telemetry::Encoder;
use crate::api::SecurityEvent;
use crate::api::events::{Class, Level};
use work::Done;

/// Messages between this loop and the stream. Small: what waits here can no longer be left out.
const CHANNEL_MESSAGES: usize = 8;

/// Answers that wait because the other end does not read. More: nothing is read from it either.
const URGENT_MAX: usize = 256;

/// Changes of policy that wait while one is applied; they are then applied together. More: nothing is read.
const DELTAS_WAITING_MAX: usize = 64;

/// Parts of ban lists that wait while one is merged. More: nothing is read.
const BANS_WAITING_MAX: usize = 64;

/// How long events are gathered before they are sent.
const EVENTS_GATHERED: Duration = Duration::from_millis(200);

/// Bounds for what an orchestrator may ask for.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);

/// How a stream ended.
#[derive(Debug)]
pub(super) enum End {
    /// The agent was told to stop.
    Stopped,
    /// A new stream is to begin at once: the certificate is due.
    Again,
    /// The connection, or what came over it, was no good.
    Lost {
        /// Why.
        error: String,
        /// Whether it had worked before.
        was_welcome: bool,
    },
}

/// What happened.
enum Step {
    Stop,
    Done(Result<Done, tokio::task::JoinError>),
    Message(Result<Option<v1::OrchestratorMessage>, tonic::Status>),
    Heartbeat,
    Telemetry,
    Link,
    Flush,
    Renew,
    Sent,
}

/// A stream.
pub(super) struct Session<'a> {
    context: &'a Context,
    out: mpsc::Sender<v1::NodeMessage>,
    urgent: VecDeque<Up>,
    jobs: JoinSet<Done>,
    deltas: VecDeque<v1::PolicyDelta>,
    is_applying: bool,
    bans: VecDeque<v1::BanDelta>,
    is_merging: bool,
    exchange: Option<Exchange>,
    events: Events,
    events_lost: BTreeMap<String, u64>,
    flush_at: Option<Instant>,
    telemetry: Encoder,
    is_reading: bool,
    heartbeats_missed: u8,
    node_id: String,
    was_welcome: bool,
}

impl<'a> Session<'a> {
    /// Speaks until the end.
    pub(super) async fn run(context: &'a Context, connected: Connected) -> End {
        let (out, messages) = mpsc::channel(CHANNEL_MESSAGES);
        let mut session = Session {
            context,
            out,
            urgent: VecDeque::new(),
            jobs: JoinSet::new(),
            deltas: VecDeque::new(),
            is_applying: false,
            bans: VecDeque::new(),
            is_merging: false,
            exchange: Some(Exchange::default()),
            events: Events::new(0, Instant::now()),
            events_lost: BTreeMap::new(),
            flush_at: None,
            telemetry: Encoder::default(),
            is_reading: false,
            heartbeats_missed: 0,
            node_id: context.settings.node_id.to_string(),
            was_welcome: false,
        };
        let end = session.speak(connected, messages).await;
        session.events.give_back(context.host.link());
        // What was begun is finished: a policy half held would be worse than a late reconnection.
        while session.jobs.join_next().await.is_some() {}
        match end {
            Ok(end) => end,
            Err(error) => End::Lost { error, was_welcome: session.was_welcome },
        }
    }

    async fn speak(
        &mut self,
        connected: Connected,
        messages: mpsc::Receiver<v1::NodeMessage>,
    ) -> Result<End, String> {
        let Connected { mut client, renew_at } = connected;
        let hello = work::hello(self.context, &self.node_id);
        // There is room: the channel is new.
        let _ = self.out.try_send(message(Up::Hello(hello)));
        let timeout = self.context.settings.connect_timeout;
        let late = |_| format!("no answer within {timeout:?}");
        let attach = client.attach(ReceiverStream::new(messages));
        let answer = tokio::time::timeout(timeout, attach).await.map_err(late)?;
        let mut incoming = answer.map_err(|status| explain(&status))?.into_inner();
        let first = tokio::time::timeout(timeout, incoming.message()).await.map_err(late)?;
        let welcome = match first.map_err(|status| explain(&status))?.and_then(|message| message.kind) {
            Some(Down::Welcome(welcome)) => welcome,
            _ => return Err("the orchestrator did not begin with a welcome".into()),
        };
        self.welcome(&welcome)?;
        let telemetry = duration(welcome.telemetry_interval_ms, self.context.settings.telemetry_interval);
        let heartbeat = duration(welcome.heartbeat_interval_ms, self.context.settings.heartbeat_interval);
        let renew = renew_at.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
        let renew = renew.map(|wait| Instant::now() + wait);
        self.turn(&mut incoming, ticks(heartbeat), ticks(telemetry), renew).await
    }

    async fn turn(
        &mut self,
        incoming: &mut Streaming<v1::OrchestratorMessage>,
        mut heartbeat: Interval,
        mut telemetry: Interval,
        renew: Option<Instant>,
    ) -> Result<End, String> {
        let link = Arc::clone(self.context.host.link());
        loop {
            let may_read = self.urgent.len() < URGENT_MAX
                && self.deltas.len() < DELTAS_WAITING_MAX
                && self.bans.len() < BANS_WAITING_MAX;
            let flush_at = self.flush_at;
            let step = tokio::select! {
                biased;
                () = link.stop.notified() => Step::Stop,
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => Step::Done(done),
                permit = self.out.reserve(), if !self.urgent.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(kind) = self.urgent.pop_front() {
                            permit.send(message(kind));
                        }
                        Step::Sent
                    }
                    // The stream is gone; reading from it tells why.
                    Err(_) => Step::Message(incoming.message().await),
                },
                _ = heartbeat.tick() => Step::Heartbeat,
                _ = telemetry.tick() => Step::Telemetry,
                () = sleep_until(flush_at), if flush_at.is_some() => Step::Flush,
                () = sleep_until(renew), if renew.is_some() => Step::Renew,
                () = link.wake.notified() => Step::Link,
                message = incoming.message(), if may_read => Step::Message(message),
            };
            match step {
                // What found no room among the answers before.
                Step::Sent if self.urgent.is_empty() && link.has_bans() => self.handle_link(),
                Step::Sent => {}
                Step::Stop => return Ok(End::Stopped),
                Step::Renew => return Ok(End::Again),
                Step::Done(Ok(done)) => self.handle_done(done),
                Step::Done(Err(error)) => return Err(format!("the agent's work failed: {error}")),
                Step::Message(Ok(Some(message))) => self.handle_message(message)?,
                Step::Message(Ok(None)) => return Err("the orchestrator closed the stream".into()),
                Step::Message(Err(status)) => return Err(explain(&status)),
                Step::Heartbeat => self.heartbeat()?,
                Step::Telemetry => self.begin_telemetry(),
                Step::Flush => self.flush_events(),
                Step::Link => self.handle_link(),
            }
        }
    }

    fn welcome(&mut self, welcome: &v1::Welcome) -> Result<(), String> {
        let host = &self.context.host;
        if welcome.protocol > secbeat_proto::PROTOCOL {
            return Err(format!(
                "the orchestrator insists on protocol {}, this node speaks {}: upgrade the node",
                welcome.protocol,
                secbeat_proto::PROTOCOL
            ));
        }
        let mut policy = self.context.policy.lock().unwrap_or_else(PoisonError::into_inner);
        if !policy.adopt_epoch(welcome.epoch, host.as_ref()) {
            return Err(format!(
                "the orchestrator leads by epoch {}, but this node has seen {}: it was replaced, or restored from an \
                 old backup",
                welcome.epoch,
                policy.epoch()
            ));
        }
        let refusals = policy.refusals();
        let (revision, epoch) = (policy.revision(), policy.epoch());
        drop(policy);
        self.was_welcome = true;
        self.events = Events::new(welcome.events_per_second_max, Instant::now());
        let link = host.link();
        Numbers::add(&link.numbers.connections, 1);
        link.change_status(|status| {
            status.connected = true;
            status.since = Some(SystemTime::now());
            status.orchestrator_id.clone_from(&welcome.orchestrator_id);
            (status.revision, status.epoch) = (revision, epoch);
            status.last_error = None;
        });
        let event = SecurityEvent::new(Class::Policy, Level::Info, "agent", "orchestrator_found");
        host.record(event.with("orchestrator", welcome.orchestrator_id.as_str()).with("epoch", epoch));
        if !refusals.is_empty() {
            self.acknowledge_unasked(&refusals);
        }
        self.handle_link();
        Ok(())
    }

    fn handle_message(&mut self, message: v1::OrchestratorMessage) -> Result<(), String> {
        match message.kind {
            Some(Down::Policy(delta)) => {
                self.deltas.push_back(delta);
                self.begin_apply();
            }
            Some(Down::Bans(delta)) => {
                self.bans.push_back(delta);
                self.begin_merge();
            }
            Some(Down::Command(command)) => self.begin_command(command),
            Some(Down::EventAck(ack)) => {
                self.events.acknowledge(ack.sequence, self.context.host.link());
                if self.context.host.link().events_waiting() > 0 {
                    self.flush_events();
                }
            }
            Some(Down::Welcome(_)) => return Err("a second welcome on one stream".into()),
            None => Numbers::add(&self.context.host.link().numbers.messages_unknown, 1),
        }
        Ok(())
    }

    /// The node has something for the orchestrator.
    fn handle_link(&mut self) {
        let host = Arc::clone(&self.context.host);
        let link = host.link();
        if link.events_waiting() > 0 && self.flush_at.is_none() {
            self.flush_at = Some(Instant::now() + EVENTS_GATHERED);
        }
        while link.has_bans() && self.urgent.len() < URGENT_MAX {
            let (changes, is_incomplete) = link.take_bans(PART_ENTRIES_MAX);
            if is_incomplete {
                self.begin_whole();
            }
            if changes.is_empty() {
                break;
            }
            self.urgent.extend(exchange::parts(&changes, false, host.as_ref()).into_iter().map(Up::Bans));
        }
        if let Some(rejected) = link.take_rejected() {
            self.begin_note(rejected);
        }
    }

    fn heartbeat(&mut self) -> Result<(), String> {
        let now = self.context.host.condition();
        let heartbeat = v1::Heartbeat {
            now_ms: millis(SystemTime::now()),
            phase: now.phase.to_owned(),
            applied_hash: now.applied_hash.0.to_vec(),
            dataplane_generation: now.generation,
        };
        self.context.host.link().set_applied(&now.applied_hash);
        if self.out.try_send(message(Up::Heartbeat(heartbeat))).is_ok() {
            self.heartbeats_missed = 0;
            return Ok(());
        }
        self.heartbeats_missed = self.heartbeats_missed.saturating_add(1);
        if self.heartbeats_missed >= self.context.settings.heartbeats_missed_max {
            return Err(format!("{} heartbeats in a row could not be sent", self.heartbeats_missed));
        }
        Ok(())
    }

    fn flush_events(&mut self) {
        self.flush_at = None;
        let link = self.context.host.link();
        let now = Instant::now();
        while let Ok(permit) = self.out.try_reserve() {
            let batch = self.events.batch(link, &self.events_lost, &self.node_id, now);
            match batch {
                Some(batch) => permit.send(message(Up::Events(batch))),
                None => break,
            }
        }
        if link.events_waiting() > 0 {
            self.flush_at = Some(now + EVENTS_GATHERED);
        }
    }
}

fn message(kind: Up) -> v1::NodeMessage {
    v1::NodeMessage { kind: Some(kind) }
}

/// What the orchestrator asks for, within bounds; 0: our own.
fn duration(millis: u64, own: Duration) -> Duration {
    if millis == 0 { own } else { Duration::from_millis(millis).clamp(INTERVAL_MIN, INTERVAL_MAX) }
}

/// Ticks with a first one at a random moment, so that the nodes of a fleet do not all speak at once.
fn ticks(period: Duration) -> Interval {
    let first = Instant::now() + period.mul_f64(super::backoff::random_share());
    let mut interval = interval_at(first, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => core::future::pending().await,
    }
}
