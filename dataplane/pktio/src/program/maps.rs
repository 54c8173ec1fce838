//! The program's maps, as descriptors that outlive the loader.
//!
//! Owns: reuse after a restart, keys and values as bytes. Does not own: what is written (`list`, `program`).

use core::net::IpAddr;
use core::sync::atomic::Ordering;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use ipnet::IpNet;
use libbpf_rs::skel::{OpenSkel as _, SkelBuilder as _};
use libbpf_rs::{MapCore as _, MapFlags, MapHandle};

use super::attach::kernel_error;
use super::list::List;
use super::pins::Pins;
use super::{ProgramError, Unbound};
use crate::kernel;
use crate::skel::xdp as skel;
use crate::skel::xdp::types;

/// A map key or value: what the kernel copies byte by byte.
///
/// # Safety
/// The type is `repr(C)`, has no padding, and every bit pattern is a value of it.
pub(super) unsafe trait Plain: Copy + Default {}

// SAFETY: integers, and the generated structs of structs.h, which name every byte (`unused`); checked by the
// sizes in the test below.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for types::list_key_v4 {}
// SAFETY: as above.
unsafe impl Plain for types::list_key_v6 {}
// SAFETY: as above.
unsafe impl Plain for types::list_value {}
// SAFETY: as above.
unsafe impl Plain for types::cache_v4 {}
// SAFETY: as above.
unsafe impl Plain for types::cache_v6 {}
// SAFETY: as above.
unsafe impl Plain for types::listener_key_v4 {}
// SAFETY: as above.
unsafe impl Plain for types::listener_key_v6 {}
// SAFETY: as above.
unsafe impl Plain for types::local_key_v6 {}
// SAFETY: as above.
unsafe impl Plain for types::local_value {}

/// The bytes of a key or value.
pub(super) fn bytes<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: `Plain` has no padding, so all bytes are initialised.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// A key or value of bytes from the kernel; `None` when their number is wrong.
pub(super) fn from_bytes<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: as many bytes as `T` has, every pattern of which is a `T`; the read does not assume alignment.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

