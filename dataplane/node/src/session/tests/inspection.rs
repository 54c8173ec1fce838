//! What the inspector sees, and what its verdicts do: with an inspector that wants bodies, as rules will.

use super::super::inspect::{Body, Verdict};
use super::harness::{Answer, World, ok};
use crate::event::AttackKind;
use crate::telemetry::counters::Counter;

const WHOLE: Body = Body::Whole { bytes_max: 1_000, pass_longer: false };

fn world(script: impl FnMut(&super::harness::Seen) -> Answer + 'static) -> World {
    let mut world = World::new(script);
    world.sessions.core.inspector.script.block = Some(b"evil");
    world
}

fn post(body: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: a\r\nUser-Agent: t/1\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn traversal_is_refused_reported_and_never_reaches_the_origin() {
    let mut world = World::new(|_| ok(b""));
    for path in ["/../etc/passwd", "/a/%2e%2e/b", "/a/..%5cb", "/%c0%ae%c0%ae/x"] {
        let reply = world.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: t/1\r\n\r\n"));
        assert_eq!(reply.status, 400, "{path}");
        let report = world.reports.pop().expect("a report");
        assert_eq!((report.attack, report.target.as_str()), (AttackKind::PathTraversal, path));
        assert_eq!((report.user_agent.as_str(), report.host.as_str()), ("t/1", "a"));
        assert_eq!(reply.field("x-request-id"), Some(report.request_id.as_str()));
    }
    assert!(world.origin.seen.is_empty());
    assert_eq!(world.page.get(Counter::RequestsBlocked), 4);
}

#[test]
fn body_wanted_whole_is_judged_before_the_origin_sees_anything() {
    let mut world = world(|seen| ok(&seen.body));
    world.sessions.core.inspector.script.request_body = WHOLE;
    let client = world.connect();
    world.send(client, post(&"x".repeat(900)).as_bytes());
    assert_eq!(world.response(client).body.len(), 900);
    let script = &world.sessions.core.inspector.script;
    assert_eq!(script.seen.len(), 1);
    assert!(script.seen[0].1, "told that it is all");
    assert_eq!(world.ask(&post("so evil")).status, 403);
    assert_eq!(world.ask(&post(&"x".repeat(1_001))).status, 413);
    world.rest();
    assert_eq!(world.origin.seen.len(), 1);
    assert_eq!(world.counts().buffers, 0);
}

#[test]
fn longer_body_passes_after_its_beginning_was_judged() {
    let mut world = world(|seen| ok(&seen.body));
    world.sessions.core.inspector.script.request_body = Body::Whole { bytes_max: 1_000, pass_longer: true };
    let body = "y".repeat(300_000);
    let client = world.connect();
    world.send(client, post(&body).as_bytes());
    assert_eq!(world.response(client).text(), body);
    let script = &world.sessions.core.inspector.script;
    assert_eq!((script.seen.len(), script.seen[0].0.len(), script.seen[0].1), (1, 1_000, false));
}

#[test]
fn held_body_of_a_waiting_client_is_asked_for() {
    let mut world = world(|seen| ok(&seen.body));
    world.sessions.core.inspector.script.request_body = WHOLE;
    let client = world.connect();
    world.send(client, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert!(world.peer(client).text().starts_with("HTTP/1.1 100 Continue\r\n\r\n"));
    world.send(client, b"ok");
    assert_eq!(world.responses(client, 2)[1].text(), "ok");
    assert_eq!(world.origin.seen[0].field("expect"), None);
}

#[test]
fn pieces_are_seen_as_they_pass_and_one_can_end_the_request() {
    let mut world = world(|seen| ok(&seen.body));
    world.sessions.core.inspector.script.request_body = Body::Pieces;
    assert_eq!(world.ask(&post("fine")).text(), "fine");
    assert_eq!(world.ask(&post("this is evil")).status, 403);
    world.sessions.core.inspector.script.verdict = Verdict::Reset;
    let client = world.connect();
    world.send(client, post("again evil").as_bytes());
    assert!(world.peer(client).is_aborted && world.peer(client).received.is_empty());
}

#[test]
fn response_wanted_whole_is_judged_before_the_client_sees_anything() {
    let mut world = world(|seen| match seen.line() {
        "GET /good HTTP/1.1" => ok(b"fine"),
        "GET /long HTTP/1.1" => ok(&[b'x'; 1_001]),
        "GET /chunked HTTP/1.1" => Answer::Send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n".to_vec(),
        ),
        _ => ok(b"leaks evil"),
    });
    world.sessions.core.inspector.script.response_body = WHOLE;
    let mut ask = |path: &str| {
        let reply = world.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        (reply.status, reply.text())
    };
    assert_eq!(ask("/good"), (200, "fine".to_owned()));
    assert_eq!(ask("/chunked"), (200, "abcd".to_owned()));
    let (status, page) = ask("/bad");
    assert!(status == 403 && !page.contains("evil"));
    assert_eq!(ask("/long").0, 502);
    assert_eq!(world.counts().buffers, 0);
}

#[test]
fn response_that_turns_bad_under_way_is_cut_off() {
    let mut world = world(|_| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..40 {
            bytes.extend(b"2000\r\n");
            bytes.extend([b'x'; 0x2000]);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"4\r\nevil\r\n0\r\n\r\n");
        Answer::Send(bytes)
    });
    world.sessions.core.inspector.script.response_body = Body::Pieces;
    let client = world.connect();
    world.send(client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    world.until("the cut", |world| world.peer(client).is_aborted);
    assert!(world.peer(client).text().starts_with("HTTP/1.1 200"));
    assert!(!world.peer(client).text().contains("evil"));
    world.assert_nothing_left();
}

#[test]
fn every_byte_of_a_response_is_seen_once_whatever_the_clients_pace() {
    let mut world = world(|_| ok(&(0..200_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>()));
    world.sessions.core.inspector.script.response_body = Body::Pieces;
    let client = world.connect();
    world.peer(client).room = 1_000;
    world.send(client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for step in 0..20_000usize {
        let peer = world.peer(client);
        if peer.received.len() > 200_000 {
            break;
        }
        peer.room += 500 + step % 3_000;
        world.turn(core::time::Duration::ZERO);
    }
    let expected: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(world.response(client).body, expected);
    let script = &world.sessions.core.inspector.script;
    let seen: Vec<u8> = script.seen.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
    assert!(seen == expected, "{} bytes seen", seen.len());
    assert_eq!(script.seen.iter().filter(|(_, is_last)| *is_last).count(), 1);
}
