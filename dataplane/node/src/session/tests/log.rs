//! Lines of the access log, and what is counted about requests.

use std::sync::Arc;

use super::super::access_log::Writer;
use super::harness::{Answer, World, ok, policy};

fn lines(world: World, run: impl FnOnce(&mut World)) -> Vec<serde_json::Value> {
    let mut world = world;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let writer = Writer::start(Arc::clone(&world.access_log), Some(&path)).expect("a writer");
    run(&mut world);
    let now = world.now;
    world.sessions.handle_housekeeping(&mut world.front, now);
    drop(writer);
    let text = std::fs::read_to_string(&path).expect("a log");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn logged() -> super::super::L7Policy {
    let mut policy = policy();
    policy.access_log.enable = true;
    policy
}

#[test]
fn line_says_who_asked_what_and_what_became_of_it() {
    let world = World::with(logged(), |_| ok(b"hello"));
    let lines = lines(world, |world| {
        world.ask(
            "POST /a\"b?c HTTP/1.1\r\nHost: example.org\r\nUser-Agent: t\\\"\r\nContent-Length: 2\r\n\r\nhi",
        );
    });
    let line = &lines[0];
    assert_eq!(line["client"], "192.0.2.7");
    assert_eq!(
        (&line["method"], &line["host"], &line["version"]),
        (&"POST".into(), &"example.org".into(), &"1.1".into())
    );
    assert_eq!((&line["status"], &line["bytes_in"], &line["bytes_out"]), (&200.into(), &2.into(), &5.into()));
    assert_eq!((&line["listener"], &line["backend"]), (&"test".into(), &"origin".into()));
    assert_eq!((&line["target"], &line["user_agent"]), (&"/a\"b?c".into(), &"t\\\"".into()));
    assert_eq!(line["time"], "2023-11-14T22:13:20.000Z");
    assert_eq!(line["request_id"].as_str().map(str::len), Some(28));
}

#[test]
fn refused_abandoned_and_unreadable_requests_are_in_the_log_too() {
    let world = World::with(logged(), |_| Answer::Silence);
    let lines = lines(world, |world| {
        world.ask("GET / HTTP/1.1\r\n\r\n");
        world.ask("GET /../x HTTP/1.1\r\nHost: a\r\n\r\n");
        let client = world.connect();
        world.send(client, b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n");
        world.until("the request", |world| world.origin.seen.len() == 1);
        world.reset(client);
    });
    let told: Vec<_> = lines.iter().map(|line| (line["status"].as_u64(), line["reason"].as_str())).collect();
    assert_eq!(
        told,
        [(Some(400), Some("host_missing")), (Some(400), Some("escapes_root")), (Some(499), None)]
    );
    assert!(lines[0].get("method").is_none(), "what could not be read is not made up");
}

#[test]
fn sample_leaves_out_good_requests_and_never_bad_ones() {
    let mut policy = logged();
    policy.access_log.sample_ppm = 100_000;
    let world = World::with(policy, |_| ok(b""));
    let lines = lines(world, |world| {
        let client = world.connect();
        for round in 1..=50 {
            world.send(client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            world.responses(client, round);
        }
        for _ in 0..3 {
            world.ask("GET /../ HTTP/1.1\r\nHost: a\r\n\r\n");
        }
    });
    assert_eq!(lines.iter().filter(|line| line["status"] == 200).count(), 5);
    assert_eq!(lines.iter().filter(|line| line["status"] == 400).count(), 3);
}

#[test]
fn requests_are_counted_by_method_status_and_time() {
    let mut world = World::new(|_| ok(b""));
    world.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    world.ask("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n");
    world.ask("GET / HTTP/1.1\r\n\r\n");
    let answered: Vec<_> = world.page.requests.answered().collect();
    assert_eq!(answered, [(0, 200, 1), (4, 200, 1), (9, 400, 1)]);
    assert_eq!(world.page.requests.total(), 3);
    assert_eq!(world.page.requests.errors(secbeat_http::error::Error::HostMissing), 1);
}
