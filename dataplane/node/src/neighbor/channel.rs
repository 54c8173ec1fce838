//! Netlink sockets: one that asks, one that listens (netlink(7), rtnetlink(7)).
//!
//! Owns: the framing of requests and answers, dumps with retry, overruns. Does not own: what the messages mean
//! (`kernel`). Every message is length-checked by the parser; one that does not parse is skipped, since newer
//! kernels send what this one does not know.

use core::time::Duration;
use std::io;
use std::os::fd::AsFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};

use super::Error;

/// `RTNLGRP_*`: link, neighbour, IPv4 and IPv6 address and route.
const GROUPS: [u32; 6] = [1, 3, 5, 7, 9, 11];
/// Receive buffer of the listening socket: about 8,000 notifications. When it overflows the kernel says ENOBUFS and
/// everything is dumped again.
const EVENTS_BUFFER_BYTES: i32 = 2 << 20;
/// Largest message that is read; the kernel's dumps fill at most 32 KiB each.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// A dump that is interrupted by changes is started again this often before its result is taken as it is; the
/// notification of the change follows anyway.
const DUMP_TRIES_MAX: usize = 4;
/// The kernel answers at once; this only keeps a broken one from hanging the control thread.
const ANSWER_TIMEOUT_MS: i64 = 2_000;
/// Notifications taken per call before the caller gets a say.
const EVENTS_PER_CALL_MAX: usize = 4_096;

/// Both sockets.
#[derive(Debug)]
pub(super) struct Channel {
    asking: Socket,
    listening: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// What listening brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// All that was there was taken.
    All,
    /// There may be more.
    More,
    /// Notifications were lost.
    Overrun,
}

impl Channel {
    pub(super) fn open() -> Result<Self, Error> {
        let mut asking = Socket::new(NETLINK_ROUTE)?;
        asking.bind_auto()?;
        asking.connect(&SocketAddr::new(0, 0))?;
        setsockopt(&asking, ReceiveTimeout, &TimeVal::milliseconds(ANSWER_TIMEOUT_MS))
            .map_err(io::Error::from)?;
        let mut listening = Socket::new(NETLINK_ROUTE)?;
        listening.bind_auto()?;
        listening.set_non_blocking(true)?;
        // Cut to net.core.rmem_max without privilege; a small buffer only means more dumps.
        listening.set_rx_buf_sz(EVENTS_BUFFER_BYTES)?;
        for group in GROUPS {
            listening.add_membership(group)?;
        }
        Ok(Self { asking, listening, sequence: 0, buffer: Vec::with_capacity(MESSAGE_BYTES_MAX) })
    }

    /// Waits until there is something to hear. An interruption counts as nothing.
    pub(super) fn wait(&self, timeout: Duration) -> Result<(), Error> {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.listening.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::Io(errno.into())),
        }
    }

    /// Hands every notification that waits to `handle`.
    pub(super) fn hear(&mut self, mut handle: impl FnMut(RouteNetlinkMessage)) -> Result<Heard, Error> {
        for _ in 0..EVENTS_PER_CALL_MAX {
            self.buffer.clear();
            match self.listening.recv(&mut self.buffer, 0) {
                Ok(0) => return Ok(Heard::All),
                Ok(_) => each_message(&self.buffer, |message| {
                    if let NetlinkPayload::InnerMessage(inner) = message.payload {
                        handle(inner);
                    }
                    true
                }),
                Err(error) => match Errno::try_from(error) {
                    Ok(Errno::EAGAIN) => return Ok(Heard::All),
                    Ok(Errno::EINTR) => {}
                    Ok(Errno::ENOBUFS) => return Ok(Heard::Overrun),
                    Ok(errno) => return Err(Error::Io(errno.into())),
                    Err(error) => return Err(Error::Io(error)),
                },
            }
        }
        Ok(Heard::More)
    }

    /// Throws away what waits: a full dump follows.
    pub(super) fn forget(&mut self) -> Result<(), Error> {
        while self.hear(drop)? != Heard::All {}
        Ok(())
    }

    /// Everything of one kind that the kernel has.
    pub(super) fn dump(&mut self, request: &RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let mut answers = Vec::new();
        for _ in 0..DUMP_TRIES_MAX {
            answers.clear();
            self.send(request.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            if self.collect(&mut answers)? {
                break;
            }
        }
        Ok(answers)
    }

    /// Sends a change and waits for the kernel's word.
    pub(super) fn order(&mut self, request: RouteNetlinkMessage) -> Result<(), Error> {
        self.send(request, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK)?;
        self.collect(&mut Vec::new()).map(drop)
    }

    fn send(&mut self, request: RouteNetlinkMessage, flags: u16) -> Result<(), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.asking.send(&bytes, 0)?;
        Ok(())
    }

    /// Reads until the answer to the last request is complete. False when a dump was interrupted by a change.
    fn collect(&mut self, answers: &mut Vec<RouteNetlinkMessage>) -> Result<bool, Error> {
        let mut whole = true;
        let mut end = None;
        while end.is_none() {
            self.buffer.clear();
            match self.asking.recv(&mut self.buffer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Io(error)),
            }
            let sequence = self.sequence;
            each_message(&self.buffer, |message| {
                if message.header.sequence_number != sequence {
                    // The late answer to a request that was given up.
                    return true;
                }
                whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    NetlinkPayload::Done(_) => end = Some(Ok(())),
                    NetlinkPayload::Error(error) => {
                        end = Some(error.code.map_or(Ok(()), |code| Err(code.get().saturating_neg())));
                    }
                    _ => {}
                }
                end.is_none()
            });
        }
        match end {
            Some(Err(errno)) => Err(Error::Refused(errno)),
            _ => Ok(whole),
        }
    }
}

/// Every message in one datagram, until `handle` says no.
fn each_message(bytes: &[u8], mut handle: impl FnMut(NetlinkMessage<RouteNetlinkMessage>) -> bool) {
    let mut rest = bytes;
    while let [a, b, c, d, ..] = *rest {
        let len = u32::from_ne_bytes([a, b, c, d]) as usize;
        let Some(one) = rest.get(..len).filter(|one| one.len() >= 16) else { return };
        if let Ok(message) = NetlinkMessage::deserialize(one)
            && !handle(message)
        {
            return;
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
}
