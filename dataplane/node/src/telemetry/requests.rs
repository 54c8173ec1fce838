//! What a worker counts about requests: how many by method and status, how long they took, what was wrong with them.
//!
//! Owns: [`RequestCounters`], part of a worker's page. Does not own: names and help of metrics (`metrics`).
//! One writer, plain loads and stores, as in `counters`. 42 KiB a worker: a number per method and status is cheaper
//! than any table that must be searched.

use core::time::Duration;

use secbeat_http::error::Error;
use secbeat_http::h2::Violation;
use secbeat_http::head::Method;

use super::number::Number;
use crate::session::tls::Outcome;

/// Methods told apart; the last one stands for all others and for requests whose method could not be read.
pub const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other"];

/// Statuses that can be sent: 100 to 599. Status 0 (nothing was answered) is counted as [`STATUS_NONE`].
const STATUSES: usize = 500;
const STATUS_FIRST: u16 = 100;
/// What a request counts as whose client or backend went away before an answer began (as nginx does).
pub const STATUS_NONE: u16 = 499;

/// Upper ends of the response time's buckets, in seconds. From what one adds on the same machine to what a browser
/// waits for.
pub const BUCKETS_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The same in nanoseconds.
const BUCKETS_NANOS: [u64; 14] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// The numbers of one worker.
#[derive(Debug)]
pub struct RequestCounters {
    answered: [[Number; STATUSES]; METHODS.len()],
    /// One more than the buckets: what is above the last.
    times: [Number; BUCKETS_NANOS.len() + 1],
    time_nanos: Number,
    errors: [Number; Error::ALL.len()],
    violations: [Number; Violation::ALL.len()],
    handshakes: [Number; Outcome::COUNT],
}

impl RequestCounters {
    /// Zeros.
    pub(super) const fn new() -> Self {
        Self {
            answered: [const { [const { Number::new() }; STATUSES] }; METHODS.len()],
            times: [const { Number::new() }; BUCKETS_NANOS.len() + 1],
            time_nanos: Number::new(),
            errors: [const { Number::new() }; Error::ALL.len()],
            violations: [const { Number::new() }; Violation::ALL.len()],
            handshakes: [const { Number::new() }; Outcome::COUNT],
        }
    }

    /// Counts a request that has ended; `method`: `None` when it could not be read. Only the worker that owns the page
    /// may call this.
    pub fn count(&self, method: Option<Method>, status: u16, time: Duration) {
        let status = if status < STATUS_FIRST { STATUS_NONE } else { status };
        let row = &self.answered[method.map_or(METHODS.len() - 1, index)];
        row[usize::from(status - STATUS_FIRST).min(STATUSES - 1)].add(1);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_NANOS.iter().position(|end| nanos <= *end).unwrap_or(BUCKETS_NANOS.len());
        self.times[bucket].add(1);
        self.time_nanos.add(nanos);
    }

    /// Counts a message that was refused. Only the worker that owns the page may call this.
    pub fn count_error(&self, error: Error) {
        if let Some(number) = self.errors.get(error as usize) {
            number.add(1);
        }
    }

    /// Counts a violation of HTTP/2. Only the worker that owns the page may call this.
    pub fn count_violation(&self, violation: Violation) {
        if let Some(number) = self.violations.get(violation.index()) {
            number.add(1);
        }
    }

    /// Counts a TLS handshake that has ended. Only the worker that owns the page may call this.
    pub fn count_handshake(&self, outcome: Outcome) {
        if let Some(number) = self.handshakes.get(outcome as usize) {
            number.add(1);
        }
    }

    /// Requests by method and status, those that occurred.
    pub fn answered(&self) -> impl Iterator<Item = (usize, u16, u64)> {
        self.answered.iter().enumerate().flat_map(|(method, row)| {
            let counts = row.iter().enumerate().map(|(status, number)| (status as u16, number.get()));
            counts.filter(|(_, count)| *count > 0).map(move |(status, n)| (method, status + STATUS_FIRST, n))
        })
    }

    /// Requests in all.
    pub fn total(&self) -> u64 {
        self.times.iter().map(Number::get).sum()
    }

    /// Requests per bucket of time, each with those of shorter ones (as Prometheus wants them), the last with all.
    pub fn times(&self) -> [u64; BUCKETS_SECONDS.len() + 1] {
        let mut sum = 0;
        core::array::from_fn(|bucket| {
            sum += self.times[bucket].get();
            sum
        })
    }

    /// Sum of all response times, seconds.
    pub fn time_seconds(&self) -> f64 {
        self.time_nanos.get() as f64 / 1e9
    }

    /// Messages refused for a reason.
    pub fn errors(&self, error: Error) -> u64 {
        self.errors.get(error as usize).map_or(0, Number::get)
    }

    /// Violations of a kind.
    pub fn violations(&self, violation: Violation) -> u64 {
        self.violations.get(violation.index()).map_or(0, Number::get)
    }

    /// TLS handshakes that ended so.
    pub fn handshakes(&self, outcome: Outcome) -> u64 {
        self.handshakes.get(outcome as usize).map_or(0, Number::get)
    }
}

/// Place of a method in [`METHODS`].
fn index(method: Method) -> usize {
    match method {
        Method::Get => 0,
        Method::Head => 1,
        Method::Post => 2,
        Method::Put => 3,
        Method::Delete => 4,
        Method::Connect => 5,
        Method::Options => 6,
        Method::Trace => 7,
        Method::Patch => 8,
        Method::Other => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_under_method_status_and_time() {
        let counters = RequestCounters::new();
        counters.count(Some(Method::Get), 200, Duration::from_micros(400));
        counters.count(Some(Method::Get), 200, Duration::from_millis(40));
        counters.count(None, 400, Duration::from_secs(20));
        counters.count(Some(Method::Patch), 0, Duration::ZERO);
        counters.count(Some(Method::Other), 999, Duration::ZERO);
        let answered: Vec<_> = counters.answered().collect();
        assert_eq!(answered, [(0, 200, 2), (8, STATUS_NONE, 1), (9, 400, 1), (9, 599, 1)]);
        let times = counters.times();
        assert_eq!((times[0], times[6], times[13], times[14]), (3, 4, 4, 5));
        assert_eq!(counters.total(), 5);
        assert!((counters.time_seconds() - 20.0404).abs() < 1e-6);
    }

    #[test]
    fn every_error_and_violation_has_a_number_of_its_own() {
        let counters = RequestCounters::new();
        for error in Error::ALL {
            counters.count_error(*error);
        }
        for violation in Violation::ALL {
            counters.count_violation(*violation);
        }
        assert!(Error::ALL.iter().all(|error| counters.errors(*error) == 1));
        assert!(Violation::ALL.iter().all(|violation| counters.violations(*violation) == 1));
    }

    #[test]
    fn buckets_in_seconds_and_nanoseconds_agree() {
        for (seconds, nanos) in BUCKETS_SECONDS.iter().zip(BUCKETS_NANOS) {
            assert_eq!((seconds * 1e9).round() as u64, nanos);
        }
    }
}
