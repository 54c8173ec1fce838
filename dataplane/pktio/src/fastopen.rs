//! TCP Fast Open on a listening socket (RFC 7413): the one socket option that the socket front needs and no safe
//! interface offers.
//!
//! Owns: one system call. Does not own: sockets; it is here only because `unsafe` lives in this crate and in
//! `hugepages`. The kernel also asks for bit 2 of `net.ipv4.tcp_fastopen`; without it the option has no effect.

use core::mem::size_of;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Lets a listening socket take data in SYNs of clients that hold a cookie, with up to `queue_len` such connections
/// not yet validated by their ACK.
///
/// # Errors
/// What setsockopt(2) answers: `EOPNOTSUPP` or `ENOPROTOOPT` on a kernel or a socket without Fast Open.
pub fn accept_fastopen(socket: impl AsFd, queue_len: u16) -> io::Result<()> {
    let value = libc::c_int::from(queue_len);
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; `value` is a live `c_int` and the length
    // passed is its own; the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn listener_takes_the_option_and_a_datagram_socket_refuses() {
        accept_fastopen(TcpListener::bind("127.0.0.1:0").unwrap(), 16).unwrap();
        assert!(accept_fastopen(UdpSocket::bind("127.0.0.1:0").unwrap(), 16).is_err());
    }
}
