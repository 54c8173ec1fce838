//! One TLS connection: bytes of the wire in, plaintext out, and the other way.
//!
//! ```text
//!   hello --(ClientHello whole, limits)--> handshake --(Finished)--> traffic --(close_notify)--> ended
//!     '--------------'----- error ---------------'--------'--> failed: nothing goes in or out any more
//! ```
//! Owns: rustls' connection and the bytes that are not a whole record yet. Does not own: buffers of plaintext and
//! output (the caller's, one per worker), timeouts, and how the limits are set.
//!
//! Whole records are decrypted where they lie. What is left of an unfinished record is kept, at most 18 KiB, from a
//! few buffers that the worker's connections share; an idle connection keeps nothing.
//! Cost: idle about 3.5 KB, nearly all of it rustls'.

use core::net::IpAddr;

use rustls::ProtocolVersion;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, UnbufferedStatus, WriteTraffic};
use secbeat_net::time::Instant;

use super::client_hello::{self, Measure};
use super::engine::Engine;
use super::error::{Outcome, TlsError};
use super::{Ja4, Output, Protocol};

mod record;

use record::{
    EXTRA_BYTES, FULL_RECORD_BYTES, RECORD_BYTES_MAX, RECORD_OVERHEAD_MAX, Records, encode, encrypt,
    last_words, missing, records,
};

/// Decrypting stops after this much plaintext, so that a caller's buffer stays below twice a record.
const PLAIN_BYTES_STOP: usize = 1 << 14;
/// Plaintext of the first records after a pause: such a record fits one segment of any path, so that a browser can
/// begin with the first one instead of waiting for the twelfth.
const SMALL_RECORD_BYTES: usize = 1_330;
/// How many of them: less than an initial window (RFC 6928) holds.
const SMALL_RECORDS: u8 = 8;
/// A pause after which records begin small again: the congestion window is then likely to have shrunk.
const SMALL_AGAIN_SECS: u64 = 1;
/// Fatal alerts (RFC 8446 §6) for what is refused before rustls sees it.
const ALERT_DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

/// What came of received bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes taken of the input. Fewer than given only when there is plaintext to be used up first.
    pub taken: usize,
    /// This call completed the handshake, so.
    pub established: Option<Outcome>,
    /// The client's close_notify came: no more plaintext will.
    pub is_end: bool,
}

/// A connection.
pub struct Stream {
    state: State,
    /// Bytes that are no whole record or handshake message yet.
    partial: Vec<u8>,
    /// From here on `partial` is raw; before it lie handshake records that rustls decrypted and still refers to.
    raw_from: usize,
    source: IpAddr,
    is_exempt: bool,
    small_records: u8,
    sent_at: Instant,
    facts: Option<Box<Facts>>,
}

enum State {
    /// Until a whole ClientHello is there.
    Hello,
    /// Until the client's Finished.
    Handshake(Box<UnbufferedServerConnection>),
    /// Application data flows.
    Traffic(Box<UnbufferedServerConnection>),
    /// After an error, or after both sides closed.
    Failed,
}

/// What the ClientHello said.
#[derive(Debug)]
struct Facts {
    ja4: Ja4,
    server_name: Option<Box<str>>,
}

impl Stream {
    /// A connection from which nothing has come. `is_exempt`: no limit applies to its source.
    pub fn new(source: IpAddr, is_exempt: bool) -> Self {
        Self {
            state: State::Hello,
            partial: Vec::new(),
            raw_from: 0,
            source,
            is_exempt,
            small_records: SMALL_RECORDS,
            sent_at: Instant::ZERO,
            facts: None,
        }
    }

    /// Takes bytes of the wire; they are changed. Plaintext is appended to `plain`, what must be sent to `output`, also
    /// when the answer is an error.
    ///
    /// # Errors
    /// The connection is finished: send what is in `output` and close it, or reset it where nothing is.
    pub fn receive(
        &mut self,
        engine: &mut Engine,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        output: &mut Output,
        now: Instant,
    ) -> Result<Received, TlsError> {
        let mut received = Received::default();
        let result = self.take(engine, input, plain, output, now, &mut received);
        if result.is_err() {
            self.fail(engine);
        } else if let State::Handshake(connection) = &self.state
            && !connection.is_handshaking()
        {
            let resumed = connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
            received.established = Some(if resumed { Outcome::Resumed } else { Outcome::Full });
            if let State::Handshake(connection) = core::mem::replace(&mut self.state, State::Failed) {
                self.state = State::Traffic(connection);
            }
        }
        result.map(|()| received)
    }

