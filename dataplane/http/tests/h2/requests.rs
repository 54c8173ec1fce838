//! What becomes of a header list, and what no header list may smuggle past us.

use secbeat_http::h2::{Event, Limits, Violation};
use secbeat_http::head::{Method, Scheme, Version};

use crate::client::*;

#[test]
fn a_request_arrives_with_its_fields_in_order_and_host_first() {
    let mut client = Client::new();
    let fields = [
        (":method", "GET"),
        (":path", "/a/b?c=d"),
        (":scheme", "https"),
        (":authority", "Example.com:8443"),
        ("accept", "*/*"),
        ("x-one", "1"),
        ("accept", "text/html"),
    ];
    client.headers(1, &fields, true);
    assert_eq!(client.events(), [Event::Request { stream: id(1), end: true }]);
    let head = client.server.request(id(1)).unwrap();
    assert_eq!((head.method(), head.scheme(), head.version()), (Method::Get, Scheme::Https, Version::Http2));
    assert_eq!((head.path(), head.query()), (&b"/a/b"[..], Some(&b"c=d"[..])));
    assert_eq!((head.authority(), head.host()), (&b"Example.com:8443"[..], &b"Example.com"[..]));
    let names: Vec<_> = head.fields().iter().map(|field| field.name).collect();
    assert_eq!(names, [&b"host"[..], b"accept", b"x-one", b"accept"]);
}

#[test]
fn cookies_in_pieces_become_one_field() {
    let mut client = Client::new();
    client.headers(
        1,
        &[GET, &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]].concat(),
        true,
    );
    client.events();
    let fields = client.server.request(id(1)).unwrap().fields();
    assert_eq!(fields.value(b"cookie"), Some(&b"a=1; b=2; c=3"[..]));
    assert_eq!(fields.len(), 3);
}

#[test]
fn host_stands_in_for_a_missing_authority() {
    let mut client = Client::new();
    client.headers(1, &[&GET[..3], &[("host", "example.com")]].concat(), true);
    client.events();
    assert_eq!(client.server.request(id(1)).unwrap().authority(), b"example.com");
}

#[test]
fn host_may_repeat_the_authority_and_passes_once() {
    let mut client = Client::new();
    client.headers(1, &[GET, &[("host", "EXAMPLE.com")]].concat(), true);
    client.events();
    let fields = client.server.request(id(1)).unwrap().fields();
    assert_eq!(fields.len(), 1);
    assert_eq!(fields.value(b"host"), Some(&b"example.com"[..]));
}

#[test]
fn options_may_ask_about_the_server_as_a_whole() {
    let mut client = Client::new();
    let fields =
        [(":method", "OPTIONS"), (":scheme", "https"), (":path", "*"), (":authority", "example.com")];
    client.headers(1, &fields, true);
    client.events();
    assert_eq!(client.server.request(id(1)).unwrap().target(), b"*");
}

/// One field of a good request in place of another, or added.
fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut fields = GET.to_vec();
    match fields.iter_mut().find(|field| field.0 == name) {
        Some(field) => field.1 = value,
        None => fields.push((name, value)),
    }
    fields
}

