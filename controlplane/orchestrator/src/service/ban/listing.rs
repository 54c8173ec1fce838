//! Looking at bans: pages and a watch.

use std::collections::BTreeSet;

use ipnet::IpNet;
use secbeat_config::ban::{Entry, Origin};
use secbeat_proto::v1;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::prefix_of;
use crate::ban::{DECIDED_PER_LOCK, NodeHits};
use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::{Orchestrator, now_ms};
use crate::service::Stream;

/// Bans of a page that names no size.
pub const PAGE_SIZE: u32 = 100;

/// Bans of a page at most; a larger wish gets this.
pub const PAGE_SIZE_MAX: u32 = 1_000;

/// Entries of one message of a snapshot.
const SNAPSHOT_ENTRIES_MAX: usize = 2_000;

/// Bans in force, by prefix.
///
/// # Errors
/// `Denied`; `Invalid` when the token or the address cannot be read.
pub async fn list_bans(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::ListBansRequest,
) -> Result<v1::ListBansResponse, Failure> {
    caller.require(Scope::Read)?;
    let count_max = match request.page_size {
        0 => PAGE_SIZE,
        size => size.min(PAGE_SIZE_MAX),
    } as usize;
    let touching = (!request.touching.is_empty()).then(|| prefix_of(&request.touching)).transpose()?;
    let origins: Vec<Origin> = request.origins().map(Origin::from).collect();
    let last = match request.page_token.as_str() {
        "" => None,
        token => Some(prefix_of(token).map_err(|_| {
            let shown: String = token.chars().take(60).collect();
            Failure::Invalid(format!("page_token: `{shown}` is none that was given"))
        })?),
    };
    let (mut entries, outer) = match touching {
        Some(prefix) => (wider(o, prefix, last, &origins), Some(prefix)),
        None => (Vec::new(), None),
    };
    // A token beyond the wider ones begins inside.
    let total = match touching {
        Some(prefix) => wider(o, prefix, None, &origins).len() + count_within(o, prefix, &origins).await,
        None => o.bans.look(|replica| replica.active_len(&origins)),
    };
    // As many wider ones as the page may have, or more: the next page goes on after them.
    entries.truncate(count_max);
    let mut next = entries.last().map(|entry| entry.prefix).or(last);
    let mut is_complete = false;
    while entries.len() < count_max && !is_complete {
        let left = count_max - entries.len();
        let page = page(o, next, outer, &origins, left);
        entries.extend(page.entries);
        is_complete = page.next.is_none();
        next = page.next;
        // Millions of entries may lie between two that match: others shall run, too.
        tokio::task::yield_now().await;
    }
    let next = next.filter(|_| !is_complete);
    let connected = connected(o);
    let shown = |entry| shown_among(o, &connected, entry, request.with_nodes);
    let bans = entries.into_iter().map(shown).collect();
    let next_page_token = next.map(|prefix| prefix.to_string()).unwrap_or_default();
    Ok(v1::ListBansResponse { bans, next_page_token, total: total as u64 })
}

/// Bans in force that cover a prefix and are wider, after `last`.
fn wider(o: &Orchestrator, prefix: IpNet, last: Option<IpNet>, origins: &[Origin]) -> Vec<Entry> {
    let mut wider = o.bans.covering(prefix);
    wider.retain(|entry| {
        entry.prefix != prefix
            && last.is_none_or(|last| entry.prefix > last)
            && (origins.is_empty() || origins.contains(&entry.origin))
    });
    wider
}

/// Bans in force in a prefix.
async fn count_within(o: &Orchestrator, prefix: IpNet, origins: &[Origin]) -> usize {
    let (mut count, mut last) = (0, None);
    loop {
        let page = page(o, last, Some(prefix), origins, DECIDED_PER_LOCK);
        count += page.entries.len();
        last = page.next;
        if last.is_none() {
            return count;
        }
        tokio::task::yield_now().await;
    }
}

fn page(
    o: &Orchestrator,
    last: Option<IpNet>,
    outer: Option<IpNet>,
    origins: &[Origin],
    count_max: usize,
) -> secbeat_config::ban::Page {
    let count_max = count_max.clamp(1, DECIDED_PER_LOCK);
    o.bans.look(|replica| replica.page(last, outer, origins, count_max, DECIDED_PER_LOCK * 4, now_ms()))
}

