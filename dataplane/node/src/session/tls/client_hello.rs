//! The ClientHello as it came (RFC 8446 §4.1.2): whether it is whole, and what its client looks like.
//!
//! Owns: a bounded parser of the few fields that JA4 and routing by name need. Does not own: whether the message is
//! acceptable, which rustls decides from the same bytes. What cannot be parsed is only not described.
//! Cost: one pass, no allocation but the server name's.

/// Most bytes of a ClientHello, records and all. Post-quantum key shares make it 2 KB, a client with all of them
/// 6 KB; one that needs more is refused before anything is computed.
pub const HELLO_BYTES_MAX: usize = 16 << 10;

/// Most cipher suites, extensions and signature algorithms that are looked at; JA4 counts to 99.
pub const LIST_MAX: usize = 128;

/// Record header (RFC 8446 §5.1): type, version, length.
pub(super) const RECORD_HEADER_BYTES: usize = 5;
/// Handshake header: type, 24-bit length.
const MESSAGE_HEADER_BYTES: usize = 4;
/// Content type of handshake messages.
const HANDSHAKE: u8 = 22;
/// Handshake type of the message.
const CLIENT_HELLO: u8 = 1;
/// Longest plaintext of a record.
const RECORD_PLAIN_MAX: usize = 1 << 14;

/// How much of a ClientHello is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// At least so many more bytes are needed.
    Need(usize),
    /// All of it, in the records that end here.
    Whole(usize),
    /// This is no TLS at all.
    NotTls,
    /// More than [`HELLO_BYTES_MAX`].
    TooLarge,
    /// TLS, but no ClientHello: rustls knows the right alert.
    Other,
}

/// Looks whether the records at the front of `bytes` hold a whole ClientHello.
pub fn measure(bytes: &[u8]) -> Measure {
    let mut at = 0;
    let mut message = 0; // Bytes of the message seen so far.
    let mut header = [0; MESSAGE_HEADER_BYTES];
    loop {
        let record = bytes.get(at..).unwrap_or_default();
        // A type and a version that are not ours need no further bytes to be refused.
        if record.first().is_some_and(|kind| *kind != HANDSHAKE)
            || record.get(1).is_some_and(|major| *major != 3)
        {
            return if at == 0 { Measure::NotTls } else { Measure::Other };
        }
        let Some(&[_, _, _, high, low]) = record.first_chunk::<RECORD_HEADER_BYTES>() else {
            return Measure::Need(RECORD_HEADER_BYTES - record.len());
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len == 0 || len > RECORD_PLAIN_MAX {
            return Measure::Other;
        }
        let payload = record.get(RECORD_HEADER_BYTES..).unwrap_or_default();
        for (place, byte) in header.iter_mut().skip(message).zip(payload) {
            *place = *byte;
        }
        if (message > 0 || !payload.is_empty()) && header[0] != CLIENT_HELLO {
            return Measure::Other;
        }
        let end = at + RECORD_HEADER_BYTES + len;
        let [_, a, b, c] = header;
        let whole = MESSAGE_HEADER_BYTES + u32::from_be_bytes([0, a, b, c]) as usize;
        let is_known = message + payload.len().min(len) >= MESSAGE_HEADER_BYTES;
        if end > HELLO_BYTES_MAX || (is_known && whole > HELLO_BYTES_MAX) {
            return Measure::TooLarge;
        }
        if payload.len() < len {
            return Measure::Need(len - payload.len());
        }
        message += len;
        at = end;
        if is_known && message >= whole {
            return Measure::Whole(at);
        }
    }
}

/// What the client says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// `legacy_version`.
    pub version: u16,
    /// Highest of `supported_versions`, values of RFC 8701 left out.
    pub version_max: Option<u16>,
    /// Cipher suites, two bytes each.
    pub ciphers: &'a [u8],
    /// Types of extensions in order.
    pub extensions: Vec<u16>,
    /// Server name (RFC 6066 §3), as it came.
    pub server_name: Option<&'a [u8]>,
    /// The first application protocol.
    pub alpn: Option<&'a [u8]>,
    /// Signature algorithms, two bytes each.
    pub signature_algorithms: &'a [u8],
}

