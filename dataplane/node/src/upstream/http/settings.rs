//! What the HTTP/1.1 client of a worker is told.
//!
//! Owns: [`Settings`], [`Tokens`]. Does not own: the file format (`[http.upstream]` in `secbeat-config`).

use core::time::Duration;

use mio::Token;
use secbeat_config::NodeConfig;
use secbeat_http::limits::{FIELDS_CEILING, Limits};

/// What one worker's client is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections of this worker to all backends together. At the limit requests wait as they do for a full
    /// backend.
    pub connections_max: u32,
    /// Requests at once. Beyond: [`super::Failure::Overloaded`].
    pub exchanges_max: u32,
    /// Time for a TCP connection.
    pub connect_timeout: Duration,
    /// From the last byte of a request to the head of its response.
    pub response_timeout: Duration,
    /// Longest pause inside a response, or while the backend takes a request.
    pub idle_timeout: Duration,
    /// How long an unused connection is kept; zero = it is not.
    pub keepalive_timeout: Duration,
    /// A tunnel without a byte in either direction.
    pub tunnel_idle_timeout: Duration,
    /// Requests on one connection.
    pub requests_max: u32,
    /// A connection older than this takes no further request, so that a change of DNS or of a balancer behind the
    /// address is followed.
    pub age_max: Duration,
    /// Unused connections kept per backend.
    pub idle_max: u32,
    /// Requests that wait for a connection.
    pub waiting_max: u32,
    /// Workers of the node: each keeps its share of a backend's limit, so that none starves the others.
    pub workers: u32,
    /// Backends tried for one request, at least 1.
    pub tries: u32,
    /// When a backend is left alone because its requests fail; `None` = never.
    pub breaker: Option<BreakerSettings>,
    /// Sizes of response heads.
    pub limits: Limits,
}

/// When a backend gets no requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Share of failed requests that opens the breaker, percent.
    pub percent: u32,
    /// Fewest requests the share is taken of.
    pub requests_min: u32,
    /// Time the share is taken over.
    pub window: Duration,
    /// How long the backend is left alone.
    pub open_time: Duration,
}

impl Settings {
    /// The settings that a node's configuration asks for, for its only worker; see [`Settings::workers`].
    pub fn from_config(config: &NodeConfig) -> Self {
        let upstream = &config.http.upstream;
        let breaker = upstream.breaker_percent.map(|percent| BreakerSettings {
            percent,
            requests_min: upstream.breaker_requests_min,
            window: upstream.breaker_window,
            open_time: upstream.breaker_time,
        });
        let head_bytes_max = u32::try_from(config.http.head_bytes_max).unwrap_or(u32::MAX);
        let fields_max = u16::try_from(config.http.fields_max).unwrap_or(u16::MAX);
        let defaults = Self::default();
        Self {
            connect_timeout: upstream.connect_timeout,
            response_timeout: upstream.response_timeout,
            idle_timeout: upstream.idle_timeout,
            keepalive_timeout: upstream.keepalive_timeout,
            tunnel_idle_timeout: config.http.tunnel_idle_timeout,
            idle_max: upstream.idle_max,
            waiting_max: upstream.waiting_max,
            tries: u32::from(upstream.retries) + 1,
            breaker,
            limits: Limits {
                // Backends are trusted further than clients: never less than the default.
                head_bytes_max: head_bytes_max.max(defaults.limits.head_bytes_max),
                fields_max: fields_max.clamp(defaults.limits.fields_max, FIELDS_CEILING as u16),
                ..defaults.limits
            },
            ..defaults
        }
    }
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            percent: 50,
            requests_min: 20,
            window: Duration::from_secs(10),
            open_time: Duration::from_secs(5),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            exchanges_max: 65_536,
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(30),
            tunnel_idle_timeout: Duration::from_secs(300),
            // Origins close after 1,000 (nginx) or 100 (Apache) of their own accord; this only bounds ours.
            requests_max: 100_000,
            age_max: Duration::from_secs(3_600),
            idle_max: 64,
            waiting_max: 256,
            workers: 1,
            tries: 3,
            breaker: Some(BreakerSettings::default()),
            limits: Limits::default(),
        }
    }
}

/// Which poll tokens are the client's: those whose lowest `shift` bits are `kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// The lowest bits.
    pub kind: usize,
    /// How many bits those are, at most 7.
    pub shift: u32,
}

impl Tokens {
    /// The token of a socket.
    pub(super) fn token(self, bits: usize) -> Token {
        Token(bits << self.shift | self.kind)
    }

    /// What stands above the kind; `None` when the token is of another kind.
    pub fn bits(self, token: Token) -> Option<usize> {
        let mask = (1usize << self.shift) - 1;
        (token.0 & mask == self.kind).then_some(token.0 >> self.shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_of_another_kind_is_not_ours() {
        let tokens = Tokens { kind: 5, shift: 3 };
        assert_eq!(tokens.bits(tokens.token(77)), Some(77));
        assert_eq!(tokens.bits(Token(77 << 3 | 4)), None);
        let all = Tokens { kind: 0, shift: 0 };
        assert_eq!(all.bits(all.token(77)), Some(77));
    }
}
