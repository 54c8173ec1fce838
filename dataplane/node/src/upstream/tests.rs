//! Backends with real sockets on loopback.

use core::net::SocketAddr;
use core::time::Duration;
use std::net::TcpListener;
use std::sync::atomic::AtomicUsize;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn quick(settings: Settings) -> Settings {
    Settings {
        health: HealthSettings {
            enable: true,
            interval: Duration::from_millis(20),
            timeout: Duration::from_millis(20),
            rise: 2,
            fall: 2,
        },
        ejection: EjectionSettings {
            failures: 3,
            backoff: Duration::from_millis(200),
            backoff_max: Duration::from_secs(1),
        },
        ..settings
    }
}

fn two(first: SocketAddr, second: SocketAddr) -> Settings {
    Settings::one_group(vec![BackendSettings::new("first", first), BackendSettings::new("second", second)])
}

/// Waits until `done` holds; a health check is a real event, so there is something to wait for.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn usable(upstream: &Upstream, index: u16) -> bool {
    upstream.snapshot().backend(BackendId(index)).unwrap().usable
}

fn fail(upstream: &Upstream, backend: BackendId) {
    upstream.report(BackendOutcome { backend, outcome: Outcome::Failed });
}

#[test]
fn backend_goes_down_and_up_with_its_listener_and_options_are_learnt() {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let second_addr = second.local_addr().unwrap();
    let upstream = Upstream::new(quick(two(first.local_addr().unwrap(), second_addr))).unwrap();
    let changes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&changes);
    upstream.on_change(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    upstream.start().unwrap();
    eventually("learning options", || upstream.snapshot().groups[0].offer.is_some());
    assert!(upstream.snapshot().groups[0].offer.unwrap().mss > 500);
    drop(second);
    eventually("going down", || !usable(&upstream, 1));
    let snapshot = upstream.snapshot();
    assert!((0..1_000).all(|hash| snapshot.pick(0, hash, 0) == Some(BackendId(0))));
    assert_eq!(upstream.status().backends[1].health, Checked::Down);
    assert!(upstream.status().backends[1].last_error.is_some());
    let _second = TcpListener::bind(second_addr).unwrap();
    eventually("coming up", || usable(&upstream, 1));
    assert!(changes.load(Ordering::Relaxed) >= 3, "options, down, up");
}

#[test]
fn failures_in_a_row_eject_for_a_while_but_never_the_last_one() {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = quick(two(first.local_addr().unwrap(), second.local_addr().unwrap()));
    let upstream = Upstream::new(settings).unwrap();
    upstream.start().unwrap();
    for _ in 0..3 {
        fail(&upstream, BackendId(0));
    }
    eventually("ejection", || !usable(&upstream, 0));
    for _ in 0..3 {
        fail(&upstream, BackendId(1));
    }
    eventually("refusal", || upstream.status().ejections_refused_total == 1);
    assert!(usable(&upstream, 1));
    eventually("return", || usable(&upstream, 0));
}

#[test]
fn success_between_failures_prevents_ejection() {
    let addr = "127.0.0.1:9".parse().unwrap();
    let mut settings = quick(two(addr, addr));
    settings.health.enable = false;
    let upstream = Upstream::new(settings).unwrap();
    for _ in 0..5 {
        fail(&upstream, BackendId(0));
        fail(&upstream, BackendId(0));
        upstream.report(BackendOutcome { backend: BackendId(0), outcome: Outcome::Established });
    }
    upstream.on_tick();
    assert!(usable(&upstream, 0));
    assert_eq!(upstream.status().backends[0].failures_total, 10);
}

#[test]
fn drained_backend_takes_no_new_connection() {
    let addr = "127.0.0.1:9".parse().unwrap();
    let upstream = Upstream::new(two(addr, addr)).unwrap();
    assert!(upstream.set_drain("first", true));
    assert!(!upstream.set_drain("nobody", true));
    let snapshot = upstream.snapshot();
    assert!((0..1_000).all(|hash| snapshot.pick(0, hash, 0) == Some(BackendId(1))));
    assert_eq!(snapshot.pick(0, 1, 1), None);
    assert!(upstream.set_drain("first", false));
    assert!(usable(&upstream, 0));
}

#[test]
fn full_backend_is_passed_over_until_a_connection_closes() {
    let addr = "127.0.0.1:9".parse().unwrap();
    let mut settings = two(addr, addr);
    settings.backends[0].connections_max = 2;
    let upstream = Upstream::new(settings).unwrap();
    let snapshot = upstream.snapshot();
    assert!(snapshot.reserve(BackendId(0)) && snapshot.reserve(BackendId(0)));
    assert!(!snapshot.reserve(BackendId(0)));
    assert!((0..1_000).all(|hash| snapshot.pick(0, hash, 0) == Some(BackendId(1))));
    upstream.report(BackendOutcome { backend: BackendId(0), outcome: Outcome::Closed });
    assert!((0..1_000).any(|hash| snapshot.pick(0, hash, 0) == Some(BackendId(0))));
}

#[test]
fn name_is_resolved_before_its_backend_is_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut settings = quick(two(listener.local_addr().unwrap(), listener.local_addr().unwrap()));
    settings.backends[1].target = Target::Name { host: "localhost".into(), port };
    settings.backends[1].wants_ipv4 = Some(true);
    let upstream = Upstream::new(settings).unwrap();
    assert!(!usable(&upstream, 1));
    upstream.start().unwrap();
    eventually("resolution", || usable(&upstream, 1));
    assert_eq!(upstream.snapshot().backends[1].address, Some(listener.local_addr().unwrap()));
}

#[test]
fn status_is_json_with_the_state_of_every_backend() {
    let addr = "127.0.0.1:9".parse().unwrap();
    let upstream = Upstream::new(two(addr, addr)).unwrap();
    let json = serde_json::to_value(upstream.status()).unwrap();
    assert_eq!(json["backends"][0]["health"], "unknown");
    assert_eq!(json["backends"][1]["usable"], true);
}

#[test]
fn each_attempt_gives_another_backend_until_all_were_tried() {
    let backends =
        (0..5).map(|n| BackendSettings::new(format!("b{n}"), SocketAddr::from(([127, 0, 0, 1], 90 + n))));
    let upstream = Upstream::new(Settings::one_group(backends.collect())).unwrap();
    let snapshot = upstream.snapshot();
    for hash in 0..200 {
        let mut tried: Vec<u16> = (0..5).map(|attempt| snapshot.pick(0, hash, attempt).unwrap().0).collect();
        tried.sort_unstable();
        assert_eq!(tried, [0, 1, 2, 3, 4]);
        assert_eq!(snapshot.pick(0, hash, 5), None);
    }
    assert_eq!(snapshot.pick(1, 0, 0), None, "there is no second group");
}
