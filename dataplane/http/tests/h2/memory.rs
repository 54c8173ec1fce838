//! What stays allocated, and what a request allocates.

use secbeat_http::h2::{Event, Limits};

use crate::client::*;

fn exchange(client: &mut Client, stream: u32, request: &[u8], answer: &secbeat_http::head::Response) {
    let mut bytes = [0; 512];
    bytes[..request.len()].copy_from_slice(request);
    bytes[5..9].copy_from_slice(&stream.to_be_bytes());
    let taken = client.server.receive(&bytes[..request.len()], client.now_ms, &mut client.pool);
    assert_eq!(taken, request.len());
    while let Some(event) = client.server.poll_event() {
        assert_eq!(event, Event::Request { stream: id(stream), end: true });
        client.server.respond(id(stream), answer, false).unwrap();
        assert_eq!(client.server.send(id(stream), &[b'x'; 1_024], true), 1_024);
    }
    client.server.consume_output(client.server.output().len());
    client.server.settle(&mut client.pool);
}

#[test]
fn a_warm_connection_allocates_nothing_per_request() {
    let mut client = Client::new();
    client.update(0, 0x3fff_0000);
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET));
    let head = answer(200, &[("content-type", "text/plain"), ("content-length", "1024")]);
    for round in 0..10 {
        exchange(&mut client, round * 2 + 1, &request, &head);
    }
    let info = allocation_counter::measure(|| {
        for round in 10..1_000 {
            exchange(&mut client, round * 2 + 1, &request, &head);
        }
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn an_idle_connection_keeps_its_state_and_no_heap_but_the_table() {
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET));
    let head = answer(200, &[("content-length", "1024")]);
    let mut servers = Vec::with_capacity(100);
    let info = allocation_counter::measure(|| {
        for _ in 0..100 {
            let mut client = Client::new();
            exchange(&mut client, 1, &request, &head);
            servers.push(client.server);
        }
    });
    // The limits are one copy per worker; each client of this test has its own.
    let heap = info.bytes_current / 100 - size_of::<Limits>() as i64 - 16;
    assert_eq!(heap, 0, "bytes of heap without a dynamic table");
    let inline = size_of::<secbeat_http::h2::Server>();
    assert!(inline <= 1_024, "{inline} bytes inline");
}

#[test]
fn a_full_table_stays_within_its_limit() {
    let mut client = Client::new();
    let info = allocation_counter::measure(|| {
        for round in 0..2_000_u32 {
            // The client says how much of the announced table it uses: all of its 1,024 bytes.
            let mut bytes = if round == 0 { b"\x3f\xe1\x07".to_vec() } else { Vec::new() };
            bytes.extend(block(GET));
            let value = format!("{round:08}");
            bytes.extend([0x40, 3, b'x', b'-', b'y', 8]);
            bytes.extend(value.as_bytes());
            client.write(&frame(HEADERS, END_HEADERS | END_STREAM, round * 2 + 1, &bytes));
            assert_eq!(client.events().len(), 1);
            client.server.respond(id(round * 2 + 1), &answer(204, &[]), true).unwrap();
            client.frames();
            client.server.settle(&mut client.pool);
        }
        client.pool = secbeat_http::h2::Pool::default();
    });
    let table = Limits::default().header_table_bytes as i64;
    assert!(info.bytes_current < 2 * table, "{}", info.bytes_current);
}
