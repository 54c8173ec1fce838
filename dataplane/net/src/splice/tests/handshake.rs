//! Opening: our SYN, the backend's answers, held data, the PROXY header, the next backend.

use core::time::Duration;

use super::harness::*;
use crate::flow::FlowKey;
use crate::proxy_protocol::{self, Message};
use crate::splice::{CloseReason, Event, FailReason};
use crate::verdict::DropReason;
use crate::wire::tcp::{Flags, SynOptions, Timestamps};

const C1: u32 = C.wrapping_add(1);

#[test]
fn bare_ack_becomes_our_syn_and_the_syn_ack_becomes_our_ack() {
    let mut world = World::new(Setup::default());
    let flow = world.open().unwrap();
    let syn = world.client_sends(world.handshake_ack()).backend_gets();
    assert_eq!(syn.flags, Flags::SYN);
    assert_eq!((syn.source.port(), syn.destination), (40_000, world.backend));
    assert_eq!((syn.ttl, syn.mac), (64, 0xb0));
    // The client's window, 500 << 8, does not fit an unscaled field.
    assert_eq!(syn.window, 0xffff);
    let options = syn.read_options();
    assert_eq!((options.mss, options.window_scale, options.sack_permitted), (Some(1_400), Some(8), true));
    assert_eq!(options.timestamps, None);
    world.note_syn(&syn);
    world.now = world.now + Duration::from_millis(3);
    let ack = world.backend_sends(world.syn_ack(&syn)).backend_gets();
    assert_eq!((ack.flags, ack.seq, ack.ack), (Flags::ACK, syn.seq + 1, B + 1));
    assert_eq!(ack.window, 500, "the client's own field: its scale was offered");
    let events = world.events();
    let connect_time = Duration::from_millis(3);
    assert_eq!(
        events,
        [
            Event::Opened { flow, tag: 77, backend: BACKEND },
            Event::Established { flow, tag: 77, key: world.request().key, backend: BACKEND, connect_time },
        ]
    );
    assert!(world.sent().is_empty());
}

#[test]
fn early_data_is_held_and_released_when_the_backend_is_open() {
    let mut world = World::new(Setup::default());
    let flow = world.open().unwrap();
    let hello = seg(Flags::ACK | Flags::PSH, C1, N + 1).data(b"hello");
    // The bare ACK was lost: data is the first segment, so our SYN needs a frame of its own.
    assert_eq!(world.client_sends(hello.clone()), Out::Hold);
    let syn = world.sent_one().backend_gets();
    world.note_syn(&syn);
    assert_eq!(world.client_sends(hello.clone()), Out::Hold, "a retransmission waits too");
    world.backend_sends(world.syn_ack(&syn)).backend_gets();
    assert!(world.events().contains(&Event::Release { flow }));
    let passed = world.client_sends(hello).backend_gets();
    assert_eq!((passed.seq, passed.ack), (world.up(0), B + 1));
    assert_eq!(passed.payload, b"hello");
    let answer = world.backend_sends(seg(Flags::ACK, B + 1, world.up(5)).data(b"world")).client_gets();
    assert_eq!((answer.seq, answer.ack), (N + 1, C1.wrapping_add(5)));
    assert_eq!((answer.source, answer.destination), (world.listener, world.client));
}

#[test]
fn fin_before_the_backend_answers_waits_like_data() {
    let mut world = World::new(Setup::default());
    world.open().unwrap();
    assert_eq!(world.client_sends(seg(Flags::FIN_ACK, C1, N + 1)), Out::Hold);
}

#[test]
fn second_ack_while_opening_is_consumed() {
    let mut world = World::new(Setup::default());
    world.open().unwrap();
    world.client_sends(world.handshake_ack()).backend_gets();
    assert_eq!(world.client_sends(world.handshake_ack()), Out::Consumed);
    assert_eq!(world.open(), Ok(world.flow), "opening again finds the same flow");
}

