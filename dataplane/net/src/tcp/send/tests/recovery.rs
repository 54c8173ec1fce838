//! Loss and its repair.

use super::harness::{MSS, Script, seen};
use crate::tcp::recovery::Phase;
use crate::tcp::send::{SendLimits, TimeoutVerdict};

/// Ten segments in flight, round trip of 20 ms known. The number of the first byte.
fn ten_in_flight(script: &mut Script) -> u32 {
    script.warm_up(20);
    let at = script.written();
    script.write(10 * MSS);
    assert_eq!(script.sends().len(), 10);
    script.pass(20);
    at
}

#[test]
fn segment_with_three_sacked_behind_it_is_sent_again_at_once() {
    let mut script = Script::new();
    let at = ten_in_flight(&mut script);
    script.acked(at, &[(at + 1_000, at + 2_000)]);
    assert_eq!(script.sends(), []);
    script.acked(at, &[(at + 1_000, at + 4_000)]);
    assert_eq!(script.sends(), [seen(at, 1_000, "R")]);
    assert_eq!(script.sender.phase, Phase::Recovery);
    script.pass(20);
    script.acked(at + 10_000, &[]);
    assert_eq!(script.sender.phase, Phase::Open);
    assert_eq!(script.shared.counters.recoveries, 1);
    assert_eq!(script.shared.records.used(), 0);
}

#[test]
fn one_segment_sacked_proves_a_loss_after_a_quarter_of_the_round_trip() {
    let mut script = Script::new();
    let at = ten_in_flight(&mut script);
    script.acked(at, &[(at + 1_000, at + 2_000)]);
    let (millis, verdict) = script.waits();
    assert!((4..=6).contains(&millis), "{millis}");
    assert_eq!((verdict, script.sends()), (TimeoutVerdict::Transmit, vec![seen(at, 1_000, "R")]));
}

#[test]
fn several_holes_are_repaired_in_one_round_trip() {
    let mut script = Script::new();
    let at = ten_in_flight(&mut script);
    script.acked(at, &[(at + 7_000, at + 10_000), (at + 5_000, at + 6_000), (at + 1_000, at + 4_000)]);
    let mut again = script.sends();
    // Proportional rate reduction lets one go at once and the others as ACKs come in.
    while again.len() < 3 {
        script.pass(1);
        let acked = at + 1_000 * again.len() as u32;
        script.acked(acked.min(at + 4_000), &[(at + 7_000, at + 10_000), (at + 5_000, at + 6_000)]);
        again.extend(script.sends());
    }
    let holes: Vec<u32> = again.iter().map(|(seq, ..)| seq - at).collect();
    assert_eq!(holes, [0, 4_000, 6_000]);
}

#[test]
fn lost_retransmission_is_noticed_without_a_timeout() {
    let mut script = Script::new();
    let at = ten_in_flight(&mut script);
    script.write(20 * MSS);
    script.acked(at, &[(at + 1_000, at + 10_000)]);
    let first = script.sends();
    assert_eq!(first[0], seen(at, 1_000, "R"));
    let newest = first.last().unwrap().0 + 1_000;
    assert!(newest > at + 10_000, "new data follows: {first:?}");
    script.pass(20);
    script.acked(at, &[(at + 1_000, newest)]);
    script.pass(6);
    script.sender.handle_timeout(&mut script.shared, script.now);
    assert!(script.sends().contains(&seen(at, 1_000, "R")));
    assert_eq!(script.shared.counters.timeouts, 0);
}

#[test]
fn lost_retransmission_with_nothing_else_to_send_is_probed_after_two_round_trips() {
    let mut script = Script::new();
    let at = ten_in_flight(&mut script);
    script.acked(at, &[(at + 1_000, at + 10_000)]);
    assert_eq!(script.sends(), [seen(at, 1_000, "R")]);
    let (millis, _) = script.waits();
    assert!((39..=42).contains(&millis), "{millis}");
    assert_eq!(script.sends(), [seen(at, 1_000, "R")], "the hole again, not the tail");
    assert_eq!((script.shared.counters.tail_probes, script.shared.counters.timeouts), (1, 0));
    script.pass(20);
    script.acked(at + 10_000, &[]);
    assert_eq!(script.sender.phase, Phase::Open);
    assert!(script.sender.is_drained());
}

