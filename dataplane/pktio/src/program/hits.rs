//! How often a block dropped something.
//!
//! Owns: reading the counts of entries, and of what cores have not added to them yet; carrying a count over when its
//! entry is written anew. Does not own: counting (`bpf/list.h`). Cost: one system call per prefix, two for a single
//! address. A prefix of /16 or wider that fills whole slots of the IPv4 index is blocked without a look at its entry;
//! only the program's counters know such packets.

use core::net::IpAddr;

use ipnet::IpNet;
use libbpf_rs::{MapCore as _, MapFlags, MapHandle};

use super::Program;
use super::maps::{ListKey, bytes, from_bytes};
use crate::skel::xdp::types;

/// `HASH_MULTIPLIER` of `bpf/consts.h`; a test over the live program would find another one.
const HASH_MULTIPLIER: u32 = 0x9e37_79b1;

impl Program {
    /// Packets that the entry of exactly this prefix dropped since it was listed; `None`: it is not listed. Counts end
    /// with the entry, not with the process.
    pub fn hits(&self, prefix: IpNet) -> Option<u64> {
        let prefix = prefix.trunc();
        let kept = self.entry(prefix)?.packets;
        let is_single = prefix.prefix_len() == prefix.max_prefix_len();
        Some(kept + if is_single { self.remembered(prefix.addr()) } else { 0 })
    }

    /// The entry of a prefix as the kernel has it. The map answers with the longest prefix that covers the key, so
    /// another entry than the one asked for is told apart by this: only our own lists say what is there.
    pub(super) fn entry(&self, prefix: IpNet) -> Option<types::list_value> {
        if !self.list.has(prefix) {
            return None;
        }
        let value = match ListKey::of(prefix) {
            ListKey::V4(key) => self.maps.list_v4.lookup(bytes(&key), MapFlags::ANY),
            ListKey::V6(key) => self.maps.list_v6.lookup(bytes(&key), MapFlags::ANY),
        };
        from_bytes(&value.ok()??)
    }

    /// Packets of one source that cores remember and have not added to its entry.
    fn remembered(&self, addr: IpAddr) -> u64 {
        match addr {
            IpAddr::V4(addr) => {
                let addr = u32::from_ne_bytes(addr.octets());
                let of_core = |core: Vec<u8>| {
                    from_bytes::<types::cache_v4>(&core)
                        .filter(|seen| seen.addr == addr)
                        .map(|seen| seen.packets)
                };
                sum(&self.maps.blocked_v4, slot(addr.wrapping_mul(HASH_MULTIPLIER)), of_core)
            }
            IpAddr::V6(addr) => {
                let addr = super::maps::words(addr.octets());
                let hash = (addr[0] ^ addr[2]).wrapping_mul(HASH_MULTIPLIER) ^ addr[1] ^ addr[3];
                let of_core = |core: Vec<u8>| {
                    from_bytes::<types::cache_v6>(&core)
                        .filter(|seen| seen.addr == addr)
                        .map(|seen| seen.packets)
                };
                sum(&self.maps.blocked_v6, slot(hash.wrapping_mul(HASH_MULTIPLIER)), of_core)
            }
        }
    }
}

fn slot(hash: u32) -> u32 {
    hash >> (32 - types::limit::CACHE_SLOT_BITS.0)
}

fn sum(map: &MapHandle, slot: u32, of_core: impl Fn(Vec<u8>) -> Option<u32>) -> u64 {
    let per_core = map.lookup_percpu(bytes(&slot), MapFlags::ANY).ok().flatten().unwrap_or_default();
    per_core.into_iter().filter_map(of_core).map(u64::from).sum()
}
