use core::net::Ipv4Addr;
use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// The kernel's maps: what the changes add up to.
#[derive(Default)]
struct Maps(HashMap<IpNet, list_value>);

impl Maps {
    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change.value {
                Some(value) => self.0.insert(change.prefix, value),
                None => self.0.remove(&change.prefix),
            };
        }
    }

    /// What the program does: the index, then one longest-prefix lookup.
    fn drops_by_index(&self, list: &List, addr: Ipv4Addr, now_ns: u64) -> bool {
        match list.index_slot((addr.to_bits() >> 16) as usize) {
            0 => false,
            u32::MAX => true,
            second if second > 1 && now_ns < u64::from(second) * SECOND_NS => true,
            _ => self.drops(addr.into(), now_ns),
        }
    }

    fn drops(&self, addr: IpAddr, now_ns: u64) -> bool {
        let entry =
            self.0.iter().filter(|(prefix, _)| prefix.contains(&addr)).max_by_key(|(p, _)| p.prefix_len());
        entry.is_some_and(|(_, value)| {
            value.action == list_action::LIST_BLOCK.0 as u8
                && (value.expires_ns == 0 || now_ns < value.expires_ns)
        })
    }
}

#[test]
fn a_longer_block_inside_an_allowed_prefix_never_drops() {
    let (mut list, mut maps) = (List::new(), Maps::default());
    maps.apply(list.block(net("10.1.2.3/32"), None).unwrap());
    assert!(maps.drops("10.1.2.3".parse().unwrap(), 5));
    maps.apply(list.set_allowed(net("10.1.0.0/16"), true).unwrap());
    assert!(!maps.drops("10.1.2.3".parse().unwrap(), 5));
    maps.apply(list.block(net("10.0.0.0/8"), None).unwrap());
    assert!(!maps.drops("10.1.9.9".parse().unwrap(), 5));
    assert!(maps.drops("10.2.9.9".parse().unwrap(), 5));
    assert_eq!(list.blocked().filter(|(_, _, suppressed)| *suppressed).count(), 1);
    maps.apply(list.set_allowed(net("10.1.0.0/16"), false).unwrap());
    assert!(maps.drops("10.1.2.3".parse().unwrap(), 5), "the block was kept, not lost");
}

#[test]
fn a_short_ban_makes_no_hole_in_a_long_one() {
    let (mut list, mut maps) = (List::new(), Maps::default());
    maps.apply(list.block(net("10.0.0.0/8"), Some(1000)).unwrap());
    maps.apply(list.block(net("10.1.2.3/32"), Some(10)).unwrap());
    assert!(maps.drops("10.1.2.3".parse().unwrap(), 500));
    assert!(!maps.drops("10.1.2.3".parse().unwrap(), 1000));
    assert_eq!(list.expired(9), None);
    assert_eq!(list.expired(10), Some(net("10.1.2.3/32")));
    maps.apply(list.unblock(net("10.1.2.3/32")).unwrap());
    assert!(maps.drops("10.1.2.3".parse().unwrap(), 500));
    assert_eq!(list.expired(999), None);
    assert!(list.unblock(net("10.1.2.3/32")).is_none());
}

#[test]
fn the_limit_refuses_and_changes_nothing() {
    let mut list = List::new();
    for i in 0..limit::LIST_ENTRIES_MAX.0 {
        list.block(IpNet::new_assert(IpAddr::V4(i.into()), 32), None).unwrap();
    }
    assert_eq!(list.block(net("10.0.0.0/8"), None).err(), Some(Full));
    assert_eq!(list.set_allowed(net("10.0.0.0/8"), true).err(), Some(Full));
    assert!(list.block(net("0.0.0.1/32"), Some(5)).is_ok(), "an entry that is there may change");
    assert!(list.block(net("fd00::/8"), None).is_ok(), "the other family has its own room");
    list.unblock(net("0.0.0.1/32")).unwrap();
    assert!(list.block(net("10.0.0.0/8"), None).is_ok());
}

