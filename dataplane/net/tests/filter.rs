//! The filter: lists against a naive search, expiry, and rules in order.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use core::net::IpAddr;
use core::time::Duration;

use proptest::prelude::*;
use secbeat_net::filter::lpm::PrefixError;
use secbeat_net::filter::{
    Action, Block, Error, Filter, Listed, Lpm, PREFIXES_MAX, Parts, Prefix, RULES_MAX, Rule, RuleCount,
    RuleCounters, RuleId, Verdict,
};
use secbeat_net::limit::{Rate, RateLimit};
use secbeat_net::time::Instant;
use secbeat_net::wire::tcp::Flags;
use secbeat_net::wire::{Fragment, Headers, IpVersion, protocol};

const NOW: Instant = Instant::from_millis(5_000);

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn packet(source: &str, destination_port: u16) -> Headers {
    let source = addr(source);
    let is_v4 = source.is_ipv4();
    Headers {
        link_len: 14,
        l4: 34,
        payload: 54,
        end: 100,
        version: if is_v4 { IpVersion::V4 } else { IpVersion::V6 },
        protocol: protocol::TCP,
        source,
        destination: addr(if is_v4 { "203.0.113.1" } else { "2001:db8::1" }),
        hop_limit: 64,
        dscp_ecn: 0,
        fragment: None,
        source_port: 40_000,
        destination_port,
        tcp_flags: Flags::SYN,
    }
}

fn block(text: &str, expires: Option<Instant>, reason: u32) -> Block {
    Block { prefix: prefix(text), expires, reason }
}

#[test]
fn prefixes_are_parsed_masked_and_printed() {
    assert_eq!(prefix("10.1.2.3/8").to_string(), "10.0.0.0/8");
    assert_eq!(prefix("2001:db8::1/32").to_string(), "2001:db8::/32");
    assert_eq!(prefix("192.0.2.1"), Prefix::host(addr("192.0.2.1")));
    assert_eq!((prefix("::/0").len(), prefix("0.0.0.0/0").addr()), (0, addr("0.0.0.0")));
    assert!(prefix("10.0.0.0/9").contains(addr("10.127.0.1")));
    assert!(!prefix("10.0.0.0/9").contains(addr("10.128.0.1")));
    assert!(!prefix("::/0").contains(addr("10.128.0.1")));
    for (text, error) in
        [("10.0.0.0/33", PrefixError::Len), ("::/129", PrefixError::Len), ("::/x", PrefixError::Len)]
    {
        assert_eq!(text.parse::<Prefix>(), Err(error));
    }
    assert!(matches!("10.0.0/8".parse::<Prefix>(), Err(PrefixError::Addr(_))));
}

