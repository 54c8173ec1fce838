//! What taking a body apart costs, in nanoseconds.
//!
//! `cargo bench -p secbeat-waf --bench body`. Each line is the median of 15 runs, "best" the fastest. Numbers depend
//! on the machine; compare two commits on one.
use core::hint::black_box;
use std::{ops::ControlFlow, time::Instant as Clock};

use secbeat_waf::body::{Event, Scratch, cookies, json, multipart, urlencoded, xml};

const ROUNDS: usize = 10_000;
const RUNS: usize = 15;

fn run(name: &str, bytes: usize, mut step: impl FnMut()) {
    let mut times: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Clock::now();
            for _ in 0..ROUNDS {
                step();
            }
            start.elapsed().as_nanos() as f64 / ROUNDS as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{name:28} {bytes:6} bytes {:9.0} ns, best {:9.0} ns", times[RUNS / 2], times[0]);
}

fn main() {
    let mut scratch = Scratch::default();
    let mut sink = |event: Event<'_>| {
        black_box(event);
        ControlFlow::Continue(())
    };
    let field = |index: usize, value: &str| format!("field_{index}={value}");
    let plain: Vec<_> = (0..25).map(|index| field(index, &"abcdefgh".repeat(9))).collect();
    let encoded: Vec<_> =
        (0..25).map(|index| field(index, &"some+words%2C%20and+".repeat(4)[..72])).collect();
    for (name, form) in
        [("form, 25 plain fields", plain.join("&")), ("form, 25 encoded fields", encoded.join("&"))]
    {
        let mut report = urlencoded::Report::default();
        run(name, form.len(), || {
            let _ = urlencoded::parse(black_box(form.as_bytes()), b'&', &mut scratch, &mut report, &mut sink);
        });
    }
    let members: Vec<_> = (0..25)
        .map(|index| {
            format!("\"field_{index}\": {{\"text\": \"{}\", \"n\": {index}}}", "some words, ".repeat(4))
        })
        .collect();
    let object = format!("{{{}}}", members.join(", "));
    run("JSON, 50 values", object.len(), || {
        let _ = json::parse(black_box(object.as_bytes()), 20, &mut scratch, &mut sink);
    });
    let elements: String =
        (0..25).map(|index| format!("<e a=\"{index}\">{}</e>", "some words, ".repeat(5))).collect();
    let document = format!("<r>{elements}</r>");
    run("XML, 25 elements", document.len(), || {
        let _ = xml::parse(black_box(document.as_bytes()), &mut scratch, &mut sink);
    });
    let parts: String = (0..10)
        .map(|index| {
            let text = "some words, ".repeat(10);
            format!("--bound\r\nContent-Disposition: form-data; name=\"field_{index}\"\r\n\r\n{text}\r\n")
        })
        .collect();
    let body = format!("{parts}--bound--\r\n");
    let mut report = multipart::Report::default();
    let content_type = b"multipart/form-data; boundary=bound";
    run("multipart, 10 fields", body.len(), || {
        let body = black_box(body.as_bytes());
        let _ = multipart::parse(content_type, body, 9, &mut scratch, &mut report, &mut sink);
    });
    let cookie =
        b"session=0123456789abcdef0123456789abcdef; theme=dark; _ga=GA1.2.1234567890.1234567890; lang=en";
    run("cookies, 4", cookie.len(), || {
        let _ = cookies::parse(black_box(cookie), &mut sink);
    });
}
