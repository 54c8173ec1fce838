//! Socket options and calls of AF_XDP that xsk-rs does not offer, one safe function each.

use core::time::Duration;
use std::io;
use std::os::fd::RawFd;

/// `XDP_OPTIONS` and its flag, and `XDP_MAX_TX_SKB_BUDGET`, of `linux/if_xdp.h`.
const XDP_OPTIONS: libc::c_int = 8;
const XDP_OPTIONS_ZEROCOPY: u32 = 1;
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// Of `asm-generic/socket.h`.
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

fn set(fd: RawFd, level: libc::c_int, name: libc::c_int, value: u32) -> io::Result<()> {
    // SAFETY: the kernel reads four bytes from `value`, which lives through the call.
    let result =
        unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of_val(&value) as u32) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn get(fd: RawFd, level: libc::c_int, name: libc::c_int) -> io::Result<u32> {
    let mut value = 0u32;
    let mut len = size_of_val(&value) as u32;
    // SAFETY: the kernel writes at most `len` bytes to `value`.
    let result = unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut len) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// Whether the socket runs in zero-copy mode.
pub(super) fn is_zero_copy(fd: RawFd) -> io::Result<bool> {
    Ok(get(fd, libc::SOL_XDP, XDP_OPTIONS)? & XDP_OPTIONS_ZEROCOPY != 0)
}

/// Lets one `sendto` move more than 32 frames (Linux 6.17); older kernels refuse, which costs more calls only.
pub(super) fn raise_transmit_budget(fd: RawFd, frames: u32) {
    let _ = set(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, frames);
}

/// Asks for preferred busy polling; `false` when the driver names no NAPI, so that it has no effect.
pub(super) fn prefer_busy_poll(fd: RawFd, timeout_us: u32, budget_packets: u32) -> io::Result<bool> {
    set(fd, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, 1)?;
    set(fd, libc::SOL_SOCKET, libc::SO_BUSY_POLL, timeout_us)?;
    set(fd, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, budget_packets)?;
    Ok(get(fd, libc::SOL_SOCKET, libc::SO_INCOMING_NAPI_ID)? != 0)
}

/// What one transmit call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kick {
    /// The kernel took all it found.
    Done,
    /// More is left: the batch limit was reached, the completion ring is full or the device is busy.
    More,
    /// The device refused a frame, which is lost and completed (`EBUSY`); more may be left.
    Lost,
    /// The device is down or out of memory: the rest waits for the next flush.
    Down,
}

/// Makes the kernel look at the transmit ring.
pub(super) fn kick_transmit(fd: RawFd) -> Kick {
    // SAFETY: a null buffer of length zero: AF_XDP takes frames from the ring.
    let result = unsafe { libc::sendto(fd, core::ptr::null(), 0, libc::MSG_DONTWAIT, core::ptr::null(), 0) };
    if result >= 0 {
        return Kick::Done;
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR) => Kick::More,
        Some(libc::EBUSY) => Kick::Lost,
        _ => Kick::Down,
    }
}

/// Whether the socket is bound to an interface that exists: poll(2) does not tell, a receive call does.
pub(super) fn is_bound(fd: RawFd) -> bool {
    kick_receive(fd) >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENXIO)
}

/// Makes the kernel look at the fill ring, or poll the device when busy polling.
pub(super) fn kick_receive(fd: RawFd) -> isize {
    // SAFETY: a null buffer of length zero: AF_XDP delivers through the ring.
    unsafe {
        libc::recvfrom(
            fd,
            core::ptr::null_mut(),
            0,
            libc::MSG_DONTWAIT,
            core::ptr::null_mut(),
            core::ptr::null_mut(),
        )
    }
}

/// Sleeps until one of the descriptors is readable, or `timeout` passes, or a signal comes.
pub(super) fn poll(fds: &mut [libc::pollfd], timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: pointer and count describe the slice; `timeout` lives through the call; no signal mask.
    unsafe {
        libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, &raw const timeout, core::ptr::null())
    };
}
