//! The tables behind the limits, shared by all workers.
//!
//! Owns: what is counted under which key. Does not own: the numbers (`policy::rules`), the algorithms
//! (`net::limit`). Sources are only counted once they are validated: limits on unvalidated packets are per
//! listener, because their sources may be anybody's.

use core::net::IpAddr;

use secbeat_net::filter::RuleId;
use secbeat_net::flow::{HashKey, hash_addr};
use secbeat_net::limit::{ConnectionCounts, RateCell, RateLimit, RateTable, Refusal};
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;

use crate::attack::LISTENERS_WATCHED_MAX;
use crate::event::{ListenerId, Offence};
use crate::policy::rules::Limits;

/// Keeps the keys of one address apart by what is limited.
const DOMAIN_SOURCE: u32 = 0x100;
const DOMAIN_PREFIX: u32 = 0x101;
const DOMAIN_UDP: u32 = 0x102;
/// Added to the number of a rule.
const DOMAIN_RULE: u32 = 0x1_0000;

/// The tables.
#[derive(Debug)]
pub struct LimitTables {
    rates: RateTable,
    syns: Box<[RateCell]>,
    counts: ConnectionCounts,
    key: HashKey,
}

/// Why a validated source may not open another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What the frame is dropped as.
    pub reason: DropReason,
    /// What the source is to be charged with; `None` when it did nothing wrong (the node is full).
    pub offence: Option<Offence>,
}

impl LimitTables {
    /// Tables for this many sources and prefixes, and connections in all.
    pub fn new(slots: usize, connections_max: u32, key: HashKey) -> Self {
        Self {
            rates: RateTable::new(slots),
            syns: (0..LISTENERS_WATCHED_MAX).map(|_| RateCell::new(Instant::ZERO)).collect(),
            counts: ConnectionCounts::new(connections_max, key),
            key,
        }
    }

    /// Connections open now on all workers.
    pub fn connections(&self) -> u32 {
        self.counts.total()
    }

    /// Whether a SYN to this listener is within its rate.
    #[inline]
    pub fn admit_syn(&self, listener: ListenerId, limits: &Limits, now: Instant) -> bool {
        let (Some(limit), Some(cell)) = (&limits.syn_rate, self.syns.get(usize::from(listener))) else {
            return true;
        };
        cell.hit(limit, 1, now).is_admitted()
    }

    /// Whether a packet of this source is within the limit of a filter rule.
    #[inline]
    pub fn admit_rule(&self, rule: RuleId, source: IpAddr, limit: &RateLimit, now: Instant) -> bool {
        self.rates
            .hit(hash_addr(&self.key, source, DOMAIN_RULE + u32::from(rule.0)), limit, now)
            .is_admitted()
    }

    /// Counts a datagram of a source, which may be forged: a limit on what its packets may cost, nothing more.
    ///
    /// # Errors
    /// [`DropReason::UdpRate`].
    #[inline]
    pub fn admit_datagram(&self, source: IpAddr, limits: &Limits, now: Instant) -> Result<(), DropReason> {
        let Some(limit) = &limits.udp_rate else {
            return Ok(());
        };
        let hash = hash_addr(&self.key, limits.source(source), DOMAIN_UDP);
        if self.rates.hit(hash, limit, now).is_admitted() { Ok(()) } else { Err(DropReason::UdpRate) }
    }

    /// Counts a new connection of a validated source, or says why it may not have it. An `exempt` source is counted
    /// and never refused.
    ///
    /// # Errors
    /// The limit that is exceeded; nothing is counted open then.
    pub fn open(&self, source: IpAddr, limits: &Limits, exempt: bool, now: Instant) -> Result<(), Refused> {
        if !exempt {
            self.admit(source, limits, now)?;
        }
        self.counts.acquire(source, &limits.connections, exempt).map_err(|refusal| Refused {
            reason: DropReason::ConnectionLimit,
            offence: matches!(refusal, Refusal::Source).then_some(Offence::ConnectionLimit),
        })
    }

