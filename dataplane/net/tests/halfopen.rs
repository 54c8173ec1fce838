//! The half-open table: handshakes kept in memory, answered again, given up and evicted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use secbeat_net::flow::HashKey;
use secbeat_net::halfopen::{AckVerdict, HalfOpen, HalfOpenKeys, SynIngress, TIMEOUTS};
use secbeat_net::link::PortId;
use secbeat_net::packet::PacketBuf;
use secbeat_net::syncookie::Offer;
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::checksum::{L4Checksum, complete_l4, verify_l4};
use secbeat_net::wire::tcp::{Flags, Repr, Segment, SynOptions, Timestamps};
use secbeat_net::wire::{self, Headers, ethernet, ipv4, protocol};

const CLIENT_ISN: u32 = 0xffff_fff0;
const INGRESS: SynIngress = SynIngress { port: PortId(3), mtu: 1500, listener: 2 };

fn table(capacity: u32) -> HalfOpen {
    HalfOpen::new(capacity, HalfOpenKeys { table: HashKey([1, 2]), isn: HashKey([3, 4]) })
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(100_000 + millis)
}

/// A segment of client `client` (its port) with the given header and options.
fn segment(client: u16, header: Repr, options: SynOptions, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [0; 40];
    let len = options.emit(&mut bytes);
    let mut tcp = vec![0; 20 + len];
    let header = Repr { source_port: client, destination_port: 443, ..header };
    header.emit(&mut tcp, &bytes[..len]).unwrap();
    tcp.extend_from_slice(payload);
    let mut frame = vec![0; 34];
    let (a, b) = (ethernet::MacAddr([2, 0, 0, 0, 0, 1]), ethernet::MacAddr([2, 0, 0, 0, 0, 2]));
    ethernet::emit(&mut frame, a, b, ethernet::ether_type::IPV4).unwrap();
    let ip = ipv4::Repr {
        source: Ipv4Addr::new(192, 0, 2, 9),
        destination: Ipv4Addr::new(203, 0, 113, 1),
        protocol: protocol::TCP,
        payload_len: tcp.len() as u16,
        ttl: 60,
        dscp_ecn: 0,
        ident: 0,
        dont_fragment: true,
    };
    ip.emit(&mut frame[14..]).unwrap();
    frame.extend_from_slice(&tcp);
    let headers = wire::parse(&frame).unwrap();
    assert!(complete_l4(&headers, &mut frame));
    frame
}

fn syn_options(value: u32) -> SynOptions {
    SynOptions {
        mss: Some(1399),
        window_scale: Some(9),
        sack_permitted: true,
        timestamps: Some(Timestamps { value, echo: 0 }),
    }
}

fn syn(client: u16, seq: u32, value: u32) -> Vec<u8> {
    let header = Repr { source_port: 0, destination_port: 0, seq, ack: 0, flags: Flags::SYN, window: 64_240 };
    segment(client, header, syn_options(value), b"")
}

fn ack(client: u16, seq: u32, ack: u32, timestamps: Option<Timestamps>, payload: &[u8]) -> Vec<u8> {
    let header = Repr { source_port: 0, destination_port: 0, seq, ack, flags: Flags::ACK, window: 500 };
    segment(client, header, SynOptions { timestamps, ..SynOptions::default() }, payload)
}

/// Gives a SYN to the table and returns the SYN-ACK frame.
fn answer(table: &mut HalfOpen, frame: &[u8], now: Instant) -> Result<Vec<u8>, DropReason> {
    let mut memory = vec![0xee; 512];
    memory[64..64 + frame.len()].copy_from_slice(frame);
    let mut packet = PacketBuf::new(&mut memory, 64, frame.len());
    let headers = wire::parse(packet.bytes()).unwrap();
    table.handle_syn(&mut packet, &headers, INGRESS, &Offer::default(), now)?;
    Ok(packet.bytes().to_vec())
}

