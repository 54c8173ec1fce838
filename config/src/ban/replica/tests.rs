use super::*;
use crate::ban::{GRACE_MS, RETENTION_MS};

const START_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

fn net(text: &str) -> IpNet {
    crate::ban::wire::parse_prefix(text).unwrap()
}

fn replica(writer: u8) -> Replica {
    Replica::new([writer; 16], 1_000)
}

fn ban(replica: &mut Replica, prefix: &str, length_ms: Option<u64>, origin: Origin, now_ms: u64) -> Entry {
    let until_ms = length_ms.map(|length_ms| now_ms + length_ms);
    replica.ban(net(prefix), until_ms, "flood", origin, "ada", None, now_ms).unwrap()
}

fn exchange(a: &mut Replica, b: &mut Replica, now_ms: u64) {
    b.merge(a.entries().collect::<Vec<_>>(), now_ms);
    a.merge(b.entries().collect::<Vec<_>>(), now_ms);
}

fn expire_all(replica: &mut Replica, now_ms: u64) {
    while replica.is_due(now_ms) {
        replica.expire(now_ms);
    }
}

#[test]
fn a_ban_ends_by_itself_and_is_told_once() {
    let mut replica = replica(1);
    ban(&mut replica, "192.0.2.1", Some(HOUR_MS), Origin::Operator, START_MS);
    assert_eq!(replica.active(START_MS + HOUR_MS - 1).count(), 1);
    assert_eq!(replica.active(START_MS + HOUR_MS).count(), 0);
    assert!(replica.expire(START_MS + HOUR_MS - 1).is_empty());
    assert_eq!(replica.expire(START_MS + HOUR_MS).len(), 1);
    assert!(replica.expire(START_MS + HOUR_MS).is_empty());
}

#[test]
fn ended_bans_of_nodes_go_after_the_grace_and_those_of_people_after_the_retention() {
    let mut replica = replica(1);
    ban(&mut replica, "192.0.2.1", Some(HOUR_MS), Origin::Node, START_MS);
    ban(&mut replica, "192.0.2.2", Some(HOUR_MS), Origin::Operator, START_MS);
    let empty = Replica::default().digest();
    expire_all(&mut replica, START_MS + HOUR_MS + GRACE_MS);
    assert!(replica.get(&net("192.0.2.1")).is_none());
    assert!(replica.get(&net("192.0.2.2")).is_some());
    expire_all(&mut replica, START_MS + RETENTION_MS);
    assert!(replica.is_empty());
    assert_eq!(replica.digest(), empty);
}

#[test]
fn a_lift_wins_over_the_ban_it_has_seen_on_a_replica_whose_clock_is_an_hour_behind() {
    let (mut ahead, mut behind) = (replica(1), replica(2));
    ban(&mut ahead, "192.0.2.1", None, Origin::Operator, START_MS + HOUR_MS);
    behind.merge(ahead.entries().collect::<Vec<_>>(), START_MS - HOUR_MS);
    behind.lift(net("192.0.2.1"), "ada", "mistake", START_MS - HOUR_MS).unwrap();
    exchange(&mut ahead, &mut behind, START_MS);
    assert_eq!(ahead.active(START_MS).count(), 0);
    assert_eq!(ahead.digest(), behind.digest());
    assert!(behind.lift(net("192.0.2.1"), "ada", "again", START_MS).is_none());
}

#[test]
fn a_replica_that_was_away_longer_than_the_retention_cannot_bring_a_lifted_ban_back() {
    let mut keeper = Replica::keeper([1; 16], 1_000, 0);
    let (mut away, mut other) = (replica(2), replica(3));
    let lifted = net("192.0.2.1");
    ban(&mut keeper, "192.0.2.1", None, Origin::Operator, START_MS);
    exchange(&mut keeper, &mut away, START_MS);
    ban(&mut keeper, "192.0.2.2", None, Origin::Operator, START_MS + 1);
    keeper.lift(lifted, "ada", "mistake", START_MS + DAY_MS).unwrap();
    let now_ms = START_MS + DAY_MS + RETENTION_MS;
    expire_all(&mut keeper, now_ms);
    assert!(keeper.get(&lifted).is_none(), "the lift is forgotten");
    // Kept over a restart of the keeper.
    let mut restarted = Replica::keeper([1; 16], 1_000, keeper.forgotten_ms());
    restarted.restore(keeper.entries().collect::<Vec<_>>());
    assert_eq!(restarted.digest(), keeper.digest());
    exchange(&mut away, &mut restarted, now_ms);
    exchange(&mut other, &mut restarted, now_ms);
    for holder in [&away, &restarted, &other] {
        assert!(!holder.get(&lifted).unwrap().is_active(now_ms));
        assert!(holder.get(&net("192.0.2.2")).unwrap().is_active(now_ms));
        assert_eq!(holder.digest(), restarted.digest());
    }
    assert_eq!(restarted.losses().late, 1);
}

