//! Many rules, compiled: the first one whose conditions all hold is found without trying them in order.
//!
//! A packet's value of each field gives a set of rules (`classes`); the rule sought is the least in all sets, after
//! Baboescu and Varghese, "Scalable Packet Classification" (aggregated bit vectors). First the tops of the sets are put
//! together, the cheapest fields first, until nothing is left or only words remain to look at. Rules with like
//! conditions share words ([`order`]), so that few remain.
//!
//! Owns: which fields there are, what conditions on them mean, the search. Does not own: what a rule is (`rules`), what
//! happens then (`table`).
//!
//! Cost per packet: 2 to 10 ns for each field that any rule has a condition on, and with more than 256 rules about
//! 10 ns for each word of 64 rules whose conditions hold one by one, though perhaps never all in one rule: a few words
//! for rules as people write them, 256 at most. No allocation, no lock. Memory: some 100 bytes a rule for rules as
//! people write them, never more than there is in the [`Budget`]. Building takes up to as much again.

use core::cmp::Ordering;
use core::net::IpAddr;
use core::ops::RangeInclusive;

use arrayvec::ArrayVec;

use super::classes::{
    Axis, Budget, Matching, RuleSet, SET_RULES_MAX, Span, TOP_WORDS, Top, WORD_RULES, is_one_level,
};
use super::lpm::Prefix;
use super::ranges::Bits;
use super::rules::Rule;
use super::{Error, RULES_MAX};
use crate::wire::Headers;

const _: () = assert!(RULES_MAX <= SET_RULES_MAX);

/// Fields that rules have conditions on; protocol and fragment are one.
const FIELDS: usize = 5;

/// The sets of all fields. A field that no rule has a condition on is `None`, and costs nothing.
#[derive(Debug)]
pub(super) struct Sets {
    levels: Levels,
    /// All rules.
    top: Top,
    kinds: Option<Axis<u16>>,
    destination_ports: Option<Ports>,
    source_ports: Option<Ports>,
    sources: Option<Addresses>,
    destinations: Option<Addresses>,
}

/// How much of the sets so many rules need.
#[derive(Debug)]
enum Levels {
    /// The first word of the tops.
    Word,
    /// The tops.
    Top,
    /// Tops and words, with the rule at each place of the sets; else the places are the rules.
    Both(Box<[u16]>),
}

#[derive(Debug)]
struct Ports {
    axis: Axis<u16>,
    /// Rules without a condition: all that a packet without ports can match.
    without: RuleSet,
}

#[derive(Debug)]
struct Addresses {
    v4: Axis<u32>,
    v6: Axis<u128>,
}

impl Sets {
    /// Compiles rules, at most [`RULES_MAX`].
    ///
    /// # Errors
    /// [`Error::TooMuchMemory`].
    pub(super) fn new(rules: &[Rule], budget: &mut Budget) -> Result<Self, Error> {
        let order = order(rules);
        budget.take(size_of::<Self>() + size_of_val(&*order))?;
        let placed: Vec<&Rule> = order.iter().filter_map(|number| rules.get(usize::from(*number))).collect();
        let mut all = RuleSet::new(rules.len());
        numbered(&placed).for_each(|(place, _)| all.insert(place));
        Ok(Self {
            levels: if rules.len() <= WORD_RULES {
                Levels::Word
            } else if is_one_level(rules.len()) {
                Levels::Top
            } else {
                Levels::Both(order)
            },
            top: all.top(),
            kinds: kinds(&placed, budget)?,
            destination_ports: ports(&placed, |rule| &rule.destination_ports, budget)?,
            source_ports: ports(&placed, |rule| &rule.source_ports, budget)?,
            sources: addresses(&placed, |rule| &rule.sources, budget)?,
            destinations: addresses(&placed, |rule| &rule.destinations, budget)?,
        })
    }

    /// The number of the first rule whose conditions all hold.
    #[inline]
    pub(super) fn first_match(&self, headers: &Headers) -> Option<usize> {
        let mut found = Found { top: self.top, sets: None };
        match &self.levels {
            Levels::Word => {
                self.narrow::<1>(headers, &mut found)?;
                bits(found.top).next()
            }
            Levels::Top => {
                self.narrow::<TOP_WORDS>(headers, &mut found)?;
                bits(found.top).next()
            }
            Levels::Both(order) => {
                found.sets = Some(ArrayVec::new());
                self.narrow::<TOP_WORDS>(headers, &mut found)?;
                found.least(order)
            }
        }
    }