/// Nodes with an open stream.
fn connected(o: &Orchestrator) -> BTreeSet<Uuid> {
    o.sessions.connected().iter().filter_map(|id| id.parse().ok()).collect()
}

/// Nodes connected, and how many of them enforce a ban.
pub(super) fn enforcement(o: &Orchestrator, prefix: &IpNet) -> (usize, usize) {
    let connected = connected(o);
    let enforcing = enforcing(&connected, &o.bans.hits_of(prefix));
    (connected.len(), enforcing)
}

fn enforcing(connected: &BTreeSet<Uuid>, hits: &[NodeHits]) -> usize {
    hits.iter().filter(|hit| hit.is_enforced && connected.contains(&hit.node)).count()
}

/// A ban with its enforcement.
pub(in crate::service) fn shown(o: &Orchestrator, entry: Entry, with_nodes: bool) -> v1::Ban {
    shown_among(o, &connected(o), entry, with_nodes)
}

fn shown_among(o: &Orchestrator, connected: &BTreeSet<Uuid>, entry: Entry, with_nodes: bool) -> v1::Ban {
    let hits = o.bans.hits_of(&entry.prefix);
    let node = |hit: &NodeHits| v1::NodeBanHits {
        node_id: hit.node.to_string(),
        is_enforced: hit.is_enforced,
        packets: hit.packets,
    };
    v1::Ban {
        entry: Some(entry.into()),
        nodes_connected: u32::try_from(connected.len()).unwrap_or(u32::MAX),
        nodes_enforcing: u32::try_from(enforcing(connected, &hits)).unwrap_or(u32::MAX),
        hits: hits.iter().fold(0, |sum: u64, hit| sum.saturating_add(hit.packets)),
        nodes: if with_nodes { hits.iter().map(node).collect() } else { Vec::new() },
    }
}

/// Bans in force in parts, a bookmark, then every change: new bans, lifts. An end is in the ban itself.
///
/// # Errors
/// `Denied`.
pub async fn watch_bans(
    o: &Orchestrator,
    caller: &Caller,
    _request: v1::WatchBansRequest,
) -> Result<Stream<v1::BanEvent>, Failure> {
    caller.require(Scope::Read)?;
    // Subscribed first: what changes between both comes twice rather than never.
    let mut changes = o.bans.changes();
    let (sender, receiver) = mpsc::channel(4);
    let o = o.clone();
    tokio::spawn(async move {
        if snapshot(&o, &sender).await.is_err() {
            return;
        }
        loop {
            let change = tokio::select! {
                () = sender.closed() => return,
                change = changes.recv() => change,
            };
            let event = match change {
                Ok(entries) => v1::BanEvent { entries: entries.to_vec(), ..Default::default() },
                // Messages of at least one entry: a lower bound.
                Err(RecvError::Lagged(messages)) => v1::BanEvent { lost: messages, ..Default::default() },
                Err(RecvError::Closed) => return,
            };
            if sender.send(Ok(event)).await.is_err() {
                return;
            }
        }
    });
    Ok(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver)))
}

type Events = mpsc::Sender<Result<v1::BanEvent, Failure>>;

/// Everything in force, then the bookmark. Fails when nobody listens any more.
async fn snapshot(
    o: &Orchestrator,
    sender: &Events,
) -> Result<(), mpsc::error::SendError<Result<v1::BanEvent, Failure>>> {
    let mut last = None;
    let mut entries = Vec::new();
    loop {
        let page = page(o, last, None, &[], DECIDED_PER_LOCK);
        entries.extend(page.entries.into_iter().map(v1::BanEntry::from));
        last = page.next;
        if entries.len() >= SNAPSHOT_ENTRIES_MAX {
            let entries = core::mem::take(&mut entries);
            sender.send(Ok(v1::BanEvent { entries, ..Default::default() })).await?;
        }
        if last.is_none() {
            return sender.send(Ok(v1::BanEvent { entries, bookmark: true, lost: 0 })).await;
        }
    }
}
