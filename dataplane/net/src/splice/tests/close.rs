//! The end: FIN both ways, RST, TIME-WAIT, silence.

use core::time::Duration;

use super::harness::*;
use crate::splice::{CloseReason, Event};
use crate::verdict::DropReason;
use crate::wire::tcp::Flags;

const C1: u32 = C.wrapping_add(1);
const N1: u32 = N + 1;
const B1: u32 = B + 1;

/// Reasons of the `Closed` events so far.
fn closed(world: &mut World) -> Vec<CloseReason> {
    let reason = |event| match event {
        Event::Closed { reason, .. } => Some(reason),
        _ => None,
    };
    world.events().into_iter().filter_map(reason).collect()
}

/// The client closes, the backend follows: the flow is in TIME-WAIT.
fn finished() -> World {
    let mut world = World::established(Setup::default());
    let fin = world.from_client(seg(Flags::FIN_ACK, C1, N1)).to_backend();
    assert_eq!((fin.flags, fin.seq), (Flags::FIN_ACK, world.up(0)));
    let fin = world.from_backend(seg(Flags::FIN_ACK, B1, world.up(1))).to_client();
    assert_eq!((fin.flags, fin.seq, fin.ack), (Flags::FIN_ACK, N1, C1.wrapping_add(1)));
    assert_eq!(closed(&mut world), []);
    world.from_client(seg(Flags::ACK, C1.wrapping_add(1), N1 + 1)).to_backend();
    assert_eq!(closed(&mut world), [CloseReason::Finished]);
    assert_eq!(world.splice.counts().time_wait, 1);
    world
}

#[test]
fn half_closed_flow_goes_on_in_the_other_direction() {
    let mut world = World::established(Setup::default());
    world.from_client(seg(Flags::FIN_ACK, C1, N1).data(b"last")).to_backend();
    world.from_backend(seg(Flags::ACK, B1, world.up(5))).to_client();
    let mut sent = 0;
    // Ten minutes of a slow answer: each part restarts the two minutes of silence.
    for _ in 0..10 {
        world.pass_time(Duration::from_secs(60));
        let part = seg(Flags::ACK, B1 + sent, world.up(5)).data(&[9; 100]);
        world.from_backend(part).to_client();
        sent += 100;
        world.from_client(seg(Flags::ACK, C1.wrapping_add(5), N1 + sent)).to_backend();
    }
    world.from_backend(seg(Flags::FIN_ACK, B1 + sent, world.up(5))).to_client();
    world.from_client(seg(Flags::ACK, C1.wrapping_add(5), N1 + sent + 1)).to_backend();
    assert_eq!(closed(&mut world), [CloseReason::Finished]);
}

#[test]
fn simultaneous_close_finishes() {
    let mut world = World::established(Setup::default());
    world.from_client(seg(Flags::FIN_ACK, C1, N1)).to_backend();
    world.from_backend(seg(Flags::FIN_ACK, B1, world.up(0))).to_client();
    world.from_client(seg(Flags::ACK, C1.wrapping_add(1), N1 + 1)).to_backend();
    assert_eq!(closed(&mut world), []);
    world.from_backend(seg(Flags::ACK, B1 + 1, world.up(1))).to_client();
    assert_eq!(closed(&mut world), [CloseReason::Finished]);
}

#[test]
fn backend_may_close_first() {
    let mut world = World::established(Setup::default());
    world.from_backend(seg(Flags::FIN_ACK, B1, world.up(0)).data(b"bye")).to_client();
    world.from_client(seg(Flags::FIN_ACK, C1, N1 + 4)).to_backend();
    world.from_backend(seg(Flags::ACK, B1 + 4, world.up(1))).to_client();
    assert_eq!(closed(&mut world), [CloseReason::Finished]);
}