/// Reads the message in the whole records `bytes`; `None` when it is malformed. A message in several records is
/// put together in `joined`.
pub fn parse<'a>(bytes: &'a [u8], joined: &'a mut Vec<u8>) -> Option<ClientHello<'a>> {
    let mut records = Reader(bytes);
    let first = records.record()?;
    if let Some(body) = message(first) {
        return read(body);
    }
    joined.clear();
    joined.extend_from_slice(first);
    while joined.len() < HELLO_BYTES_MAX {
        let Some(payload) = records.record() else { break };
        joined.extend_from_slice(payload);
    }
    read(message(joined)?)
}

/// The body of the message at the front, if it is whole.
fn message(bytes: &[u8]) -> Option<&[u8]> {
    let [_, a, b, c] = *bytes.first_chunk::<MESSAGE_HEADER_BYTES>()?;
    let end = MESSAGE_HEADER_BYTES + u32::from_be_bytes([0, a, b, c]) as usize;
    bytes.get(MESSAGE_HEADER_BYTES..end)
}

/// Reads the body of the message.
fn read(body: &[u8]) -> Option<ClientHello<'_>> {
    let mut body = Reader(body);
    let version = body.u16()?;
    body.take(32)?; // random
    body.list8()?; // legacy_session_id
    let ciphers = body.list16()?;
    body.list8()?; // legacy_compression_methods
    let mut hello = ClientHello { version, ciphers, ..ClientHello::default() };
    if body.0.is_empty() {
        return Some(hello); // Extensions may be absent in TLS 1.2.
    }
    let mut extensions = Reader(body.list16()?);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.list16()?;
        if hello.extensions.len() < LIST_MAX {
            hello.extensions.push(kind);
        }
        extension(&mut hello, kind, content);
    }
    Some(hello)
}

/// Takes what is of interest from one extension; one that is malformed says nothing.
fn extension<'a>(hello: &mut ClientHello<'a>, kind: u16, content: &'a [u8]) {
    const SERVER_NAME: u16 = 0;
    const SIGNATURE_ALGORITHMS: u16 = 13;
    const ALPN: u16 = 16;
    const SUPPORTED_VERSIONS: u16 = 43;
    let mut content = Reader(content);
    match kind {
        SERVER_NAME => {
            let Some(mut names) = content.list16().map(Reader) else { return };
            // One name of type host_name (RFC 6066 §3 allows no second).
            if names.take(1) == Some(&[0]) {
                hello.server_name = names.list16();
            }
        }
        SIGNATURE_ALGORITHMS => hello.signature_algorithms = content.list16().unwrap_or_default(),
        ALPN => hello.alpn = content.list16().and_then(|names| Reader(names).list8()),
        SUPPORTED_VERSIONS => {
            let versions = content.list8().unwrap_or_default();
            hello.version_max = pairs(versions).filter(|version| !is_grease(*version)).max();
        }
        _ => {}
    }
}

/// Numbers of two bytes, at most [`LIST_MAX`] of them.
pub fn pairs(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.chunks_exact(2).take(LIST_MAX).filter_map(|pair| Some(u16::from_be_bytes(*pair.first_chunk()?)))
}

/// Values that clients sprinkle in to keep servers tolerant (RFC 8701).
pub const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Bytes under reading.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    /// Bytes behind a length of one byte.
    fn list8(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(*self.take(1)?.first()?);
        self.take(len)
    }

    /// Bytes behind a length of two bytes.
    fn list16(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.u16()?);
        self.take(len)
    }

    /// The payload of the next record.
    fn record(&mut self) -> Option<&'a [u8]> {
        self.take(3)?;
        self.list16()
    }
}

/// What the fuzzer and the replay of its corpus call.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let measure = measure(bytes);
    if let Measure::Need(count) = measure {
        assert!(count > 0 && count <= RECORD_PLAIN_MAX);
    }
    let Measure::Whole(end) = measure else { return };
    assert!(end <= bytes.len() && end <= HELLO_BYTES_MAX);
    // The end is where it is because everything before it was not enough.
    assert!(!matches!(self::measure(&bytes[..end - 1]), Measure::Whole(_)));
    let mut joined = Vec::new();
    if let Some(hello) = parse(&bytes[..end], &mut joined) {
        assert!(hello.extensions.len() <= LIST_MAX);
        let _ = super::Ja4::of(&hello);
    }
}
