//! What the kernel said, by its own numbers, and the snapshot that follows from it.
//!
//! Owns: the meaning of rtnetlink messages: which routes count, which neighbour states are usable, which VLAN lies on
//! which port. Does not own: sockets (`channel`), when to ask again (`neighbor`).
//!
//! Links, addresses and routes are replaced whole by dumps: the kernel sends no notification for the IPv4 routes
//! that vanish with a link or an address, so that single changes cannot be followed. Neighbours change often and
//! are followed one by one.

use core::net::IpAddr;
use std::collections::{BTreeMap, HashMap};

use arrayvec::ArrayVec;
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop,
    RouteNextHopFlags, RouteType, RouteVia,
};
use secbeat_net::link::PortId;
use secbeat_net::neighbor::{Interface, InterfaceIndex, NEIGHBORS_MAX, NeighborTable, Route, Via};
use secbeat_net::wire::ethernet::{MacAddr, VLAN_TAGS_MAX};

use super::{PortState, Snapshot};

/// `RT_TABLE_LOCAL`.
const TABLE_LOCAL: u32 = 255;
/// Links followed: a host with more (containers by the thousand) keeps the first ones by number, which are the real
/// cards. Dropped ones cannot be ports; counted in the log at start.
const LINKS_MAX: usize = 16_384;
/// Longest MTU that a [`secbeat_net::link::Link`] can say.
const MTU_MAX: u32 = u16::MAX as u32;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Device {
    name: String,
    mac: MacAddr,
    mtu: u16,
    up: bool,
    /// One end of a pair of virtual interfaces.
    is_veth: bool,
    /// What a VLAN interface lies on, and its tag.
    vlan: Option<(InterfaceIndex, u16, u16)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    net: IpNet,
    is_global: bool,
}

/// The mirror's raw material.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    links: HashMap<InterfaceIndex, Device>,
    addresses: BTreeMap<InterfaceIndex, Vec<Address>>,
    routes: Vec<Route>,
    neighbors: HashMap<(InterfaceIndex, IpAddr), MacAddr>,
}

