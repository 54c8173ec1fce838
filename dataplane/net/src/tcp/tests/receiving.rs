//! Data arrives: in order, out of order, twice; ACKs and windows that answer it.

use super::harness::*;
use crate::tcp::Event;
use crate::wire::tcp::Flags;

#[test]
fn data_of_the_first_segment_counts_though_the_bare_ack_was_lost() {
    let mut world = World::plain();
    assert_eq!(world.send(data(1, 1, b"hello")), Out::Data(b"hello".to_vec()));
    world.expect_nothing();
    world.pass_ms(39);
    world.expect_nothing();
    world.pass_ms(1);
    let answer = world.expect();
    assert_eq!((answer.flags, answer.seq, answer.ack), (Flags::ACK, 1, 6));
    // 64 KiB from here on, shifted by 7.
    assert_eq!(answer.window, 512);
    world.expect_nothing();
}

#[test]
fn first_acks_are_sent_at_once_until_an_answer_came_fast() {
    let quick = Setup { quick_acks: true, ..Setup::default() };
    let mut world = World::new(quick);
    world.send(data(1, 1, b"POST"));
    assert_eq!(world.expect().ack, 5, "a client with Nagle's algorithm waits for it");
    world.send(data(5, 1, b"body"));
    assert_eq!(world.expect().ack, 9);
    world.stack.send(world.id, b"OK", world.now);
    world.drain();
    world.send(data(9, 3, b"POST"));
    world.expect_nothing();
    // An upload without answer: sixteen, then every second segment.
    let mut world = World::new(quick);
    let acks: usize = (0..40u32)
        .map(|index| {
            world.send(data(1 + index * 1_000, 1, &[0; 1_000]));
            world.drain().len()
        })
        .sum();
    assert_eq!(acks, 16 + 12);
}

#[test]
fn answer_carries_the_ack() {
    let mut world = World::plain();
    world.send(data(1, 1, b"GET"));
    assert_eq!(world.stack.send(world.id, b"OK", world.now), 2);
    let answer = world.expect();
    assert_eq!((answer.flags, answer.ack), (Flags::ACK | Flags::PSH, 4));
    assert_eq!(answer.data, b"OK");
    world.send(ack(4, 3));
    world.pass_ms(1_000);
    world.expect_nothing();
}

#[test]
fn second_full_segment_is_acknowledged_at_once() {
    let mut world = World::plain();
    world.send(data(1, 1, &[1; 1_460]));
    world.expect_nothing();
    world.send(data(1_461, 1, &[2; 1_460]));
    assert_eq!(world.expect().ack, 2_921);
    world.expect_nothing();
}

#[test]
fn hole_is_reported_at_once_with_the_latest_block_first() {
    let mut world = World::plain();
    let answer = world.send(data(101, 1, &[2; 100])).answer();
    assert_eq!((answer.ack, answer.sack), (1, vec![(101, 201)]));
    let answer = world.send(data(301, 1, &[4; 100])).answer();
    assert_eq!((answer.ack, answer.sack), (1, vec![(301, 401), (101, 201)]));
    assert_eq!(world.stack.counts().out_of_order, 1);
    // The first hole fills: what was behind it is there to be read, and the rest is still reported.
    assert_eq!(world.send(data(1, 1, &[1; 100])), Out::Data(vec![1; 100]));
    let answer = world.expect();
    assert_eq!((answer.ack, answer.sack), (201, vec![(301, 401)]));
    assert_eq!(world.events(), [Event::Readable { connection: world.id, user: 0 }]);
    assert_eq!(world.read_all(), [2; 100]);
    assert_eq!(world.send(data(201, 1, &[3; 100])), Out::Data(vec![3; 100]));
    assert_eq!(world.read_all(), [4; 100]);
    assert_eq!(world.expect().ack, 401);
    assert_eq!((world.stack.counts().out_of_order, world.stack.counts().chunk_bytes), (0, 0));
}

#[test]
fn what_fills_a_hole_and_runs_over_what_lies_behind_it_is_told_as_a_duplicate() {
    let mut world = World::plain();
    assert_eq!(world.send(data(101, 1, &[b'b'; 100])).answer().sack, [(101, 201)]);
    // RFC 2883: bytes 101 to 200 came twice.
    assert!(matches!(world.send(data(1, 1, &[b'a'; 300])), Out::Data(_)));
    let answer = world.expect();
    assert_eq!((answer.ack, answer.sack), (301, vec![(101, 201)]));
}

