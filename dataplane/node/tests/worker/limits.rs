//! Limits, lists, drain, and a policy that changes under traffic.

use core::time::Duration;

use secbeat_net::verdict::DropReason;
use secbeat_net::wire::tcp::Flags;
use secbeat_node::event::{Offence, What};
use secbeat_node::telemetry::counters::Counter;

use super::packet::{Datagram, Segment};
use super::talk::CLIENT_ISN;
use super::world::{CONFIG, VIP, World, at, ban, lists};

fn with_limits(limits: &str) -> String {
    CONFIG.replace("source_rate = 0\nsource_connections = 0", limits)
}

#[test]
fn source_has_no_more_connections_than_allowed_and_gets_them_back() {
    let mut world = World::new(&with_limits("source_rate = 0\nsource_connections = 2"));
    let first = world.establish(at("10.1.0.9", 1)).expect("first");
    assert!(world.establish(at("10.1.0.9", 2)).is_some());
    assert!(world.open(at("10.1.0.9", 3)).is_none(), "the third is refused");
    assert_eq!(world.drops(DropReason::ConnectionLimit), 1);
    assert!(world.establish(at("10.1.0.10", 3)).is_some(), "another source is not");
    // The first one is reset by its client: one may come again.
    let reset = Segment::new(first.client, first.vip, Flags::RST_ACK, first.client_seq, first.client_ack);
    world.client(&reset.with_timestamps(8, first.echo));
    world.turn();
    world.to_backends();
    assert!(world.establish(at("10.1.0.9", 4)).is_some());
}

#[test]
fn client_refused_by_a_limit_is_reset_only_if_it_could_not_try_again() {
    let limited = with_limits("source_rate = 0\nsource_connections = 1");
    for (config, resets) in [(limited.clone(), 0), (limited.replace("always", "never"), 1)] {
        let mut world = World::new(&config);
        world.establish(at("10.1.0.9", 1)).expect("first");
        let answer = world.syn(at("10.1.0.9", 2)).expect("an answer");
        let ack = world.ack_of(&answer);
        let told = world.client(&ack);
        assert_eq!(told.iter().filter(|segment| segment.flags == Flags::RST).count(), resets);
        assert_eq!(world.drops(DropReason::ConnectionLimit), 1);
    }
}

#[test]
fn source_opens_no_faster_than_allowed_and_offends_by_trying() {
    let limits = "source_rate = 1\nsource_burst = 2\nsource_connections = 0\n[lists]\nmax_offences = 3";
    let mut world = World::new(&with_limits(limits));
    let opened = (1..=6).filter(|&port| world.open(at("10.1.0.9", port)).is_some()).count();
    assert_eq!(opened, 2);
    assert_eq!(world.drops(DropReason::ConnectionRate), 4);
    let offender = What::Offender { source: at("10.1.0.9", 0).ip(), offence: Offence::ConnectionRate };
    assert_eq!(world.reported().into_iter().filter(|what| *what == offender).count(), 1);
    world.pass(Duration::from_millis(1_100));
    assert!(world.open(at("10.1.0.9", 7)).is_some(), "a second later there is room for one");
}