#[test]
fn longest_prefix_wins_in_both_families() {
    let prefixes = [
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.3/32",
        "255.255.255.255/32",
        "::/0",
        "2001:db8::/32",
    ];
    let table = Lpm::new(prefixes.iter().map(|text| (prefix(text), *text))).unwrap();
    for (source, expected) in [
        ("9.255.255.255", "0.0.0.0/0"),
        ("10.0.0.0", "10.0.0.0/8"),
        ("10.1.2.2", "10.1.0.0/16"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("10.1.2.4", "10.1.0.0/16"),
        ("10.255.255.255", "10.0.0.0/8"),
        ("11.0.0.0", "0.0.0.0/0"),
        ("255.255.255.255", "255.255.255.255/32"),
        ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
        ("2001:db8::", "2001:db8::/32"),
        ("2001:db9::", "::/0"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
    ] {
        assert_eq!(table.longest(addr(source)), Some(&expected), "{source}");
    }
    assert_eq!(table.len(), prefixes.len());
    assert_eq!(Lpm::<()>::empty().longest(addr("10.0.0.1")), None);
    let one = Lpm::new([(prefix("10.0.0.0/8"), ())]).unwrap();
    assert!(!one.contains(addr("::10.0.0.1")) && !one.contains(addr("11.0.0.0")) && !one.is_empty());
}

fn any_prefix() -> impl Strategy<Value = Prefix> {
    // Few distinct leading bits and lengths, so that prefixes nest and touch.
    prop_oneof![
        (0u32..16, 0u8..=32, any::<u32>()).prop_map(|(top, len, low)| {
            Prefix::new(IpAddr::V4((top << 28 | low & 0x0300_0303).into()), len).unwrap()
        }),
        (0u128..4, 0u8..=128, any::<u128>()).prop_map(|(top, len, low)| {
            let bits = top << 126 | low & (3 << 100 | 3 << 64 | 3);
            Prefix::new(IpAddr::V6(bits.into()), len).unwrap()
        }),
    ]
}

/// Prefixes of one region, which have their leading bits in common.
fn near_prefix() -> impl Strategy<Value = Prefix> {
    prop_oneof![
        (20u8..=32, any::<u8>())
            .prop_map(|(len, low)| Prefix::new(IpAddr::from([10, 1, 2, low]), len).unwrap()),
        (60u8..=128, any::<u16>()).prop_map(|(len, low)| {
            let low = [low >> 4, low & 3];
            Prefix::new(IpAddr::from([0x2001, 0xdb8, 0, low[0], 0, 0, 0, low[1]]), len).unwrap()
        }),
    ]
}

fn prefixes() -> impl Strategy<Value = Vec<(Prefix, bool)>> {
    prop_oneof![
        proptest::collection::vec((any_prefix(), any::<bool>()), 0..120),
        proptest::collection::vec((near_prefix(), any::<bool>()), 0..120),
    ]
}

proptest! {
    #[test]
    fn table_agrees_with_a_naive_search(
        prefixes in prefixes(),
        picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<u128>()), 1..60),
    ) {
        let table = Lpm::new(prefixes.iter().enumerate().map(|(at, (prefix, on))| (*prefix, (at, *on)))).unwrap();
        for (pick, random) in picks {
            // At, just before and just behind a prefix, and anywhere.
            let near = prefixes.get(pick.index(prefixes.len().max(1)));
            let source = match near.map(|(prefix, _)| prefix.addr()) {
                Some(IpAddr::V4(near)) if random & 3 != 0 => {
                    IpAddr::V4(u32::from(near).wrapping_add((random & 3) as u32).wrapping_sub(2).into())
                }
                Some(IpAddr::V6(near)) if random & 3 != 0 => {
                    IpAddr::V6(u128::from(near).wrapping_add(random & 3).wrapping_sub(2).into())
                }
                _ if random & 4 == 0 => IpAddr::V4(((random >> 8) as u32).into()),
                _ => IpAddr::V6(random.into()),
            };
            let best = |accepts: &dyn Fn(bool) -> bool| {
                let all = prefixes.iter().enumerate();
                let around = all.filter(|(_, (prefix, on))| prefix.contains(source) && accepts(*on));
                around.max_by_key(|(at, (prefix, _))| (prefix.len(), *at)).map(|(at, _)| at)
            };
            prop_assert_eq!(table.longest(source).map(|(at, _)| *at), best(&|_| true));
            prop_assert_eq!(table.find(source, |(_, on)| *on).map(|(at, _)| *at), best(&|on| on));
        }
    }
}

#[test]
fn allowlisted_source_is_never_dropped() {
    let filter = Filter::new(Parts {
        allow: vec![prefix("10.0.0.0/8"), prefix("2001:db8::/32")],
        block: vec![block("10.1.1.1", None, 1), block("0.0.0.0/0", None, 2), block("::/0", None, 3)],
        rules: vec![Rule::any(Action::Drop)],
    })
    .unwrap();
    for source in ["10.1.1.1", "10.255.0.1", "2001:db8::7"] {
        assert_eq!(filter.listed(addr(source), NOW), Listed::Allowed);
        assert_eq!(filter.judge(&packet(source, 80), NOW), Verdict::Exempt);
    }
    assert_eq!(filter.judge(&packet("11.0.0.1", 80), NOW), Verdict::Blocked { reason: 2 });
    assert_eq!(filter.judge(&packet("2001:db9::1", 80), NOW), Verdict::Blocked { reason: 3 });
}

#[test]
fn blocks_end_when_they_expire_and_wider_ones_hold_again() {
    let later = |millis| Some(NOW + Duration::from_millis(millis));
    let filter = Filter::new(Parts {
        block: vec![
            block("10.0.0.0/8", later(3000), 1),
            block("10.1.0.0/16", later(1000), 2),
            block("10.1.0.9", None, 3),
        ],
        ..Parts::default()
    })
    .unwrap();
    let listed = |source: &str, millis| filter.listed(addr(source), NOW + Duration::from_millis(millis));
    assert_eq!(listed("10.1.2.3", 999), Listed::Blocked { reason: 2 });
    assert_eq!(listed("10.1.2.3", 1000), Listed::Blocked { reason: 1 });
    assert_eq!(listed("10.1.2.3", 2999), Listed::Blocked { reason: 1 });
    assert_eq!(listed("10.1.2.3", 3000), Listed::No);
    assert_eq!(listed("10.1.0.9", u32::MAX.into()), Listed::Blocked { reason: 3 });
}

