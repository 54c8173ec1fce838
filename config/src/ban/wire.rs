//! Entries to and from messages.
//!
//! Owns: what a message must be to become an entry. Everything from the wire passes here before it is merged.

use ipnet::IpNet;
use secbeat_proto::v1;
use uuid::Uuid;

use super::{ACTOR_BYTES_MAX, Entry, Origin, REASON_BYTES_MAX, Stamp, canonical};

/// Why a message is no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not a prefix.
    #[error("prefix: `{0}` is not an address or CIDR prefix, such as 203.0.113.7 or 2001:db8::/64")]
    Prefix(String),
    /// Too wide.
    #[error("prefix: `{0}` is wider than may be banned: /8 for IPv4, /16 for IPv6")]
    Wide(IpNet),
    /// Without a stamp.
    #[error("stamp: is missing; it says when the entry was written and by whom")]
    NoStamp,
    /// Not a UUID.
    #[error("{0}: is not a UUID")]
    Uuid(&'static str),
    /// Too long.
    #[error("{key}: {bytes} bytes, allowed are {bytes_max}")]
    Long {
        /// Which field.
        key: &'static str,
        /// How long it is.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

/// An address or prefix as people write it, in its one form.
///
/// # Errors
/// When it is neither, or wider than may be banned.
pub fn parse_prefix(text: &str) -> Result<IpNet, WireError> {
    let text = text.trim();
    let address = || text.parse().ok().map(super::table::host);
    let prefix = text.parse::<IpNet>().ok().or_else(address);
    let prefix = prefix.ok_or_else(|| WireError::Prefix(text.chars().take(80).collect()))?;
    canonical(prefix).ok_or(WireError::Wide(prefix))
}

fn uuid(key: &'static str, text: &str) -> Result<[u8; 16], WireError> {
    Uuid::try_parse(text).map(Uuid::into_bytes).map_err(|_| WireError::Uuid(key))
}

fn text(key: &'static str, text: String, bytes_max: usize) -> Result<String, WireError> {
    if text.len() > bytes_max {
        return Err(WireError::Long { key, bytes: text.len(), bytes_max });
    }
    Ok(text)
}

impl From<Stamp> for v1::Stamp {
    fn from(stamp: Stamp) -> Self {
        let writer = Uuid::from_bytes(stamp.writer).to_string();
        Self { wall_ms: stamp.wall_ms, counter: stamp.counter, writer }
    }
}

impl TryFrom<v1::Stamp> for Stamp {
    type Error = WireError;

    fn try_from(stamp: v1::Stamp) -> Result<Self, WireError> {
        let writer = uuid("stamp.writer", &stamp.writer)?;
        Ok(Self { wall_ms: stamp.wall_ms, counter: stamp.counter, writer })
    }
}

impl From<Origin> for v1::BanOrigin {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Operator => Self::Operator,
            Origin::Node => Self::Node,
            Origin::Expert => Self::Expert,
            Origin::NodeApi => Self::NodeApi,
        }
    }
}

impl From<v1::BanOrigin> for Origin {
    /// What a newer peer calls otherwise counts as an operator's: it is kept longest and displaced last.
    fn from(origin: v1::BanOrigin) -> Self {
        match origin {
            v1::BanOrigin::Operator | v1::BanOrigin::Unspecified => Self::Operator,
            v1::BanOrigin::Node => Self::Node,
            v1::BanOrigin::Expert => Self::Expert,
            v1::BanOrigin::NodeApi => Self::NodeApi,
        }
    }
}

impl From<Entry> for v1::BanEntry {
    fn from(entry: Entry) -> Self {
        Self {
            prefix: entry.prefix.to_string(),
            stamp: Some(entry.stamp.into()),
            is_removed: entry.removed,
            until_ms: entry.until_ms.unwrap_or(0),
            since_ms: entry.since_ms,
            reason: entry.reason,
            origin: v1::BanOrigin::from(entry.origin).into(),
            actor: entry.actor,
            node_id: entry.node.map(|node| Uuid::from_bytes(node).to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::BanEntry> for Entry {
    type Error = WireError;

    fn try_from(message: v1::BanEntry) -> Result<Self, WireError> {
        let origin = message.origin().into();
        let node = (!message.node_id.is_empty()).then_some(&message.node_id);
        Ok(Self {
            prefix: parse_prefix(&message.prefix)?,
            stamp: message.stamp.ok_or(WireError::NoStamp)?.try_into()?,
            removed: message.is_removed,
            until_ms: (message.until_ms != 0).then_some(message.until_ms),
            since_ms: message.since_ms,
            reason: text("reason", message.reason, REASON_BYTES_MAX)?,
            origin,
            actor: text("actor", message.actor, ACTOR_BYTES_MAX)?,
            node: node.map(|node| uuid("node_id", node)).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests;
