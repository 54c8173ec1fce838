//! What an HTTP/2 request costs the server's side: nanoseconds, and memory that stays.
//!
//! `cargo bench -p secbeat-http --bench h2 [-- name]`. A request is a HEADERS frame of ten fields in, a head of five
//! fields and a body of 1 KiB out, on one connection; each line is the median of 15 runs. "kept" is what one
//! connection holds after its first request when nothing is open (heap and the value itself).
#![expect(clippy::unwrap_used, reason = "the input is our own")]

use core::hint::black_box;
use std::sync::Arc;
use std::time::Instant as Clock;

use secbeat_http::h2::{Event, Limits, Pool, Server};
use secbeat_http::head::Response;

const REQUESTS: u32 = 20_000;
const RUNS: usize = 15;
const CONNECTIONS: usize = 200;
const BODY: [u8; 1024] = [b'x'; 1024];

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

fn literal(out: &mut Vec<u8>, first: u8, name: &str, value: &str) {
    out.push(first);
    if first & 0x3f == 0 {
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
    }
    out.push(value.len() as u8);
    out.extend_from_slice(value.as_bytes());
}

/// The header block of a browser's request; `first` adds its fields to the dynamic table.
fn block(is_first: bool) -> Vec<u8> {
    // The first one also takes the table that we announce: 1,024 bytes.
    let mut block = if is_first { b"\x3f\xe1\x07".to_vec() } else { Vec::new() };
    block.extend([0x82, 0x87]);
    literal(&mut block, 0x04, "", "/assets/site.css?version=20");
    let fields = [
        (0x41, "", "www.example.com"),
        (0x7a, "", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        (0x53, "", "text/css,*/*;q=0.1"),
        (0x51, "", "en-US,en;q=0.5"),
        (0x50, "", "gzip, deflate, br, zstd"),
        (0x73, "", "https://www.example.com/"),
        (0x40, "sec-fetch-dest", "style"),
    ];
    for (index, (first, name, value)) in fields.into_iter().enumerate() {
        if is_first {
            literal(&mut block, first, name, value);
        } else {
            block.push(0x80 | (62 + 6 - index as u8));
        }
    }
    block
}

struct Bench {
    server: Server,
    pool: Pool,
    response: Response,
    next_stream: u32,
}

impl Bench {
    fn new(limits: &Arc<Limits>) -> Self {
        let mut server = Server::new(Arc::clone(limits), 0);
        let mut pool = Pool::default();
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // A large window, so that only the connection's must be updated.
        frame(&mut hello, 4, 0, 0, &[0, 4, 0, 0x60, 0, 0]);
        frame(&mut hello, 8, 0, 0, &0x3fff_0000_u32.to_be_bytes());
        frame(&mut hello, 4, 1, 0, &[]);
        assert_eq!(server.receive(&hello, 0, &mut pool), hello.len());
        let mut response = Response::new();
        response.set_status(200).unwrap();
        for (name, value) in [
            ("content-type", "text/css"),
            ("content-length", "1024"),
            ("date", "Fri, 20 Nov 2026 16:00:00 GMT"),
            ("server", "nginx"),
            ("etag", "\"6565-400\""),
        ] {
            response.fields_mut().append(name.as_bytes(), value.as_bytes()).unwrap();
        }
        Self { server, pool, response, next_stream: 1 }
    }

    fn request(&mut self, input: &[u8], now_ms: u64) {
        assert_eq!(self.server.receive(input, now_ms, &mut self.pool), input.len());
        while let Some(event) = self.server.poll_event() {
            if let Event::Request { stream, .. } = event {
                black_box(self.server.request(stream));
                self.server.respond(stream, &self.response, false).unwrap();
                assert_eq!(self.server.send(stream, &BODY, true), BODY.len());
            }
        }
        let len = black_box(self.server.output()).len();
        self.server.consume_output(len);
        self.server.settle(&mut self.pool);
        self.next_stream += 2;
    }

    fn input(&self) -> Vec<u8> {
        let mut input = Vec::new();
        frame(&mut input, 1, 0x5, self.next_stream, &block(self.next_stream == 1));
        input
    }
}

fn main() {
    let limits = Arc::new(Limits::default());
    let mut nanos: Vec<f64> = (0..RUNS)
        .map(|_| {
            let mut bench = Bench::new(&limits);
            bench.request(&bench.input(), 0);
            let mut input = bench.input();
            let start = Clock::now();
            for _ in 0..REQUESTS {
                input[5..9].copy_from_slice(&bench.next_stream.to_be_bytes());
                bench.request(&input, 0);
            }
            start.elapsed().as_nanos() as f64 / f64::from(REQUESTS)
        })
        .collect();
    nanos.sort_by(f64::total_cmp);
    println!(
        "{:<44} {:>8.1} ns   best {:>8.1} ns",
        "request, 10 fields, answer of 1 KiB",
        nanos[RUNS / 2],
        nanos[0]
    );

    let mut held = Vec::new();
    let info = allocation_counter::measure(|| {
        for _ in 0..CONNECTIONS {
            let mut bench = Bench::new(&limits);
            bench.request(&bench.input(), 0);
            // Only the server stays; spare memory belongs to the worker.
            held.push(Box::new(bench.server));
        }
    });
    let kept = info.bytes_current / CONNECTIONS as i64;
    println!("{:<44} {kept:>8} bytes", "kept by an idle connection");
}
