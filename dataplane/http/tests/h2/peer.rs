//! Against the client half of the `h2` crate, which shares no code with ours: heads, bodies both ways, trailers,
//! many streams at once, in pieces of random sizes.

use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use secbeat_http::h2::{Event, Limits, Pool, Server, StreamId};
use secbeat_http::head::{Fields, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Default)]
struct Queues {
    to_client: Vec<u8>,
    to_server: Vec<u8>,
}

#[derive(Clone, Default)]
struct Pipe(Rc<RefCell<Queues>>);

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<tokio::io::Result<()>> {
        let mut queues = self.0.borrow_mut();
        if queues.to_client.is_empty() {
            return Poll::Pending;
        }
        let len = queues.to_client.len().min(buf.remaining());
        buf.put_slice(&queues.to_client[..len]);
        queues.to_client.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<tokio::io::Result<usize>> {
        self.0.borrow_mut().to_server.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<tokio::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<tokio::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Our side: answers each request with its own body, doubled back, in turns and pieces.
struct Echo {
    server: Server,
    pool: Pool,
    pipe: Pipe,
    pending: HashMap<u32, (Vec<u8>, bool)>,
    random: u64,
}

impl Echo {
    fn random(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) as usize % below
    }

    fn turn(&mut self) {
        let len = self.pipe.0.borrow().to_server.len();
        let len = if len == 0 { 0 } else { 1 + self.random(len) };
        let input: Vec<u8> = self.pipe.0.borrow_mut().to_server[..len].to_vec();
        let taken = self.server.receive(&input, 0, &mut self.pool);
        self.pipe.0.borrow_mut().to_server.drain(..taken);
        while let Some(event) = self.server.poll_event() {
            self.handle(event);
        }
        let len = self.server.output().len();
        let len = if len == 0 { 0 } else { 1 + self.random(len) };
        self.pipe.0.borrow_mut().to_client.extend_from_slice(&self.server.output()[..len]);
        self.server.consume_output(len);
        self.server.settle(&mut self.pool);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Request { stream, end } => {
                let path = self.server.request(stream).unwrap().path().to_vec();
                let mut head = Response::new();
                head.set_status(200).unwrap();
                head.fields_mut().append(b"X-Path", &path).unwrap();
                self.server.respond(stream, &head, false).unwrap();
                self.pending.insert(stream.value(), (Vec::new(), end));
                self.write(stream);
            }
            Event::Data { stream } => {
                let body = self.server.peek_body(stream).to_vec();
                self.server.consume_body(stream, body.len());
                self.pending.get_mut(&stream.value()).unwrap().0.extend(body);
                self.write(stream);
            }
            Event::End { stream } => {
                self.pending.get_mut(&stream.value()).unwrap().1 = true;
                self.write(stream);
            }
            Event::Writable { stream } => self.write(stream),
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self, stream: StreamId) {
        let (body, end) = self.pending.get_mut(&stream.value()).unwrap();
        let taken = self.server.send(stream, body, false);
        body.drain(..taken);
        if *end && body.is_empty() {
            let mut trailers = Fields::default();
            trailers.append(b"x-end", b"yes").unwrap();
            self.server.send_trailers(stream, &trailers).unwrap();
        }
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// One request with a body of `len` bytes; its answer must be the same bytes.
async fn request(mut client: h2::client::SendRequest<Bytes>, number: usize, len: usize) {
    let request = http::Request::post(format!("https://example.com/{number}"))
        .header("user-agent", "peer")
        .header("x-number", number.to_string())
        .body(())
        .unwrap();
    client = client.ready().await.unwrap();
    let (response, mut send) = client.send_request(request, false).unwrap();
    let sent: Vec<u8> = (0..len).map(|index| (index * 31 + number) as u8).collect();
    let mut rest = Bytes::from(sent.clone());
    let mut response = pin!(response);
    let mut body = None;
    let mut received = Vec::new();
    // Both directions at once, or both would wait for a window.
    core::future::poll_fn(|context| {
        while !rest.is_empty() {
            send.reserve_capacity(rest.len());
            match send.poll_capacity(context) {
                Poll::Ready(Some(Ok(room))) if room > 0 => {
                    let chunk = rest.split_to(room.min(rest.len()));
                    send.send_data(chunk, rest.is_empty()).unwrap();
                }
                _ => break,
            }
        }
        if body.is_none()
            && let Poll::Ready(head) = response.as_mut().poll(context)
        {
            let head = head.unwrap();
            assert_eq!(head.headers()["x-path"], format!("/{number}"));
            body = Some(head.into_body());
        }
        let Some(body) = &mut body else { return Poll::Pending };
        while let Poll::Ready(piece) = body.poll_data(context) {
            let Some(piece) = piece else { return Poll::Ready(()) };
            let piece = piece.unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            received.extend_from_slice(&piece);
        }
        Poll::Pending
    })
    .await;
    assert!(received == sent, "{number}: {} of {} bytes", received.len(), sent.len());
    let trailers = body.unwrap().trailers().await.unwrap().unwrap();
    assert_eq!(trailers["x-end"], "yes");
}

#[test]
fn another_implementation_gets_back_what_it_sends() {
    for seed in 1..=8 {
        let pipe = Pipe::default();
        let limits = Limits { streams_max: 5, ..Limits::default() };
        let server = Server::new(Arc::new(limits), 0);
        let mut echo =
            Echo { server, pool: Pool::default(), pipe: pipe.clone(), pending: HashMap::new(), random: seed };
        let mut builder = h2::client::Builder::new();
        builder.initial_max_send_streams(5).header_table_size(if seed % 2 == 0 { 0 } else { 4_096 });
        let mut handshake = pin!(builder.handshake::<_, Bytes>(pipe));
        let Poll::Ready(Ok((client, mut connection))) = poll(handshake.as_mut()) else {
            panic!("no handshake")
        };
        let mut requests: Vec<_> =
            [1, 70_000, 3, 300_000, 16_384, 65_535, 1_000, 200_000, 1, 1, 5_000, 50_000]
                .into_iter()
                .enumerate()
                .map(|(number, len)| Some(Box::pin(request(client.clone(), number, len))))
                .collect();
        let mut turns = 0;
        while requests.iter().any(Option::is_some) {
            for slot in &mut requests {
                if slot.as_mut().is_some_and(|request| poll(request.as_mut()).is_ready()) {
                    *slot = None;
                }
            }
            assert!(poll(pin!(&mut connection)).is_pending(), "the connection ended");
            echo.turn();
            turns += 1;
            assert!(turns < 1_000_000, "nothing moves any more");
        }
    }
}
