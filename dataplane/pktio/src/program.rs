//! The XDP program: loading, attaching, and its maps.
//!
//! Owns: the pinned link of each interface, the pinned maps, what is written into them. Does not own: the
//! decision what to list (`node`), the sockets that receive (`xsk`).
//!
//! ```text
//!   process starts   maps and links are opened from their pins, the new program replaces the old one between
//!                    two packets; lists, listeners and counters are those that were
//!   sockets bound    `bind_queue` puts them into the (new, empty) socket map: packets reach the workers
//!   process killed   the kernel closes the sockets and clears their entries; the program stays attached and
//!                    keeps dropping blocked sources; everything else passes to the kernel
//! ```
//!
//! Privileges: loading and attaching need CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; mounting a bpffs
//! CAP_SYS_ADMIN. Writing maps afterwards needs none: the descriptors suffice.

mod attach;
mod bare;
mod config;
mod cookie;
mod flow_gate;
mod hits;
mod list;
mod listeners;
mod maps;
mod pins;
mod reason;

pub(crate) use attach::io_error;
pub use bare::{BareDrop, BarePass, BareTx, BareXsk, ifindex};
pub use config::{
    AttachMode, Attached, BLOCK_ENTRIES_MAX, Blocked, COOKIE_SLOTS_MAX, CookieConfig, FLOW_BUCKETS_MAX,
    INTERFACES_MAX, InterfaceConfig, LISTENERS_MAX, LOCAL_ADDRESSES_MAX, ListError, ListenerKey,
    ProgramConfig, ProgramError, QUEUES_MAX, SnatRange, Unbound,
};
pub use cookie::{CookieCounts, CookieGate, CookieKeys, CookieOffer, CookieSlot, clock_ns};
pub use flow_gate::GateFlow;

use core::time::Duration;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use ipnet::IpNet;
use libbpf_rs::{MapCore as _, MapFlags, MapHandle};

use crate::io::Port;
use crate::kernel;
use crate::skel::xdp::types;
use attach::kernel_error;
use cookie::Slots;
use list::{Change, List};
use maps::{Index, ListKey, Maps, bytes, from_bytes};
use pins::Pins;
use reason::REASONS;

/// The loaded and attached XDP program. Dropping it leaves pinned links and maps in place.
#[derive(Debug)]
pub struct Program {
    maps: Maps,
    index: Index,
    /// Not pinned, they end the attachment when closed.
    links: Vec<OwnedFd>,
    programs: Vec<OwnedFd>,
    attached: Vec<Attached>,
    pins: Option<Pins>,
    list: List,
    gate: CookieGate,
    slots: Slots,
    listeners: BTreeSet<ListenerKey>,
    snat: Vec<SnatRange>,
}

impl Program {
    /// Loads the program, takes over pinned maps and links or makes them.
    ///
    /// # Errors
    /// What could not be done and why. Interfaces before the one that failed stay attached when pinned.
    pub fn open(config: &ProgramConfig) -> Result<Self, ProgramError> {
        let count = config.interfaces.len();
        if count == 0 || count > INTERFACES_MAX {
            return Err(ProgramError::Config(format!("1 to {INTERFACES_MAX} interfaces, not {count}")));
        }
        let pins = config.pin_dir.as_deref().map(Pins::open).transpose()?;
        let constants = cookie::constants(&config.cookies)?;
        let loaded = maps::load(count, config.unbound, &constants, pins.as_ref())?;
        let gate = CookieGate::map(&loaded.maps, &constants)?;
        let (mut links, mut attached) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (program, interface) in loaded.programs.iter().zip(&config.interfaces) {
            let (link, mut report) = attach::attach(program.as_fd(), interface, pins.as_ref())?;
            if !loaded.note.is_empty() {
                report.note = [report.note, loaded.note.clone()].join("; ").trim_start_matches("; ").into();
            }
            links.push(link);
            attached.push(report);
        }
        let (list, index) = (restore_list(&loaded.maps), Index::of(&loaded.maps)?);
        index.refresh(&list, 0..types::limit::INDEX_SLOTS.0 as usize);
        index.forget_listeners();
        let programs = loaded.programs;
        Ok(Self {
            maps: loaded.maps,
            index,
            links,
            programs,
            attached,
            pins,
            list,
            gate,
            slots: Slots::new(),
            listeners: BTreeSet::new(),
            snat: Vec::new(),
        })
    }

