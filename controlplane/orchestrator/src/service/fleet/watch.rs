//! Nodes as they change.

use std::collections::BTreeSet;
use std::time::Duration;

use secbeat_proto::v1;
use secbeat_proto::v1::node_event::Kind;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::info;
use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;
use crate::registry::Change;
use crate::service::Stream;

/// Messages that wait for one watcher.
const QUEUED_MAX: usize = 64;
/// Changes are gathered for this long: a node that reports every second is one message a second at most.
const GATHER: Duration = Duration::from_millis(200);

/// Snapshot, bookmark, changes. A watcher that is slow gets the snapshot anew, and how many changes it missed.
///
/// # Errors
/// [`Failure::Denied`].
pub async fn watch_nodes(
    o: &Orchestrator,
    caller: &Caller,
    _request: v1::WatchNodesRequest,
) -> Result<Stream<v1::NodeEvent>, Failure> {
    caller.require(Scope::Read)?;
    let (sender, receiver) = mpsc::channel(QUEUED_MAX);
    let o = o.clone();
    tokio::spawn(async move {
        tokio::select! {
            // Nobody listens any more: also when nothing changes.
            () = sender.closed() => {}
            _ = follow(&o, &sender) => {}
        }
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

type Sender = mpsc::Sender<Result<v1::NodeEvent, Failure>>;

async fn follow(o: &Orchestrator, sender: &Sender) -> Option<()> {
    let mut changes = o.registry.subscribe();
    let mut lost = 0;
    snapshot(o, sender, lost).await?;
    loop {
        match changes.recv().await {
            Ok(first) => {
                sleep(GATHER).await;
                match gather(first, &mut changes) {
                    Ok(gathered) => tell(o, sender, gathered, lost).await?,
                    Err(missed) => {
                        lost += missed;
                        snapshot(o, sender, lost).await?;
                    }
                }
            }
            Err(RecvError::Lagged(missed)) => {
                lost += missed;
                snapshot(o, sender, lost).await?;
            }
            Err(RecvError::Closed) => return None,
        }
    }
}

fn gather(first: Change, changes: &mut Receiver<Change>) -> Result<BTreeSet<Uuid>, u64> {
    use tokio::sync::broadcast::error::TryRecvError;
    let id = |change: Change| match change {
        Change::Changed(id) | Change::Removed(id) => id,
    };
    let mut gathered = BTreeSet::from([id(first)]);
    loop {
        match changes.try_recv() {
            Ok(change) => gathered.insert(id(change)),
            Err(TryRecvError::Lagged(missed)) => return Err(missed),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(gathered),
        };
    }
}

async fn tell(o: &Orchestrator, sender: &Sender, ids: BTreeSet<Uuid>, lost: u64) -> Option<()> {
    for id in ids {
        let targets = o.policy.targets().borrow().clone();
        let kind = match o.registry.get(id) {
            Some(node) => Kind::Node(info(&node, &targets)),
            None => Kind::RemovedNodeId(id.to_string()),
        };
        send(sender, kind, lost).await?;
    }
    Some(())
}

async fn snapshot(o: &Orchestrator, sender: &Sender, lost: u64) -> Option<()> {
    let targets = o.policy.targets().borrow().clone();
    let nodes: Vec<v1::NodeInfo> = o.registry.nodes().values().map(|node| info(node, &targets)).collect();
    for node in nodes {
        send(sender, Kind::Node(node), lost).await?;
    }
    send(sender, Kind::Bookmark(true), lost).await
}

async fn send(sender: &Sender, kind: Kind, lost: u64) -> Option<()> {
    sender.send(Ok(v1::NodeEvent { kind: Some(kind), lost })).await.ok()
}
