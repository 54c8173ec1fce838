//! What the node knows about its surroundings when a policy is compiled.
//!
//! Owns: [`View`], the plain values, so that a policy can be compiled from the kernel's tables as well as from a
//! simulated world. Does not own: how they are learnt (`neighbor`, `upstream`, `lists`).

use core::net::IpAddr;

use ipnet::IpNet;
use secbeat_net::link::PortId;
use secbeat_net::neighbor::NeighborTable;

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortView {
    /// The worker's name for it.
    pub port: PortId,
    /// Largest IP packet it carries, bytes.
    pub mtu: u16,
    /// Local addresses on it, with their prefix lengths.
    pub addresses: Vec<IpNet>,
}

/// The surroundings at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The node's interfaces in port order.
    pub ports: Vec<PortView>,
    /// Local addresses that are on no such interface (loopback): a service address may live there.
    pub other_addresses: Vec<IpAddr>,
    /// Routes and neighbours.
    pub neighbors: NeighborTable,
}

impl View {
    /// Every local address once, in a fixed order.
    pub fn local_addresses(&self) -> Vec<IpAddr> {
        let on_ports = self.ports.iter().flat_map(|port| port.addresses.iter().map(IpNet::addr));
        let mut all: Vec<IpAddr> = on_ports.chain(self.other_addresses.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The address of `port` to speak from to `destination`: one whose prefix covers it, else any of the family
    /// that is not link-local.
    pub fn source_for(&self, port: PortId, destination: IpAddr) -> Option<IpAddr> {
        let port = self.ports.iter().find(|candidate| candidate.port == port)?;
        let fits = |net: &&IpNet| net.addr().is_ipv4() == destination.is_ipv4() && !is_link_local(net.addr());
        let covering = port.addresses.iter().filter(fits).find(|net| net.contains(&destination));
        covering.or_else(|| port.addresses.iter().find(fits)).map(IpNet::addr)
    }
}

fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.is_link_local(),
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_address_is_the_one_whose_prefix_covers_the_destination() {
        let net = |text: &str| text.parse::<IpNet>().expect("prefix");
        let addresses = ["10.1.0.1/24", "10.2.0.1/24", "fe80::1/64", "fd00::1/64"].map(net).to_vec();
        let view =
            View { ports: vec![PortView { port: PortId(0), mtu: 1_500, addresses }], ..View::default() };
        let source = |to: &str| view.source_for(PortId(0), to.parse().expect("address"));
        let addr = |text: &str| Some(text.parse().expect("address"));
        assert_eq!(source("10.2.0.9"), addr("10.2.0.1"));
        assert_eq!(source("192.0.2.1"), addr("10.1.0.1"));
        assert_eq!(source("2001:db8::1"), addr("fd00::1"), "never link-local");
        assert_eq!(view.source_for(PortId(1), addr("10.2.0.9").expect("address")), None);
    }
}
