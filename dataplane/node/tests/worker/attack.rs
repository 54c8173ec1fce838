//! What is reported of an attack.

use core::time::Duration;

use secbeat_net::fragment::Split;
use secbeat_net::packet::PacketBuf;
use secbeat_net::wire::tcp::Flags;
use secbeat_node::event::{AttackKind, What};

use secbeat_node::telemetry::counters::{Counter, Gauge};

use super::packet::{Datagram, Segment};
use super::world::{CONFIG, VIP, World, at};

#[test]
fn ack_flood_is_reported_once_and_its_end_too() {
    let mut world = World::new(CONFIG);
    for number in 0..1_500u32 {
        let source = at(&format!("10.3.{}.{}", number / 250, 1 + number % 250), 999);
        world.client(&Segment::new(source, at(VIP, 80), Flags::ACK, number, number));
        if number % 10 == 0 {
            world.pass(Duration::from_millis(1));
        }
    }
    let started = |what: &What| {
        matches!(what, What::AttackStarted { listener: Some(0), kind: AttackKind::AckFlood, .. })
    };
    assert_eq!(world.reported().iter().filter(|what| started(what)).count(), 1);
    world.pass(Duration::from_secs(6));
    let reported = world.reported();
    let ended =
        reported.iter().any(|what| matches!(what, What::AttackEnded { kind: AttackKind::AckFlood, .. }));
    assert!(ended, "{reported:?}");
    assert_eq!(world.page().attacks(AttackKind::AckFlood), 1_500);
}

#[test]
fn fragments_that_are_never_completed_are_counted_when_they_give_way() {
    let mut world = World::new(CONFIG);
    for number in 0..20u16 {
        let source = at(&format!("10.3.0.{}", 1 + number), 4_000);
        let frame = Datagram::new(source, at(VIP, 5_300), &[0; 2_000]).frame([2; 6], [2, 0, 0, 0, 0, 1]);
        let mut split = Split::new(&frame, 1_500, u32::from(number)).expect("a packet");
        let mut buffer = [0; 2_048];
        let mut first = PacketBuf::new(&mut buffer, 0, 0);
        split.poll_piece(&mut first).expect("a first piece");
        world.inject(0, 0, first.bytes());
    }
    world.pass(Duration::from_millis(2));
    let evicted = world.page().get(Counter::ReassemblyEvicted);
    assert_eq!(evicted + world.page().gauge(Gauge::Reassembling), 20);
    assert!(evicted >= 12, "there is room for eight: {evicted}");
    assert_eq!(world.page().attacks(AttackKind::FragmentFlood), evicted);
}
