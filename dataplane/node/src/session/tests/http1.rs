//! HTTP/1.1: order, framing, keep-alive, what passes and what does not.

use super::harness::{Answer, World, ok};

const GET: &[u8] = b"GET /a?b=1 HTTP/1.1\r\nHost: example.org\r\n\r\n";

#[test]
fn request_reaches_the_origin_and_its_response_the_client() {
    let mut world = World::new(|_| ok(b"hello"));
    let client = world.connect();
    world.send(client, GET);
    let reply = world.response(client);
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
    assert!(reply.field("date").is_some(), "{}", reply.head);
    let seen = &world.origin.seen[0];
    assert_eq!(seen.line(), "GET /a?b=1 HTTP/1.1");
    assert_eq!(seen.field("host"), Some("example.org"));
    assert_eq!(seen.field("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.field("x-request-id"), reply.field("x-request-id"));
    assert!(!world.peer(client).is_finished, "kept open");
}

#[test]
fn short_response_is_one_send_and_requests_share_a_connection_to_the_origin() {
    let mut world = World::new(|_| ok(&[b'x'; 1_024]));
    let client = world.connect();
    for round in 1..=5 {
        world.send(client, GET);
        world.responses(client, round);
        assert_eq!(world.peer(client).sends, round);
    }
    assert_eq!(world.origin.connections, 1);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let mut world = World::new(|seen| ok(seen.line().as_bytes()));
    let client = world.connect();
    let mut bytes = Vec::new();
    for index in 0..5 {
        bytes.extend(format!("GET /{index} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes());
    }
    world.send(client, &bytes);
    let replies = world.responses(client, 5);
    for (index, reply) in replies.iter().enumerate() {
        assert_eq!(reply.text(), format!("GET /{index} HTTP/1.1"));
    }
    world.end(client);
    world.until("the end", |world| world.peer(client).is_closed);
    world.assert_nothing_left();
}

#[test]
fn head_that_comes_byte_by_byte_is_understood() {
    let mut world = World::new(|_| ok(b"x"));
    let client = world.connect();
    for byte in GET {
        world.send(client, &[*byte]);
    }
    assert_eq!(world.response(client).status, 200);
    assert_eq!(world.counts().buffers, 0, "an idle session holds no buffer");
}

#[test]
fn bodies_go_up_with_length_and_in_chunks() {
    let mut world = World::new(|seen| ok(&seen.body));
    let reply = world.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(reply.text(), "hello");
    let client = world.connect();
    world.send(client, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n");
    world.rest();
    world.send(client, b"2\r\nlo\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let replies = world.responses(client, 2);
    assert_eq!((replies[0].text().as_str(), replies[1].text().as_str()), ("hello", ""));
}

#[test]
fn chunked_and_endless_responses_come_chunked_with_trailers() {
    let mut world = World::new(|seen| match seen.line() {
        "GET /chunked HTTP/1.1" => Answer::Send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
              3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
                .to_vec(),
        ),
        _ => Answer::Close(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec()),
    });
    let client = world.connect();
    world.send(client, b"GET /chunked HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    assert_eq!(world.response(client).text(), "abcde");
    world.send(client, b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
    let replies = world.responses(client, 2);
    assert_eq!(replies[1].text(), "until the end");
    assert_eq!(replies[1].field("transfer-encoding"), Some("chunked"));
    assert!(!world.peer(client).is_finished, "the client's connection outlives the origin's");
}

#[test]
fn http10_gets_the_body_until_the_end_and_no_chunks() {
    let mut world = World::new(|_| Answer::Close(b"HTTP/1.1 200 OK\r\n\r\nbody".to_vec()));
    let reply = world.ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((reply.field("transfer-encoding"), reply.text().as_str()), (None, "body"));
    assert_eq!(reply.field("connection"), Some("close"));
}

#[test]
fn http10_is_kept_open_only_when_it_asks() {
    let mut world = World::new(|_| ok(b"x"));
    let client = world.connect();
    world.send(client, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let reply = world.response(client);
    assert_eq!(reply.field("connection").map(str::to_ascii_lowercase).as_deref(), Some("keep-alive"));
    world.send(client, b"GET / HTTP/1.0\r\n\r\n");
    world.responses(client, 2);
    assert!(world.peer(client).is_finished);
}

#[test]
fn answer_to_head_has_no_body_and_keeps_its_length() {
    let mut world = World::new(|_| Answer::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec()));
    let client = world.connect();
    world.send(client, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    world.until("a head", |world| world.peer(client).text().ends_with("\r\n\r\n"));
    assert!(world.peer(client).text().to_ascii_lowercase().contains("content-length: 1000"));
    world.send(client, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    world.until("another", |world| world.peer(client).text().matches("200 OK").count() == 2);
}

#[test]
fn connection_close_is_obeyed_after_the_response() {
    let mut world = World::new(|_| ok(b"bye"));
    let client = world.connect();
    world.send(client, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\n");
    let reply = world.response(client);
    assert_eq!(reply.field("connection"), Some("close"));
    assert!(world.peer(client).is_finished && !world.peer(client).is_closed, "lingers for the client");
    world.end(client);
    assert!(world.peer(client).is_closed);
    world.assert_nothing_left();
    assert_eq!(world.origin.seen.len(), 1);
}

#[test]
fn expectation_is_passed_on_and_the_origins_word_passed_back() {
    let mut world = World::new(|seen| ok(&seen.body));
    let client = world.connect();
    world.send(client, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    world.rest();
    assert_eq!(world.peer(client).text(), "", "the origin has not said so");
    world.send(client, b"hello");
    assert_eq!(world.response(client).text(), "hello");
    assert_eq!(world.origin.seen[0].field("expect"), Some("100-continue"));
}

#[test]
fn early_refusal_of_an_expected_body_ends_the_connection() {
    let mut policy = super::harness::policy();
    policy.limits.request_body_max = Some(10);
    let mut world = World::with(policy, |_| ok(b""));
    let client = world.connect();
    world.send(client, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
    let reply = world.response(client);
    assert_eq!((reply.status, reply.field("connection")), (413, Some("close")));
    assert!(world.peer(client).is_finished);
    assert!(world.origin.seen.is_empty());
}

#[test]
fn malformed_requests_get_their_status_and_the_end() {
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 1\r\n\r\n", 417),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ] {
        let mut world = World::new(|_| ok(b""));
        let client = world.connect();
        world.send(client, request.as_bytes());
        let reply = world.response(client);
        assert_eq!(reply.status, status, "{request}");
        assert!(reply.field("x-request-id").is_some_and(|id| reply.text().contains(id)), "{}", reply.text());
        world.end(client);
        world.rest();
        assert!(world.origin.seen.is_empty(), "{request}");
        assert!(world.peer(client).is_closed, "{request}");
        world.assert_nothing_left();
    }
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(World::new(|_| ok(b"")).ask(&long).status, 431);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000));
    assert_eq!(World::new(|_| ok(b"")).ask(&long).status, 414);
}

#[test]
fn broken_chunks_are_not_passed_on_as_a_whole_body() {
    let mut world = World::new(|_| ok(b""));
    let client = world.connect();
    world.send(client, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX");
    assert_eq!(world.response(client).status, 400);
    world.rest();
    assert!(world.origin.seen.is_empty());
}

#[test]
fn failures_of_the_origin_become_pages() {
    let bad =
        |answer: Answer| World::new(move |_| answer.clone()).ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status;
    assert_eq!(bad(Answer::Close(b"HTTP/1.1 nonsense\r\n\r\n".to_vec())), 502);
    assert_eq!(bad(Answer::Close(Vec::new())), 502);
    assert_eq!(bad(Answer::Reset(Vec::new())), 502);
}

#[test]
fn response_that_breaks_off_is_cut_off_and_not_ended_properly() {
    let mut world = World::new(|_| {
        Answer::Close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".to_vec())
    });
    let client = world.connect();
    world.send(client, GET);
    world.until("the cut", |world| world.peer(client).is_aborted);
    assert!(world.peer(client).text().ends_with("3\r\nabc\r\n"), "{}", world.peer(client).text());
    world.assert_nothing_left();
}

#[test]
fn client_that_leaves_takes_its_exchange_with_it() {
    let mut world = World::new(|_| Answer::Silence);
    let client = world.connect();
    world.send(client, GET);
    world.until("the request", |world| world.origin.seen.len() == 1);
    world.reset(client);
    world.assert_nothing_left();
}

#[test]
fn half_closed_client_still_gets_its_response() {
    let mut world = World::new(|_| ok(b"late"));
    let client = world.connect();
    world.send(client, GET);
    world.end(client);
    assert_eq!(world.response(client).text(), "late");
    world.until("the end", |world| world.peer(client).is_closed);
    world.assert_nothing_left();
}

#[test]
fn half_a_request_is_never_answered() {
    let mut world = World::new(|_| ok(b""));
    let client = world.connect();
    world.send(client, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    world.end(client);
    assert!(world.peer(client).is_aborted);
    world.rest();
    assert!(world.origin.seen.is_empty());
    world.assert_nothing_left();
}

#[test]
fn slow_client_does_not_make_the_node_hold_a_large_response() {
    let body = vec![b'r'; 16 << 20];
    let expected = body.clone();
    let mut world = World::new(move |_| ok(&body));
    let client = world.connect();
    world.peer(client).room = 10_000;
    world.send(client, GET);
    world.rest();
    world.rest();
    assert!(world.origin.unsent() > 1 << 20, "the origin is held back: {}", world.origin.unsent());
    assert!(world.counts().buffers <= 1);
    for _ in 0..100_000 {
        let peer = world.peer(client);
        if peer.received.len() > expected.len() {
            break;
        }
        peer.room = peer.room.saturating_add(300_000);
        world.turn(core::time::Duration::ZERO);
    }
    assert_eq!(world.response(client).body, expected);
}

#[test]
fn slow_origin_does_not_make_the_node_hold_a_large_upload() {
    let mut world = World::new(|seen| ok(seen.body.len().to_string().as_bytes()));
    world.origin.reads = false;
    let client = world.connect();
    let body = vec![b'u'; 16 << 20];
    world.send(
        client,
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
    );
    world.send(client, &body);
    world.rest();
    assert!(world.peer(client).kept_len() > 4 << 20, "the client is held back");
    assert!(world.counts().buffers <= 1);
    world.origin.reads = true;
    assert_eq!(world.response(client).text(), body.len().to_string());
    assert_eq!(world.origin.seen[0].body, body);
}

#[test]
fn draining_finishes_what_runs_and_says_that_it_is_the_last() {
    let mut world = World::new(|_| ok(b"x"));
    let (idle, busy) = (world.connect(), world.connect());
    world.send(idle, GET);
    world.response(idle);
    world.send(busy, GET);
    let now = world.now;
    world.sessions.set_draining(&mut world.front, now);
    assert!(world.peer(idle).is_finished, "idle ones go at once");
    let reply = world.response(busy);
    assert_eq!((reply.status, reply.field("connection")), (200, Some("close")));
    assert!(world.connect_from("192.0.2.9:1", 0, false).is_err());
    world.end(idle);
    world.end(busy);
    world.assert_nothing_left();
}

#[test]
fn last_request_a_connection_may_have_says_so() {
    let mut policy = super::harness::policy();
    policy.limits.requests_max = Some(2);
    let mut world = World::with(policy, |_| ok(b"x"));
    let client = world.connect();
    world.send(client, &[GET, GET, GET].concat());
    let replies = world.responses(client, 2);
    assert_eq!(replies[0].field("connection"), None);
    assert_eq!(replies[1].field("connection"), Some("close"));
    world.rest();
    assert_eq!(world.origin.seen.len(), 2);
}

#[test]
fn warm_worker_serves_without_touching_the_allocator() {
    let mut world = World::new(|_| ok(&[b'x'; 1_024]));
    let client = world.connect();
    for round in 1..=3 {
        world.send(client, GET);
        world.responses(client, round);
    }
    // Only what the sessions do is counted, not the double around them.
    world.peer(client).received.reserve(1 << 20);
    let session = world.peer(client).session.expect("a session");
    let mut bytes = GET.to_vec();
    let now = world.now;
    let World { sessions, front, .. } = &mut world;
    let info = allocation_counter::measure(|| {
        assert_eq!(sessions.handle_data(session, &mut bytes, front, now), GET.len());
    });
    assert_eq!(info.count_total, 0, "up");
    world.until("the request", |world| world.origin.seen.len() == 4);
    let wait = Some(core::time::Duration::from_secs(2));
    let World { sessions, front, poll, events, .. } = &mut world;
    poll.poll(events, wait).expect("a poll");
    let info = allocation_counter::measure(|| {
        for event in &*events {
            sessions.handle_ready(event, front, now);
        }
    });
    assert_eq!(world.responses(client, 4)[3].status, 200);
    assert_eq!(info.count_total, 0, "down");
}
