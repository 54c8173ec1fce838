//! Pieces in, packets out; packets in, pieces out.

use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::wire::{self, ipv4, protocol};

const MILLIS: fn(u64) -> Duration = Duration::from_millis;

fn limits() -> FragmentLimits {
    FragmentLimits {
        datagrams_max: 4,
        per_source_max: 3,
        bytes_max: 64 << 10,
        timeout: Duration::from_secs(10),
    }
}

fn reassembler(limits: FragmentLimits) -> Reassembler {
    Reassembler::new(limits, HashKey([7, 9]))
}

/// A whole UDP packet in a frame, with a right checksum.
fn packet(v6: bool, source: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x11; 12];
    let len = payload.len() as u16 + 8;
    if v6 {
        frame.extend([0x86, 0xdd]);
        frame.resize(54, 0);
        let repr = ipv6::Repr {
            source: [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(source)].into(),
            destination: [0xfd00, 0, 0, 0, 0, 0, 1, 1].into(),
            next_header: protocol::UDP,
            payload_len: len,
            hop_limit: 9,
            traffic_class: 0,
            flow_label: 0,
        };
        repr.emit(&mut frame[14..]).unwrap();
    } else {
        frame.extend([8, 0]);
        frame.resize(34, 0);
        let repr = ipv4::Repr {
            source: [10, 0, 0, source].into(),
            destination: [10, 0, 1, 1].into(),
            protocol: protocol::UDP,
            payload_len: len,
            ttl: 9,
            dscp_ecn: 0,
            ident: 0,
            dont_fragment: false,
        };
        repr.emit(&mut frame[14..]).unwrap();
    }
    let at = frame.len();
    frame.resize(at + 8, 0);
    wire::udp::emit(&mut frame[at..], 53, 4_000, payload.len() as u16).unwrap();
    frame.extend(payload);
    let headers = wire::parse(&frame).unwrap();
    assert!(wire::checksum::complete_l4(&headers, &mut frame));
    frame
}

/// The pieces of a packet for a link of this MTU.
fn pieces(frame: &[u8], mtu: u16, ident: u32) -> Vec<Vec<u8>> {
    let mut split = Split::new(frame, mtu, ident).unwrap();
    let mut memory = vec![0; 10_000];
    let mut pieces = Vec::new();
    loop {
        let mut out = PacketBuf::new(&mut memory, 64, 0);
        if split.poll_piece(&mut out).is_none() {
            return pieces;
        }
        let headers = wire::parse(out.bytes()).unwrap();
        assert!(headers.packet_len() <= usize::from(mtu));
        pieces.push(out.bytes().to_vec());
    }
}

fn feed(reassembler: &mut Reassembler, piece: &[u8], now: Instant) -> Result<Option<Vec<u8>>, DropReason> {
    let headers = wire::parse(piece).unwrap();
    let mut memory = vec![0; FRAME_BYTES_MAX + 128];
    let mut out = PacketBuf::new(&mut memory, 128, 0);
    let is_whole = reassembler.handle(piece, &headers, &mut out, now);
    reassembler.check();
    Ok(is_whole?.then(|| out.bytes().to_vec()))
}

/// The datagram of a result; that it is the one of `whole` says little in a failure, as little as it is long.
fn is_same(got: Result<Option<Vec<u8>>, DropReason>, whole: &[u8]) -> bool {
    let Ok(Some(got)) = got else { return false };
    let (a, b) = (wire::parse(&got).unwrap(), wire::parse(whole).unwrap());
    assert_eq!(wire::checksum::verify_l4(&a, &got), wire::checksum::L4Checksum::Valid);
    (a.source, a.destination, a.hop_limit) == (b.source, b.destination, b.hop_limit)
        && got[..a.link_len] == whole[..b.link_len]
        && got[a.l4..] == whole[b.l4..]
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|index| ((index * 7) >> 3) as u8).collect()
}

#[test]
fn packet_cut_and_put_together_is_the_same() {
    for v6 in [false, true] {
        for len in [1_500, 9_000, 65_000] {
            let mut reassembler = reassembler(FragmentLimits { bytes_max: 128 << 10, ..limits() });
            let whole = packet(v6, 1, &bytes(len));
            let mut pieces = pieces(&whole, 1_500, 5);
            let last = pieces.pop().unwrap();
            for piece in &pieces {
                assert_eq!(feed(&mut reassembler, piece, Instant::ZERO), Ok(None));
            }
            assert!(is_same(feed(&mut reassembler, &last, Instant::ZERO), &whole));
            assert!(reassembler.is_empty());
            assert_eq!(reassembler.counters().completed, 1);
        }
    }
}

