//! One record per datagram (RFC 5426).
//!
//! Owns: a connected socket, and what the receiver's host says about it (ICMP). The first datagram after opening is
//! waited for a moment: if the port is closed the host says so, and the record waits instead of being lost. Nobody says
//! anything about datagrams lost on the way.

use core::time::Duration;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::thread;

use secbeat_config::export::HostPort;

use super::connection::Sent;

/// How long the receiver's host gets to say that nobody listens.
const ANSWER_TIME: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct UdpOut {
    socket: UdpSocket,
    is_proved: bool,
}

impl UdpOut {
    pub(super) fn open(to: &HostPort) -> io::Result<Self> {
        let mut last = io::Error::other("no address");
        for address in (to.host.as_str(), to.port).to_socket_addrs()? {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            match UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket)) {
                Ok(socket) => return Ok(Self { socket, is_proved: false }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(super) fn send(&mut self, frames: &[Vec<u8>]) -> Sent {
        let mut sent = Sent::default();
        for frame in frames {
            if let Err(error) = self.socket.send(frame) {
                // It is about an earlier datagram, which was counted as sent.
                sent.was_refused = error.kind() == io::ErrorKind::ConnectionRefused;
                sent.error = Some(error);
                return sent;
            }
            if !self.is_proved {
                thread::sleep(ANSWER_TIME);
                if let Ok(Some(error)) | Err(error) = self.socket.take_error() {
                    sent.error = Some(error);
                    return sent;
                }
                self.is_proved = true;
            }
            sent.done += 1;
        }
        sent
    }
}