macro_rules! maps {
    ($($name:ident),+ $(,)?) => {
        /// All maps that are pinned and shared between interfaces, and those that are shared only.
        #[derive(Debug)]
        pub(super) struct Maps {
            pub(super) sockets: MapHandle,
            pub(super) blocked_v4: MapHandle,
            pub(super) blocked_v6: MapHandle,
            seen_v4: MapHandle,
            seen_v6: MapHandle,
            pub(super) cookie_state: MapHandle,
            pub(super) cookie_slots: MapHandle,
            pub(super) cookie_counts: MapHandle,
            pub(super) flow_buckets: MapHandle,
            $(pub(super) $name: MapHandle,)+
        }

        impl Maps {
            fn of(skel: &skel::XdpSkel<'_>) -> libbpf_rs::Result<Self> {
                Ok(Self {
                    sockets: MapHandle::try_from(&skel.maps.sockets)?,
                    blocked_v4: MapHandle::try_from(&skel.maps.blocked_v4)?,
                    blocked_v6: MapHandle::try_from(&skel.maps.blocked_v6)?,
                    seen_v4: MapHandle::try_from(&skel.maps.seen_v4)?,
                    seen_v6: MapHandle::try_from(&skel.maps.seen_v6)?,
                    cookie_state: MapHandle::try_from(&skel.maps.cookie_state)?,
                    cookie_slots: MapHandle::try_from(&skel.maps.cookie_slots)?,
                    cookie_counts: MapHandle::try_from(&skel.maps.cookie_counts)?,
                    flow_buckets: MapHandle::try_from(&skel.maps.flow_buckets)?,
                    $($name: MapHandle::try_from(&skel.maps.$name)?,)+
                })
            }

            /// Makes an open object use these maps instead of its own.
            fn lend(&self, open: &mut skel::OpenXdpSkel<'_>) -> libbpf_rs::Result<()> {
                open.maps.sockets.reuse_fd(self.sockets.as_fd())?;
                open.maps.blocked_v4.reuse_fd(self.blocked_v4.as_fd())?;
                open.maps.blocked_v6.reuse_fd(self.blocked_v6.as_fd())?;
                open.maps.seen_v4.reuse_fd(self.seen_v4.as_fd())?;
                open.maps.seen_v6.reuse_fd(self.seen_v6.as_fd())?;
                open.maps.cookie_state.reuse_fd(self.cookie_state.as_fd())?;
                open.maps.cookie_slots.reuse_fd(self.cookie_slots.as_fd())?;
                open.maps.cookie_counts.reuse_fd(self.cookie_counts.as_fd())?;
                open.maps.flow_buckets.reuse_fd(self.flow_buckets.as_fd())?;
                $(open.maps.$name.reuse_fd(self.$name.as_fd())?;)+
                Ok(())
            }

            /// Makes an open object use the pinned maps; `false` when one is missing or of another shape.
            fn lend_pinned(pins: &Pins, open: &mut skel::OpenXdpSkel<'_>) -> bool {
                $(
                    let Ok(pinned) = MapHandle::from_pinned_path(pins.map(stringify!($name))) else { return false };
                    let own = &open.maps.$name;
                    if kernel::map_sizes(own) != (pinned.key_size(), pinned.value_size())
                        || pinned.map_type() != own.map_type()
                        || pinned.max_entries() != own.max_entries()
                        || open.maps.$name.reuse_fd(pinned.as_fd()).is_err()
                    {
                        return false;
                    }
                )+
                true
            }

            fn pin(&self, pins: &Pins) -> Result<(), ProgramError> {
                $(
                    kernel::pin(self.$name.as_fd(), &pins.map(stringify!($name))).map_err(|source| {
                        ProgramError::Kernel { action: format!("pin the map {}", stringify!($name)), source }
                    })?;
                )+
                Ok(())
            }

            /// Unpins all; the first failure is answered, the rest attempted.
            pub(super) fn unpin(pins: &Pins) -> Result<(), ProgramError> {
                let results = [$(Pins::remove(&pins.map(stringify!($name)))),+];
                results.into_iter().collect()
            }
        }
    };
}

// `schema` last: its pin says that all others are there.
maps!(
    counts,
    source_index,
    list_v4,
    list_v6,
    listeners_v4,
    listeners_v6,
    locals_v4,
    locals_v6,
    fragments,
    management_ports,
    schema,
);

/// What SYN cookies make constants of the program, the same for all interfaces.
pub(super) struct Constants {
    pub(super) clock_base_ns: u64,
    pub(super) flow_bucket_mask: u32,
    pub(super) flow_hash_key: [u64; 2],
}

/// The loaded programs, one per interface, and their common maps.
pub(super) struct Loaded {
    pub(super) maps: Maps,
    pub(super) programs: Vec<OwnedFd>,
    /// What there is to say about maps of an earlier process.
    pub(super) note: String,
}

