//! The table alone: a multiset, also with many threads at one bucket. What the program reads of it is tested in
//! `dataplane/node/tests/xdp_cookies.rs`.

use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;

use super::*;

fn memory(buckets: usize) -> Vec<AtomicU32> {
    (0..buckets * BUCKET_WORDS).map(|_| AtomicU32::new(0)).collect()
}

/// Whether nothing is left, in no place and in no overflow.
fn is_empty(words: &[AtomicU32]) -> bool {
    words.iter().all(|word| word.load(Ordering::Relaxed) == 0)
}

/// A hash with this fingerprint in this bucket.
fn made(bucket: u64, fingerprint: u64) -> u64 {
    fingerprint << 32 | bucket
}

#[test]
fn sizes_follow_the_flows_within_their_bounds() {
    assert_eq!(bucket_count(0), 64);
    assert_eq!(bucket_count(480), 64);
    assert_eq!(bucket_count(481), 128);
    assert_eq!(bucket_count(1_000_000), 262_144);
    assert_eq!(bucket_count(usize::MAX), 1_048_576);
    assert_eq!(BUCKET_WORDS * 4, 64, "a cache line");
}

#[test]
fn the_hash_depends_on_every_part_of_the_flow_and_on_the_key() {
    let flow = |client: &str, service: &str| GateFlow {
        client: client.parse().unwrap(),
        service: service.parse().unwrap(),
    };
    let mut hashes: Vec<_> = [
        flow("192.0.2.1:1000", "198.51.100.1:80"),
        flow("192.0.2.2:1000", "198.51.100.1:80"),
        flow("192.0.2.1:1001", "198.51.100.1:80"),
        flow("192.0.2.1:1000", "198.51.100.2:80"),
        flow("192.0.2.1:1000", "198.51.100.1:81"),
        flow("[2001:db8::1]:1000", "[2001:db8::2]:80"),
        flow("[2001:db8:1::1]:1000", "[2001:db8::2]:80"),
        flow("[2001:db8::1]:1000", "[2001:db8:1::2]:80"),
        flow("[2001:db8::1]:1000", "[2001:db8::3]:80"),
    ]
    .iter()
    .flat_map(|flow| [hash([1, 2], flow), hash([1, 3], flow), hash([2, 2], flow)])
    .collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 27);
}

#[test]
fn a_full_bucket_counts_what_it_cannot_hold() {
    let words = memory(2);
    let table = FlowTable::new(&words);
    for fingerprint in 1..=15 {
        assert!(table.insert(made(1, fingerprint)));
    }
    assert!(!table.contains(made(1, 99)));
    assert!(!table.insert(made(1, 16)) && !table.insert(made(1, 17)));
    assert!(table.contains(made(1, 99)), "anything may be open now");
    assert!(!table.contains(made(0, 1)), "but not in the other bucket");
    for fingerprint in 1..=16 {
        table.remove(made(1, fingerprint));
    }
    assert!(table.contains(made(1, 17)), "the last one is still counted");
    table.remove(made(1, 17));
    assert!(!table.contains(made(1, 17)) && is_empty(&words));
    // A fingerprint of 0 would look like an empty place.
    assert!(table.insert(made(0, 0)));
    assert!(table.contains(made(0, 0)) && table.contains(made(0, 1)));
    table.remove(made(0, 0));
    assert!(is_empty(&words));
}

proptest! {
    /// Any order of insertions and removals: what is in is found, and nothing is left when all have gone. Few
    /// fingerprints, so that many are equal and buckets overflow.
    #[test]
    fn a_multiset_whatever_the_order(steps in prop::collection::vec((0u64..2, 1u64..6, any::<bool>()), 0..200)) {
        let words = memory(2);
        let table = FlowTable::new(&words);
        let mut held = Vec::new();
        for (bucket, fingerprint, is_insertion) in steps {
            let hash = made(bucket, fingerprint);
            if is_insertion {
                table.insert(hash);
                held.push(hash);
            } else if let Some(at) = held.iter().position(|other| *other == hash) {
                held.swap_remove(at);
                table.remove(hash);
            }
            for hash in &held {
                prop_assert!(table.contains(*hash));
            }
        }
        for hash in held {
            table.remove(hash);
        }
        prop_assert!(is_empty(&words));
    }
}

#[test]
fn threads_at_one_bucket_lose_nothing_and_leave_nothing() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 20_000;
    let words = memory(1);
    let (table, barrier) = (FlowTable::new(&words), Barrier::new(THREADS as usize));
    thread::scope(|scope| {
        for id in 0..THREADS {
            let barrier = &barrier;
            scope.spawn(move || {
                let mut held = std::collections::VecDeque::new();
                barrier.wait();
                for round in 0..ROUNDS {
                    // Three fingerprints that all threads use, one of their own; up to seven held: 28 for 15 places.
                    let fingerprint = if round % 4 == 0 { 100 + id } else { 1 + round % 3 };
                    table.insert(made(0, fingerprint));
                    held.push_back(fingerprint);
                    while held.len() > (round % 8) as usize {
                        let Some(oldest) = held.pop_front() else { break };
                        assert!(
                            table.contains(made(0, oldest)),
                            "thread {id}, round {round}: {oldest} is in"
                        );
                        table.remove(made(0, oldest));
                    }
                }
                for fingerprint in held {
                    assert!(table.contains(made(0, fingerprint)));
                    table.remove(made(0, fingerprint));
                }
            });
        }
    });
    assert!(is_empty(&words), "{words:?}");
}
