//! Flow control both ways, and whose turn it is.

use secbeat_http::h2::{Event, Limits, Violation};

use crate::client::*;

const WINDOW: u32 = 64 * 1024;

#[test]
fn a_body_nobody_takes_stops_at_the_window_of_its_stream() {
    let mut client = Client::new();
    client.post(1);
    for _ in 0..4 {
        client.data(1, &[7; 16_384], false);
    }
    assert_eq!(client.server.peek_body(id(1)).len(), WINDOW as usize);
    assert_eq!(client.frames(), []);
    client.data(1, b"x", false);
    client.expect_reset(1, Violation::FlowControl);
}

#[test]
fn the_window_opens_as_the_body_is_taken() {
    let mut client = Client::new();
    client.post(1);
    for _ in 0..4 {
        client.data(1, &[7; 16_384], false);
    }
    client.server.consume_body(id(1), 30_000);
    assert_eq!(client.frames(), []);
    client.server.consume_body(id(1), 5_000);
    let frames = client.frames();
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].kind, frames[0].stream), (WINDOW_UPDATE, 1));
    assert_eq!(frames[0].payload, 35_000_u32.to_be_bytes());
    client.data(1, &[7; 16_384], false);
    assert_eq!(client.server.peek_body(id(1)).len(), WINDOW as usize - 35_000 + 16_384);
}

#[test]
fn a_large_upload_passes_through_a_small_window_unchanged() {
    let mut client = Client::new();
    client.post(1);
    let sent: Vec<u8> = (0..1_000_000_u32).map(|index| (index * 7 / 3) as u8).collect();
    let mut received = Vec::new();
    let (mut stream_window, mut connection_window) = (WINDOW as usize, 4 * WINDOW as usize);
    let mut rest = &sent[..];
    while !rest.is_empty() {
        let len = rest.len().min(stream_window).min(connection_window).min(10_000);
        assert!(len > 0, "the window never opens");
        client.data(1, &rest[..len], len == rest.len());
        rest = &rest[len..];
        stream_window -= len;
        connection_window -= len;
        let body = client.server.peek_body(id(1));
        let taken = body.len().min(9_000);
        received.extend_from_slice(&body[..taken]);
        client.server.consume_body(id(1), taken);
        for frame in client.frames() {
            let increment = u32::from_be_bytes(frame.payload[..].try_into().unwrap()) as usize;
            if frame.stream == 0 { connection_window += increment } else { stream_window += increment }
        }
    }
    received.extend_from_slice(client.server.peek_body(id(1)));
    assert_eq!(received, sent);
}

#[test]
fn all_bodies_together_stop_at_the_window_of_the_connection() {
    let mut client = Client::new();
    for stream in [1, 3, 5, 7, 9] {
        client.post(stream);
    }
    for stream in [1, 3, 5, 7] {
        for _ in 0..4 {
            client.data(stream, &[7; 16_384], false);
        }
    }
    client.data(9, b"x", false);
    client.expect_end(Violation::FlowControl);
}

#[test]
fn the_body_of_a_stream_that_is_gone_opens_the_connection_again() {
    let mut client = Client::new();
    for round in 0..20 {
        let stream = round * 2 + 1;
        client.post(stream);
        for _ in 0..4 {
            client.data(stream, &[7; 16_384], false);
        }
        client.events();
        client.server.respond(id(stream), &answer(413, &[]), true).unwrap();
        client.frames();
    }
    assert!(!client.server.is_closed());
}

#[test]
fn an_answer_stops_at_the_windows_of_the_client_and_goes_on() {
    let mut client = Client::with(Limits::default(), &[(4, 10_000)]);
    client.get(1);
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    assert_eq!(client.server.room(id(1)), 10_000);
    assert_eq!(client.server.send(id(1), &[1; 25_000], true), 10_000);
    assert_eq!(client.server.room(id(1)), 0);
    assert_eq!(client.body(1), (vec![1; 10_000], false));
    assert_eq!(client.events(), []);
    client.update(1, 1_000);
    assert_eq!(client.events(), [Event::Writable { stream: id(1) }]);
    assert_eq!(client.server.send(id(1), &[1; 15_000], true), 1_000);
    client.update(1, 100_000);
    assert_eq!(client.events(), [Event::Writable { stream: id(1) }]);
    assert_eq!(client.server.send(id(1), &[1; 14_000], true), 14_000);
    assert_eq!(client.body(1), (vec![1; 15_000], true));
    assert_eq!(client.server.stream_count(), 0);
}

