//! An HTTP/2 client of a few lines: frames by hand, HPACK without compression, and of responses
//! no more than the status.

use super::harness::World;

pub(in crate::session) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

pub(in crate::session) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn literal(out: &mut Vec<u8>, text: &[u8]) {
    let len = text.len();
    if len < 127 {
        out.push(len as u8);
    } else {
        out.push(127);
        let mut rest = len - 127;
        while rest >= 128 {
            out.push((rest % 128 + 128) as u8);
            rest /= 128;
        }
        out.push(rest as u8);
    }
    out.extend(text);
}

/// A request's head, as one HEADERS frame.
pub(in crate::session) fn request(
    stream: u32,
    end: bool,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
) -> Vec<u8> {
    request_to(stream, end, "example.org", method, path, fields)
}

/// The same for a host.
pub(in crate::session) fn request_to(
    stream: u32,
    end: bool,
    host: &str,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
) -> Vec<u8> {
    let mut block = Vec::new();
    let pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", host)];
    for (name, value) in pseudo.iter().chain(fields) {
        block.push(0);
        literal(&mut block, name.as_bytes());
        literal(&mut block, value.as_bytes());
    }
    frame(HEADERS, 4 | u8::from(end), stream, &block)
}

/// A trailer section, as one HEADERS frame that ends the request.
pub(in crate::session) fn trailers(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        literal(&mut block, name.as_bytes());
        literal(&mut block, value.as_bytes());
    }
    frame(HEADERS, 4 | 1, stream, &block)
}

pub(in crate::session) fn get(stream: u32, path: &str) -> Vec<u8> {
    request(stream, true, "GET", path, &[])
}

pub(in crate::session) fn data(stream: u32, end: bool, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, u8::from(end), stream, bytes)
}

pub(in crate::session) fn window(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

pub(in crate::session) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

/// Preface, SETTINGS with this initial window, and the acknowledgement of the server's.
pub(in crate::session) fn hello(initial_window: u32) -> Vec<u8> {
    let mut settings = vec![0, 4];
    settings.extend(initial_window.to_be_bytes());
    [PREFACE, &frame(SETTINGS, 0, 0, &settings), &frame(SETTINGS, 1, 0, &[])].concat()
}

/// The fields of a block that holds nothing but literals with names of their own, none of them long.
fn literals(mut block: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let text = |block: &mut &[u8]| {
        let len = usize::from(block[0]);
        assert!(len < 127, "short and without Huffman coding");
        let text = String::from_utf8(block[1..=len].to_vec()).expect("text");
        *block = &block[len + 1..];
        text
    };
    while let Some((first, rest)) = block.split_first() {
        assert_eq!(*first, 0, "a literal with a name");
        block = rest;
        fields.push((text(&mut block), text(&mut block)));
    }
    fields
}

/// What a client got on one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct Heard {
    /// The status, if it is one of the static table's.
    pub(in crate::session) status: Option<u16>,
    pub(in crate::session) body: Vec<u8>,
    /// Fields of a head that came after the first.
    pub(in crate::session) trailers: Vec<(String, String)>,
    pub(in crate::session) is_ended: bool,
    pub(in crate::session) reset: Option<u32>,
}

/// What a client got in all.
#[derive(Debug, Default)]
pub(in crate::session) struct Connection {
    pub(in crate::session) streams: std::collections::BTreeMap<u32, Heard>,
    pub(in crate::session) goaway: Option<u32>,
}

impl Connection {
    pub(in crate::session) fn read(mut bytes: &[u8]) -> Self {
        let mut connection = Self::default();
        while let Some(header) = bytes.get(..9) {
            let len = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let Some(payload) = bytes.get(9..9 + len) else { break };
            let stream = u32::from_be_bytes([header[5] & 0x7f, header[6], header[7], header[8]]);
            connection.take(header[3], header[4], stream, payload);
            bytes = &bytes[9 + len..];
        }
        connection
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let word = |at: usize| {
            let bytes: [u8; 4] = payload[at..at + 4].try_into().expect("four bytes");
            u32::from_be_bytes(bytes)
        };
        if kind == GOAWAY {
            self.goaway = Some(word(4));
        }
        if stream == 0 {
            return;
        }
        let heard = self.streams.entry(stream).or_default();
        match kind {
            HEADERS if heard.status.is_some() => {
                assert!(!heard.is_ended, "a head after the end");
                heard.trailers = literals(payload);
                heard.is_ended |= flags & 1 != 0;
            }
            HEADERS => {
                // The dynamic table may be resized first.
                let first = payload.iter().find(|byte| **byte & 0xe0 != 0x20).copied().unwrap_or_default();
                let statuses = [200, 204, 206, 304, 400, 404, 500];
                heard.status = heard
                    .status
                    .or((0x88..=0x8e).contains(&first).then(|| statuses[usize::from(first - 0x88)]));
                heard.is_ended |= flags & 1 != 0;
            }
            DATA => {
                assert!(!heard.is_ended, "data after the end");
                heard.body.extend_from_slice(payload);
                heard.is_ended |= flags & 1 != 0;
            }
            RST_STREAM => heard.reset = Some(word(0)),
            _ => {}
        }
    }
}

/// What a client of `world` got so far.
pub(in crate::session) fn heard(world: &mut World, client: u64) -> Connection {
    Connection::read(&world.peer(client).received)
}

/// Turns until a stream has ended.
pub(in crate::session) fn finished(world: &mut World, client: u64, stream: u32) -> Heard {
    world.until("the end of a stream", |world| {
        heard(world, client).streams.get(&stream).is_some_and(|heard| heard.is_ended || heard.reset.is_some())
    });
    heard(world, client).streams.remove(&stream).expect("a stream")
}
