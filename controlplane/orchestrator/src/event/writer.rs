//! The task that stores events.
//!
//! Owns: when a block is closed: when it is full or [`BLOCK_TIME`] after its first event. One transaction per block;
//! the store answers when it is on disk, and only then do nodes get their receipts.

use core::time::Duration;
use std::sync::Arc;

use prost::Message;

use super::block::{self, BLOCK_EVENTS_MAX, Header};
use super::{Events, TABLE, key};
use crate::export;
use crate::failure::Failure;
use crate::orchestrator::now_ms;

/// How long the first event of a block may wait for others: what a person at a console does not notice.
const BLOCK_TIME: Duration = Duration::from_millis(100);

/// How long to wait after the store failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

impl Events {
    /// Stores what arrives until the task is dropped.
    pub async fn write_blocks(self) {
        loop {
            self.inner.arrived.notified().await;
            if self.state().waiting.len() < BLOCK_EVENTS_MAX {
                tokio::time::sleep(BLOCK_TIME).await;
            }
            while !self.state().waiting.is_empty() {
                if let Err(failure) = self.write_waiting().await {
                    tracing::error!(%failure, "events cannot be stored; trying again");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// Stores everything that waits now. Used once more before the process ends.
    ///
    /// # Errors
    /// What the store says; the events wait again.
    pub async fn write_waiting(&self) -> Result<(), Failure> {
        let (waiting, receipts, first_id) = {
            let mut state = self.state();
            (core::mem::take(&mut state.waiting), core::mem::take(&mut state.receipts), state.next_id)
        };
        if waiting.is_empty() {
            receipts.into_iter().for_each(|receipt| drop(receipt.send(Ok(()))));
            return Ok(());
        }
        let store = self.inner.store.clone();
        let written = tokio::task::spawn_blocking(move || write(&store, waiting, first_id)).await;
        let written = written.map_err(|error| Failure::Internal(format!("writer of events: {error}")))?;
        match written {
            Ok(blocks) => {
                self.adopt(blocks);
                receipts.into_iter().for_each(|receipt| drop(receipt.send(Ok(()))));
                self.inner.stored.notify_waiters();
                Ok(())
            }
            Err((failure, events)) => {
                let mut state = self.state();
                let later = core::mem::replace(&mut state.waiting, events);
                state.waiting.extend(later);
                let later = core::mem::replace(&mut state.receipts, receipts);
                state.receipts.extend(later);
                Err(failure)
            }
        }
    }

    fn adopt(&self, blocks: Vec<(Header, Vec<secbeat_proto::v1::Event>)>) {
        let mut sent = Vec::with_capacity(blocks.len());
        {
            let mut state = self.state();
            for (header, events) in blocks {
                state.next_id = header.end_id();
                events.iter().for_each(|event| state.threats.count(event));
                state.blocks.push_back(header);
                sent.push(Arc::new(events));
            }
        }
        if let Some(exports) = self.inner.exports.get().filter(|exports| !exports.is_empty()) {
            let events = sent.iter().flat_map(|events| events.iter());
            events.for_each(|event| exports.submit(export::of_event(event)));
        }
        // Nobody watching is no error.
        sent.into_iter().for_each(|events| drop(self.inner.watchers.send(events)));
    }
}

type Written = Vec<(Header, Vec<secbeat_proto::v1::Event>)>;

/// Numbers, packs and stores events. On failure they come back.
fn write(
    store: &crate::store::Store,
    mut events: Vec<secbeat_proto::v1::Event>,
    first_id: u64,
) -> Result<Written, (Failure, Vec<secbeat_proto::v1::Event>)> {
    let stored_ms = now_ms();
    let mut blocks = Vec::new();
    let mut values = Vec::new();
    let mut next_id = first_id;
    while !events.is_empty() {
        let rest = events.split_off(events.len().min(BLOCK_EVENTS_MAX));
        let header = Header::number(&mut events, next_id, stored_ms);
        let mut head = header.emit().to_vec();
        block::summarise(&events).encode_raw(&mut head);
        let (packed, kept) = block::pack(events);
        values.push((key(b'h', next_id), head));
        values.push((key(b'b', next_id), packed));
        next_id = header.end_id();
        blocks.push((header, kept));
        events = rest;
    }
    let stored = store.write(move |transaction| {
        for (key, value) in &values {
            transaction.put(TABLE, key, value)?;
        }
        Ok::<_, Failure>(())
    });
    match stored {
        Ok(()) => Ok(blocks),
        Err(failure) => Err((failure, blocks.into_iter().flat_map(|(_, events)| events).collect())),
    }
}