#[test]
fn the_window_of_the_connection_is_shared_and_waited_for() {
    let mut client = Client::with(Limits::default(), &[(4, 1_000_000)]);
    let mut sent = 0;
    client.get(1);
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    loop {
        let taken = client.server.send(id(1), &[1; 10_000], false);
        sent += taken;
        client.read();
        if taken < 10_000 {
            break;
        }
    }
    assert_eq!(sent, 65_535);
    assert_eq!(client.events(), []);
    client.update(0, 500);
    assert_eq!(client.events(), [Event::Writable { stream: id(1) }]);
    assert_eq!(client.server.send(id(1), &[1; 10_000], false), 500);
}

#[test]
fn a_smaller_initial_window_may_leave_less_than_nothing() {
    let mut client = Client::with(Limits::default(), &[(4, 10_000)]);
    client.get(1);
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    assert_eq!(client.server.send(id(1), &[1; 8_000], false), 8_000);
    client.write(&frame(SETTINGS, 0, 0, &settings(&[(4, 3_000)])));
    assert_eq!(client.server.send(id(1), &[1; 100], false), 0);
    client.update(1, 5_000);
    assert_eq!(client.events(), []);
    client.update(1, 60);
    assert_eq!(client.events(), [Event::Writable { stream: id(1) }]);
    assert_eq!(client.server.send(id(1), &[1; 100], false), 60);
}

#[test]
fn what_the_client_does_not_read_stays_at_the_origin() {
    let mut client = Client::with(Limits::default(), &[(4, 1_000_000)]);
    client.update(0, 1_000_000);
    client.get(1);
    client.reads = false;
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    let taken = client.server.send(id(1), &[1; 500_000], true);
    assert!(taken <= Limits::default().output_bytes_max, "{taken}");
    assert_eq!(client.events(), []);
    client.server.consume_output(20_000);
    assert_eq!(client.events(), [Event::Writable { stream: id(1) }]);
}

#[test]
fn streams_share_a_connection_evenly() {
    let mut client = Client::with(Limits::default(), &[(4, 10_000_000)]);
    client.update(0, 100_000_000);
    let streams = [1, 3, 5, 7];
    for stream in streams {
        client.get(stream);
        client.server.respond(id(stream), &answer(200, &[]), false).unwrap();
    }
    client.frames();
    client.reads = false;
    let mut sent = [0; 4];
    for (index, stream) in streams.iter().enumerate() {
        sent[index] += client.server.send(id(*stream), &[1; 1_000_000], false);
    }
    for _ in 0..400 {
        client.server.consume_output(client.server.output().len());
        while let Some(event) = client.server.poll_event() {
            let Event::Writable { stream } = event else { panic!("{event:?}") };
            let index = streams.iter().position(|other| *other == stream.value()).unwrap();
            let taken = client.server.send(stream, &[1; 1_000_000], false);
            sent[index] += taken;
            if taken == 0 {
                break;
            }
        }
    }
    let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
    assert!(*least > 1_000_000, "{sent:?}");
    assert!(most - least <= 64 * 1024, "{sent:?}");
}

#[test]
fn a_small_answer_passes_while_a_large_one_waits_for_its_window() {
    let mut client = Client::new();
    client.update(0, 1_000_000);
    client.get(1);
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    client.server.send(id(1), &[1; 30_000], false);
    client.read();
    client.server.send(id(1), &[1; 30_000], false);
    client.read();
    client.server.send(id(1), &[1; 30_000], false);
    client.read();
    assert_eq!(client.server.room(id(1)), 0);
    client.get(3);
    client.server.respond(id(3), &answer(200, &[]), false).unwrap();
    assert_eq!(client.server.send(id(3), b"small", true), 5);
    assert_eq!(client.body(3), (b"small".to_vec(), true));
}

