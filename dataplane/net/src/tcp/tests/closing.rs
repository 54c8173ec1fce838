//! The end: FIN both ways in every order, RST, TIME-WAIT.

use super::harness::*;
use crate::tcp::{CloseReason, Event, State};
use crate::verdict::DropReason;
use crate::wire::tcp::Flags;

fn fin(seq: u32, ack: u32) -> Tcp {
    seg(Flags::FIN_ACK, seq, ack)
}

/// We finish first, the client follows.
fn in_time_wait(setup: Setup) -> World {
    let mut world = World::new(setup);
    let clock = |segment: Tcp| if setup.timestamps { segment.ts(CLIENT_CLOCK, OUR_CLOCK) } else { segment };
    world.stack.finish(world.id, world.now);
    assert_eq!(world.stack.state(world.id), State::FinWait1);
    let ours = world.expect();
    assert_eq!((ours.flags, ours.seq), (Flags::FIN_ACK, 1));
    assert_eq!(world.send(clock(ack(1, 2))), Out::Consumed);
    assert_eq!(world.stack.state(world.id), State::FinWait2);
    let answer = world.send(clock(fin(1, 2))).answer();
    assert_eq!((answer.flags, answer.seq, answer.ack), (Flags::ACK, 2, 2));
    world
}

#[test]
fn we_finish_first_and_a_small_record_stays() {
    let mut world = in_time_wait(Setup::default());
    world.expect_nothing();
    let events = world.events();
    assert!(matches!(events[0], Event::PeerFinished { .. }));
    assert!(matches!(events[1], Event::Closed(closed) if closed.reason == CloseReason::Finished));
    assert_eq!((world.stack.counts().connections, world.stack.counts().time_wait), (0, 1));
    // Its FIN again: our ACK was lost.
    world.pass_ms(30_000);
    assert_eq!(world.send(fin(1, 2)).answer().ack, 2);
    // That restarted the wait.
    world.pass_ms(59_000);
    assert_eq!(world.stack.counts().time_wait, 1);
    world.pass_ms(1_200);
    assert_eq!(world.stack.counts().time_wait, 0);
    assert_eq!(world.send(fin(1, 2)), Out::Miss);
}

#[test]
fn fin_that_rode_on_data_leaves_a_record_too() {
    let mut world = World::new(Setup { timestamps: true, ..Setup::default() });
    let clock = |segment: Tcp| segment.ts(CLIENT_CLOCK, OUR_CLOCK);
    assert_eq!(world.send(clock(data(1, 1, b"ask"))), Out::Data(b"ask".to_vec()));
    world.stack.send(world.id, b"bye", world.now);
    world.stack.finish(world.id, world.now);
    let ours = world.expect();
    assert_eq!((ours.flags.intersects(Flags::FIN), ours.seq), (true, 1));
    assert_eq!(world.send(clock(ack(4, 5))), Out::Consumed);
    assert_eq!(world.stack.state(world.id), State::FinWait2);
    let answer = world.send(clock(fin(4, 5))).answer();
    assert_eq!((answer.flags, answer.seq, answer.ack), (Flags::ACK, 5, 5));
    world.stack.close(world.id, world.now);
    assert_eq!(world.stack.counts().time_wait, 1);
    assert_eq!(world.send(clock(fin(4, 5))).answer().ack, 5);
}

#[test]
fn client_finishes_first_and_nothing_stays() {
    let mut world = World::plain();
    let mut last = data(1, 1, b"bye");
    last.flags = last.flags | Flags::FIN;
    assert_eq!(world.send(last), Out::Data(b"bye".to_vec()));
    assert_eq!(world.events(), [Event::PeerFinished { connection: world.id, user: 0 }]);
    assert_eq!((world.stack.state(world.id), world.expect().ack), (State::CloseWait, 5));
    // We may still answer.
    world.stack.send(world.id, b"you too", world.now);
    world.stack.finish(world.id, world.now);
    assert_eq!(world.stack.state(world.id), State::LastAck);
    let answer = world.expect();
    assert_eq!(answer.data, b"you too");
    let ours = if answer.has(Flags::FIN) { answer } else { world.expect() };
    assert!(ours.has(Flags::FIN));
    world.send(ack(5, 9));
    world.expect_nothing();
    let closed = world.closed();
    assert_eq!((closed.reason, closed.bytes_in, closed.bytes_out), (CloseReason::Finished, 3, 7));
    assert_eq!((closed.listener, closed.client), (7, world.addrs().0));
    assert_eq!((world.stack.counts().connections, world.stack.counts().time_wait), (0, 0));
}