#[test]
fn a_keeper_that_lost_everything_learns_old_bans_from_its_nodes() {
    let (mut keeper, mut node) = (Replica::keeper([1; 16], 1_000, 0), replica(2));
    ban(&mut node, "192.0.2.1", None, Origin::NodeApi, START_MS);
    exchange(&mut keeper, &mut node, START_MS + 100 * DAY_MS);
    assert_eq!(keeper.active(START_MS + 100 * DAY_MS).count(), 1);
}

#[test]
fn a_clock_days_ahead_is_refused_and_heard_once_it_is_right() {
    let (mut broken, mut right) = (replica(1), replica(2));
    ban(&mut broken, "192.0.2.1", Some(HOUR_MS), Origin::Node, START_MS + 3 * DAY_MS);
    right.merge(broken.entries().collect::<Vec<_>>(), START_MS);
    assert_eq!((right.len(), right.losses().ahead), (0, 1));
    broken.expire(START_MS);
    exchange(&mut broken, &mut right, START_MS);
    assert_eq!(right.get(&net("192.0.2.1")).unwrap().until_ms, Some(START_MS + HOUR_MS));
    assert_eq!(broken.digest(), right.digest());
}

#[test]
fn a_replica_that_restarts_with_its_clock_set_back_keeps_its_bans_and_makes_them_heard() {
    let mut before = replica(1);
    ban(&mut before, "192.0.2.1", None, Origin::NodeApi, START_MS + 3 * DAY_MS);
    let (mut after, mut other) = (replica(1), replica(2));
    after.restore(before.entries().collect::<Vec<_>>());
    assert_eq!(after.active(START_MS).count(), 1);
    after.expire(START_MS);
    exchange(&mut after, &mut other, START_MS);
    assert_eq!(other.active(START_MS).count(), 1);
}

#[test]
fn a_node_does_not_weaken_what_is_in_force() {
    let mut replica = replica(1);
    let set = ban(&mut replica, "192.0.2.1", Some(DAY_MS), Origin::Operator, START_MS);
    assert_eq!(ban(&mut replica, "192.0.2.1", Some(HOUR_MS), Origin::Node, START_MS + 1), set);
    let longer = ban(&mut replica, "192.0.2.1", Some(2 * DAY_MS), Origin::Node, START_MS + 2);
    assert_eq!((longer.origin, longer.since_ms), (Origin::Node, START_MS));
}

#[test]
fn a_full_table_refuses_nodes_and_gives_people_the_place_of_a_node() {
    let mut replica = Replica::new([1; 16], 2);
    ban(&mut replica, "192.0.2.1", Some(HOUR_MS), Origin::Node, START_MS);
    ban(&mut replica, "192.0.2.2", Some(DAY_MS), Origin::Node, START_MS);
    let more = |replica: &mut Replica, prefix: &str, origin| {
        replica.ban(net(prefix), Some(START_MS + DAY_MS), "", origin, "", None, START_MS)
    };
    assert_eq!(more(&mut replica, "192.0.2.3", Origin::Node), Err(Refusal::Full { entries_max: 2 }));
    assert!(more(&mut replica, "192.0.2.3", Origin::Operator).is_ok());
    assert!(replica.get(&net("192.0.2.1")).is_none(), "the one that ends first");
    assert!(more(&mut replica, "192.0.2.4", Origin::Expert).is_ok());
    assert!(more(&mut replica, "192.0.2.5", Origin::Operator).is_err());
    assert!(more(&mut replica, "192.0.2.4", Origin::Operator).is_ok(), "what is held has its place");
    assert_eq!(replica.losses(), Losses { full: 2, displaced: 2, ..Losses::default() });
    assert_eq!(replica.len(), 2);
}

