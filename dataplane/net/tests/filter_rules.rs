//! The filter's rules, few and many, against a plain search through them in order. Half of the packets are aimed at a
//! rule, since random ones hardly ever match.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use core::net::IpAddr;
use core::ops::RangeInclusive;
use std::sync::Arc;

use proptest::prelude::*;
use secbeat_net::filter::{
    Action, Block, Error, Filter, MEMORY_BYTES_MAX, Parts, Prefix, RULE_PREFIXES_MAX, RULES_MAX, Rule,
    RuleId, Rules, Verdict,
};
use secbeat_net::limit::{Rate, RateLimit};
use secbeat_net::time::Instant;
use secbeat_net::wire::tcp::Flags;
use secbeat_net::wire::{Fragment, Headers, IpVersion, protocol};

const NOW: Instant = Instant::from_millis(5_000);

/// Numbers that depend on a seed alone.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Addresses of few networks and few hosts, so that prefixes nest, touch and contain packets.
    fn addr(&mut self) -> IpAddr {
        if self.below(3) != 0 {
            let top = self.pick(&[0u32, 10, 11, 203, 255]) << 24;
            let low =
                self.pick(&[0u32, 0x00ff_ffff, self.0 as u32 & 0x0003_0303, self.0 as u32 & 0x0000_0fff]);
            IpAddr::V4((top | low).into())
        } else {
            let top = self.pick(&[0u128, 0x2001_0db8, 0x2001_0db9, 0xffff_ffff]) << 96;
            let low =
                self.pick(&[0u128, u128::MAX >> 32, u128::from(self.0 & 0x0303), u128::from(self.0) << 32]);
            IpAddr::V6((top | low).into())
        }
    }

    fn prefix(&mut self) -> Prefix {
        let addr = self.addr();
        let len = match addr {
            IpAddr::V4(_) => self.pick(&[0, 1, 8, 9, 16, 22, 24, 31, 32, 32, 32]),
            IpAddr::V6(_) => self.pick(&[0, 1, 32, 33, 64, 96, 127, 128, 128]),
        };
        Prefix::new(addr, len).unwrap()
    }

    fn port(&mut self) -> u16 {
        let any = self.bits() as u16;
        self.pick(&[0, 22, 53, 80, 443, 444, u16::MAX, any & 0xff, any])
    }

    #[expect(clippy::reversed_empty_ranges, reason = "a condition that nothing fulfils")]
    fn ports(&mut self) -> RangeInclusive<u16> {
        let first = self.port();
        match self.below(12) {
            0 => 0..=u16::MAX,
            1 => 81..=79,
            2..=5 => first..=first.saturating_add(self.below(3000) as u16),
            _ => first..=first,
        }
    }

    /// Nothing in `one_in` - 1 of `one_in` cases, else up to `most` of something.
    fn some<T>(&mut self, one_in: u64, most: u64, mut what: impl FnMut(&mut Self) -> T) -> Vec<T> {
        if self.below(one_in) != 0 {
            return Vec::new();
        }
        (0..=self.below(most)).map(|_| what(self)).collect()
    }

    fn rule(&mut self, number: usize) -> Rule {
        // The rate tells rules apart where actions are compared.
        let limit = RateLimit::new(Rate::per_second(1 + number as u32));
        Rule {
            action: self.pick(&[Action::Allow, Action::Drop, Action::Limit(limit)]),
            protocol: self.pick(&[
                None,
                None,
                Some(protocol::TCP),
                Some(protocol::UDP),
                Some(47),
                Some(self.0 as u8),
            ]),
            sources: self.some(2, 5, Self::prefix),
            destinations: self.some(2, 3, Self::prefix),
            source_ports: self.some(3, 3, Self::ports),
            destination_ports: self.some(2, 3, Self::ports),
            fragment: self.pick(&[None, None, None, Some(true), Some(false)]),
        }
    }

    /// Rules that hardly match: else the first ones would decide over every packet.
    fn narrow_rule(&mut self, number: usize) -> Rule {
        let low = self.bits() as u32;
        let host = Prefix::host(IpAddr::V4((10 << 24 | low & 0x0fff).into()));
        let port = self.bits() as u16 & 0xff;
        let rule = self.rule(number);
        match number % 3 {
            0 => Rule { sources: vec![host], destination_ports: vec![port..=port], ..rule },
            1 => Rule { destinations: vec![host], source_ports: vec![port..=port + 9], ..rule },
            _ => Rule { sources: vec![host, self.prefix()], destinations: vec![host], ..rule },
        }
    }

    fn packet(&mut self) -> Headers {
        let source = self.addr();
        let mut destination = self.addr();
        while destination.is_ipv4() != source.is_ipv4() {
            destination = self.addr();
        }
        let offset = self.pick(&[None, None, None, Some(0), Some(8)]);
        let (source_port, destination_port) = (self.port(), self.port());
        let protocols =
            [protocol::TCP, protocol::TCP, protocol::UDP, protocol::ICMP, protocol::ICMPV6, 47, 0, 255];
        Headers {
            link_len: 14,
            l4: 34,
            payload: 54,
            end: 100,
            version: if source.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 },
            protocol: self.pick(&protocols),
            source,
            destination,
            hop_limit: 64,
            dscp_ecn: 0,
            fragment: offset.map(|offset| Fragment { id: 1, offset, more: true, header: 14 }),
            source_port,
            destination_port,
            tcp_flags: Flags::SYN,
        }
    }

    /// A packet that fulfils most conditions of one of the rules, and often all.
    fn aimed(&mut self, rules: &[Rule]) -> Headers {
        let mut headers = self.packet();
        let Some(rule) = rules.get(self.below(rules.len().max(1) as u64) as usize) else {
            return headers;
        };
        let protocols = [headers.protocol, protocol::TCP];
        headers.protocol = rule.protocol.unwrap_or_else(|| self.pick(&protocols));
        headers.fragment = headers.fragment.filter(|_| rule.fragment != Some(false));
        for (prefixes, addr) in
            [(&rule.sources, &mut headers.source), (&rule.destinations, &mut headers.destination)]
        {
            if !prefixes.is_empty() && self.below(16) != 0 {
                *addr = self.pick(prefixes).addr();
            }
        }
        for (ranges, port) in [
            (&rule.source_ports, &mut headers.source_port),
            (&rule.destination_ports, &mut headers.destination_port),
        ] {
            if !ranges.is_empty() {
                let range = &ranges[self.below(ranges.len() as u64) as usize];
                *port = self.pick(&[*range.start(), *range.end(), *port]);
            }
        }
        headers
    }
}

