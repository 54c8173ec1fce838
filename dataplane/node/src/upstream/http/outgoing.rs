//! The request on its way to a backend: what waits to be written, and what may have to be written again.
//!
//! ```text
//! buffer:  | head, body ... sent | body ... waiting |       keeps_all: from the first byte on, so that another
//!          0                   sent               len                  connection can have it from the start
//! ```
//!
//! Owns: the bytes, the framing of the body, the window. Does not own: the socket, when to try again (`dispatch`).
//! Cost: a body goes from the caller's slice into the socket; only what the socket does not take is copied. Bodies of
//! idempotent requests are copied as long as they fit the window.

use std::io::{self, IoSlice, Write};

use secbeat_http::h1::{BodyKind, encode};
use secbeat_http::head::Fields;

/// Bytes of a request that wait here at most, head aside: what a fast client sends while a backend is slow. When full,
/// the client is not read from.
pub(super) const WINDOW_BYTES: usize = 64 << 10;
/// A buffer grown beyond this is given back after the exchange.
const BUFFER_KEPT_BYTES: usize = 16 << 10;
/// What framing adds to a chunk: its head and the line end after it.
const CHUNK_EXTRA_BYTES: usize = encode::CHUNK_HEAD_BYTES_MAX + 2;

/// What is still to come from the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// Nothing.
    Ended,
    /// So many bytes.
    Length(u64),
    /// Chunks until the caller ends it.
    Chunked,
    /// Raw bytes until the caller ends it; then FIN.
    Tunnel,
}