    /// Encrypts `plain` to the end of `output`.
    ///
    /// # Errors
    /// Before the handshake is complete, after a failure, and when the keys are used up.
    pub fn send(&mut self, plain: &[u8], output: &mut Output, now: Instant) -> Result<(), TlsError> {
        self.small_records = self.small_records_at(now);
        self.sent_at = now;
        let small = usize::from(self.small_records) * SMALL_RECORD_BYTES;
        let (first, rest) = plain.split_at(plain.len().min(small));
        self.small_records -= u8::try_from(first.len().div_ceil(SMALL_RECORD_BYTES)).unwrap_or(SMALL_RECORDS);
        self.write(output, |traffic, output| {
            for record in first.chunks(SMALL_RECORD_BYTES) {
                encrypt(traffic, record, output)?;
            }
            encrypt(traffic, rest, output)
        })
    }

    /// How much plaintext can be sent at `now` so that it takes at most `room` bytes.
    pub fn fits(&self, room: usize, now: Instant) -> usize {
        let small_records = usize::from(self.small_records_at(now));
        let record = RECORD_OVERHEAD_MAX + SMALL_RECORD_BYTES;
        let small = (room / record).min(small_records);
        let left = room - small * record;
        let begun = small * SMALL_RECORD_BYTES;
        if small < small_records {
            return begun + left.saturating_sub(RECORD_OVERHEAD_MAX);
        }
        let record = RECORD_OVERHEAD_MAX + FULL_RECORD_BYTES;
        let part = (left % record).saturating_sub(RECORD_OVERHEAD_MAX);
        begun + left / record * FULL_RECORD_BYTES + part
    }

    /// How many of the next records are small ones.
    fn small_records_at(&self, now: Instant) -> u8 {
        let pause = now.saturating_since(self.sent_at);
        if pause.as_secs() >= SMALL_AGAIN_SECS { SMALL_RECORDS } else { self.small_records }
    }

    /// Says that nothing more will be sent (close_notify). Nothing is said where nothing can be.
    pub fn close(&mut self, output: &mut Output) {
        let _ = self.write(output, |traffic, output| {
            let room = output.spare(EXTRA_BYTES);
            let len = traffic.queue_close_notify(room).map_err(|_| TlsError::Closed)?;
            output.advance(len);
            Ok(())
        });
    }

    /// Whether the handshake is complete.
    pub fn is_established(&self) -> bool {
        matches!(self.state, State::Traffic(_))
    }

    /// The application protocol, once the handshake is complete.
    pub fn protocol(&self) -> Option<Protocol> {
        let State::Traffic(connection) = &self.state else { return None };
        let is_h2 = connection.alpn_protocol() == Some(Protocol::H2.wire());
        Some(if is_h2 { Protocol::H2 } else { Protocol::Http11 })
    }

    /// The name the client asked for, lower case.
    pub fn server_name(&self) -> Option<&str> {
        self.facts.as_ref()?.server_name.as_deref()
    }

    /// The client's fingerprint.
    pub fn ja4(&self) -> Option<&Ja4> {
        self.facts.as_ref().map(|facts| &facts.ja4)
    }

