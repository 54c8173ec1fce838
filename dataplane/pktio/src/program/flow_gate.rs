//! The table of open client flows, shared with the program: what is in it goes to a worker without further questions.
//!
//! Owns: the hash of a flow, buckets, their sizes. Does not own: which flows are open (workers say), what happens to
//! segments of no flow (`bpf/cookie.h`).
//!
//! ```text
//!   bucket, 64 bytes | fingerprint x 15 (0 = empty) | overflow |     by the low bits of the hash; fingerprint: the high
//! ```
//!
//! A multiset: two flows with one fingerprint take two places. A bucket that is full counts in `overflow` what it cannot
//! hold, and the program leaves everything of such a bucket to the workers: the table may say "open" of a flow that is
//! not, never the other way round. Removals look from the first place to the last, so one that finds
//! nothing has an entry of its own in `overflow`, whatever others do meanwhile.
//!
//! Cost: one SipHash-1-3, one cache line, one compare-and-swap; no lock, no system call, no allocation.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicU32, Ordering};

use crate::skel::xdp::types;

/// A client's flow: from `client` to the listener's address `service`. Both of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GateFlow {
    /// The client's address and port.
    pub client: SocketAddr,
    /// The address and port it talks to.
    pub service: SocketAddr,
}

/// Places of a bucket.
const SLOTS: usize = types::limit::FLOW_BUCKET_SLOTS.0 as usize;
/// Words of a bucket: its places and the overflow.
const BUCKET_WORDS: usize = SLOTS + 1;

/// Buckets for `flows_max` flows at about half of the places, a power of two.
pub(super) fn bucket_count(flows_max: usize) -> u32 {
    let (min, max) = (types::limit::FLOW_BUCKETS_MIN.0, types::limit::FLOW_BUCKETS_MAX.0);
    let wanted = flows_max.saturating_mul(2).div_ceil(SLOTS);
    u32::try_from(wanted).unwrap_or(max).clamp(min, max).next_power_of_two()
}

/// Keyed hash of a flow, as `flow_hash_v4` and `flow_hash_v6` of `bpf/flow.h`: over the bytes of the packet as they lie
/// in memory.
pub(super) fn hash(key: [u64; 2], flow: &GateFlow) -> u64 {
    let mut ports = [0; 8];
    ports[..2].copy_from_slice(&flow.client.port().to_be_bytes());
    ports[2..4].copy_from_slice(&flow.service.port().to_be_bytes());
    let ports = u64::from(u32::from_ne_bytes([ports[0], ports[1], ports[2], ports[3]]));
    let mut state = SipHash13::new(key);
    match (flow.client.ip(), flow.service.ip()) {
        (IpAddr::V4(client), IpAddr::V4(service)) => {
            let ([a, b, c, d], [e, f, g, h]) = (client.octets(), service.octets());
            state.absorb(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
            state.absorb(12 << 56 | ports);
        }
        (client, service) => {
            for addr in [client, service] {
                let octets = match addr {
                    IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
                    IpAddr::V6(addr) => addr.octets(),
                };
                for half in octets.as_chunks::<8>().0 {
                    state.absorb(u64::from_ne_bytes(*half));
                }
            }
            state.absorb(36 << 56 | ports);
        }
    }
    state.finish()
}

/// SipHash-1-3 (Aumasson, Bernstein 2012) over words.
struct SipHash13([u64; 4]);

impl SipHash13 {
    fn new([k0, k1]: [u64; 2]) -> Self {
        // "somepseudorandomlygeneratedbytes"
        Self([
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ])
    }

    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }

    fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    fn finish(mut self) -> u64 {
        self.0[2] ^= 0xff;
        for _ in 0..3 {
            self.round();
        }
        let [a, b, c, d] = self.0;
        a ^ b ^ c ^ d
    }
}

/// A view of the table's memory.
#[derive(Clone, Copy)]
pub(super) struct FlowTable<'a> {
    words: &'a [AtomicU32],
}

impl<'a> FlowTable<'a> {
    /// `words` are whole buckets, a power of two of them.
    pub(super) fn new(words: &'a [AtomicU32]) -> Self {
        debug_assert!((words.len() / BUCKET_WORDS).is_power_of_two());
        Self { words }
    }

    fn bucket(&self, hash: u64) -> (u32, &'a [AtomicU32], &'a AtomicU32) {
        let mask = self.words.len() / BUCKET_WORDS - 1;
        let at = (hash as usize & mask) * BUCKET_WORDS;
        let fingerprint = ((hash >> 32) as u32).max(1);
        (fingerprint, &self.words[at..at + SLOTS], &self.words[at + SLOTS])
    }

    /// Adds a flow; `false` when it found no place and is counted as overflow.
    pub(super) fn insert(&self, hash: u64) -> bool {
        let (fingerprint, places, overflow) = self.bucket(hash);
        let put = |place: &AtomicU32| {
            place.load(Ordering::Relaxed) == 0
                && place.compare_exchange(0, fingerprint, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let placed = places.iter().any(put);
        if !placed {
            overflow.fetch_add(1, Ordering::AcqRel);
        }
        placed
    }

    /// Removes a flow that was added before, once.
    pub(super) fn remove(&self, hash: u64) {
        let (fingerprint, places, overflow) = self.bucket(hash);
        let take = |place: &AtomicU32| {
            place.load(Ordering::Acquire) == fingerprint
                && place.compare_exchange(fingerprint, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
        };
        if !places.iter().any(take) {
            overflow.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// What the program would say.
    #[cfg(test)]
    pub(super) fn contains(&self, hash: u64) -> bool {
        let (fingerprint, places, overflow) = self.bucket(hash);
        places.iter().any(|place| place.load(Ordering::Acquire) == fingerprint)
            || overflow.load(Ordering::Acquire) != 0
    }
}

#[cfg(test)]
mod tests;