#[test]
fn forged_syns_that_are_passed_through_charge_nobody() {
    let limits = "source_rate = 1\nsource_burst = 1\nsource_connections = 1\n[lists]\nmax_offences = 1";
    let config = with_limits(limits).replace("mode = \"syn\"", "mode = \"tcp\"").replace("always", "auto");
    let mut world = World::new(&config);
    for port in 1_000..1_004 {
        assert!(world.syn(at("10.1.0.9", port)).is_none(), "the backend answers, not the node");
        // Whoever forged the SYN cannot know the backend's number.
        world.client(&Segment::new(at("10.1.0.9", port), at(VIP, 80), Flags::ACK, CLIENT_ISN + 1, 77));
    }
    assert_eq!(world.shared.limits.connections(), 0);
    // The true owner's first connection counts when it has acknowledged the SYN-ACK; its second is reset then.
    world.to_backends();
    for (port, open) in [(1, 1), (2, 1)] {
        world.syn(at("10.1.0.9", port));
        let syn = world.to_backends().pop().expect("the SYN");
        let accepted = Segment::new(syn.destination, syn.source, Flags::SYN_ACK, 4_242, syn.seq + 1);
        world.backend(&accepted.with_syn_options(9));
        world.client(&Segment::new(at("10.1.0.9", port), at(VIP, 80), Flags::ACK, CLIENT_ISN + 1, 4_243));
        world.turn();
        assert_eq!(world.shared.limits.connections(), open);
    }
    assert_eq!(world.count(Counter::ConnectionsRefused), 1);
    let offender = |what: &What| matches!(what, What::Offender { .. });
    assert_eq!(
        world.reported().iter().filter(|what| offender(what)).count(),
        1,
        "the second connection offends"
    );
}

#[test]
fn forged_syns_of_a_source_never_make_it_an_offender() {
    let limits = "source_rate = 1\nsource_burst = 1\nsource_connections = 1\n[lists]\nmax_offences = 1";
    let mut world = World::new(&with_limits(limits));
    for port in 1_000..1_500 {
        world.syn(at("10.1.0.9", port));
        world.client(&Segment::new(at("10.1.0.9", port), at(VIP, 80), Flags::ACK, 3, 4));
    }
    assert!(!world.reported().iter().any(|what| matches!(what, What::Offender { .. })));
    assert!(world.establish(at("10.1.0.9", 1)).is_some(), "the true owner gets in");
}

#[test]
fn rule_lets_each_source_pass_up_to_its_rate() {
    let rule =
        "[[filter.rules]]\nname = \"calm\"\naction = \"limit\"\nrate = 1\nburst = 3\nprotocol = \"tcp\"\n";
    let mut world = World::new(&(CONFIG.to_owned() + rule));
    let answered =
        |world: &mut World, host| (1..=5).filter(|&port| world.syn(at(host, port)).is_some()).count();
    assert_eq!(answered(&mut world, "10.1.0.9"), 3);
    assert_eq!(answered(&mut world, "10.1.0.10"), 3, "each source has its own rate");
    assert_eq!(world.drops(DropReason::FilterRule), 4);
    world.pass(Duration::from_secs(2));
    assert_eq!(answered(&mut world, "10.1.0.9"), 2, "a second gives one back");
}

#[test]
fn allowlisted_source_passes_every_list_rule_and_limit() {
    let text = with_limits("source_rate = 1\nsource_burst = 1\nsource_connections = 1\nsyn_rate = 1")
        + "[[filter.rules]]\nname = \"nobody\"\nsources = [\"0.0.0.0/0\"]\n";
    let mut world = World::new(&text);
    world.reload_with(&text, lists(&["10.1.0.9/32"], &["10.1.0.0/24"]));
    for port in 1..=10 {
        assert!(world.establish(at("10.1.0.9", port)).is_some(), "connection {port}");
    }
    assert!(world.syn(at("10.1.0.10", 1)).is_none());
    assert_eq!(world.drops(DropReason::Blocklisted), 1);
    assert!(world.syn(at("10.9.0.10", 1)).is_none());
    assert_eq!(world.drops(DropReason::FilterRule), 1);
}

#[test]
fn ban_ends_by_itself() {
    let mut world = World::new(CONFIG);
    world.reload_with(CONFIG, ban("10.1.0.9/32", Duration::from_secs(5)));
    assert!(world.syn(at("10.1.0.9", 1)).is_none());
    assert!(world.syn(at("10.1.0.8", 1)).is_some());
    world.pass(Duration::from_secs(5));
    assert!(world.syn(at("10.1.0.9", 2)).is_some(), "no new policy was needed");
}

