//! What each step of an HTTP/1.1 request and its answer costs, in nanoseconds.
//!
//! `cargo bench -p secbeat-http --bench h1_path [-- name]`. Each line is the median of 15 runs, "best" the fastest.
//! Numbers depend on the machine; compare two commits on one.
use core::hint::black_box;
use std::time::Instant as Clock;

use secbeat_http::{
    h1::{
        BodyKind, Parsed, Progress,
        body::{Decoder, Step},
        encode::{self, Connection, Hop},
        parse::{self, Asked},
    },
    head::{Known, Method, Request, Response},
    limits::Limits,
    target::Resolved,
};

const ROUNDS: usize = 100_000;
const RUNS: usize = 15;

/// What a browser sends, 271 bytes with its empty line, as in the measurements of the research notes.
const BROWSER: &[u8] = b"GET /assets/app.js?v=1 HTTP/1.1\r\nHost: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\nAccept: */*\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n\
    Cookie: s=abc123\r\n\r\n";
const CURL: &[u8] = b"GET / HTTP/1.1\r\nHost: 192.0.2.1:8080\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n";
const NGINX: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.26.0\r\nDate: Fri, 20 Nov 2026 12:00:00 GMT\r\n\
    Content-Type: text/html\r\nContent-Length: 1024\r\nLast-Modified: Fri, 20 Nov 2026 11:00:00 GMT\r\n\
    Connection: keep-alive\r\nETag: \"673dc4e0-400\"\r\nAccept-Ranges: bytes\r\n\r\n";

struct Bench {
    filter: Option<String>,
}

impl Bench {
    fn run(&self, name: &str, mut step: impl FnMut()) {
        if self.filter.as_ref().is_some_and(|filter| !name.contains(filter.as_str())) {
            return;
        }
        let mut nanos: Vec<f64> = (0..RUNS)
            .map(|_| {
                let start = Clock::now();
                for _ in 0..ROUNDS {
                    step();
                }
                start.elapsed().as_nanos() as f64 / ROUNDS as f64
            })
            .collect();
        nanos.sort_by(f64::total_cmp);
        println!("{name:<44} {:>8.1} ns   best {:>8.1} ns", nanos[RUNS / 2], nanos[0]);
    }
}

fn main() {
    let bench = Bench { filter: std::env::args().nth(1).filter(|argument| !argument.starts_with('-')) };
    let limits = Limits::default();
    let mut request = Request::new();
    let mut response = Response::new();
    let mut out = Vec::with_capacity(4_096);
    let hop = Hop { body: BodyKind::None, connection: Connection::KeepAlive, via: None };

    println!("browser request: {} bytes", BROWSER.len());
    for (name, bytes) in [("browser", BROWSER), ("curl", CURL)] {
        bench.run(&format!("request/parse/{name}"), || read(black_box(bytes), &limits, &mut request));
        bench.run(&format!("request/parse+encode/{name}"), || {
            read(black_box(bytes), &limits, &mut request);
            out.clear();
            encode::request(&request, hop, &mut out);
            black_box(&out);
        });
    }
    bench.run("request/httparse alone/browser", || {
        let mut slots = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut slots);
        let _ = black_box(parsed.parse(black_box(BROWSER)));
    });
    read(BROWSER, &limits, &mut request);
    bench.run("request/look up one field", || {
        black_box(black_box(&request).fields().known(Known::Cookie));
    });

    let asked = Asked { method: Method::Get, upgrade: None };
    let answer = Hop { body: BodyKind::Length(1_024), ..hop };
    bench.run("response/parse+encode/nginx", || {
        let parsed =
            parse::response(black_box(NGINX), asked, &mut Progress::default(), &limits, &mut response);
        assert!(matches!(parsed, Ok(Parsed::Head(_))));
        out.clear();
        encode::response(&response, answer, &mut out);
        black_box(&out);
    });

    let mut body = Vec::new();
    for _ in 0..16 {
        encode::chunk(&[b'x'; 1_024], &mut body);
    }
    encode::last_chunk(None, &mut body);
    bench.run("body/16 chunks of 1 KiB", || {
        let mut decoder = Decoder::new(BodyKind::Chunked, &limits);
        let mut rest = black_box(&body[..]);
        while let Ok(Step::Data(range)) = decoder.decode(rest) {
            rest = &rest[range.end..];
        }
    });

    let mut resolved = Resolved::new();
    for path in [&b"/assets/app.js"[..], b"/a/../b%20c/%2e%2e/d"] {
        let name = format!("target/resolve/{}", String::from_utf8_lossy(path));
        bench.run(&name, || resolved.resolve(black_box(path)));
    }
}

fn read(bytes: &[u8], limits: &Limits, head: &mut Request) {
    let parsed = parse::request(bytes, &mut Progress::default(), limits, head);
    assert!(matches!(parsed, Ok(Parsed::Head(_))));
}
