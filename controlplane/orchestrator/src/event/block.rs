//! Blocks of events: how they lie in the store.
//!
//! Owns: one block's bytes: a fixed header, a summary, and the events compressed. Does not own: when a block is closed
//! (`writer`), which are kept (`retention`). A block of 2,048 typical events takes some 60 KB instead of 400.
//!
//! ```text
//! header (40 bytes): first id | count | blocked | oldest ms | newest ms | stored ms
//! summary          : v1.EventStats of these events
//! body             : v1.EventBatch, LZ4
//! ```

use prost::Message;
use secbeat_proto::v1;

/// Events of one block: large enough to compress well, small enough to be decoded for one page.
pub const BLOCK_EVENTS_MAX: usize = 2_048;

/// Bytes of a block's events before compression. An event is cut to [`EVENT_BYTES_MAX`] on its way in.
pub const BLOCK_BYTES_MAX: usize = BLOCK_EVENTS_MAX * EVENT_BYTES_MAX;

/// Bytes of one event on the wire; what is longer loses its details.
pub const EVENT_BYTES_MAX: usize = 4_096;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 40;

/// What is known of a block without reading it; kept in memory for every block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Id of its first event; the others follow without gap.
    pub first_id: u64,
    /// How many.
    pub count: u32,
    /// How many of them were blocked.
    pub blocked: u32,
    /// Smallest and largest time of an event, by the nodes' clocks, milliseconds since 1970.
    pub oldest_ms: u64,
    /// See `oldest_ms`.
    pub newest_ms: u64,
    /// When it was stored, by our clock.
    pub stored_ms: u64,
}

/// A block cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block of events is damaged")]
pub struct Damaged;

impl Header {
    /// Of these events, which get their ids here.
    pub fn number(events: &mut [v1::Event], first_id: u64, stored_ms: u64) -> Self {
        let mut header =
            Self { first_id, count: 0, blocked: 0, oldest_ms: u64::MAX, newest_ms: 0, stored_ms };
        for (event, id) in events.iter_mut().zip(first_id..) {
            event.id = id;
            header.count += 1;
            header.blocked += u32::from(event.is_blocked);
            header.oldest_ms = header.oldest_ms.min(event.at_ms);
            header.newest_ms = header.newest_ms.max(event.at_ms);
        }
        header
    }

    /// Id after the last event.
    pub fn end_id(&self) -> u64 {
        self.first_id + u64::from(self.count)
    }