#[test]
fn lost_tail_is_probed_after_two_round_trips() {
    let mut script = Script::new();
    script.warm_up(20);
    let at = script.written();
    script.write(3 * MSS);
    script.sends();
    script.pass(20);
    script.acked(at + 1_000, &[]);
    let (millis, _) = script.waits();
    assert!((39..=42).contains(&millis), "{millis}");
    assert_eq!(script.sends(), [seen(at + 2_000, 1_000, "PR")], "the last segment again");
    assert_eq!(script.shared.counters.tail_probes, 1);
    script.pass(20);
    script.acked(at + 1_000, &[(at + 2_000, at + 3_000)]);
    assert_eq!(script.sends(), [seen(at + 1_000, 1_000, "R")]);
    script.pass(20);
    script.acked(at + 3_000, &[]);
    assert_eq!(script.shared.counters.timeouts, 0);
}

#[test]
fn single_lost_segment_is_probed_when_the_timeout_would_come_and_keeps_the_window() {
    let mut script = Script::new();
    script.warm_up(20);
    let at = script.written();
    let cwnd = script.sender.congestion.cwnd();
    script.write(500);
    script.sends();
    let (millis, _) = script.waits();
    assert!((195..=260).contains(&millis), "{millis}");
    assert_eq!(script.sends(), [seen(at, 500, "PR")]);
    assert_eq!(script.sender.congestion.cwnd(), cwnd);
    // The probe is lost, too.
    let (millis, _) = script.waits();
    assert!((195..=260).contains(&millis), "{millis}");
    assert_eq!(script.sends(), [seen(at, 500, "PR")]);
    assert_eq!((script.shared.counters.tail_probes, script.shared.counters.timeouts), (1, 1));
}

#[test]
fn probe_sends_new_data_when_there_is_some() {
    let mut script = Script::new();
    script.warm_up(20);
    let at = script.written();
    let cwnd = script.sender.congestion.cwnd() / MSS;
    script.write((cwnd + 1) * MSS);
    assert_eq!(script.sends().len(), cwnd as usize);
    script.waits();
    assert_eq!(script.sends(), [seen(at + cwnd * MSS, 1_000, "P")]);
}

#[test]
fn timeout_sends_the_first_segment_and_starts_slowly() {
    let mut script = Script::without_sack();
    let at = ten_in_flight(&mut script);
    let (millis, verdict) = script.waits();
    assert!((195..=260).contains(&millis), "{millis}");
    assert_eq!(verdict, TimeoutVerdict::Transmit);
    assert_eq!(script.sends(), [seen(at, 1_000, "R")]);
    assert_eq!(script.sender.congestion.cwnd(), MSS);
    script.pass(20);
    script.acked(at + 1_000, &[]);
    assert_eq!(script.sends(), [seen(at + 1_000, 1_000, "R"), seen(at + 2_000, 1_000, "R")]);
    script.pass(20);
    script.acked(at + 3_000, &[]);
    assert_eq!(script.sends().len(), 3, "after a timeout one ACK opens the window by one segment");
}

#[test]
fn timeouts_double_and_a_sample_ends_that() {
    let mut script = Script::without_sack();
    script.warm_up(20);
    let at = script.written();
    script.write(MSS);
    script.sends();
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(script.waits().0);
        script.sends();
    }
    assert!(waits.windows(2).all(|pair| pair[1] == pair[0] * 2), "{waits:?}");
    // Karn: the ACK of what was sent five times is no sample, so only one doubling is taken back.
    script.pass(20);
    script.acked(at + 1_000, &[]);
    script.write(MSS);
    script.sends();
    script.pass(20);
    script.acked(at + 2_000, &[]);
    script.write(MSS);
    script.sends();
    assert_eq!(script.waits().0, waits[0]);
}

