//! Bodies in both directions, back-pressure, early answers, interim answers, tunnels.

use super::*;

/// A body that shows any byte lost or moved.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

#[test]
fn bodies_of_every_framing_arrive_whole() {
    for answer in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world".as_slice(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello world",
        b"HTTP/1.0 200 OK\r\n\r\nhello world",
    ] {
        // Whole, and one byte at a time.
        for piece in [usize::MAX, 1] {
            let origin = Origin::start(move |_, mut stream| {
                read_head(&mut stream);
                for bytes in answer.chunks(piece.min(answer.len())) {
                    stream.write_all(bytes).unwrap();
                }
            });
            let mut world = World::new(&[origin.address]);
            assert_eq!(world.fetch(), (200, b"hello world".to_vec()));
        }
    }
}

#[test]
fn answers_without_body_are_complete_with_their_head() {
    for (method, answer) in [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".as_slice()),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let origin = Origin::answering(answer);
        let mut world = World::new(&[origin.address]);
        for _ in 0..2 {
            let exchange = world.begin(method, BodyKind::None);
            let (_, body) = world.finish(exchange);
            assert!(body.is_empty());
            assert_eq!(world.seen[&exchange.1].what, [What::Head], "one event says it all");
        }
        assert_eq!(origin.connections(), 1);
    }
}

#[test]
fn trailers_come_with_the_end() {
    let origin = Origin::answering(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    let mut world = World::new(&[origin.address]);
    let exchange = world.get();
    world.run_to_end(exchange);
    assert_eq!(world.client.trailers(exchange.0).unwrap().value(b"x-sum"), Some(b"42".as_slice()));
}

#[test]
fn interim_answers_are_not_the_answer() {
    let origin = Origin::answering(
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    );
    let mut world = World::new(&[origin.address]);
    let exchange = world.get();
    assert_eq!(world.finish(exchange), (200, b"hello".to_vec()));
    assert_eq!(world.seen[&exchange.1].what, [What::Continue, What::Head]);
}

#[test]
fn uploads_of_both_framings_arrive_whole_through_a_slow_backend() {
    const LEN: usize = 1 << 20;
    for body in [BodyKind::Length(LEN as u64), BodyKind::Chunked] {
        let origin = Origin::start(move |_, mut stream| {
            let head = read_head(&mut stream).unwrap().to_lowercase();
            let mut got = Vec::new();
            if head.contains("chunked") {
                loop {
                    let mut line = String::new();
                    while !line.ends_with("\r\n") {
                        line.push(char::from(read_body(&mut stream, 1)[0]));
                    }
                    let len = usize::from_str_radix(line.trim(), 16).unwrap();
                    got.extend(read_body(&mut stream, len));
                    assert_eq!(read_body(&mut stream, 2), b"\r\n");
                    if len == 0 {
                        break;
                    }
                }
            } else {
                std::thread::sleep(Duration::from_millis(50));
                got = read_body(&mut stream, LEN);
            }
            assert!(got == pattern(LEN));
            stream.write_all(HELLO).unwrap();
            read_head(&mut stream);
        });
        let mut world = World::new(&[origin.address]);
        let exchange = world.begin("POST", body);
        let data = pattern(LEN);
        let mut sent = 0;
        let mut waits = 0;
        while sent < LEN {
            let end = LEN.min(sent + 100_000);
            let taken = world.client.send_body(exchange.0, &data[sent..end]);
            if taken < end - sent {
                world.seen.get_mut(&exchange.1).unwrap().what.clear();
                world.run_until("room", |world| world.seen[&exchange.1].what.contains(&What::Writable));
                waits += 1;
            }
            sent += taken;
        }
        world.client.end_body(exchange.0, None);
        assert_eq!(world.finish(exchange), (200, b"hello".to_vec()));
        assert!(waits > 0, "the window is bounded");
        assert_eq!(world.client.counts().idle, 1, "the connection can be reused");
    }
}

#[test]
fn slow_owner_stops_the_backend_and_loses_nothing() {
    const LEN: usize = 8 << 20;
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let origin = Origin::start(move |_, mut stream| {
        read_head(&mut stream);
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n").as_bytes()).unwrap();
        for piece in pattern(LEN).chunks(65_536) {
            stream.write_all(piece).unwrap();
            count.fetch_add(piece.len(), Ordering::SeqCst);
        }
        read_head(&mut stream);
    });
    let mut world = World::new(&[origin.address]);
    world.takes_bodies = false;
    let exchange = world.get();
    world.run_until("the head", |world| !world.seen[&exchange.1].what.is_empty());
    for _ in 0..20 {
        world.turn();
    }
    assert!(world.client.peek_body(exchange.0).len() <= WINDOW_BYTES);
    assert!(written.load(Ordering::SeqCst) < LEN, "the rest waits at the backend");
    // A byte now and then at first, then everything.
    for _ in 0..10 {
        let first = world.client.peek_body(exchange.0)[0];
        world.seen.get_mut(&exchange.1).unwrap().body.push(first);
        world.client.consume_body(exchange.0, 1);
        world.turn();
    }
    world.takes_bodies = true;
    world.take(exchange.0, exchange.1);
    let (status, body) = world.finish(exchange);
    assert_eq!(status, 200);
    assert!(body == pattern(LEN));
}

#[test]
fn pause_of_the_owner_is_not_the_backends_fault() {
    let origin = Origin::start(|_, mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(b"world").unwrap();
        read_head(&mut stream);
    });
    let settings = Settings { idle_timeout: Duration::from_millis(80), ..settings() };
    let mut world = World::with(&[origin.address], settings, |_| {});
    world.takes_bodies = false;
    let exchange = world.get();
    let start = std::time::Instant::now();
    world.run_until("a long pause", |_| start.elapsed() > Duration::from_millis(300));
    assert_eq!(world.failure(exchange.1), None);
    world.takes_bodies = true;
    world.take(exchange.0, exchange.1);
    assert_eq!(world.finish(exchange), (200, b"helloworld".to_vec()));
}