#[test]
fn first_rule_whose_conditions_all_hold_decides() {
    let limit = RateLimit::new(Rate::per_second(10));
    let rules = vec![
        Rule {
            sources: vec![prefix("10.0.0.0/8")],
            destination_ports: vec![80..=80, 8000..=8999],
            ..Rule::any(Action::Allow)
        },
        Rule { protocol: Some(protocol::UDP), ..Rule::any(Action::Drop) },
        Rule { source_ports: vec![0..=1023], ..Rule::any(Action::Drop) },
        Rule {
            destinations: vec![prefix("203.0.113.0/24")],
            sources: vec![prefix("10.0.0.0/8")],
            ..Rule::any(Action::Limit(limit))
        },
        Rule { fragment: Some(true), ..Rule::any(Action::Drop) },
    ];
    let filter = Filter::new(Parts { rules, ..Parts::default() }).unwrap();
    let judge = |headers: &Headers| match filter.judge(headers, NOW) {
        Verdict::Allow(RuleId(id)) => format!("allow {id}"),
        Verdict::Drop(RuleId(id)) => format!("drop {id}"),
        Verdict::Limit(RuleId(id), found) => {
            assert_eq!(*found, limit);
            format!("limit {id}")
        }
        other => format!("{other:?}"),
    };
    assert_eq!(judge(&packet("10.0.0.1", 8500)), "allow 0");
    assert_eq!(judge(&packet("10.0.0.1", 9000)), "limit 3");
    assert_eq!(judge(&packet("192.0.2.1", 80)), "Pass");
    assert_eq!(judge(&packet("2001:db8::5", 80)), "Pass");
    assert_eq!(judge(&Headers { protocol: protocol::UDP, ..packet("10.0.0.1", 9) }), "drop 1");
    assert_eq!(judge(&Headers { source_port: 53, ..packet("192.0.2.1", 80) }), "drop 2");
    let fragment = Some(Fragment { id: 1, offset: 8, more: false, header: 14 });
    // Its ports are zero, but it has none: the rule about source ports must not match.
    let later = Headers { fragment, source_port: 0, destination_port: 0, ..packet("192.0.2.1", 0) };
    assert_eq!(judge(&later), "drop 4");
}

#[test]
fn icmp_is_never_dropped_by_list_or_rule() {
    let filter = Filter::new(Parts {
        block: vec![block("0.0.0.0/0", None, 1), block("::/0", None, 1)],
        rules: vec![Rule::any(Action::Drop)],
        ..Parts::default()
    })
    .unwrap();
    for (source, protocol) in [("10.0.0.1", protocol::ICMP), ("2001:db8::9", protocol::ICMPV6)] {
        assert_eq!(filter.judge(&Headers { protocol, ..packet(source, 0) }, NOW), Verdict::Pass);
    }
}

#[test]
fn too_many_rules_are_refused_and_the_most_allowed_are_not() {
    let rules =
        |count| Filter::new(Parts { rules: vec![Rule::any(Action::Drop); count], ..Parts::default() });
    assert_eq!(rules(RULES_MAX).unwrap().rules_count(), RULES_MAX);
    assert_eq!(rules(RULES_MAX + 1).err(), Some(Error::TooManyRules));
    assert_eq!(Filter::open().judge(&packet("10.0.0.1", 1), NOW), Verdict::Pass);
    let prefixes = (0..=PREFIXES_MAX).map(|_| (prefix("10.0.0.0/8"), ()));
    assert_eq!(Lpm::new(prefixes).err(), Some(Error::TooManyPrefixes));
    assert!(Error::TooManyPrefixes.to_string().contains("4194304"));
}

#[test]
fn hits_are_counted_per_rule() {
    let counters = RuleCounters::new(2);
    counters.count(RuleId(1), 100);
    counters.count(RuleId(1), 20);
    counters.count(RuleId(2), 7);
    assert_eq!(counters.of(RuleId(0)), RuleCount::default());
    assert_eq!(counters.of(RuleId(1)), RuleCount { packets: 2, bytes: 120 });
    assert_eq!(counters.of(RuleId(2)), RuleCount::default());
}