#[test]
fn requests_that_are_malformed_are_refused_by_name() {
    use Violation::{Authority, ConnectionField, ContentLength, FieldBytes, PseudoHeader};
    let twice = |name, value| [GET.to_vec(), vec![(name, value)]].concat();
    let without = |name| GET.iter().copied().filter(|field| field.0 != name).collect::<Vec<_>>();
    let cases: Vec<(Vec<(&str, &str)>, Violation)> = vec![
        // Pseudo-header fields (RFC 9113 §8.3).
        (without(":method"), PseudoHeader),
        (without(":scheme"), PseudoHeader),
        (without(":path"), PseudoHeader),
        (without(":authority"), Authority),
        (twice(":method", "GET"), PseudoHeader),
        (twice(":path", "/"), PseudoHeader),
        (twice(":scheme", "https"), PseudoHeader),
        (twice(":authority", "example.com"), PseudoHeader),
        (with(":status", "200"), PseudoHeader),
        (with(":protocol", "websocket"), PseudoHeader),
        (with(":unknown", ""), PseudoHeader),
        (with(":", ""), PseudoHeader),
        ([&[("accept", "*/*")], GET].concat(), PseudoHeader),
        ([&GET[..3], &[("accept", "*/*")], &GET[3..]].concat(), PseudoHeader),
        (with(":path", ""), PseudoHeader),
        (with(":path", "index.html"), PseudoHeader),
        (with(":path", "*"), PseudoHeader),
        (with(":path", "https://other/"), PseudoHeader),
        (with(":scheme", ""), PseudoHeader),
        (with(":scheme", "ftp"), PseudoHeader),
        (with(":method", ""), PseudoHeader),
        // What would end a line or a word of HTTP/1.1.
        (with(":path", "/ HTTP/1.1\r\nhost: other\r\n\r\n"), PseudoHeader),
        (with(":path", "/a b"), PseudoHeader),
        (with(":path", "/a\tb"), PseudoHeader),
        (with(":path", "/a#b"), PseudoHeader),
        (with(":path", "/\u{e9}"), PseudoHeader),
        (with(":method", "GET / HTTP/1.1\r\nx:"), PseudoHeader),
        (with(":method", "GE T"), PseudoHeader),
        (with(":scheme", "https://other/?"), PseudoHeader),
        (with("x", "a\r\nhost: other"), FieldBytes),
        (with("x", "a\nb"), FieldBytes),
        (with("x", "a\rb"), FieldBytes),
        (with("x", "a\0b"), FieldBytes),
        (with("x", "a\x7fb"), FieldBytes),
        (with("x", " a"), FieldBytes),
        (with("x", "a\t"), FieldBytes),
        (with("x y", "a"), FieldBytes),
        (with("x:y", "a"), FieldBytes),
        (with("x\r\ny", "a"), FieldBytes),
        (with("x\0", "a"), FieldBytes),
        (with("", "a"), FieldBytes),
        (with("X-Upper", "a"), FieldBytes),
        (with("x\u{e9}", "a"), FieldBytes),
        (with("content_length", "5"), FieldBytes),
        (with("transfer_encoding", "chunked"), FieldBytes),
        // Fields that frame HTTP/1.1 (RFC 9113 §8.2.2).
        (with("transfer-encoding", "chunked"), ConnectionField),
        (with("transfer-encoding", "identity"), ConnectionField),
        (with("connection", "close"), ConnectionField),
        (with("connection", "content-length"), ConnectionField),
        (with("keep-alive", "timeout=5"), ConnectionField),
        (with("proxy-connection", "keep-alive"), ConnectionField),
        (with("upgrade", "websocket"), ConnectionField),
        (with("http2-settings", "AAMAAABkAAQAAP__"), ConnectionField),
        (with("te", "gzip"), ConnectionField),
        (with("te", "trailers, gzip"), ConnectionField),
        // Whose request it is.
        (with("host", "other"), Authority),
        (with("host", "example.com:443"), Authority),
        (with("host", ""), Authority),
        ([&GET[..3], &[("host", "a"), ("host", "a")]].concat(), Authority),
        (with(":authority", ""), Authority),
        (with(":authority", "user@example.com"), Authority),
        (with(":authority", "example.com/x"), Authority),
        (with(":authority", "a b"), Authority),
        (with(":authority", "a,b"), Authority),
        (with(":authority", "example.com:"), Authority),
        (with(":authority", "example.com:99999"), Authority),
        (with(":authority", "a\r\nx: y"), Authority),
        // How long its body is.
        (with("content-length", "5"), ContentLength),
        (with("content-length", ""), ContentLength),
        (with("content-length", "+0"), ContentLength),
        (with("content-length", "-1"), ContentLength),
        (with("content-length", "0x10"), ContentLength),
        (with("content-length", "0, 0"), ContentLength),
        (with("content-length", "9223372036854775808"), ContentLength),
        (with("content-length", "18446744073709551617"), ContentLength),
        ([GET, &[("content-length", "0"), ("content-length", "0")]].concat(), ContentLength),
    ];
    for (fields, violation) in cases {
        let mut client = Client::new();
        client.headers(1, &fields, true);
        let events = client.events();
        let expected = Event::Violation { stream: Some(id(1)), violation };
        assert_eq!(events, [expected], "{fields:?}");
        assert_eq!(client.resets(), [(1, violation.reason())], "{fields:?}");
        // The connection lives, and its table is where it should be.
        client.get(3);
    }
}

