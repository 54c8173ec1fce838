//! Replays the corpora of the fuzz targets `http_h1_request`, `http_h1_response` and `http_h1_body`.
//!
//! The seeds among them are written by `cargo test -p secbeat-http --test corpus -- --ignored`; whatever a fuzzer
//! finds is added beside them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "smuggling/corpus.rs"]
#[expect(dead_code, reason = "only the bytes of the cases are used here")]
mod cases;

use std::{fs, path::PathBuf};

use secbeat_http::fuzz::{h1_body, h1_request, h1_response};

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

fn replay(target: &str, body: fn(&[u8])) {
    let mut count = 0;
    for file in fs::read_dir(folder(target)).unwrap() {
        body(&fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 5, "the corpus of {target} has only {count} files");
}

#[test]
fn corpus_of_http_h1_request_is_replayed() {
    replay("http_h1_request", h1_request);
}

#[test]
fn corpus_of_http_h1_response_is_replayed() {
    replay("http_h1_response", h1_response);
}

#[test]
fn corpus_of_http_h1_body_is_replayed() {
    replay("http_h1_body", h1_body);
}

/// Every smuggling case is good food for every target.
#[test]
fn every_smuggling_case_holds_what_the_targets_check() {
    for case in cases::cases() {
        h1_request(&case.sent);
        h1_response(&case.sent);
        for choice in [0x03, 0x13, 0xf2, 0x01, 0x54] {
            let head_end = case.sent.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
            h1_body(&[&[choice], &case.sent[head_end..]].concat());
        }
    }
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    fs::create_dir_all(folder(target)).unwrap();
    fs::write(folder(target).join(name), bytes).unwrap();
}

#[test]
#[ignore = "writes the seeds of the fuzz targets"]
fn seeds_are_written() {
    const REQUESTS: &[&str] = &[
        "cl-ordinary",
        "te-chunked",
        "cl-te-basic",
        "target-absolute",
        "host-ipv6",
        "upgrade-websocket",
        "connection-nominates-a-field",
        "expect-continue",
        "fold-tab",
        "empty-lines-before",
        "value-high-bytes",
        "connection-http10-keep-alive",
        "target-asterisk-on-options",
        "upgrade-h2c",
    ];
    const RESPONSES: &[&str] = &[
        "response-ordinary",
        "response-until-close",
        "response-interim-then-final",
        "response-switch-unasked",
        "response-304-with-length",
        "response-connection-nominates",
        "response-two-lengths",
    ];
    const BODIES: &[&str] = &[
        "chunk-extension-dropped",
        "chunk-leading-zeros",
        "trailer-passes-apart",
        "trailer-that-frames",
        "chunk-extension-quoted-lf",
        "chunk-size-2-32-plus-3",
        "chunk-terminator-as-data",
    ];
    for case in cases::cases() {
        let name = case.name.as_str();
        if REQUESTS.contains(&name) {
            write("http_h1_request", name, &case.sent);
        }
        if RESPONSES.contains(&name) {
            write("http_h1_response", name, &case.sent);
        }
        if BODIES.contains(&name) {
            let head_end = case.sent.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
            write("http_h1_body", name, &[&[0x23], &case.sent[head_end..]].concat());
        }
    }
    write("http_h1_body", "length", b"\x14012345678901234567890123");
    write("http_h1_body", "until-close", b"\x11abc");
}
