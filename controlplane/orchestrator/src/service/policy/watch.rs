//! The policy as it changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secbeat_config::policy::Key;
use secbeat_config::policy::wire::{key_to_wire, resource_to_wire};
use secbeat_proto::v1;
use secbeat_proto::v1::policy_event::Kind;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;
use crate::policy::{Targets, Wanted};
use crate::service::Stream;

/// Messages that wait for one watcher. Beyond, it gets the newest state later: revisions between are counted lost.
const QUEUED_MAX: usize = 64;
/// Time between bookmarks when nothing happens.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(15);

/// Snapshot (or what is newer than a revision), a bookmark, then changes. A watcher that is slow gets the difference
/// to the newest state, and how many revisions lay between.
///
/// # Errors
/// [`Failure::Denied`].
pub async fn watch(
    o: &Orchestrator,
    caller: &Caller,
    request: v1::WatchPolicyRequest,
) -> Result<Stream<v1::PolicyEvent>, Failure> {
    caller.require(Scope::Read)?;
    let (sender, receiver) = mpsc::channel(QUEUED_MAX);
    // A revision that is no longer kept means a snapshot, as for a new watcher.
    let known = if request.after_revision == 0 { None } else { o.policy.at(request.after_revision).ok() };
    let mut targets = o.policy.targets();
    tokio::spawn(async move {
        tokio::select! {
            // Nobody listens any more: also when nothing changes.
            () = sender.closed() => {}
            _ = follow(&sender, known.unwrap_or_default(), &mut targets) => {}
        }
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

type Sender = mpsc::Sender<Result<v1::PolicyEvent, Failure>>;

async fn follow(
    sender: &Sender,
    mut known: Arc<Wanted>,
    targets: &mut watch::Receiver<Arc<Targets>>,
) -> Option<()> {
    let mut lost = 0;
    loop {
        let newest = Arc::clone(&targets.borrow_and_update().newest);
        send(sender, &known, &newest, lost).await?;
        known = newest;
        while targets.borrow_and_update().newest.revision == known.revision {
            if let Ok(changed) = timeout(BOOKMARK_PERIOD, targets.changed()).await {
                changed.ok()?;
            } else {
                let bookmark = v1::Bookmark { revision: known.revision, lost };
                sender.send(Ok(event(Kind::Bookmark(bookmark)))).await.ok()?;
            }
        }
        lost += targets.borrow().newest.revision.saturating_sub(known.revision + 1);
    }
}

fn event(kind: Kind) -> v1::PolicyEvent {
    v1::PolicyEvent { kind: Some(kind) }
}

/// The difference, then a bookmark.
async fn send(sender: &Sender, known: &Wanted, newest: &Wanted, lost: u64) -> Option<()> {
    let gone: BTreeMap<&Key, u64> = known
        .versions
        .iter()
        .filter(|(key, _)| newest.set.get(key).is_none())
        .map(|(k, v)| (k, *v))
        .collect();
    for key in gone.keys() {
        sender.send(Ok(event(Kind::Removal(key_to_wire(key))))).await.ok()?;
    }
    for (key, resource) in newest.set.iter() {
        let version = newest.version(key);
        if known.version(key) != version {
            sender.send(Ok(event(Kind::Upsert(resource_to_wire(resource, version))))).await.ok()?;
        }
    }
    let bookmark = v1::Bookmark { revision: newest.revision, lost };
    sender.send(Ok(event(Kind::Bookmark(bookmark)))).await.ok()
}
