//! What the XDP program does about SYN cookies, in memory.
//!
//! Owns: SYNs answered and segments dropped before any worker sees them, flags and counts per slot, the list of open
//! flows. Does not own: the answer's bytes (`net::syncookie`, which the program is compared with elsewhere), when to
//! switch (the workers under test). A frame that is not a whole, readable TCP segment goes to its worker, as in the
//! program.
//!
//! After each turn the list is compared with the flows of all workers: the table that decides what is dropped never
//! misses a live flow.

use crate::frame::{self, Payload, flag};
use crate::scenario::{SERVICE_V4, SERVICE_V6};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use secbeat_net::census::FlowCensus;
use secbeat_net::flow::{Endpoint, FlowKey, FlowWatch, Protocol};
use secbeat_net::packet::PacketBuf;
use secbeat_net::syncookie;
use secbeat_net::time::Instant;
use secbeat_net::wire;
use secbeat_node::event::ListenerId;
use secbeat_node::forefront::Forefront;
use secbeat_node::policy::Policy;
use secbeat_pktio::program::{CookieCounts, CookieSlot};
use std::sync::Mutex;

/// One listener per family has a slot.
const SLOTS: usize = 2;
/// Most flows that the workers of a scenario have.
const FLOWS_MAX: usize = 4_096;
/// Flows whose handshake was just completed, and whose worker has not opened them yet.
const FRESH_MAX: usize = 64;

/// What stands before the workers.
#[derive(Debug)]
pub struct FrontModel {
    flows: FlowCensus,
    answering: [AtomicBool; SLOTS],
    gated: [AtomicBool; SLOTS],
    answered: [AtomicU64; SLOTS],
    valid: [AtomicU64; SLOTS],
    forged: [AtomicU64; SLOTS],
    no_flow: [AtomicU64; SLOTS],
    fresh: Mutex<Vec<FlowKey>>,
}

/// What becomes of a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its worker gets it.
    Worker,
    /// It was a SYN: this is the answer.
    Answered(Vec<u8>),
    /// It is dropped.
    Dropped,
}

impl Default for FrontModel {
    fn default() -> Self {
        let flags = || [const { AtomicBool::new(false) }; SLOTS];
        let counts = || [const { AtomicU64::new(0) }; SLOTS];
        Self {
            flows: FlowCensus::with_capacity(FLOWS_MAX),
            answering: flags(),
            gated: flags(),
            answered: counts(),
            valid: counts(),
            forged: counts(),
            no_flow: counts(),
            fresh: Mutex::new(Vec::with_capacity(FRESH_MAX)),
        }
    }
}

impl FlowWatch for FrontModel {
    fn opened(&self, key: &FlowKey) {
        self.flows.opened(key);
    }

    fn freed(&self, key: &FlowKey) {
        self.flows.freed(key);
    }
}

impl Forefront for FrontModel {
    fn set_answering(&self, slot: CookieSlot, on: bool) {
        self.answering[slot.index()].store(on, Ordering::Relaxed);
    }

    fn set_gate(&self, slot: CookieSlot, on: bool) {
        self.gated[slot.index()].store(on, Ordering::Relaxed);
    }

    fn counts(&self, slot: CookieSlot) -> CookieCounts {
        let read = |counts: &[AtomicU64; SLOTS]| counts[slot.index()].load(Ordering::Relaxed);
        CookieCounts {
            answered: read(&self.answered),
            valid: read(&self.valid),
            forged: read(&self.forged),
            no_flow: read(&self.no_flow),
            broken: 0,
        }
    }

    fn overflowed(&self) -> u64 {
        0
    }
}

impl FrontModel {
    /// Slots of the TCP listeners: the first is IPv4's, the second IPv6's.
    pub fn slots() -> Vec<(ListenerId, CookieSlot)> {
        (0..SLOTS as u16).map(|number| (number, CookieSlot::from_index(number))).collect()
    }

    /// How the list differs from the flows that workers have.
    pub fn difference(&self, keys: impl Iterator<Item = FlowKey>) -> Option<String> {
        self.flows.difference(keys)
    }

    /// SYNs answered and segments dropped, over all slots.
    pub fn totals(&self) -> (u64, u64) {
        let sum = |counts: &[AtomicU64; SLOTS]| -> u64 {
            counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
        };
        (sum(&self.answered), sum(&self.forged) + sum(&self.no_flow))
    }

    /// A frame arrives from the network.
    pub fn judge(&self, bytes: &[u8], policy: &Policy, is_blocked: bool, now: Instant) -> Fate {
        let Ok(packet) = frame::read(bytes) else { return Fate::Worker };
        let Payload::Tcp(segment) = &packet.payload else { return Fate::Worker };
        let slot = match packet.to() {
            to if to == SERVICE_V4 => 0,
            to if to == SERVICE_V6 => 1,
            _ => return Fate::Worker,
        };
        let end = |at: core::net::SocketAddr| Endpoint { addr: at.ip(), port: at.port() };
        let key =
            FlowKey { protocol: Protocol::Tcp, source: end(packet.from()), destination: end(packet.to()) };
        if is_blocked || self.flows.contains(&key) {
            return Fate::Worker;
        }
        let flags = segment.flags & (flag::SYN | flag::ACK | flag::RST | flag::FIN);
        if flags == flag::SYN {
            return self.answer(bytes, policy, slot, now);
        }
        if !self.gated[slot].load(Ordering::Relaxed) {
            return Fate::Worker;
        }
        let mut fresh = self.fresh.lock().expect("nobody panics with it");
        if segment.has(flag::SYN) || segment.has(flag::RST) || !segment.has(flag::ACK) {
            self.no_flow[slot].fetch_add(1, Ordering::Relaxed);
            return Fate::Dropped;
        }
        let (client_isn, cookie) = (segment.seq.wrapping_sub(1), segment.ack.wrapping_sub(1));
        let echo = segment.options.timestamps.map(|(_, echo)| echo);
        if syncookie::check(&policy.keys, &key, client_isn, cookie, echo).is_some() {
            self.valid[slot].fetch_add(1, Ordering::Relaxed);
            if fresh.len() == FRESH_MAX {
                fresh.remove(0);
            }
            fresh.push(key);
            return Fate::Worker;
        }
        if fresh.contains(&key) {
            return Fate::Worker;
        }
        self.forged[slot].fetch_add(1, Ordering::Relaxed);
        Fate::Dropped
    }

    fn answer(&self, bytes: &[u8], policy: &Policy, slot: usize, now: Instant) -> Fate {
        if !self.answering[slot].load(Ordering::Relaxed) {
            return Fate::Worker;
        }
        let (Ok(headers), Some(listener)) = (wire::parse(bytes), policy.listener(slot as ListenerId)) else {
            return Fate::Worker;
        };
        let mut buffer = vec![0; bytes.len() + 64];
        buffer[..bytes.len()].copy_from_slice(bytes);
        let mut packet = PacketBuf::new(&mut buffer, 0, bytes.len());
        if syncookie::answer_syn(&mut packet, &headers, &policy.keys, &listener.offer, now).is_err() {
            return Fate::Dropped;
        }
        self.answered[slot].fetch_add(1, Ordering::Relaxed);
        Fate::Answered(packet.bytes().to_vec())
    }
}
