//! A graceful end in two steps (RFC 9113 §6.8).

use secbeat_http::h2::{Event, Limits, Reason};

use crate::client::*;

fn last_stream(frame: &Frame) -> u32 {
    assert_eq!(frame.kind, GOAWAY);
    u32::from_be_bytes(frame.payload[..4].try_into().unwrap())
}

#[test]
fn requests_on_their_way_are_served_and_the_last_one_is_named() {
    let mut client = Client::new();
    client.get(1);
    client.server.shut_down(0);
    let frames = client.frames();
    assert_eq!(last_stream(&frames[0]), 0x7fff_ffff);
    assert_eq!((frames[1].kind, frames[1].flags), (PING, 0));
    // Sent before the client read that.
    client.get(3);
    client.write(&frame(PING, ACK, 0, &frames[1].payload));
    assert_eq!(last_stream(&client.frames()[0]), 3);
    client.headers(5, GET, true);
    assert_eq!(client.events(), []);
    assert_eq!(client.resets(), [(5, Reason::RefusedStream)]);
    client.server.respond(id(1), &answer(204, &[]), true).unwrap();
    assert_eq!(client.events(), []);
    client.server.respond(id(3), &answer(204, &[]), true).unwrap();
    assert_eq!(client.events(), [Event::Closed { reason: Reason::NoError }]);
    assert!(client.server.is_closed());
}

#[test]
fn a_client_that_does_not_answer_is_not_waited_for() {
    let mut client = Client::new();
    client.get(1);
    client.server.shut_down(0);
    client.frames();
    assert!(client.server.poll_timeout().is_some());
    client.server.handle_timeout(u64::from(Limits::default().drain_notice_ms));
    assert_eq!(last_stream(&client.frames()[0]), 1);
}

#[test]
fn an_idle_connection_ends_once_the_client_knows() {
    let mut client = Client::new();
    client.server.shut_down(0);
    client.server.shut_down(0);
    let frames = client.frames();
    assert_eq!(frames.len(), 2);
    client.write(&frame(PING, ACK, 0, &frames[1].payload));
    assert_eq!(client.events(), [Event::Closed { reason: Reason::NoError }]);
}
