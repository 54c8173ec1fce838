//! Attacks that are nothing but frames, each with its published number, and how much of each an honest client may send.

use secbeat_http::h2::{Event, Limits, Reason, Violation};

use crate::client::*;

/// Sends frames until the connection ends; how many it took.
fn until_closed(client: &mut Client, mut next: impl FnMut(u32) -> Vec<u8>) -> u32 {
    for round in 0..100_000 {
        client.write(&next(round));
        if client.server.is_closed() {
            return round;
        }
        while client.server.poll_event().is_some() {}
    }
    panic!("nothing ends this flood");
}

#[test]
fn rapid_reset_ends_the_connection_cve_2023_44487() {
    let mut client = Client::new();
    let cancel = Reason::Cancel.code().to_be_bytes();
    let rounds = until_closed(&mut client, |round| {
        let stream = round * 2 + 1;
        [frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(GET)), frame(RST_STREAM, 0, stream, &cancel)]
            .concat()
    });
    assert_eq!(rounds, Limits::default().reset.burst);
    client.expect_end(Violation::RapidReset);
}

#[test]
fn a_browser_that_leaves_a_page_may_cancel_all_its_streams_twice() {
    let mut client = Client::new();
    let cancel = Reason::Cancel.code().to_be_bytes();
    for page in 0..10 {
        for index in 0..100 {
            client.headers(page * 200 + index * 2 + 1, GET, true);
        }
        client.events();
        for index in 0..100 {
            client.write(&frame(RST_STREAM, 0, page * 200 + index * 2 + 1, &cancel));
        }
        client.events();
        client.now_ms += 5_000;
    }
    assert!(!client.server.is_closed());
}

#[test]
fn making_us_reset_counts_as_much_cve_2025_8671() {
    let mut client = Client::new();
    let rounds = until_closed(&mut client, |round| {
        let stream = round * 2 + 1;
        [frame(HEADERS, END_HEADERS, stream, &block(POST)), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    });
    assert_eq!(rounds, Limits::default().reset.burst);
    client.expect_end(Violation::RapidReset);
}

#[test]
fn malformed_requests_count_as_resets() {
    let mut client = Client::new();
    let bad = block(&[(":method", "GET")]);
    until_closed(&mut client, |round| frame(HEADERS, END_HEADERS | END_STREAM, round * 2 + 1, &bad));
    client.expect_end(Violation::RapidReset);
}

#[test]
fn a_header_block_in_endless_pieces_ends_the_connection_cve_2024_27316() {
    for piece in [&[][..], &[0x82], &[0; 4_000]] {
        let mut client = Client::new();
        client.write(&frame(HEADERS, 0, 1, &block(GET)));
        let rounds = until_closed(&mut client, |_| frame(CONTINUATION, 0, 1, piece));
        assert!(rounds <= Limits::default().continuations_max);
        let events = client.events();
        let floods = [Violation::ContinuationFlood, Violation::HeaderBomb];
        assert!(
            floods.iter().any(|&violation| events.contains(&Event::Violation { stream: None, violation }))
        );
    }
}

#[test]
fn pings_end_the_connection_cve_2019_9512() {
    let mut client = Client::new();
    let rounds = until_closed(&mut client, |_| frame(PING, 0, 0, &[0; 8]));
    assert_eq!(rounds, Limits::default().ping.burst);
    client.expect_end(Violation::PingFlood);
}

#[test]
fn a_ping_per_second_is_fine_for_ever() {
    let mut client = Client::new();
    for _ in 0..10_000 {
        client.now_ms += 1_000;
        client.write(&frame(PING, 0, 0, &[0; 8]));
    }
    assert!(!client.server.is_closed());
}

#[test]
fn settings_end_the_connection_cve_2019_9515() {
    let mut client = Client::new();
    until_closed(&mut client, |_| frame(SETTINGS, 0, 0, &settings(&[(4, 65_535)])));
    client.expect_end(Violation::SettingsFlood);
}

#[test]
fn empty_data_ends_the_connection_cve_2019_9518() {
    for payload in [&[][..], b"x"] {
        let mut client = Client::new();
        client.post(1);
        until_closed(&mut client, |_| frame(DATA, 0, 1, payload));
        client.expect_end(Violation::EmptyDataFlood);
    }
    let mut client = Client::new();
    client.post(1);
    until_closed(&mut client, |_| frame(DATA, PADDED, 1, &[3, 0, 0, 0]));
    client.expect_end(Violation::EmptyDataFlood);
}

#[test]
fn window_updates_end_the_connection_cve_2019_9511() {
    for stream in [0, 1] {
        let mut client = Client::new();
        client.get(1);
        until_closed(&mut client, |_| frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]));
        client.expect_end(Violation::WindowUpdateFlood);
    }
}