fn transmitted(table: &mut HalfOpen, now: Instant) -> Option<Vec<u8>> {
    let mut memory = [0xee; 256];
    let mut packet = PacketBuf::new(&mut memory, 64, 0);
    let port = table.poll_transmit(&mut packet, now)?;
    assert_eq!(port, PortId(3));
    Some(packet.bytes().to_vec())
}

fn parsed(frame: &[u8]) -> (Headers, Segment<&[u8]>) {
    let headers = wire::parse(frame).unwrap();
    assert_eq!(verify_l4(&headers, frame), L4Checksum::Valid);
    (headers, Segment::new_checked(&frame[headers.l4..headers.end]).unwrap())
}

fn give_ack(table: &mut HalfOpen, frame: &[u8]) -> AckVerdict {
    let (headers, segment) = parsed(frame);
    table.handle_ack(&headers, &segment)
}

fn timestamps_of(frame: &[u8]) -> Timestamps {
    parsed(frame).1.options().unwrap().timestamps.unwrap()
}

#[test]
fn handshake_keeps_the_options_exactly() {
    let mut table = table(10);
    let reply = answer(&mut table, &syn(5000, CLIENT_ISN, 77), at(0)).unwrap();
    let (headers, segment) = parsed(&reply);
    assert_eq!((headers.source, headers.destination_port), (IpAddr::from([203, 0, 113, 1]), 5000));
    assert_eq!(headers.tcp_flags, Flags::SYN_ACK);
    assert_eq!(segment.ack(), CLIENT_ISN.wrapping_add(1));
    let ours = timestamps_of(&reply);
    assert_eq!(ours.echo, 77);
    assert_eq!((table.len(), table.of_listener(2), table.of_listener(1)), (1, 1, 0));

    let echo = Some(Timestamps { value: 90, echo: ours.value });
    let isn = segment.seq();
    let first_data = ack(5000, CLIENT_ISN.wrapping_add(1), isn.wrapping_add(1), echo, b"GET /");
    let AckVerdict::Accepted(accepted) = give_ack(&mut table, &first_data) else { panic!("not accepted") };
    assert_eq!((accepted.listener, accepted.client_isn, accepted.isn), (2, CLIENT_ISN, isn));
    assert_eq!((accepted.options.mss, accepted.options.window_scale), (1399, Some(9)));
    assert!(accepted.options.sack_permitted && accepted.options.timestamps && !accepted.options.ecn);
    assert_eq!((accepted.window, accepted.window_scale), (segment.window(), Some(7)));
    assert_eq!(accepted.timestamps, echo);
    assert!(table.is_empty());
    assert_eq!(table.of_listener(2), 0);
    assert_eq!(give_ack(&mut table, &first_data), AckVerdict::Miss, "the flow is somebody else's now");
}

#[test]
fn repeated_syn_is_answered_as_the_first_time() {
    let mut table = table(10);
    let first = answer(&mut table, &syn(5000, CLIENT_ISN, 77), at(0)).unwrap();
    let again = answer(&mut table, &syn(5000, CLIENT_ISN, 1077), at(1000)).unwrap();
    assert_eq!(parsed(&first).1.seq(), parsed(&again).1.seq());
    assert_eq!(timestamps_of(&again).value.wrapping_sub(timestamps_of(&first).value), 1000);
    assert_eq!(timestamps_of(&again).echo, 1077, "the client measures the last round trip");
    assert_eq!((table.len(), table.counters().opened, table.counters().repeated_syns), (1, 1, 1));
}

