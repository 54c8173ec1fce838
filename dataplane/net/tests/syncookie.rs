//! SYN cookies: what goes in comes out, and nothing else gets in.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use secbeat_net::flow::{Endpoint, FlowKey, HashKey, Protocol};
use secbeat_net::packet::PacketBuf;
use secbeat_net::syncookie::{
    ClientOptions, EPOCH_SECS, KeySchedule, Keys, Offer, SynAck, answer_syn, check, epoch_at, make, mss,
};
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::checksum::{L4Checksum, complete_l4, verify_l4};
use secbeat_net::wire::tcp::{Flags, Options, Repr, Segment, SynOptions, Timestamps};
use secbeat_net::wire::{self, IpVersion, ethernet, ipv4, ipv6, protocol};

const NOW: Instant = Instant::from_millis(123_456_789);

fn schedule() -> KeySchedule {
    KeySchedule::new(HashKey([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]))
}

fn keys() -> Keys {
    schedule().keys(1000)
}

fn flow_v4() -> FlowKey {
    flow(Ipv4Addr::new(198, 51, 100, 7).into(), Ipv4Addr::new(203, 0, 113, 1).into())
}

fn flow_v6() -> FlowKey {
    let addr = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into();
    flow(addr(7), addr(1))
}

fn flow(source: IpAddr, destination: IpAddr) -> FlowKey {
    FlowKey {
        protocol: Protocol::Tcp,
        source: Endpoint { addr: source, port: 40_000 },
        destination: Endpoint { addr: destination, port: 443 },
    }
}

fn syn_options(mss: Option<u16>, scale: Option<u8>, sack: bool, timestamps: bool) -> Options {
    Options {
        mss,
        window_scale: scale,
        sack_permitted: sack,
        timestamps: timestamps.then_some(Timestamps { value: 99, echo: 0 }),
        ..Options::default()
    }
}

fn echo(syn_ack: &SynAck) -> Option<u32> {
    syn_ack.options.timestamps.map(|timestamps| timestamps.value)
}

#[test]
fn every_combination_of_options_comes_back() {
    let offer = Offer::default();
    let mut combinations = 0;
    for (flow, table) in [(flow_v4(), mss::TABLE_V4), (flow_v6(), mss::TABLE_V6)] {
        for mss in table {
            for scale in (0..=14).map(Some).chain([None]) {
                for bits in 0..8 {
                    let (sack, timestamps, ecn) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
                    let options = syn_options(Some(mss), scale, sack, timestamps);
                    let isn = 0x1000 * combinations;
                    let syn_ack = make(&keys(), &flow, isn, &options, ecn, &offer, NOW);
                    let kept = check(&keys(), &flow, isn, syn_ack.isn, echo(&syn_ack));
                    let expected = ClientOptions {
                        mss,
                        window_scale: scale.filter(|_| timestamps),
                        sack_permitted: sack && timestamps,
                        timestamps,
                        ecn: ecn && timestamps,
                    };
                    assert_eq!(kept, Some(expected));
                    assert_eq!(syn_ack.ack, isn.wrapping_add(1));
                    assert_eq!(syn_ack.ecn, expected.ecn);
                    let announced = expected.window_scale.and(offer.window_scale);
                    assert_eq!(syn_ack.options.window_scale, announced);
                    assert_eq!(syn_ack.options.sack_permitted, expected.sack_permitted);
                    combinations += 1;
                }
            }
        }
    }
    assert_eq!(combinations, 2 * 16 * 16 * 8);
}

#[test]
fn nothing_is_promised_that_the_backend_cannot_keep() {
    let options = syn_options(Some(1460), Some(8), true, true);
    let none = Offer { timestamps: false, sack: false, window_scale: None, ecn: false, ..Offer::default() };
    for (offer, timestamps) in [
        (none, false),
        (Offer { timestamps: true, ..none }, true),
        (Offer { timestamps: false, ..Offer::default() }, false),
    ] {
        let syn_ack = make(&keys(), &flow_v4(), 5, &options, true, &offer, NOW);
        let sent = syn_ack.options;
        assert_eq!(sent.timestamps.is_some(), timestamps);
        assert_eq!((sent.window_scale, sent.sack_permitted, syn_ack.ecn), (None, false, false));
        let kept = check(&keys(), &flow_v4(), 5, syn_ack.isn, echo(&syn_ack)).unwrap();
        assert_eq!((kept.window_scale, kept.sack_permitted, kept.ecn), (None, false, false));
    }
}

