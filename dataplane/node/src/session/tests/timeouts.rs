//! Slow clients and origins, in every phase, on a clock that the test moves.

use core::time::Duration;

use super::harness::{Answer, World, ok, policy};
use crate::event::{AttackKind, Offence, What};
use crate::telemetry::counters::Counter;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn client_that_says_nothing_is_closed_and_one_that_stops_in_a_head_is_told() {
    let mut world = World::new(|_| ok(b""));
    let (silent, half) = (world.connect(), world.connect());
    world.send(half, b"GET / HTTP/1.1\r\nHo");
    world.pass(secs(9));
    assert!(!world.peer(silent).is_finished && !world.peer(half).is_finished);
    world.pass(secs(2));
    assert!(world.peer(silent).is_finished);
    assert_eq!(world.peer(silent).text(), "");
    assert_eq!(world.response(half).status, 408);
    assert_eq!(world.page.get(Counter::TimeoutsRequestHead), 2);
    assert_eq!(world.page.attacks(AttackKind::SlowClient), 1);
    // Neither ends its side: both are reset in the end.
    world.pass(secs(6));
    assert!(world.peer(silent).is_aborted && world.peer(half).is_aborted);
    world.assert_nothing_left();
}

#[test]
fn head_that_trickles_is_as_slow_as_none() {
    let mut world = World::new(|_| ok(b""));
    let client = world.connect();
    for byte in b"GET / HTTP/1.1\r\nX-Slow: yes" {
        world.send(client, &[*byte]);
        world.pass(Duration::from_millis(500));
    }
    assert_eq!(world.response(client).status, 408);
}

#[test]
fn second_head_has_its_time_from_its_first_byte() {
    let mut world = World::new(|_| ok(b""));
    let client = world.connect();
    world.send(client, GET);
    world.response(client);
    world.pass(secs(30));
    world.send(client, b"GET /");
    world.pass(secs(9));
    world.send(client, b" HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(world.responses(client, 2)[1].status, 200);
}

#[test]
fn idle_connection_is_closed_after_the_keep_alive_time() {
    let mut world = World::new(|_| ok(b""));
    let client = world.connect();
    world.send(client, GET);
    world.response(client);
    world.pass(secs(59));
    assert!(!world.peer(client).is_finished);
    world.pass(secs(2));
    assert!(world.peer(client).is_finished);
    assert_eq!(world.page.get(Counter::TimeoutsKeepAlive), 1);
    world.end(client);
    world.assert_nothing_left();
}

#[test]
fn body_slower_than_the_least_rate_ends_with_408() {
    let mut world = World::new(|_| ok(b""));
    let client = world.connect();
    world.send(client, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    for _ in 0..24 {
        world.send(client, &[b'x'; 100]);
        world.pass(Duration::from_millis(500));
        if world.peer(client).is_finished {
            break;
        }
    }
    assert_eq!(world.response(client).status, 408);
    assert_eq!(world.page.get(Counter::TimeoutsRequestBody), 1);
    world.end(client);
    world.rest();
    world.assert_nothing_left();
}

#[test]
fn body_that_keeps_the_rate_may_take_its_time() {
    let mut world = World::new(|seen| ok(seen.body.len().to_string().as_bytes()));
    let client = world.connect();
    world.send(client, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n");
    for _ in 0..40 {
        world.send(client, &[b'x'; 1_000]);
        world.pass(secs(1));
    }
    assert_eq!(world.response(client).text(), "40000");
}

#[test]
fn client_is_not_slow_while_the_origin_takes_nothing() {
    let mut world = World::new(|seen| ok(seen.body.len().to_string().as_bytes()));
    world.origin.reads = false;
    let client = world.connect();
    let body = vec![b'x'; 8 << 20];
    world.send(
        client,
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
    );
    world.send(client, &body);
    world.rest();
    world.pass(secs(45));
    assert_eq!(world.page.get(Counter::TimeoutsRequestBody), 0);
    world.origin.reads = true;
    assert_eq!(world.response(client).text(), body.len().to_string());
}

#[test]
fn client_that_takes_nothing_of_its_response_is_reset() {
    let mut world = World::new(|_| ok(&vec![b'x'; 1 << 20]));
    let client = world.connect();
    world.peer(client).room = 5_000;
    world.send(client, GET);
    world.until("a response", |world| world.peer(client).received.len() == 5_000);
    for _ in 0..12 {
        // One byte a second is as good as nothing.
        world.peer(client).room += 1;
        world.pass(secs(1));
    }
    assert!(world.peer(client).is_aborted);
    assert_eq!(world.page.get(Counter::TimeoutsResponse), 1);
    world.assert_nothing_left();
}

#[test]
fn slow_clients_are_reported_and_banned_in_the_end() {
    let mut policy = policy();
    policy.offences.offences_max = 3;
    let mut world = World::with(policy, |_| ok(b""));
    for _ in 0..3 {
        let client = world.connect();
        world.send(client, b"GET /");
        world.pass(secs(11));
        world.end(client);
    }
    let source = "192.0.2.7".parse().expect("an address");
    let banned = world.queue.pop().map(|event| event.what);
    assert_eq!(banned, Some(What::Offender { source, offence: Offence::SlowClient }));
    let report = world.reports.pop().expect("a report");
    assert_eq!((report.attack, &*report.rule), (AttackKind::SlowClient, "request_head_timeout"));
}

#[test]
fn request_that_takes_too_long_in_all_gets_504() {
    let mut policy = policy();
    policy.timeouts.total = Some(secs(20));
    let mut world = World::with(policy, |_| Answer::Silence);
    let client = world.connect();
    world.send(client, GET);
    world.until("the request", |world| world.origin.seen.len() == 1);
    world.pass(secs(21));
    assert_eq!(world.response(client).status, 504);
    assert_eq!(world.page.get(Counter::TimeoutsTotal), 1);
    assert_eq!(world.sessions.counts().exchanges, 0);
}

#[test]
fn origin_that_says_nothing_gets_504_from_the_client_of_backends() {
    let mut world = World::new(|_| Answer::Silence);
    let client = world.connect();
    world.send(client, GET);
    world.until("the request", |world| world.origin.seen.len() == 1);
    world.pass(secs(70));
    assert_eq!(world.response(client).status, 504);
}