#[test]
fn fin_sent_again_is_passed_on_in_time_wait() {
    let mut world = finished();
    // The client's last ACK was lost: the backend repeats its FIN, the client its ACK.
    let fin = world.from_backend(seg(Flags::FIN_ACK, B1, world.up(1))).to_client();
    assert_eq!(fin.seq, N1);
    let ack = world.from_client(seg(Flags::ACK, C1.wrapping_add(1), N1 + 1)).to_backend();
    assert_eq!(ack.ack, B1 + 1);
    assert_eq!(closed(&mut world), [], "it ended once");
    world.pass_time(Duration::from_secs(60));
    assert_eq!(world.splice.counts().flows, 0);
}

#[test]
fn new_syn_takes_the_place_of_a_flow_in_time_wait() {
    let mut world = finished();
    let old = world.from_client(seg(Flags::SYN, C.wrapping_sub(5_000), 0)).to_client();
    assert_eq!((old.flags, old.ack), (Flags::ACK, C1.wrapping_add(1)), "an old duplicate is challenged");
    assert_eq!(world.from_client(seg(Flags::SYN, C1.wrapping_add(50), 0)), Out::Miss);
    assert_eq!(world.splice.counts().time_wait, 1, "the SYN may be forged");
    world.open().unwrap();
    assert_eq!((world.splice.counts().time_wait, world.splice.counts().half_open), (0, 1));
}

#[test]
fn later_clock_reopens_in_time_wait_whatever_the_number() {
    let mut world = World::established(Setup { timestamps: true, ..Setup::default() });
    let ts = |tcp: Tcp, value| tcp.timestamps(value, 0);
    world.from_client(ts(seg(Flags::FIN_ACK, C1, N1), 500)).to_backend();
    world.from_backend(ts(seg(Flags::FIN_ACK, B1, world.up(1)), 1)).to_client();
    world.from_client(ts(seg(Flags::ACK, C1.wrapping_add(1), N1 + 1), 501)).to_backend();
    let old = ts(seg(Flags::SYN, C.wrapping_sub(5_000), 0), 400);
    world.from_client(old).to_client();
    let new = ts(seg(Flags::SYN, C.wrapping_sub(5_000), 0), 502);
    assert_eq!(world.from_client(new), Out::Miss);
}

#[test]
fn ack_of_a_new_handshake_in_time_wait_is_left_to_the_cookie_check() {
    let mut world = finished();
    // The owner answered the SYN without asking; its client is 1,000 numbers on.
    let ack = seg(Flags::ACK, C1.wrapping_add(1_000), 77);
    assert_eq!(world.from_client(ack), Out::Miss);
    assert_eq!(world.splice.counts().time_wait, 1, "a cookie that does not verify changes nothing");
    world.open().unwrap();
    assert_eq!(world.splice.counts().time_wait, 0);
    assert_eq!(world.splice.counts().half_open, 1);
}

#[test]
fn exact_reset_ends_the_flow_at_once() {
    for from_backend in [false, true] {
        let mut world = World::established(Setup::default());
        if from_backend {
            let reset = world.from_backend(seg(Flags::RST_ACK, B1, world.up(0))).to_client();
            assert_eq!((reset.flags, reset.seq), (Flags::RST_ACK, N1));
            assert_eq!(closed(&mut world), [CloseReason::BackendReset]);
        } else {
            let reset = world.from_client(seg(Flags::RST, C1, 0)).to_backend();
            assert_eq!((reset.flags, reset.seq), (Flags::RST, world.up(0)));
            assert_eq!(closed(&mut world), [CloseReason::ClientReset]);
        }
        assert_eq!(world.splice.backend_flows(BACKEND), 0);
        world.pass_time(Duration::from_secs(5));
        assert_eq!(world.splice.counts().flows, 0);
    }
}

#[test]
fn reset_within_the_window_passes_but_does_not_end_the_flow() {
    let mut world = World::established(Setup::default());
    let reset = world.from_client(seg(Flags::RST, C1.wrapping_add(100), 0)).to_backend();
    assert_eq!(reset.seq, world.up(100));
    assert_eq!(closed(&mut world), []);
    // If the receiver found it forged, the flow goes on.
    world.from_client(seg(Flags::ACK, C1, N1).data(b"still here")).to_backend();
    world.pass_time(Duration::from_secs(600));
    assert_eq!(world.splice.counts().established, 1);
    // If it was real, nobody speaks any more, and the flow ends early.
    world.from_client(seg(Flags::RST, C1.wrapping_add(100), 0)).to_backend();
    world.pass_time(Duration::from_secs(120));
    assert_eq!(closed(&mut world), [CloseReason::IdleTimeout]);
}