#[test]
fn syn_is_sent_again_with_doubling_waits_and_then_the_backend_has_failed() {
    let mut world = World::new(Setup::default());
    let flow = world.open().unwrap();
    let first = world.client_sends(world.handshake_ack()).backend_gets();
    for wait in [250, 500, 1_000] {
        world.pass_time(Duration::from_millis(wait - 1));
        assert!(world.sent().is_empty(), "early after {wait} ms");
        world.pass_time(Duration::from_millis(1));
        assert_eq!(world.sent_one().backend_gets(), first);
    }
    world.events();
    world.pass_time(Duration::from_millis(2_000));
    let reason = FailReason::Timeout;
    assert_eq!(world.events(), [Event::BackendFailed { flow, tag: 77, backend: BACKEND, reason }]);
    assert_eq!(world.splice.counters().syns_retransmitted, 3);
}

#[test]
fn refused_connection_is_retried_on_the_next_backend() {
    let mut world = World::new(Setup::default());
    let flow = world.open().unwrap();
    let hello = seg(Flags::ACK, C1, N + 1).data(b"hello");
    assert_eq!(world.client_sends(hello.clone()), Out::Hold);
    let syn = world.sent_one().backend_gets();
    world.note_syn(&syn);
    // A RST that does not acknowledge our SYN is a guess.
    let forged = seg(Flags::RST_ACK, 0, syn.seq.wrapping_add(2));
    assert_eq!(world.backend_sends(forged), Out::Drop(DropReason::RstOutOfWindow));
    world.events();
    assert_eq!(world.backend_sends(seg(Flags::RST_ACK, 0, syn.seq.wrapping_add(1))), Out::Consumed);
    let reason = FailReason::Refused;
    assert_eq!(world.events(), [Event::BackendFailed { flow, tag: 77, backend: BACKEND, reason }]);
    assert_eq!(world.splice.backend_flows(BACKEND), 1);

    world.splice.retry(flow, OTHER_BACKEND, &world.backends, world.now).unwrap();
    assert_eq!((world.splice.backend_flows(BACKEND), world.splice.backend_flows(OTHER_BACKEND)), (0, 1));
    world.backend.set_ip([10, 0, 0, 33].into());
    let syn = world.sent_one().backend_gets();
    assert_eq!(syn.mac, 0xb1);
    world.note_syn(&syn);
    world.backend_sends(world.syn_ack(&syn)).backend_gets();
    assert!(world.events().contains(&Event::Release { flow }));
    assert_eq!(world.client_sends(hello).backend_gets().payload, b"hello");
    assert_eq!(
        world.splice.retry(flow, BACKEND, &world.backends, world.now),
        Err(DropReason::NoFlow),
        "an open flow has nothing to retry"
    );
}

#[test]
fn given_up_flow_resets_the_client_at_the_number_it_expects() {
    let mut world = World::new(Setup::default());
    let flow = world.open().unwrap();
    let syn = world.client_sends(world.handshake_ack()).backend_gets();
    world.note_syn(&syn);
    world.backend_sends(seg(Flags::RST_ACK, 0, syn.seq.wrapping_add(1)));
    world.events();
    assert!(world.splice.abort(flow, world.now));
    let reset = world.sent_one().client_gets();
    assert_eq!((reset.flags, reset.seq, reset.ack), (Flags::RST_ACK, N + 1, C1));
    let events = world.events();
    assert!(
        matches!(events[..], [Event::Closed { reason: CloseReason::BackendFailed, tag: 77, .. }]),
        "{events:?}"
    );
    assert!(!world.splice.abort(flow, world.now), "an ended flow ends once");
    // If that RST was lost, the client's next segment is answered by another.
    let again = world.client_sends(seg(Flags::ACK, C1, N + 1).data(b"hello")).client_gets();
    assert_eq!((again.flags, again.seq), (Flags::RST, N + 1));
}

#[test]
fn owner_that_never_decides_does_not_keep_the_flow() {
    let mut world = World::new(Setup::default());
    world.open().unwrap();
    let syn = world.client_sends(world.handshake_ack()).backend_gets();
    world.note_syn(&syn);
    world.backend_sends(seg(Flags::RST_ACK, 0, syn.seq.wrapping_add(1)));
    world.pass_time(Duration::from_secs(1));
    assert_eq!(world.sent_one().client_gets().flags, Flags::RST_ACK);
    world.pass_time(Duration::from_secs(5));
    assert_eq!(world.splice.counts().flows, 0);
}

#[test]
fn backend_that_lost_its_link_fails_at_once() {
    let mut world = World::new(Setup::default());
    let flow = world.open().unwrap();
    world.events();
    world.backends.set(BACKEND, None);
    assert_eq!(world.client_sends(world.handshake_ack()), Out::Consumed);
    let reason = FailReason::NoLink;
    assert_eq!(world.events(), [Event::BackendFailed { flow, tag: 77, backend: BACKEND, reason }]);
}