#[test]
fn missing_mss_means_the_default_of_the_family() {
    for (flow, mss) in [(flow_v4(), 536), (flow_v6(), 1220)] {
        let syn_ack = make(&keys(), &flow, 5, &Options::default(), false, &Offer::default(), NOW);
        assert_eq!(check(&keys(), &flow, 5, syn_ack.isn, None).map(|kept| kept.mss), Some(mss));
        let announced = if flow.source.addr.is_ipv4() { 1460 } else { 1440 };
        assert_eq!(syn_ack.options.mss, Some(announced));
    }
}

#[test]
fn cookie_lives_one_to_two_epochs_and_no_longer() {
    let options = syn_options(Some(1460), Some(7), true, true);
    let syn_ack = make(&keys(), &flow_v4(), 5, &options, false, &Offer::default(), NOW);
    let accepted =
        |epoch| check(&schedule().keys(epoch), &flow_v4(), 5, syn_ack.isn, echo(&syn_ack)).is_some();
    assert!(accepted(1000), "the epoch it was made in");
    assert!(accepted(1001), "the next one: rotation loses no handshake");
    assert!(accepted(999), "the one before: another node's clock is behind");
    for epoch in (0..999).chain(1002..3000) {
        assert!(!accepted(epoch), "epoch {epoch}");
    }
}

#[test]
fn rotation_never_loses_a_handshake_that_takes_less_than_an_epoch() {
    let options = syn_options(Some(1400), Some(7), true, true);
    for start in 0..2 * EPOCH_SECS {
        let made = schedule().keys(epoch_at(start));
        let syn_ack = make(&made, &flow_v6(), 77, &options, true, &Offer::default(), NOW);
        for delay in 0..=EPOCH_SECS {
            let later = schedule().keys(epoch_at(start + delay));
            let kept = check(&later, &flow_v6(), 77, syn_ack.isn, echo(&syn_ack));
            assert!(kept.is_some(), "made at {start} s, acknowledged {delay} s later");
        }
    }
}

#[test]
fn nodes_that_share_a_secret_accept_each_others_cookies() {
    let secret = b"7f4a0c5d2e9b81637f4a0c5d2e9b8163";
    let (ours, theirs) =
        (KeySchedule::from_secret(secret).unwrap(), KeySchedule::from_secret(secret).unwrap());
    let stranger = KeySchedule::from_secret(b"8f4a0c5d2e9b81637f4a0c5d2e9b8163").unwrap();
    let options = syn_options(Some(1460), None, false, false);
    let mut strangers = 0;
    for isn in 0..1000 {
        let syn_ack = make(&ours.keys(50), &flow_v4(), isn, &options, false, &Offer::default(), NOW);
        assert!(check(&theirs.keys(51), &flow_v4(), isn, syn_ack.isn, None).is_some());
        strangers += u32::from(check(&stranger.keys(50), &flow_v4(), isn, syn_ack.isn, None).is_some());
    }
    assert_eq!(strangers, 0);
}

#[test]
fn cookie_of_another_connection_is_refused() {
    let options = syn_options(Some(1460), Some(7), true, true);
    for flow in [flow_v4(), flow_v6()] {
        let syn_ack = make(&keys(), &flow, 5, &options, false, &Offer::default(), NOW);
        let refused = |flow: &FlowKey, isn, cookie, echo| check(&keys(), flow, isn, cookie, echo).is_none();
        let mut other = flow;
        other.source.port += 1;
        assert!(refused(&other, 5, syn_ack.isn, echo(&syn_ack)), "another source port");
        other = flow;
        other.destination.port += 1;
        assert!(refused(&other, 5, syn_ack.isn, echo(&syn_ack)), "another destination port");
        other = flow;
        other.source.addr = flow.destination.addr;
        assert!(refused(&other, 5, syn_ack.isn, echo(&syn_ack)), "another source");
        assert!(refused(&flow, 6, syn_ack.isn, echo(&syn_ack)), "another client ISN");
        assert!(refused(&flow, 5, syn_ack.isn, None), "timestamps left out");
        assert!(refused(&flow, 5, syn_ack.isn.wrapping_add(1), echo(&syn_ack)), "another ACK");
    }
}

