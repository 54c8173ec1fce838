//! From a destination address to a [`Link`]: a snapshot of the kernel's routes and neighbours.
//!
//! Owns: [`NeighborTable`], filled by the node from rtnetlink and then only read: longest prefix, then the next
//! hop's link-layer address, then the ready-made Ethernet header. Does not own: ARP and neighbour discovery (the
//! kernel's), refreshing. An address that the kernel has not resolved yet is [`Resolution::Unresolved`]; the
//! node then makes the kernel ask for it, for example by sending a UDP probe.
//! Cost: one binary search per prefix length in use (at most 33 or 129), on the control path; links of backends
//! and clients are kept by their owners, so no packet pays for it.

use core::net::IpAddr;

use arrayvec::ArrayVec;

use crate::link::{LINK_HEADER_BYTES_MAX, Link, PortId};
use crate::wire::ethernet::{MacAddr, VLAN_TAGS_MAX, ether_type};

/// Routes in a snapshot. A node needs a default route and a few more; the limit keeps a full BGP table, which
/// would cost seconds per refresh, out. Beyond it routes are ignored and counted.
pub const ROUTES_MAX: usize = 65_536;
/// Neighbours in a snapshot; beyond it they are ignored and counted. The kernel's own limit is 1,024 by default.
pub const NEIGHBORS_MAX: usize = 65_536;

/// The kernel's number of an interface.
pub type InterfaceIndex = u32;

/// An interface through which packets can leave: a port, or a VLAN on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The port that carries it.
    pub port: PortId,
    /// Its own link-layer address.
    pub mac: MacAddr,
    /// Its MTU in bytes.
    pub mtu: u16,
    /// VLAN tags from the outer to the inner, as (TPID, VLAN id).
    pub tags: ArrayVec<(u16, u16), VLAN_TAGS_MAX>,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destinations: an address whose bits beyond `prefix_len` do not matter.
    pub destination: IpAddr,
    /// Number of leading bits that must agree.
    pub prefix_len: u8,
    /// The way; `None` for a route that refuses (blackhole, unreachable, prohibit).
    pub via: Option<Via>,
    /// Of routes with the same prefix the one with the least metric holds.
    pub metric: u32,
}

/// The way of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    /// Outgoing interface.
    pub interface: InterfaceIndex,
    /// Next hop, possibly of the other family (RFC 5549); `None` when the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Source address that the kernel would prefer.
    pub source: Option<IpAddr>,
    /// MTU of the route, when smaller than the interface's.
    pub mtu: Option<u16>,
}

/// The answer for a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Packets leave by this link.
    Reachable {
        /// Port and Ethernet header.
        link: Link,
        /// The source address that the kernel would prefer.
        source: Option<IpAddr>,
    },
    /// The kernel must first resolve `next_hop` on this interface.
    Unresolved {
        /// The kernel's number of the interface.
        interface: InterfaceIndex,
        /// The port that carries it.
        port: PortId,
        /// Whose link-layer address is missing.
        next_hop: IpAddr,
    },
    /// There is no route, or one that refuses, or it leaves by an interface that is not ours.
    Unreachable,
}

/// Routes, neighbours and interfaces at one moment. Build with the `add_*` calls, then [`NeighborTable::seal`].
#[derive(Clone, Debug, Default)]
pub struct NeighborTable {
    interfaces: Vec<(InterfaceIndex, Interface)>,
    /// Sorted by family, falling prefix length, prefix, metric.
    routes: Vec<(RouteKey, Route)>,
    /// The (family, length) pairs in use, longest first.
    lengths: Vec<(bool, u8)>,
    neighbors: Vec<((InterfaceIndex, IpAddr), MacAddr)>,
    ignored: usize,
}

/// (is IPv6, 128 - prefix length, masked bits, metric): sorts longest prefixes first.
type RouteKey = (bool, u8, u128, u32);

impl NeighborTable {
    /// An empty snapshot: everything is unreachable.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an interface that packets can leave by.
    pub fn add_interface(&mut self, index: InterfaceIndex, interface: Interface) {
        self.interfaces.push((index, interface));
    }

    /// Adds a route. A prefix length that the family does not have is cut.
    pub fn add_route(&mut self, route: Route) {
        if self.routes.len() == ROUTES_MAX {
            self.ignored += 1;
            return;
        }
        let (is_v6, bits) = bits(route.destination);
        let len = route.prefix_len.min(family_bits(is_v6));
        self.routes.push(((is_v6, 128 - len, mask(is_v6, bits, len), route.metric), route));
    }

