//! The circuit breaker of one backend as one worker sees it.
//!
//! ```text
//!   Closed --share of failures >= percent--> Open(until) --until passed--> HalfOpen (one request tries)
//!     ^                                        ^                               |         |
//!     '----------------------------------------|------------- it succeeds -----'         |
//!                                              '---------------- it fails ---------------'
//! ```
//!
//! Owns: the state machine, pure. Does not own: what counts as a failure (`upstream::http`); the ejection of backends
//! that accept no connections, which all workers share (`upstream::health`). Cost: 48 bytes a backend, no atomic.

use secbeat_net::time::Instant;

use super::settings::BreakerSettings;

/// Requests and failures within a window.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    start: Option<Instant>,
    requests: u32,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed(Window),
    Open {
        until: Instant,
    },
    /// `is_trying`: the one request is on its way.
    HalfOpen {
        is_trying: bool,
    },
}

/// The breaker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breaker {
    state: State,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed(Window::default()) }
    }
}

impl Breaker {
    /// Whether a request may go to the backend now.
    pub(super) fn admits(&self, now: Instant) -> bool {
        match self.state {
            State::Closed(_) => true,
            State::Open { until } => now >= until,
            State::HalfOpen { is_trying } => !is_trying,
        }
    }

    /// A request goes to the backend.
    pub(super) fn on_begin(&mut self, now: Instant) {
        match self.state {
            State::Open { until } if now >= until => self.state = State::HalfOpen { is_trying: true },
            State::HalfOpen { .. } => self.state = State::HalfOpen { is_trying: true },
            State::Closed(_) | State::Open { .. } => {}
        }
    }

    /// The request that tried was given up by its owner: the next one tries.
    pub(super) fn on_abandoned(&mut self) {
        if let State::HalfOpen { is_trying } = &mut self.state {
            *is_trying = false;
        }
    }

    /// A request ended. True when the breaker opened over it.
    pub(super) fn on_end(&mut self, success: bool, settings: &BreakerSettings, now: Instant) -> bool {
        let opened = match &mut self.state {
            State::Closed(window) => {
                if window.start.is_none_or(|start| now.saturating_since(start) > settings.window) {
                    *window = Window { start: Some(now), requests: 0, failures: 0 };
                }
                window.requests = window.requests.saturating_add(1);
                window.failures = window.failures.saturating_add(u32::from(!success));
                !success
                    && window.requests >= settings.requests_min
                    && u64::from(window.failures) * 100
                        >= u64::from(window.requests) * u64::from(settings.percent)
            }
            State::HalfOpen { .. } if success => {
                self.state = State::Closed(Window::default());
                false
            }
            State::HalfOpen { .. } => true,
            // A request that began before it opened says nothing new.
            State::Open { .. } => false,
        };
        if opened {
            self.state = State::Open { until: now + settings.open_time };
        }
        opened
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const SETTINGS: BreakerSettings = BreakerSettings {
        percent: 50,
        requests_min: 4,
        window: Duration::from_secs(10),
        open_time: Duration::from_secs(5),
    };

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1_000)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for (success, opens) in [(true, false), (true, false), (false, false), (false, true)] {
            breaker.on_begin(at(1));
            assert_eq!(breaker.on_end(success, &SETTINGS, at(1)), opens);
        }
        breaker
    }

    #[test]
    fn half_of_enough_requests_failing_opens_it() {
        let breaker = opened();
        assert!(!breaker.admits(at(5)));
        assert!(breaker.admits(at(6)));
    }

    #[test]
    fn few_requests_open_nothing() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            assert!(!breaker.on_end(false, &SETTINGS, at(1)));
        }
        assert!(breaker.admits(at(1)));
    }

    #[test]
    fn failures_of_the_last_window_are_forgotten() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            breaker.on_end(false, &SETTINGS, at(1));
        }
        assert!(!breaker.on_end(false, &SETTINGS, at(12)));
        assert!(breaker.admits(at(12)));
    }

    #[test]
    fn one_request_tries_after_the_time_and_decides() {
        for success in [true, false] {
            let mut breaker = opened();
            breaker.on_begin(at(6));
            assert!(!breaker.admits(at(6)), "one at a time");
            assert_eq!(breaker.on_end(success, &SETTINGS, at(7)), !success);
            assert_eq!(breaker.admits(at(8)), success);
        }
    }

    #[test]
    fn trying_request_that_is_given_up_leaves_its_place_to_the_next() {
        let mut breaker = opened();
        breaker.on_begin(at(6));
        breaker.on_abandoned();
        assert!(breaker.admits(at(6)));
    }
}
