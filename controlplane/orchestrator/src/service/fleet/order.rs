//! Orders to nodes, and their answers.

use std::time::Duration;

use secbeat_proto::v1;
use secbeat_proto::v1::command::Kind;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;
use crate::service::mutation::{Record, carry_out};

/// Nodes of one request.
const NODES_MAX: usize = 1_000;
/// Longest wait for answers, milliseconds: a drain finishes connections first.
const WAIT_MS_MAX: u64 = 600_000;

/// Drains, restarts or reloads nodes. Each is answered for alone: one that is away does not keep the others from it.
///
/// # Errors
/// [`Failure::NotFound`] when a node is not known; then nobody got the order.
pub async fn order_nodes(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::OrderNodesRequest,
) -> Result<v1::OrderNodesResponse, Failure> {
    caller.require(Scope::FleetWrite)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    let change = async {
        let kind = request.command.and_then(|command| command.kind);
        let kind =
            kind.ok_or_else(|| Failure::Invalid("command: which? drain, restart, reload, resync".into()))?;
        let nodes = nodes(o, &request)?;
        let record = Record { target: names(&nodes), before: String::new(), after: word(&kind) };
        if mutation.dry_run {
            return Ok((v1::OrderNodesResponse { results: would(o, &nodes) }, record));
        }
        let results = give(o, &nodes, kind, request.wait_ms).await;
        Ok((v1::OrderNodesResponse { results }, record))
    };
    carry_out(o, caller, "fleet.order", &mutation, &request, change).await
}

fn nodes(o: &Orchestrator, request: &v1::OrderNodesRequest) -> Result<Vec<Uuid>, Failure> {
    if request.node_ids.is_empty() || request.node_ids.len() > NODES_MAX {
        return Err(Failure::Invalid(format!(
            "node_ids: {} nodes; give 1 to {NODES_MAX}",
            request.node_ids.len()
        )));
    }
    if request.wait_ms > WAIT_MS_MAX {
        return Err(Failure::Invalid(format!(
            "wait_ms: {} is out of range: must be 0 to {WAIT_MS_MAX} milliseconds",
            request.wait_ms
        )));
    }
    let found: Result<Vec<Uuid>, Failure> =
        request.node_ids.iter().map(|name| o.registry.find(name)).collect();
    let mut found = found?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn names(nodes: &[Uuid]) -> String {
    nodes.iter().map(|id| format!("node {id}")).collect::<Vec<_>>().join(", ")
}

fn word(kind: &Kind) -> String {
    match kind {
        Kind::Drain(drain) if drain.stop => "drain and stop".into(),
        Kind::Drain(_) => "drain".into(),
        Kind::Restart(restart) if restart.now => "restart now".into(),
        Kind::Restart(_) => "restart".into(),
        Kind::Reload(_) => "reload".into(),
        Kind::Resync(_) => "resync".into(),
    }
}

fn would(o: &Orchestrator, nodes: &[Uuid]) -> Vec<v1::OrderResult> {
    let connected = o.sessions.connected();
    let result = |id: &Uuid| {
        let node_id = id.to_string();
        let is_ok = connected.contains(&node_id);
        let message = if is_ok { "would get the order" } else { "the node is not connected" };
        v1::OrderResult { node_id, is_ok, message: message.into() }
    };
    nodes.iter().map(result).collect()
}

async fn give(o: &Orchestrator, nodes: &[Uuid], kind: Kind, wait_ms: u64) -> Vec<v1::OrderResult> {
    let mut waiting = JoinSet::new();
    for id in nodes {
        let sent = o.sessions.order(*id, o.epoch, kind);
        let node_id = id.to_string();
        waiting.spawn(async move {
            let (is_ok, message) = match sent {
                Err(failure) => (false, failure.to_string()),
                Ok(_) if wait_ms == 0 => (true, "sent".to_owned()),
                Ok(answer) => match timeout(Duration::from_millis(wait_ms), answer).await {
                    Ok(Ok(result)) => (result.is_ok, result.message),
                    Ok(Err(_)) => (false, "the stream ended before the answer".to_owned()),
                    Err(_) => (false, format!("no answer in {wait_ms} ms")),
                },
            };
            v1::OrderResult { node_id, is_ok, message }
        });
    }
    let mut results = waiting.join_all().await;
    results.sort_by(|a, b| a.node_id.cmp(&b.node_id));
    results
}