#[test]
fn overlap_voids_the_datagram_and_what_follows_of_it() {
    for v6 in [false, true] {
        let mut reassembler = reassembler(limits());
        let whole = packet(v6, 1, &bytes(3_000));
        let fine = pieces(&whole, 1_500, 5);
        let shifted = pieces(&whole, 1_300, 5);
        assert_eq!(feed(&mut reassembler, &fine[0], Instant::ZERO), Ok(None));
        assert_eq!(feed(&mut reassembler, &shifted[1], Instant::ZERO), Err(DropReason::Fragment));
        for piece in &fine {
            assert_eq!(feed(&mut reassembler, piece, Instant::ZERO), Err(DropReason::Fragment));
        }
        assert_eq!(reassembler.counters().voided, 1);
        // After its time the identification is free again.
        let later = Instant::ZERO + Duration::from_secs(10);
        assert_eq!(feed(&mut reassembler, &fine[0], later), Ok(None));
    }
}

#[test]
fn exact_duplicate_is_dropped_without_harm() {
    let mut reassembler = reassembler(limits());
    let whole = packet(false, 1, &bytes(3_000));
    let pieces = pieces(&whole, 1_500, 5);
    assert_eq!(feed(&mut reassembler, &pieces[0], Instant::ZERO), Ok(None));
    assert_eq!(feed(&mut reassembler, &pieces[0], Instant::ZERO), Err(DropReason::Fragment));
    assert_eq!(feed(&mut reassembler, &pieces[2], Instant::ZERO), Ok(None));
    assert!(is_same(feed(&mut reassembler, &pieces[1], Instant::ZERO), &whole));
}

#[test]
fn pieces_that_contradict_the_end_void_the_datagram() {
    let mut reassembler = reassembler(limits());
    let long = pieces(&packet(false, 1, &bytes(3_000)), 1_500, 5);
    let short = pieces(&packet(false, 1, &bytes(1_600)), 1_500, 5);
    assert_eq!(feed(&mut reassembler, &short[1], Instant::ZERO), Ok(None));
    assert_eq!(feed(&mut reassembler, &long[2], Instant::ZERO), Err(DropReason::Fragment), "two ends");
    let mut reassembler = self::reassembler(limits());
    assert_eq!(feed(&mut reassembler, &short[1], Instant::ZERO), Ok(None));
    assert_eq!(feed(&mut reassembler, &long[1], Instant::ZERO), Err(DropReason::Fragment), "beyond the end");
}

#[test]
fn unfinished_datagram_is_forgotten_after_its_time() {
    let mut reassembler = reassembler(limits());
    let pieces = pieces(&packet(false, 1, &bytes(3_000)), 1_500, 5);
    let start = Instant::from_millis(777);
    feed(&mut reassembler, &pieces[0], start).unwrap();
    assert_eq!(reassembler.poll_timeout(), Some(start + MILLIS(10_000)));
    assert_eq!(reassembler.handle_timeout(start + MILLIS(9_999), 8), 0);
    assert_eq!(reassembler.handle_timeout(start + MILLIS(10_000), 8), 1);
    assert!(reassembler.is_empty());
    assert_eq!(reassembler.counters().expired, 1);
}

#[test]
fn one_source_cannot_take_all_places() {
    let mut reassembler = reassembler(limits());
    let piece = |source, ident| pieces(&packet(false, source, &bytes(3_000)), 1_500, ident).remove(0);
    for ident in 0..3 {
        feed(&mut reassembler, &piece(1, ident), Instant::ZERO).unwrap();
    }
    let refused = feed(&mut reassembler, &piece(1, 3), Instant::ZERO);
    assert_eq!(refused, Err(DropReason::FragmentTableFull));
    // Others find room: the last free place, then the oldest one's.
    feed(&mut reassembler, &piece(2, 0), Instant::ZERO).unwrap();
    feed(&mut reassembler, &piece(3, 0), Instant::ZERO).unwrap();
    assert_eq!((reassembler.len(), reassembler.counters().evicted), (4, 1));
    feed(&mut reassembler, &piece(1, 4), Instant::ZERO).unwrap();
}

