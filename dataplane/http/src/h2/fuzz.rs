//! Body of the fuzz target `http_h2_server`, shared with the corpus replay in `tests/h2/corpus.rs`.
//!
//! Not part of the interface. The first byte chooses sizes, the rest is what a client sends after its preface and
//! SETTINGS. The caller's side answers by stream number, so that every path is taken. Panics when a promise is
//! broken: bounds on streams, bodies, output and events; frames that are well formed; a request that is passed on
//! reads the same in HTTP/1.1; windows that are kept to.

use std::collections::HashMap;
use std::sync::Arc;

use super::frame::{FrameHeader, HEADER_LEN, PAYLOAD_LEN_MAX, PREFACE, kind};
use super::window::WINDOW_DEFAULT;
use super::{Event, Limits, Pool, Reason, Server, StreamId};
use crate::h1::encode::{self, Connection, Hop};
use crate::h1::{BodyKind, Parsed, Progress, parse};
use crate::head::{Fields, Request, Response};

const SETTINGS_FRAME: &[u8] = &[0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0];

/// Small enough that a fuzzer reaches each limit.
fn limits() -> Limits {
    Limits {
        streams_max: 4,
        stream_window_bytes: 2_000,
        connection_window_bytes: WINDOW_DEFAULT,
        header_list_bytes_max: 1_000,
        header_fields_max: 12,
        header_table_bytes: 200,
        output_bytes_max: 4_000,
        ..Limits::default()
    }
}

/// Frames of a client.
pub fn server(bytes: &[u8]) {
    let Some((choice, frames)) = bytes.split_first() else { return };
    let mut input = PREFACE.to_vec();
    input.extend_from_slice(SETTINGS_FRAME);
    input.extend_from_slice(frames);
    let mut world = World::new();
    let piece = [1, 7, 100, usize::MAX][usize::from(choice & 3)];
    let reads_all = choice & 4 == 0;
    for (round, chunk) in input.chunks(piece.min(input.len())).enumerate() {
        let mut rest = chunk;
        // What is not taken is offered again until it is, or nothing moves.
        for _ in 0..64 {
            let taken = world.server.receive(rest, world.now_ms, &mut world.pool);
            rest = rest.get(taken..).unwrap_or_default();
            world.turn(reads_all);
            if rest.is_empty() {
                break;
            }
        }
        world.now_ms += u64::from(choice >> 3) * 10;
        if round % 16 == 15 {
            world.server.handle_timeout(world.now_ms);
            world.turn(reads_all);
        }
        if !rest.is_empty() {
            return;
        }
    }
    world.server.shut_down(world.now_ms);
    world.server.handle_timeout(world.now_ms + 100_000);
    world.turn(reads_all);
}

struct World {
    server: Server,
    limits: Arc<Limits>,
    pool: Pool,
    now_ms: u64,
    /// Body bytes still to send by stream.
    answers: HashMap<u32, usize>,
    is_closed: bool,
}

impl World {
    fn new() -> Self {
        let limits = Arc::new(limits());
        let server = Server::new(Arc::clone(&limits), 0);
        Self { server, limits, pool: Pool::new(4), now_ms: 0, answers: HashMap::new(), is_closed: false }
    }

    fn turn(&mut self, reads_all: bool) {
        let mut granted = 0;
        while let Some(event) = self.server.poll_event() {
            assert!(!self.is_closed, "{event:?} after the end");
            if matches!(event, Event::Writable { .. }) {
                granted += 1;
                assert!(granted <= 64, "nothing is sent, and yet there is room");
            }
            self.handle(event);
        }
        self.check();
        let len = self.server.output().len();
        if reads_all {
            check_frames(self.server.output());
        }
        self.server.consume_output(if reads_all { len } else { len.min(50) });
        self.server.settle(&mut self.pool);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Request { stream, .. } => {
                let Some(head) = self.server.request(stream) else { return };
                check_downgrade(head);
                self.answer(stream);
            }
            Event::Data { stream } => {
                let len = self.server.peek_body(stream).len();
                self.server.consume_body(stream, len / 2 + 1);
            }
            Event::End { stream } => {
                if let Some(length) = self.server.content_length(stream) {
                    assert!(self.server.peek_body(stream).len() as u64 <= length);
                }
            }
            Event::Writable { stream } => self.send(stream),
            Event::Reset { stream, .. } => {
                assert!(self.server.request(stream).is_none());
                self.answers.remove(&stream.value());
            }
            Event::Violation { .. } | Event::Draining => {}
            Event::Closed { .. } => {
                self.is_closed = true;
                assert_eq!(self.server.stream_count(), 0);
            }
        }
    }

    fn answer(&mut self, stream: StreamId) {
        let mut head = Response::new();
        let _ = head.set_status(200);
        match stream.value() / 2 % 5 {
            0 => assert!(self.server.respond(stream, &head, true).is_ok()),
            1 => self.server.reset(stream, Reason::InternalError),
            2 => {}
            _ => {
                assert!(self.server.respond(stream, &head, false).is_ok());
                self.answers.insert(stream.value(), 9_000);
                self.send(stream);
            }
        }
    }

    fn send(&mut self, stream: StreamId) {
        let Some(left) = self.answers.get_mut(&stream.value()) else { return };
        let room = self.server.room(stream);
        let taken = self.server.send(stream, &[b'x'; 9_000][..*left], false);
        assert!(taken <= room || taken == *left, "{taken} of {room}");
        *left -= taken;
        if *left == 0 && self.server.send_trailers(stream, &Fields::default()).is_ok() {
            self.answers.remove(&stream.value());
        }
    }

    fn check(&self) {
        let limits = &self.limits;
        assert!(self.server.stream_count() <= limits.streams_max as usize);
        let waiting: usize =
            self.answers.keys().map(|id| self.server.peek_body(StreamId::from_value(*id)).len()).sum();
        assert!(waiting <= limits.connection_window_bytes as usize);
        // A frame in answer to each event, one head per stream, one body frame past the limit.
        assert!(self.server.output().len() <= limits.output_bytes_max + PAYLOAD_LEN_MAX);
    }
}

/// Whoever reads a request that we pass on as HTTP/1.1 must read what was inspected.
fn check_downgrade(head: &Request) {
    let mut written = Vec::new();
    let hop = Hop { body: BodyKind::None, connection: Connection::KeepAlive, via: None };
    encode::request(head, hop, &mut written);
    let limits = crate::limits::Limits::default();
    let mut again = Request::new();
    match parse::request(&written, &mut Progress::default(), &limits, &mut again) {
        Ok(Parsed::Head(found)) => {
            assert_eq!(found.len, written.len());
            let parts = |head: &Request| {
                (head.method_bytes().to_vec(), head.target().to_vec(), head.authority().to_vec())
            };
            assert_eq!(parts(head), parts(&again));
        }
        other => panic!("{other:?}: {:?}", String::from_utf8_lossy(&written)),
    }
}

/// Output that is read whole consists of whole frames.
fn check_frames(mut output: &[u8]) {
    while let Some(header) = FrameHeader::parse(output) {
        assert!(header.len <= PAYLOAD_LEN_MAX);
        output = output.get(HEADER_LEN + header.len..).expect("a frame is written whole");
    }
    assert!(output.is_empty());
}