    /// Adds the sets of a packet's fields, the cheapest first; `None` when no rule can be left.
    #[inline(always)]
    fn narrow<'a, const WORDS: usize>(&'a self, headers: &Headers, found: &mut Found<'a>) -> Option<()> {
        if let Some(axis) = &self.kinds {
            found.narrow::<WORDS>(axis.of(kind(headers.protocol, headers.fragment.is_some())))?;
        }
        if self.destination_ports.is_some() || self.source_ports.is_some() {
            let has_ports = headers.flow_key().is_some();
            if let Some(ports) = &self.destination_ports {
                found.narrow::<WORDS>(ports.of(headers.destination_port, has_ports))?;
            }
            if let Some(ports) = &self.source_ports {
                found.narrow::<WORDS>(ports.of(headers.source_port, has_ports))?;
            }
        }
        if let Some(addresses) = &self.sources {
            found.narrow::<WORDS>(addresses.of(headers.source))?;
        }
        if let Some(addresses) = &self.destinations {
            found.narrow::<WORDS>(addresses.of(headers.destination))?;
        }
        Some(())
    }
}

impl Ports {
    #[inline]
    fn of(&self, port: u16, has_ports: bool) -> Matching<'_> {
        if has_ports { self.axis.of(port) } else { self.without.alone() }
    }
}

impl Addresses {
    #[inline]
    fn of(&self, addr: IpAddr) -> Matching<'_> {
        match addr {
            IpAddr::V4(addr) => self.v4.of(addr.into()),
            IpAddr::V6(addr) => self.v6.of(addr.into()),
        }
    }
}

/// The sets of a packet's fields so far.
struct Found<'a> {
    /// What their tops have in common.
    top: Top,
    /// The sets, where they have a second level to look at.
    sets: Option<ArrayVec<Matching<'a>, FIELDS>>,
}

impl<'a> Found<'a> {
    /// Adds a field's set; `None` when no rule can be left.
    #[inline(always)]
    fn narrow<const WORDS: usize>(&mut self, set: Matching<'a>) -> Option<()> {
        if let Some(sets) = &mut self.sets {
            // Never refused: there are as many places as fields.
            let _ = sets.try_push(set);
        }
        set.narrow::<WORDS>(&mut self.top).then_some(())
    }

    /// The least rule that is in all sets, by the rules at the sets' places.
    #[inline]
    fn least(&self, order: &[u16]) -> Option<usize> {
        let sets = self.sets.as_deref().unwrap_or(&[]);
        let mut least = None;
        for top_bit in bits(self.top) {
            // The rules of a word are in order: none behind its first can be less.
            let first = order.get(top_bit * WORD_RULES).copied();
            if least.is_some() && first >= least {
                continue;
            }
            let mut word = u64::MAX;
            for set in sets {
                word &= set.word(top_bit);
                if word == 0 {
                    break;
                }
            }
            if word != 0 {
                let found = order.get(top_bit * WORD_RULES + word.trailing_zeros() as usize).copied();
                least = [least, found].into_iter().flatten().min();
            }
        }
        least.map(usize::from)
    }
}

/// The bits that are set, in order.
#[inline]
fn bits(top: Top) -> impl Iterator<Item = usize> {
    top.into_iter().enumerate().flat_map(|(at, mut word)| {
        core::iter::from_fn(move || {
            let bit = (word != 0).then(|| at * WORD_RULES + word.trailing_zeros() as usize)?;
            word &= word - 1;
            Some(bit)
        })
    })
}

/// Protocol and fragment as one value.
const fn kind(protocol: u8, is_fragment: bool) -> u16 {
    (is_fragment as u16) << 8 | protocol as u16
}

/// The rules by the places that they have in the sets.
///
/// A word of 64 rules must be looked at when each field's value is accepted by any of them, though it may be by others
/// in each field. So rules with like conditions share words: then most words are left out for one condition that holds
/// in none of their rules. Within a word they stand in their order, so that its first match is its least rule.
fn order(rules: &[Rule]) -> Box<[u16]> {
    let mut order: Vec<u16> = (0..rules.len() as u16).collect();
    if !is_one_level(rules.len()) {
        order.sort_by(|a, b| match (rules.get(usize::from(*a)), rules.get(usize::from(*b))) {
            (Some(a), Some(b)) => by_conditions(a, b),
            _ => Ordering::Equal,
        });
        order.chunks_mut(WORD_RULES).for_each(<[u16]>::sort_unstable);
    }
    order.into()
}