#[test]
fn early_answer_is_delivered_and_the_rest_of_the_upload_dropped() {
    let origin = Origin::start(|_, mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nsorry").unwrap();
        // Hangs up with unread bytes: RST.
        std::thread::sleep(Duration::from_millis(100));
    });
    let mut world = World::new(&[origin.address]);
    let exchange = world.begin("POST", BodyKind::Length(100 << 20));
    let piece = vec![b'x'; 1 << 20];
    world.run_until("the answer", |world| {
        world.client.send_body(exchange.0, &piece);
        world.client.is_complete(exchange.0)
    });
    assert_eq!(world.client.send_body(exchange.0, &piece), piece.len(), "taken, and dropped");
    assert_eq!(world.finish(exchange), (413, b"sorry".to_vec()));
    assert_eq!(world.client.counts().connections, 0, "such a connection is not used again");
}

#[test]
fn websocket_becomes_a_tunnel_in_both_directions() {
    let origin = Origin::start(|_, mut stream| {
        let head = read_head(&mut stream).unwrap().to_lowercase();
        assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"));
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst",
            )
            .unwrap();
        let got = read_body(&mut stream, 4);
        stream.write_all(&got).unwrap();
        // The client's end is passed on, and ours after it.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        stream.write_all(b"last").unwrap();
    });
    let mut world = World::new(&[origin.address]);
    let id =
        world.try_begin("GET", BodyKind::None, |begin| begin.upgrade = Some(Upgrade::WebSocket)).unwrap();
    world.run_until("the switch", |world| world.seen[&1].body == b"first");
    assert_eq!(world.seen[&1].what[0], What::Upgraded);
    assert_eq!(world.client.response(id).unwrap().status(), 101);
    assert_eq!(world.client.send_body(id, b"ping"), 4);
    world.run_until("the echo", |world| world.seen[&1].body == b"firstping");
    world.client.end_body(id, None);
    world.run_until("the end", |world| world.client.is_complete(id));
    assert_eq!(world.seen[&1].body, b"firstpinglast");
    world.client.close(id);
    assert_eq!(world.client.counts(), Counts::default());
}

#[test]
fn refused_upgrade_is_an_ordinary_answer() {
    let origin = Origin::answering(HELLO);
    let mut world = World::new(&[origin.address]);
    let id =
        world.try_begin("GET", BodyKind::None, |begin| begin.upgrade = Some(Upgrade::WebSocket)).unwrap();
    assert_eq!(world.finish((id, 1)), (200, b"hello".to_vec()));
}

#[test]
fn exchange_given_up_closes_its_connection_and_says_nothing_more() {
    let origin = Origin::start(|_, mut stream| {
        read_head(&mut stream);
        std::thread::sleep(Duration::from_millis(50));
        let _ = stream.write_all(HELLO);
    });
    let mut world = World::new(&[origin.address]);
    let exchange = world.get();
    world.turn();
    world.client.close(exchange.0);
    assert_eq!(world.client.counts(), Counts::default());
    for _ in 0..5 {
        world.turn();
    }
    assert!(world.seen[&exchange.1].what.is_empty());
    assert!(world.client.response(exchange.0).is_none());
    assert_eq!(world.client.send_body(exchange.0, b"x"), 1, "nobody waits for it");
}

#[test]
fn bytes_held_are_counted_and_a_full_worker_has_small_windows() {
    let origin = Origin::start(|_, mut stream| {
        read_head(&mut stream);
        std::thread::sleep(PATIENCE);
    });
    let settings = Settings { idle_timeout: PATIENCE, response_timeout: PATIENCE, ..settings() };
    let mut world = World::with(&[origin.address], settings, |_| {});
    let (id, user) = world.begin("POST", BodyKind::Length(1 << 30));
    let piece = vec![b'x'; 1 << 20];
    world.run_until("standstill", |world| world.client.send_body(id, &piece) == 0);
    let held = world.client.held_bytes;
    assert!(held > 0 && held <= 2 * WINDOW_BYTES, "{held}");
    // As if a thousand others held a window each.
    world.client.held_bytes += HELD_BYTES_HIGH;
    let (other, _) = world.begin("POST", BodyKind::Length(1 << 30));
    assert!(world.client.room(other) <= WINDOW_BYTES_MIN);
    world.client.held_bytes -= HELD_BYTES_HIGH;
    world.client.close(id);
    world.client.close(other);
    assert_eq!(world.client.held_bytes, 0);
    assert_eq!(world.failure(user), None);
}
