//! The least that stands between a client and an origin: parse, write anew, forward. What the session does, without
//! sockets, so that a corpus and random bytes can be played through it.
use secbeat_http::{
    error::Error,
    h1::{
        BodyKind, Parsed, Progress, Upgrade,
        body::{Decoder, Step},
        encode::{self, Connection, Hop},
        parse::{self, Asked, ResponseKind},
    },
    head::{Method, Request, Response},
    limits::Limits,
};

/// The authority that stands in for one that an HTTP/1.0 client did not send.
pub(crate) const DEFAULT_HOST: &[u8] = b"default.example";

/// A message that went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Passed {
    /// The method, or the status.
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    /// What the client named; empty when it named none.
    pub(crate) host: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// What was written for it.
    pub(crate) written: Vec<u8>,
}

/// How it went on after the last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Refused(Error),
    Open,
    Closed,
    Extra,
    Waits,
}

type Outcome = (Vec<Passed>, Then);

/// Plays `bytes` in pieces as a client's.
pub(crate) fn requests(bytes: &[u8], piece_len: usize, peer_ends: bool) -> Outcome {
    let mut wire = Wire { bytes, piece_len, arrived: piece_len.min(bytes.len()), start: 0, peer_ends };
    let mut passed = Vec::new();
    let then = loop {
        match one_request(&mut wire) {
            Ok((message, true)) => passed.push(message),
            Ok((message, false)) => {
                passed.push(message);
                break Then::Closed;
            }
            Err(then) => break then,
        }
    };
    (passed, then)
}

/// Plays `bytes` in pieces as an origin's answer to one request.
pub(crate) fn response(bytes: &[u8], piece_len: usize, peer_ends: bool, asked: Asked) -> Outcome {
    let mut wire = Wire { bytes, piece_len, arrived: piece_len.min(bytes.len()), start: 0, peer_ends };
    match one_response(&mut wire, asked) {
        Ok((message, _)) if wire.start < bytes.len() => (vec![message], Then::Extra),
        Ok((message, true)) => (vec![message], Then::Open),
        Ok((message, false)) => (vec![message], Then::Closed),
        Err(then) => (Vec::new(), then),
    }
}

/// Bytes that arrive in pieces.
struct Wire<'a> {
    bytes: &'a [u8],
    piece_len: usize,
    arrived: usize,
    start: usize,
    peer_ends: bool,
}

impl Wire<'_> {
    fn input(&self) -> &[u8] {
        &self.bytes[self.start..self.arrived]
    }

    /// Whether another piece came.
    fn more(&mut self) -> bool {
        let before = self.arrived;
        self.arrived = (before + self.piece_len).min(self.bytes.len());
        self.arrived > before
    }

    fn body(&mut self, kind: BodyKind) -> Result<(Vec<u8>, Vec<u8>), Then> {
        let mut decoder = Decoder::new(kind, &Limits::default());
        let (mut data, mut written) = (Vec::new(), Vec::new());
        loop {
            match decoder.decode(self.input()).map_err(Then::Refused)? {
                Step::Data(range) => {
                    let piece = &self.input()[range.clone()];
                    data.extend_from_slice(piece);
                    match kind {
                        BodyKind::Chunked => encode::chunk(piece, &mut written),
                        _ => written.extend_from_slice(piece),
                    }
                    self.start += range.end;
                }
                Step::End { consumed } => {
                    self.start += consumed;
                    break;
                }
                Step::NeedMore => {
                    self.start = self.arrived;
                    if self.more() {
                        continue;
                    }
                    if !self.peer_ends {
                        return Err(Then::Waits);
                    }
                    decoder.finish().map_err(Then::Refused)?;
                    break;
                }
            }
        }
        if kind == BodyKind::Chunked {
            encode::last_chunk(decoder.trailers(), &mut written);
        }
        Ok((data, written))
    }
}

fn one_request(wire: &mut Wire<'_>) -> Result<(Passed, bool), Then> {
    let mut progress = Progress::default();
    let mut head = Request::new();
    let found = loop {
        match parse::request(wire.input(), &mut progress, &Limits::default(), &mut head) {
            Ok(Parsed::Head(found)) => break found,
            Ok(Parsed::Incomplete) if wire.more() => {}
            Ok(Parsed::Incomplete) if wire.start == wire.bytes.len() => return Err(Then::Open),
            Ok(Parsed::Incomplete) => return Err(Then::Waits),
            Err(error) => return Err(Then::Refused(error)),
        }
    };
    wire.start += found.len;
    let host = head.authority().to_vec();
    if host.is_empty() {
        head.set_authority(DEFAULT_HOST).unwrap();
    }
    let connection = match found.upgrade {
        Some(Upgrade::WebSocket) => Connection::WebSocket,
        _ => Connection::KeepAlive,
    };
    let mut written = Vec::new();
    encode::request(&head, Hop { body: found.body, connection, via: None }, &mut written);
    let (body, framed) = wire.body(found.body)?;
    written.extend_from_slice(&framed);
    let (method, target) = (head.method_bytes().to_vec(), head.target().to_vec());
    Ok((Passed { method, target, host, body, written }, found.keep_alive))
}

fn one_response(wire: &mut Wire<'_>, asked: Asked) -> Result<(Passed, bool), Then> {
    let mut progress = Progress::default();
    let mut head = Response::new();
    let found = loop {
        match parse::response(wire.input(), asked, &mut progress, &Limits::default(), &mut head) {
            Ok(Parsed::Head(found)) if found.kind == ResponseKind::Interim => wire.start += found.len,
            Ok(Parsed::Head(found)) => break found,
            Ok(Parsed::Incomplete) if wire.more() => {}
            Ok(Parsed::Incomplete) => return Err(Then::Waits),
            Err(error) => return Err(Then::Refused(error)),
        }
    };
    wire.start += found.len;
    let mut written = Vec::new();
    let hop = Hop { body: found.body, connection: Connection::KeepAlive, via: None };
    encode::response(&head, hop, &mut written);
    let (body, framed) = wire.body(found.body)?;
    written.extend_from_slice(&framed);
    let method = head.status().to_string().into_bytes();
    Ok((Passed { method, target: Vec::new(), host: Vec::new(), body, written }, found.keep_alive))
}

/// How a request is asked for, from the corpus' words.
pub(crate) fn asked(method: &str, is_websocket: bool) -> Asked {
    let upgrade = is_websocket.then_some(Upgrade::WebSocket);
    Asked { method: Method::of(method.as_bytes()), upgrade }
}