#[test]
fn late_syn_ack_of_a_failed_backend_is_reset() {
    let mut world = World::new(Setup::default());
    let flow = world.open().unwrap();
    let syn = world.client_sends(world.handshake_ack()).backend_gets();
    world.note_syn(&syn);
    world.pass_time(Duration::from_secs(1));
    world.splice.abort(flow, world.now);
    world.sent();
    let reset = world.backend_sends(world.syn_ack(&syn)).backend_gets();
    assert_eq!((reset.flags, reset.seq), (Flags::RST, syn.seq.wrapping_add(1)));
}

#[test]
fn backend_in_an_old_connection_is_reset_and_asked_again_at_once() {
    let mut world = World::new(Setup::default());
    world.open().unwrap();
    let syn = world.client_sends(world.handshake_ack()).backend_gets();
    world.note_syn(&syn);
    // Its challenge ACK names the old connection's numbers (RFC 5961 §4).
    let reset = world.backend_sends(seg(Flags::ACK, 4_444, 9_999)).backend_gets();
    assert_eq!((reset.flags, reset.seq), (Flags::RST, 9_999));
    world.pass_time(Duration::from_millis(2));
    assert_eq!(world.sent_one().backend_gets(), syn);
    // What overtook the SYN-ACK is no such thing.
    let early = seg(Flags::ACK, B + 1, syn.seq.wrapping_add(1)).data(b"220");
    assert_eq!(world.backend_sends(early), Out::Drop(DropReason::OutOfWindow));
}

#[test]
fn lost_ack_of_the_syn_ack_is_sent_again() {
    let (mut world, _) = World::connected(Setup::default());
    let syn_ack = seg(Flags::SYN_ACK, B, world.s.wrapping_add(1));
    let ack = world.backend_sends(syn_ack).backend_gets();
    assert_eq!((ack.flags, ack.seq, ack.ack), (Flags::ACK, world.s.wrapping_add(1), B + 1));
    let other = seg(Flags::SYN_ACK, B + 9, world.s.wrapping_add(1));
    assert_eq!(world.backend_sends(other), Out::Drop(DropReason::OutOfWindow));
}

#[test]
fn client_that_resets_while_opening_ends_the_flow_and_the_backend_is_told() {
    let mut world = World::new(Setup::default());
    world.open().unwrap();
    let syn = world.client_sends(world.handshake_ack()).backend_gets();
    world.note_syn(&syn);
    let forged = seg(Flags::RST, C1.wrapping_add(20_000), 0);
    assert_eq!(world.client_sends(forged), Out::Drop(DropReason::RstOutOfWindow));
    assert_eq!(world.client_sends(seg(Flags::RST, C1, 0)), Out::Consumed);
    let reset = world.backend_sends(world.syn_ack(&syn)).backend_gets();
    assert_eq!(reset.flags, Flags::RST);
}

#[test]
fn unproven_client_that_starts_anew_gets_a_new_flow_and_a_proven_one_is_not_ended_by_a_stranger() {
    let mut world = World::new(Setup { pass_through: true, ..Setup::default() });
    world.open().unwrap();
    world.client_sends(world.client_syn()).backend_gets();
    assert_eq!(world.client_sends(seg(Flags::SYN, 42, 0)), Out::Miss);
    assert_eq!(world.splice.counts().flows, 0);

    let mut world = World::new(Setup::default());
    world.open().unwrap();
    world.client_sends(world.handshake_ack()).backend_gets();
    assert_eq!(world.client_sends(seg(Flags::SYN, 42, 0)), Out::Drop(DropReason::OutOfWindow));
    assert_eq!(world.splice.counts().flows, 1);
}

