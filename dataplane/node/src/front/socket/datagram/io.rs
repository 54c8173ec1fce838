//! Receiving and sending datagrams, with the local address they were sent to (ip(7), ipv6(7) `PKTINFO`).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;

use mio::net::UdpSocket;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg};

/// Longest UDP payload.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Room for one datagram and its control messages.
#[derive(Debug)]
pub(super) struct Buffers {
    payload: Vec<u8>,
    control: Vec<u8>,
}

/// A datagram in the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) len: usize,
    pub(super) source: SocketAddr,
    /// Which of our addresses it came to; `None` when the socket has only one.
    pub(super) local: Option<IpAddr>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self { payload: vec![0; DATAGRAM_BYTES_MAX], control: nix::cmsg_space!(in6_pktinfo) }
    }

    pub(super) fn payload(&self, len: usize) -> &[u8] {
        self.payload.get(..len).unwrap_or_default()
    }

    /// Takes a datagram from a listener; `wants_local` on one that is bound to every address.
    pub(super) fn receive(&mut self, socket: &UdpSocket, wants_local: bool) -> io::Result<Received> {
        if !wants_local {
            let (len, source) = socket.recv_from(&mut self.payload)?;
            return Ok(Received { len, source, local: None });
        }
        let mut parts = [IoSliceMut::new(&mut self.payload)];
        let message = recvmsg::<SockaddrStorage>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut self.control),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let source = message.address.and_then(|addr| to_std(&addr)).ok_or(io::ErrorKind::InvalidData)?;
        let local = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr))))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)))
            }
            _ => None,
        });
        Ok(Received { len: message.bytes, source, local })
    }

    /// Takes a datagram from a flow's socket.
    pub(super) fn receive_connected(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        socket.recv(&mut self.payload)
    }

    /// Sends the first `len` bytes of the buffer from a listener, as the address `local` if it has several.
    pub(super) fn send(
        &self,
        socket: &UdpSocket,
        len: usize,
        to: SocketAddr,
        local: Option<IpAddr>,
    ) -> io::Result<()> {
        let payload = self.payload(len);
        let parts = [IoSlice::new(payload)];
        let address = SockaddrStorage::from(to);
        let send = |control: &[ControlMessage<'_>]| {
            sendmsg(socket.as_raw_fd(), &parts, control, MsgFlags::MSG_DONTWAIT, Some(&address))
        };
        let sent = match local {
            None => return socket.send_to(payload, to).map(drop),
            Some(IpAddr::V4(addr)) => {
                let addr = in_addr { s_addr: u32::from(addr).to_be() };
                let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: addr, ipi_addr: in_addr { s_addr: 0 } };
                send(&[ControlMessage::Ipv4PacketInfo(&info)])
            }
            Some(IpAddr::V6(addr)) => {
                let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: addr.octets() }, ipi6_ifindex: 0 };
                send(&[ControlMessage::Ipv6PacketInfo(&info)])
            }
        };
        Ok(sent.map(drop)?)
    }
}

/// A socket that speaks only with `address`.
pub(super) fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(address)?;
    Ok(socket)
}

fn to_std(addr: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = addr.as_sockaddr_in() {
        return Some(SocketAddr::V4((*v4).into()));
    }
    addr.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()))
}
