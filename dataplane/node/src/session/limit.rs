//! Rates of requests: per source, per source and route, per route, of the whole node.
//!
//! Owns: the keys and the order in which limits are asked. Does not own: the algorithm and its table (`net::limit`).
//! The source comes first: whoever is over its own limit takes nothing from the others' share.
//! Cost: one cache line per limit that is set.

use core::net::{IpAddr, Ipv6Addr};

use secbeat_net::flow::{HashKey, hash_addr};
use secbeat_net::time::Instant;

use super::Shared;
use super::policy::{L7Policy, RequestRate, Route};
use crate::event::Offence;
use crate::telemetry::counters::Counter;

/// Keeps the keys of these limits apart from each other; routes follow from [`DOMAIN_ROUTE_SOURCE`] on, below
/// [`DOMAIN_ROUTE`].
const DOMAIN_SOURCE: u32 = 0x5200_0000;
const DOMAIN_ROUTE_SOURCE: u32 = 0x5201_0000;
const DOMAIN_ROUTE: u32 = 0x5203_0000;

/// A limit that a request is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exceeded {
    pub(super) rule: &'static str,
    pub(super) counter: Counter,
    pub(super) retry_after_s: u32,
    /// What the source did, if the limit is its own: only then is it the source's fault.
    pub(super) offence: Option<Offence>,
}

/// Takes a request from every limit that covers it.
pub(super) fn admit(
    shared: &Shared,
    policy: &L7Policy,
    route: Option<&Route>,
    route_index: Option<u16>,
    source: IpAddr,
    now: Instant,
) -> Result<(), Exceeded> {
    let source = masked(source, policy.rates.source_len_v6);
    let hit = |rate: &RequestRate, hash: u64| shared.rates.hit(hash, &rate.limit, now).is_admitted();
    if let Some(rate) = &policy.rates.source
        && !hit(rate, hash_addr(&shared.key, source, DOMAIN_SOURCE))
    {
        return Err(over(rate, "request_rate_source", Counter::RequestsLimitedSource, true));
    }
    let index = u32::from(route_index.unwrap_or_default());
    if let Some(rate) = route.and_then(|route| route.source_rate.as_ref())
        && !hit(rate, hash_addr(&shared.key, source, DOMAIN_ROUTE_SOURCE + index))
    {
        return Err(over(rate, "request_rate_route_source", Counter::RequestsLimitedRoute, true));
    }
    if let Some(rate) = route.and_then(|route| route.rate.as_ref())
        && !hit(rate, route_hash(&shared.key, index))
    {
        return Err(over(rate, "request_rate_route", Counter::RequestsLimitedRoute, false));
    }
    if let Some(rate) = &policy.rates.global
        && !shared.global.hit(&rate.limit, 1, now).is_admitted()
    {
        return Err(over(rate, "request_rate_global", Counter::RequestsLimitedGlobal, false));
    }
    Ok(())
}

fn over(rate: &RequestRate, rule: &'static str, counter: Counter, is_sources: bool) -> Exceeded {
    let offence = is_sources.then_some(Offence::RequestRate);
    Exceeded { rule, counter, retry_after_s: rate.retry_after_s, offence }
}

fn route_hash(key: &HashKey, index: u32) -> u64 {
    hash_addr(key, IpAddr::V6(Ipv6Addr::UNSPECIFIED), DOMAIN_ROUTE + index)
}

/// What counts as one source.
fn masked(addr: IpAddr, len_v6: u8) -> IpAddr {
    match addr {
        IpAddr::V4(_) => addr,
        IpAddr::V6(addr) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(len_v6.min(128))).unwrap_or(0);
            Ipv6Addr::from(addr.to_bits() & mask).into()
        }
    }
}
