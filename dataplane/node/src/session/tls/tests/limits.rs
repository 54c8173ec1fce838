//! Handshakes per source and worker.

use secbeat_net::time::Instant;

use super::pair::{Pair, SOURCE};
use super::site::{NO_LIMITS, NOW, Site};
use crate::session::tls::{Engine, Outcome, Output, Received, Stream, TlsError};

/// Sends the hello of a new client from `source`.
fn hello(
    site: &Site,
    engine: &mut Engine,
    source: &str,
    is_exempt: bool,
    now: Instant,
) -> Result<Received, TlsError> {
    let mut bytes = Pair::new(site.client(), "a.test").wire();
    let mut stream = Stream::new(source.parse().unwrap(), is_exempt);
    let (mut plain, mut output) = (Vec::new(), Output::new());
    let result = stream.receive(engine, &mut bytes, &mut plain, &mut output, now);
    assert_eq!(result.is_ok(), !output.is_empty(), "nothing is computed for what is refused");
    result
}

#[test]
fn source_that_begins_too_many_handshakes_is_refused_before_cryptography() {
    let site = Site::new();
    site.issue("a", &["a.test"]);
    let lines = "source_handshake_rate = 10\nsource_handshake_burst = 3\nworker_handshake_rate = 0";
    let mut engine = site.engine(&["a"], lines);
    for _ in 0..3 {
        hello(&site, &mut engine, "192.0.2.7", false, NOW).unwrap();
    }
    let refused = hello(&site, &mut engine, "192.0.2.7", false, NOW).unwrap_err();
    assert_eq!((&refused, refused.outcome()), (&TlsError::SourceLimit, Outcome::SourceLimit));
    hello(&site, &mut engine, "192.0.2.8", false, NOW).expect("another source");
    hello(&site, &mut engine, "192.0.2.7", true, NOW).expect("allowlisted");
    let later = Instant::from_millis(NOW.as_millis() + 110);
    hello(&site, &mut engine, "192.0.2.7", false, later).expect("credit comes back");
    // A host owns its /64.
    for host in 0..3 {
        hello(&site, &mut engine, &format!("2001:db8::{host}"), false, NOW).unwrap();
    }
    assert!(hello(&site, &mut engine, "2001:db8::ffff", false, NOW).is_err());
    hello(&site, &mut engine, "2001:db8:0:1::1", false, NOW).expect("another network");
}

#[test]
fn worker_takes_so_many_handshakes_of_all_sources() {
    let site = Site::new();
    site.issue("a", &["a.test"]);
    let mut engine = site.engine(&["a"], "source_handshake_rate = 0\nworker_handshake_rate = 20");
    let admitted =
        (0..10).filter(|host| hello(&site, &mut engine, &format!("192.0.2.{host}"), false, NOW).is_ok());
    assert_eq!(admitted.count(), 2, "a tenth of a second's worth at once");
    let refused = hello(&site, &mut engine, "192.0.2.99", false, NOW).unwrap_err();
    assert_eq!(refused.outcome(), Outcome::WorkerLimit);
}

#[test]
fn connection_that_says_nothing_counts_for_nothing() {
    let site = Site::new();
    site.issue("a", &["a.test"]);
    let mut engine = site.engine(&["a"], "source_handshake_rate = 1\nsource_handshake_burst = 1");
    let mut bytes = Pair::new(site.client(), "a.test").wire();
    let (mut plain, mut output) = (Vec::new(), Output::new());
    for _ in 0..10 {
        let mut stream = Stream::new(SOURCE, false);
        let len = bytes.len() - 1;
        stream.receive(&mut engine, &mut bytes[..len], &mut plain, &mut output, NOW).unwrap();
    }
    hello(&site, &mut engine, "192.0.2.7", false, NOW).expect("the first whole one");
}

#[test]
fn no_limit_means_none() {
    let site = Site::new();
    site.issue("a", &["a.test"]);
    let mut engine = site.engine(&["a"], NO_LIMITS);
    for _ in 0..150 {
        hello(&site, &mut engine, "192.0.2.7", false, NOW).unwrap();
    }
}
