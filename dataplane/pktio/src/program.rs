//! The XDP program: loading, attaching, and its maps.
//!
//! Owns: the pinned link of each interface, the pinned maps, what is written into them. Does not own: the
//! decision what to list (`node`), the sockets that receive (`xsk`).

mod attach;
mod bare;

pub(crate) use attach::io_error;
pub use bare::{BareDrop, BarePass, BareXsk, ifindex};

use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;
use core::time::Duration;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::io::Port;

/// How the program is attached to an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachMode {
    /// Native where the driver has it, else generic; [`Attached::note`] says why.
    #[default]
    Auto,
    /// In the driver (`XDP_FLAGS_DRV_MODE`), or fail.
    Native,
    /// In the network stack (`XDP_FLAGS_SKB_MODE`): any device, slower, one queue on veth.
    Generic,
}

/// What happens to our packets while no worker is bound to their queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unbound {
    /// The kernel takes over (fail open).
    #[default]
    Pass,
    /// Dropped and counted (fail closed).
    Drop,
}

/// One interface to attach to. Its index in [`ProgramConfig::interfaces`] is the workers' port number.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// Name of the interface in this network namespace.
    pub name: String,
    /// How to attach.
    pub mode: AttachMode,
}

/// What to load and where to attach it.
#[derive(Clone, Debug)]
pub struct ProgramConfig {
    /// Directory on a bpffs for the pinned links and maps, e.g. `/sys/fs/bpf/secbeat`. bpffs is mounted on its
    /// parent when nothing is. `None`: nothing is pinned, everything ends with the process.
    pub pin_dir: Option<PathBuf>,
    /// The interfaces, at most [`INTERFACES_MAX`].
    pub interfaces: Vec<InterfaceConfig>,
    /// Fail open or closed.
    pub unbound: Unbound,
}

/// Interfaces of one node: keys of the socket map are `port * QUEUES_MAX + queue`. More is a configuration
/// error.
pub const INTERFACES_MAX: usize = 16;

/// Receive queues per interface. A queue beyond it cannot be bound.
pub const QUEUES_MAX: u32 = 64;

/// Result of attaching to one interface.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Interface name.
    pub interface: String,
    /// Interface index.
    pub ifindex: u32,
    /// The mode in effect: never [`AttachMode::Auto`].
    pub mode: AttachMode,
    /// A link left by an earlier process was taken over: the program was replaced without a gap.
    pub taken_over: bool,
    /// Why a better mode was not obtained, or what was cleaned up. Empty when there is nothing to say.
    pub note: String,
}

/// A service address: packets to it go to the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerKey {
    /// Address and port. No wildcard: list each local address.
    pub addr: SocketAddr,
    /// IP protocol: 6 or 17.
    pub protocol: u8,
}

/// Source ports the workers use towards backends: replies to them go to the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnatRange {
    /// The local address.
    pub addr: IpAddr,
    /// IP protocol: 6 or 17.
    pub protocol: u8,
    /// The ports of all workers together.
    pub ports: RangeInclusive<u16>,
}

/// Why the program could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The configuration cannot be.
    #[error("{0}")]
    Config(String),
    /// The kernel refused.
    #[error("{action}: {source}")]
    Kernel {
        /// What was attempted.
        action: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why a list entry was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// [`BLOCK_ENTRIES_MAX`] prefixes of the family are listed; nothing was changed.
    #[error("the list holds its maximum of {BLOCK_ENTRIES_MAX} prefixes of this family")]
    Full,
    /// The kernel refused.
    #[error("{0}")]
    Kernel(#[from] io::Error),
}

/// Listed prefixes per address family, allowed and blocked together.
///
/// 131,072 x about 100 bytes of trie node is 13 MB of kernel memory. When full, `block` answers
/// [`ListError::Full`]; nothing is evicted, since evicting a ban would unban.
pub const BLOCK_ENTRIES_MAX: u32 = 131_072;

/// A blocked prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The prefix.
    pub prefix: IpNet,
    /// Time left; `None` for ever.
    pub remaining: Option<Duration>,
    /// An allowed prefix covers it: nothing is dropped because of it.
    pub suppressed: bool,
}