#[test]
fn syn_with_another_number_is_answered_for_the_old_one_until_the_client_resets_it() {
    let mut table = table(10);
    answer(&mut table, &syn(5000, CLIENT_ISN, 77), at(0)).unwrap();
    let challenge = answer(&mut table, &syn(5000, 9, 77), at(10)).unwrap();
    assert_eq!(parsed(&challenge).1.ack(), CLIENT_ISN.wrapping_add(1));
    let (headers, _) = parsed(&challenge);
    let client = Headers {
        source: headers.destination,
        destination: headers.source,
        source_port: headers.destination_port,
        destination_port: headers.source_port,
        ..headers
    };
    assert!(!table.handle_rst(&client, CLIENT_ISN), "a RST that is only near does nothing");
    assert!(table.handle_rst(&client, CLIENT_ISN.wrapping_add(1)));
    assert!(!table.handle_rst(&client, CLIENT_ISN.wrapping_add(1)));
    assert!(table.is_empty());
    let fresh = answer(&mut table, &syn(5000, 9, 77), at(20)).unwrap();
    assert_eq!(parsed(&fresh).1.ack(), 10);
}

#[test]
fn wrong_acks_do_not_complete_a_handshake() {
    let mut table = table(10);
    let reply = answer(&mut table, &syn(5000, 1000, 77), at(0)).unwrap();
    let (isn, window) = (parsed(&reply).1.seq(), u32::from(parsed(&reply).1.window()));
    let echo = Some(Timestamps { value: 90, echo: timestamps_of(&reply).value });
    let next = isn.wrapping_add(1);
    for (frame, reason) in [
        (ack(5000, 1000, next, echo, b""), DropReason::OutOfWindow),
        (ack(5000, 1001 + window, next, echo, b""), DropReason::OutOfWindow),
        (ack(5000, 1001, next, None, b""), DropReason::Malformed),
    ] {
        assert_eq!(give_ack(&mut table, &frame), AckVerdict::Drop(reason));
    }
    for wrong in [isn, isn.wrapping_add(2)] {
        assert_eq!(
            give_ack(&mut table, &ack(5000, 1001, wrong, echo, b"")),
            AckVerdict::Miss,
            "perhaps a cookie"
        );
    }
    assert_eq!(give_ack(&mut table, &ack(5001, 1001, next, echo, b"")), AckVerdict::Miss);
    // Data that overtook the ACK: inside the window.
    let overtaking = ack(5000, 1000 + window, next, echo, b"late");
    assert!(matches!(give_ack(&mut table, &overtaking), AckVerdict::Accepted(_)));
}

#[test]
fn client_that_acknowledged_a_cookie_instead_is_forgotten() {
    let mut table = table(10);
    let frame = syn(5000, CLIENT_ISN, 77);
    answer(&mut table, &frame, at(0)).unwrap();
    let flow = parsed(&frame).0.flow_key().unwrap();
    table.forget(&flow);
    table.forget(&flow);
    assert!(table.is_empty() && !table.contains(&flow));
    assert_eq!((table.of_listener(2), table.counters().forgotten), (0, 1));
    assert_eq!(transmitted(&mut table, at(60_000)), None);
}

#[test]
fn syn_ack_is_sent_again_after_1_2_and_4_seconds_and_forgotten_8_later() {
    let mut table = table(10);
    assert_eq!(table.poll_timeout(), None);
    let first = answer(&mut table, &syn(5000, CLIENT_ISN, 77), at(0)).unwrap();
    for (repetition, due) in [1000, 3000, 7000].into_iter().enumerate() {
        assert_eq!(table.poll_timeout(), Some(at(due)));
        assert_eq!(transmitted(&mut table, at(due - 1)), None);
        let again = transmitted(&mut table, at(due)).unwrap();
        assert_eq!(transmitted(&mut table, at(due)), None);
        assert_eq!(table.handle_timeout(at(due), 10), 0);
        // The same frame but for the clock and the checksum.
        assert_eq!(again[..34], first[..34]);
        assert_eq!(parsed(&again).1.seq(), parsed(&first).1.seq());
        let elapsed = timestamps_of(&again).value.wrapping_sub(timestamps_of(&first).value);
        assert_eq!(u64::from(elapsed), due);
        assert_eq!(table.counters().retransmitted, repetition as u64 + 1);
    }
    assert_eq!(table.poll_timeout(), Some(at(15_000)));
    assert_eq!(transmitted(&mut table, at(15_000)), None);
    assert_eq!(table.handle_timeout(at(14_999), 10), 0);
    assert_eq!(table.handle_timeout(at(15_000), 10), 1);
    assert!(table.is_empty() && table.poll_timeout().is_none());
    assert_eq!(TIMEOUTS.iter().sum::<Duration>(), Duration::from_secs(15));
}

