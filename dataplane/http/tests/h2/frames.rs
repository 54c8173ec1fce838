//! Frames where and how RFC 9113 does not allow them, and those it says to ignore.

use secbeat_http::h2::{Event, Limits, Reason, Violation};

use crate::client::*;

#[test]
fn what_does_not_begin_with_the_preface_is_no_http2() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX", b"\x16\x03\x01"] {
        let mut client = Client::silent(Limits::default());
        client.write(bytes);
        client.expect_end(Violation::Preface);
    }
}

#[test]
fn settings_are_the_first_frame() {
    for first in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, ACK, 0, &[]), frame(HEADERS, 5, 1, &block(GET))]
    {
        let mut client = Client::silent(Limits::default());
        client.write(PREFACE);
        client.write(&first);
        client.expect_end(Violation::Preface);
    }
}

#[test]
fn impossible_frames_end_the_connection_by_name() {
    use Violation::{
        Compression, FlowControl, FrameOrder, FrameSize, SettingValue, SettingsFlood, StreamClosed,
        WindowIncrement,
    };
    let many = settings(&[(0xff, 0); 41]);
    let cases = [
        (frame(DATA, 0, 0, b"x"), FrameOrder),
        (frame(DATA, 0, 2, b"x"), FrameOrder),
        (frame(DATA, 0, 99, b"x"), FrameOrder),
        (frame(DATA, PADDED, 1, &[]), FrameSize),
        (frame(DATA, PADDED, 1, &[5, 0, 0, 0, 0]), FrameOrder),
        (frame(HEADERS, END_HEADERS, 0, &block(GET)), FrameOrder),
        (frame(HEADERS, END_HEADERS, 2, &block(GET)), FrameOrder),
        (frame(HEADERS, END_HEADERS | PADDED, 5, &[9, 0x82]), FrameOrder),
        (frame(HEADERS, END_HEADERS | PADDED, 5, &[]), FrameOrder),
        (frame(HEADERS, END_HEADERS | 0x20, 5, &[0, 0, 0]), FrameOrder),
        (frame(HEADERS, END_HEADERS, 5, &[0x80]), Compression),
        (frame(HEADERS, END_HEADERS, 5, &[0x00, 0x05, b'x']), Compression),
        (frame(PRIORITY, 0, 0, &[0; 5]), FrameOrder),
        (frame(PRIORITY, 0, 1, &[0; 4]), FrameSize),
        (frame(RST_STREAM, 0, 0, &[0; 4]), FrameOrder),
        (frame(RST_STREAM, 0, 99, &[0; 4]), FrameOrder),
        (frame(RST_STREAM, 0, 1, &[0; 3]), FrameSize),
        (frame(SETTINGS, 0, 1, &[]), FrameOrder),
        (frame(SETTINGS, 0, 0, &[0; 5]), FrameSize),
        (frame(SETTINGS, ACK, 0, &[0; 6]), FrameSize),
        (frame(SETTINGS, 0, 0, &settings(&[(2, 2)])), SettingValue),
        (frame(SETTINGS, 0, 0, &settings(&[(4, 0x8000_0000)])), FlowControl),
        (frame(SETTINGS, 0, 0, &settings(&[(5, 16_383)])), SettingValue),
        (frame(SETTINGS, 0, 0, &settings(&[(5, 16_777_216)])), SettingValue),
        (frame(SETTINGS, 0, 0, &many), SettingsFlood),
        (frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), FrameOrder),
        (frame(PING, 0, 1, &[0; 8]), FrameOrder),
        (frame(PING, 0, 0, &[0; 7]), FrameSize),
        (frame(GOAWAY, 0, 1, &[0; 8]), FrameOrder),
        (frame(GOAWAY, 0, 0, &[0; 7]), FrameSize),
        (frame(WINDOW_UPDATE, 0, 0, &[0; 4]), WindowIncrement),
        (frame(WINDOW_UPDATE, 0, 0, &[0; 3]), FrameSize),
        (frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()), FlowControl),
        (frame(WINDOW_UPDATE, 0, 99, &[0, 0, 0, 1]), FrameOrder),
        (frame(CONTINUATION, END_HEADERS, 1, &[]), FrameOrder),
        ([frame(HEADERS, 0, 5, &[0x82]), frame(PING, 0, 0, &[0; 8])].concat(), FrameOrder),
        ([frame(HEADERS, 0, 5, &[0x82]), frame(CONTINUATION, 4, 7, &[])].concat(), FrameOrder),
        ([0, 0x40, 1, DATA, 0, 0, 0, 0, 1].to_vec(), FrameSize),
        // Stream 3 was opened and ended: its number is used up.
        (frame(HEADERS, END_HEADERS | END_STREAM, 3, &block(GET)), StreamClosed),
    ];
    for (bytes, violation) in cases {
        let mut client = Client::new();
        client.post(1);
        client.get(3);
        client.server.respond(id(3), &answer(204, &[]), true).unwrap();
        client.frames();
        client.write(&bytes);
        client.expect_end(violation);
        // Nothing is taken for a request any more.
        client.headers(101, GET, true);
        assert_eq!(client.events(), []);
    }
}

#[test]
fn a_window_update_that_only_one_stream_suffers_from_ends_only_that_stream() {
    for (increment, violation) in [(0, Violation::WindowIncrement), (0x7fff_ffff, Violation::FlowControl)] {
        let mut client = Client::new();
        client.get(1);
        client.get(3);
        client.update(1, increment);
        client.expect_reset(1, violation);
        assert!(client.server.request(id(3)).is_some());
    }
}

