//! SYN cookies that the program answers itself: keys, slots of listeners, counts.
//!
//! Owns: the memory shared with the program (`struct cookie_state`, `cookie_slot`, `cookie_line` of `bpf/structs.h`), the
//! numbering of slots. Does not own: the format of cookies (`net::syncookie` and `bpf/cookie.h`), when they are used (the
//! workers), which epoch it is.
//!
//! ```text
//!   listener --set_listeners_with_cookies--> slot: offer         written by the owner of the Program
//!   worker   --CookieGate::set_answering---> slot: flags         by any worker, one word
//!   program  --one cache line per core-----> slot: counts        read by anyone, no system call
//! ```
//!
//! Nothing of it is pinned: a restarted process begins with no keys, all slots off and an empty flow table.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use super::flow_gate::{self, FlowTable, GateFlow};
use super::maps::{Constants, Maps};
use super::{COOKIE_SLOTS_MAX, CookieConfig, ListenerKey, ProgramError};
use crate::kernel::{self, SharedWords};
use crate::skel::xdp::types;

/// The clock that the program reads, in nanoseconds: `CLOCK_MONOTONIC_COARSE`, which runs in steps of a kernel tick.
pub fn clock_ns() -> u64 {
    kernel::monotonic_coarse_ns()
}

/// The secrets that make and check cookies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CookieKeys {
    /// The epoch whose key makes cookies.
    pub epoch: u32,
    /// The keys of the epoch before, of `epoch`, and of the one after it.
    pub keys: [(u64, u64); 3],
}

impl fmt::Debug for CookieKeys {
    /// Never prints the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieKeys").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// What may be promised to clients of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieOffer {
    /// MSS to announce over IPv4, bytes.
    pub mss_v4: u16,
    /// MSS to announce over IPv6, bytes.
    pub mss_v6: u16,
    /// Window of the SYN-ACK, bytes.
    pub window: u16,
    /// Window scale to announce; `None` = do not scale.
    pub window_scale: Option<u8>,
    /// Whether timestamps may be used. Without them a cookie carries no other option.
    pub timestamps: bool,
    /// Whether SACK may be used.
    pub sack: bool,
    /// Whether ECN may be used.
    pub ecn: bool,
}

impl CookieOffer {
    /// As `struct cookie_slot` holds it.
    fn packed(&self) -> u64 {
        let of = |number: types::cookie_offer, on: bool| if on { u64::from(number.0) } else { 0 };
        let features = of(types::cookie_offer::OFFER_WINDOW_SCALE, self.window_scale.is_some())
            | of(types::cookie_offer::OFFER_TIMESTAMPS, self.timestamps)
            | of(types::cookie_offer::OFFER_SACK, self.sack)
            | of(types::cookie_offer::OFFER_ECN, self.ecn);
        u64::from(self.mss_v4)
            | u64::from(self.mss_v6) << types::cookie_offer::OFFER_MSS_V6_SHIFT.0
            | u64::from(self.window) << types::cookie_offer::OFFER_WINDOW_SHIFT.0
            | u64::from(self.window_scale.unwrap_or(0)) << types::cookie_offer::OFFER_WINDOW_SCALE_SHIFT.0
            | features << types::cookie_offer::OFFER_FEATURES_SHIFT.0
    }
}

/// The place of a listener among those whose SYNs the program may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CookieSlot(u16);

impl CookieSlot {
    /// The slot of this number, for what stands for the program where there is none.
    #[doc(hidden)]
    pub const fn from_index(index: u16) -> Self {
        Self(index)
    }

    /// Its number, below [`COOKIE_SLOTS_MAX`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the program did for a slot, summed over cores. Grows while the listener keeps its slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CookieCounts {
    /// SYNs answered with a cookie.
    pub answered: u64,
    /// ACKs of no open flow with a valid cookie, handed to a worker.
    pub valid: u64,
    /// ACKs of no open flow whose cookie is not valid, dropped.
    pub forged: u64,
    /// Other segments of no open flow (RST, SYN with ACK, no ACK), dropped.
    pub no_flow: u64,
    /// SYNs and ACKs with broken options, dropped.
    pub broken: u64,
}

/// Words of 64 bits in `struct cookie_line`.
const LINE_LONGS: usize = size_of::<types::cookie_line>() / 8;
/// Words of `struct cookie_state`: 64-bit words of keys, then the epoch and whether there are keys.
const STATE_KEYS: usize = 8;
const STATE_EPOCH: usize = STATE_KEYS * 2;
const STATE_READY: usize = STATE_EPOCH + 1;
/// Cores with a line of their own.
const CORES_MAX: usize = types::limit::COOKIE_CPUS_MAX.0 as usize;

