//! WebSocket: the switch, bytes both ways, half-close, idle time.

use core::time::Duration;

use super::harness::{Answer, World, ok, policy};
use crate::telemetry::counters::Counter;

const UPGRADE: &[u8] = b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn opened(answer: Answer) -> (World, u64) {
    let mut world = World::new(move |_| answer.clone());
    let client = world.connect();
    world.send(client, UPGRADE);
    world.until("the switch", |world| world.peer(client).text().contains("\r\n\r\n"));
    (world, client)
}

#[test]
fn bytes_pass_both_ways_after_101_and_both_ends_end() {
    let (mut world, client) = opened(Answer::Echo(SWITCH.to_vec()));
    let head = world.peer(client).text().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 switching protocols\r\n"), "{head}");
    assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
    assert!(head.contains("sec-websocket-accept"), "{head}");
    assert_eq!(world.origin.seen[0].field("upgrade"), Some("websocket"));
    world.send(client, b"ping");
    world.until("the echo", |world| world.peer(client).text().ends_with("ping"));
    world.end(client);
    world.until("the end", |world| world.peer(client).is_closed);
    assert_eq!(world.page.get(Counter::Upgrades), 1);
    world.assert_nothing_left();
}

#[test]
fn bytes_behind_the_handshake_are_the_tunnels() {
    let mut world = World::new(|_| Answer::Echo(SWITCH.to_vec()));
    let client = world.connect();
    world.send(client, &[UPGRADE, b"early"].concat());
    world.until("the echo", |world| world.peer(client).text().ends_with("early"));
}

#[test]
fn origin_that_ends_first_still_hears_the_client() {
    let (mut world, client) = opened(Answer::Close([SWITCH, b"bye"].concat()));
    world.until("the end of one side", |world| world.peer(client).is_finished);
    assert!(world.peer(client).text().ends_with("bye"));
    assert!(!world.peer(client).is_closed, "the other side is open");
    world.end(client);
    world.until("the end", |world| world.peer(client).is_over());
    world.assert_nothing_left();
}

#[test]
fn much_data_through_a_narrow_tunnel_is_exact() {
    let (mut world, client) = opened(Answer::Echo(SWITCH.to_vec()));
    let start = world.peer(client).received.len();
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n % 253) as u8).collect();
    world.peer(client).room = 0;
    world.send(client, &data);
    world.rest();
    assert!(world.counts().buffers <= 2);
    for _ in 0..20_000 {
        let peer = world.peer(client);
        if peer.received.len() == start + data.len() {
            break;
        }
        peer.room = 70_000;
        world.turn(Duration::from_micros(100));
    }
    assert!(world.peer(client).received[start..] == data[..]);
}

#[test]
fn tunnel_without_a_byte_ends_after_its_time() {
    let (mut world, client) = opened(Answer::Echo(SWITCH.to_vec()));
    world.pass(Duration::from_secs(200));
    world.send(client, b"x");
    world.until("the echo", |world| world.peer(client).text().ends_with('x'));
    world.pass(Duration::from_secs(250));
    assert!(!world.peer(client).is_over());
    world.pass(Duration::from_secs(500));
    assert!(world.peer(client).is_over());
    world.assert_nothing_left();
}

#[test]
fn refused_upgrade_is_an_ordinary_response() {
    let mut world = World::new(|_| ok(b"no"));
    let client = world.connect();
    world.send(client, &[UPGRADE, b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    let replies = world.responses(client, 2);
    assert_eq!((replies[0].text().as_str(), replies[1].status), ("no", 200));
}

#[test]
fn upgrade_is_not_passed_on_where_it_is_switched_off() {
    let mut policy = policy();
    policy.upgrade = false;
    let mut world = World::with(policy, |_| ok(b"plain"));
    let client = world.connect();
    world.send(client, UPGRADE);
    assert_eq!(world.response(client).text(), "plain");
    assert_eq!(world.origin.seen[0].field("upgrade"), None);
}