impl Kernel {
    pub(super) fn set_links<'a>(&mut self, messages: impl Iterator<Item = &'a LinkMessage>) {
        self.links = messages.filter_map(device).take(LINKS_MAX).collect();
    }

    pub(super) fn set_addresses<'a>(&mut self, messages: impl Iterator<Item = &'a AddressMessage>) {
        self.addresses.clear();
        for message in messages {
            if let Some(address) = address(message) {
                self.addresses.entry(message.header.index).or_default().push(address);
            }
        }
    }

    pub(super) fn set_routes<'a>(&mut self, messages: impl Iterator<Item = &'a RouteMessage>) {
        let ours = |index: &InterfaceIndex| self.links.contains_key(index);
        self.routes = messages.filter_map(|message| route(message, ours)).collect();
    }

    pub(super) fn set_neighbors<'a>(&mut self, messages: impl Iterator<Item = &'a NeighbourMessage>) {
        self.neighbors.clear();
        for message in messages {
            self.on_neighbor(message, false);
        }
    }

    /// A neighbour changed or (`gone`) was deleted. True when that matters to packets.
    pub(super) fn on_neighbor(&mut self, message: &NeighbourMessage, gone: bool) -> bool {
        let Some(addr) = neighbor_address(message) else { return false };
        let key = (message.header.ifindex, addr);
        match usable_mac(message).filter(|_| !gone) {
            None => self.neighbors.remove(&key).is_some(),
            Some(_) if self.neighbors.len() >= NEIGHBORS_MAX && !self.neighbors.contains_key(&key) => false,
            Some(mac) => self.neighbors.insert(key, mac) != Some(mac),
        }
    }

    /// The snapshot of what is known now, for the interfaces named `ports`.
    pub(super) fn snapshot(&self, ports: &[String], generation: u64) -> Snapshot {
        let indexes: Vec<Option<InterfaceIndex>> = ports.iter().map(|name| self.index_of(name)).collect();
        let mut table = NeighborTable::new();
        let mut states: Vec<PortState> = ports
            .iter()
            .zip(&indexes)
            .enumerate()
            .map(|(n, (name, &index))| self.port(n, name, index))
            .collect();
        let mut carriers: BTreeMap<InterfaceIndex, usize> = BTreeMap::new();
        for &index in self.links.keys() {
            if let Some((port, interface)) = self.interface(index, &indexes) {
                table.add_interface(index, interface);
                carriers.insert(index, port);
            }
        }
        for (index, &port) in &carriers {
            let addresses = self.addresses.get(index).into_iter().flatten().map(|address| address.net);
            if let Some(state) = states.get_mut(port) {
                state.addresses.extend(addresses);
            }
        }
        for ((index, addr), mac) in &self.neighbors {
            if carriers.contains_key(index) {
                table.add_neighbor(*index, *addr, *mac);
            }
        }
        for route in &self.routes {
            table.add_route(self.with_source(*route));
        }
        table.seal();
        Snapshot { generation, ports: states, table }
    }

    fn index_of(&self, name: &str) -> Option<InterfaceIndex> {
        self.links.iter().find(|(_, device)| device.name == name).map(|(&index, _)| index)
    }

    /// An interface's name.
    pub(super) fn name_of(&self, index: InterfaceIndex) -> Option<&str> {
        self.links.get(&index).map(|device| device.name.as_str())
    }

    /// The first name that no interface has.
    pub(super) fn missing<'a>(&self, ports: &'a [String]) -> Option<&'a String> {
        ports.iter().find(|name| self.index_of(name).is_none())
    }

    fn port(&self, number: usize, name: &str, index: Option<InterfaceIndex>) -> PortState {
        let device = index.and_then(|index| self.links.get(&index));
        PortState {
            port: PortId(u8::try_from(number).unwrap_or(u8::MAX)),
            name: name.to_owned(),
            index: index.unwrap_or(0),
            mac: device.map_or(MacAddr::default(), |device| device.mac).0,
            mtu: device.map_or(0, |device| device.mtu),
            up: device.is_some_and(|device| device.up),
            is_veth: device.is_some_and(|device| device.is_veth),
            addresses: Vec::new(),
        }
    }

    /// The way out through `index`, if that is one of our ports or a VLAN on one, and up.
    fn interface(
        &self,
        index: InterfaceIndex,
        ports: &[Option<InterfaceIndex>],
    ) -> Option<(usize, Interface)> {
        let device = self.links.get(&index).filter(|device| device.up)?;
        let mut tags: ArrayVec<(u16, u16), VLAN_TAGS_MAX> = ArrayVec::new();
        let (mut at, mut mtu) = (index, device.mtu);
        loop {
            if let Some(port) = ports.iter().position(|&port| port == Some(at)) {
                // Collected from the inside out; the outer tag comes first on the wire.
                tags.reverse();
                let port_id = PortId(u8::try_from(port).ok()?);
                return Some((port, Interface { port: port_id, mac: device.mac, mtu, tags }));
            }
            let (parent, tpid, id) = self.links.get(&at)?.vlan?;
            tags.try_push((tpid, id)).ok()?;
            at = parent;
            mtu = mtu.min(self.links.get(&at).filter(|parent| parent.up)?.mtu);
        }
    }

    /// A route without a preferred source gets the one the kernel would choose: an address of the outgoing interface,
    /// in the next hop's network if there is one (RFC 6724 §5 rules 2 and 8, as far as a route can tell).
    fn with_source(&self, mut route: Route) -> Route {
        let Some(via) = route.via.as_mut().filter(|via| via.source.is_none()) else { return route };
        let next = via.gateway.unwrap_or(route.destination);
        let family = |address: &&Address| address.net.addr().is_ipv4() == route.destination.is_ipv4();
        let mine = || self.addresses.get(&via.interface).into_iter().flatten().filter(family);
        let needs_global = !is_link_local(route.destination);
        via.source = mine()
            .find(|address| address.net.contains(&next) && (address.is_global || !needs_global))
            .or_else(|| mine().find(|address| address.is_global == needs_global))
            .or_else(|| self.addresses.values().flatten().filter(family).find(|address| address.is_global))
            .map(|address| address.net.addr());
        route
    }
}

fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.is_link_local(),
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    }
}