#[test]
fn every_bit_of_the_cookie_and_of_the_kept_options_is_under_the_mac() {
    for flow in [flow_v4(), flow_v6()] {
        let options = syn_options(Some(1460), Some(7), true, true);
        let syn_ack = make(&keys(), &flow, 5, &options, false, &Offer::default(), NOW);
        for bit in 0..32 {
            let cookie = syn_ack.isn ^ 1 << bit;
            assert!(check(&keys(), &flow, 5, cookie, echo(&syn_ack)).is_none(), "cookie bit {bit}");
        }
        for bit in 0..6 {
            let echo = echo(&syn_ack).map(|echo| echo ^ 1 << bit);
            assert!(check(&keys(), &flow, 5, syn_ack.isn, echo).is_none(), "timestamp bit {bit}");
        }
    }
}

/// SplitMix64: a deterministic stream of numbers.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[test]
fn ten_million_forged_acks_pass_no_more_often_than_designed() {
    // A random ACK passes with probability 3/4 * 2^-26: 0.11 of ten million are expected. Required is at most
    // 2^-22, which is 2.4 of ten million. The numbers are the same in every run.
    let keys = keys();
    let mut state = 1;
    let mut accepted = 0;
    for attempt in 0..10_000_000u32 {
        let (a, b, c) = (next_random(&mut state), next_random(&mut state), next_random(&mut state));
        let mut flow = flow_v4();
        flow.source.addr = Ipv4Addr::from(a as u32).into();
        flow.source.port = (a >> 32) as u16;
        let echo = (attempt % 2 == 0).then_some(c as u32);
        accepted += u32::from(check(&keys, &flow, b as u32, (b >> 32) as u32, echo).is_some());
    }
    assert!(accepted <= 2, "{accepted} forged ACKs accepted");
}

#[test]
fn forger_who_knows_the_format_gains_nothing_on_the_mac() {
    // Two million cookies with a live epoch and a common MSS, only the 26 bits of the MAC guessed: expected 0.03.
    let keys = keys();
    let options = syn_options(Some(1460), Some(7), true, true);
    let mut state = 2;
    let mut accepted = 0;
    for _ in 0..2_000_000u32 {
        let (a, b) = (next_random(&mut state), next_random(&mut state));
        let mut flow = flow_v6();
        flow.source.port = a as u16;
        // The upper six bits of a real cookie for this client ISN are known to whoever knows the format.
        let top = make(&keys, &flow, b as u32, &options, false, &Offer::default(), NOW).isn & 0xfc00_0000;
        let guess = top | (a >> 32) as u32 & 0x03ff_ffff;
        let real = make(&keys, &flow, b as u32, &options, false, &Offer::default(), NOW);
        if guess != real.isn {
            accepted += u32::from(check(&keys, &flow, b as u32, guess, echo(&real)).is_some());
        }
    }
    assert_eq!(accepted, 0, "only the real cookie of an epoch and MSS passes");
}

#[test]
fn sequence_numbers_and_clocks_of_different_clients_are_unrelated() {
    let options = syn_options(Some(1460), Some(7), true, true);
    let mut ones = [0u32; 32];
    let mut offsets = std::collections::BTreeSet::new();
    let count = 4096;
    let mut state = 3;
    for _ in 0..count {
        let mut flow = flow_v4();
        let random = next_random(&mut state);
        flow.source.port = random as u16;
        let syn_ack = make(&keys(), &flow, (random >> 32) as u32, &options, false, &Offer::default(), NOW);
        for (bit, ones) in ones.iter_mut().enumerate() {
            *ones += syn_ack.isn >> bit & 1;
        }
        offsets.insert(echo(&syn_ack).unwrap() >> 6);
    }
    for (bit, ones) in ones.iter().enumerate() {
        // Ten standard deviations of a fair coin are 320.
        assert!((count / 2 - 320..count / 2 + 320).contains(&(*ones as i32)), "bit {bit}: {ones} ones");
    }
    assert!(offsets.len() > 4000, "the clock is shifted differently for each client");
}

#[test]
fn our_clock_runs_in_milliseconds_for_one_client() {
    let options = syn_options(Some(1460), Some(7), true, true);
    let value = |millis| {
        let now = NOW + core::time::Duration::from_millis(millis);
        echo(&make(&keys(), &flow_v4(), 5, &options, false, &Offer::default(), now)).unwrap()
    };
    let elapsed = value(6400).wrapping_sub(value(0));
    assert_eq!(elapsed, 6400);
    assert_eq!(value(0) & 0x3f, 7 | 1 << 4);
}

