//! Listening sockets: one per listener and worker, all on one address (`SO_REUSEPORT`).
//!
//! Owns: how they are made. Does not own: what is accepted from them. The kernel spreads connections and UDP flows over
//! the sockets by a hash of the addresses, so a UDP flow stays with its worker.

use core::net::SocketAddr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, listen, setsockopt,
    socket, sockopt,
};

use secbeat_pktio::fastopen::accept_fastopen;

use super::settings::{ListenerSettings, Protocol, Service, Settings};

/// Connections opened by data in the SYN that may wait for their validating ACK: each has cost memory and work for a
/// source that is known only by its Fast Open cookie. Above it the kernel falls back to the ordinary handshake.
const FASTOPEN_PENDING_MAX: u16 = 256;

/// What listening TCP sockets are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) backlog: u32,
    pub(super) fastopen: bool,
    pub(super) nodelay: bool,
}

impl Options {
    /// Of one listener. HTTP never gains from waiting: what is written is all there is to say.
    pub(super) fn of(settings: &Settings, listener: &ListenerSettings) -> Self {
        let nodelay = settings.nodelay || listener.service == Service::Http;
        Self { backlog: settings.backlog, fastopen: settings.fastopen, nodelay }
    }
}

/// A socket bound to `address`; a TCP one listens.
pub(super) fn open(protocol: Protocol, address: SocketAddr, options: Options) -> io::Result<OwnedFd> {
    let Options { backlog, fastopen, nodelay } = options;
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SockType::Stream, SockProtocol::Tcp),
        Protocol::Udp => (SockType::Datagram, SockProtocol::Udp),
    };
    let fd = socket(family, kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, number)?;
    setsockopt(&fd, sockopt::ReusePort, &true)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    if protocol == Protocol::Tcp {
        // A restarted node must not wait for the last one's connections in TIME-WAIT.
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        // Accepted sockets have it from here, without a call for each.
        setsockopt(&fd, sockopt::TcpNoDelay, &nodelay)?;
    } else if address.ip().is_unspecified() {
        // Which of our addresses a datagram was sent to: the answer must come from there.
        if address.is_ipv4() {
            setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    if protocol == Protocol::Tcp {
        if fastopen && let Err(error) = accept_fastopen(&fd, FASTOPEN_PENDING_MAX) {
            tracing::warn!(%address, %error, "no TCP Fast Open; connections are accepted without it");
        }
        let backlog = Backlog::new(i32::try_from(backlog).unwrap_or(i32::MAX)).unwrap_or(Backlog::MAXCONN);
        listen(&fd, backlog)?;
    }
    Ok(fd)
}