#[test]
fn unknown_frames_settings_and_priorities_are_ignored() {
    let mut client = Client::new();
    client.write(&frame(0xbb, 0xff, 77, b"anything"));
    client.write(&frame(0x10, 0, 0, b"\0\0\0\x01u=1"));
    client.write(&frame(PRIORITY, 0, 77, &[0, 0, 0, 77, 255]));
    client.write(&frame(SETTINGS, 0, 0, &settings(&[(0xff, 1), (1, 0), (3, 0), (6, 1)])));
    let mut with_priority = vec![0x80, 0, 0, 3, 200];
    with_priority.extend(block(GET));
    client.write(&frame(HEADERS, END_HEADERS | END_STREAM | 0x20, 1, &with_priority));
    assert_eq!(client.events(), [Event::Request { stream: id(1), end: true }]);
}

#[test]
fn pings_and_settings_are_acknowledged() {
    let mut client = Client::new();
    client.write(&frame(PING, 0, 0, b"12345678"));
    client.write(&frame(SETTINGS, 0, 0, &[]));
    let frames = client.frames();
    assert_eq!((frames[0].kind, frames[0].flags, &frames[0].payload[..]), (PING, ACK, &b"12345678"[..]));
    assert_eq!((frames[1].kind, frames[1].flags, frames[1].payload.len()), (SETTINGS, ACK, 0));
}

#[test]
fn padding_is_taken_off_and_counts_for_flow_control() {
    let mut client = Client::new();
    let mut padded = vec![3];
    padded.extend(block(POST));
    padded.extend([0; 3]);
    client.write(&frame(HEADERS, END_HEADERS | PADDED, 1, &padded));
    client.write(&frame(DATA, PADDED | END_STREAM, 1, b"\x04body\0\0\0\0"));
    client.events();
    assert_eq!(client.server.request(id(1)).unwrap().path(), b"/form");
    assert_eq!(client.server.peek_body(id(1)), b"body");
    // All padding, no data.
    client.post(3);
    client.write(&frame(DATA, PADDED | END_STREAM, 3, b"\x04\0\0\0\0"));
    assert_eq!(client.events(), [Event::End { stream: id(3) }]);
    assert_eq!(client.server.peek_body(id(3)), b"");
}

#[test]
fn bytes_may_come_one_at_a_time() {
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &settings(&[(4, 70_000)]))].concat();
    bytes.extend(frame(HEADERS, 0, 1, &block(POST)[..20]));
    bytes.extend(frame(CONTINUATION, END_HEADERS, 1, &block(POST)[20..]));
    bytes.extend(frame(DATA, PADDED, 1, b"\x02some\0\0"));
    bytes.extend(frame(DATA, END_STREAM, 1, b" body"));
    let mut client = Client::silent(Limits::default());
    let mut events = Vec::new();
    for byte in bytes.chunks(1) {
        client.write(byte);
        events.extend(client.events());
    }
    events.dedup();
    let stream = id(1);
    assert_eq!(
        events,
        [Event::Request { stream, end: false }, Event::Data { stream }, Event::End { stream }]
    );
    assert_eq!(client.server.peek_body(stream), b"some body");
}

#[test]
fn a_request_reset_before_it_was_polled_was_never_there() {
    let mut client = Client::new();
    client.headers(1, POST, false);
    client.data(1, b"x", false);
    client.write(&frame(RST_STREAM, 0, 1, &Reason::Cancel.code().to_be_bytes()));
    assert_eq!(client.events(), []);
    assert_eq!(client.server.stream_count(), 0);
}

#[test]
fn a_reset_after_that_is_told_with_its_reason() {
    let mut client = Client::new();
    client.post(1);
    client.write(&frame(RST_STREAM, 0, 1, &Reason::Cancel.code().to_be_bytes()));
    assert_eq!(client.events(), [Event::Reset { stream: id(1), reason: Reason::Cancel }]);
    assert!(client.server.respond(id(1), &answer(200, &[]), true).is_err());
    assert_eq!(client.server.send(id(1), b"x", true), 0);
}

#[test]
fn what_was_on_its_way_when_we_reset_a_stream_is_ignored() {
    let mut client = Client::new();
    client.post(1);
    client.server.reset(id(1), Reason::Cancel);
    assert_eq!(client.resets(), [(1, Reason::Cancel)]);
    client.data(1, b"late", false);
    client.headers(1, &[("late", "trailer")], true);
    assert_eq!(client.events(), []);
    assert_eq!(client.resets(), []);
    client.get(3);
}

#[test]
fn data_on_a_stream_that_the_client_ended_is_refused() {
    let mut client = Client::new();
    client.get(1);
    client.data(1, b"x", true);
    client.expect_reset(1, Violation::StreamClosed);
    // Gone for good, and answered before.
    client.get(3);
    client.server.respond(id(3), &answer(204, &[]), true).unwrap();
    client.frames();
    client.data(3, b"x", true);
    assert_eq!(client.resets(), [(3, Reason::StreamClosed)]);
}

#[test]
fn more_streams_than_allowed_are_refused_and_may_be_tried_again() {
    let mut client = Client::with(Limits { streams_max: 2, ..Limits::default() }, &[]);
    client.get(1);
    client.get(3);
    client.headers(5, GET, true);
    client.expect_reset(5, Violation::ConcurrentStreams);
    client.server.respond(id(1), &answer(204, &[]), true).unwrap();
    client.get(7);
}

#[test]
fn a_client_that_says_goaway_still_gets_its_answers() {
    let mut client = Client::new();
    client.get(1);
    client.write(&frame(GOAWAY, 0, 0, &[0; 8]));
    client.write(&frame(GOAWAY, 0, 0, &[0; 8]));
    assert_eq!(client.events(), [Event::Draining]);
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    assert_eq!(client.server.send(id(1), b"x", true), 1);
    assert_eq!(client.body(1), (b"x".to_vec(), true));
}
