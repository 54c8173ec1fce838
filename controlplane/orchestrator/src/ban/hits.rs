//! What nodes report of bans: whether they enforce them, and how often they hit.
//!
//! Owns: numbers by prefix and node, in memory only; nodes tell them anew on every stream. Bounded by
//! [`PAIRS_MAX`]; full: what is new is not kept and counted, so that a ban shows too few hits, never wrong ones.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;
use uuid::Uuid;

/// Pairs of prefix and node, 16 bytes each and 100 per prefix: 10,000 bans on 200 nodes.
pub const PAIRS_MAX: usize = 2_000_000;

/// One node's report of one ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hit {
    packets: u64,
    node: u32,
    /// Number of the node's stream on which it said that the ban is in force; 0: it is not.
    stream: u32,
}

/// A node.
#[derive(Clone, Copy, Debug)]
struct Node {
    id: Uuid,
    /// Number of its stream, from 1.
    stream: u32,
}

/// One node's report of one ban, with the node's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeHits {
    /// Which node.
    pub node: Uuid,
    /// Packets that it dropped for the ban.
    pub packets: u64,
    /// Whether the ban is in force there.
    pub is_enforced: bool,
}

/// Reports of all nodes.
#[derive(Debug, Default)]
pub(super) struct Hits {
    by_prefix: BTreeMap<IpNet, Vec<Hit>>,
    /// Nodes by number; as many as were ever connected since the start.
    nodes: Vec<Node>,
    numbers: HashMap<Uuid, u32>,
    pairs: usize,
    pub(super) lost: u64,
}

impl Hits {
    /// Takes a report. One that says nothing (not in force, never hit) takes no room.
    pub(super) fn report(&mut self, node: Uuid, prefix: IpNet, packets: u64, is_enforced: bool) {
        let number = *self.numbers.entry(node).or_insert_with(|| {
            self.nodes.push(Node { id: node, stream: 1 });
            (self.nodes.len() - 1) as u32
        });
        let stream = if is_enforced { self.nodes[number as usize].stream } else { 0 };
        let hits = self.by_prefix.get_mut(&prefix);
        if let Some(hit) = hits.and_then(|hits| hits.iter_mut().find(|hit| hit.node == number)) {
            (hit.packets, hit.stream) = (packets, stream);
            return;
        }
        if !is_enforced && packets == 0 {
            return;
        }
        if self.pairs >= PAIRS_MAX {
            self.lost += 1;
            return;
        }
        self.pairs += 1;
        self.by_prefix.entry(prefix).or_default().push(Hit { packets, node: number, stream });
    }

    /// What nodes report of a prefix.
    pub(super) fn of(&self, prefix: &IpNet) -> Vec<NodeHits> {
        let hits = self.by_prefix.get(prefix).map_or(&[][..], Vec::as_slice);
        let named = hits.iter().filter_map(|hit| {
            let node = self.nodes.get(hit.node as usize)?;
            Some(NodeHits { node: node.id, packets: hit.packets, is_enforced: hit.stream == node.stream })
        });
        named.collect()
    }

    /// A node's stream begins: nothing is known to be in force there until it says so. Its counts stay.
    pub(super) fn reset(&mut self, node: Uuid) {
        let number = self.numbers.get(&node).map(|number| *number as usize);
        if let Some(node) = number.and_then(|number| self.nodes.get_mut(number)) {
            node.stream = node.stream.checked_add(1).unwrap_or(1);
        }
    }

    /// Forgets prefixes.
    pub(super) fn forget(&mut self, prefixes: &[IpNet]) {
        for prefix in prefixes {
            self.pairs -= self.by_prefix.remove(prefix).map_or(0, |hits| hits.len());
        }
    }

    /// Some prefixes that something is known of, from `last` on.
    pub(super) fn after(&self, last: Option<IpNet>, count_max: usize) -> Vec<IpNet> {
        use core::ops::Bound::{Excluded, Unbounded};
        let from = last.map_or(Unbounded, Excluded);
        self.by_prefix.range((from, Unbounded)).take(count_max).map(|(prefix, _)| *prefix).collect()
    }

    pub(super) fn pairs(&self) -> usize {
        self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_report_of_each_node_holds() {
        let (mut hits, a, b) = (Hits::default(), Uuid::from_u128(1), Uuid::from_u128(2));
        let prefix = net("192.0.2.1/32");
        hits.report(a, prefix, 0, true);
        hits.report(b, prefix, 5, true);
        hits.report(a, prefix, 7, false);
        hits.report(b, net("192.0.2.2/32"), 0, false);
        let of = |node, packets, is_enforced| NodeHits { node, packets, is_enforced };
        assert_eq!(hits.of(&prefix), [of(a, 7, false), of(b, 5, true)]);
        assert_eq!(hits.pairs(), 2);
        hits.reset(b);
        assert_eq!(hits.of(&prefix), [of(a, 7, false), of(b, 5, false)]);
        assert_eq!(hits.after(None, 10), [prefix]);
        hits.forget(&[prefix, net("192.0.2.2/32")]);
        assert_eq!((hits.pairs(), hits.of(&prefix)), (0, Vec::new()));
    }
}
