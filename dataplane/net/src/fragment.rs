//! IP fragments: pieces put together before they are judged, and packets cut for a smaller link.
//!
//! Owns: [`Reassembler`], bounded in datagrams, bytes, pieces and time, all memory taken at `new`; [`Split`]. Does
//! not own: what is done with a whole packet. A fragment never passes a filter on its own: a later piece carries
//! no ports, so only the whole packet is filtered, checked and forwarded.
//!
//! Attacks and answers: overlapping pieces make the whole datagram void until it times out (RFC 5722; for IPv4 too:
//! no honest sender overlaps); a first piece without its whole L4 header, and a TCP piece over the flags, never get
//! here (`wire::parse`, RFC 3128); unfinished datagrams are limited per source and in all, and the oldest gives
//! way: honest pieces arrive within a round trip, so a flood cannot keep them out for the whole timeout.
//! An IPv6 "atomic" fragment (RFC 6946) is a whole packet.
//! Cost: one copy in, one copy out. RFC 791 §3.2, 815, 1858, 3168 §5.3, 5722, 8200 §4.5.

mod datagram;
#[doc(hidden)]
pub mod fuzz;
pub mod limits;
mod pool;
pub mod split;
#[cfg(test)]
mod tests;

use core::net::IpAddr;

pub use limits::{FragmentCounters, FragmentLimits};
pub use split::Split;

use crate::flow::{HashKey, hash_addr};
use crate::flow_index::FlowIndex;
use crate::link::LINK_HEADER_BYTES_MAX;
use crate::packet::PacketBuf;
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::{Headers, IpVersion, ipv6};
use datagram::{Datagram, Key};
use pool::{NONE, Pool};

/// Longest frame that reassembly can make: Ethernet header and the longest IP packet. What a caller's buffer
/// must hold behind its headroom.
pub const FRAME_BYTES_MAX: usize = LINK_HEADER_BYTES_MAX + ipv6::HEADER_BYTES + 65_535;

/// Pieces of one datagram. The longest one over the smallest IPv6 link has 53; more means crumbs.
pub const PIECES_MAX: u8 = 64;

/// Counters of sources; sources that share one share the limit.
const SOURCE_COUNTERS: usize = 4_096;

/// Domain of the keyed hash of sources.
const SOURCE_DOMAIN: u32 = 0x6672_6167;

/// One worker's unfinished datagrams.
#[derive(Debug)]
pub struct Reassembler {
    limits: FragmentLimits,
    key: HashKey,
    datagrams: Box<[Option<Datagram>]>,
    free: Vec<u32>,
    index: FlowIndex,
    pool: Pool,
    per_source: Box<[u16]>,
    oldest: u32,
    newest: u32,
    counters: FragmentCounters,
}

impl Reassembler {
    /// Takes all memory that `limits` speak of. Control path.
    pub fn new(limits: FragmentLimits, key: HashKey) -> Self {
        let count = limits.datagrams_max.max(1);
        Self {
            limits,
            key,
            datagrams: vec![None; count as usize].into_boxed_slice(),
            free: (0..count).rev().collect(),
            index: FlowIndex::new(count as usize),
            pool: Pool::new(limits.bytes_max),
            per_source: vec![0; SOURCE_COUNTERS].into_boxed_slice(),
            oldest: NONE,
            newest: NONE,
            counters: FragmentCounters::default(),
        }
    }

