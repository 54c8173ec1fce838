//! Records in a TCP stream (RFC 6587).
//!
//! Owns: connecting with a limit in time, noticing that the receiver has closed before more is written to it, writing to
//! a receiver that takes its time. One that takes nothing for [`STALL_TIME`] is given up. Used by `tls`, too.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Instant;

use secbeat_config::export::HostPort;

use super::connection::Sent;

/// Time for a connection to one address, and for a handshake.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Time after which a receiver that takes no byte counts as gone: its window is closed, or nothing comes back.
pub(super) const STALL_TIME: Duration = Duration::from_secs(10);
/// How often a waiting writer looks whether it is over.
const LOOK_TIME: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct TcpOut {
    stream: TcpStream,
}

/// A connection to the first address that takes one.
pub(super) fn connect(to: &HostPort) -> io::Result<TcpStream> {
    let mut last = io::Error::other("no address");
    for address in (to.host.as_str(), to.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIME) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Writes bytes, as long as the receiver takes some every now and then.
pub(super) fn write_patiently(
    stream: &TcpStream,
    bytes: &[u8],
    is_over: &dyn Fn() -> bool,
) -> (usize, io::Result<()>) {
    let mut written = 0;
    let mut moved = Instant::now();
    if let Err(error) = stream.set_write_timeout(Some(LOOK_TIME)) {
        return (0, Err(error));
    }
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match (&mut &*stream).write(rest) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                written += count;
                moved = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if is_over() || moved.elapsed() >= STALL_TIME {
                    let why = "the receiver takes no bytes";
                    return (written, Err(io::Error::new(io::ErrorKind::TimedOut, why)));
                }
            }
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Runs `read` without waiting; `Ok(0)` of it is the end of the stream. Receivers of logs say nothing else.
pub(super) fn check(stream: &TcpStream, mut read: impl FnMut() -> io::Result<usize>) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let result = loop {
        match read() {
            Ok(0) => break Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the receiver has closed")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    stream.set_nonblocking(false)?;
    result
}

/// Frames that lie whole within the first `written` bytes of them all.
pub(super) fn whole_frames(frames: &[Vec<u8>], written: usize) -> usize {
    let mut end = 0;
    frames
        .iter()
        .take_while(|frame| {
            end += frame.len();
            end <= written
        })
        .count()
}

impl TcpOut {
    pub(super) fn open(to: &HostPort) -> io::Result<Self> {
        Ok(Self { stream: connect(to)? })
    }

    pub(super) fn send(&mut self, frames: &[Vec<u8>], is_over: &dyn Fn() -> bool) -> Sent {
        if let Err(error) = self.check() {
            return Sent { error: Some(error), ..Sent::default() };
        }
        let (written, result) = write_patiently(&self.stream, &frames.concat(), is_over);
        Sent { done: whole_frames(frames, written), error: result.err(), ..Sent::default() }
    }

    pub(super) fn check(&self) -> io::Result<()> {
        let mut nothing = [0; 512];
        check(&self.stream, || (&mut &self.stream).read(&mut nothing))
    }

    pub(super) fn close(self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
