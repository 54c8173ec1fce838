//! A client that writes frames byte by byte and can therefore be as wrong as a test wants.

use std::sync::Arc;

use secbeat_http::h2::{Event, Limits, Pool, Reason, Server, StreamId, Violation};
use secbeat_http::head::Response;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A GET that nobody could object to.
pub(crate) const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "example.com")];
/// A POST without a Content-Length.
pub(crate) const POST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "https"), (":path", "/form"), (":authority", "example.com")];

/// A frame that the server wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn id(stream: u32) -> StreamId {
    StreamId::from_value(stream)
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literals without indexing.
pub(crate) fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut block = Vec::new();
    let text = |block: &mut Vec<u8>, bytes: &[u8]| {
        if bytes.len() < 127 {
            block.push(bytes.len() as u8);
        } else {
            block.push(127);
            let mut rest = bytes.len() - 127;
            while rest >= 128 {
                block.push(rest as u8 | 128);
                rest >>= 7;
            }
            block.push(rest as u8);
        }
        block.extend_from_slice(bytes);
    };
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name.as_ref());
        text(&mut block, value.as_ref());
    }
    block
}

pub(crate) fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    pairs.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect()
}

pub(crate) fn answer(status: u16, fields: &[(&str, &str)]) -> Response {
    let mut head = Response::new();
    head.set_status(status).unwrap();
    for (name, value) in fields {
        head.fields_mut().append(name.as_bytes(), value.as_bytes()).unwrap();
    }
    head
}

/// Both ends of one connection.
pub(crate) struct Client {
    pub(crate) server: Server,
    pub(crate) pool: Pool,
    pub(crate) now_ms: u64,
    /// Whether what the server writes is read at once.
    pub(crate) reads: bool,
    output: Vec<u8>,
}

impl Client {
    /// After the preface, with both SETTINGS acknowledged.
    pub(crate) fn new() -> Self {
        Self::with(Limits::default(), &[])
    }

    pub(crate) fn with(limits: Limits, client_settings: &[(u16, u32)]) -> Self {
        let mut client = Self::silent(limits);
        client.write(PREFACE);
        client.write(&frame(SETTINGS, 0, 0, &settings(client_settings)));
        client.write(&frame(SETTINGS, ACK, 0, &[]));
        assert_eq!(client.events(), []);
        let frames = client.frames();
        assert_eq!(
            frames.iter().map(|frame| frame.kind).collect::<Vec<_>>(),
            [SETTINGS, WINDOW_UPDATE, SETTINGS]
        );
        client
    }

    /// Nothing was sent yet.
    pub(crate) fn silent(limits: Limits) -> Self {
        let server = Server::new(Arc::new(limits), 0);
        Self { server, pool: Pool::default(), now_ms: 0, reads: true, output: Vec::new() }
    }

    /// Sends bytes; all must be taken.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        assert_eq!(self.offer(bytes), bytes.len());
    }

    /// Offers bytes.
    pub(crate) fn offer(&mut self, bytes: &[u8]) -> usize {
        let taken = self.server.receive(bytes, self.now_ms, &mut self.pool);
        self.read();
        taken
    }

    /// Reads what the server wrote.
    pub(crate) fn read(&mut self) {
        if self.reads {
            self.output.extend_from_slice(self.server.output());
            self.server.consume_output(self.server.output().len());
        }
    }

    pub(crate) fn headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        stream: u32,
        fields: &[(N, V)],
        end: bool,
    ) {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.write(&frame(HEADERS, flags, stream, &block(fields)));
    }

    pub(crate) fn data(&mut self, stream: u32, bytes: &[u8], end: bool) {
        self.write(&frame(DATA, u8::from(end), stream, bytes));
    }

    pub(crate) fn update(&mut self, stream: u32, increment: u32) {
        self.write(&frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes()));
    }

    /// A stream that was asked for and announced.
    pub(crate) fn get(&mut self, stream: u32) {
        self.headers(stream, GET, true);
        assert_eq!(self.events(), [Event::Request { stream: id(stream), end: true }]);
    }

    /// A stream whose body is on its way.
    pub(crate) fn post(&mut self, stream: u32) {
        self.headers(stream, POST, false);
        assert_eq!(self.events(), [Event::Request { stream: id(stream), end: false }]);
    }

    /// Everything that happened.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let events = core::iter::from_fn(|| self.server.poll_event()).collect();
        self.read();
        events
    }

    /// The frames the server wrote since the last call.
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        self.read();
        let mut frames = Vec::new();
        let mut rest = &self.output[..];
        while let [l0, l1, l2, kind, flags, s0, s1, s2, s3, more @ ..] = rest {
            let len = u32::from_be_bytes([0, *l0, *l1, *l2]) as usize;
            let stream = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
            frames.push(Frame { kind: *kind, flags: *flags, stream, payload: more[..len].to_vec() });
            rest = &more[len..];
        }
        assert!(rest.is_empty());
        self.output.clear();
        frames
    }

    /// Body bytes of a stream that the server wrote, and whether they were the last.
    pub(crate) fn body(&mut self, stream: u32) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        let mut end = false;
        for frame in self.frames() {
            if frame.stream == stream && frame.kind == DATA {
                assert!(!end, "DATA after END_STREAM");
                body.extend_from_slice(&frame.payload);
                end = frame.flags & END_STREAM != 0;
            }
        }
        (body, end)
    }

    /// The connection ended for this and nothing else, and the client was told.
    pub(crate) fn expect_end(&mut self, violation: Violation) {
        let events = self.events();
        let expected =
            [Event::Violation { stream: None, violation }, Event::Closed { reason: violation.reason() }];
        assert!(events.ends_with(&expected), "{violation:?}: {events:?}");
        let goaway = self.frames().pop().unwrap();
        assert_eq!(goaway.kind, GOAWAY);
        assert_eq!(goaway.payload[4..8], violation.reason().code().to_be_bytes());
        assert_eq!(goaway.payload[8..], *violation.name().as_bytes());
        assert!(self.server.is_closed());
        assert_eq!(self.server.stream_count(), 0);
    }

    /// One stream was reset for this, the connection lives.
    pub(crate) fn expect_reset(&mut self, stream: u32, violation: Violation) {
        let events = self.events();
        let expected = Event::Violation { stream: Some(id(stream)), violation };
        assert!(events.contains(&expected), "{violation:?}: {events:?}");
        assert!(!self.server.is_closed());
        let resets = self.resets();
        assert!(resets.contains(&(stream, violation.reason())), "{violation:?}: {resets:?}");
    }

    /// Streams the server reset since the last look.
    pub(crate) fn resets(&mut self) -> Vec<(u32, Reason)> {
        self.frames()
            .iter()
            .filter(|frame| frame.kind == RST_STREAM)
            .map(|frame| {
                let code = u32::from_be_bytes(frame.payload[..].try_into().unwrap());
                (frame.stream, Reason::from_code(code))
            })
            .collect()
    }
}
