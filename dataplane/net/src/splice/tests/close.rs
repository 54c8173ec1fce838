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
    let fin = world.client_sends(seg(Flags::FIN_ACK, C1, N1)).backend_gets();
    assert_eq!((fin.flags, fin.seq), (Flags::FIN_ACK, world.up(0)));
    let fin = world.backend_sends(seg(Flags::FIN_ACK, B1, world.up(1))).client_gets();
    assert_eq!((fin.flags, fin.seq, fin.ack), (Flags::FIN_ACK, N1, C1.wrapping_add(1)));
    assert_eq!(closed(&mut world), []);
    world.client_sends(seg(Flags::ACK, C1.wrapping_add(1), N1 + 1)).backend_gets();
    assert_eq!(closed(&mut world), [CloseReason::Finished]);
    assert_eq!(world.splice.counts().time_wait, 1);
    world
}

#[test]
fn half_closed_flow_goes_on_in_the_other_direction() {
    let mut world = World::established(Setup::default());
    world.client_sends(seg(Flags::FIN_ACK, C1, N1).data(b"last")).backend_gets();
    world.backend_sends(seg(Flags::ACK, B1, world.up(5))).client_gets();
    let mut sent = 0;
    // Ten minutes of a slow answer: each part restarts the two minutes of silence.
    for _ in 0..10 {
        world.pass_time(Duration::from_secs(60));
        let part = seg(Flags::ACK, B1 + sent, world.up(5)).data(&[9; 100]);
        world.backend_sends(part).client_gets();
        sent += 100;
        world.client_sends(seg(Flags::ACK, C1.wrapping_add(5), N1 + sent)).backend_gets();
    }
    world.backend_sends(seg(Flags::FIN_ACK, B1 + sent, world.up(5))).client_gets();
    world.client_sends(seg(Flags::ACK, C1.wrapping_add(5), N1 + sent + 1)).backend_gets();
    assert_eq!(closed(&mut world), [CloseReason::Finished]);
}

#[test]
fn simultaneous_close_finishes() {
    let mut world = World::established(Setup::default());
    world.client_sends(seg(Flags::FIN_ACK, C1, N1)).backend_gets();
    world.backend_sends(seg(Flags::FIN_ACK, B1, world.up(0))).client_gets();
    world.client_sends(seg(Flags::ACK, C1.wrapping_add(1), N1 + 1)).backend_gets();
    assert_eq!(closed(&mut world), []);
    world.backend_sends(seg(Flags::ACK, B1 + 1, world.up(1))).client_gets();
    assert_eq!(closed(&mut world), [CloseReason::Finished]);
}

#[test]
fn backend_may_close_first() {
    let mut world = World::established(Setup::default());
    world.backend_sends(seg(Flags::FIN_ACK, B1, world.up(0)).data(b"bye")).client_gets();
    world.client_sends(seg(Flags::FIN_ACK, C1, N1 + 4)).backend_gets();
    world.backend_sends(seg(Flags::ACK, B1 + 4, world.up(1))).client_gets();
    assert_eq!(closed(&mut world), [CloseReason::Finished]);
}

#[test]
fn fin_sent_again_is_passed_on_in_time_wait() {
    let mut world = finished();
    // The client's last ACK was lost: the backend repeats its FIN, the client its ACK.
    let fin = world.backend_sends(seg(Flags::FIN_ACK, B1, world.up(1))).client_gets();
    assert_eq!(fin.seq, N1);
    let ack = world.client_sends(seg(Flags::ACK, C1.wrapping_add(1), N1 + 1)).backend_gets();
    assert_eq!(ack.ack, B1 + 1);
    assert_eq!(closed(&mut world), [], "it ended once");
    world.pass_time(Duration::from_secs(60));
    assert_eq!(world.splice.counts().flows, 0);
}

#[test]
fn new_syn_takes_the_place_of_a_flow_in_time_wait() {
    let mut world = finished();
    let old = world.client_sends(seg(Flags::SYN, C.wrapping_sub(5_000), 0)).client_gets();
    assert_eq!((old.flags, old.ack), (Flags::ACK, C1.wrapping_add(1)), "an old duplicate is challenged");
    assert_eq!(world.client_sends(seg(Flags::SYN, C1.wrapping_add(50), 0)), Out::Miss);
    assert_eq!(world.splice.counts().time_wait, 1, "the SYN may be forged");
    world.open().unwrap();
    assert_eq!((world.splice.counts().time_wait, world.splice.counts().half_open), (0, 1));
}

#[test]
fn later_clock_reopens_in_time_wait_whatever_the_number() {
    let mut world = World::established(Setup { timestamps: true, ..Setup::default() });
    let ts = |tcp: Tcp, value| tcp.timestamps(value, 0);
    world.client_sends(ts(seg(Flags::FIN_ACK, C1, N1), 500)).backend_gets();
    world.backend_sends(ts(seg(Flags::FIN_ACK, B1, world.up(1)), 1)).client_gets();
    world.client_sends(ts(seg(Flags::ACK, C1.wrapping_add(1), N1 + 1), 501)).backend_gets();
    let old = ts(seg(Flags::SYN, C.wrapping_sub(5_000), 0), 400);
    world.client_sends(old).client_gets();
    let new = ts(seg(Flags::SYN, C.wrapping_sub(5_000), 0), 502);
    assert_eq!(world.client_sends(new), Out::Miss);
}