#[test]
fn a_nodes_ban_takes_the_place_of_one_that_has_ended() {
    let mut replica = Replica::new([1; 16], 1);
    ban(&mut replica, "192.0.2.1", Some(HOUR_MS), Origin::Node, START_MS);
    ban(&mut replica, "192.0.2.2", Some(HOUR_MS), Origin::Node, START_MS + HOUR_MS);
    assert_eq!(replica.losses(), Losses::default());
    assert_eq!(replica.len(), 1);
}

#[test]
fn texts_too_long_are_cut_at_a_character() {
    let mut replica = replica(1);
    let (reason, actor) = ("ä".repeat(200), "b".repeat(1_000));
    let entry = replica.ban(net("192.0.2.1"), None, &reason, Origin::Operator, &actor, None, START_MS);
    let entry = entry.unwrap();
    assert_eq!((entry.reason.len(), entry.actor.len()), (REASON_BYTES_MAX, ACTOR_BYTES_MAX));
    assert!(reason.starts_with(&entry.reason));
    assert_eq!(cut("aä", 2), "a");
}

#[test]
fn one_prefix_written_in_several_ways_is_one_entry() {
    let mut replica = replica(1);
    ban(&mut replica, "192.0.2.77/24", None, Origin::Operator, START_MS);
    ban(&mut replica, "::ffff:192.0.2.0/120", None, Origin::Operator, START_MS);
    assert_eq!(replica.len(), 1);
    let wide = replica.ban("0.0.0.0/0".parse().unwrap(), None, "", Origin::Operator, "", None, START_MS);
    assert_eq!(wide, Err(Refusal::Wide("0.0.0.0/0".parse().unwrap())));
    let wide = Entry { prefix: "::/0".parse().unwrap(), ..replica.entries().next().unwrap() };
    assert!(replica.merge([wide], START_MS).is_empty());
    assert_eq!(replica.losses().wide, 1);
}

#[test]
fn what_touches_an_address_or_a_prefix_is_found() {
    let mut replica = replica(1);
    for prefix in ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.2.0.0/16", "2001:db8::/32", "2001:db8::7"] {
        ban(&mut replica, prefix, Some(HOUR_MS), Origin::Operator, START_MS);
    }
    replica.lift(net("10.1.0.0/16"), "", "", START_MS);
    let texts =
        |entries: Vec<Entry>| entries.iter().map(|entry| entry.prefix.to_string()).collect::<Vec<_>>();
    let covering =
        |address: &str, now_ms| texts(replica.covering(address.parse().unwrap(), now_ms).collect());
    assert_eq!(covering("10.1.2.3", START_MS), ["10.0.0.0/8", "10.1.2.3/32"]);
    assert_eq!(covering("::ffff:10.2.0.1", START_MS), ["10.0.0.0/8", "10.2.0.0/16"]);
    assert_eq!(covering("2001:db8::7", START_MS), ["2001:db8::/32", "2001:db8::7/128"]);
    assert!(covering("10.1.2.3", START_MS + HOUR_MS).is_empty());
    let within = texts(replica.within(net("10.1.0.0/16"), START_MS).collect());
    assert_eq!(within, ["10.1.2.3/32"]);
    let within = texts(replica.within(net("2001:db8::/32"), START_MS).collect());
    assert_eq!(within, ["2001:db8::/32", "2001:db8::7/128"]);
    let after = texts(replica.entries_after(Some(net("10.1.2.3"))).collect());
    assert_eq!(after, ["10.2.0.0/16", "2001:db8::/32", "2001:db8::7/128"]);
}