/// A SYN as a whole frame with a right checksum, for tests of the answer.
fn syn_frame(flow: &FlowKey, vlan_tags: &[u16], ip_options: bool, payload: &[u8], flags: Flags) -> Vec<u8> {
    let mut options = [0; 40];
    let timestamps = Some(Timestamps { value: 0x0a0b_0c0d, echo: 0 });
    let syn = SynOptions { mss: Some(1460), window_scale: Some(9), sack_permitted: true, timestamps };
    let options_len = syn.emit(&mut options);
    let mut tcp = vec![0; 60];
    let header = Repr {
        source_port: flow.source.port,
        destination_port: flow.destination.port,
        seq: 0xfffffff0,
        ack: 0,
        flags,
        window: 64_240,
    };
    let header_len = header.emit(&mut tcp, &options[..options_len]).unwrap();
    tcp.truncate(header_len);
    tcp.extend_from_slice(payload);
    let mut frame = vec![2, 0, 0, 0, 0, 0xaa, 2, 0, 0, 0, 0, 0xbb];
    for tag in vlan_tags {
        frame.extend_from_slice(&[0x81, 0x00]);
        frame.extend_from_slice(&tag.to_be_bytes());
    }
    match (flow.source.addr, flow.destination.addr) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend_from_slice(&[8, 0]);
            let at = frame.len();
            frame.resize(at + 20, 0);
            let extra: &[u8] = if ip_options { &[1, 1, 1, 0] } else { &[] };
            let repr = ipv4::Repr {
                source,
                destination,
                protocol: protocol::TCP,
                payload_len: (tcp.len() + extra.len()) as u16,
                ttl: 17,
                dscp_ecn: 0x88,
                ident: 9,
                dont_fragment: false,
            };
            repr.emit(&mut frame[at..]).unwrap();
            frame.extend_from_slice(extra);
            frame[at] += extra.len() as u8 / 4;
            ipv4::Packet::new_checked(&mut frame[at..]).unwrap().fill_checksum();
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend_from_slice(&[0x86, 0xdd]);
            let at = frame.len();
            frame.resize(at + 40, 0);
            let extra: &[u8] = if ip_options { &[protocol::TCP, 0, 1, 4, 0, 0, 0, 0] } else { &[] };
            let repr = ipv6::Repr {
                source,
                destination,
                next_header: if ip_options { 60 } else { protocol::TCP },
                payload_len: (tcp.len() + extra.len()) as u16,
                hop_limit: 17,
                traffic_class: 0x88,
                flow_label: 0x12345,
            };
            repr.emit(&mut frame[at..]).unwrap();
            frame.extend_from_slice(extra);
        }
        _ => unreachable!("a flow has one family"),
    }
    frame.extend_from_slice(&tcp);
    let headers = wire::parse(&frame).unwrap();
    assert!(complete_l4(&headers, &mut frame));
    frame
}

fn answer(frame: &[u8], headroom: usize, room: usize) -> Result<Vec<u8>, DropReason> {
    let mut memory = vec![0xee; headroom + frame.len() + room];
    memory[headroom..headroom + frame.len()].copy_from_slice(frame);
    let mut packet = PacketBuf::new(&mut memory, headroom, frame.len());
    let headers = wire::parse(packet.bytes()).unwrap();
    answer_syn(&mut packet, &headers, &keys(), &Offer::default(), NOW)?;
    Ok(packet.bytes().to_vec())
}

