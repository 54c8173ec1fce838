//! What is reported of an attack.

use core::time::Duration;

use secbeat_net::wire::tcp::Flags;
use secbeat_node::event::{AttackKind, What};

use super::packet::Segment;
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
