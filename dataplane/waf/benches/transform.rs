//! What each transformation costs, in nanoseconds per value.
//!
//! `cargo bench -p secbeat-waf --bench transform [-- name]`. A plain value of 30 bytes that most words leave as it
//! is, and a dirty one of 300 bytes that has something for all of them; the median of 9 runs. Numbers depend on the
//! machine; compare two commits on one.
use core::hint::black_box;
use std::time::Instant as Clock;

use secbeat_waf::{seclang::settings::UnicodeMap, transform::Transformation};

const ROUNDS: u32 = 20_000;
const RUNS: usize = 9;

const PLAIN: &[u8; 30] = b"a-plain-value-of-thirty-bytes1";

/// Repeated up to 300 bytes.
const DIRTY: &[u8] =
    b"q=%3Cscript%3E+ALERT%u0028\\x61\\u0062 &lt;b&#62; /*c*/ ../d/./e//f 0x4142 \0 \xc3\xa9 \"x\" -- ";

fn nanos(word: Transformation, value: &[u8], map: &UnicodeMap) -> f64 {
    let mut out = Vec::with_capacity(word.output_bytes_max(value.len()));
    let mut nanos: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Clock::now();
            for _ in 0..ROUNDS {
                black_box(black_box(word).apply(black_box(value), Some(map), &mut out));
            }
            start.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
        })
        .collect();
    nanos.sort_by(f64::total_cmp);
    nanos[RUNS / 2]
}

fn main() {
    let filter = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let map = UnicodeMap::us_ascii();
    let dirty: Vec<u8> = DIRTY.iter().copied().cycle().take(300).collect();
    println!("{:<20} {:>12} {:>12}", "", "plain 30 B", "dirty 300 B");
    for &word in Transformation::ALL {
        if filter.as_ref().is_some_and(|filter| !word.name().contains(filter.as_str())) {
            continue;
        }
        println!(
            "{:<20} {:>9.1} ns {:>9.1} ns",
            word.name(),
            nanos(word, PLAIN, &map),
            nanos(word, &dirty, &map)
        );
    }
}