#[test]
fn three_duplicate_acks_repair_the_first_hole_and_partial_acks_the_others() {
    // RFC 6582 §3.2: segments 0 and 4 are lost.
    let mut script = Script::without_sack();
    let at = ten_in_flight(&mut script);
    script.write(10 * MSS);
    script.acked(at, &[]);
    script.acked(at, &[]);
    // RFC 3042: each of the first two duplicates lets one new segment go.
    let limited: Vec<_> = script.sends();
    assert!(limited.iter().all(|(.., marks)| !marks.contains('R')), "{limited:?}");
    script.acked(at, &[]);
    assert_eq!(script.sends().first(), Some(&seen(at, 1_000, "R")));
    (0..5).for_each(|_| {
        script.acked(at, &[]);
    });
    script.sends();
    script.pass(20);
    script.acked(at + 4_000, &[]);
    assert_eq!(script.sends().first(), Some(&seen(at + 4_000, 1_000, "R")));
    assert_eq!(script.sender.phase, Phase::Recovery);
    let recovery_point = script.sender.recovery_point.wrapping_sub(script.sender.una);
    script.pass(20);
    script.acked(at + 4_000 + recovery_point, &[]);
    assert_eq!(script.sender.phase, Phase::Open);
    assert_eq!(script.shared.counters.timeouts, 0);
}

#[test]
fn echo_of_the_original_takes_the_reduction_back() {
    let mut script = Script::with(SendLimits::default(), true, true);
    let at = ten_in_flight(&mut script);
    let original = script.clock() - 20;
    let cwnd = script.sender.congestion.cwnd();
    script.acked_with(at, &[(at + 1_000, at + 5_000)], Some(original));
    assert_eq!(script.sends().first(), Some(&seen(at, 1_000, "R")));
    assert!(script.sender.congestion.ssthresh() < cwnd);
    script.pass(2);
    // The original was only late.
    script.acked_with(at + 5_000, &[], Some(original));
    assert_eq!(script.sender.phase, Phase::Open);
    assert!(script.sender.congestion.cwnd() >= cwnd);
    assert_eq!(script.shared.counters.undone, 1);
}

#[test]
fn duplicate_sack_takes_the_reduction_back_and_widens_the_reordering_window() {
    let mut script = Script::new();
    let at = ten_in_flight(&mut script);
    let cwnd = script.sender.congestion.cwnd();
    script.acked(at, &[(at + 1_000, at + 5_000)]);
    script.sends();
    script.pass(20);
    script.acked(at + 10_000, &[(at, at + 1_000)]);
    assert_eq!(script.shared.counters.duplicate_sacks, 1);
    assert_eq!(script.shared.counters.undone, 1);
    assert!(script.sender.congestion.cwnd() >= cwnd);
}

#[test]
fn peer_that_throws_away_what_it_sacked_gets_it_again() {
    let mut script = Script::new();
    let at = ten_in_flight(&mut script);
    script.acked(at, &[(at + 1_000, at + 10_000)]);
    script.sends();
    script.pass(20);
    // It acknowledges the repaired hole, but no longer knows the rest.
    script.acked(at + 1_000, &[]);
    // The probe finds nothing that could be under way; the timeout does.
    script.waits();
    assert_eq!(script.sends(), []);
    script.waits();
    assert_eq!(script.sends().first(), Some(&seen(at + 1_000, 1_000, "R")));
    assert_eq!(script.sender.board.sacked(), 0);
}

#[test]
fn full_segments_that_vanish_twice_are_cut() {
    let mut script = Script::with(SendLimits::default(), false, false);
    // Larger than what a black hole is suspected to carry.
    script.sender.path = crate::tcp::pmtu::PathMtu::new(1_500, 1_460, 20, false);
    script.write(2_920);
    assert_eq!(script.sends().len(), 2);
    script.waits();
    assert_eq!(script.sends(), [seen(0, 1_460, "R")]);
    script.waits();
    assert_eq!(script.sends(), [seen(0, 1_024, "R")]);
    assert_eq!(script.shared.counters.black_holes, 1);
}
