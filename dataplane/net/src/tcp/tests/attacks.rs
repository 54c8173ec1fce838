//! Attacks: what a stranger can send blindly, and what a peer can do on purpose.

use super::harness::*;
use crate::tcp::{CloseReason, State};
use crate::verdict::DropReason;
use crate::wire::tcp::Flags;

#[test]
fn reset_in_the_window_is_challenged_and_the_true_peer_confirms_it() {
    let mut world = World::plain();
    let challenge = world.send(seg(Flags::RST, 100, 0)).answer();
    assert_eq!((challenge.flags, challenge.seq, challenge.ack), (Flags::ACK, 1, 1));
    assert_eq!(world.stack.state(world.id), State::Established);
    // A peer that did reset answers the challenge with the exact number.
    world.send(seg(Flags::RST, challenge.ack, 0));
    assert_eq!(world.closed().reason, CloseReason::PeerReset);
}

#[test]
fn reset_outside_of_the_window_is_dropped_silently() {
    let mut world = World::plain();
    for seq in [90_000, 0u32.wrapping_sub(90_000)] {
        assert_eq!(world.send(seg(Flags::RST, seq, 0)), Out::Drop(DropReason::RstOutOfWindow));
    }
    assert_eq!(world.stack.counters().resets_out_of_window, 2);
}

#[test]
fn syn_anywhere_is_challenged_never_obeyed() {
    for seq in [0, 1, 100, 900_000] {
        let mut world = World::plain();
        assert_eq!(world.send(seg(Flags::SYN, seq, 0)).answer().ack, 1);
        assert_eq!(world.stack.state(world.id), State::Established);
    }
}

#[test]
fn data_with_an_impossible_acknowledgement_is_not_taken() {
    let mut world = World::plain();
    world.stack.send(world.id, &[1; 1_000], world.now);
    world.expect();
    // Never sent; and far older than any window (RFC 5961 §5).
    for wrong in [1_002, 0u32.wrapping_sub(100_000)] {
        world.pass_ms(500);
        let challenge = world.send(data(1, wrong, b"injected")).answer();
        assert_eq!(challenge.ack, 1, "nothing was received");
    }
    assert_eq!(world.stack.counters().acks_unacceptable, 2);
    assert_eq!(world.send(data(1, 1_001, b"real")), Out::Data(b"real".to_vec()));
}

#[test]
fn optimistic_acknowledgement_is_challenged() {
    let mut world = World::plain();
    world.stack.send(world.id, &[1; 60_000], world.now);
    let sent: u32 = world.drain().iter().map(|segment| segment.data.len() as u32).sum();
    assert_eq!(sent, 14_600, "ten segments at first");
    assert_eq!(world.send(ack(1, sent + 2)).answer().flags, Flags::ACK);
    world.expect_nothing();
}

#[test]
fn challenges_of_one_connection_are_half_a_second_apart() {
    let mut world = World::plain();
    world.send(seg(Flags::SYN, 5, 0)).answer();
    assert_eq!(world.send(seg(Flags::SYN, 5, 0)), Out::Drop(DropReason::OutOfWindow));
    world.pass_ms(500);
    world.send(seg(Flags::SYN, 5, 0)).answer();
    assert_eq!(
        (world.stack.counters().challenge_acks, world.stack.counters().challenge_acks_limited),
        (2, 1)
    );
}

#[test]
fn challenges_of_all_connections_are_limited_but_keep_alives_are_answered() {
    let mut setup = Setup::default();
    setup.limits.challenge_acks_per_second = 8;
    let mut world = World::new(setup);
    let mut answered = 0;
    for port in 41_000..41_040 {
        world.port = port;
        world.open(port).unwrap();
        answered += usize::from(matches!(world.send(seg(Flags::SYN, 5, 0)), Out::Answer(_)));
    }
    assert!((4..12).contains(&answered), "{answered}");
    world.port = 40_000;
    assert_eq!(world.send(ack(0, 1)).answer().ack, 1, "a keep-alive");
}

