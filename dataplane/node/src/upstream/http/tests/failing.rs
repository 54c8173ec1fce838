//! Backends that refuse, dawdle, die and lie: what is tried again, what is not, and how it ends.

use super::*;

/// Reads a request and hangs up, the first `count` times; answers then.
fn dying(count: usize) -> Origin {
    Origin::start(move |number, mut stream| {
        while read_head(&mut stream).is_some() {
            if number < count {
                return;
            }
            stream.write_all(HELLO).unwrap();
        }
    })
}

#[test]
fn refused_connection_leads_to_the_next_backend() {
    let origin = Origin::answering(HELLO);
    for hash in 0..4 {
        let mut world = World::new(&[nobody(), origin.address]);
        let id = world.try_begin("POST", BodyKind::Length(2), |begin| begin.hash = hash).unwrap();
        world.client.send_body(id, b"ab");
        world.run_until("an answer", |world| !world.seen[&1].what.is_empty());
        assert_eq!(world.seen[&1].what[0], What::Head, "hash {hash}");
    }
}

#[test]
fn nobody_who_accepts_is_a_bad_gateway_after_the_tries() {
    let mut world = World::new(&[nobody(), nobody()]);
    let exchange = world.get();
    assert_eq!(world.finish(exchange).0, 502);
    assert_eq!(world.failure(exchange.1), Some(Failure::Connect));
    assert!(world.seen[&exchange.1].what.len() == 1, "one event, the end");
}

#[test]
fn group_without_backends_is_refused_at_once() {
    let mut world = World::new(&[nobody()]);
    world.upstream.set_drain("b0", true);
    assert_eq!(world.try_begin("GET", BodyKind::None, |_| {}), Err(Failure::NoBackend));
    assert_eq!(world.client.counts(), Counts::default());
}

#[test]
fn used_connection_that_died_is_replaced_whatever_was_lost_is_sent_again() {
    // Hangs up when the second request on a connection comes.
    let origin = Origin::start(|_, mut stream| {
        read_head(&mut stream).unwrap();
        stream.write_all(HELLO).unwrap();
        read_head(&mut stream);
    });
    let mut world = World::new(&[origin.address]);
    for _ in 0..5 {
        assert_eq!(world.fetch(), (200, b"hello".to_vec()));
    }
    assert_eq!(world.count(Counter::UpstreamRetries), 4);
    assert_eq!(origin.connections(), 5);
}

#[test]
fn idempotent_request_with_a_body_is_sent_again_whole() {
    let origin = Origin::start(|_, mut stream| {
        for turn in 0..2 {
            if read_head(&mut stream).is_none() {
                return;
            }
            let body = read_body(&mut stream, 8);
            if turn == 1 {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n").unwrap();
            stream.write_all(&body).unwrap();
        }
    });
    let mut world = World::new(&[origin.address]);
    for _ in 0..2 {
        let exchange = world.begin("PUT", BodyKind::Length(8));
        assert_eq!(world.client.send_body(exchange.0, b"put "), 4);
        world.turn();
        assert_eq!(world.client.send_body(exchange.0, b"this"), 4);
        assert_eq!(world.finish(exchange), (200, b"put this".to_vec()));
    }
    assert_eq!(world.count(Counter::UpstreamRetries), 1);
}

#[test]
fn post_that_was_sent_is_never_sent_again() {
    let origin = Origin::start(|number, mut stream| {
        for turn in 0.. {
            if read_head(&mut stream).is_none() || number == 0 && turn == 1 {
                return;
            }
            stream.write_all(HELLO).unwrap();
        }
    });
    let mut world = World::new(&[origin.address]);
    world.fetch();
    let exchange = world.begin("POST", BodyKind::Length(2));
    world.client.send_body(exchange.0, b"ab");
    assert_eq!(world.finish(exchange).0, 502);
    assert_eq!(world.failure(exchange.1), Some(Failure::Reset));
    assert_eq!(origin.connections(), 1);
}

#[test]
fn new_connection_that_dies_before_the_answer_leads_to_another_backend_for_idempotent_requests() {
    let (bad, good) = (dying(usize::MAX), Origin::answering(HELLO));
    for hash in 0..4 {
        let mut world = World::new(&[bad.address, good.address]);
        let id = world.try_begin("GET", BodyKind::None, |begin| begin.hash = hash).unwrap();
        assert_eq!(world.finish((id, 1)).0, 200);
    }
    let mut world = World::new(&[bad.address]);
    assert_eq!(world.fetch().0, 502);
}

#[test]
fn backend_that_never_answers_is_a_gateway_timeout_and_not_tried_elsewhere() {
    let silent = Origin::start(|_, mut stream| {
        read_head(&mut stream);
        std::thread::sleep(PATIENCE);
    });
    let settings = Settings { response_timeout: Duration::from_millis(60), ..settings() };
    let mut world = World::with(&[silent.address, silent.address], settings, |_| {});
    let exchange = world.get();
    assert_eq!(world.finish(exchange).0, 504);
    assert_eq!(world.failure(exchange.1), Some(Failure::ResponseTimeout));
    assert_eq!(silent.connections(), 1);
    assert_eq!(world.count(Counter::UpstreamTimeouts), 1);
    assert_eq!(world.client.counts().connections, 0);
}

#[test]
fn address_that_swallows_connections_times_out_and_the_next_is_tried() {
    // A listener whose queue is full answers no SYN.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _fill: Vec<_> =
        (0..2).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(100))).collect();
    let good = Origin::answering(HELLO);
    let settings = Settings { connect_timeout: Duration::from_millis(100), ..settings() };
    for hash in 0..4 {
        let mut world = World::with(&[address, good.address], settings.clone(), |_| {});
        let id = world.try_begin("GET", BodyKind::None, |begin| begin.hash = hash).unwrap();
        assert_eq!(world.finish((id, 1)).0, 200);
    }
    let mut world = World::with(&[address], settings, |_| {});
    assert_eq!(world.fetch().0, 504);
}

