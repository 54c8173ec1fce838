//! What is kept of a node over a restart of the orchestrator.

use core::future::Future;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Facts, Node, Phase};
use crate::batch::{self, Batch};
use crate::failure::Failure;
use crate::store::{Store, Table};

/// Facts, phase, last sign of life.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) facts: Facts,
    pub(super) phase: Phase,
    pub(super) last_seen_ms: u64,
}

impl Record {
    pub(super) fn of(node: &Node) -> Self {
        Self { facts: node.facts.clone(), phase: node.phase, last_seen_ms: node.last_seen_ms }
    }
}

pub(super) fn read_all(store: &Store) -> Result<BTreeMap<Uuid, Node>, Failure> {
    let records = batch::scan_json::<Record>(store, Table::Nodes, b"")?;
    let node = |(_, record): (Vec<u8>, Record)| {
        (record.facts.id, Node::new(record.facts, record.phase, record.last_seen_ms))
    };
    Ok(records.into_iter().map(node).collect())
}

pub(super) fn write(
    store: &Store,
    record: &Record,
) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
    let mut batch = Batch::new();
    let put = batch.put_json(Table::Nodes, record.facts.id.as_bytes(), record);
    let written = batch.write_async(store);
    async move {
        put?;
        written.await
    }
}

pub(super) fn remove(store: &Store, ids: &[Uuid]) -> Result<(), Failure> {
    let mut batch = Batch::new();
    ids.iter().for_each(|id| batch.delete(Table::Nodes, id.as_bytes()));
    batch.write(store)
}