#[test]
fn ack_of_a_new_handshake_in_time_wait_is_left_to_the_cookie_check() {
    let mut world = finished();
    // The owner answered the SYN without asking; its client is 1,000 numbers on.
    let ack = seg(Flags::ACK, C1.wrapping_add(1_000), 77);
    assert_eq!(world.client_sends(ack), Out::Miss);
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
            let reset = world.backend_sends(seg(Flags::RST_ACK, B1, world.up(0))).client_gets();
            assert_eq!((reset.flags, reset.seq), (Flags::RST_ACK, N1));
            assert_eq!(closed(&mut world), [CloseReason::BackendReset]);
        } else {
            let reset = world.client_sends(seg(Flags::RST, C1, 0)).backend_gets();
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
    let reset = world.client_sends(seg(Flags::RST, C1.wrapping_add(100), 0)).backend_gets();
    assert_eq!(reset.seq, world.up(100));
    assert_eq!(closed(&mut world), []);
    // If the receiver found it forged, the flow goes on.
    world.client_sends(seg(Flags::ACK, C1, N1).data(b"still here")).backend_gets();
    world.pass_time(Duration::from_secs(600));
    assert_eq!(world.splice.counts().established, 1);
    // If it was real, nobody speaks any more, and the flow ends early.
    world.client_sends(seg(Flags::RST, C1.wrapping_add(100), 0)).backend_gets();
    world.pass_time(Duration::from_secs(120));
    assert_eq!(closed(&mut world), [CloseReason::IdleTimeout]);
}

#[test]
fn reset_outside_the_window_goes_nowhere() {
    let mut world = World::established(Setup::default());
    for seq in [C1.wrapping_sub(1), C1.wrapping_add(1 << 20), C1.wrapping_add(1 << 31)] {
        assert_eq!(world.client_sends(seg(Flags::RST, seq, 0)), Out::Drop(DropReason::RstOutOfWindow));
    }
    for seq in [B1 - 1, B1 + (1 << 24)] {
        assert_eq!(world.backend_sends(seg(Flags::RST, seq, 0)), Out::Drop(DropReason::RstOutOfWindow));
    }
    assert_eq!(world.splice.counts().established, 1);
}

#[test]
fn reset_after_a_fin_at_the_edge_of_the_window_is_exact() {
    let mut world = World::established(Setup::default());
    world.backend_sends(seg(Flags::ACK, B1, world.up(0)).window(0)).client_gets();
    let full = usize::from(WINDOW);
    let mut at = C1;
    for part in vec![7; full].chunks(1_460) {
        world.client_sends(seg(Flags::ACK, at, N1).data(part)).backend_gets();
        at = at.wrapping_add(part.len() as u32);
    }
    world.client_sends(seg(Flags::FIN_ACK, at, N1)).backend_gets();
    world.client_sends(seg(Flags::RST, at.wrapping_add(1), 0)).backend_gets();
    assert_eq!(closed(&mut world), [CloseReason::ClientReset]);
}

#[test]
fn reset_in_answer_to_our_acknowledgement_is_exact_too() {
    let mut world = World::established(Setup::default());
    world.client_sends(seg(Flags::ACK, C1, N1).data(b"12345678")).backend_gets();
    world.backend_sends(seg(Flags::ACK, B1, world.up(4))).client_gets();
    // A client without memory answers that ACK with its number.
    world.client_sends(seg(Flags::RST, C1.wrapping_add(4), 0)).backend_gets();
    assert_eq!(closed(&mut world), [CloseReason::ClientReset]);
}

#[test]
fn late_segments_of_a_reset_flow_are_answered_by_reset() {
    let mut world = World::established(Setup::default());
    world.client_sends(seg(Flags::RST, C1, 0)).backend_gets();
    let reset = world.backend_sends(seg(Flags::ACK, B1, world.up(0)).data(b"late")).backend_gets();
    assert_eq!((reset.flags, reset.seq), (Flags::RST, world.up(0)));
    assert_eq!(world.backend_sends(seg(Flags::RST, B1, 0)), Out::Consumed);
    assert_eq!(world.client_sends(seg(Flags::SYN, 99, 0)), Out::Miss, "the client may come again");
}

#[test]
fn silent_flow_is_reset_on_both_sides_after_its_time() {
    let mut world = World::established(Setup::default());
    world.client_sends(seg(Flags::ACK, C1, N1).data(b"123")).backend_gets();
    world.backend_sends(seg(Flags::ACK, B1, world.up(3)).data(b"1234")).client_gets();
    world.pass_time(Duration::from_secs(3_599));
    world.client_sends(seg(Flags::ACK, C1.wrapping_add(2), N1 + 4)).backend_gets();
    world.pass_time(Duration::from_secs(3_599));
    assert_eq!(closed(&mut world), [], "a keep-alive counts");
    world.pass_time(Duration::from_secs(1));
    assert_eq!(closed(&mut world), [CloseReason::IdleTimeout]);
    let mut sent = world.sent();
    let to_client = sent.pop().unwrap().client_gets();
    let to_backend = sent.pop().unwrap().backend_gets();
    assert_eq!((to_backend.flags, to_backend.seq), (Flags::RST_ACK, world.up(3)));
    assert_eq!((to_client.flags, to_client.seq), (Flags::RST_ACK, N1 + 4));
}

#[test]
fn busy_flow_does_not_touch_the_wheel() {
    let mut world = World::established(Setup::default());
    let before = world.splice.poll_timeout();
    for _ in 0..100 {
        world.now = world.now + Duration::from_millis(1);
        world.client_sends(seg(Flags::ACK, C1, N1).data(b"x")).backend_gets();
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
    assert_eq!(sent[0].clone().backend_gets().seq, world.up(0));
    assert_eq!(closed(&mut world), [CloseReason::Aborted]);
}