#[test]
fn answer_that_is_not_http_is_a_bad_gateway() {
    for answer in [
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n".as_slice(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    ] {
        let origin = Origin::start(move |_, mut stream| {
            read_head(&mut stream);
            stream.write_all(answer).unwrap();
            read_head(&mut stream);
        });
        let mut world = World::new(&[origin.address]);
        let exchange = world.get();
        assert_eq!(world.finish(exchange).0, 502, "{}", String::from_utf8_lossy(answer));
        assert!(matches!(world.failure(exchange.1), Some(Failure::BadResponse(_))));
        assert_eq!(world.client.counts().connections, 0);
        assert_eq!(origin.connections(), 1, "not asked twice");
    }
}

#[test]
fn answer_cut_short_fails_after_its_head() {
    for answer in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello".as_slice(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let origin = Origin::start(move |_, mut stream| {
            read_head(&mut stream);
            stream.write_all(answer).unwrap();
        });
        let mut world = World::new(&[origin.address]);
        let exchange = world.get();
        world.run_to_end(exchange);
        let seen = &world.seen[&exchange.1];
        assert_eq!(seen.what[0], What::Head);
        assert_eq!(world.failure(exchange.1), Some(Failure::Truncated));
        assert_eq!(seen.body, b"hello");
    }
}

#[test]
fn chunk_that_lies_fails_the_answer() {
    let origin =
        Origin::answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n");
    let mut world = World::new(&[origin.address]);
    let exchange = world.get();
    world.run_to_end(exchange);
    assert!(matches!(world.failure(exchange.1), Some(Failure::BadResponse(_))));
}

#[test]
fn endless_interim_answers_are_refused() {
    let origin = Origin::start(|_, mut stream| {
        read_head(&mut stream);
        while stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").is_ok() {}
    });
    let mut world = World::new(&[origin.address]);
    let exchange = world.get();
    assert_eq!(world.finish(exchange).0, 502);
}

#[test]
fn head_without_end_is_refused_at_its_limit() {
    let origin = Origin::start(|_, mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X-Filler: 0123456789012345678901234567890123456789\r\n").is_ok() {}
    });
    let mut world = World::new(&[origin.address]);
    let exchange = world.get();
    assert_eq!(world.finish(exchange).0, 502);
    assert_eq!(world.client.counts().connections, 0);
}

#[test]
fn backend_that_pauses_inside_its_answer_is_cut() {
    let origin = Origin::start(|_, mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello").unwrap();
        std::thread::sleep(PATIENCE);
    });
    let settings = Settings { idle_timeout: Duration::from_millis(60), ..settings() };
    let mut world = World::with(&[origin.address], settings, |_| {});
    let exchange = world.get();
    world.run_to_end(exchange);
    assert_eq!(world.failure(exchange.1), Some(Failure::IdleTimeout));
}

#[test]
fn answers_of_a_dead_gateway_open_the_breaker_until_one_request_finds_it_well() {
    let well = Arc::new(AtomicUsize::new(0));
    let is_well = Arc::clone(&well);
    let origin = Origin::start(move |_, mut stream| {
        while read_head(&mut stream).is_some() {
            let bad = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".as_slice();
            let answer = if is_well.load(Ordering::SeqCst) == 0 { bad } else { HELLO };
            stream.write_all(answer).unwrap();
        }
    });
    let breaker = BreakerSettings {
        percent: 50,
        requests_min: 5,
        window: Duration::from_secs(60),
        open_time: Duration::from_millis(100),
    };
    let settings = Settings { breaker: Some(breaker), ..settings() };
    let mut world = World::with(&[origin.address], settings, |_| {});
    for _ in 0..5 {
        assert_eq!(world.fetch().0, 503);
    }
    assert_eq!(world.try_begin("GET", BodyKind::None, |_| {}), Err(Failure::BreakerOpen));
    assert_eq!(world.count(Counter::UpstreamBreakerOpened), 1);
    well.store(1, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(110));
    assert_eq!(world.fetch().0, 200);
    assert_eq!(world.fetch().0, 200);
}

#[test]
fn backend_whose_connections_fail_is_ejected_for_all_workers() {
    let (bad, good) = (dying(usize::MAX), Origin::answering(HELLO));
    let settings = Settings { breaker: None, ..settings() };
    let mut world = World::with(&[bad.address, good.address], settings, |upstream| {
        upstream.health.enable = false;
        upstream.ejection.failures = 3;
    });
    world.upstream.start().unwrap();
    world.run_until("ejection", |world| {
        let user = world.next_user;
        let id = world.try_begin("GET", BodyKind::None, |begin| begin.hash = user).unwrap();
        assert_eq!(world.finish((id, user)).0, 200, "the other one answers");
        !world.upstream.snapshot().backend(BackendId(0)).unwrap().usable
    });
    world.upstream.stop();
}
