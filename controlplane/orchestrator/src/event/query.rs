//! Questions about stored events.
//!
//! Owns: pages, statistics, reading what is stored at start. A page reads blocks backwards from its start; it ends
//! when it is full or [`BLOCKS_PER_PAGE_MAX`] blocks were read, and says where the next one begins. Blocking.

use prost::Message;
use secbeat_proto::v1;

use super::block::{self, HEADER_BYTES, Header};
use super::filter::Filter;
use super::{Events, State, TABLE, header_key, key, ledger};
use crate::failure::Failure;
use crate::store::{Order, Store};

/// Events of one page.
pub(super) const PAGE_EVENTS_MAX: usize = 1_000;

/// Blocks read for one page: some 400,000 events, half a second. A rarer event is found by the pages after it.
pub(super) const BLOCKS_PER_PAGE_MAX: usize = 200;

/// Blocks read at start, newest last, to know again who attacks.
const BLOCKS_REREAD: usize = 100;

/// One page of events, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The events.
    pub events: Vec<v1::Event>,
    /// Where the next page begins; 0: there is none.
    pub next_before_id: u64,
}

/// Reads headers, and the newest blocks for the table of threats.
pub(super) fn load(store: &Store, state: &mut State) -> Result<(), Failure> {
    let headers = store.read(|reader| {
        let mut headers = Vec::new();
        for entry in reader.prefix(TABLE, b"h", usize::MAX, Order::Up)? {
            let (_, value) = entry?;
            headers.push(Header::parse(&value));
        }
        Ok::<_, Failure>(headers)
    })?;
    for header in headers {
        match header {
            Ok(header) => state.blocks.push_back(header),
            Err(_) => state.damaged_blocks += 1,
        }
    }
    state.next_id = state.blocks.back().map_or(1, Header::end_id);
    let acknowledged = store.read(|reader| {
        let mut counts = Vec::new();
        for entry in reader.prefix(TABLE, b"a", usize::MAX, Order::Up)? {
            counts.push(entry?);
        }
        Ok::<_, Failure>(counts)
    })?;
    for (stored, value) in acknowledged {
        let first_id = stored.get(1..9).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        let count = v1::EventBatch::decode(value.as_slice()).map_or(0, |batch| batch.events.len() as u32);
        if let Some(first_id) = first_id {
            state.acknowledged.insert(first_id, count);
        }
    }
    for header in state.blocks.iter().rev().take(BLOCKS_REREAD).rev().copied().collect::<Vec<_>>() {
        match read_block(store, &header) {
            Ok(events) => events.iter().for_each(|event| state.threats.count(event)),
            Err(_) => state.damaged_blocks += 1,
        }
    }
    Ok(())
}

fn read_block(store: &Store, header: &Header) -> Result<Vec<v1::Event>, Failure> {
    let bytes = store.read(|reader| reader.get(TABLE, &key(b'b', header.first_id)))?;
    // Removed by retention meanwhile: it is no longer there for anybody.
    let Some(bytes) = bytes else { return Ok(Vec::new()) };
    block::unpack(&bytes)
        .map_err(|error| Failure::Internal(format!("events from {}: {error}", header.first_id)))
}

impl Events {
    /// The events of a block with their acknowledgements; a damaged block is counted and empty.
    pub(super) fn events_of(&self, header: &Header) -> Result<Vec<v1::Event>, Failure> {
        let mut events = match read_block(&self.inner.store, header) {
            Ok(events) => events,
            Err(Failure::Internal(error)) => {
                tracing::error!(error, "a block of events is left out");
                self.state().damaged_blocks += 1;
                Vec::new()
            }
            Err(failure) => return Err(failure),
        };
        if self.state().acknowledged.contains_key(&header.first_id) {
            ledger::annotate(&self.inner.store, header.first_id, &mut events)?;
        }
        Ok(events)
    }

    /// A page of events with ids below `before_id` (0: from the newest), newest first.
    ///
    /// # Errors
    /// What the store says.
    pub fn page(&self, filter: &Filter, before_id: u64, count_max: usize) -> Result<Page, Failure> {
        let count_max = count_max.clamp(1, PAGE_EVENTS_MAX);
        let before_id = if before_id == 0 { u64::MAX } else { before_id };
        let blocks: Vec<Header> =
            self.state().blocks.iter().rev().filter(|block| block.first_id < before_id).copied().collect();
        let mut page = Page::default();
        let mut read = 0;
        for header in blocks {
            if !filter.may_match(&header) {
                continue;
            }
            if read == BLOCKS_PER_PAGE_MAX {
                page.next_before_id = header.end_id();
                return Ok(page);
            }
            read += 1;
            for event in self.events_of(&header)?.into_iter().rev() {
                if event.id >= before_id || !filter.matches(&event) {
                    continue;
                }
                if page.events.len() == count_max {
                    page.next_before_id = page.events.last().map_or(0, |event| event.id);
                    return Ok(page);
                }
                page.events.push(event);
            }
        }
        Ok(page)
    }

    /// Counts over events between two times (0: open). Whole blocks are counted from their summaries.
    ///
    /// # Errors
    /// What the store says.
    pub fn stats(&self, since_ms: u64, until_ms: u64) -> Result<v1::EventStats, Failure> {
        let window = v1::EventFilter { since_ms, until_ms, ..Default::default() };
        let filter = Filter::compile(Some(window))?;
        let (blocks, acknowledged) = {
            let state = self.state();
            let blocks: Vec<Header> = state.blocks.iter().filter(|b| filter.may_match(b)).copied().collect();
            (blocks, state.acknowledged.clone())
        };
        let until = if until_ms == 0 { u64::MAX } else { until_ms };
        let mut sum = v1::EventStats::default();
        let mut marked = 0;
        for header in blocks {
            if header.oldest_ms >= since_ms && header.newest_ms <= until {
                block::add(&mut sum, &self.summary(&header)?);
                marked += u64::from(acknowledged.get(&header.first_id).copied().unwrap_or(0));
            } else {
                let events = self.events_of(&header)?;
                let meant = || events.iter().filter(|event| filter.matches(event));
                block::add(&mut sum, &block::summarise(meant()));
                marked += meant().filter(|event| event.acknowledged_at_ms > 0).count() as u64;
            }
        }
        sum.unacknowledged = sum.total.saturating_sub(marked);
        sum.lost = self.lost();
        Ok(sum)
    }

    fn summary(&self, header: &Header) -> Result<v1::EventStats, Failure> {
        let bytes = self.inner.store.read(|reader| reader.get(TABLE, &header_key(header.first_id)))?;
        let summary = bytes.as_deref().and_then(|bytes| bytes.get(HEADER_BYTES..)).unwrap_or_default();
        v1::EventStats::decode(summary)
            .map_err(|error| Failure::Internal(format!("summary of block {}: {error}", header.first_id)))
    }
}