#[test]
fn proxy_header_opens_the_stream_and_its_ack_stays_between_us() {
    for client_v6 in [false, true] {
        let setup = Setup { proxy_protocol: true, client_v6, ..Setup::default() };
        let (mut world, answer) = World::connected(setup);
        let header = answer.backend_gets();
        assert_eq!((header.flags, header.seq), (Flags::ACK | Flags::PSH, world.s.wrapping_add(1)));
        let expected = FlowKey {
            protocol: crate::flow::Protocol::Tcp,
            source: endpoint(world.client),
            destination: endpoint(world.listener),
        };
        let len = header.payload.len();
        assert_eq!(proxy_protocol::parse(&header.payload), Ok((Message::Proxied(expected), len)));
        assert_eq!(len as u32, world.header_len());
        // Data follows behind it in the backend's numbering.
        let data = world.client_sends(seg(Flags::ACK, C1, N + 1).data(b"GET /")).backend_gets();
        assert_eq!(data.seq, world.s.wrapping_add(1 + len as u32));
        let acked = world.s.wrapping_add(1 + len as u32);
        assert_eq!(world.backend_sends(seg(Flags::ACK, B + 1, acked)), Out::Consumed);
        world.pass_time(Duration::from_secs(1));
        assert!(world.sent().is_empty(), "an acknowledged header is not sent again");
        let ack = world.backend_sends(seg(Flags::ACK, B + 1, acked.wrapping_add(5))).client_gets();
        assert_eq!(ack.ack, C1.wrapping_add(5));
    }
}

#[test]
fn backend_that_speaks_before_it_has_the_header_never_shows_its_numbers_to_the_client() {
    let (mut world, _) = World::connected(Setup { proxy_protocol: true, ..Setup::default() });
    let banner = seg(Flags::ACK, B + 1, world.s.wrapping_add(1)).data(b"220 ready");
    let passed = world.backend_sends(banner).client_gets();
    assert_eq!((passed.seq, passed.ack), (N + 1, C1), "not a number before the client's first");
}

#[test]
fn lost_proxy_header_is_sent_again_and_given_up_in_the_end() {
    let (mut world, answer) = World::connected(Setup { proxy_protocol: true, ..Setup::default() });
    let header = answer.backend_gets();
    world.events();
    for wait in [250, 500, 1_000, 2_000, 4_000] {
        world.pass_time(Duration::from_millis(wait));
        let again = world.sent_one().backend_gets();
        assert_eq!((again.seq, &again.payload), (header.seq, &header.payload));
    }
    world.pass_time(Duration::from_millis(8_000));
    assert_eq!(world.sent().len(), 2, "RST both ways");
    assert!(matches!(world.events()[..], [Event::Closed { reason: CloseReason::BackendFailed, .. }]));
}

#[test]
fn backend_whose_segments_cannot_hold_the_header_has_failed() {
    let mut world = World::new(Setup { proxy_protocol: true, ..Setup::default() });
    world.open().unwrap();
    let syn = world.client_sends(world.handshake_ack()).backend_gets();
    world.note_syn(&syn);
    world.events();
    let tiny = SynOptions { mss: Some(20), ..SynOptions::default() };
    let syn_ack = seg(Flags::SYN_ACK, B, syn.seq.wrapping_add(1)).syn_options(tiny);
    assert_eq!(world.backend_sends(syn_ack).backend_gets().flags, Flags::RST);
    let events = world.events();
    assert!(matches!(events[..], [Event::BackendFailed { reason: FailReason::ProxyHeader, .. }]));
}

#[test]
fn mss_fits_both_links_and_is_never_crumbs() {
    for (mss, mtu, v6, expected) in [
        (1_400, 1_500, false, 1_400),
        (9_000, 1_500, false, 1_460),
        (9_000, 1_300, false, 1_260),
        (9_000, 1_300, true, 1_240),
        (1, 1_500, false, 48),
    ] {
        let mut world = World::new(Setup { client_v6: v6, ..Setup::default() });
        world.mtu = mtu;
        let request = crate::splice::OpenRequest { mss, ..world.request() };
        world.splice.open(&request, &world.backends, world.now).unwrap();
        let syn = world.sent_one().backend_gets();
        assert_eq!(syn.read_options().mss, Some(expected));
    }
}

#[test]
fn timestamps_continue_on_both_sides() {
    let setup = Setup { timestamps: true, ..Setup::default() };
    let (mut world, answer) = World::connected(setup);
    let ack = answer.backend_gets().read_timestamps();
    assert_eq!(ack, Timestamps { value: world.our_ts, echo: 900_000 });
    // The client's clock has moved by 5 since its ACK.
    let data = seg(Flags::ACK, C1, N + 1).data(b"x").timestamps(105, 7_000);
    let passed = world.client_sends(data).backend_gets().read_timestamps();
    assert_eq!(passed, Timestamps { value: world.our_ts.wrapping_add(5), echo: 900_000 });
    let reply = seg(Flags::ACK, B + 1, world.up(1)).timestamps(900_030, world.our_ts.wrapping_add(5));
    let passed = world.backend_sends(reply).client_gets().read_timestamps();
    assert_eq!(passed, Timestamps { value: 7_030, echo: 105 }, "goes on from the cookie's clock");
}

