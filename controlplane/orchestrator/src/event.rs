//! Security events of the fleet: taken in, kept for a while, asked for, acknowledged.
//!
//! ```text
//!  nodes --ingest--> waiting (bounded) --writer--> block in the store --> receipt: the node may forget them
//!                                             '--> watchers (broadcast), threats (bounded table)
//! ```
//!
//! Owns: order and ids of events, blocks in the store, retention, statistics, who attacks. Does not own: what a node
//! reports. In memory there is one header of 40 bytes per block of up to 2,048 events, whatever is stored. Nothing is
//! lost in silence: what nodes lost is added up, a watcher that is too slow is told how much it missed.

pub mod block;
mod filter;
mod ledger;
mod query;
mod retention;
mod threat;
mod writer;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use prost::Message;
use secbeat_export::Exports;
use secbeat_proto::v1;
use tokio::sync::{Notify, broadcast, oneshot};

use crate::failure::Failure;
use crate::store::{Store, Table};
use block::Header;

pub use filter::Filter;
pub use query::Page;

/// Events that wait to be stored: four blocks, which the writer takes in some ten milliseconds; 15 MB. Full: nodes wait
/// for their receipt, and keep or count what comes meanwhile.
pub const WAITING_MAX: usize = 8_192;

/// Blocks a watcher may lag behind; some 100,000 events in a flood. More: it is told what it missed.
const WATCH_BLOCKS_MAX: usize = 64;

/// Places where a node counts losses, and nodes whose losses are kept apart.
const LOSS_PLACES_MAX: usize = 16;
const LOSS_NODES_MAX: usize = 100_000;

/// Characters of an event's texts; longer ones are cut.
const TEXT_CHARS_MAX: usize = 512;
/// Details of an event; more are left out.
const DETAILS_MAX: usize = 32;

/// Resolves once the events are stored.
pub type Receipt = oneshot::Receiver<Result<(), Failure>>;

/// The events of a fleet.
#[derive(Clone, Debug)]
pub struct Events {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    state: Mutex<State>,
    /// Something waits to be stored.
    arrived: Notify,
    /// Room for more.
    stored: Notify,
    watchers: broadcast::Sender<Arc<Vec<v1::Event>>>,
    events_max: u64,
    exports: OnceLock<Arc<Exports>>,
}

#[derive(Debug, Default)]
struct State {
    blocks: VecDeque<Header>,
    next_id: u64,
    waiting: Vec<v1::Event>,
    receipts: Vec<oneshot::Sender<Result<(), Failure>>>,
    threats: threat::Threats,
    /// Acknowledged events of each block that has any, by first id.
    acknowledged: BTreeMap<u64, u32>,
    /// What each node said it lost, by place: totals since its start.
    lost: HashMap<String, BTreeMap<String, u64>>,
    /// Sums over all nodes since our start.
    lost_total: BTreeMap<String, u64>,
    ingested: u64,
    damaged_blocks: u64,
}

/// Numbers for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Events in the store.
    pub stored: u64,
    /// Events taken in since the start.
    pub ingested: u64,
    /// Events that nodes lost.
    pub lost: u64,
    /// Events that wait to be stored.
    pub waiting: u64,
    /// Blocks that could not be read.
    pub damaged_blocks: u64,
    /// Sources forgotten because the table of threats was full.
    pub threats_evicted: u64,
}

