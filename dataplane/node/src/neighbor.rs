//! The kernel's routes, neighbours, links and addresses, mirrored for the packet path (rtnetlink).
//!
//! Owns: the netlink socket, the mirror, keeping wanted next hops resolved. Does not own: ARP and ND (the kernel
//! does both), the pure look-up table (`net::neighbor`). Only the interfaces the node was given are mirrored.
//! Cost: one dump at start and after an overrun; afterwards one message per change. Never on the packet path.

mod ask;
mod channel;
mod kernel;

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::RouteMessage;
use secbeat_net::link::PortId;
use secbeat_net::neighbor::{NeighborTable, Resolution};

use ask::{Asker, Need};
use channel::{Channel, Heard};
use kernel::Kernel;

/// Destinations kept resolved: as many as there can be backends.
pub const WANTED_MAX: usize = crate::upstream::BACKENDS_MAX;
/// Shortest time between two dumps of links, addresses and routes: a flapping route must not keep the control thread
/// busy. A change is seen at most this much later.
const DUMP_INTERVAL_MIN: Duration = Duration::from_millis(200);

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
    /// One end of a pair of virtual interfaces.
    pub is_veth: bool,
    /// Local addresses on it and on its VLAN sub-interfaces, with their prefix lengths.
    pub addresses: Vec<IpNet>,
}

/// Everything mirrored, immutable.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Grows by one with every change.
    pub generation: u64,
    /// The interfaces, in the order of the configuration.
    pub ports: Vec<PortState>,
    /// Routes and neighbours.
    pub table: NeighborTable,
}

impl Snapshot {
    /// Whether `addr` is local to one of the node's interfaces.
    pub fn is_local(&self, addr: IpAddr) -> bool {
        self.ports.iter().any(|port| port.addresses.iter().any(|net| net.addr() == addr))
    }
}

/// The mirror. One thread drives it, through [`Mirror::poll`]: its own, or one that has other things to do as well.
#[derive(Debug)]
pub struct Mirror {
    channel: Channel,
    kernel: Kernel,
    asker: Asker,
    interfaces: Vec<String>,
    wanted: Vec<IpAddr>,
    snapshot: Arc<Snapshot>,
    /// Links, addresses or routes changed: dump them again.
    is_dirty: bool,
    /// When they were last dumped.
    dumped_at: Instant,
    overruns: u64,
}

impl Mirror {
    /// Reads the kernel's tables and subscribes to their changes. `interfaces` are the names of `[io]
    /// interfaces`; their order gives the port numbers. Must run in the network namespace of the interfaces.
    ///
    /// # Errors
    /// When an interface is missing or netlink fails.
    pub fn open(interfaces: &[String]) -> Result<Self, Error> {
        // Subscribed before the first dump: a change in between is heard.
        let channel = Channel::open()?;
        let mut mirror = Self {
            channel,
            kernel: Kernel::default(),
            asker: Asker::default(),
            interfaces: interfaces.to_vec(),
            wanted: Vec::new(),
            snapshot: Arc::default(),
            is_dirty: false,
            dumped_at: Instant::now(),
            overruns: 0,
        };
        mirror.dump_tables()?;
        mirror.dump_neighbors()?;
        if let Some(name) = mirror.kernel.missing(interfaces) {
            return Err(Error::NoInterface(name.clone()));
        }
        mirror.publish();
        Ok(mirror)
    }

