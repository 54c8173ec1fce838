//! One entry of the ban list.
//!
//! Owns: its order against another of the same prefix, its end, when it is forgotten, its hash.

use core::cmp::Ordering;

use ipnet::{IpNet, Ipv4Net};
use sha2::{Digest as _, Sha256};

use super::{GRACE_MS, PREFIX_BITS_MIN_V4, PREFIX_BITS_MIN_V6, RETENTION_MS, Stamp};

/// Who set a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A person or program through an orchestrator.
    Operator,
    /// A node, because of repeated offences.
    Node,
    /// An expert of the control plane.
    Expert,
    /// A person or program through a node's management API.
    NodeApi,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Node, Self::Expert, Self::NodeApi];

    /// The word in tables and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Node => "node",
            Self::Expert => "expert",
            Self::NodeApi => "node_api",
        }
    }
}

/// A ban, or the lift of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whom it covers; as [`canonical`] gives it.
    pub prefix: IpNet,
    /// When it was written.
    pub stamp: Stamp,
    /// Lifted: kept so that it wins over the ban on other replicas.
    pub removed: bool,
    /// When it ends, in milliseconds since 1970; `None`: never by itself. Of a lift: when the lifted ban would have.
    pub until_ms: Option<u64>,
    /// Since when the prefix has been banned without a gap. Before the stamp: it went on from an earlier ban.
    pub since_ms: u64,
    /// Why, for people.
    pub reason: String,
    /// Who set it.
    pub origin: Origin,
    /// Name of the principal, or empty.
    pub actor: String,
    /// UUID of the node that set it.
    pub node: Option<[u8; 16]>,
}

impl Entry {
    /// Whether it is in force.
    pub fn is_active(&self, now_ms: u64) -> bool {
        !self.removed && self.until_ms.is_none_or(|until_ms| until_ms > now_ms)
    }

    /// When every replica forgets it, and from when on none takes it; `None`: never by itself.
    pub fn forget_at_ms(&self) -> Option<u64> {
        forget_at_ms(self.removed, self.origin, self.stamp.wall_ms, self.until_ms)
    }

    /// Whether it makes room for what people decided when a table is full: set by a node alone, and not a lift.
    pub fn is_displaceable(&self) -> bool {
        self.origin == Origin::Node && !self.removed
    }

    /// Which of two entries of a prefix holds: the greater. Equal: the same entry.
    pub fn order(&self, other: &Self) -> Ordering {
        fn rest(entry: &Entry) -> impl Ord + '_ {
            let until_ms = entry.until_ms.unwrap_or(u64::MAX);
            let texts = (&*entry.reason, &*entry.actor);
            (entry.stamp, entry.removed, until_ms, entry.since_ms, entry.origin, texts, entry.node)
        }
        rest(self).cmp(&rest(other))
    }

    /// SHA-256 of all of it.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        match self.prefix {
            IpNet::V4(v4) => hasher.update(v4.addr().octets()),
            IpNet::V6(v6) => hasher.update(v6.addr().octets()),
        }
        let is_v6 = u8::from(matches!(self.prefix, IpNet::V6(_)));
        hasher.update([is_v6, self.prefix.prefix_len(), u8::from(self.removed), self.origin as u8]);
        hasher.update(self.stamp.wall_ms.to_be_bytes());
        hasher.update(self.stamp.counter.to_be_bytes());
        hasher.update(self.stamp.writer);
        hasher.update(self.until_ms.unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(self.since_ms.to_be_bytes());
        for text in [&self.reason, &self.actor] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        hasher.update(self.node.unwrap_or_default());
        hasher.finalize().into()
    }
}

pub(super) fn forget_at_ms(
    removed: bool,
    origin: Origin,
    wall_ms: u64,
    until_ms: Option<u64>,
) -> Option<u64> {
    let kept_ms = wall_ms.saturating_add(RETENTION_MS);
    if removed {
        Some(kept_ms)
    } else if origin == Origin::Node {
        until_ms.map(|until_ms| until_ms.saturating_add(GRACE_MS))
    } else {
        until_ms.map(|until_ms| until_ms.max(kept_ms))
    }
}

/// The one way in which a prefix is written: no bits behind its length, IPv4 within IPv6 as IPv4. `None`: wider than
/// may be banned.
pub fn canonical(prefix: IpNet) -> Option<IpNet> {
    let prefix = match prefix.trunc() {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(v4) => IpNet::V4(Ipv4Net::new(v4, v6.prefix_len() - 96).ok()?),
            None => IpNet::V6(v6),
        },
        other => other,
    };
    let bits_min = match prefix {
        IpNet::V4(_) => PREFIX_BITS_MIN_V4,
        IpNet::V6(_) => PREFIX_BITS_MIN_V6,
    };
    (prefix.prefix_len() >= bits_min).then_some(prefix)
}

/// `text` up to `bytes_max`, cut at a character.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end =
        text.char_indices().map(|(at, letter)| at + letter.len_utf8()).take_while(|end| *end <= bytes_max);
    &text[..end.last().unwrap_or(0)]
}