#[test]
fn ban_stops_a_connection_that_stands() {
    let mut world = World::new(CONFIG);
    let mut talk = world.establish(at("10.1.0.9", 1)).expect("established");
    world.say(&mut talk, b"before");
    world.reload_with(CONFIG, lists(&[], &["10.1.0.0/16"]));
    assert!(world.say(&mut talk, b"after").is_empty());
    assert_eq!(world.drops(DropReason::Blocklisted), 1);
}

#[test]
fn draining_node_finishes_connections_and_takes_no_new_ones() {
    let mut world = World::new(CONFIG);
    let mut talk = world.establish(at("10.1.0.9", 1)).expect("established");
    let answer = world.syn(at("10.1.0.9", 2)).expect("an answer");
    world.to_backends();
    world.drain();
    assert!(world.syn(at("10.1.0.9", 3)).is_none());
    let ack = world.ack_of(&answer);
    let told = world.client(&ack);
    assert_eq!(told.iter().map(|told| (told.flags, told.seq)).collect::<Vec<_>>(), [(Flags::RST, ack.ack)]);
    assert_eq!(world.drops(DropReason::Draining), 2);
    assert!(world.to_backends().is_empty());
    assert!(world.say(&mut talk, b"still here").iter().any(|segment| segment.payload == b"still here"));
    assert!(!world.workers[0].is_drained());
    let reset = Segment::new(talk.client, talk.vip, Flags::RST_ACK, talk.client_seq, talk.client_ack);
    world.client(&reset.with_timestamps(8, talk.echo));
    world.turn();
    assert!(world.workers[0].is_drained());
}

#[test]
fn shut_down_resets_both_sides() {
    let mut world = World::new(CONFIG);
    let talk = world.establish(at("10.1.0.9", 1)).expect("established");
    world.to_backends();
    let now = world.now;
    assert_eq!(world.workers[0].shut_down(now), 1);
    assert!(world.to_clients().iter().any(|s| s.flags.contains(Flags::RST) && s.destination == talk.client));
    assert!(
        world.to_backends().iter().any(|s| s.flags.contains(Flags::RST) && s.destination == talk.backend)
    );
    assert_eq!(world.shared.limits.connections(), 0);
}

#[test]
fn connections_live_on_when_the_policy_changes() {
    let mut world = World::new(CONFIG);
    let mut talk = world.establish(at("10.1.0.9", 1)).expect("established");
    world.say(&mut talk, b"one");
    // The listener moves to another port, and one backend leaves.
    let moved = CONFIG.replace("0.0.0.0:80\"", "0.0.0.0:81\"");
    world.reload(&moved);
    assert_eq!(world.page().get(Counter::PoliciesAdopted), 1);
    assert!(world.say(&mut talk, b"two").iter().any(|segment| segment.payload == b"two"));
    assert!(!world.answer_at(0, &mut talk, b"three").is_empty());
    assert!(world.syn(at("10.1.0.9", 2)).is_none(), "the old port is closed");
    assert_eq!(world.drops(DropReason::NoListener), 1);
}

#[test]
fn datagrams_flow_both_ways_within_their_rate() {
    let config = with_limits("source_rate = 0\nsource_connections = 0\nudp_rate = 10\nudp_burst = 3");
    let mut world = World::new(&config);
    let ask = Datagram::new(at("10.1.0.9", 4_000), at(VIP, 5_300), b"question");
    let sent = world.datagram(0, &ask);
    let [(1, asked)] = &sent[..] else { panic!("one datagram to the backend: {sent:?}") };
    assert_eq!((asked.destination, asked.payload.as_slice()), (at("10.2.0.13", 5_300), &b"question"[..]));
    let answers = world.datagram(1, &Datagram::new(asked.destination, asked.source, b"answer"));
    assert_eq!(answers, [(0, Datagram::new(at(VIP, 5_300), at("10.1.0.9", 4_000), b"answer"))]);
    world.datagram(0, &ask);
    world.datagram(0, &ask);
    assert!(world.datagram(0, &ask).is_empty());
    assert_eq!(world.drops(DropReason::UdpRate), 1);
    assert_eq!(world.count(Counter::UdpFlowsOpened), 1);
}
