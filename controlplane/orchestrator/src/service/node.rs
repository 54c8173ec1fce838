//! Use cases of node: the stream, and what comes over it.
//!
//! Owns: who a stream is, which protocol is spoken, where events, hits and bans go. Does not own: the stream's task
//! (`session`), certificates (`enrol`).

use std::sync::Arc;

use secbeat_proto::v1::orchestrator_message::Kind;
use secbeat_proto::{PROTOCOL, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use crate::access::revoked::What;
use crate::api::auth::node_of;
use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};
use crate::service::Stream;
use crate::session::stream::{Peer, run};
use crate::session::{Handle, OUTGOING_MAX};

/// The oldest protocol that is still spoken.
pub const PROTOCOL_MIN: u32 = 1;
/// Time between reports of load and metrics that nodes are told, milliseconds.
pub const TELEMETRY_INTERVAL_MS: u64 = 1_000;
/// Events per second that are taken from one node: 200 nodes of it are four times what the store takes; a node
/// aggregates beyond.
pub const EVENTS_PER_SECOND_MAX: u32 = 1_000;

/// Opens a node's stream. The answer comes at once; the node's greeting is awaited by the stream itself.
///
/// # Errors
/// [`Failure::Denied`] for who is no node.
pub async fn attach(
    o: &Orchestrator,
    caller: &Caller,
    incoming: Stream<v1::NodeMessage>,
) -> Result<Stream<v1::OrchestratorMessage>, Failure> {
    caller.require(Scope::Node)?;
    if node_of(caller).is_none() && caller.name != "loopback" {
        return Err(Failure::Denied(
            "a node shows its certificate; a token does not say which node it is".into(),
        ));
    }
    let (outgoing, answers) = mpsc::channel(OUTGOING_MAX);
    let peer = Peer { caller: caller.clone(), address: caller.source.clone() };
    tokio::spawn(run(o.clone(), peer, incoming, outgoing));
    Ok(Box::pin(ReceiverStream::new(answers)))
}

/// The node that a greeting names: it must be the one of the certificate. On an open loopback the greeting is believed.
pub(crate) fn identify(caller: &Caller, hello: &v1::Hello) -> Result<Uuid, Failure> {
    let id = hello.node_id.parse::<Uuid>().map_err(|error| {
        let given: String = hello.node_id.chars().take(80).collect();
        Failure::Invalid(format!("`{given}` is not a UUID: {error}"))
    })?;
    match node_of(caller) {
        Some(certified) if certified != id.to_string() => {
            Err(Failure::Denied(format!("the certificate is of node {certified}, the greeting of node {id}")))
        }
        _ => Ok(id),
    }
}

/// The protocol that both speak. A newer node speaks ours, an older one as long as it is at least
/// [`PROTOCOL_MIN`].
pub(crate) fn protocol(hello: &v1::Hello) -> Result<u32, Failure> {
    if hello.protocol < PROTOCOL_MIN {
        return Err(Failure::Refused(format!(
            "the node speaks protocol {}; at least {PROTOCOL_MIN} is needed: upgrade secbeat-node",
            hello.protocol
        )));
    }
    Ok(hello.protocol.min(PROTOCOL))
}

/// The answer to a greeting.
pub(crate) fn welcome(o: &Orchestrator, protocol: u32) -> v1::Welcome {
    let interval = o.config.fleet.heartbeat_interval;
    v1::Welcome {
        protocol,
        orchestrator_id: o.id.to_string(),
        heartbeat_interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
        telemetry_interval_ms: TELEMETRY_INTERVAL_MS,
        events_per_second_max: EVENTS_PER_SECOND_MAX,
        now_ms: now_ms(),
        epoch: o.epoch,
    }
}

/// Compares the node's ban list with ours and sends all of ours when they differ; the node answers with what we lack.
pub(crate) fn greet_bans(o: &Orchestrator, id: Uuid, hello: &v1::Hello, handle: &Arc<Handle>) {
    if o.bans.greet(id, &hello.bans_digest) {
        send_bans(o, handle);
    }
}

/// Sends the whole list, part by part, as fast as the node takes them.
fn send_bans(o: &Orchestrator, handle: &Arc<Handle>) {
    let (o, handle) = (o.clone(), Arc::clone(handle));
    tokio::spawn(async move {
        let mut last = None;
        loop {
            let (part, next) = o.bans.part(last);
            if !handle.send_waiting(Kind::Bans(part)).await || next.is_none() {
                return;
            }
            last = next;
        }
    });
}

/// Merges what a node knows of bans and hands it to the others.
pub(crate) async fn take_bans(o: &Orchestrator, id: Uuid, delta: v1::BanDelta, handle: &Arc<Handle>) {
    match o.bans.receive(&o.sessions, id, delta).await {
        Ok(true) => send_bans(o, handle),
        Ok(false) => {}
        // The entries hold here and the node still has them: the next exchange keeps them.
        Err(failure) => tracing::error!(node = %id, %failure, "bans of a node were not kept"),
    }
}

/// Keeps how often bans hit on a node.
pub(crate) fn take_hits(o: &Orchestrator, id: Uuid, telemetry: &v1::Telemetry) {
    o.bans.report(id, &telemetry.ban_hits);
}

/// A stream ended.
pub(crate) fn farewell(o: &Orchestrator, id: Uuid) {
    o.bans.farewell(id);
}

/// Why a node with an open stream is let in no more.
pub(crate) fn turned_away(o: &Orchestrator, id: Uuid) -> Option<Failure> {
    o.access.revoked.entry(&What::Node(id)).map(|_| Failure::Denied(format!("node {id} is revoked")))
}

/// Takes events in; acknowledged once they are stored. Waits while the store is behind: the node then waits, too.
pub(crate) async fn take_events(o: &Orchestrator, id: Uuid, batch: v1::EventBatch, handle: &Arc<Handle>) {
    o.registry.with(id, |node| node.events_lost.clone_from(&batch.lost));
    let sequence = batch.sequence;
    let receipt = o.events.ingest(&id.to_string(), batch).await;
    let handle = Arc::clone(handle);
    tokio::spawn(async move {
        // Not stored means not acknowledged: the node sends it again.
        if let Ok(Ok(())) = receipt.await {
            handle.send_waiting(Kind::EventAck(v1::EventAck { sequence })).await;
        }
    });
}
