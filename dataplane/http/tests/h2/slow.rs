//! Clients that are slow on purpose: each wait has its end.

use secbeat_http::h2::{Event, Limits, Violation};

use crate::client::*;

/// Lets time pass, a second at a time, with something done each second; the second after which the connection ended,
/// or a stream of it.
fn seconds_until_end(client: &mut Client, mut each: impl FnMut(&mut Client)) -> u64 {
    for second in 1..1_000 {
        client.now_ms = second * 1_000 - 100;
        each(client);
        client.now_ms = second * 1_000;
        // Whatever the client did a moment ago.
        let timeout = client.server.poll_timeout().expect("something waits");
        assert!(timeout <= client.now_ms, "looked at every second");
        client.server.handle_timeout(client.now_ms);
        let has_ended = client.server.is_closed() || client.server.stream_count() == 0;
        if has_ended {
            return second;
        }
    }
    panic!("a wait without end");
}

#[test]
fn a_preface_that_never_comes() {
    let mut client = Client::silent(Limits::default());
    assert_eq!(wait_for_close(&mut client, |_| {}), 10);
    client.expect_end(Violation::SlowHead);
}

/// As above, for connections without a stream.
fn wait_for_close(client: &mut Client, mut each: impl FnMut(&mut Client)) -> u64 {
    for second in 1..1_000 {
        each(client);
        client.now_ms = second * 1_000;
        client.server.handle_timeout(client.now_ms);
        if client.server.is_closed() {
            return second;
        }
    }
    panic!("a wait without end");
}

#[test]
fn settings_that_are_never_acknowledged() {
    let mut client = Client::silent(Limits::default());
    client.write(PREFACE);
    client.write(&frame(SETTINGS, 0, 0, &[]));
    assert_eq!(wait_for_close(&mut client, |_| {}), 10);
    client.expect_end(Violation::SettingsTimeout);
}

#[test]
fn a_frame_that_comes_byte_by_byte() {
    let mut client = Client::new();
    let bytes = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET));
    let mut rest = bytes.iter();
    let seconds = wait_for_close(&mut client, |client| client.write(&[*rest.next().unwrap()]));
    assert!((10..=11).contains(&seconds), "{seconds}");
    client.expect_end(Violation::SlowHead);
}

#[test]
fn a_header_block_that_never_ends() {
    let mut client = Client::new();
    client.write(&frame(HEADERS, 0, 1, &block(GET)));
    let mut left = 5;
    let seconds = wait_for_close(&mut client, |client| {
        if left > 0 {
            left -= 1;
            client.write(&frame(CONTINUATION, 0, 1, &[]));
        }
    });
    assert!((10..=11).contains(&seconds), "{seconds}");
    client.expect_end(Violation::SlowHead);
}

#[test]
fn a_body_of_which_a_byte_comes_now_and_then() {
    let mut client = Client::new();
    client.post(1);
    let seconds = seconds_until_end(&mut client, |client| {
        client.data(1, b"x", false);
        client.events();
        client.server.consume_body(id(1), 1);
    });
    assert_eq!(seconds, 30);
    client.expect_reset(1, Violation::SlowBody);
}

#[test]
fn a_body_that_we_do_not_take_is_not_the_clients_fault() {
    let mut client = Client::new();
    client.post(1);
    for _ in 0..4 {
        client.data(1, &[7; 16_384], false);
    }
    for second in 1..200 {
        client.now_ms = second * 1_000;
        client.server.handle_timeout(client.now_ms);
    }
    assert_eq!(client.server.stream_count(), 1);
}

#[test]
fn an_origin_that_takes_its_time_is_not_the_clients_fault() {
    let mut client = Client::new();
    client.get(1);
    for second in 1..200 {
        client.now_ms = second * 1_000;
        client.server.handle_timeout(client.now_ms);
    }
    client.server.respond(id(1), &answer(200, &[]), true).unwrap();
}

#[test]
fn a_window_kept_shut_cve_2019_9517() {
    let mut client = Client::with(Limits::default(), &[(4, 0)]);
    client.get(1);
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    assert_eq!(client.server.send(id(1), b"never", true), 0);
    client.read();
    assert_eq!(seconds_until_end(&mut client, |_| {}), 30);
    client.expect_reset(1, Violation::StalledStream);
}

#[test]
fn a_window_opened_by_a_byte_now_and_then() {
    let mut client = Client::with(Limits::default(), &[(4, 0)]);
    client.get(1);
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    client.server.send(id(1), &[1; 9_000], true);
    let seconds = seconds_until_end(&mut client, |client| {
        client.update(1, 1);
        assert_eq!(client.events(), [Event::Writable { stream: id(1) }]);
        assert_eq!(client.server.send(id(1), &[1; 9_000], true), 1);
        client.read();
    });
    assert_eq!(seconds, 30);
    client.expect_reset(1, Violation::StalledStream);
}

#[test]
fn the_window_of_the_connection_kept_shut() {
    let mut client = Client::with(Limits::default(), &[(4, 1_000_000)]);
    client.get(1);
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    while client.server.send(id(1), &[1; 10_000], false) == 10_000 {
        client.read();
    }
    client.read();
    assert_eq!(client.server.send(id(1), &[1; 10_000], false), 0);
    // The first look still sees what was sent before.
    assert_eq!(seconds_until_end(&mut client, |_| {}), 31);
    client.expect_end(Violation::StalledConnection);
}

#[test]
fn output_that_is_never_read() {
    let mut client = Client::new();
    client.get(1);
    client.reads = false;
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    assert_eq!(seconds_until_end(&mut client, |_| {}), 30);
    assert!(
        client.events().contains(&Event::Violation { stream: None, violation: Violation::StalledConnection })
    );
}

#[test]
fn a_time_without_requests_is_nobodys_wait() {
    let mut client = Client::new();
    client.get(1);
    client.server.respond(id(1), &answer(204, &[]), true).unwrap();
    client.read();
    client.server.handle_timeout(1_000);
    // An hour later a frame comes in two pieces, two seconds apart.
    client.now_ms = 3_600_000;
    let bytes = frame(HEADERS, END_HEADERS | END_STREAM, 3, &block(GET));
    client.write(&bytes[..20]);
    assert_eq!(client.server.poll_timeout(), Some(3_601_000));
    client.server.handle_timeout(3_601_000);
    client.now_ms = 3_602_000;
    client.write(&bytes[20..]);
    assert_eq!(client.events(), [Event::Request { stream: id(3), end: true }]);
    // And an answer waits for its window from now on, not from then.
    client.server.handle_timeout(3_602_000);
    assert!(!client.server.is_closed());
}

#[test]
fn an_idle_connection_waits_for_nothing() {
    let mut client = Client::new();
    client.get(1);
    client.server.respond(id(1), &answer(204, &[]), true).unwrap();
    client.events();
    client.read();
    assert_eq!(client.server.poll_timeout(), None);
    client.server.handle_timeout(3_600_000);
    assert!(!client.server.is_closed());
}