#[test]
fn pages_go_through_everything_in_force_once_whatever_their_size() {
    let mut replica = replica(1);
    for number in 0..100 {
        let origin = if number % 3 == 0 { Origin::Node } else { Origin::Operator };
        ban(&mut replica, &format!("10.0.{}.{number}", number % 5), Some(HOUR_MS), origin, START_MS);
    }
    replica.lift(net("10.0.0.0"), "", "", START_MS);
    for (outer, origins, count) in [
        (None, &[][..], 99),
        (Some("10.0.1.0/24"), &[][..], 20),
        (None, &[Origin::Node][..], 33),
        (Some("10.9.0.0/16"), &[][..], 0),
    ] {
        for (count_max, looked_at_max) in [(1, 1_000), (7, 3), (1_000, 1_000)] {
            let (mut last, mut seen) = (None, Vec::new());
            loop {
                let outer = outer.map(net);
                let page = replica.page(last, outer, origins, count_max, looked_at_max, START_MS);
                assert!(page.entries.len() <= count_max);
                seen.extend(page.entries.into_iter().map(|entry| entry.prefix));
                last = page.next;
                if last.is_none() {
                    break;
                }
            }
            assert_eq!(seen.len(), count);
            assert!(seen.is_sorted_by(|a, b| a < b));
        }
    }
    assert_eq!((replica.active_len(&[]), replica.active_len(&[Origin::Node])), (99, 33));
    replica.expire(START_MS + HOUR_MS);
    assert_eq!(replica.active_len(&[]), 0);
}

#[test]
fn a_decision_that_could_not_be_kept_is_as_if_it_had_not_been() {
    let mut replica = replica(1);
    let first = ban(&mut replica, "192.0.2.1", None, Origin::Operator, START_MS);
    let digest = replica.digest();
    let lift = replica.lift(net("192.0.2.1"), "", "", START_MS).unwrap();
    replica.undo(&lift, Some(first.clone()));
    let new = ban(&mut replica, "192.0.2.2", None, Origin::Operator, START_MS);
    replica.undo(&new, None);
    assert_eq!((replica.digest(), replica.active_len(&[])), (digest, 1));
    let newer = ban(&mut replica, "192.0.2.1", Some(HOUR_MS), Origin::Operator, START_MS);
    replica.undo(&lift, Some(first));
    assert_eq!(replica.get(&net("192.0.2.1")), Some(newer), "what came later stays");
}

#[test]
fn a_keeper_says_what_left_its_table() {
    let mut replica = Replica::keeper([1; 16], 2, 0);
    ban(&mut replica, "192.0.2.1", Some(HOUR_MS), Origin::Node, START_MS);
    ban(&mut replica, "192.0.2.2", Some(HOUR_MS), Origin::Operator, START_MS);
    assert!(replica.take_dropped().is_empty());
    ban(&mut replica, "192.0.2.3", Some(HOUR_MS), Origin::Operator, START_MS);
    assert_eq!(replica.take_dropped(), [net("192.0.2.1")]);
    expire_all(&mut replica, START_MS + RETENTION_MS);
    assert_eq!(replica.take_dropped(), [net("192.0.2.2"), net("192.0.2.3")]);
}

#[test]
fn two_holders_of_one_uuid_agree_by_content() {
    let (mut a, mut b) = (replica(1), replica(1));
    ban(&mut a, "192.0.2.1", Some(HOUR_MS), Origin::Operator, START_MS);
    ban(&mut b, "192.0.2.1", Some(DAY_MS), Origin::Operator, START_MS);
    exchange(&mut a, &mut b, START_MS);
    assert_eq!(a.digest(), b.digest());
    assert_eq!(a.get(&net("192.0.2.1")).unwrap().until_ms, Some(START_MS + DAY_MS));
}

#[test]
#[ignore = "takes seconds and memory; prints what an entry costs"]
fn a_million_entries_take_less_than_250_mb() {
    let resident_bytes = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
    };
    let before = resident_bytes();
    let started = std::time::Instant::now();
    let mut replica = Replica::new([1; 16], 1_000_000);
    for number in 0..1_000_000_u32 {
        // Scattered over the space, as attackers are.
        let address = std::net::Ipv4Addr::from(number.wrapping_mul(2_654_435_761));
        let until_ms = Some(START_MS + u64::from(number.wrapping_mul(40_503) % 86_400_000));
        let prefix = IpNet::from(std::net::IpAddr::from(address));
        replica.ban(prefix, until_ms, "flood", Origin::Node, "", Some([2; 16]), START_MS).unwrap();
    }
    let bytes = resident_bytes() - before;
    println!("{} bytes per entry, {:?}", bytes / 1_000_000, started.elapsed());
    assert!(bytes < 250_000_000, "{bytes}");
}
