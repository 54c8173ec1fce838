//! ICMP, checksums, fragments, broken headers.

use super::harness::*;
use crate::tcp::State;
use crate::verdict::DropReason;
use crate::wire::icmp::ErrorKind;
use crate::wire::tcp::Flags;

#[test]
fn too_big_about_what_is_in_flight_makes_segments_smaller() {
    let mut world = World::plain();
    world.stack.send(world.id, &[1; 10_000], world.now);
    assert_eq!(world.expect().data.len(), 1_460);
    world.drain();
    assert_eq!(world.send_icmp(ErrorKind::TooBig { mtu: 1_400 }, 1), Out::Consumed);
    let again = world.drain();
    assert!(!again.is_empty());
    assert!(again.iter().all(|segment| segment.data.len() <= 1_360), "{:?}", again[0].data.len());
    assert_eq!(world.stack.counters().icmp_too_big, 1);
}

#[test]
fn forged_too_big_is_bounded_or_not_believed() {
    let mut world = World::plain();
    world.stack.send(world.id, &[1; 10_000], world.now);
    world.drain();
    for seq in [0u32.wrapping_sub(50), 10_001, 90_000] {
        let forged = world.send_icmp(ErrorKind::TooBig { mtu: 600 }, seq);
        assert_eq!(forged, Out::Drop(DropReason::IcmpUnmatched), "{seq}");
    }
    world.send_icmp(ErrorKind::TooBig { mtu: 68 }, 1);
    let largest = world.drain().iter().map(|segment| segment.data.len()).max();
    assert_eq!(largest, Some(552 - 40));
}

#[test]
fn unreachable_does_not_end_an_open_connection() {
    let mut world = World::plain();
    world.stack.send(world.id, b"x", world.now);
    world.drain();
    for code in 0..16 {
        assert_eq!(world.send_icmp(ErrorKind::Unreachable { code }, 1), Out::Consumed);
    }
    assert_eq!(world.stack.state(world.id), State::Established);
    assert_eq!(world.stack.counters().icmp_soft, 15, "code 4 is `too big`");
}

#[test]
fn segment_without_ack_is_dropped() {
    let mut world = World::plain();
    let bare = Tcp { data: b"x".to_vec(), ..seg(Flags::PSH, 1, 0) };
    assert_eq!(world.send(bare), Out::Drop(DropReason::TcpFlags));
}

#[test]
fn segment_to_no_connection_is_a_miss() {
    let mut world = World::plain();
    world.port = 1;
    assert_eq!(world.send(data(1, 1, b"x")), Out::Miss);
}
