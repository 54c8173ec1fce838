//! Half-open connections: SYNs answered from memory, as long as there is memory for it.
//!
//! The other way to answer a SYN than a cookie (`syncookie`), for `syn_cookies = "never"` and for `"auto"` outside
//! an attack: options are kept in full and SYN-ACKs are sent again.
//!
//! ```text
//!           SYN                   1 s          2 s          4 s          8 s
//!  (none) -------> SYN-RECEIVED -----> again -----> again -----> again -----> forgotten
//!                   |        |
//!                   | ACK    | RST (exact), or evicted
//!                   v        v
//!               accepted   (none)
//! ```
//! Owns: a bounded table per worker, the initial sequence numbers (RFC 6528), the retransmission schedule. Does not
//! own: the choice between table and cookie ([`CookieSwitch`]), what happens after the ACK (`splice`).
//!
//! **When full**: the entry whose SYN-ACK was repeated most often makes room, oldest first: its client most
//! likely does not exist. If all entries are younger than the first repetition, the new SYN is refused
//! ([`DropReason::BacklogFull`]); an honest client sends it again in a second.
//!
//! Cost: 216 bytes per entry, taken at `new`; a SYN is a keyed hash, a table probe and the frame, about 120 ns.
//! RFCs: 9293 §3.10.7.4, 6528, 6298 §2 (first timeout 1 s), 7323.

mod switch;
mod table;

use core::time::Duration;

pub use switch::{CookieSwitch, SwitchLimits, Switched};
use table::{Entry, Table};

use crate::flow::{FlowKey, HashKey};
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::siphash::hash24;
use crate::syncookie::{ClientOptions, Offer, SynAck, SynAckFrame, write_syn_ack};
use crate::time::Instant;
use crate::verdict::DropReason;
use crate::wire::tcp::{Flags, Segment, Timestamps};
use crate::wire::{Headers, ethernet};

/// How long to wait for the ACK before each repetition of a SYN-ACK, and after the last one: RFC 6298's first
/// timeout, doubled. 15 s in all; Linux waits 63 s by default, which keeps forged entries four times as long.
pub const TIMEOUTS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// Most entries of one table: 226 MB. More are cut to it.
pub const CAPACITY_MAX: u32 = 1 << 20;

/// Most listeners counted apart; the counts of further ones are not kept.
pub const LISTENERS_MAX: usize = 1024;

/// Secrets of one table; drawn at random at start.
#[derive(Clone, Copy, Debug)]
pub struct HalfOpenKeys {
    /// Places entries in the table.
    pub table: HashKey,
    /// Makes initial sequence numbers and timestamp offsets.
    pub isn: HashKey,
}

/// Where a SYN came in.
#[derive(Clone, Copy, Debug)]
pub struct SynIngress {
    /// The port it arrived on.
    pub port: PortId,
    /// That port's MTU, bytes.
    pub mtu: u16,
    /// The listener it is for; below [`LISTENERS_MAX`] to be counted.
    pub listener: u16,
}

/// A handshake that the client completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The listener, as given with the SYN.
    pub listener: u16,
    /// The client's initial sequence number.
    pub client_isn: u32,
    /// Ours.
    pub isn: u32,
    /// The window of our SYN-ACK, bytes.
    pub window: u16,
    /// The window scale of our SYN-ACK; `None` when it carried none.
    pub window_scale: Option<u8>,
    /// What was agreed; the MSS is the client's exactly.
    pub options: ClientOptions,
    /// The timestamps of the ACK, when they were agreed on.
    pub timestamps: Option<Timestamps>,
}

/// What the table says about a segment with ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum AckVerdict {
    /// It completes this handshake. The entry is gone; the segment may carry data.
    Accepted(Accepted),
    /// It belongs to a half-open connection but does not complete it.
    Drop(DropReason),
    /// It belongs to no half-open connection, or does not acknowledge our SYN-ACK.
    Miss,
}

/// What a table counted since `new`; monotone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HalfOpenCounters {
    /// New entries.
    pub opened: u64,
    /// Entries that became connections.
    pub accepted: u64,
    /// SYNs of a known entry, answered again.
    pub repeated_syns: u64,
    /// SYN-ACKs sent again for want of an ACK.
    pub retransmitted: u64,
    /// Entries forgotten after the last timeout.
    pub expired: u64,
    /// Entries whose client acknowledged a cookie instead.
    pub forgotten: u64,
    /// Entries ended by a RST.
    pub reset: u64,
    /// Entries that made room for others.
    pub evicted: u64,
    /// SYNs refused because the table was full of young entries.
    pub refused: u64,
}