#[test]
fn old_timestamp_is_refused_and_a_missing_one_is_not() {
    let mut world = World::new(Setup { timestamps: true, ..Setup::default() });
    assert_eq!(world.send(data(1, 1, b"new").ts(CLIENT_CLOCK + 10, OUR_CLOCK)), Out::Data(b"new".to_vec()));
    let answer = world.send(data(4, 1, b"old").ts(CLIENT_CLOCK - 91, OUR_CLOCK)).answer();
    assert_eq!(answer.ack, 4, "PAWS");
    // Overtaken by what was sent within a tenth of a second after it.
    let late = data(14, 1, b"late").ts(CLIENT_CLOCK - 90, OUR_CLOCK);
    assert_eq!(world.send(late).answer().sack, [(14, 18)]);
    // Middleboxes strip the option; Linux takes the segment.
    assert_eq!(world.send(data(4, 1, b"bare")), Out::Data(b"bare".to_vec()));
    // A RST is exempt (RFC 7323 §5.2).
    world.send(seg(Flags::RST, 8, 0).ts(CLIENT_CLOCK - 500, 0));
    assert_eq!(world.closed().reason, CloseReason::PeerReset);
}

#[test]
fn timestamp_of_a_clock_that_wrapped_during_a_long_silence_is_taken() {
    let mut setup = Setup { timestamps: true, ..Setup::default() };
    setup.limits.keep_alive = core::time::Duration::from_secs(90 * 24 * 3_600);
    let mut world = World::new(setup);
    world.pass(core::time::Duration::from_secs(25 * 24 * 3_600));
    let late = data(1, 1, b"hi").ts(CLIENT_CLOCK.wrapping_sub(9), OUR_CLOCK);
    assert_eq!(world.send(late), Out::Data(b"hi".to_vec()));
}

#[test]
fn smack_of_tiny_segments_keeps_memory_and_ranges_bounded() {
    let mut world = World::plain();
    // Every second byte of the window (CVE-2018-5390).
    for index in 0..5_000u32 {
        world.send(data(3 + index * 2, 1, b"x")).answer();
    }
    assert!(world.stack.counts().chunk_bytes <= 128 * 2_048, "{:?}", world.stack.counts());
    // Then the holes between what was kept.
    for index in (0..128u32).rev() {
        world.send(data(4 + index * 2, 1, b"y")).answer();
    }
    assert!(world.stack.counts().chunk_bytes <= 4 * 2_048, "{:?}", world.stack.counts());
    assert_eq!(world.send(data(1, 1, b"ab")), Out::Data(b"ab".to_vec()));
    assert_eq!(world.read_all(), b"xy".repeat(128));
}

#[test]
fn many_connections_with_holes_are_pruned_before_memory_ends_and_in_order_data_is_kept() {
    let mut setup = Setup::default();
    setup.limits.chunk_bytes_max = 64 * 2_048;
    setup.limits.out_of_order_max = 64;
    let mut world = World::new(setup);
    world.takes = 0;
    let kept: Vec<u8> = (0..14_000u32).map(|index| index as u8).collect();
    for (index, part) in kept.chunks(1_400).enumerate() {
        world.send(data(1 + 1_400 * index as u32, 1, part));
    }
    for port in 41_000..41_060 {
        world.port = port;
        world.open(port).unwrap();
        world.send(data(2_000, 1, &[1; 1_400]));
    }
    let counts = world.stack.counts();
    assert!(counts.chunk_bytes * 4 <= counts.chunk_bytes_max * 3 + 4 * 2_048, "{counts:?}");
    assert!(world.stack.counters().out_of_order_dropped > 0);
    // In-order data of another connection takes what is left, then what came out of order.
    world.port = 42_000;
    world.id = world.open(42_000).unwrap();
    let mut sent = 0;
    for _ in 0..40 {
        world.send(data(1 + sent, 1, &[5; 1_400]));
        sent += 1_400;
        world.pass_ms(40);
        world.drain();
    }
    assert!(world.stack.counters().pruned_bytes > 0);
    assert!(world.read_all().iter().all(|byte| *byte == 5));
    world.id = world.open(40_000).unwrap();
    assert_eq!(world.read_all(), kept);
}

#[test]
fn when_all_sets_of_ranges_are_taken_another_connection_gives_its_up() {
    let mut world = World::plain();
    for port in 41_000..41_020 {
        world.port = port;
        world.open(port).unwrap();
        assert_eq!(world.send(data(11, 1, b"x")).answer().sack, [(11, 12)]);
    }
    assert_eq!((world.stack.counts().out_of_order, world.stack.counters().pruned_bytes), (16, 4));
}

#[test]
fn in_order_data_without_memory_is_not_acknowledged() {
    let mut setup = Setup::default();
    setup.limits.chunk_bytes_max = 2 * 2_048;
    let mut world = World::new(setup);
    world.takes = 0;
    for index in 0..5u32 {
        world.send(data(1 + index * 1_000, 1, &[index as u8; 1_000]));
    }
    world.pass_ms(40);
    let acknowledged = world.drain().last().unwrap().ack;
    assert_eq!(acknowledged, 1 + 2 * 2_044);
    assert_eq!(world.stack.counters().store_failed_bytes, 5_000 - 2 * 2_044);
    assert_eq!(world.read_all().len(), 2 * 2_044);
}