#[test]
fn memory_is_bounded_and_the_oldest_gives_way() {
    let mut reassembler = reassembler(FragmentLimits { bytes_max: 3 * 2_048, ..limits() });
    let piece = |source, index: usize| pieces(&packet(false, source, &bytes(6_000)), 1_500, 1).remove(index);
    for index in 0..3 {
        feed(&mut reassembler, &piece(1, index), Instant::ZERO).unwrap();
    }
    // Its own next piece would have to push itself out.
    assert_eq!(feed(&mut reassembler, &piece(1, 3), Instant::ZERO), Err(DropReason::FragmentTableFull));
    feed(&mut reassembler, &piece(2, 0), Instant::ZERO).unwrap();
    assert_eq!((reassembler.len(), reassembler.counters().evicted), (1, 1));
}

#[test]
fn crumbs_are_refused() {
    let mut reassembler = reassembler(FragmentLimits { bytes_max: 256 << 10, ..limits() });
    let crumbs = pieces(&packet(false, 1, &bytes(1_000)), 28, 5);
    let refused = crumbs.iter().position(|piece| feed(&mut reassembler, piece, Instant::ZERO).is_err());
    assert_eq!(refused, Some(usize::from(PIECES_MAX)));
}

#[test]
fn congestion_mark_on_any_piece_marks_the_packet() {
    let mut reassembler = reassembler(limits());
    let mut parts = pieces(&packet(false, 1, &bytes(2_000)), 1_500, 5);
    let mut ip = ipv4::Packet::new_checked(&mut parts[1][14..]).unwrap();
    ip.set_dscp_ecn(3);
    feed(&mut reassembler, &parts[0], Instant::ZERO).unwrap();
    let whole = feed(&mut reassembler, &parts[1], Instant::ZERO).unwrap().unwrap();
    assert_eq!(wire::parse(&whole).unwrap().dscp_ecn, 3);
}

#[test]
fn pieces_of_different_datagrams_do_not_mix() {
    let mut reassembler = reassembler(limits());
    let one = packet(false, 1, &[1; 2_000]);
    let two = packet(false, 1, &[2; 2_000]);
    let (first, second) = (pieces(&one, 1_500, 1), pieces(&two, 1_500, 2));
    feed(&mut reassembler, &first[0], Instant::ZERO).unwrap();
    feed(&mut reassembler, &second[1], Instant::ZERO).unwrap();
    assert!(is_same(feed(&mut reassembler, &second[0], Instant::ZERO), &two));
    assert!(is_same(feed(&mut reassembler, &first[1], Instant::ZERO), &one));
}

#[test]
fn packet_that_does_not_fit_the_buffer_is_dropped() {
    let mut reassembler = reassembler(limits());
    let parts = pieces(&packet(false, 1, &bytes(2_000)), 1_500, 5);
    feed(&mut reassembler, &parts[0], Instant::ZERO).unwrap();
    let headers = wire::parse(&parts[1]).unwrap();
    let mut memory = [0; 1_000];
    let mut out = PacketBuf::new(&mut memory, 0, 0);
    let refused = reassembler.handle(&parts[1], &headers, &mut out, Instant::ZERO);
    assert_eq!(refused, Err(DropReason::Fragment));
    assert!(reassembler.is_empty());
}

#[test]
fn only_what_is_too_long_needs_cutting() {
    let frame = packet(false, 1, &bytes(1_000));
    assert!(!Split::is_needed(&frame, 1_028));
    assert!(Split::is_needed(&frame, 1_027));
    assert_eq!(pieces(&frame, 1_028, 1).len(), 1);
    assert!(Split::new(&frame, 27, 1).is_none(), "no room for 8 bytes");
}

proptest! {
    #[test]
    fn any_order_gives_the_packet(
        len in 1usize..6_000,
        mtu in 60u16..1_500,
        v6 in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let whole = packet(v6, 1, &bytes(len));
        let mut parts = pieces(&whole, mtu.max(if v6 { 120 } else { 68 }), 3);
        prop_assume!(parts.len() > 1 && parts.len() <= usize::from(PIECES_MAX));
        let mut random = seed;
        for index in (1..parts.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            parts.swap(index, (random >> 33) as usize % (index + 1));
        }
        let mut reassembler = reassembler(FragmentLimits { bytes_max: 256 << 10, ..limits() });
        let last = parts.pop().unwrap();
        for piece in &parts {
            prop_assert_eq!(feed(&mut reassembler, piece, Instant::ZERO), Ok(None));
        }
        prop_assert!(is_same(feed(&mut reassembler, &last, Instant::ZERO), &whole));
    }
}
