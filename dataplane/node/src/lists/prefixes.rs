//! A set of prefixes that can tell which of them covers another.
//!
//! A hash look-up per prefix length in use: at most 33 for IPv4 and 129 for IPv6, in practice a handful.

use std::collections::{BTreeSet, HashSet};

use ipnet::IpNet;

/// The set. Not for the packet path.
#[derive(Debug, Default)]
pub(super) struct PrefixSet {
    nets: HashSet<IpNet>,
    /// Sorted, for listing and for what lies inside a prefix.
    sorted: BTreeSet<IpNet>,
    lengths_v4: BTreeSet<u8>,
    lengths_v6: BTreeSet<u8>,
}

impl PrefixSet {
    pub(super) fn len(&self) -> usize {
        self.nets.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = IpNet> {
        self.sorted.iter().copied()
    }

    /// The widest member that covers `prefix`.
    pub(super) fn covering(&self, prefix: &IpNet) -> Option<IpNet> {
        let lengths = if prefix.addr().is_ipv4() { &self.lengths_v4 } else { &self.lengths_v6 };
        lengths
            .iter()
            .take_while(|bits| **bits <= prefix.prefix_len())
            .filter_map(|bits| IpNet::new(prefix.addr(), *bits).ok())
            .map(|wider| wider.trunc())
            .find(|wider| self.nets.contains(wider))
    }

    /// Up to `count_max` members inside `prefix`, itself excluded.
    pub(super) fn within(&self, prefix: &IpNet, count_max: usize) -> Vec<IpNet> {
        self.iter().filter(|net| prefix.contains(net) && net != prefix).take(count_max).collect()
    }
}

impl FromIterator<IpNet> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Self {
        let mut set = Self::default();
        for net in nets {
            let net = net.trunc();
            let lengths = if net.addr().is_ipv4() { &mut set.lengths_v4 } else { &mut set.lengths_v6 };
            lengths.insert(net.prefix_len());
            set.nets.insert(net);
            set.sorted.insert(net);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_covering_prefix_is_found() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let set: PrefixSet =
            ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32"].map(net).into_iter().collect();
        assert_eq!(set.covering(&net("10.1.2.3/32")), Some(net("10.0.0.0/8")));
        assert_eq!(set.covering(&net("10.0.0.0/7")), None, "wider than any member");
        assert_eq!(set.covering(&net("192.0.2.7/32")), Some(net("192.0.2.7/32")));
        assert_eq!(set.covering(&net("192.0.2.8/32")), None);
        assert_eq!(set.covering(&net("2001:db8:1::/48")), Some(net("2001:db8::/32")));
        assert_eq!(set.within(&net("10.0.0.0/7"), 9), [net("10.0.0.0/8"), net("10.1.0.0/16")]);
        assert_eq!(set.within(&net("10.0.0.0/7"), 1).len(), 1);
    }
}
