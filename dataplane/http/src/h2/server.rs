//! One connection's server side, on the `h2` crate driven by hand.
//!
//! Owns: the crate's connection, streams and their buffers, events. Does not own: the transport (`receive`, `output`),
//! the clock (`now_ms`). The crate is polled with a waker that wakes nobody, after everything that can change its state.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::{Builder, Connection, Handshake, SendResponse};
use h2::{RecvStream, SendStream};

use super::event::{Event, StreamId};
use super::limits::Limits;
use super::pipe::Pipe;
use super::pool::Pool;
use super::request::Assembler;
use super::scanner::Scanner;
use super::violation::{Reason, Scope, Violation};
use crate::head::{Fields, Request, Response};

enum State {
    Handshake(Box<Handshake<Pipe, Bytes>>),
    Open(Box<Connection<Pipe, Bytes>>),
    Closed,
}

/// A connection was closed, or a stream is gone: nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

struct Stream {
    id: StreamId,
    request: Request,
    content_length: Option<u64>,
    trailers: Option<Box<Fields>>,
    receive: Option<RecvStream>,
    reply: SendResponse<Bytes>,
    send: Option<SendStream<Bytes>>,
    body: Vec<u8>,
    body_taken: usize,
    wants_room: bool,
    is_finished: bool,
}

/// The server's side of one connection.
pub struct Server {
    limits: Arc<Limits>,
    pipe: Pipe,
    state: State,
    scanner: Scanner,
    streams: Vec<Stream>,
    events: VecDeque<Event>,
    output: Vec<u8>,
    output_taken: usize,
}

impl Server {
    /// A connection on which nothing was received; SETTINGS already wait in `output`.
    pub fn new(limits: Arc<Limits>, _now_ms: u64) -> Self {
        let pipe = Pipe::default();
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(limits.streams_max)
            .initial_window_size(limits.stream_window_bytes)
            .initial_connection_window_size(limits.connection_window_bytes)
            .max_header_list_size(limits.header_list_bytes_max)
            .header_table_size(limits.header_table_bytes)
            .max_concurrent_reset_streams(16)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(Some(limits.reset.burst as usize))
            .max_send_buffer_size(limits.output_bytes_max);
        let handshake = builder.handshake(pipe.clone());
        let mut server = Self {
            limits,
            pipe,
            state: State::Handshake(Box::new(handshake)),
            scanner: Scanner::default(),
            streams: Vec::new(),
            events: VecDeque::new(),
            output: Vec::new(),
            output_taken: 0,
        };
        server.turn(&mut Pool::new(0));
        server
    }

    /// Bytes from the client, in order. Returns how many were taken: fewer while the client does not read what
    /// waits in `output`; offer the rest again when that has shrunk.
    pub fn receive(&mut self, bytes: &[u8], now_ms: u64, pool: &mut Pool) -> usize {
        if matches!(self.state, State::Closed) {
            return bytes.len();
        }
        if self.output().len() >= self.limits.output_bytes_max {
            return 0;
        }
        if let Err(violation) = self.scanner.scan(bytes, &self.limits, now_ms) {
            self.events.push_back(Event::Violation { stream: None, violation });
            if let State::Open(connection) = &mut self.state {
                connection.abrupt_shutdown(violation.reason().code().into());
            }
            self.turn(pool);
            self.close(violation.reason());
            return bytes.len();
        }
        self.pipe.with(|queues| queues.input.extend_from_slice(bytes));
        self.turn(pool);
        bytes.len()
    }

    /// What happened, in order; `None`: nothing further.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// A request's head.
    pub fn request(&self, stream: StreamId) -> Option<&Request> {
        self.stream(stream).map(|stream| &stream.request)
    }

    /// A request's head, to change before it is forwarded.
    pub fn request_mut(&mut self, stream: StreamId) -> Option<&mut Request> {
        self.stream_mut(stream).map(|stream| &mut stream.request)
    }

    /// The Content-Length of a request, checked; its body is held to it.
    pub fn content_length(&self, stream: StreamId) -> Option<u64> {
        self.stream(stream)?.content_length
    }

    /// Body bytes that wait. Empty: none now.
    pub fn peek_body(&self, stream: StreamId) -> &[u8] {
        self.stream(stream).and_then(|stream| stream.body.get(stream.body_taken..)).unwrap_or_default()
    }

    /// Takes `len` body bytes; the client may send as many more.
    pub fn consume_body(&mut self, stream: StreamId, len: usize) {
        if let Some(stream) = self.stream_mut(stream) {
            stream.body_taken = (stream.body_taken + len).min(stream.body.len());
            if stream.body_taken == stream.body.len() {
                stream.body.clear();
                stream.body_taken = 0;
            }
            if let Some(receive) = &mut stream.receive {
                let _ = receive.flow_control().release_capacity(len);
            }
        }
        self.turn(&mut Pool::new(0));
    }

    /// The trailers of a request that is complete.
    pub fn trailers(&self, stream: StreamId) -> Option<&Fields> {
        self.stream(stream)?.trailers.as_deref()
    }

