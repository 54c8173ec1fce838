//! Limiters: never more than the rate and the burst, whatever comes in whatever order.
#![cfg(not(loom))]

use core::net::IpAddr;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use secbeat_net::flow::{HashKey, hash_addr};
use secbeat_net::limit::{
    Admission, ConnectionCounts, ConnectionLimits, DEBT_SECS_MAX, Rate, RateCell, RateLimit, RateTable,
    Refusal,
};
use secbeat_net::time::Instant;

const KEY: HashKey = HashKey([11, 22]);

fn limit(count: u64, burst: u32) -> RateLimit {
    RateLimit::new(Rate { count, interval: Duration::from_secs(1), burst })
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(1_000_000 + millis)
}

/// Hashes that all fall into the first set.
fn hash(number: u64) -> u64 {
    number << 44
}

#[test]
fn burst_passes_at_once_and_then_the_rate() {
    let table = RateTable::new(64);
    let limit = limit(100, 5);
    let admitted = |now| (0..50).filter(|_| table.hit(hash(7), &limit, now).is_admitted()).count();
    assert_eq!(admitted(at(0)), 5);
    assert_eq!(admitted(at(9)), 0);
    assert_eq!(admitted(at(10)), 1);
    assert_eq!(admitted(at(40)), 3);
    assert_eq!(admitted(at(10_000)), 5, "a pause fills the burst and no more");
}

#[test]
fn keys_do_not_share_their_credit() {
    let table = RateTable::new(64);
    let limit = limit(1, 1);
    for number in 1..=8 {
        assert_eq!(table.hit(hash(number), &limit, at(0)), Admission::Admitted);
        assert_eq!(table.hit(hash(number), &limit, at(0)), Admission::Refused);
    }
    assert!(table.is_idle(hash(99), at(0)) && !table.is_idle(hash(3), at(0)));
    assert!(table.is_idle(hash(3), at(1001)));
}

#[test]
fn full_set_forgets_the_key_nearest_to_full_credit_and_says_so() {
    let table = RateTable::new(8);
    assert_eq!(table.slots(), 8);
    let limit = limit(1, 10);
    for number in 1..=8u64 {
        for _ in 0..number {
            assert_eq!(table.hit(hash(number), &limit, at(0)), Admission::Admitted);
        }
    }
    // Key 1 owes least: it goes. Then key 9 itself owes one, as little as key 1 did.
    assert_eq!(table.hit(hash(9), &limit, at(0)), Admission::AdmittedEvicting);
    assert_eq!(table.hit(hash(10), &limit, at(0)), Admission::AdmittedEvicting);
    for number in 2..=8u64 {
        assert!(!table.is_idle(hash(number), at(0)), "key {number} is still known");
    }
    // At 2.5 s keys 10 and 2 owe nothing any more; a new key takes the place of the longer idle one in silence.
    assert_eq!(table.hit(hash(11), &limit, at(2500)), Admission::Admitted);
}

#[test]
fn idle_key_is_replaced_before_one_that_owes() {
    let table = RateTable::new(8);
    let limit = limit(10, 2);
    for number in 1..=8u64 {
        assert!(table.hit(hash(number), &limit, at(number * 10_000)).is_admitted());
    }
    assert_eq!(table.hit(hash(9), &limit, at(80_000)), Admission::Admitted);
    // Key 1 was idle for longest and is gone; key 8 still owes.
    assert_eq!(table.hit(hash(8), &limit, at(80_000)), Admission::Admitted);
    assert_eq!(table.hit(hash(8), &limit, at(80_000)), Admission::Refused);
}

#[test]
fn times_wrap_without_locking_anybody_out() {
    let table = RateTable::new(8);
    let limit = limit(10, 3);
    // 2^44 units of 32 ns: the clock in the slots wraps every 562,949,953,421,312 ns.
    let wrap = 1u64 << 49;
    let second = 1_000_000_000;
    for start in [wrap - 50_000_000, 2 * wrap + 10 * second, 3 * wrap - 1, 5 * wrap - 5 * second] {
        let mut admitted = 0;
        for step in 0..100u64 {
            let now = Instant::from_nanos(start + step * 1_000_000);
            admitted += u32::from(table.hit(hash(1), &limit, now).is_admitted());
        }
        assert_eq!(admitted, 3, "in 99 ms after {start}");
    }
    // The worst case: the same phase of the clock one wrap later looks like the debt of just now, and passes like it.
    let later = Instant::from_nanos(6 * wrap - 5 * second);
    assert!(!table.hit(hash(1), &limit, later).is_admitted());
    assert!(table.hit(hash(1), &limit, later + Duration::from_millis(400)).is_admitted());
}

