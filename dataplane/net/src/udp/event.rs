//! What goes in and out of UDP forwarding beside datagrams: requests, ends of flows, counts.

use core::time::Duration;

use crate::flow::FlowKey;
use crate::link::Link;
use crate::splice::{BackendId, FlowId, Traffic};

/// A new flow.
#[derive(Clone, Copy, Debug)]
pub struct UdpOpenRequest {
    /// Client to listener, as on the wire.
    pub key: FlowKey,
    /// The way back to the client: `Link::reply_to` of its frame.
    pub client_link: Link,
    /// Where its datagrams go.
    pub backend: BackendId,
    /// The caller's number for this flow, for example its listener; comes back in its event.
    pub tag: u32,
}

/// Why a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UdpCloseReason {
    /// Nothing was said for the idle timeout.
    IdleTimeout,
    /// It was the oldest one-way flow when the table or the ports were full.
    Evicted,
}

/// A flow ended; comes exactly once per flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpClosed {
    /// The flow; the id is dead.
    pub flow: FlowId,
    /// The caller's number.
    pub tag: u32,
    /// Client to listener.
    pub key: FlowKey,
    /// Where its datagrams went.
    pub backend: BackendId,
    /// Why.
    pub reason: UdpCloseReason,
    /// Client to backend.
    pub to_backend: Traffic,
    /// Backend to client.
    pub to_client: Traffic,
    /// From `open` to now.
    pub lifetime: Duration,
}

/// How many flows there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpCounts {
    /// The backend has not answered.
    pub one_way: u32,
    /// The backend has answered.
    pub two_way: u32,
}

/// What a forwarder counted since `new`; monotone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpCounters {
    /// Flows opened.
    pub opened: u64,
    /// One-way flows given up because their slot or port was needed.
    pub evicted: u64,
    /// Clients whose link (MAC, VLAN or port) changed within a flow.
    pub client_moves: u64,
    /// ICMP "too big" sent back because a datagram did not fit the other side's link.
    pub too_big_sent: u64,
    /// Events lost because the owner did not empty the queue.
    pub events_lost: u64,
}
