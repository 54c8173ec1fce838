//! Trailers in all four directions, and that none of them ever becomes a field of a head.

use super::frames::{data, finished, get, hello, request, trailers, window};
use super::harness::{Answer, Seen, World, ok, policy};
use crate::telemetry::counters::Counter;

const WIDE: u32 = 1 << 20;

/// What no client may say in a trailer, as it would stand in HTTP/1.1.
const FORBIDDEN: &str = "Host: evil\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 6.6.6.6\r\n\
                         X_Real_IP: 6.6.6.6\r\nAuthorization: Basic ZXZpbA==\r\nContent-Range: bytes 0-1/2\r\n\
                         X-Request-Id: mine\r\nContent-Encoding: gzip\r\nCookie: a=b\r\nTE: trailers\r\n\
                         Proxy-Authorization: x\r\nRange: bytes=0-1\r\n";

fn chunked(path: &str, lines: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{lines}\r\n"
    )
}

fn http2(script: impl FnMut(&Seen) -> Answer + 'static) -> (World, u64) {
    let mut world = World::new(script);
    let client = world.connect();
    world.send(client, &[hello(WIDE), window(0, 1 << 28)].concat());
    (world, client)
}

fn answer_with_trailers() -> Answer {
    Answer::Send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 5\r\n\
          Content-Length: 99\r\nSet-Cookie: evil=1\r\nServer: hidden\r\nGrpc-Status: 0\r\n\r\n"
            .to_vec(),
    )
}

#[test]
fn request_trailers_of_http1_reach_the_origin_without_those_that_may_not_be_there() {
    let mut world = World::new(|seen| ok(&seen.body));
    let reply = world.ask(&chunked("/", &format!("X-Sum: 5\r\n{FORBIDDEN}X-Note: last\r\n")));
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
    assert_eq!(world.origin.seen[0].trailers, "X-Sum: 5\r\nX-Note: last\r\n");
}

#[test]
fn request_trailers_of_http2_reach_the_origin_without_those_that_may_not_be_there() {
    let (mut world, client) = http2(|seen| ok(&seen.body));
    world.send(client, &request(1, false, "POST", "/", &[]));
    world.send(client, &data(1, false, b"hello"));
    let fields = [
        ("x-sum", "5"),
        ("authorization", "Basic ZXZpbA=="),
        ("x-forwarded-for", "6.6.6.6"),
        ("content-range", "bytes 0-1/2"),
        ("x-request-id", "mine"),
        ("x-note", "last"),
    ];
    world.send(client, &trailers(1, &fields));
    assert_eq!(finished(&mut world, client, 1).body, b"hello");
    assert_eq!(world.origin.seen[0].trailers, "x-sum: 5\r\nx-note: last\r\n");
    // The same without a body before them, and none without any.
    world.send(client, &[request(3, false, "POST", "/", &[]), trailers(3, &[("x-sum", "0")])].concat());
    finished(&mut world, client, 3);
    world.send(client, &[request(5, false, "POST", "/", &[]), data(5, true, b"x")].concat());
    finished(&mut world, client, 5);
    assert_eq!(world.origin.seen[1].trailers, "x-sum: 0\r\n");
    assert_eq!(world.origin.seen[2].trailers, "");
}