    /// Adds a neighbour whose link-layer address the kernel knows (reachable, stale, delay, probe, permanent).
    pub fn add_neighbor(&mut self, interface: InterfaceIndex, addr: IpAddr, mac: MacAddr) {
        if self.neighbors.len() == NEIGHBORS_MAX {
            self.ignored += 1;
            return;
        }
        self.neighbors.push(((interface, addr), mac));
    }

    /// Sorts what was added; without it lookups find nothing. Of a neighbour added twice the last one counts.
    pub fn seal(&mut self) {
        self.interfaces.sort_by_key(|(index, _)| *index);
        self.routes.sort_by_key(|(key, _)| *key);
        self.routes.dedup_by_key(|(key, _)| (key.0, key.1, key.2));
        self.lengths = self.routes.iter().map(|(key, _)| (key.0, 128 - key.1)).collect();
        self.lengths.dedup();
        self.neighbors.reverse();
        self.neighbors.sort_by_key(|(key, _)| *key);
        self.neighbors.dedup_by_key(|(key, _)| *key);
    }

    /// Routes and neighbours that found no room.
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// The route of longest prefix that covers `destination`.
    pub fn route(&self, destination: IpAddr) -> Option<&Route> {
        let (is_v6, bits) = bits(destination);
        for (family, len) in self.lengths.iter().filter(|(family, _)| *family == is_v6) {
            let wanted = (*family, 128 - len, mask(is_v6, bits, *len));
            let search = self.routes.binary_search_by_key(&wanted, |(key, _)| (key.0, key.1, key.2));
            if let Ok(at) = search {
                return self.routes.get(at).map(|(_, route)| route);
            }
        }
        None
    }

    /// How packets to `destination` leave.
    pub fn resolve(&self, destination: IpAddr) -> Resolution {
        let Some(via) = self.route(destination).and_then(|route| route.via) else {
            return Resolution::Unreachable;
        };
        let at = self.interfaces.binary_search_by_key(&via.interface, |(index, _)| *index);
        let Some((index, interface)) = at.ok().and_then(|at| self.interfaces.get(at)) else {
            return Resolution::Unreachable;
        };
        let next_hop = via.gateway.unwrap_or(destination);
        let at = self.neighbors.binary_search_by_key(&(*index, next_hop), |(key, _)| *key);
        let Some((_, mac)) = at.ok().and_then(|at| self.neighbors.get(at)) else {
            return Resolution::Unresolved { interface: *index, port: interface.port, next_hop };
        };
        let mtu = via.mtu.map_or(interface.mtu, |mtu| mtu.min(interface.mtu));
        match link(interface, *mac, mtu, destination) {
            Some(link) => Resolution::Reachable { link, source: via.source },
            None => Resolution::Unreachable,
        }
    }
}

/// The Ethernet header for a packet to `destination` through the neighbour `mac`.
fn link(interface: &Interface, mac: MacAddr, mtu: u16, destination: IpAddr) -> Option<Link> {
    let mut header: ArrayVec<u8, LINK_HEADER_BYTES_MAX> = ArrayVec::new();
    header.try_extend_from_slice(&mac.0).ok()?;
    header.try_extend_from_slice(&interface.mac.0).ok()?;
    for (tpid, vlan) in &interface.tags {
        header.try_extend_from_slice(&tpid.to_be_bytes()).ok()?;
        header.try_extend_from_slice(&(vlan & 0x0fff).to_be_bytes()).ok()?;
    }
    let ether_type = if destination.is_ipv6() { ether_type::IPV6 } else { ether_type::IPV4 };
    header.try_extend_from_slice(&ether_type.to_be_bytes()).ok()?;
    Link::new(interface.port, mtu, &header)
}

const fn family_bits(is_v6: bool) -> u8 {
    if is_v6 { 128 } else { 32 }
}

fn bits(addr: IpAddr) -> (bool, u128) {
    match addr {
        IpAddr::V4(addr) => (false, u128::from(u32::from(addr))),
        IpAddr::V6(addr) => (true, u128::from(addr)),
    }
}

