//! What the control of the XDP program is given and what it answers.
//!
//! Owns: the public types and limits. Does not own: behaviour.

use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;
use core::time::Duration;
use std::io;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::skel::xdp::types;

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
    /// What SYN cookies need to know before loading.
    pub cookies: CookieConfig,
}

/// What SYN cookies that the program answers need to know before it is loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct CookieConfig {
    /// Where the workers' clock is zero, on the clock of [`clock_ns`](super::clock_ns): timestamps that the program
    /// writes then agree with those that workers write.
    pub clock_base_ns: u64,
    /// Client-side flows that all workers may have at once. The flow table gets two places for each, up to
    /// [`FLOW_BUCKETS_MAX`] buckets.
    pub flows_max: usize,
}

/// Interfaces of one node: keys of the socket map are `port * QUEUES_MAX + queue`. More is a configuration
/// error.
pub const INTERFACES_MAX: usize = types::limit::INTERFACES_MAX.0 as usize;

/// Receive queues per interface. A queue beyond it cannot be bound.
pub const QUEUES_MAX: u32 = types::limit::QUEUES_MAX.0;

/// Listeners of one address family. More is a configuration error.
pub const LISTENERS_MAX: u32 = types::limit::LISTENERS_MAX.0;

/// Listeners whose SYNs the program may answer with cookies: 16 bytes each, and 64 per core for counts. Workers answer
/// those beyond.
pub const COOKIE_SLOTS_MAX: usize = types::limit::COOKIE_SLOTS_MAX.0 as usize;

/// Buckets of the flow table, 64 bytes and 15 flows each: 64 MiB. When flows are more, buckets overflow, and the program
/// leaves more segments to the workers.
pub const FLOW_BUCKETS_MAX: usize = types::limit::FLOW_BUCKETS_MAX.0 as usize;

/// Local addresses of one family, of listeners and source ports together. More is a configuration error.
pub const LOCAL_ADDRESSES_MAX: u32 = types::limit::LOCAL_ADDRESSES_MAX.0;

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
pub const BLOCK_ENTRIES_MAX: u32 = types::limit::LIST_ENTRIES_MAX.0;

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