#[test]
fn reset_outside_the_window_goes_nowhere() {
    let mut world = World::established(Setup::default());
    for seq in [C1.wrapping_sub(1), C1.wrapping_add(1 << 20), C1.wrapping_add(1 << 31)] {
        assert_eq!(world.from_client(seg(Flags::RST, seq, 0)), Out::Drop(DropReason::RstOutOfWindow));
    }
    for seq in [B1 - 1, B1 + (1 << 24)] {
        assert_eq!(world.from_backend(seg(Flags::RST, seq, 0)), Out::Drop(DropReason::RstOutOfWindow));
    }
    assert_eq!(world.splice.counts().established, 1);
}

#[test]
fn reset_in_answer_to_our_acknowledgement_is_exact_too() {
    let mut world = World::established(Setup::default());
    world.from_client(seg(Flags::ACK, C1, N1).data(b"12345678")).to_backend();
    world.from_backend(seg(Flags::ACK, B1, world.up(4))).to_client();
    // A client without memory answers that ACK with its number.
    world.from_client(seg(Flags::RST, C1.wrapping_add(4), 0)).to_backend();
    assert_eq!(closed(&mut world), [CloseReason::ClientReset]);
}

#[test]
fn late_segments_of_a_reset_flow_are_answered_by_reset() {
    let mut world = World::established(Setup::default());
    world.from_client(seg(Flags::RST, C1, 0)).to_backend();
    let reset = world.from_backend(seg(Flags::ACK, B1, world.up(0)).data(b"late")).to_backend();
    assert_eq!((reset.flags, reset.seq), (Flags::RST, world.up(0)));
    assert_eq!(world.from_backend(seg(Flags::RST, B1, 0)), Out::Consumed);
    assert_eq!(world.from_client(seg(Flags::SYN, 99, 0)), Out::Miss, "the client may come again");
}

#[test]
fn silent_flow_is_reset_on_both_sides_after_its_time() {
    let mut world = World::established(Setup::default());
    world.from_client(seg(Flags::ACK, C1, N1).data(b"123")).to_backend();
    world.from_backend(seg(Flags::ACK, B1, world.up(3)).data(b"1234")).to_client();
    world.pass_time(Duration::from_secs(3_599));
    world.from_client(seg(Flags::ACK, C1.wrapping_add(2), N1 + 4)).to_backend();
    world.pass_time(Duration::from_secs(3_599));
    assert_eq!(closed(&mut world), [], "a keep-alive counts");
    world.pass_time(Duration::from_secs(1));
    assert_eq!(closed(&mut world), [CloseReason::IdleTimeout]);
    let mut sent = world.sent();
    let to_client = sent.pop().unwrap().to_client();
    let to_backend = sent.pop().unwrap().to_backend();
    assert_eq!((to_backend.flags, to_backend.seq), (Flags::RST_ACK, world.up(3)));
    assert_eq!((to_client.flags, to_client.seq), (Flags::RST_ACK, N1 + 4));
}

#[test]
fn busy_flow_does_not_touch_the_wheel() {
    let mut world = World::established(Setup::default());
    let before = world.splice.poll_timeout();
    for _ in 0..100 {
        world.now = world.now + Duration::from_millis(1);
        world.from_client(seg(Flags::ACK, C1, N1).data(b"x")).to_backend();
    }
    assert_eq!(world.splice.poll_timeout(), before);
}

#[test]
fn aborted_flow_resets_both_sides() {
    let mut world = World::established(Setup { proxy_protocol: true, ..Setup::default() });
    let flow = world.flow;
    assert!(world.splice.abort(flow, world.now));
    let sent = world.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].clone().to_backend().seq, world.up(0));
    assert_eq!(closed(&mut world), [CloseReason::Aborted]);
}