#[test]
fn what_is_well_formed_and_not_served_is_answered_with_its_status() {
    let connect = [(":method", "CONNECT"), (":authority", "example.com:443")];
    let connect_with_path =
        [(":method", "CONNECT"), (":scheme", "https"), (":path", "/"), (":authority", "example.com")];
    let long = format!("/{}", "x".repeat(8 * 1024));
    let mut long_path = GET.to_vec();
    long_path[2].1 = &long;
    let mut trace = GET.to_vec();
    trace[0].1 = "TRACE";
    for (fields, end, violation, status) in [
        (&connect[..], true, Violation::Connect, "501"),
        (&connect_with_path, true, Violation::Connect, "501"),
        (&long_path, true, Violation::TargetBytes, "414"),
        (&with("expect", "200-maybe"), false, Violation::Expectation, "417"),
        (&trace, false, Violation::TraceBody, "400"),
    ] {
        let mut client = Client::new();
        client.headers(1, fields, end);
        assert_eq!(client.events(), [Event::Violation { stream: Some(id(1)), violation }]);
        let frames = client.frames();
        assert_eq!((frames[0].kind, frames[0].flags), (HEADERS, END_HEADERS | END_STREAM));
        let status = if violation == Violation::TraceBody { &b"\x8c"[..] } else { status.as_bytes() };
        assert!(frames[0].payload.windows(status.len()).any(|bytes| bytes == status), "{violation:?}");
        assert_eq!(frames.len(), if end { 1 } else { 2 });
        client.get(3);
    }
}

#[test]
fn a_body_is_held_to_its_content_length() {
    let with_length = [POST, &[("content-length", "5")]].concat();
    // (pieces, whether the stream ends with the last)
    for (pieces, is_good) in [
        (&["hello"][..], true),
        (&["he", "llo"], true),
        (&["hello", ""], true),
        (&["hell"], false),
        (&["hello!"], false),
        (&["hello", "GET /admin HTTP/1.1\r\n\r\n"], false),
        (&[""], false),
    ] {
        let mut client = Client::new();
        client.headers(1, &with_length, false);
        for (index, piece) in pieces.iter().enumerate() {
            client.data(1, piece.as_bytes(), index + 1 == pieces.len());
        }
        if is_good {
            assert!(client.events().contains(&Event::End { stream: id(1) }), "{pieces:?}");
            assert_eq!(client.server.peek_body(id(1)), b"hello");
        } else {
            client.expect_reset(1, Violation::ContentLength);
        }
    }
}

#[test]
fn trailers_end_a_request() {
    let mut client = Client::new();
    client.post(1);
    client.data(1, b"body", false);
    client.headers(1, &[("x-checksum", "1"), ("x-other", "2")], true);
    assert_eq!(client.events(), [Event::Data { stream: id(1) }, Event::End { stream: id(1) }]);
    let trailers = client.server.trailers(id(1)).unwrap();
    assert_eq!(trailers.value(b"x-checksum"), Some(&b"1"[..]));
    assert_eq!(client.server.request(id(1)).unwrap().fields().value(b"x-checksum"), None);
}

#[test]
fn trailers_cannot_frame_or_route() {
    for (fields, violation) in [
        (&[(":path", "/admin")][..], Violation::Trailers),
        (&[("host", "other")], Violation::Authority),
        (&[("content-length", "0")], Violation::ContentLength),
        (&[("transfer-encoding", "chunked")], Violation::ConnectionField),
        (&[("x", "a\r\nb")], Violation::FieldBytes),
        (&[("X", "a")], Violation::FieldBytes),
    ] {
        let mut client = Client::new();
        client.post(1);
        client.headers(1, fields, true);
        client.expect_reset(1, violation);
    }
    // Harmless, but of no meaning there: left out.
    let mut client = Client::new();
    client.post(1);
    client.headers(1, &[("authorization", "x"), ("x", "y")], true);
    assert_eq!(client.events(), [Event::End { stream: id(1) }]);
    assert_eq!(client.server.trailers(id(1)).unwrap().len(), 1);
}