#[test]
fn peer_that_keeps_its_window_closed_is_reset() {
    let mut world = World::plain();
    world.stack.send(world.id, &[1; 30_000], world.now);
    world.drain();
    world.send(ack(1, 14_601).window(0));
    let start = world.now;
    while world.stack.state(world.id) == State::Established {
        world.pass_ms(1_000);
        assert!(world.now - start <= world.setup.limits.stall + core::time::Duration::from_secs(2));
        for probe in world.drain() {
            assert!(probe.data.len() <= 1, "{probe:?}");
            if !probe.has(Flags::RST) {
                world.send(ack(1, 14_601).window(0));
            }
        }
    }
    assert_eq!(world.closed().reason, CloseReason::Stalled);
    assert_eq!(world.stack.counts().chunk_bytes, 0);
}

#[test]
fn reader_of_a_few_bytes_at_a_time_is_reset() {
    let mut world = World::plain();
    world.stack.send(world.id, &[1; 100_000], world.now);
    let mut taken = 1;
    let start = world.now;
    while world.stack.state(world.id) == State::Established {
        world.pass_ms(1_000);
        assert!(world.now - start <= world.setup.limits.stall + core::time::Duration::from_secs(2));
        for segment in world.drain() {
            if segment.has(Flags::RST) {
                break;
            }
            taken = taken.max(segment.seq + (segment.data.len() as u32).min(16));
        }
        // A window of 128 bytes at most, and 16 bytes taken a second.
        world.send(ack(1, taken).window(1));
    }
    let reason = world.closed().reason;
    assert!(matches!(reason, CloseReason::Stalled | CloseReason::Unreachable), "{reason:?}");
}

#[test]
fn under_memory_pressure_stalled_peers_go_early_and_reading_ones_stay() {
    let mut setup = Setup::default();
    setup.limits.chunk_bytes_max = 64 * 2_048;
    setup.limits.send.queue_bytes_max = 32 << 10;
    let mut world = World::new(setup);
    let reading = world.id;
    world.stack.send(reading, &[1; 1_000], world.now);
    let mut stalled = Vec::new();
    for port in 41_000..41_006 {
        world.port = port;
        let id = world.open(port).unwrap();
        world.stack.send(id, &[1; 32 << 10], world.now);
        stalled.push(id);
    }
    for segment in world.drain() {
        assert!(!segment.data.is_empty());
    }
    for port in 41_000..41_006 {
        world.port = port;
        world.send(ack(1, 1).window(0));
    }
    world.port = 40_000;
    let counts = world.stack.counts();
    assert!(counts.chunk_bytes * 5 > counts.chunk_bytes_max * 4, "{counts:?}");
    for second in 0..12 {
        world.pass_ms(1_000);
        world.send(ack(1, 1_001));
        if second < 9 {
            assert!(stalled.iter().all(|id| world.stack.state(*id) == State::Established), "early");
        }
        world.drain();
    }
    assert!(stalled.iter().any(|id| world.stack.state(*id) == State::Closed));
    assert_eq!(world.stack.state(reading), State::Established);
    let counts = world.stack.counts();
    assert!(counts.chunk_bytes * 5 <= counts.chunk_bytes_max * 4, "{counts:?}");
}

#[test]
fn tiny_segment_size_is_not_obeyed() {
    let mut world = World::new(Setup { mss: 1, ..Setup::default() });
    world.stack.send(world.id, &[1; 1_000], world.now);
    assert_eq!(world.expect().data.len(), 256);
}

#[test]
fn acknowledgements_of_a_byte_each_do_not_open_the_congestion_window() {
    let mut world = World::plain();
    world.stack.send(world.id, &[1; 200_000], world.now);
    let first: usize = world.drain().iter().map(|segment| segment.data.len()).sum();
    world.pass_ms(10);
    let mut more = 0;
    for acked in 1..1_460u32 {
        world.send(ack(1, 1 + acked).window(2_000));
        more += world.drain().iter().map(|segment| segment.data.len()).sum::<usize>();
    }
    assert_eq!(first, 14_600);
    assert!(more <= 3 * 1_460, "{more} bytes for one segment acknowledged in pieces");
}
