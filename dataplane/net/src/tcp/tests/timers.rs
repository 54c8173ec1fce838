//! Time alone: keep-alive, retransmission that gives up, the wheel.

use core::time::Duration;

use super::harness::*;
use crate::tcp::{CloseReason, State};

#[test]
fn silent_peer_is_probed_and_given_up() {
    let mut world = World::plain();
    world.pass(Duration::from_secs(7_199));
    world.expect_nothing();
    for _ in 0..9 {
        world.pass(Duration::from_secs(if world.stack.counters().keep_alives == 0 { 1 } else { 75 }));
        let probe = world.expect();
        assert_eq!((probe.seq, probe.data.len()), (0, 0), "a number that was acknowledged");
        world.expect_nothing();
    }
    world.pass(Duration::from_secs(75));
    assert_eq!(world.closed().reason, CloseReason::KeepAlive);
}

#[test]
fn peer_that_answers_probes_stays() {
    let mut world = World::plain();
    for _ in 0..20 {
        world.pass(Duration::from_secs(7_200));
        world.expect();
        world.send(ack(1, 1));
    }
    assert_eq!(world.stack.state(world.id), State::Established);
    assert_eq!(world.stack.counters().keep_alives, 20);
}

#[test]
fn peer_that_vanished_is_given_up_within_bounded_time() {
    let mut world = World::plain();
    world.stack.send(world.id, &[1; 5_000], world.now);
    world.stack.finish(world.id, world.now);
    let start = world.now;
    while world.stack.counts().connections > 0 {
        world.pass_ms(1_000);
        world.drain();
        world.events();
        assert!(world.now - start < Duration::from_secs(400));
    }
    assert_eq!(world.stack.counts().chunk_bytes, 0);
}

#[test]
fn delayed_ack_does_not_come_twice() {
    let mut world = World::plain();
    for index in 0..10 {
        world.send(data(1 + index, 1, b"x"));
        world.pass_ms(40);
        assert_eq!(world.expect().ack, 2 + index);
        world.pass_ms(60);
        world.expect_nothing();
    }
}

#[test]
fn timers_are_handled_within_the_budget() {
    let mut world = World::plain();
    for port in 41_000..41_020 {
        world.port = port;
        world.open(port).unwrap();
        world.send(data(1, 1, b"x"));
    }
    world.now = world.now + Duration::from_millis(41);
    assert_eq!(world.stack.handle_timeout(world.now, 5), 5);
    assert_eq!(world.drain().len(), 5);
    assert_eq!(world.stack.handle_timeout(world.now, 100), 15);
    assert_eq!(world.drain().len(), 15);
}