    /// Takes back one connection of [`LimitTables::open`].
    pub fn close(&self, source: IpAddr, limits: &Limits) {
        self.counts.release(source, &limits.connections);
    }

    fn admit(&self, source: IpAddr, limits: &Limits, now: Instant) -> Result<(), Refused> {
        let hit = |limit, addr, domain| self.rates.hit(hash_addr(&self.key, addr, domain), limit, now);
        if let Some(limit) = &limits.source_rate
            && !hit(limit, limits.source(source), DOMAIN_SOURCE).is_admitted()
        {
            let offence = Some(Offence::ConnectionRate);
            return Err(Refused { reason: DropReason::ConnectionRate, offence });
        }
        if let Some(limit) = &limits.prefix_rate
            && !hit(limit, limits.prefix(source), DOMAIN_PREFIX).is_admitted()
        {
            return Err(Refused { reason: DropReason::ConnectionRate, offence: None });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::rules;

    fn limits(text: &str) -> Limits {
        rules::Limits::compile(&secbeat_config::parse(text).expect("configuration"))
    }

    fn tables() -> LimitTables {
        LimitTables::new(1_024, 1_000, HashKey([1, 2]))
    }

    #[test]
    fn source_is_refused_above_its_rate_and_charged() {
        let limits = limits("[limits]\nsource_rate = 10\nsource_burst = 3\nsource_connections = 0\n");
        let (tables, now) = (tables(), Instant::from_millis(1_000));
        let (one, other) = ("192.0.2.1".parse().expect("one"), "192.0.2.2".parse().expect("other"));
        for _ in 0..3 {
            assert!(tables.open(one, &limits, false, now).is_ok());
        }
        let refused = tables.open(one, &limits, false, now).expect_err("above the burst");
        assert_eq!(refused.reason, DropReason::ConnectionRate);
        assert_eq!(refused.offence, Some(Offence::ConnectionRate));
        assert!(tables.open(other, &limits, false, now).is_ok(), "another source");
        assert!(tables.open(one, &limits, true, now).is_ok(), "exempt");
        assert_eq!(tables.connections(), 5);
    }

    #[test]
    fn connections_at_once_are_bounded_per_source_and_given_back() {
        let limits = limits("[limits]\nsource_rate = 0\nsource_connections = 2\n");
        let (tables, now) = (tables(), Instant::ZERO);
        let source = "2001:db8::1".parse().expect("address");
        let neighbour = "2001:db8::2".parse().expect("address");
        assert!(tables.open(source, &limits, false, now).is_ok());
        assert!(tables.open(neighbour, &limits, false, now).is_ok(), "the same /64");
        let refused = tables.open(source, &limits, false, now).expect_err("third");
        assert_eq!(refused.offence, Some(Offence::ConnectionLimit));
        tables.close(neighbour, &limits);
        assert!(tables.open(source, &limits, false, now).is_ok());
    }

    #[test]
    fn full_node_refuses_without_charging_the_source() {
        let limits = limits("[server]\nmax_connections = 1\n");
        let tables = tables();
        let now = Instant::ZERO;
        assert!(tables.open("192.0.2.1".parse().expect("address"), &limits, false, now).is_ok());
        let refused = tables.open("192.0.2.2".parse().expect("address"), &limits, false, now);
        assert_eq!(refused.map_err(|refused| refused.offence), Err(None));
    }

    #[test]
    fn syns_are_limited_per_listener() {
        let limits = limits("[limits]\nsyn_rate = 10\n");
        let (tables, now) = (tables(), Instant::from_millis(5_000));
        let admitted = (0..100).filter(|_| tables.admit_syn(3, &limits, now)).count();
        assert!((1..=10).contains(&admitted), "{admitted}");
        assert!(tables.admit_syn(4, &limits, now), "another listener");
        assert!(tables.admit_syn(u16::MAX, &limits, now), "not watched");
    }
}
