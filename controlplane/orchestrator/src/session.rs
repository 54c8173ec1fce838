//! Nodes with an open stream.
//!
//! Owns: the way of messages to each connected node: bounded queues, never blocking the sender; what each node holds
//! and acknowledged on this stream. Does not own: what is wanted (`policy`), the registry's memory of nodes.

use secbeat_proto::v1;

/// Messages that wait for one node. A node takes thousands a second; 256 full deltas are more than a minute of
/// changes. Full: the stream is closed, and the node starts again with what it holds.
pub const OUTGOING_MAX: usize = 256;

/// Every open stream, by node.
#[derive(Debug, Default)]
pub struct Sessions {}

impl Sessions {
    /// Sends changed entries of the ban list to every connected node but `except` (UUID), at once.
    pub fn broadcast_bans(&self, _entries: &[v1::BanEntry], _except: Option<&str>) {}

    /// UUIDs of connected nodes.
    pub fn connected(&self) -> Vec<String> {
        Vec::new()
    }
}
