//! How bytes become segments.

use super::harness::{MSS, Script, seen};
use crate::tcp::chunk::CHUNK_BYTES;
use crate::tcp::send::{AckVerdict, SendLimits};

#[test]
fn write_leaves_in_full_segments_and_the_last_one_carries_psh() {
    let mut script = Script::new();
    assert_eq!(script.write(2_300), 2_300);
    assert_eq!(script.sends(), [seen(0, 1_000, ""), seen(1_000, 1_000, ""), seen(2_000, 300, "P")]);
}

#[test]
fn small_write_leaves_at_once_although_data_is_in_flight() {
    let mut script = Script::new();
    script.write(10);
    assert_eq!(script.sends(), [seen(0, 10, "P")]);
    script.write(20);
    assert_eq!(script.sends(), [seen(10, 20, "P")], "no Nagle");
}

#[test]
fn room_for_options_makes_the_segment_shorter() {
    let mut script = Script::new();
    script.write(1_000);
    let clock = script.clock();
    let first = script.sender.poll_segment(&mut script.shared, 36, clock, script.now).unwrap();
    assert_eq!(first.len, 964);
    assert_eq!(script.sends(), [seen(964, 36, "P")]);
}

#[test]
fn fin_rides_on_the_last_segment_or_follows_alone() {
    let mut script = Script::new();
    script.write(1_500);
    script.finish();
    assert_eq!(script.sends(), [seen(0, 1_000, ""), seen(1_000, 500, "PF")]);
    assert_eq!(script.acked(1_501, &[]), AckVerdict::Accepted { bytes: 1_500, fin: true, has_room: false });
    assert!(script.sender.is_drained());

    let mut script = Script::new();
    script.write(1_000);
    script.sends();
    script.finish();
    assert_eq!(script.sends(), [seen(1_000, 0, "F")]);
    assert!(!script.sender.is_drained());
    script.acked(1_001, &[]);
    assert!(script.sender.is_drained());
}

#[test]
fn lost_fin_is_sent_again_with_and_without_data() {
    let mut script = Script::new();
    script.write(100);
    script.finish();
    assert_eq!(script.sends(), [seen(0, 100, "PF")]);
    script.waits();
    assert_eq!(script.sends(), [seen(0, 100, "PFR")]);
    assert_eq!(script.acked(100, &[]), AckVerdict::Accepted { bytes: 100, fin: false, has_room: false });
    script.waits();
    assert_eq!(script.sends(), [seen(100, 0, "FR")]);
}

#[test]
fn nothing_is_written_after_finish() {
    let mut script = Script::new();
    script.finish();
    assert_eq!((script.write(10), script.sender.room(&script.shared)), (0, 0));
}

#[test]
fn queue_takes_its_limit_and_says_when_a_quarter_is_free() {
    let limits = SendLimits { queue_bytes_max: 8_000, ..SendLimits::default() };
    let mut script = Script::with(limits, true, false);
    assert_eq!(script.write(9_000), 8_000);
    assert_eq!((script.write(1), script.sender.queued()), (0, 8_000));
    script.sends();
    assert_eq!(script.acked(1_000, &[]), AckVerdict::Accepted { bytes: 1_000, fin: false, has_room: false });
    assert_eq!(script.acked(2_000, &[]), AckVerdict::Accepted { bytes: 1_000, fin: false, has_room: true });
    assert_eq!(script.write(9_000), 2_000);
}

#[test]
fn who_moves_much_may_queue_more_while_memory_is_plenty() {
    let mut script = Script::new();
    let start = SendLimits::default().queue_bytes as usize;
    assert_eq!(script.sender.room(&script.shared), start);
    script.sender.congestion.raise_to(500_000);
    assert_eq!(script.sender.room(&script.shared), 1_500_000);
    script.sender.congestion.raise_to(50_000_000);
    let chunks = script.shared.chunks.capacity() * CHUNK_BYTES;
    let most = (SendLimits::default().queue_bytes_max as usize).min(chunks - chunks / 8);
    assert_eq!(script.sender.room(&script.shared), most);
    for _ in 0..=script.shared.chunks.capacity() / 2 {
        script.shared.chunks.take(9).unwrap();
    }
    assert_eq!(script.sender.room(&script.shared), start, "memory is short");
}