    /// `TLSv1.3` or `TLSv1.2`.
    pub fn version(&self) -> Option<&'static str> {
        match self.connection()?.protocol_version()? {
            ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
            ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
            _ => None,
        }
    }

    /// Name of the cipher suite, as rustls spells it.
    pub fn cipher(&self) -> Option<&'static str> {
        self.connection()?.negotiated_cipher_suite()?.suite().as_str()
    }

    /// The client's certificate, DER, if one was asked for and given.
    pub fn client_certificate(&self) -> Option<&[u8]> {
        Some(self.connection()?.peer_certificates()?.first()?.as_ref())
    }

    /// Bytes of unfinished records that it keeps.
    pub fn kept_bytes(&self) -> usize {
        self.partial.capacity()
    }

    fn connection(&self) -> Option<&UnbufferedServerConnection> {
        match &self.state {
            State::Handshake(connection) | State::Traffic(connection) => Some(connection),
            State::Hello | State::Failed => None,
        }
    }

    fn take(
        &mut self,
        engine: &mut Engine,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        output: &mut Output,
        now: Instant,
        received: &mut Received,
    ) -> Result<(), TlsError> {
        if matches!(self.state, State::Failed) {
            return Err(TlsError::Closed);
        }
        if matches!(self.state, State::Hello) && !self.take_hello(engine, input, output, now, received)? {
            return Ok(());
        }
        let plain_stop = plain.len().saturating_add(PLAIN_BYTES_STOP);
        loop {
            let rest = input.get_mut(received.taken..).unwrap_or_default();
            let is_raw_whole = match records(self.partial.get(self.raw_from..).unwrap_or_default()) {
                Records::Whole(len) => len > 0,
                Records::Strange => true,
            };
            if rest.is_empty() && !is_raw_whole {
                return Ok(());
            }
            received.taken += if self.partial.is_empty() {
                self.take_in_place(engine, rest, plain, output, received)?
            } else {
                self.take_kept(engine, rest, is_raw_whole, plain, output, received)?
            };
            if plain.len() >= plain_stop {
                return Ok(());
            }
        }
    }

    /// Waits for a whole ClientHello; true once rustls has a connection for it.
    fn take_hello(
        &mut self,
        engine: &mut Engine,
        input: &[u8],
        output: &mut Output,
        now: Instant,
        received: &mut Received,
    ) -> Result<bool, TlsError> {
        loop {
            let rest = input.get(received.taken..).unwrap_or_default();
            let bytes = if self.partial.is_empty() { rest } else { self.partial.as_slice() };
            let end = match client_hello::measure(bytes) {
                Measure::Whole(end) => Some(end),
                Measure::Other => None,
                Measure::NotTls => return Err(TlsError::NotTls),
                Measure::TooLarge => {
                    output.extend(&ALERT_DECODE_ERROR);
                    return Err(TlsError::HandshakeTooLarge);
                }
                Measure::Need(_) if rest.is_empty() => return Ok(false),
                Measure::Need(count) => {
                    // In the first round `count` is measured on `rest` itself: all of it is kept.
                    let count = if self.partial.is_empty() { rest.len() } else { count.min(rest.len()) };
                    self.keep(engine, rest.get(..count).unwrap_or_default());
                    received.taken += count;
                    continue;
                }
            };
            let connection = engine.begin(self.source, self.is_exempt, now)?;
            if let Some(hello) = end.and_then(|end| {
                let bytes = bytes.get(..end)?;
                client_hello::parse(bytes, &mut engine.joined)
            }) {
                self.facts = Some(Box::new(Facts::of(&hello)));
            }
            self.state = State::Handshake(connection);
            return Ok(true);
        }
    }

    /// Records at the front of `input`, decrypted where they lie. Returns how many bytes were taken: all, unless
    /// there is enough plaintext.
    fn take_in_place(
        &mut self,
        engine: &mut Engine,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        output: &mut Output,
        received: &mut Received,
    ) -> Result<usize, TlsError> {
        let whole = match records(input) {
            Records::Whole(0) => {
                self.keep(engine, input);
                return Ok(input.len());
            }
            Records::Whole(len) => len,
            Records::Strange => input.len(),
        };
        let stop = plain.len().saturating_add(PLAIN_BYTES_STOP);
        let whole = input.get_mut(..whole).unwrap_or_default();
        let done = self.process(whole, plain, output, received)?;
        if plain.len() >= stop {
            return Ok(done);
        }
        // Handshake records that rustls decrypted but still refers to.
        if done < whole.len() {
            let len = whole.len();
            self.keep(engine, whole.get(done..).unwrap_or_default());
            self.raw_from = self.partial.len();
            self.check_size(engine, output)?;
            return Ok(len);
        }
        Ok(done)
    }

    /// Completes the unfinished record from `input`, and takes it. Returns how many bytes of `input` that took.
    fn take_kept(
        &mut self,
        engine: &mut Engine,
        input: &[u8],
        is_raw_whole: bool,
        plain: &mut Vec<u8>,
        output: &mut Output,
        received: &mut Received,
    ) -> Result<usize, TlsError> {
        let mut taken = 0;
        if !is_raw_whole {
            let raw = self.partial.get(self.raw_from..).unwrap_or_default();
            let count = missing(raw).min(input.len());
            self.partial.extend_from_slice(input.get(..count).unwrap_or_default());
            taken = count;
            self.check_size(engine, output)?;
            let raw = self.partial.get(self.raw_from..).unwrap_or_default();
            if matches!(records(raw), Records::Whole(0)) {
                return Ok(taken);
            }
        }
        let mut kept = core::mem::take(&mut self.partial);
        let result = self.process(&mut kept, plain, output, received);
        let done = *result.as_ref().unwrap_or(&kept.len());
        if done >= kept.len() {
            engine.recycle(kept);
            self.raw_from = 0;
        } else {
            kept.drain(..done);
            self.raw_from = kept.len();
            self.partial = kept;
        }
        result.map(|_| taken)
    }

    fn keep(&mut self, engine: &mut Engine, bytes: &[u8]) {
        if self.partial.capacity() == 0 {
            self.partial = engine.spare();
        }
        self.partial.extend_from_slice(bytes);
    }

    /// What is kept may be one record; while handshake messages are put together, a little more.
    fn check_size(&self, engine: &Engine, output: &mut Output) -> Result<(), TlsError> {
        if self.raw_from > 0 && self.partial.len() > engine.handshake_bytes_max().max(RECORD_BYTES_MAX) {
            if matches!(self.state, State::Handshake(_)) {
                output.extend(&ALERT_DECODE_ERROR);
            }
            return Err(TlsError::HandshakeTooLarge);
        }
        Ok(())
    }

    /// Lets rustls work on `bytes`: whole records, and before them what it still refers to. Returns how many it is done
    /// with.
    fn process(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        output: &mut Output,
        received: &mut Received,
    ) -> Result<usize, TlsError> {
        let (State::Handshake(connection) | State::Traffic(connection)) = &mut self.state else {
            return Err(TlsError::Closed);
        };
        let stop = plain.len().saturating_add(PLAIN_BYTES_STOP);
        let mut done = 0;
        loop {
            let rest = bytes.get_mut(done..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = connection.process_tls_records(rest);
            let mut is_idle = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    encode(&mut |room| message.encode(room), output)?;
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::PeerClosed) => received.is_end = true,
                Ok(ConnectionState::Closed) => {
                    received.is_end = true;
                    return Ok(bytes.len());
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => is_idle = true,
                // Early data is never offered (max_early_data_size is 0).
                Ok(_) => return Err(TlsError::Closed),
                Err(error) => {
                    last_words(connection, output);
                    return Err(error.into());
                }
            }
            done = bytes.len().min(done + discard);
            if received.is_end {
                return Ok(bytes.len()); // What follows a close_notify is ignored (RFC 8446 §6.1).
            }
            if is_idle || plain.len() >= stop {
                return Ok(done);
            }
        }
    }

    /// Calls `write` when rustls allows to send, after what rustls itself has to say.
    fn write(
        &mut self,
        output: &mut Output,
        write: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>, &mut Output) -> Result<(), TlsError>,
    ) -> Result<(), TlsError> {
        let State::Traffic(connection) = &mut self.state else {
            return Err(match self.state {
                State::Failed => TlsError::Closed,
                _ => TlsError::NotEstablished,
            });
        };
        let result = loop {
            // What is kept is no whole record, so nothing is decrypted here; but rustls refers to it by place.
            let UnbufferedStatus { state, .. } = connection.process_tls_records(&mut self.partial);
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => break write(&mut traffic, output),
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    if let Err(error) = encode(&mut |room| message.encode(room), output) {
                        break Err(error);
                    }
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(ConnectionState::PeerClosed) => {}
                Ok(_) => break Err(TlsError::Closed),
                Err(error) => break Err(error.into()),
            }
        };
        if result.is_err() {
            self.state = State::Failed;
            self.partial = Vec::new();
        }
        result
    }

    fn fail(&mut self, engine: &mut Engine) {
        self.state = State::Failed;
        engine.recycle(core::mem::take(&mut self.partial));
        self.raw_from = 0;
    }
}

impl core::fmt::Debug for Stream {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let state = match self.state {
            State::Hello => "hello",
            State::Handshake(_) => "handshake",
            State::Traffic(_) => "traffic",
            State::Failed => "failed",
        };
        f.debug_struct("Stream").field("state", &state).field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Facts {
    fn of(hello: &client_hello::ClientHello<'_>) -> Self {
        // What is no host name is refused by rustls a moment later.
        let name = hello.server_name.filter(|name| name.len() <= 255 && name.is_ascii());
        let name = name.and_then(|name| core::str::from_utf8(name).ok());
        Self { ja4: Ja4::of(hello), server_name: name.map(|name| name.to_ascii_lowercase().into()) }
    }
}