#[test]
fn syn_with_payload_is_answered_without_state() {
    for (flow, tags, ip_options) in [
        (flow_v4(), &[][..], false),
        (flow_v4(), &[0x0123, 0x0456][..], true),
        (flow_v6(), &[0x0123][..], false),
        (flow_v6(), &[][..], true),
    ] {
        let frame = syn_frame(&flow, tags, ip_options, b"early data", Flags::SYN | Flags::ECE | Flags::CWR);
        let reply = answer(&frame, 0, 0).unwrap();
        let headers = wire::parse(&reply).unwrap();
        assert_eq!(verify_l4(&headers, &reply), L4Checksum::Valid);
        assert_eq!(headers.flow_key(), Some(flow.reversed()));
        assert_eq!((headers.hop_limit, headers.dscp_ecn, headers.end), (64, 0, reply.len()));
        assert_eq!(headers.tcp_flags, Flags::SYN_ACK | Flags::ECE);
        let ip_len = if headers.version == IpVersion::V4 { 20 } else { 40 };
        assert_eq!(headers.l4 - headers.link_len, ip_len, "options and extension headers are gone");
        assert_eq!(headers.link_len, ethernet::HEADER_BYTES + 4 * tags.len());
        assert_eq!(reply[12..headers.link_len], frame[12..headers.link_len], "VLAN tags are kept");
        assert_eq!(ethernet::destination(&reply), ethernet::source(&frame));
        assert_eq!(ethernet::source(&reply), ethernet::destination(&frame));
        let segment = Segment::new_checked(&reply[headers.l4..headers.end]).unwrap();
        assert_eq!(segment.ack(), 0xffff_fff1, "the payload is not acknowledged");
        assert_eq!(segment.payload(), b"");
        let options = segment.options().unwrap();
        let timestamps = options.timestamps.unwrap();
        assert_eq!(timestamps.echo, 0x0a0b_0c0d);
        assert_eq!(options.window_scale, Some(7));
        let kept = check(&keys(), &flow, 0xffff_fff0, segment.seq(), Some(timestamps.value)).unwrap();
        let expected = ClientOptions {
            mss: if headers.version == IpVersion::V4 { 1460 } else { 1440 },
            window_scale: Some(9),
            sack_permitted: true,
            timestamps: true,
            ecn: true,
        };
        assert_eq!(kept, expected);
    }
}

#[test]
fn syn_without_options_needs_more_room_than_it_took() {
    let mut frame = syn_frame(&flow_v4(), &[], false, b"", Flags::SYN);
    // Cut the options off: the SYN-ACK carries an MSS of its own and is four bytes longer.
    frame.truncate(54);
    frame[46] = 0x50;
    let mut packet = ipv4::Packet::new_checked(&mut frame[14..]).unwrap();
    packet.set_total_len(40);
    assert_eq!(answer(&frame, 8, 3), Err(DropReason::NoFrame));
    let reply = answer(&frame, 8, 4).unwrap();
    let headers = wire::parse(&reply).unwrap();
    let segment = Segment::new_checked(&reply[headers.l4..headers.end]).unwrap();
    assert_eq!(segment.option_bytes(), [2, 4, 5, 0xb4]);
    assert_eq!(check(&keys(), &flow_v4(), 0xffff_fff0, segment.seq(), None).unwrap().mss, 536);
}

#[test]
fn only_a_syn_is_answered() {
    for flags in [Flags::ACK, Flags::SYN_ACK, Flags::SYN | Flags::RST, Flags::SYN | Flags::FIN, Flags::RST] {
        let frame = syn_frame(&flow_v4(), &[], false, b"", flags);
        assert_eq!(answer(&frame, 0, 0), Err(DropReason::NoFlow), "{flags:?}");
    }
}

proptest! {
    #[test]
    fn any_syn_that_is_answered_checks_out(
        isn: u32,
        mss in proptest::option::of(any::<u16>()),
        scale in proptest::option::of(0u8..=14),
        bits in 0u8..8,
        epoch: u32,
        ports: (u16, u16),
        source: [u8; 4],
        millis in 0u64..1 << 44,
    ) {
        let mut flow = flow_v4();
        flow.source = Endpoint { addr: source.into(), port: ports.0 };
        flow.destination.port = ports.1;
        let keys = schedule().keys(epoch);
        let options = syn_options(mss, scale, bits & 1 != 0, bits & 2 != 0);
        let now = Instant::from_millis(millis);
        let syn_ack = make(&keys, &flow, isn, &options, bits & 4 != 0, &Offer::default(), now);
        let kept = check(&keys, &flow, isn, syn_ack.isn, echo(&syn_ack));
        prop_assert!(kept.is_some());
        let announced = mss.unwrap_or(536).max(mss::TABLE_V4[0]);
        prop_assert!(kept.is_some_and(|kept| kept.mss <= announced));
        let next = schedule().keys(epoch.wrapping_add(1));
        prop_assert_eq!(check(&next, &flow, isn, syn_ack.isn, echo(&syn_ack)), kept);
    }
}