/// Loads one program per interface over common maps; pinned maps of our version are taken over.
pub(super) fn load(
    interfaces: usize,
    unbound: Unbound,
    cookies: &Constants,
    pins: Option<&Pins>,
) -> Result<Loaded, ProgramError> {
    let mut note = String::new();
    let mut reuse = false;
    if let Some(pins) = pins {
        match schema_version(pins) {
            Some(types::limit::SCHEMA_VERSION) => reuse = true,
            Some(other) => {
                note = format!("maps of version {} were dropped, with their lists", other.0);
                Maps::unpin(pins)?;
            }
            None => Maps::unpin(pins)?,
        }
    }
    let mut maps: Option<Maps> = None;
    let mut programs = Vec::with_capacity(interfaces);
    for interface in 0..interfaces {
        let mut store = MaybeUninit::uninit();
        let mut open = open(&mut store, interface as u32, unbound, cookies)?;
        match (&maps, pins) {
            (Some(maps), _) => maps.lend(&mut open).map_err(kernel_error("share the maps"))?,
            (None, Some(pins)) if reuse && !Maps::lend_pinned(pins, &mut open) => {
                // Of our version by number, not by shape: start afresh.
                note = "maps of an earlier process do not fit and were dropped, with their lists".into();
                Maps::unpin(pins)?;
                reuse = false;
                drop(open);
                store = MaybeUninit::uninit();
                open = self::open(&mut store, interface as u32, unbound, cookies)?;
            }
            _ => {}
        }
        let skel = open.load().map_err(kernel_error("load the XDP program"))?;
        let program = skel.progs.secbeat.as_fd().try_clone_to_owned();
        programs.push(
            program.map_err(|source| ProgramError::Kernel { action: "keep the program".into(), source })?,
        );
        if maps.is_none() {
            maps = Some(Maps::of(&skel).map_err(kernel_error("keep the maps"))?);
        }
    }
    let maps = maps.ok_or_else(|| ProgramError::Config("no interfaces".into()))?;
    if !reuse {
        let version = types::limit::SCHEMA_VERSION.0;
        maps.schema
            .update(bytes(&0u32), bytes(&version), MapFlags::ANY)
            .map_err(kernel_error("write the schema version"))?;
        if let Some(pins) = pins {
            maps.pin(pins)?;
        }
    }
    Ok(Loaded { maps, programs, note })
}

fn open<'store>(
    store: &'store mut MaybeUninit<libbpf_rs::OpenObject>,
    interface: u32,
    unbound: Unbound,
    cookies: &Constants,
) -> Result<skel::OpenXdpSkel<'store>, ProgramError> {
    let mut open =
        skel::XdpSkelBuilder::default().open(store).map_err(kernel_error("open the XDP program"))?;
    let constants = open
        .maps
        .rodata_data
        .as_deref_mut()
        .ok_or_else(|| ProgramError::Config("the XDP program has no constants".into()))?;
    constants.socket_base = interface * types::limit::QUEUES_MAX.0;
    constants.unbound_action = match unbound {
        Unbound::Drop => XDP_DROP,
        Unbound::Pass => XDP_PASS,
    };
    constants.clock_base_ns = cookies.clock_base_ns;
    constants.flow_bucket_mask = cookies.flow_bucket_mask;
    constants.flow_hash_key = cookies.flow_hash_key;
    open.maps
        .flow_buckets
        .set_max_entries(cookies.flow_bucket_mask + 1)
        .map_err(kernel_error("size the flow table"))?;
    Ok(open)
}

/// `enum xdp_action` of `linux/bpf.h`.
pub(super) const XDP_DROP: u32 = 1;
/// `enum xdp_action` of `linux/bpf.h`.
pub(super) const XDP_PASS: u32 = 2;

fn schema_version(pins: &Pins) -> Option<types::limit> {
    let schema = MapHandle::from_pinned_path(pins.map("schema")).ok()?;
    let value = schema.lookup(bytes(&0u32), MapFlags::ANY).ok()??;
    Some(types::limit(from_bytes(&value)?))
}

/// The key of a prefix in its family's list map.
pub(super) enum ListKey {
    V4(types::list_key_v4),
    V6(types::list_key_v6),
}

impl ListKey {
    pub(super) fn of(prefix: IpNet) -> Self {
        let prefix_len = prefix.prefix_len().into();
        match prefix.network() {
            IpAddr::V4(addr) => {
                Self::V4(types::list_key_v4 { prefix_len, addr: u32::from_ne_bytes(addr.octets()) })
            }
            IpAddr::V6(addr) => Self::V6(types::list_key_v6 { prefix_len, addr: words(addr.octets()) }),
        }
    }

