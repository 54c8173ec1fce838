//! PROXY v2 towards backends: which requests bring it, and that connections with and without it never mix.

use super::super::policy::{Listener, Route, RouteTable, Scope};
use super::harness::{Seen, World, listener, ok, policy};

const PLAIN: u16 = 0;
const PROXIED: u16 = 1;

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// Two listeners before one origin, the second with the header; `/off` and `/on` have a mind of their own.
fn world() -> World {
    let route = |name: &str, proxy_protocol| Route {
        name: name.into(),
        group: "default".into(),
        rate: None,
        source_rate: None,
        body_max: None,
        response_timeout: None,
        waf: None,
        proxy_protocol: Some(proxy_protocol),
    };
    let scope = |path: &str, route| Scope { hosts: Vec::new(), path: path.as_bytes().into(), route };
    let routes = RouteTable::new(&[scope("/off", 0), scope("/on", 1)]);
    let mut policy = policy();
    policy.routes = vec![route("off", false), route("on", true)];
    policy.listeners = [false, true]
        .map(|proxy_protocol| Some(Listener { proxy_protocol, routes: routes.clone(), ..listener() }))
        .to_vec();
    World::with(policy, |seen| ok(seen.line().as_bytes()))
}

/// Asks on a connection of its own from `port`, and says what the origin saw.
fn ask(world: &mut World, port: u16, listener: u16, path: &str) -> Seen {
    let client = world.connect_from(&format!("192.0.2.7:{port}"), listener, false).expect("a session");
    world.send(client, &get(path));
    assert_eq!(world.response(client).text(), format!("GET {path} HTTP/1.1"));
    world.end(client);
    world.until("the end", |world| world.peer(client).is_over());
    world.origin.seen.pop().expect("a request")
}

fn named(seen: &Seen) -> Option<(String, String)> {
    let key = seen.proxied?;
    let text = |end: secbeat_net::flow::Endpoint| format!("{}:{}", end.addr, end.port);
    Some((text(key.source), text(key.destination)))
}

fn client(port: u16) -> Option<(String, String)> {
    Some((format!("192.0.2.7:{port}"), "198.51.100.1:443".into()))
}

#[test]
fn only_the_listener_that_says_so_sends_the_header() {
    let mut world = world();
    assert_eq!(named(&ask(&mut world, 4_001, PLAIN, "/")), None);
    assert_eq!(named(&ask(&mut world, 4_002, PROXIED, "/")), client(4_002));
    assert_eq!(named(&ask(&mut world, 4_003, PLAIN, "/")), None);
    assert_eq!(named(&ask(&mut world, 4_004, PROXIED, "/")), client(4_004));
    world.assert_nothing_left();
}

#[test]
fn route_says_otherwise_for_its_backends() {
    let mut world = world();
    assert_eq!(named(&ask(&mut world, 4_001, PROXIED, "/off/1")), None);
    assert_eq!(named(&ask(&mut world, 4_002, PLAIN, "/on/1")), client(4_002));
}

#[test]
fn connections_with_and_without_the_header_are_never_taken_for_each_other() {
    let mut world = world();
    let plain = ask(&mut world, 4_001, PLAIN, "/");
    let proxied = ask(&mut world, 4_001, PROXIED, "/");
    assert_ne!(plain.connection, proxied.connection);
    let (again, other) = (ask(&mut world, 4_009, PLAIN, "/"), ask(&mut world, 4_009, PROXIED, "/"));
    assert_eq!(again.connection, plain.connection, "shared by all clients of the plain listener");
    assert_ne!(other.connection, proxied.connection, "that one speaks for another client");
    // One client connection, requests of both kinds in turn.
    let client = world.connect_from("192.0.2.7:4010", PROXIED, false).expect("a session");
    for (round, path) in ["/1", "/off/2", "/3", "/off/4"].into_iter().enumerate() {
        world.send(client, &get(path));
        world.responses(client, round + 1);
    }
    let seen = &world.origin.seen;
    assert_eq!(
        seen.iter().map(|seen| seen.proxied.is_some()).collect::<Vec<_>>(),
        [true, false, true, false]
    );
    assert_eq!(seen[0].connection, seen[2].connection);
    assert_eq!(seen[1].connection, seen[3].connection);
    assert_eq!(world.origin.connections, 4);
}