    /// One entry per interface, in the order of the configuration.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// TCP destination ports that always reach the kernel, before any drop: so that nobody locks himself out. A
    /// listener on such a port gets nothing.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_management_ports(&mut self, ports: &[u16]) -> Result<(), ProgramError> {
        let mut bits = vec![0u8; 65536 / 8];
        for port in ports {
            bits[usize::from(port / 8)] |= 1 << (port % 8);
        }
        self.maps
            .management_ports
            .update(bytes(&0u32), &bits, MapFlags::ANY)
            .map_err(kernel_error("write the management ports"))
    }

    /// Directs a queue of a port to a socket. See `XskIo::sockets`.
    ///
    /// # Errors
    /// When port or queue is out of range, or the kernel refuses.
    pub fn bind_queue(&mut self, port: Port, queue: u32, socket: BorrowedFd<'_>) -> Result<(), ProgramError> {
        let key = self.socket_key(port, queue)?;
        let socket = socket.as_raw_fd() as u32;
        self.maps
            .sockets
            .update(bytes(&key), bytes(&socket), MapFlags::ANY)
            .map_err(kernel_error("direct a queue to a socket"))
    }

    /// Takes a queue away from its socket: packets then take the [`Unbound`] way.
    ///
    /// # Errors
    /// When port or queue is out of range, or the kernel refuses.
    pub fn unbind_queue(&mut self, port: Port, queue: u32) -> Result<(), ProgramError> {
        let key = self.socket_key(port, queue)?;
        match self.maps.sockets.delete(bytes(&key)) {
            Err(error) if error.kind() != libbpf_rs::ErrorKind::NotFound => {
                Err(kernel_error("take a queue from its socket")(error))
            }
            _ => Ok(()),
        }
    }

    fn socket_key(&self, port: Port, queue: u32) -> Result<u32, ProgramError> {
        if usize::from(port) >= self.attached.len() || queue >= QUEUES_MAX {
            return Err(ProgramError::Config(format!("no port {port} with a queue {queue}")));
        }
        Ok(u32::from(port) * QUEUES_MAX + queue)
    }

    /// Drops packets from `prefix` for `lifetime` (`None`: until unblocked). Blocking again replaces the expiry.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn block(&mut self, prefix: IpNet, lifetime: Option<Duration>) -> Result<(), ListError> {
        let until_ns = lifetime.map(|lifetime| {
            let nanos = u64::try_from(lifetime.as_nanos()).unwrap_or(u64::MAX);
            kernel::monotonic_coarse_ns().saturating_add(nanos)
        });
        let changes = self.list.block(prefix, until_ns).map_err(|list::Full| ListError::Full)?;
        self.apply(changes)
    }

    /// Ends a block; `false` when there was none of exactly this prefix.
    ///
    /// # Errors
    /// [`ListError::Kernel`].
    pub fn unblock(&mut self, prefix: IpNet) -> Result<bool, ListError> {
        let Some(changes) = self.list.unblock(prefix) else { return Ok(false) };
        self.apply(changes)?;
        Ok(true)
    }

    /// Replaces the allowed prefixes. No address in them is ever dropped by the list, whatever is blocked.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn set_allowed(&mut self, prefixes: &[IpNet]) -> Result<(), ListError> {
        let wanted: BTreeSet<IpNet> = prefixes.iter().map(IpNet::trunc).collect();
        for &prefix in &wanted {
            let changes = self.list.set_allowed(prefix, true).map_err(|list::Full| ListError::Full)?;
            self.apply(changes)?;
        }
        for prefix in self.list.allowed() {
            if !wanted.contains(&prefix) {
                let changes = self.list.set_allowed(prefix, false).map_err(|list::Full| ListError::Full)?;
                self.apply(changes)?;
            }
        }
        Ok(())
    }

    /// Removes expired blocks and returns how many. Expired entries drop nothing even before that.
    ///
    /// # Errors
    /// [`ListError::Kernel`].
    pub fn expire(&mut self) -> Result<usize, ListError> {
        let now_ns = kernel::monotonic_coarse_ns();
        let mut count = 0;
        while let Some(prefix) = self.list.expired(now_ns) {
            self.unblock(prefix)?;
            count += 1;
        }
        Ok(count)
    }

    /// All blocked prefixes.
    pub fn blocked(&self) -> Vec<Blocked> {
        let now_ns = kernel::monotonic_coarse_ns();
        let remaining = |until: u64| Duration::from_nanos(until.saturating_sub(now_ns));
        self.list
            .blocked()
            .map(|(prefix, until, suppressed)| Blocked {
                prefix,
                remaining: until.map(remaining),
                suppressed,
            })
            .collect()
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), ListError> {
        // The first change is that of the prefix itself; the others lie inside it.
        let slots = changes.first().map(|change| list::index_slots(change.prefix));
        let result = self.write(changes);
        if let Some(slots) = slots {
            self.index.refresh(&self.list, slots);
        }
        result
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), ListError> {
        for Change { prefix, is_new, value } in changes {
            // What was counted between these two calls is lost; a change of a ban is rare.
            let packets =
                if is_new || value.is_none() { 0 } else { self.entry(prefix).map_or(0, |old| old.packets) };
            let value = value.map(|value| types::list_value { packets, ..value });
            let result = match (ListKey::of(prefix), value) {
                (ListKey::V4(key), Some(value)) => {
                    self.maps.list_v4.update(bytes(&key), bytes(&value), MapFlags::ANY)
                }
                (ListKey::V4(key), None) => self.maps.list_v4.delete(bytes(&key)),
                (ListKey::V6(key), Some(value)) => {
                    self.maps.list_v6.update(bytes(&key), bytes(&value), MapFlags::ANY)
                }
                (ListKey::V6(key), None) => self.maps.list_v6.delete(bytes(&key)),
            };
            result.map_err(|error| io_error(&error))?;
        }
        Ok(())
    }

    /// The program's counters by reason (name, packets), summed over cores. They survive a restart.
    ///
    /// # Errors
    /// When the kernel refuses to read the map.
    pub fn counters(&self) -> io::Result<Vec<(&'static str, u64)>> {
        let per_core = self.maps.counts.lookup_percpu(bytes(&0u32), MapFlags::ANY);
        let per_core = per_core.map_err(|error| io_error(&error))?.unwrap_or_default();
        let sum = |index: usize| {
            let of_core =
                |core: &Vec<u8>| Some(u64::from_ne_bytes(core.get(index * 8..)?.get(..8)?.try_into().ok()?));
            per_core.iter().filter_map(of_core).sum()
        };
        Ok(REASONS.iter().map(|reason| (reason.name, sum(reason.index as usize))).collect())
    }

    /// Names and meanings of the counters, in the order of [`Self::counters`].
    pub fn counter_help() -> impl Iterator<Item = (&'static str, &'static str)> {
        REASONS.iter().map(|reason| (reason.name, reason.help))
    }

    /// Runs the program of `port` over one frame without sending anything (`BPF_PROG_RUN`): the XDP action of the
    /// last of `repeat` runs and the mean time of one. Counters count. For tests and measurements.
    ///
    /// # Errors
    /// When there is no such port or the kernel refuses, e.g. a frame shorter than 14 bytes.
    pub fn dry_run(&self, port: Port, frame: &[u8], repeat: u32) -> io::Result<(u32, Duration)> {
        let program = self.programs.get(usize::from(port)).ok_or(io::ErrorKind::NotFound)?;
        kernel::run(program.as_fd(), frame, repeat).map(|ran| (ran.action, ran.time))
    }

    /// Runs the program of `port` once over a frame (`BPF_PROG_RUN`): the XDP action, and the frame that it leaves. For
    /// tests.
    ///
    /// # Errors
    /// As [`Self::dry_run`].
    pub fn dry_run_frame(&self, port: Port, frame: &[u8]) -> io::Result<(u32, Vec<u8>)> {
        let program = self.programs.get(usize::from(port)).ok_or(io::ErrorKind::NotFound)?;
        kernel::run(program.as_fd(), frame, 1).map(|ran| (ran.action, ran.frame))
    }

    /// Removes links, pins and the program: the interfaces are plain again.
    ///
    /// # Errors
    /// The first thing that could not be removed; the rest is attempted all the same.
    pub fn detach(self) -> Result<(), ProgramError> {
        let Self { links, attached, pins, .. } = self;
        let mut result = Ok(());
        for (link, interface) in links.iter().zip(&attached) {
            result = result.and(kernel::link_detach(link.as_fd()).map_err(|source| {
                let action = format!("detach from {}", interface.interface);
                ProgramError::Kernel { action, source }
            }));
        }
        let Some(pins) = pins else { return result };
        for interface in &attached {
            result = result.and(Pins::remove(&pins.link(&interface.interface)));
        }
        result = result.and(Maps::unpin(&pins));
        pins.remove_directory();
        result
    }
}

/// Reads the lists that an earlier process left in pinned maps.
fn restore_list(maps: &Maps) -> List {
    let mut list = List::new();
    let entry = |map: &MapHandle, key: &[u8]| {
        let value = map.lookup(key, MapFlags::ANY).ok().flatten()?;
        from_bytes::<types::list_value>(&value)
    };
    for key in maps.list_v4.keys() {
        let prefix = from_bytes(&key).and_then(|key| ListKey::prefix_v4(&key));
        if let (Some(prefix), Some(value)) = (prefix, entry(&maps.list_v4, &key)) {
            list.restore(prefix, &value);
        }
    }
    for key in maps.list_v6.keys() {
        let prefix = from_bytes(&key).and_then(|key| ListKey::prefix_v6(&key));
        if let (Some(prefix), Some(value)) = (prefix, entry(&maps.list_v6, &key)) {
            list.restore(prefix, &value);
        }
    }
    list
}

#[cfg(test)]
mod tests;
