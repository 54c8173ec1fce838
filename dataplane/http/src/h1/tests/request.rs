//! Heads of requests.
use crate::{
    error::Error,
    h1::{BodyKind, Head, Parsed, Progress, Upgrade, parse},
    head::{Form, Known, Method, Request, Scheme, Version},
    limits::Limits,
};

fn read(bytes: &str) -> Result<(Request, Head), Error> {
    read_within(bytes, &Limits::default())
}

fn read_within(bytes: &str, limits: &Limits) -> Result<(Request, Head), Error> {
    let mut head = Request::new();
    match parse::request(bytes.as_bytes(), &mut Progress::default(), limits, &mut head)? {
        Parsed::Head(found) => Ok((head, found)),
        Parsed::Incomplete => panic!("incomplete: {bytes:?}"),
    }
}

fn refusal(bytes: &str) -> Error {
    read(bytes).expect_err(bytes)
}

/// A request that is fine but for these lines.
fn with_fields(fields: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")
}

#[test]
fn an_ordinary_request_is_read() {
    let bytes =
        "GET /a/b?c=d&e HTTP/1.1\r\nHost: a.example:8080\r\nUser-Agent:  curl \t\r\nX-Empty:\r\n\r\nrest";
    let (head, found) = read(bytes).unwrap();
    assert_eq!(head.method(), Method::Get);
    assert_eq!(head.target(), b"/a/b?c=d&e");
    assert_eq!(head.path(), b"/a/b");
    assert_eq!(head.query(), Some(&b"c=d&e"[..]));
    assert_eq!(head.authority(), b"a.example:8080");
    assert_eq!(head.host(), b"a.example");
    assert_eq!(head.version(), Version::Http11);
    assert_eq!(head.fields().known(Known::UserAgent), Some(&b"curl"[..]));
    assert_eq!(head.fields().value(b"x-empty"), Some(&b""[..]));
    assert_eq!(found.len, bytes.len() - 4);
    assert_eq!(found.body, BodyKind::None);
    assert!(found.keep_alive && !found.expect_continue && !found.has_unusual_body);
}

#[test]
fn bodies_are_delimited_by_length_or_chunks() {
    let body = |fields: &str| read(&with_fields(fields)).unwrap().1.body;
    assert_eq!(body(""), BodyKind::None);
    assert_eq!(body("Content-Length: 0\r\n"), BodyKind::Length(0));
    assert_eq!(body("Content-Length: 0012\r\n"), BodyKind::Length(12));
    assert_eq!(body("Transfer-Encoding: chunked\r\n"), BodyKind::Chunked);
    assert_eq!(body("Transfer-Encoding: CHUNKED\r\n"), BodyKind::Chunked);
}

