//! Use cases of fleet: nodes and orders to them.
//!
//! Owns: what is said of a node, filters and pages, orders and their answers. Does not own: the registry's memory, the
//! webhook's delivery (`fleet::scale`).

use secbeat_proto::v1;
use uuid::Uuid;

use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};
use crate::policy::Targets;
use crate::registry::{Node, Phase};
use crate::service::blocking;
use crate::service::mutation::{Record, carry_out};

mod order;
mod scale;
mod watch;

pub use order::order_nodes;
pub use scale::scale;
pub use watch::watch_nodes;

/// Nodes on one page.
pub const PAGE_MAX: u32 = 1_000;

/// Nodes, filtered by state, in the order of their UUIDs.
///
/// # Errors
/// [`Failure::Invalid`] for a page token that is none.
pub async fn list_nodes(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::ListNodesRequest,
) -> Result<v1::ListNodesResponse, Failure> {
    caller.require(Scope::Read)?;
    let after = match request.page_token.as_str() {
        "" => None,
        token => Some(
            token
                .parse::<Uuid>()
                .map_err(|_| Failure::Invalid("page_token: not one that this orchestrator gave".into()))?,
        ),
    };
    let size = if request.page_size == 0 { PAGE_MAX } else { request.page_size.min(PAGE_MAX) } as usize;
    let targets = o.policy.targets().borrow().clone();
    let nodes = o.registry.nodes();
    let is_asked =
        |node: &&Node| request.states.is_empty() || request.states.contains(&(node.phase.wire() as i32));
    let total = nodes.values().filter(is_asked).count();
    let rest = nodes.values().filter(|node| after.is_none_or(|after| node.facts.id > after));
    let mut page: Vec<v1::NodeInfo> =
        rest.filter(is_asked).take(size + 1).map(|node| info(node, &targets)).collect();
    let has_more = page.len() > size;
    page.truncate(size);
    let last = page.last().filter(|_| has_more).map(|node| node.node_id.clone());
    Ok(v1::ListNodesResponse {
        nodes: page,
        next_page_token: last.unwrap_or_default(),
        total: u32::try_from(total).unwrap_or(u32::MAX),
    })
}

/// Everything that is known of one node.
///
/// # Errors
/// [`Failure::NotFound`]; [`Failure::Invalid`] when the name fits several.
pub async fn get_node(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::GetNodeRequest,
) -> Result<v1::NodeDetail, Failure> {
    caller.require(Scope::Read)?;
    let id = o.registry.find(&request.node_id)?;
    let node = o.registry.get(id).ok_or_else(|| Failure::NotFound(format!("no node `{id}`")))?;
    let targets = o.policy.targets().borrow().clone();
    Ok(v1::NodeDetail {
        info: Some(info(&node, &targets)),
        resources: node.progress.results.values().cloned().collect(),
        samples: node.samples.wire(),
    })
}

/// What is said of a node.
pub(crate) fn info(node: &Node, targets: &Targets) -> v1::NodeInfo {
    let wanted = targets.of(node.facts.id);
    let applied = node.progress.applied_hash;
    let facts = &node.facts;
    v1::NodeInfo {
        node_id: facts.id.to_string(),
        hostname: facts.hostname.clone(),
        address: facts.address.clone(),
        state: node.phase.wire() as i32,
        is_connected: node.is_connected(),
        version: facts.version.clone(),
        mode: facts.mode.clone(),
        driver: facts.driver.clone(),
        registered_ms: facts.registered_ms,
        last_seen_ms: node.last_seen_ms,
        started_ms: facts.started_ms,
        is_in_sync: applied == Some(wanted.hash()),
        applied_hash: applied.map(|hash| hash.0.to_vec()).unwrap_or_default(),
        wanted_hash: wanted.hash().0.to_vec(),
        applied_revision: node.progress.answered_revision,
        load: node.load.as_ref().map(|(_, load)| *load),
        clock_skew_ms: node.clock_skew_ms,
        events_lost: node.events_lost.values().sum(),
        dataplane_generation: node.progress.generation,
        labels: facts.labels.clone(),
        rejected: u32::try_from(node.refusals().count()).unwrap_or(u32::MAX),
    }
}

