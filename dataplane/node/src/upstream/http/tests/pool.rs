//! Connections: reused, kept, limited, waited for.

use super::*;

fn hello() -> (u16, Vec<u8>) {
    (200, b"hello".to_vec())
}

#[test]
fn requests_one_after_the_other_share_a_connection() {
    let origin = Origin::answering(HELLO);
    let mut world = World::new(&[origin.address]);
    for _ in 0..10 {
        assert_eq!(world.fetch(), hello());
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(world.count(Counter::UpstreamReused), 9);
    assert_eq!(world.client.counts(), Counts { connections: 1, idle: 1, exchanges: 0, waiting: 0 });
}

#[test]
fn requests_at_once_get_a_connection_each_and_the_one_used_last_is_reused_first() {
    let origin = Origin::start(|number, mut stream| {
        let body = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
        while read_head(&mut stream).is_some() {
            stream.write_all(body.as_bytes()).unwrap();
        }
    });
    let mut world = World::new(&[origin.address]);
    let (first, second) = (world.get(), world.get());
    world.run_to_end(first);
    world.run_to_end(second);
    let (_, one) = world.finish(first);
    let (_, other) = world.finish(second);
    assert_ne!(one, other);
    let (_, last) = world.fetch();
    assert_eq!(world.fetch().1, last, "the warm one again");
    assert_eq!(world.client.counts().idle, 2);
}

#[test]
fn answer_that_says_close_ends_the_connection() {
    let origin = Origin::answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    let mut world = World::new(&[origin.address]);
    assert_eq!(world.fetch(), hello());
    assert_eq!(world.client.counts().connections, 0);
    assert_eq!(world.fetch(), hello());
    assert_eq!(origin.connections(), 2);
}

#[test]
fn bytes_after_the_answer_close_the_connection_and_reach_nobody() {
    let origin = Origin::answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    );
    let mut world = World::new(&[origin.address]);
    for _ in 0..3 {
        assert_eq!(world.fetch(), hello());
    }
    assert_eq!(origin.connections(), 3);
    assert_eq!(world.count(Counter::UpstreamLeftover), 3);
}

#[test]
fn bytes_that_come_while_the_connection_is_unused_close_it() {
    let origin = Origin::start(|_, mut stream| {
        read_head(&mut stream).unwrap();
        stream.write_all(HELLO).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").unwrap();
        let _ = read_head(&mut stream);
    });
    let mut world = World::new(&[origin.address]);
    assert_eq!(world.fetch(), hello());
    world.run_until("noticing", |world| world.client.counts().connections == 0);
    assert_eq!(world.count(Counter::UpstreamLeftover), 1);
    assert_eq!(world.fetch(), hello());
}

#[test]
fn unused_connection_that_the_backend_ends_is_noticed() {
    let origin = Origin::start(|_, mut stream| {
        read_head(&mut stream).unwrap();
        stream.write_all(HELLO).unwrap();
        // Dropped: FIN.
    });
    let mut world = World::new(&[origin.address]);
    assert_eq!(world.fetch(), hello());
    world.run_until("noticing", |world| world.client.counts().connections == 0);
    assert_eq!(world.count(Counter::UpstreamLeftover), 0);
}

#[test]
fn unused_connection_is_closed_when_its_time_is_over() {
    let origin = Origin::answering(HELLO);
    let settings = Settings { keepalive_timeout: Duration::from_millis(50), ..settings() };
    let mut world = World::with(&[origin.address], settings, |_| {});
    world.fetch();
    assert_eq!(world.client.counts().idle, 1);
    world.run_until("closing", |world| world.client.counts().connections == 0);
    assert_eq!(world.client.counts().idle, 0);
}

#[test]
fn connection_retires_after_its_requests_or_its_age() {
    for (requests_max, age_max) in [(2, Duration::from_secs(60)), (100, Duration::ZERO)] {
        let origin = Origin::answering(HELLO);
        let settings = Settings { requests_max, age_max, ..settings() };
        let mut world = World::with(&[origin.address], settings, |_| {});
        for _ in 0..4 {
            world.fetch();
        }
        assert_eq!(origin.connections(), if requests_max == 2 { 2 } else { 4 });
    }
}

