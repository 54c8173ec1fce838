//! Rates, sizes, routes, answers of the node itself.

use core::time::Duration;

use secbeat_config::node::ServerHeader;
use secbeat_net::limit::Rate;

use super::super::policy::{RequestRate, Route, RouteTable, Scope, Service};
use super::harness::{World, ok, policy};
use crate::event::{AttackKind, Offence, What};
use crate::telemetry::counters::Counter;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn rate(count: u64, secs: u64, burst: u32) -> RequestRate {
    RequestRate::new(Rate { count, interval: Duration::from_secs(secs), burst })
}

fn route(name: &str) -> Route {
    Route {
        name: name.into(),
        group: "default".into(),
        rate: None,
        source_rate: None,
        body_max: None,
        response_timeout: None,
        waf: None,
        proxy_protocol: None,
    }
}

fn scope(path: &str, route: u16) -> Scope {
    Scope { hosts: Vec::new(), path: path.as_bytes().into(), route }
}

#[test]
fn source_above_its_rate_gets_429_with_the_time_to_wait() {
    let mut policy = policy();
    policy.rates.source = Some(rate(1, 5, 2));
    policy.offences.offences_max = 2;
    let mut world = World::with(policy, |_| ok(b""));
    assert_eq!([(); 3].map(|()| world.ask(GET).status), [200, 200, 429]);
    let reply = world.ask(GET);
    assert_eq!((reply.status, reply.field("retry-after")), (429, Some("5")));
    assert_eq!(world.page.get(Counter::RequestsLimitedSource), 2);
    assert_eq!(world.page.attacks(AttackKind::HttpFlood), 2);
    let source = "192.0.2.7".parse().expect("an address");
    let banned = world.queue.pop().map(|event| event.what);
    assert_eq!(banned, Some(What::Offender { source, offence: Offence::RequestRate }));
    let other = world.connect_from("192.0.2.8:1", 0, false).expect("a session");
    world.send(other, GET.as_bytes());
    assert_eq!(world.response(other).status, 200, "another source");
    let exempt = world.connect_from("192.0.2.7:1", 0, true).expect("a session");
    world.send(exempt, GET.as_bytes());
    assert_eq!(world.response(exempt).status, 200, "an allowlisted one");
}

#[test]
fn limited_client_keeps_its_connection() {
    let mut policy = policy();
    policy.rates.source = Some(rate(1, 1, 1));
    let mut world = World::with(policy, |_| ok(b""));
    let client = world.connect();
    world.send(client, [GET, GET].concat().as_bytes());
    let replies = world.responses(client, 2);
    assert_eq!((replies[0].status, replies[1].status), (200, 429));
    world.pass(Duration::from_secs(2));
    world.send(client, GET.as_bytes());
    assert_eq!(world.responses(client, 3)[2].status, 200);
}

#[test]
fn clients_of_a_trusted_proxy_have_limits_of_their_own() {
    let mut policy = policy();
    policy.rates.source = Some(rate(1, 60, 1));
    policy.forwarding.trusted = ["192.0.2.0/24".parse().expect("a network")].into();
    let mut world = World::with(policy, |_| ok(b""));
    let ask = |world: &mut World, client: &str| {
        world.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n")).status
    };
    assert_eq!(ask(&mut world, "203.0.113.1"), 200);
    assert_eq!(ask(&mut world, "203.0.113.2"), 200);
    assert_eq!(ask(&mut world, "203.0.113.1"), 429);
    assert!(world.queue.pop().is_none(), "the proxy is not banned for it");
}

#[test]
fn routes_have_limits_and_sizes_of_their_own() {
    let mut policy = policy();
    policy.routes = vec![
        Route { rate: Some(rate(1, 60, 1)), ..route("all") },
        Route { source_rate: Some(rate(1, 60, 1)), ..route("each") },
        Route { body_max: Some(3), ..route("small") },
    ];
    let scopes = [scope("/all", 0), scope("/each", 1), scope("/small", 2)];
    if let Some(Some(listener)) = policy.listeners.first_mut() {
        listener.routes = RouteTable::new(&scopes);
        listener.group = None;
    }
    let mut world = World::with(policy, |_| ok(b""));
    let mut ask = |source: &str, path: &str, rest: &str| {
        let client = world.connect_from(source, 0, false).expect("a session");
        world.send(client, format!("POST {path} HTTP/1.1\r\nHost: a\r\n{rest}").as_bytes());
        world.response(client).status
    };
    assert_eq!(ask("192.0.2.1:1", "/all", "\r\n"), 200);
    assert_eq!(ask("192.0.2.2:1", "/all", "\r\n"), 429);
    assert_eq!(ask("192.0.2.1:1", "/each", "\r\n"), 200);
    assert_eq!(ask("192.0.2.1:1", "/each", "\r\n"), 429);
    assert_eq!(ask("192.0.2.2:1", "/each", "\r\n"), 200);
    assert_eq!(ask("192.0.2.1:1", "/small/x", "Content-Length: 3\r\n\r\nabc"), 200);
    assert_eq!(ask("192.0.2.1:1", "/small/x", "Content-Length: 4\r\n\r\nabcd"), 413);
    let chunked = "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n";
    assert_eq!(ask("192.0.2.1:1", "/small", chunked), 413, "found out on the way");
    assert_eq!(ask("192.0.2.1:1", "/smaller", "\r\n"), 404);
    assert_eq!(ask("192.0.2.1:1", "/%73mall", "Content-Length: 4\r\n\r\nabcd"), 413, "by meaning");
}