/// Rules with conditions on the same fields beside each other, and of those the ones with the same conditions.
fn by_conditions(a: &Rule, b: &Rule) -> Ordering {
    let fields = |rule: &Rule| {
        (
            rule.protocol,
            rule.fragment,
            rule.sources.is_empty(),
            rule.destinations.is_empty(),
            rule.source_ports.is_empty(),
            rule.destination_ports.is_empty(),
        )
    };
    let ports = |a: &[RangeInclusive<u16>], b: &[RangeInclusive<u16>]| {
        let ends = |range: &RangeInclusive<u16>| (*range.start(), *range.end());
        a.iter().map(ends).cmp(b.iter().map(ends))
    };
    fields(a)
        .cmp(&fields(b))
        .then_with(|| ports(&a.destination_ports, &b.destination_ports))
        .then_with(|| ports(&a.source_ports, &b.source_ports))
        .then_with(|| a.destinations.cmp(&b.destinations))
        .then_with(|| a.sources.cmp(&b.sources))
}

/// Rules with their places.
fn numbered<'a>(rules: &[&'a Rule]) -> impl Iterator<Item = (u16, &'a Rule)> {
    rules.iter().enumerate().map(|(at, rule)| (at as u16, *rule))
}

fn kinds(rules: &[&Rule], budget: &mut Budget) -> Result<Option<Axis<u16>>, Error> {
    let mut every = RuleSet::new(rules.len());
    let mut spans = Vec::new();
    for (number, rule) in numbered(rules) {
        if rule.protocol.is_none() && rule.fragment.is_none() {
            every.insert(number);
            continue;
        }
        let (first, last) = rule.protocol.map_or((0, u8::MAX), |protocol| (protocol, protocol));
        for is_fragment in [false, true] {
            if rule.fragment.is_none_or(|wanted| wanted == is_fragment) {
                let (first, last) = (kind(first, is_fragment), kind(last, is_fragment));
                spans.push(Span { first, last, rule: number });
            }
        }
    }
    if spans.is_empty() { Ok(None) } else { Axis::new(rules.len(), every, spans, budget).map(Some) }
}

fn ports(
    rules: &[&Rule],
    condition: impl Fn(&Rule) -> &[RangeInclusive<u16>],
    budget: &mut Budget,
) -> Result<Option<Ports>, Error> {
    let mut without = RuleSet::new(rules.len());
    let mut spans = Vec::new();
    let mut is_any = true;
    for (number, rule) in numbered(rules) {
        let ranges = condition(rule);
        if ranges.is_empty() {
            without.insert(number);
            continue;
        }
        is_any = false;
        spans.extend(ranges.iter().map(|range| Span {
            first: *range.start(),
            last: *range.end(),
            rule: number,
        }));
    }
    if is_any {
        return Ok(None);
    }
    budget.take(without.bytes())?;
    let axis = Axis::new(rules.len(), without.clone(), spans, budget)?;
    Ok(Some(Ports { axis, without }))
}

fn addresses(
    rules: &[&Rule],
    condition: impl Fn(&Rule) -> &[Prefix],
    budget: &mut Budget,
) -> Result<Option<Addresses>, Error> {
    let mut every = RuleSet::new(rules.len());
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (number, rule) in numbered(rules) {
        let prefixes = condition(rule);
        if prefixes.is_empty() {
            every.insert(number);
        }
        for prefix in prefixes {
            match prefix.addr() {
                IpAddr::V4(addr) => v4.push(span(u32::from(addr), prefix, number)),
                IpAddr::V6(addr) => v6.push(span(u128::from(addr), prefix, number)),
            }
        }
    }
    if v4.is_empty() && v6.is_empty() {
        return Ok(None);
    }
    Ok(Some(Addresses {
        v4: Axis::new(rules.len(), every.clone(), v4, budget)?,
        v6: Axis::new(rules.len(), every, v6, budget)?,
    }))
}

fn span<K: Bits>(first: K, prefix: &Prefix, rule: u16) -> Span<K> {
    Span { first, last: first.last(prefix.len()), rule }
}