#[test]
fn ambiguous_framing_is_refused() {
    let error = |fields: &str| refusal(&with_fields(fields));
    assert_eq!(error("Content-Length: 1\r\nContent-Length: 1\r\n"), Error::ContentLengthRepeated);
    assert_eq!(error("Content-Length: 1, 1\r\n"), Error::ContentLength);
    for bad in
        ["", "-1", "+1", "1 1", "0x1", "1e1", "9223372036854775808", "99999999999999999999999", "\u{661}"]
    {
        assert_eq!(error(&format!("Content-Length: {bad}\r\n")), Error::ContentLength, "{bad}");
    }
    let both = "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(error(both), Error::ContentLengthWithTransferEncoding);
    for bad in
        ["gzip, chunked", "identity", "chunked, identity", "chunked;q=1", "xchunked", "", "\"chunked\""]
    {
        assert_eq!(error(&format!("Transfer-Encoding: {bad}\r\n")), Error::TransferEncoding, "{bad}");
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(error(twice), Error::TransferEncodingRepeated);
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(refusal(old), Error::TransferEncodingInHttp10);
}

#[test]
fn line_ends_are_crlf_and_nothing_else() {
    assert_eq!(refusal("GET / HTTP/1.1\nHost: a\n\n"), Error::BareLineEnd);
    assert_eq!(refusal("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"), Error::BareLineEnd);
    assert_eq!(refusal("GET / HTTP/1.1\r\nHost: a\r\n\n"), Error::BareLineEnd);
    assert_eq!(refusal(&with_fields("X: a\rb\r\n")), Error::FieldValue);
    assert_eq!(refusal(&with_fields("X: a\r\r\n")), Error::FieldValue);
    assert_eq!(refusal(&with_fields("X: a\r\n b\r\n")), Error::FieldFolded);
    assert_eq!(refusal(&with_fields("\tX: a\r\n")), Error::FieldFolded);
}

#[test]
fn names_and_values_hold_what_they_may() {
    for name in ["X ", "X\t", "", "X(", "X\u{e9}", "X\0", "X;", "X{", "\"X\"", "X/"] {
        assert_eq!(refusal(&with_fields(&format!("{name}: a\r\n"))), Error::FieldName, "{name:?}");
    }
    assert_eq!(refusal(&with_fields("no colon\r\n")), Error::FieldName);
    for value in ["a\0b", "\u{1}", "a\u{b}", "a\u{7f}b", "\u{1b}[0m"] {
        assert_eq!(refusal(&with_fields(&format!("X: {value}\r\n"))), Error::FieldValue, "{value:?}");
    }
    for alias in ["Content_Length", "transfer_encoding", "X_Forwarded_For", "x_forwarded-for"] {
        assert_eq!(refusal(&with_fields(&format!("{alias}: 1\r\n"))), Error::FieldName, "{alias}");
    }
    assert!(read(&with_fields("X_Custom: \u{e9}\tb\r\n")).is_ok());
}

#[test]
fn host_is_there_once_and_good() {
    let error = |host: &str| refusal(&format!("GET / HTTP/1.1\r\n{host}\r\n"));
    assert_eq!(error(""), Error::HostMissing);
    assert_eq!(error("Host: a\r\nHost: a\r\n"), Error::HostRepeated);
    for bad in [
        "", "a b", "a,b", "a/b", "u@a", "a:b", "a:", "a:0", "a:65536", "a:80:80", "[::1", "[::1]x", "[a]",
        "a\\b", "a%20b", "é",
    ] {
        assert_eq!(error(&format!("Host: {bad}\r\n")), Error::HostInvalid, "{bad:?}");
    }
    for good in ["a", "A.example", "a-b_c.example.", "192.0.2.1:1", "[2001:db8::1]", "[::1]:65535"] {
        let (head, _) = read(&format!("GET / HTTP/1.1\r\nHost: {good}\r\n\r\n")).unwrap();
        assert_eq!(head.authority(), good.as_bytes());
    }
    let (head, _) = read("GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(head.authority(), b"");
}

#[test]
fn start_lines_are_refused_for_what_is_wrong_in_them() {
    let error = |line: &str| refusal(&format!("{line}\r\nHost: a\r\n\r\n"));
    for line in [
        "GET /",
        "GET",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / a HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/11",
        "GET / HTTP/1.10",
    ] {
        assert_eq!(error(line), Error::StartLine, "{line:?}");
    }
    for line in ["GET / HTTP/1.2", "GET / HTTP/2.0", "GET / HTTP/0.9", "PRI * HTTP/2.0"] {
        assert_eq!(error(line), Error::Version, "{line:?}");
    }
    for line in ["G(T / HTTP/1.1", "\u{16}\u{3}\u{1} / HTTP/1.1", " GET / HTTP/1.1", "G\u{e9}T / HTTP/1.1"] {
        assert_eq!(error(line), Error::Method, "{line:?}");
    }
    for target in [
        "a",
        "*",
        "a:80",
        "/a#b",
        "/\u{e9}",
        "/\u{1}",
        "//u@h:0x/".trim_start_matches('/'),
        "ftp://a/",
        "http:/a",
        "http://",
    ] {
        let found = error(&format!("GET {target} HTTP/1.1"));
        assert!(matches!(found, Error::Target | Error::HostInvalid), "{target:?} {found:?}");
    }
    assert_eq!(error("CONNECT a:443 HTTP/1.1"), Error::Connect);
}

#[test]
fn absolute_form_becomes_origin_form_and_agrees_with_host() {
    let (head, _) = read("GET HTTPS://A.example/p?q HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
    assert_eq!((head.target(), head.form()), (&b"/p?q"[..], Form::Absolute));
    assert_eq!(head.scheme(), Scheme::Https);
    assert_eq!(head.authority(), b"a.example");
    let (head, _) = read("GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((head.target(), head.path(), head.query()), (&b"/?q"[..], &b"/"[..], Some(&b"q"[..])));
    let (head, _) = read("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(head.target(), b"*");
    let (head, _) = read("GET http://a:81 HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((head.target(), head.authority()), (&b"/"[..], &b"a:81"[..]));
    let mismatch = "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(refusal(mismatch), Error::HostMismatch);
    assert_eq!(refusal("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"), Error::HostInvalid);
}

#[test]
fn asterisk_form_belongs_to_options() {
    let (head, _) = read("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((head.target(), head.path(), head.form()), (&b"*"[..], &b"*"[..], Form::Asterisk));
}

#[test]
fn keep_alive_follows_version_and_connection() {
    let keeps = |head: &str| read(&format!("GET / HTTP/{head}\r\nHost: a\r\n\r\n")).unwrap().1.keep_alive;
    assert!(keeps("1.1"));
    assert!(!keeps("1.1\r\nConnection: x, CLOSE"));
    assert!(!keeps("1.1\r\nConnection: keep-alive\r\nConnection: close"));
    assert!(!keeps("1.0"));
    assert!(keeps("1.0\r\nConnection: Keep-Alive"));
    assert!(!keeps("1.0\r\nConnection: Keep-Alive, close"));
}

#[test]
fn what_connection_nominates_is_taken_out_before_anyone_sees_it() {
    let (head, _) =
        read(&with_fields("Connection: close, x-a ,X-B\r\nX-A: 1\r\nx-b: 2\r\nX-C: 3\r\n")).unwrap();
    assert_eq!(head.fields().value(b"x-a"), None);
    assert_eq!(head.fields().value(b"x-b"), None);
    assert_eq!(head.fields().value(b"x-c"), Some(&b"3"[..]));
    for option in ["Content-Length", "host", "Transfer-Encoding", "a b"] {
        let bytes = with_fields(&format!("Connection: {option}\r\n"));
        assert_eq!(refusal(&bytes), Error::ConnectionOption, "{option}");
    }
}

#[test]
fn expect_is_understood_or_refused() {
    let body = "Content-Length: 3\r\n";
    assert!(read(&with_fields(&format!("{body}Expect: 100-Continue\r\n"))).unwrap().1.expect_continue);
    assert!(!read(&with_fields("Expect: 100-continue\r\n")).unwrap().1.expect_continue);
    assert_eq!(refusal(&with_fields("Expect: 200-ok\r\n")), Error::Expectation);
    let old = "POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    assert!(!read(old).unwrap().1.expect_continue);
}

#[test]
fn only_a_well_formed_websocket_handshake_is_an_upgrade() {
    let good = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrade =
        |fields: &str| read(&format!("GET /chat HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).unwrap().1.upgrade;
    assert_eq!(upgrade(good), Some(Upgrade::WebSocket));
    assert_eq!(upgrade(""), None);
    for (from, to) in [
        ("13", "777"),
        ("websocket", "h2c"),
        ("websocket", "websocket, h2c"),
        ("==", "="),
        (", Upgrade", ""),
        ("dGh", "d h"),
    ] {
        assert_eq!(upgrade(&good.replace(from, to)), Some(Upgrade::Other), "{to}");
    }
    assert_eq!(upgrade(&format!("{good}Content-Length: 1\r\n")), Some(Upgrade::Other));
    assert_eq!(read(&with_fields(good)).unwrap().1.upgrade, Some(Upgrade::Other));
}

#[test]
fn a_body_that_its_method_gives_no_meaning_to_is_marked() {
    let marked = |method: &str, length: u8| {
        let bytes = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        read(&bytes).unwrap().1.has_unusual_body
    };
    assert!(marked("GET", 1) && marked("DELETE", 1) && marked("HEAD", 1) && marked("PURGE", 1));
    assert!(!marked("GET", 0) && !marked("POST", 1) && !marked("PUT", 1) && !marked("PATCH", 1));
    assert_eq!(refusal("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"), Error::TraceBody);
}

#[test]
fn empty_lines_before_a_request_are_skipped_up_to_their_limit() {
    let (_, found) = read("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(found.len, 4 + 27);
    assert_eq!(refusal("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Error::StartLine);
    assert_eq!(refusal("\n"), Error::BareLineEnd);
}

#[test]
fn each_size_is_accepted_at_its_limit_and_refused_above() {
    let limits = Limits {
        start_line_bytes_max: 20,
        field_bytes_max: 12,
        fields_max: 2,
        head_bytes_max: 44,
        ..Limits::default()
    };
    let line = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(read_within(&line("/123456"), &limits).is_ok());
    assert_eq!(read_within(&line("/1234567"), &limits).err(), Some(Error::StartLineBytes));
    let field = |value: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {value}\r\n\r\n");
    assert!(read_within(&field("123456789"), &limits).is_ok());
    assert_eq!(read_within(&field("1234567890"), &limits).err(), Some(Error::FieldBytes));
    let third = "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nY: 1\r\n\r\n";
    assert_eq!(read_within(third, &limits).err(), Some(Error::FieldsCount));
    let whole = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nX: 12345678\r\n\r\n");
    assert_eq!(whole("/1234").len(), 44);
    assert!(read_within(&whole("/1234"), &limits).is_ok());
    assert_eq!(read_within(&whole("/12345"), &limits).err(), Some(Error::HeadBytes));
}

#[test]
fn sizes_are_refused_while_bytes_arrive() {
    let refusal_of = |bytes: Vec<u8>| {
        let mut progress = Progress::default();
        parse::request(&bytes, &mut progress, &Limits::default(), &mut Request::new()).err()
    };
    assert_eq!(refusal_of(vec![b'a'; 8_194]), Some(Error::StartLineBytes));
    let mut field = b"GET / HTTP/1.1\r\nX: ".to_vec();
    field.resize(17_000, b'a');
    assert_eq!(refusal_of(field), Some(Error::FieldBytes));
    assert_eq!(refusal_of(vec![0x16, 3, 1]), Some(Error::Method), "TLS on a plain port");
}

#[test]
fn a_head_in_any_pieces_is_the_same_head() {
    let bytes = with_fields("Content-Length: 3\r\nX: y\r\n");
    let mut progress = Progress::default();
    let mut head = Request::new();
    for end in 0..bytes.len() {
        let found = parse::request(&bytes.as_bytes()[..end], &mut progress, &Limits::default(), &mut head);
        assert_eq!(found, Ok(Parsed::Incomplete), "{end}");
    }
    let found = parse::request(bytes.as_bytes(), &mut progress, &Limits::default(), &mut head);
    assert_eq!(found, Ok(Parsed::Head(read(&bytes).unwrap().1)));
    assert_eq!(progress, Progress::default(), "ready for the next head");
}

#[test]
fn a_head_that_arrives_byte_by_byte_is_scanned_once() {
    let limits = Limits { head_bytes_max: 4_000_000, field_bytes_max: 4_000_000, ..Limits::default() };
    let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    bytes.resize(2_000_000, b'a');
    let mut progress = Progress::default();
    let mut head = Request::new();
    // Quadratic work would be 2 * 10^12 bytes: hours.
    for end in 1..=bytes.len() {
        let found = parse::request(&bytes[..end], &mut progress, &limits, &mut head);
        assert_eq!(found, Ok(Parsed::Incomplete));
    }
}

#[test]
fn a_head_can_be_changed_but_not_into_two_lines() {
    let (mut head, _) = read(&with_fields("X-A: 1\r\nx-a: 2\r\nX-B: 3\r\n")).unwrap();
    let fields = head.fields_mut();
    fields.set(b"X-a", b" new ").unwrap();
    assert_eq!(fields.value(b"X-A"), Some(&b"new"[..]));
    assert_eq!(fields.len(), 3);
    assert_eq!(fields.append(b"X", b"a\r\nY: b"), Err(Error::FieldValue));
    assert_eq!(fields.append(b"X:", b"a"), Err(Error::FieldName));
    assert_eq!(fields.set(b"", b"a"), Err(Error::FieldName));
    assert_eq!(fields.remove(b"x-b"), 1);
    assert_eq!(head.set_target(b"/a b"), Err(Error::Target));
    assert_eq!(head.set_target(b"a"), Err(Error::Target));
    assert_eq!(head.set_method(b"G T"), Err(Error::Method));
    assert_eq!(head.set_authority(b"a/b"), Err(Error::HostInvalid));
    head.set_authority(b"other.example").unwrap();
    head.set_target(b"/new?q").unwrap();
    assert_eq!((head.path(), head.authority()), (&b"/new"[..], &b"other.example"[..]));
    assert_eq!(head.fields().iter().next().map(|field| field.known), Some(Known::Host));
}