/// What a rule means, word by word.
fn matches(rule: &Rule, headers: &Headers) -> bool {
    let is_in = |prefixes: &[Prefix], addr| {
        prefixes.is_empty() || prefixes.iter().any(|prefix| prefix.contains(addr))
    };
    let later = headers.fragment.is_some_and(|fragment| fragment.offset > 0);
    let has_ports = matches!(headers.protocol, protocol::TCP | protocol::UDP) && !later;
    let is_port = |ranges: &[RangeInclusive<u16>], port| {
        ranges.is_empty() || (has_ports && ranges.iter().any(|range| range.contains(&port)))
    };
    rule.protocol.is_none_or(|protocol| protocol == headers.protocol)
        && rule.fragment.is_none_or(|fragment| fragment == headers.fragment.is_some())
        && is_in(&rule.sources, headers.source)
        && is_in(&rule.destinations, headers.destination)
        && is_port(&rule.source_ports, headers.source_port)
        && is_port(&rule.destination_ports, headers.destination_port)
}

fn expected(rules: &[Rule], headers: &Headers) -> Option<(usize, Action)> {
    if matches!(headers.protocol, protocol::ICMP | protocol::ICMPV6) {
        return None;
    }
    let at = rules.iter().position(|rule| matches(rule, headers))?;
    Some((at, rules[at].action))
}

fn found(filter: &Filter, headers: &Headers) -> Option<(usize, Action)> {
    let (RuleId(id), action) = match filter.judge(headers, NOW) {
        Verdict::Pass => return None,
        Verdict::Allow(id) => (id, Action::Allow),
        Verdict::Drop(id) => (id, Action::Drop),
        Verdict::Limit(id, limit) => (id, Action::Limit(*limit)),
        other => panic!("{other:?} without lists"),
    };
    Some((usize::from(id), action))
}

fn filter(rules: &[Rule]) -> Filter {
    Filter::new(Parts { rules: rules.to_vec(), ..Parts::default() }).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rules_agree_with_a_search_in_order(
        seed in any::<u64>(),
        count in prop_oneof![0usize..12, 60usize..70, 250usize..262, 257usize..2_000],
        broad in prop_oneof![Just(0u64), Just(2), Just(50)],
    ) {
        let mut random = Random(seed);
        let rules: Vec<Rule> = (0..count)
            .map(|number| {
                if broad != 0 && random.below(broad) == 0 { random.rule(number) } else { random.narrow_rule(number) }
            })
            .collect();
        let filter = filter(&rules);
        for packet in 0..400 {
            let headers = if packet % 2 == 0 { random.aimed(&rules) } else { random.packet() };
            prop_assert_eq!(found(&filter, &headers), expected(&rules, &headers), "{:?}", headers);
        }
    }
}