    /// Takes one fragment (`headers.fragment` is present). When it completes its datagram, the whole packet is
    /// written into `out` (any old content is lost; the start stays; [`FRAME_BYTES_MAX`] bytes always fit) and the
    /// answer is true. It is a frame with the first piece's Ethernet header, without fragment header, options or
    /// "don't fragment", to be parsed and checked like any other. Otherwise the piece is kept and the answer false.
    ///
    /// # Errors
    /// `Fragment`: it contradicts its datagram, is one too many, or does not fit `out`. `FragmentTableFull`: its
    /// source has too many unfinished datagrams, or the piece is longer than all memory.
    pub fn handle(
        &mut self,
        frame: &[u8],
        headers: &Headers,
        out: &mut PacketBuf<'_>,
        now: Instant,
    ) -> Result<bool, DropReason> {
        self.handle_timeout(now, 2);
        let fragment = headers.fragment.ok_or(DropReason::Fragment)?;
        let start = match headers.version {
            IpVersion::V4 => headers.l4,
            IpVersion::V6 => fragment.header + ipv6::FRAGMENT_HEADER_BYTES,
        };
        let data = frame.get(start..headers.end).ok_or(DropReason::Truncated)?;
        let key = Key {
            source: headers.source,
            destination: headers.destination,
            id: fragment.id,
            protocol: if headers.version == IpVersion::V4 { headers.protocol } else { 0 },
        };
        let slot = match self.find(&key) {
            Some(slot) => slot,
            None => self.begin(key, now)?,
        };
        let Some(datagram) = self.datagrams.get_mut(slot as usize).and_then(Option::as_mut) else {
            return Err(DropReason::Fragment);
        };
        if datagram.is_void {
            return Err(DropReason::Fragment);
        }
        let (offset, len) = (u32::from(fragment.offset), data.len() as u32);
        if !fragment.more {
            if datagram.total.is_some_and(|total| total != offset + len) {
                return self.void(slot);
            }
            datagram.total = Some(offset + len);
        }
        if datagram.total.is_some_and(|total| offset + len > total) || datagram.piece_count == PIECES_MAX {
            return self.void(slot);
        }
        if offset == 0 {
            datagram.take_headers(frame, headers, fragment.header);
        }
        // RFC 3168 §5.3: a mark on any piece is a mark on the packet.
        datagram.is_congested |= headers.dscp_ecn & 3 == 3;
        match self.place(slot, offset, data) {
            Ok(()) => {}
            Err(Misfit::Duplicate) => return Err(DropReason::Fragment),
            Err(Misfit::Overlap) => return self.void(slot),
            Err(Misfit::NoMemory) => return Err(DropReason::FragmentTableFull),
        }
        self.counters.pieces += 1;
        let is_whole = self.datagrams[slot as usize]
            .as_ref()
            .is_some_and(|datagram| datagram.total == Some(datagram.received));
        if !is_whole {
            return Ok(false);
        }
        let is_written = self.get(slot).and_then(|datagram| datagram.write_out(&self.pool, out));
        self.remove(slot);
        if is_written.is_none() {
            return Err(DropReason::Fragment);
        }
        self.counters.completed += 1;
        Ok(true)
    }

