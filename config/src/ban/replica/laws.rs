//! What must hold for every history: merging is a join, and replicas end equal to a simple model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ban::{GRACE_MS, RETENTION_MS, Stamp};

const START_MS: u64 = 1_800_000_000_000;
const HOUR_MS: i64 = 3_600_000;

fn prefix(number: u8) -> IpNet {
    let prefixes = ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.0/24", "2001:db8::1/128", "2001:db8::/64"];
    prefixes[usize::from(number) % prefixes.len()].parse().unwrap()
}

fn origin(number: u8) -> Origin {
    [Origin::Operator, Origin::Node, Origin::Expert, Origin::NodeApi][usize::from(number) % 4]
}

/// Few prefixes, stamps and texts, so that every kind of tie comes up; some entries are past being forgotten.
fn entry() -> impl Strategy<Value = Entry> {
    let until = prop_oneof![Just(None), (-20..20_i64).prop_map(Some)];
    let parts = (any::<u8>(), -200..3_i64, 0..2_u32, 0..3_u8, any::<bool>(), until, 0..2_u8, any::<u8>());
    parts.prop_map(|(number, wall_hours, counter, writer, removed, until, text, kind)| {
        let hours = |hours: i64| START_MS.saturating_add_signed(hours * HOUR_MS);
        Entry {
            prefix: prefix(number),
            stamp: Stamp { wall_ms: hours(wall_hours), counter, writer: [writer; 16] },
            removed,
            until_ms: until.map(hours),
            since_ms: hours(wall_hours),
            reason: format!("reason {text}"),
            origin: origin(kind),
            actor: String::new(),
            node: (kind > 100).then_some([kind; 16]),
        }
    })
}

fn merged<'a>(parts: impl IntoIterator<Item = &'a Vec<Entry>>) -> Replica {
    let mut replica = Replica::new([9; 16], 1_000);
    for part in parts {
        replica.merge(part.clone(), START_MS);
    }
    replica
}

fn state(replica: &Replica) -> (Vec<Entry>, [u8; 32]) {
    (replica.entries().collect(), replica.digest())
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        a in prop::collection::vec(entry(), 0..12),
        b in prop::collection::vec(entry(), 0..12),
        c in prop::collection::vec(entry(), 0..12),
    ) {
        let whole = state(&merged([&a, &b, &c]));
        prop_assert_eq!(&state(&merged([&c, &a, &b])), &whole);
        prop_assert_eq!(&state(&merged([&b, &a, &b, &c, &c, &a])), &whole);
        let right: Vec<Entry> = merged([&b, &c]).entries().collect();
        prop_assert_eq!(&state(&merged([&a, &right])), &whole);
        let reversed: Vec<Entry> = a.iter().chain(&b).chain(&c).rev().cloned().collect();
        prop_assert_eq!(&state(&merged([&reversed])), &whole);
        let again = merged([&a, &b, &c]).merge(whole.0.clone(), START_MS);
        prop_assert!(again.is_empty(), "nothing changes: {:?}", again);
    }

    #[test]
    fn merging_is_the_newest_of_what_is_remembered(entries in prop::collection::vec(entry(), 0..40)) {
        let mut model = BTreeMap::<IpNet, Entry>::new();
        for entry in &entries {
            let is_newer = model.get(&entry.prefix).is_none_or(|held| entry.order(held).is_gt());
            if is_newer && entry.forget_at_ms().is_none_or(|forget_at_ms| forget_at_ms > START_MS) {
                model.insert(entry.prefix, entry.clone());
            }
        }
        let (held, digest) = state(&merged([&entries]));
        prop_assert_eq!(&held, &model.values().cloned().collect::<Vec<_>>());
        let fresh = merged([&held]);
        prop_assert_eq!(fresh.digest(), digest, "the sum that was kept up is that of the set");
    }

    #[test]
    fn the_digest_differs_when_the_sets_do(
        a in prop::collection::vec(entry(), 0..6),
        b in prop::collection::vec(entry(), 0..6),
    ) {
        let (a, b) = (state(&merged([&a])), state(&merged([&b])));
        prop_assert_eq!(a.0 == b.0, a.1 == b.1);
    }
}