    /// Sends an answer's head; `end`: it has no body. A status of 1xx announces, the final one follows.
    ///
    /// # Errors
    /// The stream is gone.
    pub fn respond(&mut self, stream: StreamId, response: &Response, end: bool) -> Result<(), Gone> {
        let stream = self.stream_mut(stream).ok_or(Gone)?;
        let mut head = http::Response::builder().status(response.status());
        for field in response.fields().iter().filter(|field| !field.known.is_hop_by_hop()) {
            head = head.header(field.name, field.value);
        }
        let head = head.body(()).map_err(|_| Gone)?;
        if head.status().is_informational() {
            stream.reply.send_informational(head).map_err(|_| Gone)?;
        } else {
            stream.send = Some(stream.reply.send_response(head, end).map_err(|_| Gone)?);
            stream.is_finished = end;
        }
        self.turn(&mut Pool::new(0));
        Ok(())
    }

    /// How many body bytes `send` would take now.
    pub fn room(&self, stream: StreamId) -> usize {
        if self.output().len() >= self.limits.output_bytes_max {
            return 0;
        }
        self.stream(stream).and_then(|stream| stream.send.as_ref()).map_or(0, SendStream::capacity)
    }

    /// Sends body bytes; `end`: these are the last. Returns how many were taken; `end` counts only if all were.
    /// After a short one, [`Event::Writable`] tells when there is room again.
    pub fn send(&mut self, stream: StreamId, bytes: &[u8], end: bool) -> usize {
        let mut taken = 0;
        if let Some(send) = self.stream_mut(stream).and_then(|stream| stream.send.as_mut()) {
            send.reserve_capacity(bytes.len());
        }
        self.turn(&mut Pool::new(0));
        let has_output_room = self.output().len() < self.limits.output_bytes_max;
        if let Some(stream) = self.stream_mut(stream)
            && let Some(send) = &mut stream.send
        {
            let room = if has_output_room { send.capacity().min(bytes.len()) } else { 0 };
            let is_whole = room == bytes.len();
            let chunk = bytes.get(..room).unwrap_or_default();
            if (room > 0 || (is_whole && end))
                && send.send_data(Bytes::copy_from_slice(chunk), is_whole && end).is_ok()
            {
                taken = room;
                stream.is_finished = is_whole && end;
            }
            stream.wants_room = !is_whole;
        }
        self.turn(&mut Pool::new(0));
        taken
    }

    /// Ends an answer with trailers.
    pub fn send_trailers(&mut self, stream: StreamId, trailers: &Fields) -> Result<(), Gone> {
        let stream = self.stream_mut(stream).ok_or(Gone)?;
        let mut map = http::HeaderMap::new();
        for field in trailers.iter().filter(|field| !field.known.is_forbidden_in_trailers()) {
            let name = http::HeaderName::from_bytes(field.name).map_err(|_| Gone)?;
            map.append(name, http::HeaderValue::from_bytes(field.value).map_err(|_| Gone)?);
        }
        stream.send.as_mut().ok_or(Gone)?.send_trailers(map).map_err(|_| Gone)?;
        stream.is_finished = true;
        self.turn(&mut Pool::new(0));
        Ok(())
    }

    /// Ends a stream before its answer is complete.
    pub fn reset(&mut self, stream: StreamId, reason: Reason) {
        if let Some(stream) = self.stream_mut(stream) {
            match &mut stream.send {
                Some(send) => send.send_reset(reason.code().into()),
                None => stream.reply.send_reset(reason.code().into()),
            }
            stream.is_finished = true;
        }
        self.turn(&mut Pool::new(0));
    }

    /// Bytes for the client.
    pub fn output(&self) -> &[u8] {
        self.output.get(self.output_taken..).unwrap_or_default()
    }

    /// Takes `len` bytes of `output`.
    pub fn consume_output(&mut self, len: usize) {
        self.output_taken = (self.output_taken + len).min(self.output.len());
        if self.output_taken == self.output.len() {
            self.output.clear();
            self.output_taken = 0;
        }
        self.turn(&mut Pool::new(0));
    }

    /// Takes no further stream (GOAWAY in two steps); ends when the open ones have ended.
    pub fn shut_down(&mut self, _now_ms: u64) {
        if let State::Open(connection) = &mut self.state {
            connection.graceful_shutdown();
        }
        self.turn(&mut Pool::new(0));
    }

    /// Open streams.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Gives memory back that an idle connection does not need.
    pub fn settle(&mut self, pool: &mut Pool) {
        if self.streams.is_empty() && self.output().is_empty() {
            pool.give_buffer(core::mem::take(&mut self.output));
            self.events.shrink_to_fit();
            self.streams.shrink_to_fit();
            self.pipe.with(|queues| {
                queues.output = Vec::new();
                queues.input.shrink_to_fit();
            });
        }
    }

    /// When `handle_timeout` has something to do.
    pub fn poll_timeout(&self) -> Option<u64> {
        None
    }

    /// Ends what took too long.
    pub fn handle_timeout(&mut self, _now_ms: u64) {}

    fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.id == id)
    }

    fn stream_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }

    /// Polls the crate until it has nothing more to do.
    fn turn(&mut self, pool: &mut Pool) {
        self.accept(pool);
        let mut index = 0;
        while let Some(stream) = self.streams.get_mut(index) {
            let is_gone = stream.poll(&mut self.events) || stream.is_finished;
            if is_gone {
                let stream = self.streams.swap_remove(index);
                pool.give_request(stream.request);
            } else {
                index += 1;
            }
        }
        self.accept(pool);
        self.pipe.with(|queues| {
            if self.output.is_empty() {
                core::mem::swap(&mut self.output, &mut queues.output);
            } else {
                self.output.append(&mut queues.output);
            }
        });
    }

    fn accept(&mut self, pool: &mut Pool) {
        let mut context = Context::from_waker(Waker::noop());
        if let State::Handshake(handshake) = &mut self.state {
            match Pin::new(handshake).poll(&mut context) {
                Poll::Pending => return,
                Poll::Ready(Ok(connection)) => self.state = State::Open(Box::new(connection)),
                Poll::Ready(Err(_)) => {
                    let violation = Violation::Preface;
                    self.events.push_back(Event::Violation { stream: None, violation });
                    return self.close(violation.reason());
                }
            }
        }
        while let State::Open(connection) = &mut self.state {
            match connection.poll_accept(&mut context) {
                Poll::Pending => return,
                Poll::Ready(None) => self.close(Reason::NoError),
                Poll::Ready(Some(Err(error))) => {
                    let code = error.reason().map_or(Reason::InternalError.code(), u32::from);
                    self.close(Reason::from_code(code));
                }
                Poll::Ready(Some(Ok((request, reply)))) => self.open(request, reply, pool),
            }
        }
    }

    fn open(&mut self, request: http::Request<RecvStream>, mut reply: SendResponse<Bytes>, pool: &mut Pool) {
        let id = StreamId(reply.stream_id().as_u32());
        let (parts, receive) = request.into_parts();
        let end = receive.is_end_stream();
        let mut head = pool.take_request();
        let mut assembler = Assembler::head();
        let limits = &self.limits;
        let mut field = |name: &[u8], value: &[u8]| assembler.request_field(&mut head, limits, name, value);
        field(b":method", parts.method.as_str().as_bytes());
        field(b":scheme", parts.uri.scheme_str().unwrap_or("https").as_bytes());
        if let Some(path) = parts.uri.path_and_query() {
            field(b":path", path.as_str().as_bytes());
        }
        if let Some(authority) = parts.uri.authority() {
            field(b":authority", authority.as_str().as_bytes());
        }
        for (name, value) in &parts.headers {
            field(name.as_str().as_bytes(), value.as_bytes());
        }
        match assembler.finish(&mut head, end) {
            Ok(framing) => {
                self.events.push_back(Event::Request { stream: id, end });
                self.streams.push(Stream {
                    id,
                    request: head,
                    content_length: framing.content_length,
                    trailers: None,
                    receive: (!end).then_some(receive),
                    reply,
                    send: None,
                    body: Vec::new(),
                    body_taken: 0,
                    wants_room: false,
                    is_finished: false,
                });
            }
            Err(violation) => {
                reply.send_reset(violation.reason().code().into());
                self.events.push_back(Event::Violation { stream: Some(id), violation });
                pool.give_request(head);
            }
        }
    }

    fn close(&mut self, reason: Reason) {
        self.state = State::Closed;
        self.streams.clear();
        self.events.push_back(Event::Closed { reason });
    }
}

impl Stream {
    /// Looks at both halves; true when the stream is gone.
    fn poll(&mut self, events: &mut VecDeque<Event>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let stream = self.id;
        while let Some(receive) = &mut self.receive {
            match receive.poll_data(&mut context) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(bytes))) => {
                    self.body.extend_from_slice(&bytes);
                    events.push_back(Event::Data { stream });
                }
                Poll::Ready(Some(Err(error))) => {
                    events.push_back(Event::Reset { stream, reason: reason_of(&error) });
                    return true;
                }
                Poll::Ready(None) => match receive.poll_trailers(&mut context) {
                    Poll::Pending => break,
                    Poll::Ready(_) => {
                        events.push_back(Event::End { stream });
                        self.receive = None;
                    }
                },
            }
        }
        let reset = match &mut self.send {
            Some(send) => send.poll_reset(&mut context),
            None => self.reply.poll_reset(&mut context),
        };
        if let Poll::Ready(outcome) = reset {
            let reason = outcome.map_or(Reason::InternalError, |code| Reason::from_code(code.into()));
            events.push_back(Event::Reset { stream, reason });
            return true;
        }
        if self.wants_room
            && let Some(send) = &mut self.send
            && let Poll::Ready(Some(Ok(_))) = send.poll_capacity(&mut context)
        {
            self.wants_room = false;
            events.push_back(Event::Writable { stream });
        }
        false
    }
}

fn reason_of(error: &h2::Error) -> Reason {
    Reason::from_code(error.reason().map_or(Reason::InternalError.code(), u32::from))
}

const _: () = assert!(matches!(Violation::Preface.scope(), Scope::Connection));