#[test]
fn full_table_of_young_entries_refuses_and_of_old_ones_evicts() {
    let mut table = table(4);
    for client in 1..=4 {
        answer(&mut table, &syn(client, 1, 1), at(u64::from(client))).unwrap();
    }
    assert_eq!(answer(&mut table, &syn(5, 1, 1), at(500)), Err(DropReason::BacklogFull));
    assert_eq!(table.counters().refused, 1);
    // Clients 1 and 2 get their SYN-ACK again; then 1, and no other, makes room.
    assert!(transmitted(&mut table, at(1002)).is_some());
    assert!(transmitted(&mut table, at(1002)).is_some());
    assert!(answer(&mut table, &syn(5, 1, 1), at(1002)).is_ok());
    assert_eq!((table.len(), table.counters().evicted), (4, 1));
    let known = |table: &HalfOpen, client| {
        let frame = syn(client, 1, 1);
        table.contains(&parsed(&frame).0.flow_key().unwrap())
    };
    assert_eq!([1, 2, 3, 4, 5].map(|client| known(&table, client)), [false, true, true, true, true]);
}

#[test]
fn table_with_no_room_at_all_refuses_everything() {
    let mut table = table(0);
    assert_eq!(answer(&mut table, &syn(1, 1, 1), at(0)), Err(DropReason::BacklogFull));
    assert_eq!(table.poll_timeout(), None);
}

#[test]
fn initial_sequence_numbers_follow_a_clock_per_connection_and_differ_between_them() {
    let isn = |client, millis| {
        let mut table = table(1);
        parsed(&answer(&mut table, &syn(client, 1, 1), at(millis)).unwrap()).1.seq()
    };
    assert_eq!(isn(1, 1000).wrapping_sub(isn(1, 0)), 250_000, "RFC 6528: one step per 4 us");
    assert!(isn(2, 0).wrapping_sub(isn(1, 0)) > 1_000_000);
}

#[test]
fn a_long_mixed_life_leaves_nothing_behind() {
    let mut table = table(110);
    let mut state = 7u64;
    let mut random = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut answers = std::collections::HashMap::new();
    for step in 0..20_000u64 {
        let now = at(step * 5);
        let client = random(200) as u16;
        match random(4) {
            0 | 1 => {
                if let Ok(reply) = answer(&mut table, &syn(client, 50, 1), now) {
                    answers.insert(client, (parsed(&reply).1.seq(), timestamps_of(&reply).value));
                }
            }
            2 => {
                if let Some((isn, value)) = answers.remove(&client) {
                    let echo = Some(Timestamps { value: 2, echo: value });
                    let _ = give_ack(&mut table, &ack(client, 51, isn.wrapping_add(1), echo, b""));
                }
            }
            _ => {
                while transmitted(&mut table, now).is_some() {}
                table.handle_timeout(now, 1000);
            }
        }
        assert_eq!(table.len(), table.of_listener(2));
        assert!(table.len() <= 110);
    }
    for step in 1..=5 {
        let now = at(20_000 * 5 + step * 10_000);
        while transmitted(&mut table, now).is_some() {}
        table.handle_timeout(now, 1000);
    }
    let counters = *table.counters();
    assert!(table.is_empty());
    assert_eq!(counters.opened, counters.accepted + counters.expired + counters.evicted + counters.reset);
    assert!(counters.accepted > 100 && counters.expired > 100 && counters.evicted > 100, "{counters:?}");
}