    /// As stored.
    pub fn emit(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let numbers = [
            self.first_id,
            u64::from(self.count) << 32 | u64::from(self.blocked),
            self.oldest_ms,
            self.newest_ms,
            self.stored_ms,
        ];
        for (chunk, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            chunk.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// Reads what [`Self::emit`] wrote.
    ///
    /// # Errors
    /// When bytes are missing.
    pub fn parse(bytes: &[u8]) -> Result<Self, Damaged> {
        let number = |index: usize| {
            let part = bytes.get(index * 8..index * 8 + 8).ok_or(Damaged)?;
            Ok(u64::from_be_bytes(part.try_into().map_err(|_| Damaged)?))
        };
        let counts = number(1)?;
        Ok(Self {
            first_id: number(0)?,
            count: (counts >> 32) as u32,
            blocked: counts as u32,
            oldest_ms: number(2)?,
            newest_ms: number(3)?,
            stored_ms: number(4)?,
        })
    }
}

/// Counts of these events, by everything that statistics are asked by.
pub fn summarise<'e>(events: impl IntoIterator<Item = &'e v1::Event>) -> v1::EventStats {
    let mut stats = v1::EventStats { oldest_ms: u64::MAX, ..Default::default() };
    for event in events {
        stats.total += 1;
        stats.blocked += u64::from(event.is_blocked);
        stats.oldest_ms = stats.oldest_ms.min(event.at_ms);
        stats.newest_ms = stats.newest_ms.max(event.at_ms);
        let severity = match event.severity() {
            v1::Severity::Error => "error",
            v1::Severity::Warn => "warn",
            v1::Severity::Info | v1::Severity::Unspecified => "info",
        };
        let counted = [
            (&mut stats.by_class, event.class.as_str()),
            (&mut stats.by_attack_type, event.attack_type.as_str()),
            (&mut stats.by_node, event.node_id.as_str()),
            (&mut stats.by_severity, severity),
        ];
        for (map, name) in counted {
            if name.is_empty() {
                continue;
            }
            match map.get_mut(name) {
                Some(count) => *count += 1,
                None => drop(map.insert(name.to_owned(), 1)),
            }
        }
    }
    if stats.total == 0 {
        stats.oldest_ms = 0;
    }
    stats
}

/// Adds `more` to `sum`.
pub fn add(sum: &mut v1::EventStats, more: &v1::EventStats) {
    if more.total == 0 {
        return;
    }
    sum.oldest_ms = if sum.total == 0 { more.oldest_ms } else { sum.oldest_ms.min(more.oldest_ms) };
    sum.newest_ms = sum.newest_ms.max(more.newest_ms);
    sum.total += more.total;
    sum.blocked += more.blocked;
    let maps = [
        (&mut sum.by_class, &more.by_class),
        (&mut sum.by_attack_type, &more.by_attack_type),
        (&mut sum.by_node, &more.by_node),
        (&mut sum.by_severity, &more.by_severity),
    ];
    for (sum, more) in maps {
        for (name, count) in more {
            *sum.entry(name.clone()).or_default() += count;
        }
    }
}

/// The events of a block, compressed.
pub fn pack(events: Vec<v1::Event>) -> (Vec<u8>, Vec<v1::Event>) {
    let batch = v1::EventBatch { events, ..Default::default() };
    (lz4_flex::compress_prepend_size(&batch.encode_to_vec()), batch.events)
}

/// The events again.
///
/// # Errors
/// When the bytes are not what [`pack`] made.
pub fn unpack(bytes: &[u8]) -> Result<Vec<v1::Event>, Damaged> {
    let (size, packed) = lz4_flex::block::uncompressed_size(bytes).map_err(|_| Damaged)?;
    if size > BLOCK_BYTES_MAX + 1_024 {
        return Err(Damaged);
    }
    let plain = lz4_flex::block::decompress(packed, size).map_err(|_| Damaged)?;
    v1::EventBatch::decode(plain.as_slice()).map(|batch| batch.events).map_err(|_| Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(count: u64) -> Vec<v1::Event> {
        (0..count)
            .map(|index| v1::Event {
                at_ms: 1_000 + index,
                class: "request".into(),
                attack_type: if index % 2 == 0 { "sql_injection" } else { "scanner" }.into(),
                node_id: format!("node-{}", index % 3),
                is_blocked: index % 4 == 0,
                client_ip: "203.0.113.7".into(),
                ..Default::default()
            })
            .collect()
    }

    #[test]
    fn block_is_read_as_it_was_written() {
        let mut events = events(2_048);
        let header = Header::number(&mut events, 77, 5_000);
        assert_eq!(Header::parse(&header.emit()), Ok(header));
        assert_eq!((header.count, header.blocked, header.end_id()), (2_048, 512, 77 + 2_048));
        let (packed, events) = pack(events);
        assert_eq!(unpack(&packed).unwrap(), events);
        assert_eq!(events[3].id, 80);
        assert!(packed.len() < 60_000, "{} bytes", packed.len());
    }

    #[test]
    fn damaged_block_is_an_error_whatever_byte_is_hit() {
        let (packed, _) = pack(events(20));
        for end in 0..packed.len() {
            let _ = unpack(&packed[..end]);
        }
        assert_eq!(unpack(&[0xff; 64]), Err(Damaged));
        assert_eq!(Header::parse(&[0; HEADER_BYTES - 1]), Err(Damaged));
    }

    #[test]
    fn sum_of_summaries_is_the_summary_of_all() {
        let events = events(100);
        let mut sum = v1::EventStats::default();
        for part in events.chunks(7) {
            add(&mut sum, &summarise(part));
        }
        assert_eq!(sum, summarise(&events));
        assert_eq!(sum.by_attack_type["scanner"], 50);
    }
}
