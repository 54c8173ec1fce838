//! Events and threats by the built program.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use secbeat_proto::v1::*;

use crate::server::{Server, finish};

fn event(id: u64) -> Event {
    Event {
        id,
        at_ms: 1_700_000_000_000,
        node_id: "aaaaaaaa-7f1b".into(),
        severity: Severity::Error as i32,
        class: "attack".into(),
        name: "attack_started".into(),
        client_ip: "203.0.113.7".into(),
        user_agent: "\x1b]0;owned\x07curl\u{9b}2J".into(),
        is_blocked: true,
        ..Event::default()
    }
}

#[test]
fn filters_are_asked_of_the_server() {
    let server = Server::start();
    server.on("list_events", |_: ListEventsRequest| Ok(ListEventsResponse::default()));
    let args = [
        "event",
        "list",
        "--node",
        "n1",
        "--node",
        "n2",
        "--class",
        "attack",
        "--name",
        "x",
        "--attack",
        "syn_flood",
        "--client",
        "203.0.113.0/24",
        "--severity",
        "warn",
        "--rule",
        "r1",
        "--blocked",
        "--unacknowledged",
        "--since",
        "1970-01-01T00:00:01Z",
        "--until",
        "1970-01-01T00:00:02Z",
        "-o",
        "json",
    ];
    assert_eq!(server.run(&args).ends(0).out, "[]\n");
    let request: ListEventsRequest = server.seen("list_events").remove(0);
    let wanted = EventFilter {
        node_ids: vec!["n1".into(), "n2".into()],
        classes: vec!["attack".into()],
        names: vec!["x".into()],
        attack_types: vec!["syn_flood".into()],
        client: "203.0.113.0/24".into(),
        severity_min: Severity::Warn as i32,
        since_ms: 1_000,
        until_ms: 2_000,
        only_blocked: true,
        only_unacknowledged: true,
        rule_id: "r1".into(),
    };
    assert_eq!(request.filter.unwrap(), wanted);
}

#[test]
fn lists_go_back_to_the_limit_and_say_that_there_is_more() {
    let server = Server::start();
    server.on("list_events", |request: ListEventsRequest| {
        let newest = if request.before_id == 0 { 500 } else { request.before_id - 1 };
        let count = u64::from(request.page_size.min(40)).min(newest);
        let events: Vec<_> = (0..count).map(|n| event(newest - n)).collect();
        let oldest = newest + 1 - count;
        Ok(ListEventsResponse { events, next_before_id: if oldest > 1 { oldest } else { 0 }, lost: 9 })
    });
    let ran = server.run(&["event", "list"]).ends(0).warns("--limit 0").warns("9 events were lost");
    assert_eq!(ran.out.lines().count(), 101, "a head and a hundred rows");
    let ran = server.run(&["event", "list", "--limit", "0", "-o", "name"]).ends(0);
    assert_eq!(ran.out.lines().count(), 500);
    assert_eq!(ran.out.lines().last(), Some("1"));
}

#[test]
fn hostile_events_cannot_drive_the_terminal_in_any_format() {
    let server = Server::start();
    server.on("list_events", |_: ListEventsRequest| {
        Ok(ListEventsResponse { events: vec![event(1)], ..Default::default() })
    });
    for format in ["table", "wide", "json", "jsonl", "yaml", "name"] {
        let out = server.run(&["event", "list", "-o", format]).ends(0).out;
        assert!(!out.chars().any(|c| c.is_control() && c != '\n'), "{format}: {out:?}");
    }
    let value = server.run(&["event", "list", "-o", "json"]).json();
    assert_eq!(value[0]["user_agent"], event(1).user_agent, "JSON means the same");
}

#[test]
fn a_watch_runs_until_it_is_interrupted() {
    let server = Server::start();
    server.on_stream("watch_events", true, |request: WatchEventsRequest| {
        assert_eq!(request.last, 5);
        Ok(vec![
            WatchEventsResponse { events: vec![event(1)], bookmark: false, lost: 0 },
            WatchEventsResponse { events: vec![event(2)], bookmark: true, lost: 3 },
        ])
    });
    let args = ["--server", &server.url, "event", "watch", "--last", "5", "-o", "jsonl"];
    let mut command = server.command(&args);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    for id in [1, 2] {
        let line = lines.next().unwrap().unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["id"], id);
    }
    let interrupt = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
    finish(child).ends(130).warns("interrupted").warns("3 events were lost");
}

#[test]
fn a_reader_that_goes_away_ends_it_without_a_word() {
    let server = Server::start();
    server.on_stream("watch_events", true, |_: WatchEventsRequest| {
        let events = (0..20_000).map(event).collect::<Vec<_>>();
        let parts = events.chunks(100);
        Ok(parts.map(|part| WatchEventsResponse { events: part.to_vec(), ..Default::default() }).collect())
    });
    let mut command = server.command(&["--server", &server.url, "event", "watch"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("attack/attack_started"), "{line}");
    let ran = finish(child).ends(0);
    assert_eq!(ran.err, "");
}

#[test]
fn events_are_acknowledged_by_number_or_by_filter_but_not_by_accident() {
    let server = Server::start();
    server.on("acknowledge_events", |request: AcknowledgeEventsRequest| {
        Ok(AcknowledgeEventsResponse { acknowledged: request.ids.len() as u64 })
    });
    server.run(&["event", "ack", "4", "5"]).ends(0).says("2 acknowledged");
    server.run(&["event", "ack", "--class", "attack"]).ends(0);
    server.run(&["event", "ack", "--all"]).ends(0);
    server.run(&["event", "ack"]).ends(2);
    server.run(&["event", "ack", "4", "--class", "attack"]).ends(2);
    let seen: Vec<AcknowledgeEventsRequest> = server.seen("acknowledge_events");
    assert_eq!(seen.len(), 3);
    assert_eq!((seen[0].ids.as_slice(), &seen[0].filter), (&[4, 5][..], &None));
    assert_eq!(seen[1].filter.as_ref().unwrap().classes, ["attack"]);
}

#[test]
fn statistics_and_threats_are_shown() {
    let server = Server::start();
    server.on("get_event_stats", |_: GetEventStatsRequest| {
        let by_class = [("attack".to_owned(), 7)].into();
        Ok(EventStats { total: 10, by_class, ..EventStats::default() })
    });
    server.on("list_threats", |_: ListThreatsRequest| {
        let threat =
            Threat { client_ip: "203.0.113.7".into(), events: 12, is_banned: true, ..Threat::default() };
        Ok(ListThreatsResponse { threats: vec![threat] })
    });
    server.run(&["event", "stats", "--since", "1h"]).ends(0).says("class attack").says("7");
    assert_eq!(server.run(&["event", "stats", "-o", "json"]).ends(0).json()["total"], 10);
    server.run(&["threat", "list"]).ends(0).says("203.0.113.7").says("yes");
    assert_eq!(server.run(&["threat", "list", "-o", "name"]).ends(0).out, "203.0.113.7\n");
}