/// The fleet as a whole.
///
/// # Errors
/// [`Failure::Denied`].
pub async fn get_fleet_stats(
    o: &Orchestrator,
    caller: &Caller,
    _request: v1::GetFleetStatsRequest,
) -> Result<v1::FleetStats, Failure> {
    caller.require(Scope::Read)?;
    let targets = o.policy.targets().borrow().clone();
    let nodes = o.registry.nodes();
    let events = o.events.numbers();
    let mut stats = v1::FleetStats {
        bans: o.bans.numbers().active as u64,
        events_stored: events.stored,
        events_lost: events.lost,
        policy_revision: targets.newest.revision,
        uptime_ms: u64::try_from(o.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..v1::FleetStats::default()
    };
    let mut sum = v1::NodeLoad::default();
    let mut loads = 0_u32;
    for node in nodes.values() {
        stats.nodes_total += 1;
        match node.phase {
            Phase::Starting => stats.nodes_starting += 1,
            Phase::Active => stats.nodes_active += 1,
            Phase::Draining => stats.nodes_draining += 1,
            Phase::Dead => stats.nodes_dead += 1,
        }
        if !node.is_connected() {
            continue;
        }
        stats.nodes_connected += 1;
        stats.nodes_in_sync +=
            u32::from(node.progress.applied_hash == Some(targets.of(node.facts.id).hash()));
        if let Some((_, load)) = &node.load {
            loads += 1;
            add(&mut sum, load);
        }
    }
    let mean = f64::from(loads.max(1));
    sum.cpu_percent /= mean;
    sum.validated_drop_share /= mean;
    sum.server_error_share /= mean;
    stats.attacks_active = sum.attacks_active;
    stats.load = Some(sum);
    Ok(stats)
}

fn add(sum: &mut v1::NodeLoad, load: &v1::NodeLoad) {
    sum.cpu_percent += load.cpu_percent;
    sum.memory_bytes = sum.memory_bytes.saturating_add(load.memory_bytes);
    sum.connections = sum.connections.saturating_add(load.connections);
    sum.requests_per_second += load.requests_per_second;
    sum.packets_per_second += load.packets_per_second;
    sum.bits_per_second_in += load.bits_per_second_in;
    sum.bits_per_second_out += load.bits_per_second_out;
    sum.drops_per_second += load.drops_per_second;
    sum.validated_drop_share += load.validated_drop_share;
    sum.server_error_share += load.server_error_share;
    sum.attacks_active = sum.attacks_active.saturating_add(load.attacks_active);
}

/// Who this is, and what the caller may do.
///
/// # Errors
/// None today.
pub async fn get_server_info(
    o: &Orchestrator,
    caller: &Caller,
    _request: v1::GetServerInfoRequest,
) -> Result<v1::ServerInfo, Failure> {
    Ok(v1::ServerInfo {
        orchestrator_id: o.id.to_string(),
        version: env!("CARGO_PKG_VERSION").into(),
        started_ms: o.started_ms,
        store_schema: u64::from(crate::store::SCHEMA),
        store_bytes: o.store.size_bytes()?,
        principal: caller.name.clone(),
        scopes: caller.scopes.iter().map(|scope| scope.word().to_owned()).collect(),
    })
}

/// Forgets dead nodes, old events, ended bans, old revisions.
///
/// # Errors
/// When the store cannot write.
pub async fn cleanup(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::CleanupRequest,
) -> Result<v1::CleanupResponse, Failure> {
    caller.require(Scope::FleetWrite)?;
    let mutation = request.mutation.clone().unwrap_or_default();
    let change = async {
        let dead = o.registry.dead_before(now_ms().saturating_sub(request.dead_for_ms));
        let mut response = v1::CleanupResponse::default();
        if mutation.dry_run {
            response.nodes_removed = dead.len() as u64;
        } else {
            response.nodes_removed = o.registry.forget(&dead)?;
            let turn = o.policy.begin().await;
            response.revisions_removed = o.policy.retain(&turn)?;
            drop(turn);
            let kept_ms = match request.events_older_than_ms {
                0 => u64::try_from(o.config.storage.retention_events.as_millis()).unwrap_or(u64::MAX),
                older_than_ms => older_than_ms,
            };
            let events = o.events.clone();
            let before_ms = now_ms().saturating_sub(kept_ms);
            response.events_removed = blocking(move || events.remove_old(before_ms)).await?;
        }
        let names: Vec<String> = dead.iter().map(Uuid::to_string).collect();
        let record = Record { target: "fleet".into(), before: names.join(" "), after: String::new() };
        Ok((response, record))
    };
    carry_out(o, caller, "fleet.cleanup", &mutation, &request, change).await
}