#[test]
fn both_finish_at_once() {
    let mut world = World::plain();
    world.stack.finish(world.id, world.now);
    world.expect();
    assert_eq!(world.send(fin(1, 1)).answer().ack, 2);
    assert_eq!(world.stack.state(world.id), State::Closing);
    world.send(ack(2, 2));
    assert_eq!(world.stack.counts().time_wait, 1);
}

#[test]
fn fin_that_overtakes_data_waits_for_it() {
    let mut world = World::plain();
    let mut last = data(4, 1, b"def");
    last.flags = last.flags | Flags::FIN;
    assert_eq!(world.send(last).answer().ack, 1);
    assert_eq!(world.stack.state(world.id), State::Established);
    assert_eq!(world.send(data(1, 1, b"abc")), Out::Data(b"abc".to_vec()));
    assert_eq!(world.stack.state(world.id), State::CloseWait);
    assert_eq!(world.expect().ack, 8);
    assert_eq!(
        world.events(),
        [Event::Readable { connection: world.id, user: 0 }],
        "the end comes after the data"
    );
    assert_eq!(world.read_all(), b"def");
    assert_eq!(world.events(), [Event::PeerFinished { connection: world.id, user: 0 }]);
}

#[test]
fn half_closed_connection_goes_on_receiving() {
    let mut world = World::plain();
    world.stack.finish(world.id, world.now);
    world.expect();
    world.send(ack(1, 2));
    // Longer than FIN-WAIT-2 lasts in silence.
    for index in 0..5 {
        world.pass_ms(50_000);
        assert_eq!(world.send(data(1 + index, 2, b"x")), Out::Data(b"x".to_vec()));
    }
    world.pass_ms(59_000);
    assert_eq!(world.stack.state(world.id), State::FinWait2);
    world.pass_ms(1_100);
    assert_eq!(world.closed().reason, CloseReason::FinWaitTimeout);
}

#[test]
fn stored_data_outlives_an_orderly_end() {
    let mut world = World::plain();
    world.takes = 0;
    world.stack.finish(world.id, world.now);
    world.expect();
    world.send(ack(1, 2));
    let mut last = data(1, 2, b"unread");
    last.flags = last.flags | Flags::FIN;
    world.send(last);
    assert_eq!(world.stack.counts().time_wait, 1);
    assert_eq!(world.events(), [], "not closed while data waits");
    assert_eq!(world.expect().ack, 8, "the FIN is acknowledged all the same");
    assert_eq!(world.read_all(), b"unread");
    let events = world.events();
    assert!(matches!(events.as_slice(), [Event::PeerFinished { .. }, Event::Closed(_)]), "{events:?}");
    assert_eq!(world.stack.counts().connections, 0);
}

#[test]
fn exact_reset_ends_the_connection() {
    let mut world = World::plain();
    world.send(data(1, 1, b"abc"));
    assert_eq!(world.send(seg(Flags::RST, 4, 0)), Out::Consumed);
    assert_eq!(world.closed().reason, CloseReason::PeerReset);
    assert_eq!(world.send(data(4, 1, b"d")), Out::Miss);
    assert_eq!(world.stack.counts().chunk_bytes, 0);
}

#[test]
fn abort_sends_an_exact_reset() {
    let mut world = World::plain();
    world.send(data(1, 1, b"abc"));
    world.stack.send(world.id, &[7; 100], world.now);
    world.expect();
    world.stack.abort(world.id, world.now);
    world.stack.abort(world.id, world.now);
    let reset = world.expect();
    assert_eq!((reset.flags, reset.seq, reset.ack), (Flags::RST_ACK, 101, 4));
    world.expect_nothing();
    assert_eq!(world.closed().reason, CloseReason::Aborted);
    assert_eq!(world.stack.counts().connections, 0);
    assert_eq!(world.stack.counts().chunk_bytes, 0);
    assert_eq!(world.stack.state(world.id), State::Closed);
}

#[test]
fn data_for_an_owner_that_is_gone_is_answered_with_reset() {
    let mut world = World::plain();
    world.takes = 0;
    world.send(data(1, 1, b"unread"));
    world.stack.close(world.id, world.now);
    assert!(world.expect().has(Flags::FIN));
    assert_eq!(world.send(ack(7, 2)), Out::Consumed, "an ACK is no data");
    let reset = world.send(data(7, 2, b"more")).answer();
    assert_eq!((reset.flags, reset.seq), (Flags::RST, 2));
    assert_eq!(world.closed().reason, CloseReason::DataAfterClose);
}

