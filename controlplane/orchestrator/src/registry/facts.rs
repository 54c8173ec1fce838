//! What a node said of itself when it registered.
//!
//! Owns: limits on what is kept of it. Texts beyond the limit are cut: they are for people.

use std::collections::BTreeMap;

use secbeat_proto::v1;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Characters of a host name, version, mode or driver that are kept.
pub(super) const TEXT_CHARS_MAX: usize = 253;
/// Labels of a node that are kept, in the order of their keys.
pub(super) const LABELS_MAX: usize = 32;

/// Facts of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Made once, kept on the node's disk.
    pub id: Uuid,
    /// Its name.
    pub hostname: String,
    /// Where its stream came from.
    pub address: String,
    /// Of the program.
    pub version: String,
    /// tcp, syn, l7.
    pub mode: String,
    /// xdp, socket.
    pub driver: String,
    /// Worker threads.
    pub workers: u32,
    /// Connections at most.
    pub connections_max: u64,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// When its process started, milliseconds since 1970.
    pub started_ms: u64,
    /// First registration, milliseconds since 1970.
    pub registered_ms: u64,
    /// From its configuration.
    pub labels: BTreeMap<String, String>,
}

impl Facts {
    /// From the first message of a stream.
    pub fn of_hello(id: Uuid, hello: &v1::Hello, address: &str, now_ms: u64) -> Self {
        let labels = hello.labels.iter().take(LABELS_MAX);
        Self {
            id,
            hostname: cut(&hello.hostname),
            address: cut(address),
            version: cut(&hello.version),
            mode: cut(&hello.mode),
            driver: cut(&hello.driver),
            workers: hello.workers,
            connections_max: hello.connections_max,
            memory_bytes: hello.memory_bytes,
            started_ms: hello.started_ms,
            registered_ms: now_ms,
            labels: labels.map(|(key, value)| (cut(key), cut(value))).collect(),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
}
