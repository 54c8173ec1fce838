//! What is written for a head that was read.
use crate::{
    h1::{
        BodyKind, Parsed, Progress,
        encode::{self, Connection, Hop},
        parse::{self, Asked},
    },
    head::{Fields, Method, Request, Response, Version},
    limits::Limits,
};

const PLAIN: Hop<'_> = Hop { body: BodyKind::None, connection: Connection::KeepAlive, via: None };

fn request_of(bytes: &str) -> (Request, BodyKind) {
    let mut head = Request::new();
    match parse::request(bytes.as_bytes(), &mut Progress::default(), &Limits::default(), &mut head) {
        Ok(Parsed::Head(found)) => (head, found.body),
        other => panic!("{other:?}"),
    }
}

fn response_of(bytes: &str) -> Response {
    let mut head = Response::new();
    let asked = Asked { method: Method::Get, upgrade: None };
    match parse::response(bytes.as_bytes(), asked, &mut Progress::default(), &Limits::default(), &mut head) {
        Ok(Parsed::Head(_)) => head,
        other => panic!("{other:?}"),
    }
}

fn written_request(head: &Request, hop: Hop<'_>) -> String {
    let mut out = Vec::new();
    encode::request(head, hop, &mut out);
    String::from_utf8(out).unwrap()
}

fn written_response(head: &Response, hop: Hop<'_>) -> String {
    let mut out = Vec::new();
    encode::response(head, hop, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_request_is_written_from_its_head_with_host_first() {
    let (head, body) = request_of(
        "POST http://a.example/x?y HTTP/1.1\r\nAccept:*/*\r\nhost: a.example\r\nContent-Length: 007\r\nX-A: \t b \r\n\r\n",
    );
    let expected =
        "POST /x?y HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\nX-A: b\r\nContent-Length: 7\r\n\r\n";
    assert_eq!(written_request(&head, Hop { body, ..PLAIN }), expected);
}

#[test]
fn hop_by_hop_fields_stay_here() {
    let (head, body) = request_of(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine\r\nKeep-Alive: 5\r\nX-Mine: 1\r\nTE: trailers\r\n\
         Trailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nProxy: x\r\n\
         Cookie: c\r\n\r\n",
    );
    assert_eq!(
        written_request(&head, Hop { body, ..PLAIN }),
        "GET / HTTP/1.1\r\nHost: a\r\nCookie: c\r\n\r\n"
    );
}

#[test]
fn a_field_set_after_reading_cannot_be_nominated_away() {
    let (mut head, _) = request_of(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-for\r\nX-Forwarded-For: evil\r\n\r\n",
    );
    head.fields_mut().set(b"X-Forwarded-For", b"192.0.2.1").unwrap();
    let written = written_request(&head, PLAIN);
    assert_eq!(written, "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
}

#[test]
fn framing_and_connection_come_from_the_hop() {
    let (head, _) = request_of("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    let written = |body, connection| {
        written_request(&head, Hop { body, connection, via: None })
            .split_off("PUT / HTTP/1.1\r\nHost: a\r\n".len())
    };
    assert_eq!(written(BodyKind::None, Connection::KeepAlive), "Content-Length: 0\r\n\r\n");
    assert_eq!(
        written(BodyKind::Length(u64::MAX), Connection::KeepAlive),
        "Content-Length: 18446744073709551615\r\n\r\n"
    );
    assert_eq!(
        written(BodyKind::Chunked, Connection::Close),
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    let (get, _) = request_of("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let websocket = Hop { connection: Connection::WebSocket, ..PLAIN };
    assert_eq!(
        written_request(&get, websocket),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
}

#[test]
fn expectation_of_an_old_client_does_not_become_one_of_ours() {
    for value in ["100-continue", "200-ok"] {
        let bytes = format!("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\nExpect: {value}\r\n\r\n");
        let (head, body) = request_of(&bytes);
        let expected = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(written_request(&head, Hop { body, ..PLAIN }), expected);
    }
}

#[test]
fn via_is_added_after_those_before_with_the_version_that_came() {
    let (mut head, _) = request_of("GET / HTTP/1.0\r\nHost: a\r\nVia: 1.1 cdn\r\n\r\n");
    let hop = Hop { via: Some("secbeat"), ..PLAIN };
    let expected = "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 cdn\r\nVia: 1.0 secbeat\r\n\r\n";
    assert_eq!(written_request(&head, hop), expected);
    head.set_version(Version::Http2);
    assert!(written_request(&head, hop).ends_with("Via: 2 secbeat\r\n\r\n"));
}

#[test]
fn a_response_is_written_from_its_head() {
    let head = response_of(
        "HTTP/1.0 200 Fine\r\nContent-Length: 3\r\nConnection: x\r\nX: 1\r\nKeep-Alive: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
    );
    let hop = Hop { body: BodyKind::Length(3), connection: Connection::Close, via: None };
    assert_eq!(
        written_response(&head, hop),
        "HTTP/1.1 200 Fine\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
    );
    let until_close = Hop { body: BodyKind::UntilClose, ..PLAIN };
    assert!(written_response(&head, until_close).ends_with("Set-Cookie: b\r\nConnection: close\r\n\r\n"));
}

#[test]
fn the_length_of_a_body_that_is_not_sent_passes_where_it_may() {
    let passes = |status: &str| {
        let head = response_of(&format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\n"));
        written_response(&head, PLAIN).contains("Content-Length: 3")
    };
    assert!(passes("304 Not Modified") && passes("200 OK"));
    assert!(!passes("204 No Content") && !passes("103 Early Hints"));
}

#[test]
fn a_status_gets_its_usual_phrase() {
    let mut head = Response::new();
    head.set_status(431).unwrap();
    head.fields_mut().append(b"Content-Type", b"text/plain").unwrap();
    let hop = Hop { body: BodyKind::Length(0), ..PLAIN };
    assert_eq!(
        written_response(&head, hop),
        "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n"
    );
    head.clear();
    assert_eq!(head.set_status(600).map_err(|error| error.name()), Err("status"));
}

#[test]
fn chunks_are_written_and_an_empty_one_is_not() {
    let mut out = Vec::new();
    encode::chunk(b"abc", &mut out);
    encode::chunk(b"", &mut out);
    encode::chunk(&[b'x'; 0x1a0], &mut out);
    let mut trailers = Fields::default();
    trailers.append(b"X-Sum", b"1").unwrap();
    trailers.append(b"Content-Length", b"1").unwrap();
    encode::last_chunk(Some(&trailers), &mut out);
    let expected = format!("3\r\nabc\r\n1a0\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n", "x".repeat(0x1a0));
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    let mut head = Vec::new();
    encode::chunk_head(usize::MAX, &mut head);
    assert_eq!(head.len(), encode::CHUNK_HEAD_BYTES_MAX);
}