#[test]
fn the_most_rules_agree_with_a_search_in_order_and_each_can_decide() {
    let mut random = Random(7);
    let rules: Vec<Rule> = (0..RULES_MAX).map(|number| random.narrow_rule(number)).collect();
    let filter = filter(&rules);
    let mut hits = 0;
    for packet in 0..5_000 {
        let headers = if packet % 2 == 0 { random.aimed(&rules) } else { random.packet() };
        let expected = expected(&rules, &headers);
        hits += usize::from(expected.is_some());
        assert_eq!(found(&filter, &headers), expected, "{headers:?}");
    }
    assert!((500..4_500).contains(&hits), "{hits} packets of 5,000 match");

    let port = |at: usize| at as u16..=at as u16;
    let rules: Vec<Rule> = (0..RULES_MAX)
        .map(|at| Rule { destination_ports: vec![port(at)], ..Rule::any(Action::Drop) })
        .collect();
    let filter = self::filter(&rules);
    for at in 0..RULES_MAX {
        let headers = Headers {
            protocol: protocol::TCP,
            fragment: None,
            destination_port: at as u16,
            ..random.packet()
        };
        assert_eq!(found(&filter, &headers), Some((at, Action::Drop)));
    }
}

#[test]
fn a_judgement_by_many_rules_allocates_nothing() {
    let mut random = Random(3);
    let rules: Vec<Rule> = (0..3_000).map(|number| random.narrow_rule(number)).collect();
    let filter = filter(&rules);
    let packets: Vec<Headers> = (0..200).map(|_| random.aimed(&rules)).collect();
    let counted = allocation_counter::measure(|| {
        for headers in &packets {
            let _ = std::hint::black_box(filter.judge(headers, NOW));
        }
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn new_lists_keep_the_compiled_rules() {
    let rules = Arc::new(Rules::new(&[Rule::any(Action::Drop)]).unwrap());
    let source: IpAddr = "192.0.2.1".parse().unwrap();
    let headers = Headers { protocol: protocol::TCP, source, ..Random(1).packet() };
    let before = Filter::with_rules(&[], &[], Arc::clone(&rules)).unwrap();
    let block = [Block { prefix: Prefix::host(source), expires: None, reason: 4 }];
    let after = Filter::with_rules(&[], &block, Arc::clone(before.rules())).unwrap();
    assert!(Arc::ptr_eq(after.rules(), &rules));
    assert_eq!(before.judge(&headers, NOW), Verdict::Drop(RuleId(0)));
    assert_eq!(after.judge(&headers, NOW), Verdict::Blocked { reason: 4 });
}

#[test]
fn memory_is_little_for_hosts_and_networks_and_refused_above_its_limit() {
    let host = |at: u32| Prefix::host(IpAddr::V4((0x0a00_0000 | at.wrapping_mul(0x9e37_79b1) >> 8).into()));
    let rules: Vec<Rule> = (0..RULES_MAX as u32)
        .map(|at| Rule {
            sources: vec![host(at), host(at + 100_000)],
            destination_ports: vec![(at % 300) as u16..=(at % 300) as u16],
            ..Rule::any(Action::Drop)
        })
        .collect();
    let bytes = Rules::new(&rules).unwrap().bytes();
    assert!(bytes < 6 << 20, "{bytes} bytes");

    let mut random = Random(9);
    let mut ranges = || -> Vec<RangeInclusive<u16>> {
        // A third of all ports, cut at many places: a set of thousands of rules for each port.
        (0..10)
            .map(|_| {
                let first = random.bits() as u16;
                first..=first.saturating_add(2_000)
            })
            .collect()
    };
    let rules: Vec<Rule> = (0..RULES_MAX)
        .map(|_| Rule { source_ports: ranges(), destination_ports: ranges(), ..Rule::any(Action::Drop) })
        .collect();
    let few = Rules::new(&rules[..1_000]).unwrap();
    assert!(few.bytes() <= MEMORY_BYTES_MAX && few.count() == 1_000);
    let error = Rules::new(&rules).err();
    assert_eq!(error, Some(Error::TooMuchMemory));
    assert!(Error::TooMuchMemory.to_string().contains("128 MiB"));
}

#[test]
fn more_prefixes_than_all_rules_may_have_are_refused() {
    let rule = |count| Rule { sources: vec![Random(2).prefix(); count], ..Rule::any(Action::Drop) };
    let half = RULE_PREFIXES_MAX / 2;
    assert_eq!(Rules::new(&[rule(half), rule(half)]).unwrap().count(), 2);
    assert_eq!(Rules::new(&[rule(half), rule(half + 1)]).err(), Some(Error::TooManyRulePrefixes));
    assert!(Error::TooManyRulePrefixes.to_string().contains("1048576"));
}