    pub(super) fn prefix_v4(key: &types::list_key_v4) -> Option<IpNet> {
        IpNet::new(IpAddr::V4(key.addr.to_ne_bytes().into()), key.prefix_len.try_into().ok()?).ok()
    }

    pub(super) fn prefix_v6(key: &types::list_key_v6) -> Option<IpNet> {
        let mut octets = [0; 16];
        for (chunk, word) in octets.chunks_exact_mut(4).zip(key.addr) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        IpNet::new(IpAddr::V6(octets.into()), key.prefix_len.try_into().ok()?).ok()
    }
}

/// An IPv6 address as the maps hold it: network byte order in memory.
pub(super) fn words(octets: [u8; 16]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(octets.chunks_exact(4)) {
        *word = u32::from_ne_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
    }
    words
}

/// The index in front of the lists, in memory shared with the program.
#[derive(Debug)]
pub(super) struct Index(kernel::SharedWords);

/// Words of `struct list_index` before the slots.
const INDEX_GENERATION: usize = 0;
const INDEX_ENTRIES_V6: usize = 1;
const INDEX_LISTENERS: usize = 2;
const INDEX_V4: usize = 3;

impl Index {
    pub(super) fn of(maps: &Maps) -> Result<Self, ProgramError> {
        let words = kernel::SharedWords::map(maps.source_index.as_fd(), size_of::<types::list_index>() / 4);
        let failed = |source| ProgramError::Kernel { action: "map the index of the lists".into(), source };
        words.map(Self).map_err(failed)
    }

    /// Brings the slots of a changed prefix up to date, after the list maps are.
    pub(super) fn refresh(&self, list: &List, slots: core::ops::Range<usize>) {
        let words = self.0.words();
        for slot in slots {
            words[INDEX_V4 + slot].store(list.index_slot(slot), Ordering::Relaxed);
        }
        words[INDEX_ENTRIES_V6].store(list.len_v6() as u32, Ordering::Relaxed);
        // Last, so that no verdict found under the old lists is remembered under the new number for long.
        words[INDEX_GENERATION].fetch_add(1, Ordering::Release);
    }

    /// Ends what cores remember about listeners, after their maps were changed.
    pub(super) fn forget_listeners(&self) {
        self.0.words()[INDEX_LISTENERS].fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_no_padding() {
        assert_eq!(size_of::<types::list_key_v4>(), 4 + 4);
        assert_eq!(size_of::<types::list_key_v6>(), 4 + 16);
        assert_eq!(size_of::<types::list_value>(), 8 + 8 + 3 + 5 + 8);
        assert_eq!(size_of::<types::cache_v4>(), 8 + 4 + 4 + 4 + 4);
        assert_eq!(size_of::<types::cache_v6>(), 8 + 16 + 4 + 4);
        assert_eq!(size_of::<types::listener_key_v4>(), 4 + 2 + 2);
        assert_eq!(size_of::<types::listener_key_v6>(), 16 + 2 + 2);
        assert_eq!(size_of::<types::local_key_v6>(), 16);
        assert_eq!(size_of::<types::local_value>(), 4 * 2 + 1 + 3);
        assert_eq!(size_of::<types::list_index>(), (INDEX_V4 + 65536) * 4);
        assert_eq!(from_bytes::<u32>(&[0; 3]), None);
    }

    #[test]
    fn list_keys_survive_the_way_to_the_kernel_and_back() {
        for text in ["10.1.2.0/24", "0.0.0.0/0", "fd00:1:2::/48", "::1/128"] {
            let prefix: IpNet = text.parse().unwrap();
            let back = match ListKey::of(prefix) {
                ListKey::V4(key) => ListKey::prefix_v4(&from_bytes(bytes(&key)).unwrap()),
                ListKey::V6(key) => ListKey::prefix_v6(&from_bytes(bytes(&key)).unwrap()),
            };
            assert_eq!(back, Some(prefix));
        }
    }
}
