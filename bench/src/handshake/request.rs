//! One request: connect, send, read the whole answer, before a deadline.
//!
//! ```text
//! Connecting --writable--> Sending --all sent--> Reading --length reached or closed--> Ended
//! ```
//!
//! With TLS its handshake is a part of sending.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::Options;

/// Head of an answer that is looked at; longer ones are refused as malformed.
const HEAD_BYTES_MAX: usize = 8192;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No answer to the request before the deadline.
    AnswerDeadline,
    /// No connection before the deadline.
    ConnectDeadline,
    /// The answer ended before its length.
    Cut,
    /// No socket, or no route.
    Local,
    /// Refused with a RST during the handshake.
    Refused,
    /// Reset after the handshake.
    Reset,
    /// Another status than 200, or no HTTP at all.
    Status,
    /// No TLS, or none that both sides speak.
    Tls,
}

impl Failure {
    /// A word or two for reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AnswerDeadline => "answer deadline",
            Self::ConnectDeadline => "connect deadline",
            Self::Cut => "cut",
            Self::Local => "local",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Status => "status",
            Self::Tls => "tls",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Time of the handshake, when it was completed.
    pub(crate) connect: Option<Duration>,
    /// Time from the beginning to the end.
    pub(crate) total: Duration,
    /// Why it failed; `None` is success.
    pub(crate) failure: Option<Failure>,
}

/// Whether a request goes on.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It waits for its socket.
    Going,
    /// It is over.
    Ended(Outcome),
}

#[derive(Debug)]
enum State {
    Connecting,
    Sending { sent: usize },
    Reading { head: Vec<u8>, body_left: Option<u64> },
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Request {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    state: State,
    text: String,
    begun: Instant,
    deadline: Instant,
    connect: Option<Duration>,
}

impl Request {
    /// Opens a socket and sends the SYN.
    pub(crate) fn begin(
        options: &Options,
        tls: Option<&Arc<ClientConfig>>,
        now: Instant,
    ) -> Result<Self, Outcome> {
        let failed = |failure| Outcome { connect: None, total: Duration::ZERO, failure: Some(failure) };
        let stream = open(options).map_err(|error| match error {
            Errno::ECONNREFUSED => failed(Failure::Refused),
            _ => failed(Failure::Local),
        })?;
        let tls = tls.map(|config| {
            let name = ServerName::IpAddress(options.to.ip().into());
            ClientConnection::new(Arc::clone(config), name).map(Box::new)
        });
        let tls = tls.transpose().map_err(|_| failed(Failure::Tls))?;
        let text = if options.path.is_empty() {
            String::new()
        } else {
            format!("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", options.path, options.to)
        };
        let deadline = now + Duration::from_millis(options.deadline_ms);
        Ok(Self { stream, tls, state: State::Connecting, text, begun: now, deadline, connect: None })
    }

    /// When it began.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// When it fails if it has not ended.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether it waits to write rather than to read.
    pub(crate) fn wants_write(&self) -> bool {
        match (&self.state, &self.tls) {
            (State::Connecting, _) => true,
            (_, Some(tls)) => tls.wants_write(),
            (State::Sending { .. }, None) => true,
            (State::Reading { .. }, None) => false,
        }
    }

    /// Its socket, to wait for.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Goes on as far as its socket allows.
    pub(crate) fn handle(&mut self, is_ready: bool, now: Instant) -> Progress {
        let step = if is_ready { self.on_ready(now) } else { Ok(false) };
        match step {
            Ok(true) => self.ended(now, None),
            Err(failure) => self.ended(now, Some(failure)),
            Ok(false) if now >= self.deadline => {
                let failure =
                    if self.connect.is_none() { Failure::ConnectDeadline } else { Failure::AnswerDeadline };
                self.ended(now, Some(failure))
            }
            Ok(false) => Progress::Going,
        }
    }

    fn ended(&self, now: Instant, failure: Option<Failure>) -> Progress {
        Progress::Ended(Outcome { connect: self.connect, total: now - self.begun, failure })
    }

    /// True when the answer is complete.
    fn on_ready(&mut self, now: Instant) -> Result<bool, Failure> {
        if matches!(self.state, State::Connecting) {
            match self.stream.take_error() {
                Ok(None) => {}
                Ok(Some(error)) if error.kind() == ErrorKind::TimedOut => {
                    return Err(Failure::ConnectDeadline);
                }
                Ok(Some(_)) | Err(_) => return Err(Failure::Refused),
            }
            self.connect = Some(now - self.begun);
            if self.text.is_empty() {
                return Ok(true);
            }
            self.state = State::Sending { sent: 0 };
        }
        if let State::Sending { sent } = &mut self.state {
            let rest = &self.text.as_bytes()[*sent..];
            let written = match &mut self.tls {
                // Its handshake comes first: with the request written, all of it is on its way.
                Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).write(rest),
                None => self.stream.write(rest),
            };
            match written {
                Ok(count) => *sent += count,
                Err(error) => return would_block(&error),
            }
            if *sent == self.text.len() {
                self.state = State::Reading { head: Vec::new(), body_left: None };
            }
            return Ok(false);
        }
        self.read()
    }

    fn receive(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).read(chunk),
            None => self.stream.read(chunk),
        }
    }

    fn read(&mut self) -> Result<bool, Failure> {
        let mut chunk = [0; 16 * 1024];
        loop {
            let count = match self.receive(&mut chunk) {
                Ok(0) => return Err(Failure::Cut),
                Ok(count) => count,
                Err(error) => return would_block(&error),
            };
            let State::Reading { head, body_left } = &mut self.state else { return Ok(false) };
            match body_left {
                Some(left) => *left = left.saturating_sub(count as u64),
                None => {
                    head.extend_from_slice(&chunk[..count]);
                    *body_left = body_after_head(head)?;
                }
            }
            if *body_left == Some(0) {
                return Ok(true);
            }
        }
    }
}

fn would_block(error: &io::Error) -> Result<bool, Failure> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(false),
        // What rustls says of a peer that breaks the protocol.
        ErrorKind::InvalidData => Err(Failure::Tls),
        ErrorKind::UnexpectedEof => Err(Failure::Cut),
        _ => Err(Failure::Reset),
    }
}

/// Bytes of the body that are still to come, once the head is complete.
fn body_after_head(bytes: &[u8]) -> Result<Option<u64>, Failure> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > HEAD_BYTES_MAX { Err(Failure::Status) } else { Ok(None) };
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    if !head.starts_with("HTTP/1.1 200") {
        return Err(Failure::Status);
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<u64>().ok())?
    });
    let here = (bytes.len() - end - 4) as u64;
    length.map(|length| Some(length.saturating_sub(here))).ok_or(Failure::Status)
}

fn open(options: &Options) -> Result<TcpStream, Errno> {
    let family = if options.to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd: OwnedFd = socket(family, SockType::Stream, flags, None)?;
    // As browsers do; the request would otherwise wait for nothing, but the answer's ACK might.
    setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    if let Some(address) = options.bind {
        bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, 0)))?;
    }
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(options.to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(fd)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_of_the_rest_is_known_when_the_head_is_whole() {
        assert_eq!(body_after_head(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap(), None);
        assert_eq!(body_after_head(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").unwrap(), Some(6));
        assert_eq!(body_after_head(b"HTTP/1.1 404 No\r\n\r\n"), Err(Failure::Status));
        assert_eq!(body_after_head(&[b'x'; HEAD_BYTES_MAX + 1]), Err(Failure::Status));
    }
}
