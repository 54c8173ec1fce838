//! Nodes with an open stream.
//!
//! Owns: the way of messages to each connected node: bounded queues, never blocking the sender; what each node holds
//! and acknowledged on this stream. Does not own: what is wanted (`policy`), the registry's memory of nodes.
//!
//! ```text
//!  NodeService.Attach --> stream::run, one task for each node --> view (pure): what to send next
//!  targets (watch) -------^     ^---- Sessions: bans, orders, closing
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use secbeat_proto::v1;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use uuid::Uuid;

use crate::failure::Failure;
use crate::orchestrator::lock;

mod cache;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
mod view;

/// Messages that wait for one node. A node takes thousands a second; 256 full deltas are more than a minute of
/// changes. Full: the stream is closed, and the node starts again with what it holds.
pub const OUTGOING_MAX: usize = 256;
/// Orders to one node that wait for their answer. More are refused.
pub const ORDERS_WAITING_MAX: usize = 64;
/// Bytes of large deltas under way to all nodes together, in KiB: what a first push to a large fleet may hold in
/// memory. A node beyond waits its turn.
const PACE_KIB: usize = 24 * 1024;

/// What the orchestrator sends a node, or why the stream ends.
pub(crate) type Outgoing = Result<v1::OrchestratorMessage, Failure>;

/// How often streams began and ended, and why.
#[derive(Debug, Default)]
pub struct Counters {
    /// Streams that got as far as a welcome.
    pub opened: AtomicU64,
    /// Streams that ended, for whatever reason.
    pub ended: AtomicU64,
    /// Closed because a newer stream of the same node came.
    pub replaced: AtomicU64,
    /// Closed because the node did not take its messages.
    pub slow: AtomicU64,
    /// Closed because nothing came for too long, or a delta was not answered.
    pub silent: AtomicU64,
    /// Refused: identity, protocol, a full fleet.
    pub refused: AtomicU64,
    /// Messages of unknown kinds, ignored.
    pub unknown: AtomicU64,
    /// Deltas sent.
    pub deltas: AtomicU64,
    /// Bytes of these.
    pub delta_bytes: AtomicU64,
    /// Resources that nodes refused.
    pub rejections: AtomicU64,
    /// Patches that did not fit and were followed by the whole.
    pub wholes: AtomicU64,
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The way to one node.
#[derive(Debug)]
pub(crate) struct Handle {
    serial: u64,
    outgoing: mpsc::Sender<Outgoing>,
    close: watch::Sender<Option<Failure>>,
    orders: Mutex<BTreeMap<u64, oneshot::Sender<v1::CommandResult>>>,
}

impl Handle {
    /// Queues a message; a full queue ends the stream.
    pub(crate) fn send(&self, counters: &Counters, kind: v1::orchestrator_message::Kind) {
        let message = v1::OrchestratorMessage { kind: Some(kind) };
        if let Err(mpsc::error::TrySendError::Full(_)) = self.outgoing.try_send(Ok(message)) {
            count(&counters.slow);
            self.close(Failure::Exhausted(format!(
                "{OUTGOING_MAX} messages wait and are not taken: connect again and begin with what you hold"
            )));
        }
    }

    /// Sends a message when there is room. `false`: the stream has ended.
    pub(crate) async fn send_waiting(&self, kind: v1::orchestrator_message::Kind) -> bool {
        self.outgoing.send(Ok(v1::OrchestratorMessage { kind: Some(kind) })).await.is_ok()
    }

    /// Ends the stream; the first reason holds.
    pub(crate) fn close(&self, why: Failure) {
        self.close.send_if_modified(|reason| {
            let is_first = reason.is_none();
            if is_first {
                *reason = Some(why);
            }
            is_first
        });
    }

    fn answer(&self, result: v1::CommandResult) {
        if let Some(waiting) = lock(&self.orders).remove(&result.id) {
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(result);
        }
    }
}

/// Every open stream, by node.
#[derive(Debug)]
pub struct Sessions {
    open: Mutex<BTreeMap<Uuid, Arc<Handle>>>,
    deltas: cache::Deltas,
    pace: Arc<Semaphore>,
    serial: AtomicU64,
    order: AtomicU64,
    counters: Counters,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
            deltas: cache::Deltas::default(),
            pace: Arc::new(Semaphore::new(PACE_KIB)),
            serial: AtomicU64::new(1),
            order: AtomicU64::new(1),
            counters: Counters::default(),
        }
    }
}

impl Sessions {
    /// Sends changed entries of the ban list to every connected node but `except` (UUID), at once.
    pub fn broadcast_bans(&self, entries: &[v1::BanEntry], except: Option<&str>) {
        if entries.is_empty() {
            return;
        }
        let except = except.and_then(|id| id.parse::<Uuid>().ok());
        let delta = v1::BanDelta { entries: entries.to_vec(), ..v1::BanDelta::default() };
        for (_, handle) in lock(&self.open).iter().filter(|(id, _)| Some(**id) != except) {
            handle.send(&self.counters, v1::orchestrator_message::Kind::Bans(delta.clone()));
        }
    }

    /// UUIDs of connected nodes.
    pub fn connected(&self) -> Vec<String> {
        lock(&self.open).keys().map(Uuid::to_string).collect()
    }

    /// How many nodes are connected.
    pub fn len(&self) -> usize {
        lock(&self.open).len()
    }

    /// Whether no node is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Gives an order and the way on which its result comes.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the node is not connected, [`Failure::Exhausted`] when too many orders wait.
    pub fn order(
        &self,
        node: Uuid,
        epoch: u64,
        kind: v1::command::Kind,
    ) -> Result<oneshot::Receiver<v1::CommandResult>, Failure> {
        let handle = lock(&self.open).get(&node).cloned();
        let handle = handle.ok_or_else(|| Failure::Unavailable("the node is not connected".into()))?;
        let id = self.order.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut orders = lock(&handle.orders);
            orders.retain(|_, waiting| !waiting.is_closed());
            if orders.len() >= ORDERS_WAITING_MAX {
                return Err(Failure::Exhausted(format!(
                    "{ORDERS_WAITING_MAX} orders wait for this node's answer already"
                )));
            }
            orders.insert(id, sender);
        }
        let command = v1::Command { id, epoch, kind: Some(kind) };
        handle.send(&self.counters, v1::orchestrator_message::Kind::Command(command));
        Ok(receiver)
    }

    /// Ends the stream of a node, when it has one.
    pub fn close(&self, node: Uuid, why: Failure) {
        if let Some(handle) = lock(&self.open).get(&node) {
            handle.close(why);
        }
    }

    /// Ends every stream with a reason.
    pub fn close_all(&self, why: &Failure) {
        lock(&self.open).values().for_each(|handle| handle.close(why.clone()));
    }

    fn enter(&self, node: Uuid, handle: &Arc<Handle>) {
        let earlier = lock(&self.open).insert(node, Arc::clone(handle));
        if let Some(earlier) = earlier {
            count(&self.counters.replaced);
            earlier.close(Failure::Conflict(format!(
                "a newer stream of node {node} took the place of this one"
            )));
        }
    }

    fn leave(&self, node: Uuid, serial: u64) {
        let mut open = lock(&self.open);
        if open.get(&node).is_some_and(|handle| handle.serial == serial) {
            open.remove(&node);
        }
    }
}