/// The table of half-open connections of one worker.
#[derive(Debug)]
pub struct HalfOpen {
    keys: HalfOpenKeys,
    table: Table,
    listeners: Box<[u32]>,
    counters: HalfOpenCounters,
}

impl HalfOpen {
    /// A table for `capacity` connections (at most [`CAPACITY_MAX`]), with all its memory.
    pub fn new(capacity: u32, keys: HalfOpenKeys) -> Self {
        Self {
            keys,
            table: Table::new(capacity.min(CAPACITY_MAX), keys.table),
            listeners: vec![0; LISTENERS_MAX].into(),
            counters: HalfOpenCounters::default(),
        }
    }

    /// Half-open connections.
    pub fn len(&self) -> u32 {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// Half-open connections of one listener.
    pub fn of_listener(&self, listener: u16) -> u32 {
        self.listeners.get(usize::from(listener)).copied().unwrap_or(0)
    }

    /// What was counted since `new`.
    pub fn counters(&self) -> &HalfOpenCounters {
        &self.counters
    }

    /// Whether this flow is half open here.
    pub fn contains(&self, flow: &FlowKey) -> bool {
        self.table.find(flow).is_some()
    }

    /// Answers a SYN in place; afterwards the frame holds the SYN-ACK, to be sent out of the port it came in by. The
    /// SYN of a connection already half open is answered as the first time, also when it starts from another
    /// sequence number: a client that has forgotten the first then resets it (RFC 9293 §3.10.7.3).
    ///
    /// # Errors
    /// [`DropReason::BacklogFull`]; [`DropReason::NoFlow`] when it is no SYN, [`DropReason::Malformed`] when its
    /// options are broken, [`DropReason::NoFrame`] when the buffer is too small. The frame is then unchanged.
    pub fn handle_syn(
        &mut self,
        packet: &mut PacketBuf<'_>,
        headers: &Headers,
        ingress: SynIngress,
        offer: &Offer,
        now: Instant,
    ) -> Result<(), DropReason> {
        let flow = headers.flow_key().ok_or(DropReason::NoFlow)?;
        if !headers.tcp_flags.is_initial_syn() {
            return Err(DropReason::NoFlow);
        }
        let syn_ack = match self.table.find(&flow).and_then(|index| self.table.get_mut(index)) {
            Some(entry) => {
                self.counters.repeated_syns += 1;
                entry.renew_echo(packet.bytes(), headers);
                entry.renew_timestamp(now);
                entry.syn_ack
            }
            None => {
                let mut entry = self.entry(packet.bytes(), headers, flow, ingress, offer, now)?;
                entry.renew_timestamp(now);
                let syn_ack = entry.syn_ack;
                self.insert(entry, now)?;
                syn_ack
            }
        };
        write_syn_ack(packet, &SynAckFrame { link_len: headers.link_len, flow, syn_ack })?;
        ethernet::swap_addresses(packet.bytes_mut());
        Ok(())
    }

    /// Looks at a segment with ACK and without SYN and RST.
    pub fn handle_ack(&mut self, headers: &Headers, segment: &Segment<&[u8]>) -> AckVerdict {
        let Some((index, entry)) = headers.flow_key().and_then(|flow| self.table.lookup(&flow)) else {
            return AckVerdict::Miss;
        };
        // Perhaps it acknowledges a cookie: the client sent its SYN again after the switch to cookies.
        if segment.ack() != entry.syn_ack.isn.wrapping_add(1) {
            return AckVerdict::Miss;
        }
        // The first data may overtake the ACK, so anything inside the window we announced completes the handshake.
        let ahead = segment.seq().wrapping_sub(entry.client_isn.wrapping_add(1));
        if ahead >= u32::from(entry.syn_ack.window).max(1) {
            return AckVerdict::Drop(DropReason::OutOfWindow);
        }
        let timestamps = match segment.options() {
            Ok(options) => options.timestamps,
            Err(reason) => return AckVerdict::Drop(reason),
        };
        // RFC 7323 §3.2: once agreed on, every segment must carry them.
        if entry.options.timestamps && timestamps.is_none() {
            return AckVerdict::Drop(DropReason::Malformed);
        }
        let accepted = Accepted {
            listener: entry.listener,
            client_isn: entry.client_isn,
            isn: entry.syn_ack.isn,
            window: entry.syn_ack.window,
            window_scale: entry.syn_ack.options.window_scale,
            options: entry.options,
            timestamps: timestamps.filter(|_| entry.options.timestamps),
        };
        self.remove(index);
        self.counters.accepted += 1;
        AckVerdict::Accepted(accepted)
    }

    /// Looks at a RST. One whose sequence number is exactly the next one ends its connection (RFC 5961 §3.2), and the
    /// answer is true; any other is to be dropped.
    pub fn handle_rst(&mut self, headers: &Headers, seq: u32) -> bool {
        let Some((index, entry)) = headers.flow_key().and_then(|flow| self.table.lookup(&flow)) else {
            return false;
        };
        let exact = seq == entry.client_isn.wrapping_add(1);
        if exact {
            self.remove(index);
            self.counters.reset += 1;
        }
        exact
    }

    /// Forgets a connection that was completed in another way: its client acknowledged a cookie.
    pub fn forget(&mut self, flow: &FlowKey) {
        if let Some(index) = self.table.find(flow) {
            self.remove(index);
            self.counters.forgotten += 1;
        }
    }

    /// When [`HalfOpen::handle_timeout`] and [`HalfOpen::poll_transmit`] next have something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.table.first_deadline()
    }

