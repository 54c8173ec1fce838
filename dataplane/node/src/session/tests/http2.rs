//! HTTP/2: streams beside each other, windows, resets, drain.

use core::time::Duration;

use super::frames::{data, finished, get, heard, hello, request, reset, window};
use super::harness::{Answer, World, ok, policy};
use crate::telemetry::counters::Counter;

const WIDE: u32 = 1 << 20;

fn world(script: impl FnMut(&super::harness::Seen) -> Answer + 'static) -> (World, u64) {
    let mut world = World::new(script);
    let client = world.connect();
    world.send(client, &hello(WIDE));
    world.send(client, &window(0, 1 << 28));
    (world, client)
}

#[test]
fn request_reaches_the_origin_as_http11_and_the_response_its_stream() {
    let (mut world, client) = world(|_| ok(b"hello"));
    world.send(client, &request(1, true, "GET", "/a?b", &[("cookie", "c=1"), ("user-agent", "t")]));
    let heard = finished(&mut world, client, 1);
    assert_eq!((heard.status, heard.body.as_slice()), (Some(200), &b"hello"[..]));
    let seen = &world.origin.seen[0];
    assert_eq!(seen.line(), "GET /a?b HTTP/1.1");
    assert_eq!((seen.field("host"), seen.field("cookie")), (Some("example.org"), Some("c=1")));
    assert_eq!(seen.field("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(world.page.get(Counter::RequestsHttp2), 1);
    assert_eq!(world.counts().exchanges, 0);
    assert_eq!(world.counts().buffers, 0);
}

#[test]
fn preface_in_pieces_is_understood_and_http1_on_the_same_listener_too() {
    let mut world = World::new(|_| ok(b"x"));
    let client = world.connect();
    for byte in [hello(WIDE), get(1, "/")].concat() {
        world.send(client, &[byte]);
    }
    assert_eq!(finished(&mut world, client, 1).status, Some(200));
    assert_eq!(world.ask("PRINT / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
}

#[test]
fn many_streams_are_answered_beside_each_other() {
    let (mut world, client) = world(|seen| ok(seen.line().as_bytes()));
    let mut bytes = Vec::new();
    for stream in (1..100).step_by(2) {
        bytes.extend(get(stream, &format!("/{stream}")));
    }
    world.send(client, &bytes);
    for stream in (1..100).step_by(2) {
        let body = finished(&mut world, client, stream).body;
        assert_eq!(body, format!("GET /{stream} HTTP/1.1").into_bytes());
    }
    world.send(client, &get(101, "/again"));
    assert_eq!(finished(&mut world, client, 101).status, Some(200));
    assert_eq!(world.counts().exchanges, 0);
}

#[test]
fn body_goes_up_with_and_without_a_length() {
    let (mut world, client) = world(|seen| ok(&seen.body));
    world.send(client, &request(1, false, "POST", "/", &[]));
    world.send(client, &data(1, false, b"hel"));
    world.rest();
    world.send(client, &data(1, true, b"lo"));
    assert_eq!(finished(&mut world, client, 1).body, b"hello");
    world.send(client, &request(3, false, "POST", "/", &[("content-length", "3")]));
    world.send(client, &data(3, true, b"abc"));
    assert_eq!(finished(&mut world, client, 3).body, b"abc");
    assert_eq!(world.origin.seen[0].field("transfer-encoding"), Some("chunked"));
    assert_eq!(world.origin.seen[1].field("content-length"), Some("3"));
}

#[test]
fn client_with_a_shut_window_holds_the_origin_back_and_gets_all_in_the_end() {
    let body: Vec<u8> = (0..24_000_000u32).map(|n| (n % 241) as u8).collect();
    let expected = body.clone();
    let mut world = World::new(move |_| ok(&body));
    let client = world.connect();
    world.send(client, &[hello(1_000), get(1, "/")].concat());
    world.rest();
    assert_eq!(heard(&mut world, client).streams[&1].body.len(), 1_000);
    assert!(world.origin.unsent() > 1 << 20, "{}", world.origin.unsent());
    world.send(client, &window(0, 1 << 28));
    world.send(client, &window(1, 1 << 28));
    let heard = finished(&mut world, client, 1);
    assert!(heard.body == expected, "{} bytes", heard.body.len());
    assert_eq!(world.counts().exchanges, 0);
}

#[test]
fn slow_socket_bounds_what_is_held_for_all_streams() {
    let (mut world, client) = world(|_| ok(&vec![b'x'; 1 << 20]));
    world.peer(client).room = 2_000;
    let mut bytes = window(0, 1 << 28);
    for stream in (1..20).step_by(2) {
        bytes.extend(get(stream, "/"));
    }
    world.send(client, &bytes);
    world.rest();
    assert!(world.counts().buffers <= 1, "{:?}", world.counts());
    for _ in 0..50_000 {
        if heard(&mut world, client).streams.values().filter(|heard| heard.is_ended).count() == 10 {
            break;
        }
        world.peer(client).room = 500_000;
        world.turn(Duration::from_micros(200));
    }
    assert!(heard(&mut world, client).streams.values().all(|heard| heard.body.len() == 1 << 20));
    assert_eq!(world.counts().exchanges, 0);
}

#[test]
fn reset_stream_takes_its_exchange_with_it_and_no_other() {
    let (mut world, client) = world(|seen| match seen.line() {
        "GET /silent HTTP/1.1" => Answer::Silence,
        _ => ok(b"x"),
    });
    world.send(client, &[get(1, "/silent"), get(3, "/other")].concat());
    finished(&mut world, client, 3);
    assert_eq!(world.counts().exchanges, 1);
    world.send(client, &reset(1));
    assert_eq!(world.counts().exchanges, 0);
    assert_eq!(world.page.get(Counter::RequestsAbandoned), 1);
}

#[test]
fn failing_origin_becomes_a_page_or_a_reset_of_the_stream() {
    let (mut world, client) = world(|seen| match seen.line() {
        "GET /cut HTTP/1.1" => Answer::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec()),
        _ => Answer::Close(b"nonsense\r\n\r\n".to_vec()),
    });
    world.send(client, &[get(1, "/cut"), get(3, "/bad")].concat());
    let (cut, bad) = (finished(&mut world, client, 1), finished(&mut world, client, 3));
    assert_eq!((cut.body.as_slice(), cut.is_ended), (&b"half"[..], false));
    assert_eq!(cut.reset, Some(2), "INTERNAL_ERROR");
    assert!(bad.is_ended && String::from_utf8_lossy(&bad.body).contains("502"));
}

#[test]
fn inspection_and_limits_hold_for_streams_too() {
    let mut policy = policy();
    policy.limits.request_body_max = Some(3);
    let mut world = World::with(policy, |_| ok(b""));
    let client = world.connect();
    world.send(client, &hello(WIDE));
    world.send(client, &get(1, "/../etc"));
    assert_eq!(finished(&mut world, client, 1).status, Some(400));
    world.send(client, &request(3, false, "POST", "/", &[]));
    world.send(client, &data(3, false, b"four"));
    let heard = finished(&mut world, client, 3);
    assert!(String::from_utf8_lossy(&heard.body).contains("413"));
    assert_eq!(heard.reset.unwrap_or_default(), 0, "without error");
    assert_eq!(world.counts().exchanges, 0);
}

#[test]
fn draining_says_goaway_and_finishes_what_runs() {
    let (mut world, client) = world(|_| ok(b"x"));
    world.send(client, &get(1, "/"));
    let now = world.now;
    world.sessions.set_draining(&mut world.front, now);
    assert_eq!(finished(&mut world, client, 1).status, Some(200));
    world.pass(Duration::from_secs(3));
    world.until("goaway", |world| heard(world, client).goaway == Some(0));
    world.until("the end", |world| world.peer(client).is_finished);
    world.end(client);
    world.until("the end", |world| world.peer(client).is_over());
    world.assert_nothing_left();
}

#[test]
fn idle_connection_gets_goaway_after_its_time() {
    let (mut world, client) = world(|_| ok(b"x"));
    world.send(client, &get(1, "/"));
    finished(&mut world, client, 1);
    world.pass(Duration::from_secs(59));
    assert_eq!(heard(&mut world, client).goaway, None);
    world.pass(Duration::from_secs(5));
    assert_eq!(heard(&mut world, client).goaway, Some(0));
    world.pass(Duration::from_secs(75));
    assert!(world.peer(client).is_finished);
}

#[test]
fn connection_that_breaks_the_rules_is_ended_with_a_reason_and_counted() {
    let (mut world, client) = world(|_| ok(b"x"));
    world.send(client, &data(0, true, b"data on stream 0"));
    world.until("the end", |world| world.peer(client).is_finished);
    assert!(heard(&mut world, client).goaway.is_some_and(|code| code != 0));
    let counted: u64 = secbeat_http::h2::Violation::ALL
        .iter()
        .map(|violation| world.page.requests.violations(*violation))
        .sum();
    assert_eq!(counted, 1);
    world.end(client);
    world.assert_nothing_left();
}

#[test]
fn client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let (mut world, client) = world(|_| Answer::Silence);
    world.send(client, &[get(1, "/"), get(3, "/"), request(5, false, "POST", "/", &[])].concat());
    world.send(client, &data(5, false, b"some"));
    world.until("the requests", |world| world.origin.seen.len() == 2);
    world.reset(client);
    world.assert_nothing_left();
}

#[test]
fn client_that_ends_its_side_gets_what_it_asked_for() {
    let (mut world, client) = world(|_| ok(b"x"));
    world.send(client, &get(1, "/"));
    world.end(client);
    assert_eq!(finished(&mut world, client, 1).body, b"x");
    world.until("the end", |world| world.peer(client).is_over());
    world.assert_nothing_left();
}