/// Something that happens in a fleet.
#[derive(Clone, Debug)]
enum Step {
    Ban {
        at: usize,
        prefix: u8,
        minutes: Option<u16>,
        origin: u8,
    },
    Lift {
        at: usize,
        prefix: u8,
    },
    /// A message with everything that `from` holds is on its way to `to`.
    Send {
        from: usize,
        to: usize,
    },
    /// One of the messages on their way arrives, in any order; or arrives and will arrive again.
    Deliver {
        which: usize,
        again: bool,
        backwards: bool,
    },
    /// Only these replicas are reached for a while.
    Partition {
        reached: u8,
    },
    Wait {
        minutes: u16,
    },
    Expire {
        at: usize,
    },
    /// A wall clock jumps to so many minutes beside the true time.
    Skew {
        at: usize,
        minutes: i64,
    },
}

fn step(wait_minutes_max: u16) -> impl Strategy<Value = Step> {
    let at = 0..6_usize;
    prop_oneof![
        4 => (at.clone(), any::<u8>(), prop::option::of(1..6_000_u16), any::<u8>())
            .prop_map(|(at, prefix, minutes, origin)| Step::Ban { at, prefix, minutes, origin }),
        3 => (at.clone(), any::<u8>()).prop_map(|(at, prefix)| Step::Lift { at, prefix }),
        4 => (at.clone(), at.clone()).prop_map(|(from, to)| Step::Send { from, to }),
        4 => (any::<usize>(), any::<bool>(), any::<bool>())
            .prop_map(|(which, again, backwards)| Step::Deliver { which, again, backwards }),
        1 => any::<u8>().prop_map(|reached| Step::Partition { reached }),
        2 => (1..wait_minutes_max).prop_map(|minutes| Step::Wait { minutes }),
        2 => at.clone().prop_map(|at| Step::Expire { at }),
        1 => (at, -60..60_i64).prop_map(|(at, minutes)| Step::Skew { at, minutes }),
    ]
}

/// Replicas, their clocks, what is on its way, and everything that was ever written.
struct Fleet {
    replicas: Vec<Replica>,
    skews_ms: Vec<i64>,
    now_ms: u64,
    reached: u8,
    messages: Vec<(usize, usize, Vec<Entry>)>,
    written: Vec<Entry>,
}

impl Fleet {
    fn new(count: usize) -> Self {
        let replica = |number: usize| match number {
            0 => Replica::keeper([1; 16], 1_000, 0),
            _ => Replica::new([number as u8 + 1; 16], 1_000),
        };
        Self {
            replicas: (0..count).map(replica).collect(),
            skews_ms: (0..count as i64).map(|number| (number % 3 - 1) * HOUR_MS).collect(),
            now_ms: START_MS,
            reached: u8::MAX,
            messages: Vec::new(),
            written: Vec::new(),
        }
    }

