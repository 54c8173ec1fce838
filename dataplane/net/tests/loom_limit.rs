//! The limiters under every order of events of two or three workers.
//!
//! Run with `scripts/loom.sh` (`RUSTFLAGS="--cfg loom" cargo test -p secbeat-net --test loom_limit`).
#![cfg(loom)]

use core::net::IpAddr;
use core::time::Duration;

use loom::sync::Arc;
use loom::thread;
use secbeat_net::flow::HashKey;
use secbeat_net::limit::{ConnectionCounts, ConnectionLimits, Rate, RateCell, RateLimit, RateTable, Refusal};
use secbeat_net::time::Instant;

const NOW: Instant = Instant::from_millis(1_000_000);

fn limit(burst: u32) -> RateLimit {
    RateLimit::new(Rate { count: 1, interval: Duration::from_secs(1), burst })
}

#[test]
fn cell_admits_exactly_its_burst() {
    loom::model(|| {
        let cell = Arc::new(RateCell::new(NOW));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let cell = Arc::clone(&cell);
                thread::spawn(move || u32::from(cell.hit(&limit(2), 1, NOW).is_admitted()))
            })
            .collect();
        let ours = u32::from(cell.hit(&limit(2), 1, NOW).is_admitted());
        let theirs: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(ours + theirs, 2);
    });
}

#[test]
fn new_key_met_by_two_workers_gets_one_slot() {
    loom::model(|| {
        let table = Arc::new(RateTable::new(2));
        let other = Arc::clone(&table);
        let worker = thread::spawn(move || u32::from(other.hit(5 << 44, &limit(1), NOW).is_admitted()));
        let ours = u32::from(table.hit(5 << 44, &limit(1), NOW).is_admitted());
        assert_eq!(ours + worker.join().unwrap(), 1);
    });
}

#[test]
fn two_new_keys_at_once_keep_their_own_limits() {
    loom::model(|| {
        let table = Arc::new(RateTable::new(2));
        let other = Arc::clone(&table);
        let hits = |table: &RateTable, key: u64| {
            u32::from(table.hit(key << 44, &limit(1), NOW).is_admitted())
                + u32::from(table.hit(key << 44, &limit(1), NOW).is_admitted())
        };
        let worker = thread::spawn(move || hits(&other, 6));
        assert_eq!(hits(&table, 5), 1);
        assert_eq!(worker.join().unwrap(), 1);
    });
}

#[test]
fn connections_never_exceed_the_limit_of_a_source() {
    loom::model(|| {
        let counts = Arc::new(ConnectionCounts::new(4, HashKey([1, 2])));
        let limits = ConnectionLimits { per_source: 1, ..ConnectionLimits::NONE };
        let source = IpAddr::from([192, 0, 2, 1]);
        let other = Arc::clone(&counts);
        let worker = thread::spawn(move || other.acquire(source, &limits, false).is_ok());
        let ours = counts.acquire(source, &limits, false).is_ok();
        let theirs = worker.join().unwrap();
        assert!(ours != theirs, "exactly one of two is admitted");
        assert_eq!((counts.total(), counts.of_source(source, &limits)), (1, 1));
        counts.release(source, &limits);
        assert_eq!((counts.total(), counts.of_source(source, &limits)), (0, 0));
        assert_eq!(counts.of_prefix(source, &limits), 0);
    });
}

#[test]
fn a_refused_connection_leaves_no_count_behind() {
    loom::model(|| {
        let counts = Arc::new(ConnectionCounts::new(4, HashKey([1, 2])));
        let limits = ConnectionLimits { total: 1, ..ConnectionLimits::NONE };
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 51, 100, 1]));
        let other = Arc::clone(&counts);
        let worker = thread::spawn(move || {
            let opened = other.acquire(a, &limits, false);
            if opened.is_ok() {
                other.release(a, &limits);
            }
            opened
        });
        let ours = counts.acquire(b, &limits, false);
        if ours.is_ok() {
            counts.release(b, &limits);
        }
        let theirs = worker.join().unwrap();
        assert!(ours.is_ok() || theirs.is_ok());
        assert!([ours, theirs].iter().all(|result| matches!(result, Ok(()) | Err(Refusal::Total))));
        assert_eq!(counts.total(), 0);
        for source in [a, b] {
            assert_eq!((counts.of_source(source, &limits), counts.of_prefix(source, &limits)), (0, 0));
        }
    });
}