    /// When [`Reassembler::handle_timeout`] should be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.get(self.oldest).map(|datagram| datagram.deadline)
    }

    /// Forgets datagrams whose time is over, at most `budget`; returns how many.
    pub fn handle_timeout(&mut self, now: Instant, budget: usize) -> usize {
        for done in 0..budget {
            if self.get(self.oldest).is_none_or(|datagram| datagram.deadline > now) {
                return done;
            }
            self.counters.expired += 1;
            self.remove(self.oldest);
        }
        budget
    }

    /// Unfinished datagrams.
    pub fn len(&self) -> usize {
        self.datagrams.len() - self.free.len()
    }

    /// Whether there is no unfinished datagram.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was counted since `new`.
    pub fn counters(&self) -> &FragmentCounters {
        &self.counters
    }

    fn get(&self, slot: u32) -> Option<&Datagram> {
        self.datagrams.get(slot as usize)?.as_ref()
    }

    fn find(&self, key: &Key) -> Option<u32> {
        let is_match = |slot| self.get(slot).is_some_and(|datagram| datagram.key == *key);
        self.index.find(key.hash(&self.key), is_match)
    }

    fn source_counter(&mut self, source: IpAddr) -> &mut u16 {
        let hash = hash_addr(&self.key, source, SOURCE_DOMAIN);
        &mut self.per_source[hash as usize % SOURCE_COUNTERS]
    }

    /// A place for a datagram not seen before.
    fn begin(&mut self, key: Key, now: Instant) -> Result<u32, DropReason> {
        if *self.source_counter(key.source) >= self.limits.per_source_max {
            return Err(DropReason::FragmentTableFull);
        }
        if self.free.is_empty() {
            self.evict_oldest();
        }
        let slot = self.free.pop().ok_or(DropReason::FragmentTableFull)?;
        if !self.index.insert(key.hash(&self.key), slot) {
            self.free.push(slot);
            return Err(DropReason::FragmentTableFull);
        }
        *self.source_counter(key.source) += 1;
        self.datagrams[slot as usize] = Some(Datagram::new(key, now + self.limits.timeout, self.newest));
        match self.newest {
            NONE => self.oldest = slot,
            newest => {
                if let Some(newest) = self.datagrams[newest as usize].as_mut() {
                    newest.newer = slot;
                }
            }
        }
        self.newest = slot;
        Ok(slot)
    }

    /// Puts a piece between its neighbours.
    fn place(&mut self, slot: u32, offset: u32, data: &[u8]) -> Result<(), Misfit> {
        let len = data.len() as u32;
        let mut before = NONE;
        let mut after = self.get(slot).map_or(NONE, |datagram| datagram.pieces);
        while after != NONE {
            let piece = self.pool.piece(after);
            let (start, end) = (u32::from(piece.offset), u32::from(piece.offset) + u32::from(piece.len));
            if start == offset && end == offset + len {
                return Err(Misfit::Duplicate);
            }
            if start < offset + len && offset < end {
                return Err(Misfit::Overlap);
            }
            if start >= offset + len {
                break;
            }
            before = after;
            after = piece.next_piece;
        }
        let piece = loop {
            if let Some(piece) = self.pool.store(offset as u16, data) {
                break piece;
            }
            // Its own memory would be the last to go: then the piece is longer than all there is.
            if self.oldest == slot || !self.evict_oldest() {
                return Err(Misfit::NoMemory);
            }
        };
        self.pool.piece_mut(piece).next_piece = after;
        if before != NONE {
            self.pool.piece_mut(before).next_piece = piece;
        }
        let Some(datagram) = self.datagrams[slot as usize].as_mut() else { return Err(Misfit::NoMemory) };
        if before == NONE {
            datagram.pieces = piece;
        }
        datagram.piece_count += 1;
        datagram.received += len;
        Ok(())
    }

    /// Gives up the data of a datagram whose pieces contradict each other, and remembers it so that its other
    /// pieces do not start it anew.
    fn void(&mut self, slot: u32) -> Result<bool, DropReason> {
        if let Some(datagram) = self.datagrams[slot as usize].as_mut() {
            datagram.is_void = true;
            self.pool.free_pieces(core::mem::replace(&mut datagram.pieces, NONE));
            self.counters.voided += 1;
        }
        Err(DropReason::Fragment)
    }

    fn evict_oldest(&mut self) -> bool {
        if self.oldest == NONE {
            return false;
        }
        self.counters.evicted += 1;
        self.remove(self.oldest);
        true
    }

    fn remove(&mut self, slot: u32) {
        let Some(datagram) = self.datagrams.get_mut(slot as usize).and_then(Option::take) else { return };
        self.pool.free_pieces(datagram.pieces);
        self.index.remove(datagram.key.hash(&self.key), slot);
        let counter = self.source_counter(datagram.key.source);
        *counter = counter.saturating_sub(1);
        match datagram.older {
            NONE => self.oldest = datagram.newer,
            older => {
                if let Some(older) = self.datagrams[older as usize].as_mut() {
                    older.newer = datagram.newer;
                }
            }
        }
        match datagram.newer {
            NONE => self.newest = datagram.older,
            newer => {
                if let Some(newer) = self.datagrams[newer as usize].as_mut() {
                    newer.older = datagram.older;
                }
            }
        }
        self.free.push(slot);
    }

    /// Panics when the parts of the reassembler disagree. For tests and fuzzing.
    #[doc(hidden)]
    pub fn check(&self) {
        self.index.check();
        let mut blocks = 0;
        for (slot, datagram) in self.datagrams.iter().enumerate() {
            let Some(datagram) = datagram else { continue };
            assert_eq!(self.find(&datagram.key), Some(slot as u32));
            let (mut piece, mut end, mut count) = (datagram.pieces, 0, 0);
            while piece != NONE {
                let here = self.pool.piece(piece);
                assert!(u32::from(here.offset) >= end, "pieces overlap or are out of order");
                end = u32::from(here.offset) + u32::from(here.len);
                blocks += self.pool.blocks_of(piece);
                count += 1;
                piece = here.next_piece;
            }
            assert!(datagram.is_void || count == datagram.piece_count);
        }
        assert_eq!(blocks, self.pool.used(), "blocks leak");
        let counted: usize = self.per_source.iter().map(|count| usize::from(*count)).sum();
        assert_eq!(counted, self.len());
        let (mut at, mut aged) = (self.oldest, 0);
        while let Some(datagram) = self.get(at) {
            at = datagram.newer;
            aged += 1;
        }
        assert_eq!(aged, self.len());
    }
}

/// Why a piece could not be placed.
enum Misfit {
    Duplicate,
    Overlap,
    NoMemory,
}
