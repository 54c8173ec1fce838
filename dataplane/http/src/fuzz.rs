//! Bodies of the fuzz targets `http_h1_*`, shared with the corpus replay in `tests/corpus.rs`.
//!
//! Not part of the interface. Each panics when a property that must hold for all bytes does not.
use crate::{
    error::Error,
    h1::{
        BodyKind, Parsed, Progress, Upgrade,
        body::{Decoder, Step},
        encode::{self, Connection, Hop},
        parse::{self, Asked, Head, ResponseHead},
    },
    head::{Method, Request, Response},
    limits::Limits,
};

/// Small enough that a fuzzer reaches each limit.
const LIMITS: Limits = Limits {
    start_line_bytes_max: 200,
    head_bytes_max: 1_000,
    field_bytes_max: 300,
    fields_max: 12,
    empty_lines_max: 2,
    chunk_line_bytes_max: 40,
    chunk_extension_bytes_max: 60,
    trailer_bytes_max: 200,
    trailers_max: 6,
};

/// A request's head: in pieces as in one; written, it reads as it was, and is written the same again.
pub fn h1_request(bytes: &[u8]) {
    let mut head = Request::new();
    let whole = parse::request(bytes, &mut Progress::default(), &LIMITS, &mut head);
    let mut in_pieces = Request::new();
    let mut progress = Progress::default();
    let pieces = grow(bytes, |input| parse::request(input, &mut progress, &LIMITS, &mut in_pieces));
    check_same(&whole, &pieces);
    let Ok(Parsed::Head(found)) = whole else {
        return;
    };
    assert!(found.len <= bytes.len() && found.body != BodyKind::UntilClose);
    let written = written_request(&head, found);
    let mut again = Request::new();
    let limits = Limits { head_bytes_max: 4_000, ..Limits::default() };
    if head.authority().is_empty() {
        return;
    }
    match parse::request(&written, &mut Progress::default(), &limits, &mut again) {
        Ok(Parsed::Head(second)) => {
            assert_eq!(second.len, written.len());
            assert!(second.keep_alive);
            assert_eq!(
                (head.method(), head.target(), head.authority()),
                (again.method(), again.target(), again.authority())
            );
            let is_same = second.body == found.body
                || (found.body == BodyKind::None && second.body == BodyKind::Length(0));
            assert!(is_same, "{found:?} {second:?}");
            assert_eq!(written_request(&again, second), written);
        }
        other => panic!("what we wrote is refused: {other:?} {:?}", String::from_utf8_lossy(&written)),
    }
}

/// A response's head, for every way to have asked.
pub fn h1_response(bytes: &[u8]) {
    let asked = [
        Asked { method: Method::Get, upgrade: None },
        Asked { method: Method::Head, upgrade: None },
        Asked { method: Method::Get, upgrade: Some(Upgrade::WebSocket) },
    ];
    for asked in asked {
        let mut head = Response::new();
        let whole = parse::response(bytes, asked, &mut Progress::default(), &LIMITS, &mut head);
        let mut in_pieces = Response::new();
        let mut progress = Progress::default();
        let pieces =
            grow(bytes, |input| parse::response(input, asked, &mut progress, &LIMITS, &mut in_pieces));
        check_same(&whole, &pieces);
        let Ok(Parsed::Head(found)) = whole else {
            continue;
        };
        let written = written_response(&head, found);
        let mut again = Response::new();
        let limits = Limits { head_bytes_max: 4_000, ..Limits::default() };
        match parse::response(&written, asked, &mut Progress::default(), &limits, &mut again) {
            Ok(Parsed::Head(second)) => {
                assert_eq!((second.len, second.kind, second.body), (written.len(), found.kind, found.body));
                assert_eq!(head.status(), again.status());
                assert_eq!(written_response(&again, second), written);
            }
            other => panic!("what we wrote is refused: {other:?} {:?}", String::from_utf8_lossy(&written)),
        }
    }
}

/// A body: the first byte chooses its kind and its pieces, the rest is it.
pub fn h1_body(bytes: &[u8]) {
    let [choice, body @ ..] = bytes else {
        return;
    };
    let kind = match choice & 3 {
        0 => BodyKind::Length(u64::from(*choice)),
        1 => BodyKind::UntilClose,
        _ => BodyKind::Chunked,
    };
    let whole = decoded(kind, body, body.len().max(1));
    assert_eq!(decoded(kind, body, usize::from(choice >> 4) + 1), whole);
    let Ok((data, Some(consumed))) = whole else {
        return;
    };
    assert!(consumed <= body.len());
    let mut written = Vec::new();
    for piece in data.chunks(7) {
        encode::chunk(piece, &mut written);
    }
    encode::last_chunk(None, &mut written);
    let len = written.len();
    assert_eq!(decoded(BodyKind::Chunked, &written, 5), Ok((data, Some(len))));
}

/// The data and where the message ended, if it did.
fn decoded(kind: BodyKind, body: &[u8], piece_len: usize) -> Result<(Vec<u8>, Option<usize>), Error> {
    let mut decoder = Decoder::new(kind, &LIMITS);
    let mut data = Vec::new();
    let mut taken = 0;
    for piece in body.chunks(piece_len) {
        let mut rest = piece;
        loop {
            match decoder.decode(rest)? {
                Step::Data(range) => {
                    let (before, after) = rest.split_at(range.end);
                    data.extend_from_slice(before.get(range.start..).unwrap_or_default());
                    taken += range.end;
                    rest = after;
                }
                Step::End { consumed } => return Ok((data, Some(taken + consumed))),
                Step::NeedMore => break,
            }
        }
        taken += rest.len();
    }
    Ok((data, decoder.is_done().then_some(taken)))
}

/// Gives a parser one byte more each time, until it has an answer.
fn grow<T>(
    bytes: &[u8],
    mut parse: impl FnMut(&[u8]) -> Result<Parsed<T>, Error>,
) -> Result<Parsed<T>, Error> {
    for len in 0..bytes.len() {
        match parse(bytes.get(..len).unwrap_or_default())? {
            Parsed::Incomplete => {}
            found @ Parsed::Head(_) => return Ok(found),
        }
    }
    parse(bytes)
}

fn check_same<T: PartialEq + std::fmt::Debug>(
    whole: &Result<Parsed<T>, Error>,
    pieces: &Result<Parsed<T>, Error>,
) {
    match (whole, pieces) {
        // Which of two faults is seen first may depend on how much has come.
        (Err(_), Err(_)) => {}
        _ => assert_eq!(whole, pieces),
    }
}

fn written_request(head: &Request, found: Head) -> Vec<u8> {
    let connection = match found.upgrade {
        Some(Upgrade::WebSocket) => Connection::WebSocket,
        _ => Connection::KeepAlive,
    };
    let mut out = Vec::new();
    encode::request(head, Hop { body: found.body, connection, via: None }, &mut out);
    out
}

fn written_response(head: &Response, found: ResponseHead) -> Vec<u8> {
    let connection = match found.kind {
        parse::ResponseKind::Switched => Connection::WebSocket,
        _ => Connection::KeepAlive,
    };
    let mut out = Vec::new();
    encode::response(head, Hop { body: found.body, connection, via: None }, &mut out);
    out
}