/// One request on its way.
#[derive(Debug)]
pub(super) struct Outgoing {
    buffer: Vec<u8>,
    sent: usize,
    /// Bytes that may wait: less than [`WINDOW_BYTES`] when the worker holds very much already.
    pub(super) window: usize,
    rest: Rest,
    keeps_all: bool,
    /// A byte has left on the present connection.
    has_sent: bool,
    /// The caller was told less than it offered, and is to be told when there is room.
    owes_writable: bool,
    /// The backend takes no more; what comes is dropped.
    is_refused: bool,
    /// The tunnel's FIN is due after the last byte.
    owes_fin: bool,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            sent: 0,
            window: WINDOW_BYTES,
            rest: Rest::Ended,
            keeps_all: false,
            has_sent: false,
            owes_writable: false,
            is_refused: false,
            owes_fin: false,
        }
    }

    /// Starts over with a head that `write_head` writes.
    pub(super) fn start(&mut self, body: BodyKind, keeps_all: bool, write_head: impl FnOnce(&mut Vec<u8>)) {
        let mut buffer = core::mem::take(&mut self.buffer);
        buffer.clear();
        write_head(&mut buffer);
        *self = Self { buffer, keeps_all, ..Self::new() };
        self.rest = match body {
            BodyKind::None | BodyKind::Length(0) | BodyKind::UntilClose => Rest::Ended,
            BodyKind::Length(len) => Rest::Length(len),
            BodyKind::Chunked => Rest::Chunked,
        };
    }

    /// Gives back what a large request took.
    pub(super) fn shrink(&mut self) {
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = Vec::new();
        }
    }

    /// From now on raw bytes, in a connection of their own.
    pub(super) fn become_tunnel(&mut self) {
        self.stop_keeping();
        self.rest = Rest::Tunnel;
    }

    fn unsent(&self) -> usize {
        self.buffer.len().saturating_sub(self.sent)
    }

    /// Bytes held here.
    pub(super) fn held_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether bytes wait for the socket.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent() > 0 || self.owes_fin
    }

    /// Whether the whole request has left.
    pub(super) fn is_complete(&self) -> bool {
        self.rest == Rest::Ended && !self.has_unsent() && !self.is_refused
    }

    /// Whether a backend has had any of it on the present connection.
    pub(super) fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// Whether everything so far is still here.
    pub(super) fn can_be_sent_again(&self) -> bool {
        self.keeps_all || !self.has_sent
    }

    /// For another connection: from the first byte.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
        self.has_sent = false;
        self.is_refused = false;
    }

    /// The backend takes no more.
    pub(super) fn refuse(&mut self) {
        self.is_refused = true;
        self.owes_fin = false;
        self.keeps_all = false;
        self.buffer.clear();
        self.sent = 0;
    }

    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Bytes that [`Outgoing::push`] takes.
    pub(super) fn room(&self) -> usize {
        if self.is_refused {
            return WINDOW_BYTES;
        }
        let room = self.window.saturating_sub(self.unsent());
        match self.rest {
            Rest::Ended => 0,
            Rest::Length(left) => usize::try_from(left).unwrap_or(usize::MAX).min(room),
            Rest::Chunked => room.saturating_sub(CHUNK_EXTRA_BYTES),
            Rest::Tunnel => room,
        }
    }

    /// Says when there is room, as after a short `push`.
    pub(super) fn want_room(&mut self) {
        self.owes_writable = true;
    }

    /// Takes body bytes into the buffer; says how many.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        if self.is_refused {
            self.note_taken(bytes.len());
            return bytes.len();
        }
        let len = bytes.len().min(self.room());
        if len < bytes.len() {
            self.owes_writable = true;
        }
        let Some(bytes) = bytes.get(..len).filter(|bytes| !bytes.is_empty()) else { return 0 };
        if self.keeps_all && self.buffer.len() + len > WINDOW_BYTES {
            self.stop_keeping();
        }
        self.drop_sent();
        if self.rest == Rest::Chunked {
            encode::chunk_head(len, &mut self.buffer);
            self.buffer.extend_from_slice(bytes);
            encode::chunk_tail(&mut self.buffer);
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        self.note_taken(len);
        len
    }

    /// The same with a socket that may take them at once. Says how many were taken.
    ///
    /// # Errors
    /// Of the socket; the bytes then count as taken.
    pub(super) fn push_through(
        &mut self,
        bytes: &[u8],
        socket: &mut impl Write,
        is_writable: &mut bool,
    ) -> io::Result<usize> {
        let is_raw =
            matches!(self.rest, Rest::Length(_) | Rest::Tunnel) && !self.keeps_all && !self.is_refused;
        if !is_raw || !*is_writable {
            return self.push_by_windows(bytes, socket, is_writable);
        }
        let offered = match self.rest {
            Rest::Length(left) => bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            _ => bytes.len(),
        };
        let bytes = bytes.get(..offered).unwrap_or_default();
        let waiting = self.buffer.get(self.sent..).unwrap_or_default();
        let total = waiting.len() + bytes.len();
        let (waiting_len, result) = (waiting.len(), write_both(socket, waiting, bytes));
        let written = match result {
            Ok(written) => written,
            Err(error) if is_transient(&error) => 0,
            Err(error) => return Err(error),
        };
        *is_writable = written == total;
        self.has_sent |= written > 0;
        self.sent += written.min(waiting_len);
        self.drop_sent();
        let direct = written.saturating_sub(waiting_len);
        self.note_taken(direct);
        Ok(direct + self.push(bytes.get(direct..).unwrap_or_default()))
    }

    /// Through the buffer, a window at a time, as long as the socket takes them.
    fn push_by_windows(
        &mut self,
        bytes: &[u8],
        socket: &mut impl Write,
        is_writable: &mut bool,
    ) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            let len = self.push(bytes.get(taken..).unwrap_or_default());
            taken += len;
            self.flush(socket, is_writable)?;
            if len == 0 || taken == bytes.len() || self.has_unsent() {
                self.owes_writable = taken < bytes.len();
                return Ok(taken);
            }
        }
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// Of the socket.
    pub(super) fn flush(&mut self, socket: &mut impl Write, is_writable: &mut bool) -> io::Result<usize> {
        let waiting = self.buffer.get(self.sent..).unwrap_or_default();
        if waiting.is_empty() || !*is_writable {
            return Ok(0);
        }
        match socket.write(waiting) {
            Ok(written) => {
                *is_writable = written == waiting.len();
                self.has_sent |= written > 0;
                self.sent += written;
                self.drop_sent();
                Ok(written)
            }
            Err(error) if is_transient(&error) => {
                *is_writable = error.kind() == io::ErrorKind::Interrupted;
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    /// The caller's last byte was given. True when the socket is to be written to.
    pub(super) fn end(&mut self, trailers: Option<&Fields>) {
        match self.rest {
            Rest::Ended | Rest::Length(_) => return,
            Rest::Chunked if !self.is_refused => encode::last_chunk(trailers, &mut self.buffer),
            Rest::Chunked => {}
            Rest::Tunnel => self.owes_fin = !self.is_refused,
        }
        self.rest = Rest::Ended;
    }

    /// Whether the tunnel's FIN is to be sent now; says so once.
    pub(super) fn take_fin(&mut self) -> bool {
        self.unsent() == 0 && core::mem::take(&mut self.owes_fin)
    }

    /// Whether the caller is to be told that there is room.
    pub(super) fn is_writable_due(&self) -> bool {
        self.owes_writable && self.room() > 0
    }

    /// The same; says so once.
    pub(super) fn take_writable(&mut self) -> bool {
        self.is_writable_due() && core::mem::take(&mut self.owes_writable)
    }

    fn note_taken(&mut self, len: usize) {
        if let Rest::Length(left) = &mut self.rest {
            *left = left.saturating_sub(len as u64);
            if *left == 0 {
                self.rest = Rest::Ended;
            }
        }
    }

    fn stop_keeping(&mut self) {
        self.keeps_all = false;
        self.drop_sent();
    }

    /// Forgets what was sent, when it need not be kept and costs nothing or much.
    fn drop_sent(&mut self) {
        if self.keeps_all || self.sent == 0 {
            return;
        }
        if self.sent == self.buffer.len() {
            self.buffer.clear();
            self.sent = 0;
        } else if self.sent >= WINDOW_BYTES / 2 {
            self.buffer.drain(..self.sent);
            self.sent = 0;
        }
    }
}

fn write_both(socket: &mut impl Write, first: &[u8], second: &[u8]) -> io::Result<usize> {
    match (first.is_empty(), second.is_empty()) {
        (true, true) => Ok(0),
        (true, false) => socket.write(second),
        (false, true) => socket.write(first),
        (false, false) => socket.write_vectored(&[IoSlice::new(first), IoSlice::new(second)]),
    }
}

pub(super) fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that takes `room` bytes.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let len = bytes.len().min(self.room - self.taken.len());
            if len == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.taken.extend_from_slice(&bytes[..len]);
            Ok(len)
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let all = slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<u8>>();
            self.write(&all)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn narrow(room: usize) -> Narrow {
        Narrow { taken: Vec::new(), room }
    }

    fn outgoing(body: BodyKind, keeps_all: bool) -> Outgoing {
        let mut outgoing = Outgoing::new();
        outgoing.start(body, keeps_all, |buffer| buffer.extend_from_slice(b"HEAD"));
        outgoing
    }

    #[test]
    fn head_and_body_leave_in_one_write() {
        let (mut out, mut socket, mut writable) = (outgoing(BodyKind::Length(4), false), narrow(100), true);
        assert_eq!(out.push_through(b"body", &mut socket, &mut writable).unwrap(), 4);
        assert_eq!(socket.taken, b"HEADbody");
        assert!(out.is_complete() && writable);
    }

    #[test]
    fn what_the_socket_does_not_take_waits_in_order() {
        let (mut out, mut socket, mut writable) = (outgoing(BodyKind::Length(8), false), narrow(6), true);
        assert_eq!(out.push_through(b"bodybody", &mut socket, &mut writable).unwrap(), 8);
        assert!(!writable && out.has_unsent());
        (socket.room, writable) = (100, true);
        out.flush(&mut socket, &mut writable).unwrap();
        assert_eq!(socket.taken, b"HEADbodybody");
        assert!(out.is_complete());
    }

    #[test]
    fn caller_is_told_once_when_there_is_room_again() {
        let mut out = outgoing(BodyKind::Length(1 << 20), false);
        let piece = vec![b'x'; WINDOW_BYTES];
        let taken = out.push(&piece);
        assert_eq!(taken, WINDOW_BYTES - 4, "the head is in the window");
        assert!(!out.take_writable());
        let (mut socket, mut writable) = (narrow(1 << 20), true);
        out.flush(&mut socket, &mut writable).unwrap();
        assert!(out.take_writable());
        assert!(!out.take_writable());
    }

    #[test]
    fn kept_request_can_be_sent_again_until_it_outgrows_the_window() {
        let mut out = outgoing(BodyKind::Length(1 << 20), true);
        let (mut socket, mut writable) = (narrow(1 << 21), true);
        out.push_through(b"first", &mut socket, &mut writable).unwrap();
        assert!(out.has_sent() && out.can_be_sent_again());
        out.rewind();
        let mut again = narrow(1 << 21);
        out.flush(&mut again, &mut writable).unwrap();
        assert_eq!(again.taken, b"HEADfirst");
        out.push_through(&vec![b'x'; WINDOW_BYTES], &mut again, &mut writable).unwrap();
        assert!(!out.can_be_sent_again());
        assert_eq!(again.taken.len(), 9 + WINDOW_BYTES);
    }

    #[test]
    fn request_of_which_nothing_left_can_always_be_sent_again() {
        let out = outgoing(BodyKind::Length(4), false);
        assert!(out.can_be_sent_again());
    }

    #[test]
    fn refused_body_is_taken_and_dropped() {
        let mut out = outgoing(BodyKind::Length(10), false);
        out.refuse();
        assert_eq!(out.push(b"01234"), 5);
        assert!(!out.has_unsent() && !out.is_complete());
    }

    #[test]
    fn body_longer_than_announced_is_not_sent() {
        let (mut out, mut socket, mut writable) = (outgoing(BodyKind::Length(4), false), narrow(100), true);
        assert_eq!(out.push_through(b"body and more", &mut socket, &mut writable).unwrap(), 4);
        assert_eq!(socket.taken, b"HEADbody");
    }
}