impl Events {
    /// Opens what is stored. `events_max`: more push the oldest out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: Store, events_max: u64) -> Result<Self, Failure> {
        let mut state = State { next_id: 1, ..State::default() };
        query::load(&store, &mut state)?;
        let (watchers, _) = broadcast::channel(WATCH_BLOCKS_MAX);
        let inner = Inner {
            store,
            state: Mutex::new(state),
            arrived: Notify::new(),
            stored: Notify::new(),
            watchers,
            events_max,
            exports: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes a node's events. The receipt resolves when they are stored. Waits while too many wait already.
    pub async fn ingest(&self, node_id: &str, batch: v1::EventBatch) -> Receipt {
        let (sender, receipt) = oneshot::channel();
        let mut events = batch.events;
        for event in &mut events {
            trim(event, node_id);
        }
        loop {
            let room = self.inner.stored.notified();
            {
                let mut state = self.state();
                if state.waiting.is_empty() || state.waiting.len() + events.len() <= WAITING_MAX {
                    state.note_lost(node_id, batch.lost);
                    state.ingested += events.len() as u64;
                    state.waiting.append(&mut events);
                    state.receipts.push(sender);
                    break;
                }
            }
            room.await;
        }
        self.inner.arrived.notify_one();
        receipt
    }

    /// An event of the control plane itself.
    pub async fn record(&self, event: v1::Event) {
        let events = vec![event];
        // Its receipt is of no use: nobody could send it again.
        drop(self.ingest("", v1::EventBatch { events, ..Default::default() }).await);
    }

    /// Where events go once they are stored. Set once.
    pub fn set_exports(&self, exports: &Arc<Exports>) {
        // A second place would be the same one.
        let _ = self.inner.exports.set(Arc::clone(exports));
    }

    /// New events as they are stored, in blocks. Lagging receivers are told how many blocks they missed.
    pub fn watch(&self) -> broadcast::Receiver<Arc<Vec<v1::Event>>> {
        self.inner.watchers.subscribe()
    }

    /// Sources seen since then, most events first.
    pub fn threats(&self, since_ms: u64, count_max: usize) -> Vec<v1::Threat> {
        self.state().threats.top(since_ms, count_max)
    }

    /// Events lost on their way, by place.
    pub fn lost(&self) -> BTreeMap<String, u64> {
        self.state().lost_total.clone()
    }

    /// Numbers for metrics.
    pub fn numbers(&self) -> Numbers {
        let state = self.state();
        Numbers {
            stored: state.blocks.iter().map(|block| u64::from(block.count)).sum(),
            ingested: state.ingested,
            lost: state.lost_total.values().sum(),
            waiting: state.waiting.len() as u64,
            damaged_blocks: state.damaged_blocks,
            threats_evicted: state.threats.evicted(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note_lost(&mut self, node_id: &str, lost: BTreeMap<String, u64>) {
        if lost.is_empty() || (self.lost.len() >= LOSS_NODES_MAX && !self.lost.contains_key(node_id)) {
            return;
        }
        let known = self.lost.entry(node_id.to_owned()).or_default();
        for (place, total) in lost.into_iter().take(LOSS_PLACES_MAX) {
            if known.len() >= LOSS_PLACES_MAX && !known.contains_key(&place) {
                continue;
            }
            let before = known.insert(place.clone(), total).unwrap_or(0);
            // A total below the last one: the node started again.
            let more = total.checked_sub(before).unwrap_or(total);
            let sum = self.lost_total.entry(place).or_default();
            *sum = sum.saturating_add(more);
        }
    }
}

/// Makes an event of a node one of ours: nothing in it is trusted for its size, its id, or whom it is from.
fn trim(event: &mut v1::Event, node_id: &str) {
    event.id = 0;
    event.acknowledged_by.clear();
    event.acknowledged_at_ms = 0;
    if event.node_id != node_id {
        node_id.clone_into(&mut event.node_id);
    }
    if event.encoded_len() <= TEXT_CHARS_MAX {
        return;
    }
    let texts = [
        &mut event.class,
        &mut event.component,
        &mut event.name,
        &mut event.attack_type,
        &mut event.client_ip,
        &mut event.user_agent,
        &mut event.rule_id,
    ];
    for text in texts {
        cut(text);
    }
    while event.details.len() > DETAILS_MAX {
        event.details.pop_last();
    }
    event.details.values_mut().for_each(cut);
    event.details.retain(|key, _| key.len() <= TEXT_CHARS_MAX);
    if event.encoded_len() > block::EVENT_BYTES_MAX {
        event.details.clear();
    }
    if event.encoded_len() > block::EVENT_BYTES_MAX {
        event.user_agent.clear();
    }
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(end);
    }
}

/// Key of a block's header: its first id.
fn header_key(first_id: u64) -> [u8; 9] {
    key(b'h', first_id)
}

fn key(kind: u8, first_id: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&first_id.to_be_bytes());
    key
}

/// The table all of this lies in.
const TABLE: Table = Table::Events;

#[cfg(test)]
mod tests;