fn device(message: &LinkMessage) -> Option<(InterfaceIndex, Device)> {
    let mut device = Device {
        name: String::new(),
        mac: MacAddr::default(),
        mtu: 0,
        up: false,
        is_veth: false,
        vlan: None,
    };
    let (mut parent, mut vlan_id, mut tpid, mut is_vlan) = (None, None, 0x8100, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => device.mtu = u16::try_from((*mtu).min(MTU_MAX)).unwrap_or(u16::MAX),
            LinkAttribute::Address(mac) => {
                device.mac = MacAddr(mac.as_slice().try_into().unwrap_or_default());
            }
            LinkAttribute::Link(index) => parent = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => {
                            is_vlan = *kind == InfoKind::Vlan;
                            device.is_veth = *kind == InfoKind::Veth;
                        }
                        LinkInfo::Data(InfoData::Vlan(infos)) => {
                            for info in infos {
                                match info {
                                    InfoVlan::Id(id) => vlan_id = Some(*id),
                                    InfoVlan::Protocol(protocol) => tpid = u16::from(*protocol),
                                    _ => {}
                                }
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let flags = message.header.flags;
    device.up = flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::LowerUp);
    // A veth names its peer where a VLAN names its parent: the kind decides.
    if is_vlan {
        device.vlan = parent.zip(vlan_id).map(|(parent, id)| (parent, tpid, id));
    }
    Some((message.header.index, device))
}

fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(addr) => local = Some(*addr),
            AddressAttribute::Address(addr) => address = Some(*addr),
            _ => {}
        }
    }
    // On a point-to-point link `Address` is the other end.
    let addr = local.or(address)?;
    let net = IpNet::new(addr, message.header.prefix_len).ok()?;
    Some(Address { net, is_global: message.header.scope == AddressScope::Universe })
}

fn neighbor_address(message: &NeighbourMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(addr)) => Some(IpAddr::V4(*addr)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(addr)) => Some(IpAddr::V6(*addr)),
        _ => None,
    })
}

/// The link-layer address of a neighbour that may be used; the kernel itself uses stale ones while it verifies them.
fn usable_mac(message: &NeighbourMessage) -> Option<MacAddr> {
    let usable = matches!(
        message.header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
            | NeighbourState::Noarp
    );
    if !usable || message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLocalAddress(mac) => mac.as_slice().try_into().ok().map(MacAddr),
        _ => None,
    })
}

/// A route of the main or local table; `None` for one that cannot matter.
fn route(message: &RouteMessage, ours: impl Fn(&InterfaceIndex) -> bool) -> Option<Route> {
    let header = &message.header;
    let is_v4 = match u8::from(header.address_family) {
        2 => true,
        10 => false,
        _ => return None,
    };
    let any = if is_v4 { IpAddr::from([0u8; 4]) } else { IpAddr::from([0u8; 16]) };
    let mut table = u32::from(header.table);
    let mut route =
        Route { destination: any, prefix_len: header.destination_prefix_length, via: None, metric: 0 };
    let mut via = Via { interface: 0, gateway: None, source: None, mtu: None };
    let mut hops: &[RouteNextHop] = &[];
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(addr) => route.destination = ip(addr)?,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::PrefSource(addr) => via.source = ip(addr),
            RouteAttribute::MultiPath(paths) => hops = paths,
            RouteAttribute::Metrics(metrics) => {
                via.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) if *mtu > 0 => u16::try_from(*mtu).ok(),
                    _ => None,
                });
            }
            other => on_hop(other, &mut via),
        }
    }
    let is_local_table = table == TABLE_LOCAL;
    if !(is_local_table || table == u32::from(RouteHeader::RT_TABLE_MAIN))
        || header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown)
    {
        return None;
    }
    match header.kind {
        RouteType::Unicast => {}
        // Our own addresses, and what must not be reached: routes that refuse.
        RouteType::Local | RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit => {
            // The local table is asked before the main one.
            let metric = if is_local_table { 0 } else { route.metric };
            return Some(Route { metric, ..route });
        }
        _ => return None,
    }
    if !hops.is_empty() {
        // One flow needs one way. The first that lives is taken for all; the kernel would spread flows over them.
        let dead = RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown;
        let hop = hops.iter().find(|hop| !hop.flags.intersects(dead) && ours(&hop.interface_index))?;
        via.interface = hop.interface_index;
        for attribute in &hop.attributes {
            on_hop(attribute, &mut via);
        }
    }
    Some(Route { via: Some(via), ..route })
}

/// An attribute that a next hop may have, alone or in a list of several.
fn on_hop(attribute: &RouteAttribute, via: &mut Via) {
    match attribute {
        RouteAttribute::Oif(index) => via.interface = *index,
        RouteAttribute::Gateway(addr) => via.gateway = ip(addr),
        // RFC 5549: an IPv4 route through an IPv6 neighbour.
        RouteAttribute::Via(RouteVia::Inet(addr)) => via.gateway = Some(IpAddr::V4(*addr)),
        RouteAttribute::Via(RouteVia::Inet6(addr)) => via.gateway = Some(IpAddr::V6(*addr)),
        _ => {}
    }
}