#[test]
fn node_has_a_rate_of_its_own() {
    let mut policy = policy();
    policy.rates.global = Some(rate(1, 60, 1));
    let mut world = World::with(policy, |_| ok(b""));
    assert_eq!(world.ask(GET).status, 200);
    let other = world.connect_from("203.0.113.1:1", 0, false).expect("a session");
    world.send(other, GET.as_bytes());
    assert_eq!(world.response(other).status, 429);
    assert_eq!(world.page.get(Counter::RequestsLimitedGlobal), 1);
}

#[test]
fn health_path_is_answered_before_any_limit_and_says_when_the_node_drains() {
    let mut policy = policy();
    policy.health_path = Some(b"/health"[..].into());
    policy.rates.source = Some(rate(1, 60, 1));
    let mut world = World::with(policy, |_| ok(b"from the origin"));
    for _ in 0..3 {
        let reply = world.ask("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((reply.status, reply.text().as_str()), (200, "ok\n"));
    }
    let client = world.connect();
    world.send(client, b"GET /health HTTP/1.1\r\nHost: a\r\n");
    let now = world.now;
    world.sessions.set_draining(&mut world.front, now);
    world.send(client, b"\r\n");
    let reply = world.response(client);
    assert_eq!((reply.status, reply.text().as_str()), (503, "draining\n"));
    assert!(world.origin.seen.is_empty());
}

#[test]
fn redirect_listener_sends_to_the_same_place_over_https() {
    let mut policy = policy();
    if let Some(Some(listener)) = policy.listeners.first_mut() {
        listener.service = Service::Redirect { port: 443 };
    }
    policy.listeners.push(policy.listeners[0].clone());
    if let Some(Some(listener)) = policy.listeners.last_mut() {
        listener.service = Service::Redirect { port: 8_443 };
    }
    let mut world = World::with(policy, |_| ok(b""));
    let reply = world.ask("GET /a?b HTTP/1.1\r\nHost: example.org:80\r\n\r\n");
    assert_eq!((reply.status, reply.field("location")), (301, Some("https://example.org/a?b")));
    let client = world.connect_from("192.0.2.1:1", 1, false).expect("a session");
    world.send(client, b"POST / HTTP/1.1\r\nHost: [2001:db8::1]\r\nContent-Length: 1\r\n\r\nx");
    let reply = world.response(client);
    assert_eq!((reply.status, reply.field("location")), (308, Some("https://[2001:db8::1]:8443/")));
    assert_eq!(world.ask("GET / HTTP/1.0\r\n\r\n").status, 400);
}

#[test]
fn pages_are_json_for_those_who_ask_for_it() {
    let mut world = World::new(|_| ok(b""));
    let reply = world.ask("GET /../x HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n");
    assert_eq!(reply.field("content-type"), Some("application/json"));
    let page: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(page["status"], 400);
    assert_eq!(page["request_id"], reply.field("x-request-id").expect("an id"));
}

#[test]
fn server_is_hidden_or_named_as_told() {
    for (server, seen) in [
        (ServerHeader::Pass, Some("origin/1")),
        (ServerHeader::Remove, None),
        (ServerHeader::Secbeat, Some("secbeat")),
    ] {
        let mut policy = policy();
        policy.forwarding.server = server;
        let mut world = World::with(policy, |_| {
            super::harness::Answer::Send(
                b"HTTP/1.1 200 OK\r\nServer: origin/1\r\nContent-Length: 0\r\n\r\n".to_vec(),
            )
        });
        assert_eq!(world.ask(GET).field("server"), seen);
    }
}

#[test]
fn full_worker_refuses_and_recovers() {
    let mut world = World::build(policy(), 2, crate::upstream::http::Settings::default(), |_| ok(b""));
    let first = world.connect();
    world.connect();
    assert_eq!(world.connect_from("192.0.2.9:1", 0, false), Err(super::super::Refusal::Full));
    assert_eq!(world.connect_from("192.0.2.9:1", 7, false), Err(super::super::Refusal::NoListener));
    world.reset(first);
    world.connect();
    assert_eq!(world.page.get(Counter::SessionsRefused), 2);
}
