//! What TCP options a backend speaks, asked of the kernel about a connection that stands (sock_diag(7)).
//!
//! Owns: one `INET_DIAG` request and the reading of its answer. Does not own: the connection (a health check).
//! The socket option `TCP_INFO` would say the same, but needs a call this crate does not allow itself; the
//! netlink family answers it for one's own sockets without privilege.
//!
//! The answer, offsets in bytes (`linux/inet_diag.h`, `linux/tcp.h`):
//! ```text
//! nlmsghdr 16 | inet_diag_msg 72 | rtattr{len u16, type u16 = INET_DIAG_INFO} tcp_info{ 5: options, 6: snd_wscale
//!               (low 4 bits) and rcv_wscale (high), 16: snd_mss u32 }
//! ```

use core::net::{IpAddr, SocketAddr};
use std::io;

use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};

use super::snapshot::TcpOptions;

/// `SOCK_DIAG_BY_FAMILY`.
const REQUEST_TYPE: u16 = 20;
/// `NLM_F_REQUEST`.
const FLAG_REQUEST: u16 = 1;
/// `NLMSG_ERROR`.
const TYPE_ERROR: u16 = 2;
/// `INET_DIAG_INFO`: the attribute that carries `struct tcp_info`.
const ATTRIBUTE_INFO: u16 = 2;
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
const DIAG_BYTES: usize = 72;
/// `TCPI_OPT_*`.
const OPTION_TIMESTAMPS: u8 = 1;
const OPTION_SACK: u8 = 2;
const OPTION_WINDOW_SCALE: u8 = 4;
/// Timestamps take this much of each segment, and `snd_mss` is what remains (RFC 7323 appendix A).
const TIMESTAMPS_BYTES: u16 = 12;

/// Asks the kernel about connections.
#[derive(Debug)]
pub(super) struct Inspector {
    socket: Socket,
    answer: Vec<u8>,
}

impl Inspector {
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.connect(&NetlinkAddr::new(0, 0))?;
        Ok(Self { socket, answer: Vec::with_capacity(4_096) })
    }

    /// The options of the established connection from `local` to `remote`, both of one family.
    pub(super) fn options(&mut self, local: SocketAddr, remote: SocketAddr) -> io::Result<TcpOptions> {
        self.socket.send(&request(local, remote), 0)?;
        self.answer.clear();
        self.socket.recv(&mut self.answer, 0)?;
        parse(&self.answer)
    }
}

/// The request for one connection, found by its addresses (no cookie).
fn request(local: SocketAddr, remote: SocketAddr) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0; REQUEST_BYTES];
    let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
    put(0, &(REQUEST_BYTES as u32).to_ne_bytes());
    put(4, &REQUEST_TYPE.to_ne_bytes());
    put(6, &FLAG_REQUEST.to_ne_bytes());
    let family = if remote.is_ipv4() { libc_family::INET } else { libc_family::INET6 };
    // family, protocol, extensions (one bit per attribute, from 1), padding.
    put(16, &[family, 6, 1 << (ATTRIBUTE_INFO - 1), 0]);
    put(20, &u32::MAX.to_ne_bytes());
    put(24, &local.port().to_be_bytes());
    put(26, &remote.port().to_be_bytes());
    put_addr(&mut put, 28, local.ip());
    put_addr(&mut put, 44, remote.ip());
    put(64, &[0xff; 8]);
    bytes
}

/// Address families of the socket API.
mod libc_family {
    pub(super) const INET: u8 = 2;
    pub(super) const INET6: u8 = 10;
}

fn put_addr(put: &mut impl FnMut(usize, &[u8]), offset: usize, addr: IpAddr) {
    match addr {
        IpAddr::V4(addr) => put(offset, &addr.octets()),
        IpAddr::V6(addr) => put(offset, &addr.octets()),
    }
}

fn parse(answer: &[u8]) -> io::Result<TcpOptions> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "sock_diag answer is not understood");
    let kind = answer.get(4..6).map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]])).ok_or_else(invalid)?;
    if kind == TYPE_ERROR {
        let errno = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_ne_bytes);
        return Err(io::Error::from_raw_os_error(errno.saturating_neg()));
    }
    let mut rest = answer.get(HEADER_BYTES + DIAG_BYTES..).unwrap_or_default();
    while let [len_low, len_high, kind_low, kind_high, ..] = *rest {
        let len = usize::from(u16::from_ne_bytes([len_low, len_high]));
        let value = rest.get(4..len).ok_or_else(invalid)?;
        if u16::from_ne_bytes([kind_low, kind_high]) == ATTRIBUTE_INFO {
            return parse_info(value).ok_or_else(invalid);
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Err(invalid())
}

fn parse_info(info: &[u8]) -> Option<TcpOptions> {
    let options = *info.get(5)?;
    let scales = *info.get(6)?;
    let snd_mss = u32::from_ne_bytes(info.get(16..20)?.try_into().ok()?);
    let timestamps = options & OPTION_TIMESTAMPS != 0;
    let mss = u16::try_from(snd_mss).unwrap_or(u16::MAX);
    Some(TcpOptions {
        mss: if timestamps { mss.saturating_add(TIMESTAMPS_BYTES) } else { mss },
        timestamps,
        sack: options & OPTION_SACK != 0,
        window_scale: (options & OPTION_WINDOW_SCALE != 0).then_some(scales & 0x0f),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn options_over(listen: &str) -> TcpOptions {
        let listener = TcpListener::bind(listen).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut inspector = Inspector::open().unwrap();
        inspector.options(stream.local_addr().unwrap(), stream.peer_addr().unwrap()).unwrap()
    }

    #[test]
    fn kernel_tells_the_options_of_a_loopback_connection() {
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let options = options_over(listen);
            assert!(options.mss > 500, "{options:?}");
            assert!(options.sack, "Linux offers SACK unless told otherwise");
        }
    }

    #[test]
    fn connection_that_is_not_there_is_an_error() {
        let nobody = "127.0.0.1:1".parse().unwrap();
        assert!(Inspector::open().unwrap().options(nobody, nobody).is_err());
    }

    #[test]
    fn truncated_answers_are_errors_and_never_panic() {
        let mut answer = vec![0u8; HEADER_BYTES + DIAG_BYTES];
        answer.extend([24u8, 0, 2, 0]);
        answer.extend([0u8; 20]);
        assert!(parse(&answer).is_ok());
        for len in 0..answer.len() {
            assert!(parse(&answer[..len]).is_err(), "{len}");
        }
    }
}