#[test]
fn a_restored_list_says_the_same() {
    let (mut list, mut maps) = (List::new(), Maps::default());
    for (prefix, until) in [("10.1.0.0/16", Some(7)), ("10.0.0.0/8", Some(100)), ("fd00::1/128", None)] {
        maps.apply(list.block(net(prefix), until).unwrap());
    }
    maps.apply(list.set_allowed(net("fd00::/8"), true).unwrap());
    let mut restored = List::new();
    for (prefix, value) in &maps.0 {
        restored.restore(*prefix, value);
    }
    assert_eq!(list.blocked().collect::<Vec<_>>(), restored.blocked().collect::<Vec<_>>());
    assert_eq!(list.allowed(), restored.allowed());
    assert_eq!(restored.expired(8), Some(net("10.1.0.0/16")));
}

#[derive(Clone, Debug)]
enum Step {
    Block(IpNet, Option<u64>),
    Unblock(IpNet),
    Allow(IpNet, bool),
}

fn prefix() -> impl Strategy<Value = IpNet> {
    // Few bits, so that prefixes nest often.
    (0u32..8, 27u8..=32)
        .prop_map(|(low, len)| IpNet::new_assert(IpAddr::V4((0x0a00_0000 + low * 4).into()), len).trunc())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (prefix(), proptest::option::of(1u64..20)).prop_map(|(prefix, until)| Step::Block(prefix, until)),
        prefix().prop_map(Step::Unblock),
        (prefix(), any::<bool>()).prop_map(|(prefix, allowed)| Step::Allow(prefix, allowed)),
    ]
}

proptest! {
    #[test]
    fn one_lookup_says_what_the_lists_say(steps in proptest::collection::vec(step(), 1..40)) {
        let (mut list, mut maps) = (List::new(), Maps::default());
        let (mut blocked, mut allowed) = (HashMap::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Block(prefix, until) => {
                    maps.apply(list.block(prefix, until).unwrap());
                    blocked.insert(prefix, until);
                }
                Step::Unblock(prefix) => {
                    let changes = list.unblock(prefix);
                    prop_assert_eq!(changes.is_some(), blocked.remove(&prefix).is_some());
                    maps.apply(changes.unwrap_or_default());
                }
                Step::Allow(prefix, true) => {
                    maps.apply(list.set_allowed(prefix, true).unwrap());
                    allowed.insert(prefix);
                }
                Step::Allow(prefix, false) => {
                    maps.apply(list.set_allowed(prefix, false).unwrap());
                    allowed.remove(&prefix);
                }
            }
            for low in 0..40u32 {
                let addr = IpAddr::V4((0x0a00_0000 + low).into());
                for now in [0, 10, 19, 20] {
                    let wanted = !allowed.iter().any(|prefix: &IpNet| prefix.contains(&addr))
                        && blocked.iter().any(|(prefix, until): (&IpNet, &Option<u64>)| {
                            prefix.contains(&addr) && until.is_none_or(|until| now < until)
                        });
                    prop_assert_eq!(maps.drops(addr, now), wanted, "{} at {}", addr, now);
                }
            }
        }
    }
}

fn wide_prefix() -> impl Strategy<Value = IpNet> {
    // Around the /16 of the index.
    (0u32..8, 12u8..=20)
        .prop_map(|(low, len)| IpNet::new_assert(IpAddr::V4((0x0a00_0000 + (low << 14)).into()), len).trunc())
}

proptest! {
    #[test]
    fn the_index_says_what_the_lookup_says(
        entries in proptest::collection::vec((wide_prefix(), 0u8..3, 1u64..4_000_000_000), 1..12),
        low in 0u32..0x2_0000,
        now in 0u64..4_000_000_000,
    ) {
        let (mut list, mut maps) = (List::new(), Maps::default());
        for (prefix, kind, until) in entries {
            maps.apply(match kind {
                0 => list.set_allowed(prefix, true).unwrap(),
                1 => list.block(prefix, None).unwrap(),
                _ => list.block(prefix, Some(until)).unwrap(),
            });
        }
        let addr = Ipv4Addr::from_bits(0x0a00_0000 + low);
        prop_assert_eq!(maps.drops_by_index(&list, addr, now), maps.drops(addr.into(), now));
    }
}

#[test]
fn a_change_touches_the_slots_it_covers() {
    assert_eq!(index_slots(net("0.0.0.0/0")), 0..65536);
    assert_eq!(index_slots(net("10.0.0.0/8")), 2560..2816);
    assert_eq!(index_slots(net("10.1.0.0/16")), 2561..2562);
    assert_eq!(index_slots(net("10.1.2.3/32")), 2561..2562);
    assert_eq!(index_slots(net("fd00::/8")), 0..0);
}