/// The loaded and attached XDP program. Dropping it leaves pinned links and maps in place.
#[derive(Debug)]
pub struct Program {
    attached: Vec<Attached>,
}

impl Program {
    /// Loads the program, takes over pinned maps and links or makes them.
    ///
    /// # Errors
    /// What could not be done and why; earlier pinned state is left as it was.
    pub fn open(config: &ProgramConfig) -> Result<Self, ProgramError> {
        let _ = config;
        Ok(Self { attached: Vec::new() })
    }

    /// One entry per interface, in the order of the configuration.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// Replaces the set of listeners; those that stay are never absent in between.
    ///
    /// # Errors
    /// When there are more than `LISTENERS_MAX`, or the kernel refuses.
    pub fn set_listeners(&mut self, listeners: &[ListenerKey]) -> Result<(), ProgramError> {
        let _ = listeners;
        Ok(())
    }

    /// Replaces the local addresses and their source-port ranges.
    ///
    /// # Errors
    /// As [`Self::set_listeners`].
    pub fn set_snat(&mut self, ranges: &[SnatRange]) -> Result<(), ProgramError> {
        let _ = ranges;
        Ok(())
    }

    /// TCP destination ports that always reach the kernel, before any drop: so that nobody locks himself out.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_management_ports(&mut self, ports: &[u16]) -> Result<(), ProgramError> {
        let _ = ports;
        Ok(())
    }

    /// Directs a queue of a port to a socket. See `XskIo::sockets`.
    ///
    /// # Errors
    /// When port or queue is out of range, or the kernel refuses.
    pub fn bind_queue(&mut self, port: Port, queue: u32, socket: BorrowedFd<'_>) -> Result<(), ProgramError> {
        let _ = (port, queue, socket);
        Ok(())
    }

    /// Takes a queue away from its socket: packets then take the [`Unbound`] way.
    ///
    /// # Errors
    /// When port or queue is out of range, or the kernel refuses.
    pub fn unbind_queue(&mut self, port: Port, queue: u32) -> Result<(), ProgramError> {
        let _ = (port, queue);
        Ok(())
    }

    /// Drops packets from `prefix` for `lifetime` (`None`: until unblocked). Blocking again replaces the expiry.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn block(&mut self, prefix: IpNet, lifetime: Option<Duration>) -> Result<(), ListError> {
        let _ = (prefix, lifetime);
        Ok(())
    }

    /// Ends a block; `false` when there was none of exactly this prefix.
    ///
    /// # Errors
    /// [`ListError::Kernel`].
    pub fn unblock(&mut self, prefix: IpNet) -> Result<bool, ListError> {
        let _ = prefix;
        Ok(false)
    }

    /// Replaces the allowed prefixes. No address in them is ever dropped by the list, whatever is blocked.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn set_allowed(&mut self, prefixes: &[IpNet]) -> Result<(), ListError> {
        let _ = prefixes;
        Ok(())
    }

    /// Removes expired blocks and returns how many. Expired entries drop nothing even before that.
    ///
    /// # Errors
    /// [`ListError::Kernel`].
    pub fn expire(&mut self) -> Result<usize, ListError> {
        Ok(0)
    }

    /// All blocked prefixes.
    pub fn blocked(&self) -> Vec<Blocked> {
        Vec::new()
    }

    /// The program's counters by reason (name, packets), summed over cores.
    ///
    /// # Errors
    /// When the kernel refuses to read the map.
    pub fn counters(&self) -> io::Result<Vec<(&'static str, u64)>> {
        Ok(Vec::new())
    }

    /// Removes links, pins and the program: the interfaces are plain again.
    ///
    /// # Errors
    /// The first thing that could not be removed; the rest is attempted all the same.
    pub fn detach(self) -> Result<(), ProgramError> {
        Ok(())
    }
}