fn ip(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(addr) => Some(IpAddr::V4(*addr)),
        RouteAddress::Inet6(addr) => Some(IpAddr::V6(*addr)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::VlanProtocol;
    use secbeat_net::neighbor::Resolution;

    use super::*;

    const UP: LinkFlags = LinkFlags::Up.union(LinkFlags::LowerUp);

    fn link(index: u32, name: &str, parent: Option<u32>, vlan: Option<(VlanProtocol, u16)>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = UP;
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, u8::try_from(index).unwrap()]),
        ];
        message.attributes.extend(parent.map(LinkAttribute::Link));
        if let Some((protocol, id)) = vlan {
            let vlan = InfoData::Vlan(vec![InfoVlan::Id(id), InfoVlan::Protocol(protocol)]);
            message
                .attributes
                .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(vlan)]));
        }
        message
    }

    fn on_link(index: u32, destination: [u8; 4], prefix_len: u8) -> Route {
        let via = Via { interface: index, gateway: None, source: None, mtu: None };
        Route { destination: destination.into(), prefix_len, via: Some(via), metric: 0 }
    }

    fn header(kernel: &Kernel, to: [u8; 4]) -> Option<Vec<u8>> {
        match kernel.snapshot(&["eth1".to_owned()], 1).table.resolve(to.into()) {
            Resolution::Reachable { link, .. } => Some(link.header().to_vec()),
            _ => None,
        }
    }

    #[test]
    fn stacked_vlans_become_tags_from_the_outside_in() {
        let mut kernel = Kernel::default();
        let links = [
            link(3, "eth1", None, None),
            link(4, "outer", Some(3), Some((VlanProtocol::Ieee8021Ad, 42))),
            link(5, "inner", Some(4), Some((VlanProtocol::Ieee8021Q, 7))),
            // A VLAN of an interface that is not ours.
            link(6, "other", Some(99), Some((VlanProtocol::Ieee8021Q, 7))),
        ];
        kernel.set_links(links.iter());
        kernel.routes = vec![on_link(5, [10, 7, 0, 0], 24), on_link(6, [10, 8, 0, 0], 24)];
        for index in [5, 6] {
            for net in [7, 8] {
                kernel.neighbors.insert((index, [10, net, 0, 2].into()), MacAddr([0xaa; 6]));
            }
        }
        let tagged = header(&kernel, [10, 7, 0, 2]).unwrap();
        assert_eq!(tagged[6..], [2, 0, 0, 0, 0, 5, 0x88, 0xa8, 0, 42, 0x81, 0x00, 0, 7, 0x08, 0x00]);
        assert_eq!(header(&kernel, [10, 8, 0, 2]), None);
    }

    #[test]
    fn veth_peer_is_not_taken_for_a_vlan_parent() {
        let mut kernel = Kernel::default();
        let links = [link(3, "eth1", None, None), link(4, "veth", Some(3), None)];
        kernel.set_links(links.iter());
        kernel.routes = vec![on_link(4, [10, 7, 0, 0], 24)];
        kernel.neighbors.insert((4, [10, 7, 0, 2].into()), MacAddr([0xaa; 6]));
        assert_eq!(header(&kernel, [10, 7, 0, 2]), None);
    }

    #[test]
    fn only_usable_states_of_neighbors_count() {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 3;
        message.attributes = vec![
            NeighbourAttribute::Destination(NeighbourAddress::Inet([10, 0, 0, 1].into())),
            NeighbourAttribute::LinkLocalAddress(vec![2; 6]),
        ];
        let mut kernel = Kernel::default();
        for (state, usable) in [
            (NeighbourState::Reachable, true),
            (NeighbourState::Failed, false),
            (NeighbourState::Stale, true),
            (NeighbourState::Incomplete, false),
            (NeighbourState::Permanent, true),
            (NeighbourState::None, false),
            (NeighbourState::Noarp, true),
        ] {
            message.header.state = state;
            kernel.on_neighbor(&message, false);
            assert_eq!(kernel.neighbors.len() == 1, usable, "{state:?}");
        }
        message.header.state = NeighbourState::Delay;
        assert!(!kernel.on_neighbor(&message, false), "the same address again is no change");
        assert!(kernel.on_neighbor(&message, true));
    }
}