#[test]
fn client_without_sack_gets_plain_duplicate_acks() {
    let mut world = World::new(Setup { sack: false, ..Setup::default() });
    let answer = world.send(data(101, 1, &[2; 100])).answer();
    assert_eq!((answer.ack, answer.sack), (1, vec![]));
}

#[test]
fn duplicate_is_named_in_the_first_block() {
    let mut world = World::plain();
    world.send(data(1, 1, &[1; 200]));
    world.pass_ms(40);
    assert_eq!(world.expect().ack, 201);
    // RFC 2883 §4.1.1: all of it was acknowledged.
    let answer = world.send(data(51, 1, &[1; 100])).answer();
    assert_eq!((answer.ack, answer.sack), (201, vec![(51, 151)]));
    // §4.2.1: a part of what is held out of order, and the block that holds it.
    world.send(data(301, 1, &[3; 100]));
    let answer = world.send(data(351, 1, &[3; 100])).answer();
    assert_eq!((answer.ack, answer.sack), (201, vec![(351, 401), (301, 451)]));
    // It is said once.
    let answer = world.send(data(601, 1, &[6; 10])).answer();
    assert_eq!(answer.sack, [(601, 611), (301, 451)]);
    assert_eq!(world.stack.counters().duplicates, 1);
}

#[test]
fn segment_that_overlaps_what_came_before_brings_only_its_new_bytes() {
    let mut world = World::plain();
    world.send(data(1, 1, b"abcd"));
    assert_eq!(world.send(data(3, 1, b"cdef")), Out::Data(b"ef".to_vec()));
    world.pass_ms(40);
    let answer = world.expect();
    assert_eq!((answer.ack, answer.sack), (7, vec![(3, 5)]));
}

#[test]
fn what_lies_beyond_the_window_is_cut_off() {
    let mut world = World::plain();
    let window = u32::from(WINDOW);
    // Nothing was acknowledged yet: the SYN-ACK's window counts.
    world.send(data(window - 9, 1, &[9; 100])).answer();
    world.send(data(1, 1, &[1; 1_000]));
    world.pass_ms(40);
    assert_eq!(world.expect().sack, [(window - 9, window + 1)]);
    let beyond = data(1_001 + 65_536, 1, b"x");
    world.pass_ms(500);
    assert_eq!(world.send(beyond).answer().ack, 1_001, "answered, not taken");
}

#[test]
fn window_closes_when_the_owner_takes_nothing_and_opens_when_it_does() {
    let mut world = World::plain();
    world.takes = 0;
    let mut sent = 0u32;
    let mut window = u32::from(WINDOW);
    while window > 0 {
        let len = window.min(1_400);
        world.send(data(1 + sent, 1, &vec![(sent / 1_400) as u8; len as usize]));
        sent += len;
        world.pass_ms(40);
        let answer = world.drain().pop().expect("an ACK");
        assert_eq!(answer.ack, 1 + sent);
        window = u32::from(answer.window) << SCALE;
    }
    assert!((65_536 - 1_460..=65_536).contains(&sent), "{sent} bytes fit");
    assert_eq!(world.stack.counters().windows_closed, 1);
    // A probe of a byte beyond is not for the owner, who has enough.
    let probe = world.send(data(1 + sent, 1, b"?"));
    assert!(!matches!(probe, Out::Data(_)), "{probe:?}");
    // Silly window avoidance: a few bytes of room are not told.
    world.stack.consume(world.id, 100, world.now);
    world.expect_nothing();
    let taken = world.read_all().len() as u32 + 100;
    assert!(taken >= sent);
    let update = world.expect();
    assert_eq!((update.flags, u32::from(update.window) << SCALE), (Flags::ACK, 65_536));
}

#[test]
fn window_grows_while_it_is_used_fast_and_the_owner_keeps_up() {
    let mut world = World::plain();
    let mut sent = 0u32;
    let mut window = 0;
    for _ in 0..2_000 {
        world.send(data(1 + sent, 1, &[0; 1_460]));
        sent += 1_460;
        world.now = world.now + core::time::Duration::from_micros(200);
        if let Some(answer) = world.next() {
            window = u32::from(answer.window) << SCALE;
        }
    }
    assert!(window > 1 << 20, "{window}");
    assert!(window <= 4 << 20, "{window}");
}