#[test]
fn extreme_rates_are_cut_to_what_a_slot_can_say() {
    let forever = RateLimit::new(Rate { count: 1, interval: Duration::from_secs(u64::MAX), burst: u32::MAX });
    let table = RateTable::new(8);
    assert!(table.hit(hash(1), &forever, at(0)).is_admitted());
    assert!(table.hit(hash(1), &forever, at(DEBT_SECS_MAX * 1000 * 2 + 1000)).is_admitted());
    let fast = RateLimit::new(Rate { count: u64::MAX, interval: Duration::from_nanos(1), burst: 0 });
    assert!(table.hit(hash(2), &fast, Instant::from_nanos(1_000_000_000)).is_admitted());
    assert!(table.hit(hash(2), &fast, Instant::from_nanos(1_000_000_064)).is_admitted());
    let zero = RateLimit::new(Rate { count: 0, interval: Duration::ZERO, burst: 0 });
    assert!(table.hit(hash(3), &zero, at(0)).is_admitted());
    table.clear();
    assert!(table.is_idle(hash(1), at(0)));
}

#[test]
fn cell_takes_several_at_once_or_none() {
    let cell = RateCell::new(at(0));
    let limit = limit(1000, 10);
    assert!(cell.hit(&limit, 10, at(0)).is_admitted());
    assert!(!cell.hit(&limit, 1, at(0)).is_admitted());
    assert!(!cell.hit(&limit, 6, at(5)).is_admitted());
    assert!(cell.hit(&limit, 5, at(5)).is_admitted());
    assert!(!cell.hit(&limit, 11, at(10_000)).is_admitted(), "more than the burst never passes at once");
}

