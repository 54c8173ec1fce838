//! How often each client may do something, with a bounded memory of clients.
//!
//! Owns: one limiter with keys. Does not own: what happens to whoever is too fast. Cost: a lookup; some 100 bytes a
//! key. Limits: [`CLIENTS_MAX`]: beyond it, clients not yet known share one allowance.

use core::hash::Hash;
use core::net::IpAddr;
use core::num::NonZeroU32;
use core::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Clients that are known at the same time. Those that have their whole allowance are forgotten first.
pub const CLIENTS_MAX: usize = 16_384;

/// A limiter.
#[derive(Debug)]
pub struct Rate<K: Clone + Hash + Eq> {
    limiter: DefaultKeyedRateLimiter<Option<K>>,
    clients_max: usize,
}

impl<K: Clone + Hash + Eq> Rate<K> {
    /// So many in a second, twice as many at once.
    pub fn per_second(count: u32) -> Self {
        let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota =
            Quota::per_second(count).allow_burst(count.saturating_mul(NonZeroU32::MIN.saturating_add(1)));
        Self { limiter: RateLimiter::keyed(quota), clients_max: CLIENTS_MAX }
    }

    /// So many in a minute, and all of them at once.
    pub fn per_minute(count: u32) -> Self {
        let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self { limiter: RateLimiter::keyed(Quota::per_minute(count)), clients_max: CLIENTS_MAX }
    }

    /// Counts one of a client.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(&self, client: K) -> Result<(), Duration> {
        if self.limiter.len() >= self.clients_max {
            self.limiter.retain_recent();
        }
        let key = (self.limiter.len() < self.clients_max).then_some(client);
        self.limiter.check_key(&key).map_err(|early| early.wait_time_from(DefaultClock::default().now()))
    }
}

/// Addresses that one client has at hand: an IPv4 address, or the /64 of an IPv6 address.
pub fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
    }
}

#[cfg(test)]
mod tests;
