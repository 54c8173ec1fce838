//! A warm head costs no allocation: what the data plane asks of every request after the first.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use secbeat_http::{
    h1::{
        BodyKind, Parsed, Progress,
        body::{Decoder, Step},
        encode::{self, Connection, Hop},
        parse::{self, Asked},
    },
    head::{Method, Request, Response},
    limits::Limits,
    target::Resolved,
};

const REQUEST: &[u8] =
    b"POST /a%20b?c HTTP/1.1\r\nHost: a.example\r\nCookie: x\r\nTransfer-Encoding: chunked\r\n\r\n";
const BODY: &[u8] = b"3\r\nabc\r\n0\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 3\r\n\r\n";

#[derive(Default)]
struct Warm {
    request: Request,
    response: Response,
    resolved: Resolved,
    out: Vec<u8>,
}

fn exchange(warm: &mut Warm) {
    let limits = Limits::default();
    let hop = Hop { body: BodyKind::Chunked, connection: Connection::KeepAlive, via: Some("secbeat") };
    warm.out.clear();
    let found = parse::request(REQUEST, &mut Progress::default(), &limits, &mut warm.request).unwrap();
    let Parsed::Head(found) = found else { panic!("incomplete") };
    warm.resolved.resolve(warm.request.path());
    warm.request.fields_mut().set(b"X-Forwarded-For", b"192.0.2.1").unwrap();
    encode::request(&warm.request, hop, &mut warm.out);
    let mut decoder = Decoder::new(found.body, &limits);
    let mut rest = BODY;
    while let Step::Data(range) = decoder.decode(rest).unwrap() {
        encode::chunk(&rest[range.clone()], &mut warm.out);
        rest = &rest[range.end..];
    }
    encode::last_chunk(decoder.trailers(), &mut warm.out);
    let asked = Asked { method: Method::Post, upgrade: None };
    parse::response(RESPONSE, asked, &mut Progress::default(), &limits, &mut warm.response).unwrap();
    encode::response(&warm.response, Hop { body: BodyKind::Length(3), ..hop }, &mut warm.out);
}

#[test]
fn an_exchange_over_warm_heads_allocates_nothing() {
    let mut warm = Warm::default();
    exchange(&mut warm);
    let counted = allocation_counter::measure(|| exchange(&mut warm));
    assert_eq!(counted.count_total, 0);
    let cold = allocation_counter::measure(|| exchange(&mut Warm::default()));
    assert!(cold.count_total > 0, "the counter counts");
}
