//! What the faces refused, counted.
//!
//! Owns: the numbers. Does not own: their exposition.

use core::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Connections beyond the limit of a listener or an address.
    ConnectionsRefused,
    /// Connections beyond the limit of handshakes at the same time.
    HandshakesRefused,
    /// Handshakes that failed: another authority, an ended certificate, too slow.
    HandshakesFailed,
    /// Wrong, ended or revoked tokens and certificates.
    LoginsFailed,
    /// Those of addresses that fail too often.
    LoginsLimited,
    /// Requests of clients that ask too often.
    RequestsLimited,
    /// Requests that took too long.
    RequestsTimedOut,
    /// Requests beyond the limit of requests at the same time.
    RequestsRefused,
}

impl Counter {
    /// Every counter with its name in the metrics.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::ConnectionsRefused, "connections_refused"),
        (Self::HandshakesRefused, "handshakes_refused"),
        (Self::HandshakesFailed, "handshakes_failed"),
        (Self::LoginsFailed, "logins_failed"),
        (Self::LoginsLimited, "logins_limited"),
        (Self::RequestsLimited, "requests_limited"),
        (Self::RequestsTimedOut, "requests_timed_out"),
        (Self::RequestsRefused, "requests_refused"),
    ];
}

/// The numbers, since the start.
#[derive(Debug, Default)]
pub struct Counters {
    counts: [AtomicU64; Counter::ALL.len()],
}

impl Counters {
    /// Counts one.
    pub fn add(&self, counter: Counter) {
        if let Some(count) = self.counts.get(counter as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many so far.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counts.get(counter as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}