#[test]
fn source_port_used_again_has_a_later_isn_and_clock() {
    let setup = Setup { timestamps: true, ..Setup::default() };
    let mut world = World::new(setup);
    let mut last: Option<(u32, u32)> = None;
    for _ in 0..3 {
        world.open().unwrap();
        let syn = world.sent_one().backend_gets();
        world.note_syn(&syn);
        assert_eq!(syn.source.port(), world.source.port());
        let ours = (syn.seq, syn.read_timestamps().value);
        if let Some(last) = last.filter(|_| syn.source.port() == 40_000) {
            assert!((ours.0.wrapping_sub(last.0) as i32) > 0, "RFC 6528");
            assert!((ours.1.wrapping_sub(last.1) as i32) > 0, "PAWS");
        }
        last = Some(ours);
        world.splice.abort(world.flow, world.now);
        world.pass_time(Duration::from_secs(10));
        // Seven other ports pass by before the first one comes again.
        for _ in 0..7 {
            world.client.set_port(world.client.port() + 1);
            world.open().unwrap();
            world.splice.abort(world.flow, world.now);
            world.sent();
            world.pass_time(Duration::from_secs(10));
        }
    }
}

#[test]
fn backend_that_takes_up_nothing_still_works_and_is_counted() {
    let setup = Setup { timestamps: true, ecn: true, ..Setup::default() };
    let mut world = World::new(setup);
    world.open().unwrap();
    let syn = world.client_sends(world.handshake_ack()).backend_gets();
    assert_eq!(syn.flags, Flags::SYN | Flags::ECE | Flags::CWR);
    world.note_syn(&syn);
    let syn_ack = seg(Flags::SYN_ACK, B, syn.seq.wrapping_add(1)).window(20_000);
    let ack = world.backend_sends(syn_ack).backend_gets();
    assert!(ack.options.is_empty());
    assert_eq!(ack.window, 0xffff, "500 << 8 does not fit a field that is not scaled");
    let counters = world.splice.counters();
    assert_eq!(counters.backend_without_timestamps, 1);
    assert_eq!(counters.backend_without_sack, 1);
    assert_eq!(counters.backend_without_window_scale, 1);
    // Options that the backend did not agree to are blanked, and so is "ECN capable".
    let mut data = seg(Flags::ACK, C1, N + 1).data(b"x").timestamps(105, 7_000).window(2);
    data.options.extend([1, 1, 5, 10, 0, 0, 0x20, 0, 0, 0, 0x21, 0]);
    data.dscp_ecn = 0b10_1010 << 2 | 0b10;
    let passed = world.client_sends(data).backend_gets();
    assert_eq!(passed.options, [1; 24]);
    assert_eq!((passed.window, passed.dscp_ecn), (2 << 8, 0b10_1010 << 2));
    // The client reads windows shifted by 7: 20,000 bytes are 156 units.
    let reply = world.backend_sends(seg(Flags::ACK, B + 1, world.up(1)).window(20_000)).client_gets();
    assert_eq!(reply.window, 156);
}