#[test]
fn closed_connection_finishes_in_order_with_one_event() {
    let mut world = World::plain();
    world.stack.close(world.id, world.now);
    world.expect();
    world.send(ack(1, 2));
    world.send(fin(1, 2)).answer();
    assert_eq!(world.closed().reason, CloseReason::Finished);
}

#[test]
fn reset_in_time_wait_is_ignored() {
    let mut world = in_time_wait(Setup::default());
    assert_eq!(world.send(seg(Flags::RST, 2, 0)), Out::Drop(DropReason::OutOfWindow));
    assert_eq!(world.stack.counts().time_wait, 1, "RFC 1337");
}

#[test]
fn newer_syn_may_use_the_port_again_and_an_older_one_is_acknowledged() {
    for timestamps in [false, true] {
        let mut world = in_time_wait(Setup { timestamps, ..Setup::default() });
        world.events();
        let syn = |seq, clock| {
            let syn = seg(Flags::SYN, seq, 0);
            if timestamps { syn.ts(clock, 0) } else { syn }
        };
        let old = world.send(syn(0, CLIENT_CLOCK - 5)).answer();
        assert_eq!((old.flags, old.seq, old.ack), (Flags::ACK, 2, 2));
        assert_eq!(world.send(syn(90_000, CLIENT_CLOCK + 5)), Out::Miss);
        assert_eq!(world.stack.counts().time_wait, 1, "a SYN proves nothing");
        // The handshake is complete: the record makes way.
        assert!(world.open(40_000).is_ok());
        assert_eq!((world.stack.counts().time_wait, world.stack.counters().time_wait_reused), (0, 1));
    }
}

#[test]
fn time_wait_follows_the_peers_clock_and_tells_syns_of_one_tick_apart_by_their_number() {
    let mut world = in_time_wait(Setup { timestamps: true, ..Setup::default() });
    world.events();
    let clock = CLIENT_CLOCK + 50;
    assert_eq!(world.send(ack(2, 2).ts(clock, OUR_CLOCK)), Out::Drop(DropReason::OutOfWindow));
    let again = world.send(fin(1, 2).ts(clock, OUR_CLOCK)).answer();
    assert_eq!(again.timestamps.map(|timestamps| timestamps.echo), Some(clock));
    assert!(matches!(world.send(seg(Flags::SYN, 90_000, 0).ts(clock - 5, 0)), Out::Answer(_)), "older");
    assert!(matches!(world.send(seg(Flags::SYN, 0, 0).ts(clock, 0)), Out::Answer(_)), "a lower number");
    assert_eq!(world.send(seg(Flags::SYN, 90_000, 0).ts(clock, 0)), Out::Miss, "RFC 6191");
}

#[test]
fn time_wait_begins_with_the_clock_of_the_segment_that_acknowledged_our_fin() {
    let mut world = World::new(Setup { timestamps: true, ..Setup::default() });
    world.stack.finish(world.id, world.now);
    world.expect();
    world.send(fin(1, 1).ts(CLIENT_CLOCK + 10, OUR_CLOCK)).answer();
    assert_eq!(world.send(ack(2, 2).ts(CLIENT_CLOCK + 20, OUR_CLOCK)), Out::Consumed);
    assert_eq!(world.stack.counts().time_wait, 1);
    let again = world.send(fin(1, 2).ts(CLIENT_CLOCK + 30, OUR_CLOCK)).answer();
    assert_eq!(again.timestamps.map(|timestamps| timestamps.echo), Some(CLIENT_CLOCK + 20));
}

#[test]
fn late_data_in_time_wait_is_acknowledged_and_a_new_handshake_is_missed() {
    let mut world = in_time_wait(Setup::default());
    let late = world.send(fin(1, 1)).answer();
    assert_eq!(late.ack, 2);
    assert_eq!(world.send(ack(2, 2)), Out::Drop(DropReason::OutOfWindow), "the last ACK again");
    assert_eq!(world.send(ack(90_001, 700_001)), Out::Miss, "may hold a cookie");
}

#[test]
fn full_time_wait_table_gives_up_the_oldest() {
    let mut setup = Setup::default();
    setup.limits.time_wait_max = 2;
    let mut world = World::new(setup);
    for port in [40_000, 40_001, 40_002] {
        world.port = port;
        world.id = world.open(port).unwrap();
        world.stack.close(world.id, world.now);
        world.expect();
        world.send(ack(1, 2));
        world.send(fin(1, 2)).answer();
        world.events();
    }
    assert_eq!((world.stack.counts().time_wait, world.stack.counters().time_wait_evicted), (2, 1));
    world.port = 40_000;
    assert_eq!(world.send(fin(1, 2)), Out::Miss);
    world.port = 40_001;
    world.send(fin(1, 2)).answer();
}
