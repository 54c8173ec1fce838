//! Replays the corpus of the fuzz target `http_h2_server`.
//!
//! The seeds among it are written by `cargo test -p secbeat-http --test h2 -- --ignored`; whatever a fuzzer finds is
//! added beside them.

use std::fs;
use std::path::PathBuf;

use secbeat_http::h2::fuzz::server;

use crate::client::*;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/http_h2_server")
}

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let head = |stream, end| frame(HEADERS, END_HEADERS | u8::from(end), stream, &block(GET));
    let post = |stream| frame(HEADERS, END_HEADERS, stream, &block(POST));
    let indexed = |stream| {
        let mut bytes = vec![0x82, 0x87, 0x84, 0x41, 1, b'a'];
        bytes.extend([0x40, 1, b'x', 2, b'y', b'z', 0xbe, 0xbf]);
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &bytes)
    };
    let update = |stream, by: u32| frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    let ack = || frame(SETTINGS, ACK, 0, &[]);
    vec![
        ("get", [ack(), head(1, true), head(3, true), head(7, true)].concat()),
        ("get-indexed", [indexed(1), indexed(3), indexed(5)].concat()),
        ("huffman", {
            let mut bytes = vec![0x82, 0x87, 0x84, 0x41, 0x8c];
            bytes.extend([0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]);
            frame(HEADERS, END_HEADERS | END_STREAM, 7, &bytes)
        }),
        ("post", [post(5), frame(DATA, 0, 5, b"some"), frame(DATA, END_STREAM, 5, b" body")].concat()),
        ("padded", [post(7), frame(DATA, PADDED | END_STREAM, 7, b"\x02body\0\0")].concat()),
        ("trailers", [post(5), frame(HEADERS, 5, 5, &block(&[("x", "y")]))].concat()),
        (
            "continuation",
            [frame(HEADERS, END_STREAM, 7, &block(GET)[..9]), frame(CONTINUATION, 4, 7, &block(GET)[9..])]
                .concat(),
        ),
        ("windows", [head(7, true), update(7, 9_000), update(0, 9_000), update(7, 1)].concat()),
        (
            "small-window",
            [frame(SETTINGS, 0, 0, &settings(&[(4, 3)])), head(7, true), update(7, 40)].concat(),
        ),
        ("reset", [post(5), frame(RST_STREAM, 0, 5, &[0, 0, 0, 8]), frame(DATA, 0, 5, b"late")].concat()),
        ("ping", [frame(PING, 0, 0, &[1; 8]), frame(GOAWAY, 0, 0, &[0; 8])].concat()),
        ("priority", [frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9]), frame(0x10, 0, 0, b"\0\0\0\x01u=1")].concat()),
        ("too-many", (0..8).map(|index| post(index * 10 + 5)).collect::<Vec<_>>().concat()),
        ("bad-pseudo", frame(HEADERS, 5, 1, &block(&[(":method", "GET"), (":path", "x y")]))),
        ("table-resize", frame(HEADERS, 5, 1, &[0x20, 0x3f, 0x10, 0x82, 0x87, 0x84, 0x41, 1, b'a'])),
    ]
}

#[test]
fn corpus_of_http_h2_server_is_replayed() {
    let mut count = 0;
    for file in fs::read_dir(folder()).unwrap() {
        server(&fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 5, "the corpus has only {count} files");
}

#[test]
fn seeds_hold_what_the_target_checks_in_every_size() {
    for (_, seed) in seeds() {
        for choice in 0..=255 {
            server(&[&[choice], &seed[..]].concat());
        }
    }
}

/// Seeds with a byte changed, in order: what a fuzzer does first, in every test run.
#[test]
fn seeds_with_one_byte_changed_hold_too() {
    for (_, seed) in seeds() {
        for at in 0..seed.len() {
            for change in [0x01, 0x04, 0x80, 0xff] {
                let mut bytes = [&[3 + 8], &seed[..]].concat();
                bytes[at + 1] ^= change;
                server(&bytes);
            }
        }
    }
}

/// Mixtures of seeds with bytes changed, moved and repeated; the same ones in each run.
fn mutate(rounds: u32, mut random: u64) {
    let seeds = seeds();
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below.max(1)
    };
    for _ in 0..rounds {
        let mut bytes = vec![next(256) as u8];
        for _ in 0..=next(4) {
            bytes.extend_from_slice(&seeds[next(seeds.len())].1);
        }
        for _ in 0..next(12) {
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = next(256) as u8,
                1 => bytes[at] ^= 1 << next(8),
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let piece = bytes[at..bytes.len().min(at + next(40))].to_vec();
                    let to = next(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
        server(&bytes);
    }
}

#[test]
fn mixtures_of_seeds_hold() {
    mutate(20_000, 1);
}

#[test]
#[ignore = "a minute of what the fuzzer does better"]
fn many_mixtures_of_seeds_hold() {
    for seed in 0..50 {
        mutate(100_000, seed);
    }
}

#[test]
#[ignore = "writes the seeds of the fuzz target"]
fn seeds_are_written() {
    fs::create_dir_all(folder()).unwrap();
    for (index, (name, seed)) in seeds().into_iter().enumerate() {
        fs::write(folder().join(name), [&[index as u8 % 4], &seed[..]].concat()).unwrap();
    }
}