fn mask(is_v6: bool, bits: u128, len: u8) -> u128 {
    let host_bits = u32::from(family_bits(is_v6) - len);
    bits.checked_shr(host_bits).and_then(|bits| bits.checked_shl(host_bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn route(prefix: &str, via: Option<Via>) -> Route {
        let (destination, len) = prefix.split_once('/').unwrap();
        Route { destination: addr(destination), prefix_len: len.parse().unwrap(), via, metric: 0 }
    }

    fn via(interface: InterfaceIndex, gateway: Option<&str>) -> Via {
        Via { interface, gateway: gateway.map(addr), source: None, mtu: None }
    }

    fn table() -> NeighborTable {
        let mut table = NeighborTable::new();
        let plain = Interface { port: PortId(0), mac: MacAddr([2; 6]), mtu: 1500, tags: ArrayVec::new() };
        let tags = [(0x8100, 42)].into_iter().collect();
        table.add_interface(3, plain);
        table.add_interface(9, Interface { port: PortId(1), mac: MacAddr([4; 6]), mtu: 9000, tags });
        table.add_route(route("0.0.0.0/0", Some(via(3, Some("10.0.0.1")))));
        table.add_route(route("10.0.0.0/24", Some(Via { source: Some(addr("10.0.0.7")), ..via(3, None) })));
        table.add_route(route("10.0.0.128/25", Some(Via { mtu: Some(1400), ..via(9, None) })));
        table.add_route(route("192.0.2.0/24", None));
        table.add_route(route("2001:db8::/32", Some(via(9, Some("fe80::1")))));
        table.add_route(route("198.51.100.0/24", Some(via(77, None))));
        table.add_neighbor(3, addr("10.0.0.1"), MacAddr([0xaa; 6]));
        table.add_neighbor(9, addr("10.0.0.200"), MacAddr([0xbb; 6]));
        table.add_neighbor(9, addr("fe80::1"), MacAddr([0xcc; 6]));
        table.seal();
        table
    }

    fn header(resolution: Resolution) -> Vec<u8> {
        match resolution {
            Resolution::Reachable { link, .. } => link.header().to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn longest_prefix_decides() {
        let table = table();
        assert_eq!(table.route(addr("10.0.0.5")).unwrap().prefix_len, 24);
        assert_eq!(table.route(addr("10.0.0.200")).unwrap().prefix_len, 25);
        assert_eq!(table.route(addr("10.0.1.5")).unwrap().prefix_len, 0);
        assert_eq!(table.route(addr("2001:db9::1")), None, "no IPv6 default route");
    }

    #[test]
    fn packets_to_a_far_host_go_to_the_gateway() {
        let header = header(table().resolve(addr("8.8.8.8")));
        assert_eq!(header, [[0xaa; 6].as_slice(), &[2; 6], &[0x08, 0x00]].concat());
    }

    #[test]
    fn vlan_interface_tags_and_takes_the_smaller_mtu() {
        let resolution = table().resolve(addr("10.0.0.200"));
        let tag = [0x81, 0x00, 0, 42, 0x08, 0x00];
        assert_eq!(header(resolution), [[0xbb; 6].as_slice(), &[4; 6], &tag].concat());
        let Resolution::Reachable { link, .. } = resolution else { panic!() };
        assert_eq!((link.port, link.mtu), (PortId(1), 1400));
    }

    #[test]
    fn ipv6_leaves_with_its_own_ether_type() {
        let header = header(table().resolve(addr("2001:db8::77")));
        assert_eq!(header[..6], [0xcc; 6]);
        assert_eq!(header[16..], [0x86, 0xdd]);
    }

    #[test]
    fn unknown_neighbor_names_whom_to_ask_for() {
        let expected = Resolution::Unresolved { interface: 3, port: PortId(0), next_hop: addr("10.0.0.9") };
        assert_eq!(table().resolve(addr("10.0.0.9")), expected);
    }

    #[test]
    fn refusing_and_foreign_routes_are_unreachable() {
        assert_eq!(table().resolve(addr("192.0.2.1")), Resolution::Unreachable);
        assert_eq!(table().resolve(addr("198.51.100.1")), Resolution::Unreachable);
        assert_eq!(NeighborTable::new().resolve(addr("10.0.0.1")), Resolution::Unreachable);
    }

    #[test]
    fn of_two_routes_with_one_prefix_the_least_metric_holds() {
        let mut table = table();
        table.add_route(Route { metric: 5, ..route("203.0.113.0/24", None) });
        table.add_route(Route { metric: 1, ..route("203.0.113.0/24", Some(via(3, Some("10.0.0.1")))) });
        table.seal();
        assert!(table.route(addr("203.0.113.9")).unwrap().via.is_some());
    }

    #[test]
    fn neighbor_added_again_replaces_the_first() {
        let mut table = table();
        table.add_neighbor(3, addr("10.0.0.1"), MacAddr([0xdd; 6]));
        table.seal();
        assert_eq!(header(table.resolve(addr("1.1.1.1")))[..6], [0xdd; 6]);
    }
}