#[test]
fn response_trailers_reach_a_client_of_http1() {
    let mut world = World::new(|_| answer_with_trailers());
    let client = world.connect();
    for round in 1..=2 {
        world.send(client, b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
        assert_eq!(world.responses(client, round)[round - 1].text(), "abc");
        let text = world.peer(client).text();
        assert!(text.ends_with("0\r\nX-Sum: 5\r\nGrpc-Status: 0\r\n\r\n"), "{text}");
    }
}

#[test]
fn client_of_http10_gets_the_body_and_no_trailers() {
    let mut world = World::new(|_| answer_with_trailers());
    let client = world.connect();
    world.send(client, b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    world.until("the end", |world| world.peer(client).is_finished);
    let text = world.peer(client).text();
    assert!(text.ends_with("\r\n\r\nabc"), "{text}");
}

#[test]
fn response_trailers_reach_a_client_of_http2_as_a_head_that_ends_the_stream() {
    let (mut world, client) = http2(|_| answer_with_trailers());
    world.send(client, &request(1, true, "GET", "/", &[("te", "trailers")]));
    let heard = finished(&mut world, client, 1);
    assert_eq!((heard.status, heard.body.as_slice(), heard.is_ended), (Some(200), &b"abc"[..], true));
    let expected = [("x-sum", "5"), ("grpc-status", "0")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(heard.trailers, expected);
    assert_eq!(world.counts().exchanges, 0);
}

#[test]
fn trailers_never_become_fields_of_a_head_nor_of_the_next_request() {
    let mut world = World::new(|seen| ok(&seen.body));
    let client = world.connect();
    let lines = format!("X-Evil: 1\r\n{FORBIDDEN}");
    world.send(client, chunked("/one", &lines).as_bytes());
    world.responses(client, 1);
    world.send(client, chunked("/two", "").as_bytes());
    world.send(client, b"GET /three HTTP/1.1\r\nHost: a\r\n\r\n");
    world.responses(client, 3);
    let stream = world.connect();
    world.send(stream, &hello(WIDE));
    let one = [request(1, false, "POST", "/four", &[]), trailers(1, &[("x-evil", "1")])].concat();
    world.send(stream, &one);
    finished(&mut world, stream, 1);
    world.send(stream, &get(3, "/five"));
    finished(&mut world, stream, 3);
    assert_eq!(world.origin.connections, 1, "all of them on one connection");
    assert_eq!(world.origin.seen.len(), 5);
    for (index, seen) in world.origin.seen.iter().enumerate() {
        let head = seen.head.to_ascii_lowercase();
        for word in ["evil", "6.6.6.6", "authorization", "range", "gzip", "cookie", "mine"] {
            assert!(!head.contains(word), "{word} in {head}");
        }
        assert_eq!(head.matches("x-forwarded-for: 192.0.2.7").count(), 1, "{head}");
        let expected = match index {
            0 => "X-Evil: 1\r\n",
            3 => "x-evil: 1\r\n",
            _ => "",
        };
        assert_eq!(seen.trailers, expected);
    }
}

#[test]
fn request_with_a_length_towards_the_origin_loses_its_trailers() {
    let (mut world, client) = http2(|seen| ok(&seen.body));
    world.send(client, &request(1, false, "POST", "/", &[("content-length", "3")]));
    world.send(client, &[data(1, false, b"abc"), trailers(1, &[("x-sum", "5")])].concat());
    assert_eq!(finished(&mut world, client, 1).body, b"abc");
    world.send(client, &get(3, "/next"));
    finished(&mut world, client, 3);
    let seen = &world.origin.seen;
    assert_eq!((seen[0].body.as_slice(), seen[0].field("content-length")), (&b"abc"[..], Some("3")));
    assert_eq!(seen[1].line(), "GET /next HTTP/1.1", "nothing stands between the two");
}

#[test]
fn field_of_the_requests_id_is_left_out_under_the_operators_name_too() {
    let mut policy = policy();
    policy.forwarding.request_id = Some(b"X-Trace"[..].into());
    let mut world = World::with(policy, |seen| ok(&seen.body));
    world.ask(&chunked("/", "X-Trace: mine\r\nX-Sum: 5\r\n"));
    let client = world.connect();
    world.send(client, &hello(WIDE));
    let fields = [("x-trace", "mine"), ("x-sum", "6")];
    world.send(client, &[request(1, false, "POST", "/", &[]), trailers(1, &fields)].concat());
    finished(&mut world, client, 1);
    let seen = world.origin.seen.iter().map(|seen| seen.trailers.as_str()).collect::<Vec<_>>();
    assert_eq!(seen, ["X-Sum: 5\r\n", "x-sum: 6\r\n"]);
}

#[test]
fn trailers_come_after_a_body_that_had_to_wait_for_the_origin() {
    let (mut world, client) = http2(|seen| ok(seen.body.len().to_string().as_bytes()));
    world.origin.reads = false;
    world.send(client, &request(1, false, "POST", "/", &[]));
    world.rest();
    // As much as the stream's window takes.
    for piece in vec![b'x'; 65_000].chunks(13_000) {
        world.send(client, &data(1, false, piece));
    }
    world.send(client, &trailers(1, &[("x-sum", "5")]));
    world.rest();
    world.origin.reads = true;
    assert_eq!(finished(&mut world, client, 1).body, b"65000");
    assert_eq!(world.origin.seen[0].trailers, "x-sum: 5\r\n");
}

#[test]
fn too_many_or_too_long_trailers_end_the_request_and_are_counted() {
    let mut world = World::new(|seen| ok(&seen.body));
    for lines in [format!("X: {}\r\n", "b".repeat(4_096)), "X: b\r\n".repeat(33)] {
        assert_eq!(world.ask(&chunked("/", &lines)).status, 431);
    }
    assert_eq!(world.page.get(Counter::RequestsMalformed), 2);
    let (long, many) = ("b".repeat(5_120), vec![("x", "b"); 33]);
    for fields in [vec![("x", long.as_str())], many] {
        let client = world.connect();
        world.send(client, &hello(WIDE));
        world.send(client, &[request(1, false, "POST", "/", &[]), trailers(1, &fields)].concat());
        assert!(finished(&mut world, client, 1).reset.is_some());
        world.send(client, &get(3, "/"));
        assert_eq!(finished(&mut world, client, 3).status, Some(200), "the connection goes on");
    }
    let violation = secbeat_http::h2::Violation::HeaderListSize;
    assert_eq!(world.page.requests.violations(violation), 2);
    assert_eq!(world.origin.seen.len(), 2, "the two that came after");
    assert_eq!(world.counts().exchanges, 0);
}