#[test]
fn a_download_may_be_updated_twice_for_each_frame() {
    let mut client = Client::new();
    client.get(1);
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    for _ in 0..20_000 {
        assert_eq!(client.server.send(id(1), &[0; 2_000], false), 2_000);
        client.update(0, 2_000);
        client.update(1, 2_000);
        client.frames();
    }
    assert!(!client.server.is_closed());
}

#[test]
fn a_window_of_one_byte_at_a_time_earns_no_updates_cve_2019_9511() {
    let mut client = Client::with(Limits::default(), &[(4, 0)]);
    client.get(1);
    client.server.respond(id(1), &answer(200, &[]), false).unwrap();
    for _ in 0..100_000 {
        client.server.send(id(1), &[0; 2_000], false);
        client.write(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
        client.frames();
        if client.server.is_closed() {
            return client_was_told(&mut client);
        }
        while client.server.poll_event().is_some() {}
    }
    panic!("a byte per frame for ever");
}

fn client_was_told(client: &mut Client) {
    let violation = Violation::WindowUpdateFlood;
    assert!(client.events().contains(&Event::Violation { stream: None, violation }));
}

#[test]
fn priorities_end_the_connection_cve_2019_9513() {
    for next in [frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9]), frame(0x10, 0, 0, b"\0\0\0\x01u=1")] {
        let mut client = Client::new();
        until_closed(&mut client, |_| next.clone());
        client.expect_end(Violation::PriorityFlood);
    }
}

#[test]
fn frames_that_mean_nothing_end_the_connection() {
    for next in [
        frame(0xee, 0, 0, &[]),
        frame(PING, ACK, 0, &[0; 8]),
        frame(GOAWAY, 0, 0, &[0; 8]),
        frame(0x0c, 0, 1, &[0; 100]),
    ] {
        let mut client = Client::new();
        until_closed(&mut client, |_| next.clone());
        client.expect_end(Violation::StrayFrameFlood);
    }
}

#[test]
fn data_on_a_stream_that_we_reset_is_not_ignored_for_ever() {
    let mut client = Client::new();
    client.post(1);
    client.server.reset(id(1), Reason::Cancel);
    until_closed(&mut client, |_| frame(DATA, 0, 1, &[0; 100]));
    client.expect_end(Violation::StrayFrameFlood);
}

#[test]
fn streams_that_are_refused_count_as_resets() {
    let mut client = Client::new();
    for index in 0..100 {
        client.get(index * 2 + 1);
    }
    until_closed(&mut client, |round| frame(HEADERS, END_HEADERS | END_STREAM, 201 + round * 2, &block(GET)));
    client.expect_end(Violation::RapidReset);
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    // Rates aside: what an unread answer to each frame may hold is bounded all the same.
    let rate = secbeat_http::h2::Rate::new(u32::MAX, 0);
    let mut client = Client::with(Limits { ping: rate, ..Limits::default() }, &[]);
    client.reads = false;
    let ping = frame(PING, 0, 0, &[0; 8]);
    let mut taken = 0;
    for _ in 0..100_000 {
        taken += client.offer(&ping);
    }
    let unread = client.server.output().len();
    assert!(unread < Limits::default().output_bytes_max + 64, "{unread}");
    assert!(taken < 2 * Limits::default().output_bytes_max);
}

#[test]
fn events_that_are_not_polled_stop_the_input() {
    let mut client = Client::with(Limits { streams_max: 10_000, ..Limits::default() }, &[]);
    let mut taken = 0;
    for index in 0..1_000 {
        let bytes = frame(HEADERS, END_HEADERS | END_STREAM, index * 2 + 1, &block(GET));
        taken += usize::from(client.offer(&bytes) == bytes.len());
    }
    assert!(taken <= 256, "{taken}");
    assert_eq!(client.events().len(), taken);
}
