//! Who acknowledged which events.
//!
//! Owns: one record per block that has acknowledged events, beside the block. The events themselves are never
//! written again.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use secbeat_proto::v1;

use super::filter::Filter;
use super::{Events, Header, TABLE, key};
use crate::failure::Failure;
use crate::orchestrator::now_ms;
use crate::store::Store;

/// Ids in one request; a filter reaches more.
pub(super) const IDS_MAX: usize = 10_000;

/// Blocks written in one transaction.
const BLOCKS_AT_ONCE: usize = 64;

/// Writes what is known of acknowledgement into a block's events.
///
/// # Errors
/// What the store says.
pub(super) fn annotate(store: &Store, first_id: u64, events: &mut [v1::Event]) -> Result<(), Failure> {
    for marked in read(store, first_id)?.values() {
        let place = marked.id.checked_sub(first_id).and_then(|place| usize::try_from(place).ok());
        if let Some(event) = place.and_then(|place| events.get_mut(place)) {
            event.acknowledged_by.clone_from(&marked.acknowledged_by);
            event.acknowledged_at_ms = marked.acknowledged_at_ms;
        }
    }
    Ok(())
}

/// The record of one block: events of which only id and acknowledgement are filled in.
fn read(store: &Store, first_id: u64) -> Result<BTreeMap<u64, v1::Event>, Failure> {
    let Some(bytes) = store.read(|reader| reader.get(TABLE, &key(b'a', first_id)))? else {
        return Ok(BTreeMap::new());
    };
    let marked = v1::EventBatch::decode(bytes.as_slice())
        .map_err(|error| Failure::Internal(format!("acknowledgements of block {first_id}: {error}")))?;
    Ok(marked.events.into_iter().map(|event| (event.id, event)).collect())
}

impl Events {
    /// Acknowledges events by id, or all that match. Answers how many were not acknowledged before. Blocking.
    ///
    /// # Errors
    /// `Invalid` for too many ids; what the store says.
    pub fn acknowledge(&self, ids: &[u64], filter: &Filter, actor: &str) -> Result<u64, Failure> {
        if ids.len() > IDS_MAX {
            return Err(Failure::Invalid(format!("ids: {}; at most {IDS_MAX} at once", ids.len())));
        }
        let wanted: BTreeSet<u64> = ids.iter().copied().collect();
        let blocks: Vec<Header> = self.state().blocks.iter().copied().collect();
        let is_meant = |block: &&Header| match wanted.is_empty() {
            true => filter.may_match(block),
            false => wanted.range(block.first_id..block.end_id()).next().is_some(),
        };
        let blocks: Vec<Header> = blocks.iter().filter(is_meant).copied().collect();
        let mut count = 0;
        for some in blocks.chunks(BLOCKS_AT_ONCE) {
            count += self.acknowledge_in(some, &wanted, filter, actor)?;
        }
        Ok(count)
    }

    fn acknowledge_in(
        &self,
        blocks: &[Header],
        wanted: &BTreeSet<u64>,
        filter: &Filter,
        actor: &str,
    ) -> Result<u64, Failure> {
        let at_ms = now_ms();
        let mut records = Vec::new();
        let mut count = 0;
        for block in blocks {
            let mut marked = read(&self.inner.store, block.first_id)?;
            let ids: Vec<u64> = if wanted.is_empty() {
                self.events_of(block)?.into_iter().filter(|e| filter.matches(e)).map(|e| e.id).collect()
            } else {
                wanted.range(block.first_id..block.end_id()).copied().collect()
            };
            let before = marked.len();
            for id in ids {
                marked.entry(id).or_insert_with(|| v1::Event {
                    id,
                    acknowledged_by: actor.to_owned(),
                    acknowledged_at_ms: at_ms,
                    ..Default::default()
                });
            }
            let added = (marked.len() - before) as u64;
            if added > 0 {
                count += added;
                let total = marked.len() as u32;
                let events = marked.into_values().collect();
                let bytes = v1::EventBatch { events, ..Default::default() }.encode_to_vec();
                records.push((block.first_id, total, bytes));
            }
        }
        let written = records.clone();
        self.inner.store.write(move |transaction| {
            for (first_id, _, bytes) in &written {
                transaction.put(TABLE, &key(b'a', *first_id), bytes)?;
            }
            Ok::<_, Failure>(())
        })?;
        let mut state = self.state();
        for (first_id, total, _) in records {
            state.acknowledged.insert(first_id, total);
        }
        Ok(count)
    }
}
