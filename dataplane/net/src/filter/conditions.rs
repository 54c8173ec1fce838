//! The conditions of one rule, checked by themselves: what a filter of few rules does, one rule after another.
//!
//! Owns: the check of one rule. Does not own: many rules (`table`), what a rule is (`rules`).
//!
//! Cost: 1 to 10 ns a rule, by how many of its conditions hold. Up to [`FEW_RULES_MAX`] rules that is less than the
//! search in sets takes for each field.

use core::net::IpAddr;
use core::ops::RangeInclusive;

use super::Error;
use super::classes::Budget;
use super::lpm::{Lpm, Prefix};
use super::rules::Rule;
use crate::wire::Headers;

/// Most rules that are tried one after another. Measured: from 8 on, sets are faster for most packets, with 4 for few.
pub(super) const FEW_RULES_MAX: usize = 4;

/// A rule ready for matching: cheap conditions first.
#[derive(Debug)]
pub(super) struct Conditions {
    protocol: Option<u8>,
    fragment: Option<bool>,
    source_ports: Box<[(u16, u16)]>,
    destination_ports: Box<[(u16, u16)]>,
    sources: Option<Lpm<()>>,
    destinations: Option<Lpm<()>>,
}

impl Conditions {
    /// Compiles a rule.
    ///
    /// # Errors
    /// [`Error::TooMuchMemory`].
    pub(super) fn new(rule: &Rule, budget: &mut Budget) -> Result<Self, Error> {
        let ports = |ranges: &[RangeInclusive<u16>]| {
            ranges.iter().map(|range| (*range.start(), *range.end())).collect::<Box<[_]>>()
        };
        let (source_ports, destination_ports) = (ports(&rule.source_ports), ports(&rule.destination_ports));
        budget.take(size_of::<Self>() + size_of_val(&*source_ports) + size_of_val(&*destination_ports))?;
        Ok(Self {
            protocol: rule.protocol,
            fragment: rule.fragment,
            source_ports,
            destination_ports,
            sources: addresses(&rule.sources, budget)?,
            destinations: addresses(&rule.destinations, budget)?,
        })
    }

    /// Whether all conditions hold for a packet.
    #[inline]
    pub(super) fn hold(&self, headers: &Headers) -> bool {
        self.protocol.is_none_or(|protocol| protocol == headers.protocol)
            && self.fragment.is_none_or(|fragment| fragment == headers.fragment.is_some())
            && port_matches(&self.destination_ports, headers, headers.destination_port)
            && port_matches(&self.source_ports, headers, headers.source_port)
            && addr_matches(self.sources.as_ref(), headers.source)
            && addr_matches(self.destinations.as_ref(), headers.destination)
    }
}

fn addresses(prefixes: &[Prefix], budget: &mut Budget) -> Result<Option<Lpm<()>>, Error> {
    if prefixes.is_empty() {
        return Ok(None);
    }
    let set = Lpm::new(prefixes.iter().map(|prefix| (*prefix, ())))?;
    budget.take(set.bytes())?;
    Ok(Some(set))
}

#[inline]
fn port_matches(ranges: &[(u16, u16)], headers: &Headers, port: u16) -> bool {
    if ranges.is_empty() {
        return true;
    }
    headers.flow_key().is_some() && ranges.iter().any(|(first, last)| (*first..=*last).contains(&port))
}

#[inline]
fn addr_matches(set: Option<&Lpm<()>>, addr: IpAddr) -> bool {
    set.is_none_or(|set| set.contains(addr))
}