    /// Forgets up to `budget` connections whose last timeout has passed, and returns how many.
    pub fn handle_timeout(&mut self, now: Instant, budget: usize) -> usize {
        let mut forgotten = 0;
        while forgotten < budget {
            let Some(index) = self.table.due(TIMEOUTS.len() - 1, now) else { break };
            self.remove(index);
            self.counters.expired += 1;
            forgotten += 1;
        }
        forgotten
    }

    /// Writes the next SYN-ACK to be repeated into `packet`, whole frame, and returns the port to send it on; `None`
    /// when none is due. A packet without room for a SYN-ACK costs that repetition.
    pub fn poll_transmit(&mut self, packet: &mut PacketBuf<'_>, now: Instant) -> Option<PortId> {
        loop {
            let index = (0..TIMEOUTS.len() - 1).find_map(|list| self.table.due(list, now))?;
            self.table.repeat(index, now);
            self.counters.retransmitted += 1;
            let entry = self.table.get_mut(index)?;
            entry.renew_timestamp(now);
            let (link, flow, syn_ack) = (entry.link, entry.flow, entry.syn_ack);
            let header = link.header();
            if packet.set_len(header.len()) {
                packet.bytes_mut().copy_from_slice(header);
                let frame = SynAckFrame { link_len: header.len(), flow, syn_ack };
                if write_syn_ack(packet, &frame).is_ok() {
                    return Some(link.port);
                }
            }
        }
    }

    /// A new entry for the SYN in `frame`.
    fn entry(
        &self,
        frame: &[u8],
        headers: &Headers,
        flow: FlowKey,
        ingress: SynIngress,
        offer: &Offer,
        now: Instant,
    ) -> Result<Entry, DropReason> {
        let l4 = frame.get(headers.l4..headers.end).ok_or(DropReason::Truncated)?;
        let segment = Segment::new_checked(l4)?;
        let received = segment.options()?;
        let header = frame.get(..headers.link_len).ok_or(DropReason::Truncated)?;
        let link = Link::reply_to(ingress.port, ingress.mtu, header).ok_or(DropReason::Truncated)?;
        let ecn = headers.tcp_flags.contains(Flags::ECE | Flags::CWR);
        let options = ClientOptions::negotiate(&flow, &received, ecn, offer);
        // RFC 6528: a clock of 4 us, moved by a secret function of the connection. The other half moves TSval.
        let secret = hash24(&self.keys.isn, [flow.hash(&self.keys.isn)], 0, 0);
        let isn = ((now.as_nanos() / 4_000) as u32).wrapping_add(secret as u32);
        let echo = received.timestamps.map_or(0, |timestamps| timestamps.value);
        let client_isn = segment.seq();
        Ok(Entry {
            flow,
            link,
            client_isn,
            syn_ack: SynAck::new(&flow, client_isn, isn, &options, Timestamps { value: 0, echo }, offer),
            options,
            timestamp_offset: (secret >> 32) as u32,
            listener: ingress.listener,
        })
    }

    /// Stores an entry, evicting another if it must.
    fn insert(&mut self, entry: Entry, now: Instant) -> Result<(), DropReason> {
        if self.table.is_full() {
            let Some(victim) = self.table.most_repeated() else {
                self.counters.refused += 1;
                return Err(DropReason::BacklogFull);
            };
            self.remove(victim);
            self.counters.evicted += 1;
        }
        if !self.table.insert(entry, now) {
            self.counters.refused += 1;
            return Err(DropReason::BacklogFull);
        }
        self.counters.opened += 1;
        if let Some(count) = self.listeners.get_mut(usize::from(entry.listener)) {
            *count += 1;
        }
        Ok(())
    }

    fn remove(&mut self, index: u32) {
        let Some(entry) = self.table.remove(index) else { return };
        if let Some(count) = self.listeners.get_mut(usize::from(entry.listener)) {
            *count = count.saturating_sub(1);
        }
    }
}
