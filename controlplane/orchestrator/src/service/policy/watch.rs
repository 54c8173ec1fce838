//! The policy as it changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secbeat_config::policy::Key;
use secbeat_config::policy::wire::{key_to_wire, resource_to_wire};
use secbeat_proto::v1;
use secbeat_proto::v1::policy_event::Kind;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use crate::caller::{Caller, Scope};
use crate::failure::Failure;
use crate::orchestrator::Orchestrator;
use crate::policy::Wanted;
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
        let mut known = known.unwrap_or_default();
        let mut lost = 0;
        loop {
            let newest = Arc::clone(&targets.borrow_and_update().newest);
            if send(&sender, &known, &newest, lost).await.is_none() {
                return;
            }
            known = newest;
            loop {
                match timeout(BOOKMARK_PERIOD, targets.changed()).await {
                    Ok(Err(_)) => return,
                    Ok(Ok(())) if targets.borrow().newest.revision == known.revision => {
                        targets.borrow_and_update();
                    }
                    Ok(Ok(())) => break,
                    Err(_) => {
                        let bookmark = v1::Bookmark { revision: known.revision, lost };
                        if sender.send(Ok(event(Kind::Bookmark(bookmark)))).await.is_err() {
                            return;
                        }
                    }
                }
            }
            lost += targets.borrow().newest.revision.saturating_sub(known.revision + 1);
        }
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

fn event(kind: Kind) -> v1::PolicyEvent {
    v1::PolicyEvent { kind: Some(kind) }
}

/// The difference, then a bookmark.
async fn send(
    sender: &mpsc::Sender<Result<v1::PolicyEvent, Failure>>,
    known: &Wanted,
    newest: &Wanted,
    lost: u64,
) -> Option<()> {
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