    fn clock_ms(&self, at: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.skews_ms[at])
    }

    fn take(&mut self, step: Step, origins: fn(u8) -> Origin) {
        let count = self.replicas.len();
        match step {
            Step::Ban { at, prefix: number, minutes, origin } => {
                let at = at % count;
                let now_ms = self.clock_ms(at);
                let until_ms = minutes.map(|minutes| now_ms + u64::from(minutes) * 60_000);
                let (prefix, origin) = (prefix(number), origins(origin));
                let held = self.replicas[at].get(&prefix);
                let entry =
                    self.replicas[at].ban(prefix, until_ms, "flood", origin, "", None, now_ms).unwrap();
                assert!(
                    held.is_none_or(|held| entry.order(&held).is_ge()),
                    "a decision wins over what was seen"
                );
                self.written.push(entry);
            }
            Step::Lift { at, prefix: number } => {
                let at = at % count;
                let now_ms = self.clock_ms(at);
                let held = self.replicas[at].get(&prefix(number));
                if let Some(lift) = self.replicas[at].lift(prefix(number), "", "", now_ms) {
                    assert!(lift.order(&held.unwrap()).is_gt(), "a lift wins over the ban it saw");
                    self.written.push(lift);
                }
            }
            Step::Send { from, to } => {
                let (from, to) = (from % count, to % count);
                self.messages.push((from, to, self.replicas[from].entries().collect()));
            }
            Step::Deliver { which, again, backwards } => {
                if self.messages.is_empty() {
                    return;
                }
                let (from, to, mut entries) = self.messages.swap_remove(which % self.messages.len());
                if again {
                    self.messages.push((from, to, entries.clone()));
                }
                if backwards {
                    entries.reverse();
                }
                let is_reached = |at: usize| self.reached >> at & 1 == 1;
                if is_reached(from) == is_reached(to) {
                    self.merge(to, entries);
                }
            }
            Step::Partition { reached } => self.reached = reached,
            Step::Wait { minutes } => self.now_ms += u64::from(minutes) * 60_000,
            Step::Expire { at } => self.expire(at % count),
            Step::Skew { at, minutes } => self.skews_ms[at % count] = minutes * 60_000,
        }
    }

    fn merge(&mut self, at: usize, entries: Vec<Entry>) {
        let now_ms = self.clock_ms(at);
        let known: Vec<Entry> = entries.clone();
        let changed = self.replicas[at].merge(entries, now_ms);
        // What a keeper decides about late bans is written, too.
        self.written.extend(changed.into_iter().filter(|entry| !known.contains(entry)));
    }

    fn expire(&mut self, at: usize) {
        let now_ms = self.clock_ms(at);
        while self.replicas[at].is_due(now_ms) {
            self.replicas[at].expire(now_ms);
        }
    }

    /// Waits until no clock of the fleet can see an end or a forgetting differently from another, then lets
    /// everybody hear everybody.
    fn settle(&mut self) {
        self.messages.clear();
        let margin_ms = 2 * HOUR_MS as u64;
        let moments = self.written.iter().flat_map(|entry| [entry.until_ms, entry.forget_at_ms()]);
        let moments: Vec<u64> = moments.flatten().collect();
        while moments.iter().any(|moment_ms| moment_ms.abs_diff(self.now_ms) < margin_ms) {
            self.now_ms += margin_ms / 2;
        }
        for _ in 0..2 {
            for from in 0..self.replicas.len() {
                self.expire(from);
                for to in 0..self.replicas.len() {
                    let entries = self.replicas[from].entries().collect();
                    self.merge(to, entries);
                }
            }
        }
    }
}

fn any_origin(number: u8) -> Origin {
    origin(number)
}

/// Bans whose ends are remembered as long as the histories below last.
fn origin_of_people(number: u8) -> Origin {
    [Origin::Operator, Origin::Expert, Origin::NodeApi][usize::from(number) % 3]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn after_a_full_exchange_all_hold_the_same_whatever_happened_before(
        count in 3..7_usize,
        // Up to days between two steps: entries are forgotten while others are away.
        steps in prop::collection::vec(step(4_000), 1..80),
    ) {
        let mut fleet = Fleet::new(count);
        for step in steps {
            fleet.take(step, any_origin);
        }
        fleet.settle();
        let first = state(&fleet.replicas[0]);
        for replica in &fleet.replicas[1..] {
            prop_assert_eq!(&state(replica), &first);
        }
    }

    #[test]
    fn within_the_retention_all_end_equal_to_the_newest_of_everything_written(
        count in 3..7_usize,
        steps in prop::collection::vec(step(60), 1..80),
    ) {
        let mut fleet = Fleet::new(count);
        for step in steps {
            fleet.take(step, origin_of_people);
        }
        fleet.settle();
        prop_assume!(fleet.now_ms < START_MS + RETENTION_MS - GRACE_MS * 2);
        let mut model = BTreeMap::<IpNet, &Entry>::new();
        for entry in &fleet.written {
            let held = model.entry(entry.prefix).or_insert(entry);
            if entry.order(held).is_gt() {
                *held = entry;
            }
        }
        for (at, replica) in fleet.replicas.iter().enumerate() {
            let held: Vec<Entry> = replica.entries().collect();
            prop_assert_eq!(&held, &model.values().map(|entry| (*entry).clone()).collect::<Vec<_>>());
            let now_ms = fleet.clock_ms(at);
            let active: Vec<IpNet> = replica.active(now_ms).map(|entry| entry.prefix).collect();
            let is_active = |entry: &&&Entry| !entry.removed && entry.until_ms.is_none_or(|until| until > fleet.now_ms);
            let expected: Vec<IpNet> = model.values().filter(is_active).map(|entry| entry.prefix).collect();
            prop_assert_eq!(active, expected, "an end is the same moment for all that have not skewed over it");
        }
    }
}