#[test]
fn pass_through_shows_the_client_the_backends_own_handshake() {
    let setup = Setup { pass_through: true, timestamps: true, ..Setup::default() };
    let mut world = World::new(setup);
    let flow = world.open().unwrap();
    let syn = world.client_sends(world.client_syn()).backend_gets();
    world.note_syn(&syn);
    assert_eq!(world.client_sends(world.client_syn()), Out::Consumed, "our own timer repeats the SYN");
    let syn_ack = world.backend_sends(world.syn_ack(&syn)).client_gets();
    assert_eq!((syn_ack.flags, syn_ack.seq, syn_ack.ack), (Flags::SYN_ACK, B, C1));
    let options = syn_ack.read_options();
    assert_eq!((options.mss, options.window_scale), (Some(1_460), Some(9)));
    assert_eq!(options.timestamps, Some(Timestamps { value: 900_000, echo: 100 }));
    assert!(world.events().iter().all(|event| matches!(event, Event::Opened { .. })));
    assert_eq!(world.splice.counts().half_open, 1);
    let ack = seg(Flags::ACK, C1, B + 1).window(321).timestamps(103, 900_000);
    let ack = world.client_sends(ack).backend_gets();
    assert_eq!((ack.seq, ack.ack, ack.window), (world.up(0), B + 1, 321));
    assert_eq!(ack.read_timestamps(), Timestamps { value: world.our_ts.wrapping_add(3), echo: 900_000 });
    assert!(matches!(world.events()[..], [Event::Established { flow: f, .. }] if f == flow));
    let data = seg(Flags::ACK, B + 1, world.up(0)).data(b"hi").window(77);
    assert_eq!(world.backend_sends(data).client_gets().window, 77, "no shift lies between");
}

#[test]
fn pass_through_repeats_a_lost_syn_ack() {
    let (mut world, answer) = World::connected(Setup { pass_through: true, ..Setup::default() });
    let first = answer.client_gets();
    let syn = world.client_sends(world.client_syn()).backend_gets();
    assert_eq!((syn.flags, syn.seq), (Flags::SYN, world.s));
    assert_eq!(world.backend_sends(world.syn_ack(&syn)).client_gets(), first);
}

#[test]
fn pass_through_sends_the_header_only_after_the_client_has_proved_real() {
    for has_data in [false, true] {
        let setup = Setup { pass_through: true, proxy_protocol: true, ..Setup::default() };
        let (mut world, answer) = World::connected(setup);
        answer.client_gets();
        assert!(world.sent().is_empty());
        world.events();
        let ack = seg(Flags::ACK, C1, B + 1);
        let header = if has_data {
            let data = ack.clone().data(b"GET /");
            assert_eq!(world.client_sends(data.clone()), Out::Hold);
            let header = world.sent_one().backend_gets();
            let released = Event::Release { flow: world.flow };
            assert!(world.events().contains(&released));
            assert_eq!(world.client_sends(data).backend_gets().seq, world.up(0));
            header
        } else {
            world.client_sends(ack).backend_gets()
        };
        assert_eq!((header.seq, header.payload.len()), (world.s.wrapping_add(1), 28));
        assert_eq!(header.ack, B + 1);
    }
}

#[test]
fn pass_through_client_that_never_answers_costs_the_backend_nothing_for_long() {
    let (mut world, _) = World::connected(Setup { pass_through: true, ..Setup::default() });
    world.events();
    world.pass_time(Duration::from_secs(10));
    let reset = world.sent_one().backend_gets();
    assert_eq!((reset.flags, reset.seq), (Flags::RST_ACK, world.s.wrapping_add(1)));
    assert!(matches!(world.events()[..], [Event::Closed { reason: CloseReason::HandshakeTimeout, .. }]));
}

#[test]
fn pass_through_refusal_answers_the_clients_syn() {
    let mut world = World::new(Setup { pass_through: true, ..Setup::default() });
    let flow = world.open().unwrap();
    let syn = world.client_sends(world.client_syn()).backend_gets();
    world.note_syn(&syn);
    world.backend_sends(seg(Flags::RST_ACK, 0, syn.seq.wrapping_add(1)));
    world.splice.abort(flow, world.now);
    let reset = world.sent_one().client_gets();
    assert_eq!((reset.flags, reset.ack), (Flags::RST_ACK, C1), "acceptable in SYN-SENT");
}

#[test]
fn transparent_flow_keeps_the_clients_address_and_numbers() {
    for proxy_protocol in [false, true] {
        let setup = Setup { is_transparent: true, proxy_protocol, timestamps: true, ..Setup::default() };
        let (mut world, _) = World::connected(setup);
        assert_eq!(world.source, world.client);
        assert_eq!(world.our_ts, 100);
        assert_eq!(world.up(0), C1);
        let mut data = seg(Flags::ACK, C1, N + 1).data(b"x").timestamps(105, 7_000);
        data.ttl = 9;
        let passed = world.client_sends(data.clone()).backend_gets();
        assert_eq!((passed.seq, passed.ttl), (C1, 8), "a router decrements");
        data.ttl = 1;
        assert_eq!(world.client_sends(data), Out::Drop(DropReason::HopLimit));
    }
}