#[test]
fn request_that_must_be_the_last_says_so_and_is() {
    let heads = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let origin = Origin::start(move |_, mut stream| {
        while let Some(head) = read_head(&mut stream) {
            seen.lock().unwrap().push(head);
            stream.write_all(HELLO).unwrap();
        }
    });
    let mut world = World::new(&[origin.address]);
    let id = world.try_begin("GET", BodyKind::None, |begin| begin.is_last = true).unwrap();
    assert_eq!(world.finish((id, 1)), hello());
    assert_eq!(world.client.counts().connections, 0);
    assert!(heads.lock().unwrap()[0].to_lowercase().contains("connection: close"));
}

#[test]
fn requests_beyond_a_full_backend_wait_their_turn_and_beyond_the_queue_are_refused() {
    let origin = Origin::answering(HELLO);
    let settings = Settings { waiting_max: 2, ..settings() };
    let mut world = World::with(&[origin.address], settings, |upstream| {
        upstream.backends[0].connections_max = 1;
    });
    let exchanges = [world.get(), world.get(), world.get()];
    assert_eq!(world.client.counts().waiting, 2);
    let refused = world.try_begin("GET", BodyKind::None, |_| {});
    assert_eq!(refused, Err(Failure::Overloaded));
    for exchange in exchanges {
        assert_eq!(world.finish(exchange), hello());
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(world.client.counts().waiting, 0);
}

#[test]
fn request_that_waits_too_long_ends_as_overloaded() {
    let origin = Origin::start(|_, mut stream| {
        read_head(&mut stream);
        std::thread::sleep(PATIENCE);
    });
    let settings =
        Settings { connect_timeout: Duration::from_millis(50), response_timeout: PATIENCE, ..settings() };
    let mut world = World::with(&[origin.address], settings, |upstream| {
        upstream.backends[0].connections_max = 1;
    });
    let (_, second) = (world.get(), world.get());
    assert_eq!(world.finish(second).0, 503);
    assert_eq!(world.failure(second.1), Some(Failure::Overloaded));
}

#[test]
fn one_that_waits_and_is_given_up_leaves_the_queue() {
    let origin = Origin::answering(HELLO);
    let mut world = World::with(&[origin.address], settings(), |upstream| {
        upstream.backends[0].connections_max = 1;
    });
    let (first, second, third) = (world.get(), world.get(), world.get());
    world.client.close(second.0);
    assert_eq!(world.finish(first), hello());
    assert_eq!(world.finish(third), hello());
}

#[test]
fn backend_with_a_proxy_header_gets_one_connection_per_client() {
    let origin = Origin::start(|_, mut stream| {
        let header = read_body(&mut stream, secbeat_net::proxy_protocol::HEADER_BYTES_V4);
        let port = u16::from_be_bytes([header[24], header[25]]);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{port}");
        while read_head(&mut stream).is_some() {
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let mut world = World::new(&[origin.address]);
    let listener: SocketAddr = "192.0.2.1:443".parse().unwrap();
    for (port, connections) in [(4001, 1), (4002, 2), (4001, 2), (4002, 2)] {
        let user = world.next_user;
        let source = SocketAddr::from(([198, 51, 100, 7], port));
        let id =
            world.try_begin("GET", BodyKind::None, |begin| begin.client = Some((source, listener))).unwrap();
        assert_eq!(world.finish((id, user)), (200, port.to_string().into_bytes()));
        assert_eq!(origin.connections(), connections);
    }
}

#[test]
fn reload_that_moves_a_backend_closes_unused_connections_to_the_old_place() {
    let (old, new) = (Origin::answering(HELLO), Origin::answering(HELLO));
    let mut world = World::new(&[old.address]);
    world.fetch();
    let backend = BackendSettings::new("b0", new.address);
    world.upstream.reload(UpstreamSettings::one_group(vec![backend])).unwrap();
    assert_eq!(world.fetch(), hello());
    assert_eq!((old.connections(), new.connections()), (1, 1));
    assert_eq!(world.client.counts().connections, 1);
}

#[test]
fn drained_client_keeps_no_connection() {
    let origin = Origin::answering(HELLO);
    let mut world = World::new(&[origin.address]);
    world.fetch();
    let running = world.get();
    world.client.set_draining();
    assert_eq!(world.finish(running), hello(), "what runs is finished");
    assert_eq!(world.client.counts().connections, 0);
}

#[test]
fn every_connection_is_counted_down_again() {
    let origin = Origin::answering(HELLO);
    let mut world = World::new(&[origin.address]);
    let exchanges = [world.get(), world.get(), world.get()];
    let snapshot = world.upstream.snapshot();
    assert_eq!(snapshot.active(BackendId(0)), 3);
    for (id, _) in exchanges {
        world.client.close(id);
    }
    assert_eq!(snapshot.active(BackendId(0)), 0);
}