    /// Waits up to `timeout` for changes, takes all that are there, and keeps wanted next hops alive. True when
    /// there is a new snapshot. Call at least once a second.
    ///
    /// # Errors
    /// When netlink fails in a way that a new dump does not mend.
    pub fn poll(&mut self, timeout: Duration) -> Result<bool, Error> {
        let timeout = if self.is_dirty { timeout.min(self.until_dump()) } else { timeout };
        self.channel.wait(timeout)?;
        let mut changed = false;
        match self.hear(&mut changed)? {
            Heard::All | Heard::More => {}
            Heard::Overrun => {
                self.overruns += 1;
                tracing::warn!(
                    overruns = self.overruns,
                    "netlink notifications lost: reading all tables again"
                );
                self.channel.forget()?;
                self.dump_neighbors()?;
                (changed, self.is_dirty) = (true, true);
            }
        }
        if self.is_dirty && self.until_dump().is_zero() {
            self.dump_tables()?;
            changed = true;
        }
        if changed {
            self.publish();
        }
        self.keep_wanted();
        Ok(changed)
    }

    /// What the kernel knows now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Replaces the destinations whose next hops must stay resolved (backends). At most [`WANTED_MAX`]; more are
    /// ignored and then resolve only when traffic through the kernel happens to do it.
    pub fn set_wanted(&mut self, destinations: &[IpAddr]) {
        self.wanted = destinations.iter().copied().take(WANTED_MAX).collect();
        self.wanted.sort_unstable();
        self.wanted.dedup();
        self.keep_wanted();
    }

    /// Asks the kernel to resolve the next hop of `destination`, at most once a second each.
    pub fn resolve(&mut self, destination: IpAddr) {
        self.ask(destination, Instant::now());
    }

    /// Times that the kernel's notifications overflowed and everything was read again.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    fn hear(&mut self, changed: &mut bool) -> Result<Heard, Error> {
        let Self { channel, kernel, is_dirty, .. } = self;
        channel.hear(|message| match message {
            RouteNetlinkMessage::NewNeighbour(message) => *changed |= kernel.on_neighbor(&message, false),
            RouteNetlinkMessage::DelNeighbour(message) => *changed |= kernel.on_neighbor(&message, true),
            _ => *is_dirty = true,
        })
    }

    fn until_dump(&self) -> Duration {
        DUMP_INTERVAL_MIN.saturating_sub(self.dumped_at.elapsed())
    }

    fn dump_tables(&mut self) -> Result<(), Error> {
        self.is_dirty = false;
        self.dumped_at = Instant::now();
        let links = self.channel.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        self.kernel.set_links(links.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(message) => Some(message),
            _ => None,
        }));
        let addresses = self.channel.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        self.kernel.set_addresses(addresses.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(message) => Some(message),
            _ => None,
        }));
        let routes = self.channel.dump(&RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
        self.kernel.set_routes(routes.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(message) => Some(message),
            _ => None,
        }));
        Ok(())
    }

    fn dump_neighbors(&mut self) -> Result<(), Error> {
        let neighbors = self.channel.dump(&RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()))?;
        self.kernel.set_neighbors(neighbors.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewNeighbour(message) => Some(message),
            _ => None,
        }));
        Ok(())
    }

    fn publish(&mut self) {
        let snapshot = self.kernel.snapshot(&self.interfaces, self.snapshot.generation + 1);
        self.snapshot = Arc::new(snapshot);
    }

    fn keep_wanted(&mut self) {
        let now = Instant::now();
        for index in 0..self.wanted.len() {
            if let Some(&destination) = self.wanted.get(index) {
                self.ask(destination, now);
            }
        }
    }

    fn ask(&mut self, destination: IpAddr, now: Instant) {
        let snapshot = Arc::clone(&self.snapshot);
        let (index, next_hop, need) = match snapshot.table.resolve(destination) {
            Resolution::Unresolved { interface, next_hop, .. } => (interface, next_hop, Need::Resolve),
            Resolution::Reachable { .. } => {
                let Some(via) = snapshot.table.route(destination).and_then(|route| route.via) else { return };
                (via.interface, via.gateway.unwrap_or(destination), Need::Keep)
            }
            Resolution::Unreachable => return,
        };
        let Some(device) = self.kernel.name_of(index) else { return };
        self.asker.ask(&mut self.channel, (index, device), next_hop, need, now);
    }
}

#[cfg(test)]
mod tests;