#[test]
fn an_answer_to_head_has_a_length_and_no_body() {
    let mut client = Client::new();
    let mut head = GET.to_vec();
    head[0].1 = "HEAD";
    client.headers(1, &head, true);
    client.events();
    // The caller may have taken the head away.
    core::mem::take(client.server.request_mut(id(1)).unwrap());
    client.server.respond(id(1), &answer(200, &[("Content-Length", "5")]), false).unwrap();
    assert_eq!(client.server.send(id(1), b"hello", true), 5);
    assert_eq!(client.body(1), (vec![], true));
    assert_eq!(client.server.stream_count(), 0);
}

#[test]
fn an_announcement_precedes_the_final_answer() {
    let mut client = Client::new();
    client.post(1);
    client.server.respond(id(1), &answer(100, &[]), false).unwrap();
    client.server.respond(id(1), &answer(103, &[("link", "</a>")]), true).unwrap();
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    assert!(client.server.respond(id(1), &answer(200, &[]), false).is_err());
    let frames = client.frames();
    assert_eq!(frames.len(), 3);
    assert!(frames.iter().all(|frame| frame.flags == END_HEADERS));
}

#[test]
fn fields_of_an_http1_connection_stay_behind() {
    let mut client = Client::new();
    client.get(1);
    let fields = [
        ("Connection", "close, X-Hop"),
        ("Keep-Alive", "timeout=5"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "h2c"),
        ("X-Hop", "1"),
        ("X-End", "2"),
    ];
    client.server.respond(id(1), &answer(200, &fields), true).unwrap();
    let head = client.frames().remove(0);
    assert_eq!(head.payload, b"\x20\x88\x00\x05x-end\x012");
}

#[test]
fn a_head_longer_than_a_frame_goes_on_in_continuations() {
    let mut client = Client::new();
    client.get(1);
    let long = "v".repeat(30_000);
    client.server.respond(id(1), &answer(200, &[("x", &long)]), true).unwrap();
    let frames = client.frames();
    assert_eq!(frames.iter().map(|frame| frame.kind).collect::<Vec<_>>(), [HEADERS, CONTINUATION]);
    assert_eq!((frames[0].flags, frames[1].flags), (END_STREAM, END_HEADERS));
    assert!(frames.iter().all(|frame| frame.payload.len() <= 16_384));
    let len: usize = frames.iter().map(|frame| frame.payload.len()).sum();
    assert_eq!(len, 2 + 3 + 4 + 30_000);
}

#[test]
fn an_answer_may_end_with_trailers() {
    let mut client = Client::new();
    client.get(1);
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    client.server.send(id(1), b"x", false);
    let mut trailers = secbeat_http::head::Fields::default();
    trailers.append(b"Grpc-Status", b"0").unwrap();
    trailers.append(b"Content-Length", b"9").unwrap();
    client.server.send_trailers(id(1), &trailers).unwrap();
    let frames = client.frames();
    assert_eq!(frames[2].flags, END_HEADERS | END_STREAM);
    assert_eq!(frames[2].payload, b"\x00\x0bgrpc-status\x010");
    assert_eq!(client.server.stream_count(), 0);
}

#[test]
fn an_answer_before_the_end_of_its_request_tells_the_client_to_stop() {
    let mut client = Client::new();
    client.post(1);
    client.data(1, b"part", false);
    client.server.respond(id(1), &answer(413, &[]), true).unwrap();
    let frames = client.frames();
    assert_eq!(frames.iter().map(|frame| frame.kind).collect::<Vec<_>>(), [HEADERS, RST_STREAM]);
    assert_eq!(frames[1].payload, [0; 4]);
    // Nothing more is heard of it.
    client.data(1, b"rest", true);
    assert_eq!(client.events(), []);
}
