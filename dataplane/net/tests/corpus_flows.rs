//! Replays the corpora of the fuzz targets `net_splice`, `net_tcp`, `net_udp`, `net_fragment` and `net_proxy_protocol`.
//!
//! The seeds among them are written by `cargo test -p secbeat-net --test corpus_flows -- --ignored`; whatever a fuzzer
//! finds is added beside them. Each target is also run on a few thousand random inputs of a fixed seed.

use std::fs;
use std::path::PathBuf;

use secbeat_net::{fragment, proxy_protocol, splice, tcp, udp};

type Body = fn(&[u8]);

const TARGETS: [(&str, Body); 5] = [
    ("net_splice", splice::fuzz::splice),
    ("net_tcp", tcp::fuzz::stack),
    ("net_udp", udp::fuzz::forwarder),
    ("net_fragment", fragment::fuzz::fragment),
    ("net_proxy_protocol", proxy_protocol::fuzz),
];

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

/// A generator with a fixed seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn bytes(&mut self, len_max: u64) -> Vec<u8> {
        let len = self.next() % len_max;
        (0..len).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn corpora_are_replayed() {
    for (target, body) in TARGETS {
        let mut count = 0;
        for file in fs::read_dir(folder(target)).unwrap() {
            body(&fs::read(file.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count >= 5, "the corpus of {target} has only {count} files");
    }
}

#[test]
fn random_bytes_break_nothing() {
    for (target, body) in TARGETS {
        let mut random = Random(target.len() as u64);
        for _ in 0..3_000 {
            body(&random.bytes(1_500));
        }
    }
}

/// A target that refuses everything would find nothing: random bytes must reach the parts of the stack.
#[test]
fn random_bytes_reach_every_part_of_tcp() {
    let mut random = Random(41);
    let mut sums = [0; 13];
    let mut closed = [0; tcp::CloseReason::ALL.len()];
    for _ in 0..3_000 {
        let counters = tcp::fuzz::run(&random.bytes(4_000));
        let reached = [
            counters.bytes_in,
            counters.out_of_order,
            counters.out_of_order_dropped,
            counters.pruned_bytes,
            counters.duplicates,
            counters.paws,
            counters.challenge_acks,
            counters.acks_unacceptable,
            counters.windows_closed,
            counters.keep_alives,
            counters.icmp_too_big,
            counters.time_wait_reused,
            counters.time_wait_evicted,
        ];
        sums.iter_mut().zip(reached).for_each(|(sum, reached)| *sum += reached);
        closed.iter_mut().zip(counters.closed).for_each(|(sum, closed)| *sum += closed);
    }
    assert!(sums.iter().all(|sum| *sum > 0), "{sums:?}");
    assert!(closed.iter().all(|count| *count > 0), "{closed:?}");
}

#[test]
#[ignore = "writes the seeds of the corpora"]
fn write_seeds() {
    for (target, _) in TARGETS {
        fs::create_dir_all(folder(target)).unwrap();
        let mut random = Random(target.len() as u64 * 7);
        for index in 0..6 {
            fs::write(folder(target).join(format!("random-{index}")), random.bytes(400 + index * 50))
                .unwrap();
        }
    }
    // An open, a handshake, data both ways, FIN both ways and the last ACK, as the fuzz body of splice reads them.
    let client = |flags| [1, 1, flags, 0, 0, 9, 0, 0, 5, 0].to_vec();
    let backend = |flags| [4, flags, 0, 0, 9, 0, 0, 5, 0].to_vec();
    let mut steps = vec![0, 0x20, 1, 1];
    for step in [backend(0), client(10), backend(10), client(10), client(25), backend(25), client(0)] {
        steps.extend(step);
    }
    fs::write(folder("net_splice").join("whole-life"), steps).unwrap();
    fs::write(folder("net_tcp").join("whole-life"), tcp::fuzz::seed()).unwrap();
    let pieces = [[8, 0, 4, 1, 200], [8, 4, 4, 2, 200], [0, 8, 4, 3, 20]].concat();
    fs::write(folder("net_fragment").join("three-in-order"), pieces).unwrap();
    let tcp4 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\x12\x34\x01\xbb";
    fs::write(folder("net_proxy_protocol").join("tcp4"), tcp4).unwrap();
    fs::write(folder("net_proxy_protocol").join("local"), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").unwrap();
}