#[test]
fn full_pool_of_chunks_takes_less_and_keeps_a_share_for_receiving() {
    let mut script = Script::new();
    let capacity = script.shared.chunks.capacity();
    let others: Vec<u32> =
        (0..capacity - capacity / 8 - 1).map(|_| script.shared.chunks.take(9).unwrap()).collect();
    assert_eq!(script.write(5_000), 2_048);
    assert_eq!(script.shared.counters.chunks_full, 1);
    others.into_iter().for_each(|chunk| script.shared.chunks.give_back(9, chunk));
    assert_eq!(script.write(5_000), 5_000);
}

#[test]
fn without_a_free_record_it_waits_and_tries_again() {
    let limits = SendLimits { records_max: 2, ..SendLimits::default() };
    let mut script = Script::with(limits, true, false);
    script.write(3 * MSS);
    assert_eq!(script.sends().len(), 2);
    assert_eq!(script.shared.counters.records_full, 1);
    script.acked(1_000, &[]);
    assert_eq!(script.sends(), [seen(2_000, 1_000, "P")]);

    // Another connection holds them all, so that no ACK of ours will come.
    let mut other = Script::with(limits, true, false);
    core::mem::swap(&mut other.shared, &mut script.shared);
    other.write(MSS);
    assert_eq!(other.sends(), []);
    assert_eq!(other.waits().0, 20);
    script.sender.release(&mut other.shared);
    assert_eq!(other.sends(), [seen(0, 1_000, "P")]);
}

#[test]
fn idle_and_released_connections_hold_nothing() {
    let mut script = Script::new();
    script.warm_up(20);
    assert_eq!((script.shared.chunks.used(), script.shared.records.used()), (0, 0));
    assert_eq!(script.sender.poll_timeout(), None);
    script.write(20_000);
    script.sends();
    script.sender.release(&mut script.shared);
    assert_eq!((script.shared.chunks.used(), script.shared.records.used()), (0, 0));
    assert_eq!((script.sender.poll_timeout(), script.sender.wants_transmit()), (None, false));
}

#[test]
fn too_big_counts_only_for_what_is_in_flight_and_cuts_segments() {
    let mut script = Script::new();
    script.warm_up(20);
    let at = script.written();
    script.write(3_000);
    assert_eq!(script.sends().len(), 3);
    let next = script.sender.next_seq();
    assert!(!script.sender.handle_too_big(&mut script.shared, next, 600, script.now));
    let below = script.sender.unacked().wrapping_sub(1);
    assert!(!script.sender.handle_too_big(&mut script.shared, below, 600, script.now));
    let cwnd = script.sender.congestion.cwnd();
    let una = script.sender.unacked();
    assert!(script.sender.handle_too_big(&mut script.shared, una, 640, script.now));
    let again: Vec<_> = (0..3).flat_map(|n| [(n * 1_000, 600), (n * 1_000 + 600, 400)]).collect();
    let sent: Vec<_> = script.sends().into_iter().map(|(seq, len, _)| (seq - at, len)).collect();
    assert_eq!(sent, again);
    assert_eq!(script.sender.congestion.cwnd(), cwnd, "that is no congestion");
    script.acked(at + 3_000, &[]);
    script.write(1_000);
    assert_eq!(script.sends().first().unwrap().1, 600);
}

#[test]
fn absurd_too_big_is_held_at_the_floor() {
    let mut script = Script::new();
    script.write(3_000);
    script.sends();
    let una = script.sender.unacked();
    assert!(script.sender.handle_too_big(&mut script.shared, una, 0, script.now));
    assert_eq!(script.sender.mss(), 512);
}

#[test]
fn many_small_writes_wait_for_acks_and_then_leave_together() {
    let mut script = Script::new();
    let mut sent = 0;
    // The window of ten segments holds 10,000 single bytes; the number of segments is what bounds them.
    for _ in 0..5_000 {
        script.write(1);
        sent += script.sends().len();
    }
    assert_eq!(sent, 3_072);
    script.acked(3_072, &[]);
    assert_eq!(script.sends(), [seen(3_072, 1_000, ""), seen(4_072, 928, "P")]);
}
