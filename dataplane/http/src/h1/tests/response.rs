//! Heads of responses: an origin is trusted no more than a client.
use crate::{
    error::Error,
    h1::{
        BodyKind, Parsed, Progress, ResponseHead, Upgrade,
        parse::{self, Asked, ResponseKind},
    },
    head::{Method, Response, Version},
    limits::Limits,
};

const GET: Asked = Asked { method: Method::Get, upgrade: None };
const HEAD: Asked = Asked { method: Method::Head, upgrade: None };
const WEBSOCKET: Asked = Asked { method: Method::Get, upgrade: Some(Upgrade::WebSocket) };

fn read(asked: Asked, bytes: &str) -> Result<(Response, ResponseHead), Error> {
    let mut head = Response::new();
    let mut progress = Progress::default();
    match parse::response(bytes.as_bytes(), asked, &mut progress, &Limits::default(), &mut head)? {
        Parsed::Head(found) => Ok((head, found)),
        Parsed::Incomplete => panic!("incomplete: {bytes:?}"),
    }
}

fn framing(asked: Asked, head: &str) -> (BodyKind, bool) {
    let (_, found) = read(asked, &format!("HTTP/1.1 {head}\r\n\r\n")).expect(head);
    (found.body, found.keep_alive)
}

fn refusal(head: &str) -> Error {
    read(GET, &format!("{head}\r\n\r\n")).expect_err(head)
}

#[test]
fn an_ordinary_response_is_read() {
    let bytes = "HTTP/1.1 404 Not  Found\r\nServer: x\r\nContent-Length: 3\r\n\r\nabc";
    let (head, found) = read(GET, bytes).unwrap();
    assert_eq!((head.status(), head.reason(), head.version()), (404, &b"Not  Found"[..], Version::Http11));
    assert_eq!(head.fields().value(b"server"), Some(&b"x"[..]));
    let expected = ResponseHead {
        len: bytes.len() - 3,
        kind: ResponseKind::Final,
        body: BodyKind::Length(3),
        keep_alive: true,
    };
    assert_eq!(found, expected);
}

#[test]
fn bodies_are_delimited_as_rfc_9112_6_3_has_it() {
    assert_eq!(framing(GET, "200 OK\r\nContent-Length: 5"), (BodyKind::Length(5), true));
    assert_eq!(framing(GET, "200 OK\r\nTransfer-Encoding: chunked"), (BodyKind::Chunked, true));
    assert_eq!(framing(GET, "200 OK"), (BodyKind::UntilClose, false));
    assert_eq!(framing(HEAD, "200 OK\r\nContent-Length: 5"), (BodyKind::None, true));
    assert_eq!(framing(HEAD, "200 OK\r\nTransfer-Encoding: chunked"), (BodyKind::None, true));
    assert_eq!(framing(HEAD, "200 OK"), (BodyKind::None, true));
    assert_eq!(framing(GET, "304 Not Modified\r\nContent-Length: 5"), (BodyKind::None, true));
    assert_eq!(framing(GET, "204 No Content"), (BodyKind::None, true));
    assert_eq!(framing(GET, "204 No Content\r\nContent-Length: 0"), (BodyKind::None, true));
    assert_eq!(
        framing(GET, "200 OK\r\nContent-Length: 5\r\nConnection: close"),
        (BodyKind::Length(5), false)
    );
}

#[test]
fn a_length_on_a_response_without_body_ends_its_connection() {
    assert_eq!(framing(GET, "204 No Content\r\nContent-Length: 5"), (BodyKind::None, false));
    assert_eq!(framing(GET, "204 No Content\r\nTransfer-Encoding: chunked"), (BodyKind::None, false));
    assert_eq!(framing(GET, "103 Early Hints\r\nContent-Length: 5"), (BodyKind::None, false));
}

#[test]
fn http_1_0_keeps_its_connection_only_when_it_says_so() {
    let keeps = |fields: &str| read(GET, &format!("HTTP/1.0 200 OK\r\n{fields}\r\n")).unwrap().1.keep_alive;
    assert!(!keeps("Content-Length: 1\r\n"));
    assert!(keeps("Content-Length: 1\r\nConnection: keep-alive\r\n"));
    assert!(!keeps("Connection: keep-alive\r\n"), "until close");
}

#[test]
fn interim_responses_and_switches_are_told_from_final_ones() {
    let kind =
        |asked, head: &str| read(asked, &format!("HTTP/1.1 {head}\r\n\r\n")).map(|(_, found)| found.kind);
    assert_eq!(kind(GET, "100 Continue"), Ok(ResponseKind::Interim));
    assert_eq!(kind(GET, "103 Early Hints\r\nLink: </a>"), Ok(ResponseKind::Interim));
    let switch = "101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket";
    assert_eq!(kind(WEBSOCKET, switch), Ok(ResponseKind::Switched));
    assert_eq!(kind(GET, switch), Err(Error::SwitchUnasked));
    assert_eq!(kind(WEBSOCKET, "101 Switching Protocols"), Err(Error::SwitchUnasked));
    assert_eq!(kind(WEBSOCKET, &switch.replace("websocket", "h2c")), Err(Error::SwitchUnasked));
    assert_eq!(kind(WEBSOCKET, &format!("{switch}\r\nContent-Length: 9")), Err(Error::SwitchUnasked));
    assert_eq!(kind(WEBSOCKET, "426 Upgrade Required\r\nContent-Length: 0"), Ok(ResponseKind::Final));
}

#[test]
fn ambiguous_responses_are_refused() {
    let ok = |fields: &str| refusal(&format!("HTTP/1.1 200 OK\r\n{fields}"));
    assert_eq!(ok("Content-Length: 1\r\nContent-Length: 2"), Error::ContentLengthRepeated);
    assert_eq!(ok("Content-Length: 1, 1"), Error::ContentLength);
    assert_eq!(
        ok("Content-Length: 1\r\nTransfer-Encoding: chunked"),
        Error::ContentLengthWithTransferEncoding
    );
    assert_eq!(ok("Transfer-Encoding: gzip, chunked"), Error::TransferEncoding);
    assert_eq!(ok("Content-Length : 1"), Error::FieldName);
    assert_eq!(ok("X: a\r\n b"), Error::FieldFolded);
    assert_eq!(ok("X: a\nContent-Length: 1"), Error::BareLineEnd);
    assert_eq!(ok("X: a\rContent-Length: 1"), Error::FieldValue);
    assert_eq!(refusal("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked"), Error::TransferEncodingInHttp10);
}

#[test]
fn what_is_no_status_line_is_refused() {
    for line in [
        "HTTP/1.1 099 X",
        "HTTP/1.1 600 X",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1",
        "ICY 200 OK",
        "HTTP/2.0 200 OK",
        "\r\nHTTP/1.1 200 OK",
        "HTTP/1.1 200\tOK",
    ] {
        let found = refusal(line);
        assert!(matches!(found, Error::Status | Error::StartLine | Error::Version), "{line:?} {found:?}");
    }
    let mut progress = Progress::default();
    let early = parse::response(b"SSH-2.0", GET, &mut progress, &Limits::default(), &mut Response::new());
    assert_eq!(early, Err(Error::Status), "before its line ends");
    assert!(read(GET, "HTTP/1.1 200\r\n\r\n").is_ok(), "a reason phrase is optional");
    let mut progress = Progress::default();
    let cut = parse::response(
        b"H\r\nTTP/1.1 200 OK\r\n",
        GET,
        &mut progress,
        &Limits::default(),
        &mut Response::new(),
    );
    assert_eq!(cut, Err(Error::Status), "a line that is too short, before the head ends");
}
