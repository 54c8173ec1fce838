//! Moving bytes from one socket to another without copying them: splice(2) through a pipe.
//!
//! Owns: pipes, their pool, and one direction of a connection ([`Half`]). Does not own: sockets, who polls them.
//!
//! ```text
//! socket --splice--> pipe --splice--> socket       the pipe is emptied before it is filled again, so that EAGAIN
//!                                                  of the first can only mean "no bytes", never "pipe full"
//! ```
//! A pipe is borrowed from the pool while bytes are in flight: an idle connection has none. Cost: two system calls per
//! up to 64 KiB; two descriptors per direction in flight.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use mio::net::TcpStream;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

/// What a pipe holds without asking: 16 pages. The kernel gives less (two pages) to a user without privilege who has
/// more than `fs.pipe-user-pages-soft` already; that only makes more system calls.
const PIPE_BYTES_DEFAULT: usize = 64 << 10;
/// Empty pipes kept for the next connection: 256 descriptors pairs cover a thousand busy connections, which seldom have
/// bytes in flight at the same moment.
const POOL_MAX: usize = 256;

/// Both ends of a pipe.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// Pipes without bytes in them.
#[derive(Debug)]
pub(super) struct Pool {
    pipes: Vec<Pipe>,
    bytes: usize,
    /// Pipes that could not be made for want of descriptors.
    pub(super) exhausted: u64,
}

impl Pool {
    pub(super) fn new(bytes: usize) -> Self {
        Self { pipes: Vec::new(), bytes: bytes.max(PIPE_BYTES_DEFAULT), exhausted: 0 }
    }

    fn take(&mut self) -> Result<Pipe, Errno> {
        if let Some(pipe) = self.pipes.pop() {
            return Ok(pipe);
        }
        let (read, write) =
            pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).inspect_err(|_| self.exhausted += 1)?;
        if self.bytes > PIPE_BYTES_DEFAULT {
            // Refused above fs.pipe-max-size or the user's share; the default then has to do.
            let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(i32::try_from(self.bytes).unwrap_or(i32::MAX)));
        }
        Ok(Pipe { read, write })
    }

    fn give(&mut self, pipe: Pipe) {
        if self.pipes.len() < POOL_MAX {
            self.pipes.push(pipe);
        }
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Half {
    pipe: Option<Pipe>,
    /// Bytes in the pipe.
    in_pipe: usize,
    /// The source may have bytes: set by events, cleared by EAGAIN.
    pub(super) is_readable: bool,
    /// The destination may have room: set by events, cleared by EAGAIN.
    pub(super) is_writable: bool,
    /// The source has finished (FIN).
    pub(super) is_ended: bool,
    /// The FIN is passed on, after the last byte.
    pub(super) is_finished: bool,
    /// Bytes delivered.
    pub(super) bytes: u64,
}

/// Where a direction stands after [`Half::pump`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing more can be done until an event.
    Blocked,
    /// The budget is used up; there is more.
    More,
    /// No pipe could be had: try again when descriptors are free.
    Starved,
}

impl Half {
    /// Moves up to about `budget` bytes from `from` to `to`, and the end of the stream after the last one.
    pub(super) fn pump(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        pool: &mut Pool,
        budget: usize,
    ) -> io::Result<Progress> {
        let mut left = budget;
        let progress = loop {
            if self.in_pipe > 0 {
                if !self.is_writable {
                    break Progress::Blocked;
                }
                left = left.saturating_sub(self.drain(to)?);
                continue;
            }
            if self.is_ended {
                if !self.is_finished {
                    to.shutdown(std::net::Shutdown::Write)?;
                    self.is_finished = true;
                }
                break Progress::Blocked;
            }
            if !self.is_readable {
                break Progress::Blocked;
            }
            if left == 0 {
                break Progress::More;
            }
            if !self.fill(from, pool)? {
                break Progress::Starved;
            }
        };
        if self.in_pipe == 0
            && let Some(pipe) = self.pipe.take()
        {
            pool.give(pipe);
        }
        Ok(progress)
    }

    /// Bytes on their way inside the node.
    pub(super) fn in_flight(&self) -> usize {
        self.in_pipe
    }

    /// Socket to pipe. False when there is no pipe.
    fn fill(&mut self, from: &TcpStream, pool: &mut Pool) -> io::Result<bool> {
        if self.pipe.is_none() {
            match pool.take() {
                Ok(pipe) => self.pipe = Some(pipe),
                Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => return Ok(false),
                Err(errno) => return Err(errno.into()),
            }
        }
        let Some(pipe) = &self.pipe else { return Ok(false) };
        match move_bytes(from, &pipe.write, pool.bytes) {
            Ok(0) => self.is_ended = true,
            Ok(count) => self.in_pipe = count,
            Err(Errno::EAGAIN) => self.is_readable = false,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(true)
    }

    /// Pipe to socket; returns how many bytes left.
    fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        match move_bytes(&pipe.read, to, self.in_pipe) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                self.in_pipe = self.in_pipe.saturating_sub(count);
                self.bytes = self.bytes.saturating_add(count as u64);
                Ok(count)
            }
            Err(Errno::EAGAIN) => {
                self.is_writable = false;
                Ok(0)
            }
            Err(Errno::EINTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn move_bytes(from: impl AsFd, to: impl AsFd, len: usize) -> Result<usize, Errno> {
    splice(from, None, to, None, len, SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK)
}