#[test]
fn window_grows_although_each_round_has_a_hole() {
    let mut setup = Setup::default();
    setup.limits.chunk_bytes_max = 32 << 20;
    let mut world = World::new(setup);
    let (mut sent, mut window) = (0u32, u32::from(WINDOW));
    for _ in 0..20 {
        // The first segment of the round comes last.
        let segments = window / 1_460;
        for index in 1..segments {
            world.send(data(1 + sent + index * 1_460, 1, &[0; 1_460])).answer();
        }
        world.send(data(1 + sent, 1, &[0; 1_460]));
        sent += segments * 1_460;
        assert_eq!(world.read_all().len() as u32, (segments - 1) * 1_460);
        world.pass_ms(40);
        window = u32::from(world.drain().last().unwrap().window) << SCALE;
    }
    assert!(window > 3 << 20, "{window}");
}

#[test]
fn slow_client_keeps_the_small_window() {
    let mut world = World::plain();
    for index in 0..200u32 {
        world.send(data(1 + index * 1_000, 1, &[0; 1_000]));
        world.pass_ms(100);
        if let Some(answer) = world.next() {
            assert!(answer.window <= 512, "{}", answer.window);
        }
    }
}

#[test]
fn timestamps_go_on_from_the_syn_ack_and_echo_the_left_edge() {
    let mut world = World::new(Setup { timestamps: true, ..Setup::default() });
    world.pass_ms(5);
    world.send(data(1, 1, b"a").ts(CLIENT_CLOCK + 3, OUR_CLOCK));
    // Out of order: its timestamp must not be echoed (RFC 7323 §4.3).
    let answer = world.send(data(10, 1, b"c").ts(CLIENT_CLOCK + 9, OUR_CLOCK)).answer();
    let timestamps = answer.timestamps.unwrap();
    assert_eq!((timestamps.value, timestamps.echo), (OUR_CLOCK + 5, CLIENT_CLOCK + 3));
    assert_eq!(answer.sack, [(10, 11)]);
}

#[test]
fn with_timestamps_three_blocks_fit_and_without_four() {
    for (timestamps, count) in [(true, 3), (false, 4)] {
        let mut world = World::new(Setup { timestamps, ..Setup::default() });
        let mut answer = None;
        for index in 1..8 {
            let mut segment = data(index * 100, 1, b"x");
            if timestamps {
                segment = segment.ts(CLIENT_CLOCK, OUR_CLOCK);
            }
            answer = Some(world.send(segment).answer());
        }
        let sack = answer.unwrap().sack;
        assert_eq!((sack.len(), sack[0]), (count, (700, 701)));
    }
}

#[test]
fn congestion_mark_is_echoed_until_the_client_says_it_has_slowed_down() {
    let mut world = World::new(Setup { ecn: true, ..Setup::default() });
    let mut marked = data(1, 1, b"a");
    marked.dscp_ecn = 3;
    world.send(marked);
    world.pass_ms(40);
    assert!(world.expect().has(Flags::ECE));
    world.send(data(2, 1, b"b"));
    world.pass_ms(40);
    assert!(world.expect().has(Flags::ECE));
    let mut slowed = data(3, 1, b"c");
    slowed.flags = slowed.flags | Flags::CWR;
    world.send(slowed);
    world.pass_ms(40);
    assert!(!world.expect().has(Flags::ECE));
}

#[test]
fn connection_over_ipv6_is_the_same() {
    let mut world = World::new(Setup { v6: true, ..Setup::default() });
    assert_eq!(world.send(data(1, 1, b"six")), Out::Data(b"six".to_vec()));
    world.stack.send(world.id, b"answer", world.now);
    assert_eq!(world.expect().data, b"answer");
}

#[test]
fn client_that_moves_to_another_router_is_followed() {
    let mut world = World::plain();
    let mut moved = data(1, 1, b"a");
    moved.mac = 9;
    world.send(moved);
    world.pass_ms(40);
    assert_eq!(world.expect().mac, 9);
    assert_eq!(world.stack.counters().client_moves, 1);
}

#[test]
fn urgent_data_is_data() {
    let mut world = World::plain();
    let mut urgent = data(1, 1, b"!");
    urgent.flags = urgent.flags | Flags::URG;
    assert_eq!(world.send(urgent), Out::Data(b"!".to_vec()));
}