#[test]
fn workers_together_admit_no_more_than_one_would() {
    let table = Arc::new(RateTable::new(1024));
    let admitted = Arc::new(AtomicU32::new(0));
    let limit = limit(1000, 100);
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let (table, admitted) = (Arc::clone(&table), Arc::clone(&admitted));
            std::thread::spawn(move || {
                for step in 0..20_000u64 {
                    // Other keys pass through the same set.
                    let _ = table.hit(hash(100 + (step + worker) % 5), &limit, at(step / 100));
                    let hit = table.hit(hash(1), &limit, at(step / 100));
                    admitted.fetch_add(u32::from(hit.is_admitted()), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    let admitted = admitted.load(Ordering::Relaxed);
    assert!((290..=300).contains(&admitted), "{admitted} of 80,000 admitted in 199 ms");
}

proptest! {
    #[test]
    fn never_more_than_rate_and_burst_in_any_window(
        count in 1u64..200_000,
        burst in 1u32..200,
        gaps in proptest::collection::vec((0u64..3_000_000, 1u64..4), 1..400),
    ) {
        let limit = RateLimit::new(Rate { count, interval: Duration::from_secs(1), burst });
        let table = RateTable::new(64);
        let mut now = 5_000_000_000u64;
        let mut admitted: HashMap<u64, Vec<u64>> = HashMap::new();
        for (gap, key) in gaps {
            now += gap;
            if table.hit(hash(key), &limit, Instant::from_nanos(now)).is_admitted() {
                admitted.entry(key).or_default().push(now);
            }
        }
        for times in admitted.values() {
            for (first, start) in times.iter().enumerate() {
                for (last, end) in times.iter().enumerate().skip(first) {
                    let seconds = (end - start) as f64 / 1e9;
                    // One unit of time (32 ns) of rounding per window.
                    let allowed = f64::from(burst) + (seconds + 64e-9) * count as f64;
                    prop_assert!((last - first + 1) as f64 <= allowed.floor() + 1e-9);
                }
            }
        }
    }

    #[test]
    fn never_refuses_who_keeps_the_rate(count in 1u64..100_000, burst in 1u32..50, steps in 1usize..300) {
        let limit = RateLimit::new(Rate { count, interval: Duration::from_secs(1), burst });
        let table = RateTable::new(64);
        // The increment is rounded up by less than one unit of 32 ns.
        let gap = 1_000_000_000u64.div_ceil(count) + 64;
        for step in 0..steps as u64 {
            prop_assert!(table.hit(hash(1), &limit, Instant::from_nanos(7_000_000_000 + step * gap)).is_admitted());
        }
    }

    #[test]
    fn counts_follow_a_model(
        steps in proptest::collection::vec((0u8..12, any::<bool>(), any::<bool>()), 1..400),
        per_source in 1u32..5,
        per_prefix in 1u32..8,
        total in 1u32..20,
    ) {
        let limits = ConnectionLimits { per_source, per_prefix, total, ..ConnectionLimits::NONE };
        let counts = ConnectionCounts::new(64, KEY);
        let mut open: Vec<IpAddr> = Vec::new();
        for (number, is_open, exempt) in steps {
            // Three prefixes of four sources.
            let source = IpAddr::from([10, 0, number / 4, number % 4]);
            let prefix_of = |addr: &IpAddr| match addr { IpAddr::V4(a) => a.octets()[2], IpAddr::V6(_) => 0 };
            if is_open {
                let of_source = open.iter().filter(|addr| **addr == source).count() as u32;
                let of_prefix = open.iter().filter(|addr| prefix_of(addr) == number / 4).count() as u32;
                let expected = if exempt {
                    Ok(())
                } else if open.len() as u32 >= total {
                    Err(Refusal::Total)
                } else if of_prefix >= per_prefix {
                    Err(Refusal::Prefix)
                } else if of_source >= per_source {
                    Err(Refusal::Source)
                } else {
                    Ok(())
                };
                // An exempt source needs slots too; keep the model within the table.
                if open.len() < 32 {
                    prop_assert_eq!(counts.acquire(source, &limits, exempt), expected);
                    if expected.is_ok() {
                        open.push(source);
                    }
                }
            } else if let Some(position) = open.iter().position(|addr| *addr == source) {
                open.swap_remove(position);
                counts.release(source, &limits);
            }
            prop_assert_eq!(counts.total(), open.len() as u32);
            let of_source = open.iter().filter(|addr| **addr == source).count() as u32;
            prop_assert_eq!(counts.of_source(source, &limits), of_source);
        }
        for source in open {
            counts.release(source, &limits);
            let _ = counts.of_prefix(source, &limits);
        }
        prop_assert_eq!(counts.total(), 0);
        for number in 0..12u8 {
            let source = IpAddr::from([10, 0, number / 4, number % 4]);
            prop_assert_eq!((counts.of_source(source, &limits), counts.of_prefix(source, &limits)), (0, 0));
        }
    }
}

#[test]
fn ipv6_hosts_share_the_count_of_their_network() {
    let limits = ConnectionLimits { per_source: 2, source_len_v6: 64, ..ConnectionLimits::NONE };
    let counts = ConnectionCounts::new(100, KEY);
    let host = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, last]);
    assert_eq!(counts.acquire(host(1), &limits, false), Ok(()));
    assert_eq!(counts.acquire(host(2), &limits, false), Ok(()));
    assert_eq!(counts.acquire(host(3), &limits, false), Err(Refusal::Source));
    assert_eq!(counts.acquire(host(3), &limits, true), Ok(()), "an exempt source is not refused");
    counts.release(host(9), &limits);
    assert_eq!(counts.of_source(host(1), &limits), 2);
}

#[test]
fn table_at_its_limit_counts_every_source_apart() {
    let counts = ConnectionCounts::new(10_000, KEY);
    let limits = ConnectionLimits { per_source: 1, total: 10_000, ..ConnectionLimits::NONE };
    let source = |number: u32| IpAddr::from((0x0a00_0000 + number * 256).to_be_bytes());
    for number in 0..10_000 {
        assert_eq!(counts.acquire(source(number), &limits, false), Ok(()), "source {number}");
    }
    assert_eq!(counts.acquire(source(10_000), &limits, false), Err(Refusal::Total));
    for number in 0..10_000 {
        assert_eq!(counts.of_source(source(number), &limits), 1);
        counts.release(source(number), &limits);
    }
    assert_eq!(counts.total(), 0);
    counts.release(source(1), &limits);
    assert_eq!(counts.total(), 0, "a release too many takes nothing below zero");
}

#[test]
fn hash_of_an_address_fills_a_table_evenly() {
    let table = RateTable::new(1 << 14);
    let limit = limit(1, 1);
    let mut evicted = 0;
    for number in 0..1u32 << 13 {
        let addr = IpAddr::from(number.to_be_bytes());
        evicted +=
            u32::from(table.hit(hash_addr(&KEY, addr, 0), &limit, at(0)) == Admission::AdmittedEvicting);
    }
    // Half full: a set of 8 with 4 expected overflows now and then (2 %).
    assert!(evicted < 200, "{evicted} of 8192 evicted");
}
