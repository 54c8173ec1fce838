//! How much is sent.

use super::harness::{MSS, Script};
use crate::tcp::send::AckVerdict;
use crate::tcp::send::SendLimits;

fn large() -> Script {
    let limits = SendLimits { queue_bytes: 1 << 20, queue_bytes_max: 1 << 20, ..SendLimits::default() };
    let mut script = Script::with(limits, true, false);
    script.window = 1 << 20;
    script.acked(0, &[]);
    script
}

#[test]
fn first_flight_is_ten_segments_and_doubles_per_round_trip() {
    let mut script = large();
    script.write(500 * MSS);
    let mut flights = Vec::new();
    let mut end = 0;
    for _ in 0..4 {
        let count = script.sends_full();
        flights.push(count);
        script.pass(20);
        for _ in 0..count {
            end += MSS;
            script.acked(end, &[]);
        }
    }
    assert_eq!(flights, [10, 20, 40, 80]);
}

#[test]
fn acks_cut_into_single_bytes_open_the_window_no_further() {
    let mut script = large();
    script.write(500 * MSS);
    script.sends_full();
    script.pass(20);
    (1..=10 * MSS).for_each(|ack| {
        script.acked(ack, &[]);
    });
    assert_eq!(script.sender.congestion.cwnd(), 20 * MSS);
}

#[test]
fn acks_ahead_of_the_data_are_refused_and_open_nothing() {
    let mut script = large();
    script.write(500 * MSS);
    script.sends_full();
    let cwnd = script.sender.congestion.cwnd();
    for ack in 11..200 {
        assert_eq!(script.acked(ack * MSS, &[]), AckVerdict::Unacceptable);
    }
    assert_eq!(script.sender.congestion.cwnd(), cwnd);
    assert_eq!(script.sends(), []);
}

#[test]
fn window_never_grows_beyond_the_queue() {
    let limits = SendLimits { queue_bytes_max: 50_000, ..SendLimits::default() };
    let mut script = Script::with(limits, true, false);
    let mut end = 0;
    for _ in 0..50 {
        script.write(50_000);
        script.sends();
        script.pass(20);
        end = script.written().min(end + 50_000);
        let next = script.sender.next_seq().wrapping_sub(script.sender.unacked());
        let acked = script.written() - script.sender.queued() + next;
        script.acked(acked, &[]);
    }
    assert_eq!(script.sender.congestion.cwnd(), 50_000);
}

#[test]
fn window_does_not_grow_while_it_is_not_used() {
    let mut script = large();
    for _ in 0..100 {
        script.write(MSS);
        script.sends();
        script.pass(20);
        let written = script.written();
        script.acked(written, &[]);
    }
    assert_eq!(script.sender.congestion.cwnd(), 10 * MSS);
}

#[test]
fn after_a_pause_the_first_flight_is_small_again() {
    let mut script = large();
    script.write(300 * MSS);
    let mut end = 0;
    for _ in 0..20 {
        if end == 300 * MSS {
            break;
        }
        let count = script.sends().len() as u32;
        script.pass(20);
        end += count * MSS;
        script.acked(end, &[]);
    }
    assert_eq!(end, 300 * MSS);
    let grown = script.sender.congestion.cwnd();
    assert!(grown >= 50 * MSS, "{grown}");
    script.pass(100);
    script.write(MSS);
    script.sends();
    assert_eq!(script.sender.congestion.cwnd(), grown, "a short pause changes nothing");
    end += MSS;
    script.acked(end, &[]);
    script.pass(60_000);
    script.write(300 * MSS);
    assert_eq!(script.sends_full(), 10);
}

#[test]
fn loss_reduces_by_three_tenths_over_a_round_trip() {
    let mut script = large();
    script.write(600 * MSS);
    let mut end = 0;
    for _ in 0..4 {
        let count = script.sends().len() as u32;
        script.pass(20);
        end += count * MSS;
        script.acked(end, &[]);
    }
    let flight = script.sends().len() as u32;
    let before = script.sender.congestion.cwnd();
    script.pass(20);
    let (lost, mut again) = (end, 0);
    for index in 1..flight {
        script.acked(lost, &[(lost + MSS, lost + (index + 1) * MSS)]);
        again += script.sends().len() as u32;
        assert!(script.sender.congestion.cwnd() <= before);
    }
    let reduced = script.sender.congestion.ssthresh();
    assert_eq!(reduced, before / 10 * 7);
    let expected = flight * 7 / 10;
    assert!((expected - 3..=expected + 3).contains(&again), "{again} of {expected}");
    let next = script.sender.next_seq().wrapping_sub(script.sender.unacked());
    script.pass(20);
    script.acked(lost + next, &[]);
    let after = script.sender.congestion.cwnd();
    assert!((reduced..=reduced + MSS).contains(&after), "{after}");
}