#[test]
fn trailers_above_their_limits_end_the_stream() {
    let long = "x".repeat(5_120);
    for fields in [vec![("x", long.as_str())], vec![("x", "y"); 33]] {
        let mut client = Client::new();
        client.post(1);
        client.headers(1, &fields, true);
        client.expect_reset(1, Violation::HeaderListSize);
    }
    let mut client = Client::new();
    client.post(1);
    client.headers(1, &[("x", "y"); 32], true);
    assert_eq!(client.events(), [Event::End { stream: id(1) }]);
    assert_eq!(client.server.trailers(id(1)).unwrap().len(), 32);
}

#[test]
fn a_second_head_that_does_not_end_the_request_is_refused() {
    let mut client = Client::new();
    client.post(1);
    client.headers(1, &[("x", "y")], false);
    client.expect_reset(1, Violation::Trailers);
}

#[test]
fn a_list_above_its_limit_is_answered_with_431_and_the_next_request_is_served() {
    let long = "x".repeat(12_000);
    let fields = [(":method", "GET"), ("a", &long), ("b", &long), ("c", &long)];
    let mut client = Client::new();
    let block = block(&fields);
    let (first, rest) = block.split_at(16_000);
    let (second, third) = rest.split_at(16_000);
    client.write(&frame(HEADERS, END_STREAM, 1, first));
    client.write(&frame(CONTINUATION, 0, 1, second));
    client.write(&frame(CONTINUATION, END_HEADERS, 1, third));
    // 36 KB of literals cannot be a list within 32 KiB.
    client.expect_end(Violation::HeaderBomb);

    let mut client = Client::with(Limits { header_table_bytes: 4_096, ..Limits::default() }, &[]);
    // 40 KB only after decoding: one entry of 4,000 bytes, named eleven times.
    let mut block = vec![0x82, 0x40, 1, b'x', 0x7f, 0xa1, 0x1e];
    block.extend_from_slice(&[b'y'; 4_000]);
    block.extend_from_slice(&[0xbe; 10]);
    client.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    let violation = Violation::HeaderListSize;
    assert_eq!(client.events(), [Event::Violation { stream: Some(id(1)), violation }]);
    assert!(client.frames()[0].payload.windows(3).any(|bytes| bytes == b"431"));
    client.get(3);
}

#[test]
fn too_many_fields_are_answered_with_431() {
    let mut client = Client::new();
    client.headers(1, &[GET, &[("x", "y"); 125]].concat(), false);
    let violation = Violation::HeaderListSize;
    assert_eq!(client.events(), [Event::Violation { stream: Some(id(1)), violation }]);
    let frames = client.frames();
    assert_eq!(frames.iter().map(|frame| frame.kind).collect::<Vec<_>>(), [HEADERS, RST_STREAM]);
    client.headers(3, &[GET, &[("x", "y"); 124]].concat(), true);
    assert_eq!(client.events(), [Event::Request { stream: id(3), end: true }]);
}

#[test]
fn a_header_bomb_ends_the_connection() {
    let mut client = Client::with(Limits { header_table_bytes: 4_096, ..Limits::default() }, &[]);
    // One entry of 4,000 bytes, named two hundred times: 800 KB from 4.
    let mut block = vec![0x40, 1, b'x', 0x7f, 0xa1, 0x1e];
    block.extend_from_slice(&[b'y'; 4_000]);
    block.extend_from_slice(&[0xbe; 200]);
    client.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    client.expect_end(Violation::HeaderBomb);
}

#[test]
fn every_violation_is_described() {
    let text = include_str!("../../../../docs/http2.md");
    for violation in Violation::ALL {
        assert!(text.contains(&format!("| `{}` |", violation.name())), "{}", violation.name());
    }
}