/// The memory, mapped once per process.
struct Shared {
    state: SharedWords,
    slots: SharedWords,
    counts: SharedWords,
    flows: SharedWords,
    /// Cores whose lines are summed.
    cores: usize,
    flow_hash_key: [u64; 2],
    overflowed: AtomicU64,
}

/// The part that workers share: flags of slots, counts, the flow table. All calls are a few loads and stores on shared
/// memory.
#[derive(Clone)]
pub struct CookieGate(Arc<Shared>);

impl fmt::Debug for CookieGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieGate").field("overflowed", &self.overflowed()).finish_non_exhaustive()
    }
}

impl CookieGate {
    pub(super) fn map(maps: &Maps, constants: &Constants) -> Result<Self, ProgramError> {
        let map = |map: &libbpf_rs::MapHandle, bytes: usize, what: &str| {
            SharedWords::map(map.as_fd(), bytes / 4)
                .map_err(|source| ProgramError::Kernel { action: format!("map the {what}"), source })
        };
        let lines = COOKIE_SLOTS_MAX * CORES_MAX * size_of::<types::cookie_line>();
        let buckets = (constants.flow_bucket_mask as usize + 1) * size_of::<types::flow_bucket>();
        let slots = COOKIE_SLOTS_MAX * size_of::<types::cookie_slot>();
        let state = map(&maps.cookie_state, size_of::<types::cookie_state>(), "keys of SYN cookies")?;
        Ok(Self(Arc::new(Shared {
            state,
            slots: map(&maps.cookie_slots, slots, "slots of SYN cookies")?,
            counts: map(&maps.cookie_counts, lines, "counts of SYN cookies")?,
            flows: map(&maps.flow_buckets, buckets, "flow table")?,
            cores: kernel::cores_possible().min(CORES_MAX),
            flow_hash_key: constants.flow_hash_key,
            overflowed: AtomicU64::new(0),
        })))
    }

    /// Starts or stops answering SYNs of a slot. Nothing is answered before there are keys, or on a queue without a
    /// socket.
    pub fn set_answering(&self, slot: CookieSlot, on: bool) {
        self.set_flag(slot, types::cookie_flag::COOKIE_ANSWER, on);
    }

    /// Starts or stops dropping segments of a slot that belong to no flow and carry no valid cookie.
    pub fn set_gate(&self, slot: CookieSlot, on: bool) {
        self.set_flag(slot, types::cookie_flag::COOKIE_GATE, on);
    }

    /// Whether SYNs of a slot are answered, and whether its gate is shut.
    pub fn flags(&self, slot: CookieSlot) -> (bool, bool) {
        let flags = self.flag_word(slot).load(Ordering::Acquire);
        (flags & types::cookie_flag::COOKIE_ANSWER.0 != 0, flags & types::cookie_flag::COOKIE_GATE.0 != 0)
    }

    fn flag_word(&self, slot: CookieSlot) -> &AtomicU32 {
        &self.0.slots.words()[slot.index() * size_of::<types::cookie_slot>() / 4]
    }

    fn set_flag(&self, slot: CookieSlot, flag: types::cookie_flag, on: bool) {
        let word = self.flag_word(slot);
        if on {
            word.fetch_or(flag.0, Ordering::AcqRel);
        } else {
            word.fetch_and(!flag.0, Ordering::AcqRel);
        }
    }

    /// What the program did for a slot. One cache line per core is read.
    pub fn counts(&self, slot: CookieSlot) -> CookieCounts {
        let mut sum = CookieCounts::default();
        for core in 0..self.0.cores {
            let line = self.line(slot, core);
            let count = |at: usize| line[at].load(Ordering::Relaxed);
            sum.answered += count(0);
            sum.valid += count(1);
            sum.forged += count(2);
            sum.no_flow += count(3);
            sum.broken += count(4);
        }
        sum
    }

    fn line(&self, slot: CookieSlot, core: usize) -> &[AtomicU64] {
        let at = (slot.index() * CORES_MAX + core) * LINE_LONGS;
        &self.0.counts.long_words()[at..at + LINE_LONGS]
    }

