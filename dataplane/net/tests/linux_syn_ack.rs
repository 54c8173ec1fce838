//! Our SYN-ACKs against those of Linux for the same SYNs: every combination of MSS, window scale, SACK, timestamps and
//! ECN, over IPv4 and IPv6, from cookies and from the half-open table. `data/linux_syn_ack.txt` says how they were
//! recorded.
//!
//! Compared is every byte but what must differ between any two machines: sequence number, window, the value of
//! the window scale, TSval, the IPv6 flow label, and the checksums over these
//! (which are verified instead).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use secbeat_net::flow::HashKey;
use secbeat_net::halfopen::{HalfOpen, HalfOpenKeys, SynIngress};
use secbeat_net::link::PortId;
use secbeat_net::packet::PacketBuf;
use secbeat_net::syncookie::{KeySchedule, Offer, answer_syn, check};
use secbeat_net::time::Instant;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::checksum::{L4Checksum, verify_l4};
use secbeat_net::wire::{self, Headers, IpVersion, tcp};

struct Exchange {
    is_cookie: bool,
    syn: Vec<u8>,
    syn_ack: Vec<u8>,
}

fn exchanges() -> Vec<Exchange> {
    let bytes = |hex: &str| {
        let digits = hex.as_bytes().chunks(2);
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    };
    let lines = include_str!("data/linux_syn_ack.txt").lines().filter(|line| !line.starts_with('#'));
    let exchanges = lines.map(|line| {
        let mut words = line.split(' ');
        let is_cookie = words.next() == Some("cookie");
        Exchange { is_cookie, syn: bytes(words.next().unwrap()), syn_ack: bytes(words.next().unwrap()) }
    });
    exchanges.collect()
}

/// Our answer to `frame`, by `answer`.
fn reply(
    frame: &[u8],
    answer: impl FnOnce(&mut PacketBuf<'_>, &Headers) -> Result<(), DropReason>,
) -> Vec<u8> {
    let mut memory = vec![0xee; 2048];
    memory[256..256 + frame.len()].copy_from_slice(frame);
    let mut packet = PacketBuf::new(&mut memory, 256, frame.len());
    let headers = wire::parse(packet.bytes()).unwrap();
    answer(&mut packet, &headers).unwrap();
    packet.bytes().to_vec()
}

/// A frame with all that may differ set to zero, after its checksums were verified.
fn comparable(frame: &[u8]) -> Vec<u8> {
    let headers = wire::parse(frame).unwrap();
    assert_eq!(verify_l4(&headers, frame), L4Checksum::Valid);
    let mut masked = frame[..headers.end].to_vec();
    if headers.version == IpVersion::V6 {
        masked[headers.link_len + 1] &= 0xf0;
        masked[headers.link_len + 2..headers.link_len + 4].fill(0);
    }
    let l4 = &frame[headers.l4..headers.end];
    let options = tcp::Segment::new_checked(l4).unwrap().options().unwrap();
    masked[headers.l4 + 4..headers.l4 + 8].fill(0);
    masked[headers.l4 + 14..headers.l4 + 18].fill(0);
    if let Some(at) = options.timestamps_offset {
        masked[headers.l4 + at..headers.l4 + at + 4].fill(0);
    }
    if options.window_scale.is_some() {
        *masked.last_mut().unwrap() = 0;
    }
    masked
}

fn timestamp_value(frame: &[u8]) -> Option<u32> {
    let headers = wire::parse(frame).unwrap();
    let segment = tcp::Segment::new_checked(&frame[headers.l4..headers.end]).unwrap();
    segment.options().unwrap().timestamps.map(|timestamps| timestamps.value)
}

#[test]
fn recorded_exchanges_cover_every_combination() {
    let exchanges = exchanges();
    // Two modes, two families, three sizes, three scales, SACK, timestamps and ECN on and off.
    assert_eq!(exchanges.len(), 2 * 2 * 3 * 3 * 8);
    assert_eq!(exchanges.iter().filter(|exchange| exchange.is_cookie).count(), 144);
}

#[test]
fn cookie_is_answered_byte_for_byte_as_linux_does_with_cookies() {
    let keys = KeySchedule::new(HashKey([1, 2])).keys(9);
    let now = Instant::from_millis(1_234_567);
    for exchange in exchanges().iter().filter(|exchange| exchange.is_cookie) {
        let ours = reply(&exchange.syn, |packet, headers| {
            answer_syn(packet, headers, &keys, &Offer::default(), now)
        });
        assert_eq!(comparable(&ours), comparable(&exchange.syn_ack), "answer to {:02x?}", exchange.syn);
    }
}

#[test]
fn table_is_answered_byte_for_byte_as_linux_does_without_cookies() {
    let mut table = HalfOpen::new(1000, HalfOpenKeys { table: HashKey([1, 2]), isn: HashKey([3, 4]) });
    let now = Instant::from_millis(1_234_567);
    let ingress = SynIngress { port: PortId(0), mtu: 1500, listener: 0 };
    for exchange in exchanges().iter().filter(|exchange| !exchange.is_cookie) {
        let ours = reply(&exchange.syn, |packet, headers| {
            table.handle_syn(packet, headers, ingress, &Offer::default(), now)
        });
        assert_eq!(comparable(&ours), comparable(&exchange.syn_ack), "answer to {:02x?}", exchange.syn);
    }
    assert_eq!(table.len(), 144);
}

#[test]
fn options_of_each_recorded_syn_come_back_from_the_cookie() {
    let keys = KeySchedule::new(HashKey([1, 2])).keys(9);
    for exchange in exchanges().iter().filter(|exchange| exchange.is_cookie) {
        let headers = wire::parse(&exchange.syn).unwrap();
        let l4 = &exchange.syn[headers.l4..headers.end];
        let syn = tcp::Segment::new_checked(l4).unwrap();
        let sent = syn.options().unwrap();
        let ours = reply(&exchange.syn, |packet, headers| {
            answer_syn(packet, headers, &keys, &Offer::default(), Instant::from_millis(77))
        });
        let answer = wire::parse(&ours).unwrap();
        let answer = tcp::Segment::new_checked(&ours[answer.l4..answer.end]).unwrap();
        let flow = headers.flow_key().unwrap();
        let kept = check(&keys, &flow, syn.seq(), answer.seq(), timestamp_value(&ours)).unwrap();
        let has_timestamps = sent.timestamps.is_some();
        let mss = sent.mss.unwrap_or(if headers.version == IpVersion::V4 { 536 } else { 1220 });
        // The IPv6 table ends at 1440 below the jumbo size.
        let mss = if headers.version == IpVersion::V6 { mss.min(1440) } else { mss };
        assert_eq!(kept.mss, mss);
        assert_eq!(kept.timestamps, has_timestamps);
        assert_eq!(kept.window_scale, sent.window_scale.filter(|_| has_timestamps));
        assert_eq!(kept.sack_permitted, sent.sack_permitted && has_timestamps);
        assert_eq!(kept.ecn, headers.tcp_flags.contains(tcp::Flags::ECE) && has_timestamps);
    }
}
