//! Makes the kernel resolve a next hop, and keep it resolved.
//!
//! Owns: how the kernel is asked and how often. Does not own: ARP and neighbour discovery, which the kernel does.
//! With CAP_NET_ADMIN by RTM_NEWNEIGH with `NTF_USE`: the kernel treats the entry as if it had just sent a packet.
//! Without it, by really sending one: an empty UDP datagram to the discard port (RFC 863) of the next hop.
//! Bounds: one question per next hop and second, [`PENDING_MAX`] next hops remembered.

use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::time::Duration;
use std::collections::HashMap;
use std::ffi::OsString;
use std::net::UdpSocket;
use std::time::Instant;

use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt::BindToDevice};
use secbeat_net::neighbor::InterfaceIndex;

use super::channel::Channel;

/// Time between two questions for the same unresolved next hop: the kernel itself asks three times in this second.
const UNRESOLVED_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two confirmations of a resolved one. The kernel calls an entry stale after 15 to 45 s and may delete it
/// after 60 s when nobody uses it; our packets do not pass by its tables, so it cannot know that we do.
const RESOLVED_INTERVAL: Duration = Duration::from_secs(10);
/// Next hops whose last question is remembered; more would be a scan. When full, the question is not asked;
/// the next call tries again.
const PENDING_MAX: usize = 4_096;
/// The discard port (RFC 863).
const DISCARD_PORT: u16 = 9;

/// What is known about a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Its link-layer address is missing.
    Resolve,
    /// It is known and must stay so.
    Keep,
}

/// Asks, not too often.
#[derive(Debug, Default)]
pub(super) struct Asker {
    asked: HashMap<(InterfaceIndex, IpAddr), Instant>,
    /// The kernel refused RTM_NEWNEIGH for want of privilege.
    pub(super) unprivileged: bool,
}

impl Asker {
    /// Asks about `next_hop` on the interface `index` (called `device`) unless it was asked about just now.
    pub(super) fn ask(
        &mut self,
        channel: &mut Channel,
        (index, device): (InterfaceIndex, &str),
        next_hop: IpAddr,
        need: Need,
        now: Instant,
    ) {
        let interval = match need {
            Need::Resolve => UNRESOLVED_INTERVAL,
            Need::Keep => RESOLVED_INTERVAL,
        };
        let key = (index, next_hop);
        if self.asked.get(&key).is_some_and(|at| now.saturating_duration_since(*at) < interval) {
            return;
        }
        if self.asked.len() >= PENDING_MAX && !self.asked.contains_key(&key) {
            self.asked.retain(|_, at| now.saturating_duration_since(*at) < RESOLVED_INTERVAL);
            if self.asked.len() >= PENDING_MAX {
                return;
            }
        }
        self.asked.insert(key, now);
        if !self.unprivileged {
            match channel.order(use_entry(index, next_hop)) {
                Ok(()) => return,
                Err(super::Error::Refused(errno)) if errno == Errno::EPERM as i32 => self.unprivileged = true,
                Err(error) => {
                    tracing::debug!(%error, %next_hop, device, "kernel does not take up a neighbour");
                }
            }
        }
        if let Err(error) = send_probe(device, index, next_hop) {
            tracing::debug!(%error, %next_hop, device, "no probe towards a neighbour");
        }
    }
}

fn use_entry(index: InterfaceIndex, next_hop: IpAddr) -> RouteNetlinkMessage {
    let (family, destination) = match next_hop {
        IpAddr::V4(addr) => (AddressFamily::Inet, addr.into()),
        IpAddr::V6(addr) => (AddressFamily::Inet6, addr.into()),
    };
    let mut message = NeighbourMessage::default();
    message.header = NeighbourHeader {
        family,
        ifindex: index,
        state: NeighbourState::None,
        flags: NeighbourFlags::Use,
        ..NeighbourHeader::default()
    };
    message.attributes = vec![NeighbourAttribute::Destination(destination)];
    RouteNetlinkMessage::NewNeighbour(message)
}

/// One empty datagram to the next hop. Interfaces may be bound to without privilege since Linux 5.7.
fn send_probe(device: &str, index: InterfaceIndex, next_hop: IpAddr) -> std::io::Result<()> {
    let (any, to) = match next_hop {
        IpAddr::V4(addr) => (SocketAddr::from(([0, 0, 0, 0], 0)), SocketAddr::from((addr, DISCARD_PORT))),
        IpAddr::V6(addr) => (
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(SocketAddrV6::new(addr, DISCARD_PORT, 0, index)),
        ),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    setsockopt(&socket, BindToDevice, &OsString::from(device))?;
    socket.send_to(&[], to).map(drop)
}