    /// Says that a flow is open: its segments reach the workers. To be called before its first answer is sent.
    pub fn insert(&self, flow: &GateFlow) {
        let hash = flow_gate::hash(self.0.flow_hash_key, flow);
        if !FlowTable::new(self.0.flows.words()).insert(hash) {
            self.0.overflowed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says that a flow is no more; once for each [`Self::insert`].
    pub fn remove(&self, flow: &GateFlow) {
        FlowTable::new(self.0.flows.words()).remove(flow_gate::hash(self.0.flow_hash_key, flow));
    }

    /// Flows that found their bucket full since the start.
    pub fn overflowed(&self) -> u64 {
        self.0.overflowed.load(Ordering::Relaxed)
    }

    /// Writes the keys of the three accepted epochs. From one epoch to the next only the place is written that was not
    /// in use, so no cookie is judged by half a key.
    pub(super) fn set_keys(&self, keys: &CookieKeys) {
        let (longs, words) = (self.0.state.long_words(), self.0.state.words());
        for (offset, (k0, k1)) in (0u32..).zip(keys.keys) {
            let place = (keys.epoch.wrapping_add(offset).wrapping_sub(1) & 3) as usize * 2;
            longs[place].store(k0, Ordering::Relaxed);
            longs[place + 1].store(k1, Ordering::Relaxed);
        }
        words[STATE_EPOCH].store(keys.epoch, Ordering::Release);
        words[STATE_READY].store(1, Ordering::Release);
    }

    pub(super) fn switch_off(&self, slot: CookieSlot) {
        self.flag_word(slot).store(0, Ordering::Release);
    }

    fn set_offer(&self, slot: CookieSlot, offer: &CookieOffer) {
        let at = slot.index() * size_of::<types::cookie_slot>() / 8 + 1;
        self.0.slots.long_words()[at].store(offer.packed(), Ordering::Release);
    }

    /// Begins a slot: off, nothing counted.
    fn clear(&self, slot: CookieSlot) {
        self.switch_off(slot);
        for core in 0..self.0.cores {
            for count in self.line(slot, core) {
                count.store(0, Ordering::Relaxed);
            }
        }
    }
}

/// Which listener has which slot.
#[derive(Debug)]
pub(super) struct Slots {
    owners: Vec<Option<ListenerKey>>,
    /// Where the search for a free one begins: one that was given up is used again as late as possible, when no core
    /// remembers its listener any more.
    next: usize,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self { owners: vec![None; COOKIE_SLOTS_MAX], next: 0 }
    }

    /// Slots of listeners that are not among `wanted`: to be given up once the program no longer knows the listeners.
    pub(super) fn stale(&self, wanted: impl Fn(&ListenerKey) -> bool) -> Vec<CookieSlot> {
        let is_stale = |owner: &Option<ListenerKey>| owner.as_ref().is_some_and(|owner| !wanted(owner));
        let numbers = (0u16..).zip(&self.owners).filter(|(_, owner)| is_stale(owner));
        numbers.map(|(number, _)| CookieSlot(number)).collect()
    }

    /// Frees a slot.
    pub(super) fn give_up(&mut self, slot: CookieSlot) {
        self.owners[slot.index()] = None;
    }

    /// The slot of a listener, the one it has or a free one, with its offer written. `None`: all are taken.
    pub(super) fn take(
        &mut self,
        listener: &ListenerKey,
        offer: &CookieOffer,
        gate: &CookieGate,
    ) -> Option<CookieSlot> {
        let has = self.owners.iter().position(|owner| owner.as_ref() == Some(listener));
        let slot = if let Some(index) = has {
            CookieSlot(index as u16)
        } else {
            let count = self.owners.len();
            let mut places = (0..count).map(|step| (self.next + step) % count);
            let index = places.find(|index| self.owners[*index].is_none())?;
            self.next = (index + 1) % count;
            self.owners[index] = Some(*listener);
            let slot = CookieSlot(index as u16);
            gate.clear(slot);
            slot
        };
        gate.set_offer(slot, offer);
        Some(slot)
    }
}

/// Constants of the program from the configuration, with a new key for the flow table.
pub(super) fn constants(config: &CookieConfig) -> Result<Constants, ProgramError> {
    let failed = |source| ProgramError::Kernel { action: "draw the key of the flow table".into(), source };
    Ok(Constants {
        clock_base_ns: config.clock_base_ns,
        flow_bucket_mask: flow_gate::bucket_count(config.flows_max) - 1,
        flow_hash_key: kernel::random_words().map_err(failed)?,
    })
}
