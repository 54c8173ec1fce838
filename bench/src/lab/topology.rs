//! Names and addresses of the lab. Addresses are the same in every lab: namespaces keep them apart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};

/// The protected address, IPv4. Attacker and client route it through the edge.
pub(crate) const VIP4: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The protected address, IPv6.
pub(crate) const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1);

/// The edge's interface towards the attacker.
pub(crate) const EDGE_ATTACK: &str = "att0";
/// The edge's interface towards the client.
pub(crate) const EDGE_CLIENT: &str = "cli0";
/// The edge's interface towards the origin.
pub(crate) const EDGE_ORIGIN: &str = "org0";
/// The relay's interface towards the client.
pub(crate) const IMPAIR_CLIENT_IF: &str = "imp0";
/// The relay's interface towards the edge.
pub(crate) const IMPAIR_EDGE_IF: &str = "imp1";

/// An interface of the attacker that is always down; the live engine's program is parked there.
pub(crate) const ATTACK_IDLE_IF: &str = "idle0";

/// Attacker to edge.
pub(crate) const ATTACK: Segment =
    Segment { number: 1, place: "attacker", edge_if: EDGE_ATTACK, far_if: "att1" };
/// Client to edge.
pub(crate) const CLIENT: Segment =
    Segment { number: 2, place: "client", edge_if: EDGE_CLIENT, far_if: "cli1" };
/// Origin to edge.
pub(crate) const ORIGIN: Segment =
    Segment { number: 3, place: "origin", edge_if: EDGE_ORIGIN, far_if: "org1" };

/// One network between the edge and a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Part of its addresses: 10.10.N.0/24, fd00:10:N::/64.
    pub(crate) number: u8,
    /// The neighbour's namespace, without prefix.
    pub(crate) place: &'static str,
    /// The edge's end.
    pub(crate) edge_if: &'static str,
    /// The neighbour's end.
    pub(crate) far_if: &'static str,
}

impl Segment {
    /// All networks of the lab.
    pub(crate) const ALL: [Self; 3] = [ATTACK, CLIENT, ORIGIN];

    fn v4(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 10, self.number, host)
    }

    fn v6(&self, host: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x10, u16::from(self.number), 0, 0, 0, 0, host)
    }

    /// The edge's address, IPv4.
    pub(crate) fn edge4(&self) -> Ipv4Addr {
        self.v4(1)
    }

    /// The neighbour's address, IPv4.
    pub(crate) fn far4(&self) -> Ipv4Addr {
        self.v4(2)
    }

    /// The edge's address, IPv6.
    pub(crate) fn edge6(&self) -> Ipv6Addr {
        self.v6(1)
    }

    /// The neighbour's address, IPv6.
    pub(crate) fn far6(&self) -> Ipv6Addr {
        self.v6(2)
    }

    /// The neighbour's address of a family (4 or 6).
    pub(crate) fn far(&self, family: u8) -> IpAddr {
        if family == 6 { self.far6().into() } else { self.far4().into() }
    }

    /// Link-layer address of the edge's end. Fixed, so that forged frames can name it without asking.
    pub(crate) fn edge_mac(&self) -> [u8; 6] {
        [0x02, 0x5b, 0, 0, self.number, 1]
    }

    /// Link-layer address of the neighbour's end.
    pub(crate) fn far_mac(&self) -> [u8; 6] {
        [0x02, 0x5b, 0, 0, self.number, 2]
    }
}

/// The VIP of a family (4 or 6).
pub(crate) fn vip(family: u8) -> IpAddr {
    if family == 6 { VIP6.into() } else { VIP4.into() }
}

/// A link-layer address as `ip` wants it.
pub(crate) fn show_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Names of one lab's namespaces.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    /// Prefix of all its names.
    pub(crate) prefix: String,
}

impl Topology {
    /// The lab with this prefix, whether it stands or not.
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// Full name of a place's namespace.
    pub(crate) fn netns(&self, place: &str) -> String {
        format!("{}-{place}", self.prefix)
    }

    /// The attacker's namespace.
    pub(crate) fn attacker(&self) -> String {
        self.netns("attacker")
    }

    /// The client's namespace.
    pub(crate) fn client(&self) -> String {
        self.netns("client")
    }

    /// The edge's namespace, where a node runs.
    pub(crate) fn edge(&self) -> String {
        self.netns("edge")
    }

    /// The origin's namespace.
    pub(crate) fn origin(&self) -> String {
        self.netns("origin")
    }

    /// The relay's namespace, between client and edge.
    pub(crate) fn impair(&self) -> String {
        self.netns("impair")
    }

    /// All namespaces of the lab.
    pub(crate) fn namespaces(&self, with_impair: bool) -> Vec<String> {
        let mut names = vec![self.attacker(), self.client(), self.edge(), self.origin()];
        if with_impair {
            names.push(self.impair());
        }
        names
    }
}

/// Refuses a prefix that would not be a plain name (it becomes part of paths and command lines).
pub(crate) fn check_prefix(prefix: &str) -> Result<()> {
    /// Namespace names may be long, but people read them.
    const PREFIX_CHARS_MAX: usize = 16;
    let plain = prefix.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_');
    if prefix.is_empty() || prefix.len() > PREFIX_CHARS_MAX || !plain || prefix.starts_with('-') {
        bail!("--prefix `{prefix}`: 1 to {PREFIX_CHARS_MAX} letters, digits, `-` or `_`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_name() {
        for bad in ["", "a b", "../x", "-x", "a/b", "seventeen-letters"] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
        assert!(check_prefix("sb").is_ok());
    }

    #[test]
    fn both_ends_of_a_segment_differ() {
        for segment in Segment::ALL {
            assert_ne!(segment.edge4(), segment.far4());
            assert_ne!(segment.edge_mac(), segment.far_mac());
        }
    }
}
