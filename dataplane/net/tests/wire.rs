//! Headers on the wire: recorded bytes, hand-made oddities, and properties over made-up packets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use secbeat_net::flow::Protocol;
use secbeat_net::verdict::DropReason;
use secbeat_net::wire::checksum::{Delta, L4Checksum, complete_l4, internet, pseudo, verify_l4};
use secbeat_net::wire::headers::is_martian_source;
use secbeat_net::wire::icmp::{Error, ErrorKind};
use secbeat_net::wire::tcp::{Flags, Repr, Segment};
use secbeat_net::wire::{Headers, IpVersion, ipv4, ipv6, parse, parse_ip, protocol, udp};

const A4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn ethernet(ether_type: u16, tags: &[(u16, u16)]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (kind, tag) in tags {
        frame.extend_from_slice(&kind.to_be_bytes());
        frame.extend_from_slice(&tag.to_be_bytes());
    }
    frame.extend_from_slice(&ether_type.to_be_bytes());
    frame
}

fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 20];
    let repr = ipv4::Repr {
        source: A4,
        destination: B4,
        protocol,
        payload_len: payload.len() as u16,
        ttl: 61,
        dscp_ecn: 2,
        ident: 0x1234,
        dont_fragment: false,
    };
    repr.emit(&mut packet).unwrap();
    packet.extend_from_slice(payload);
    packet
}

fn v6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    let repr = ipv6::Repr {
        source: A6,
        destination: B6,
        next_header,
        payload_len: payload.len() as u16,
        hop_limit: 61,
        traffic_class: 2,
        flow_label: 0xabcde,
    };
    repr.emit(&mut packet).unwrap();
    packet.extend_from_slice(payload);
    packet
}

fn tcp_segment(flags: Flags, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut segment = vec![0; 20 + options.len()];
    let repr = Repr { source_port: 1000, destination_port: 443, seq: 7, ack: 8, flags, window: 9 };
    repr.emit(&mut segment, options).unwrap();
    segment.extend_from_slice(payload);
    segment
}

fn udp_datagram(payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; 8];
    udp::emit(&mut datagram, 53, 5353, payload.len() as u16).unwrap();
    datagram.extend_from_slice(payload);
    datagram
}

fn frame_v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    [ethernet(0x0800, &[]), v4(protocol, payload)].concat()
}

fn frame_v6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    [ethernet(0x86dd, &[]), v6(next_header, payload)].concat()
}

#[test]
fn recorded_exchanges_parse_with_valid_checksums() {
    let lines = include_str!("data/linux_syn_ack.txt").lines().filter(|line| !line.starts_with('#'));
    let mut frames = 0;
    for frame in lines.flat_map(|line| line.split(' ').skip(1)).map(hex) {
        let headers = parse(&frame).unwrap();
        assert_eq!((headers.link_len, headers.protocol, headers.hop_limit), (14, protocol::TCP, 64));
        assert_eq!(verify_l4(&headers, &frame), L4Checksum::Valid);
        assert_eq!(headers.sanity(), Ok(()));
        let segment = Segment::new_checked(&frame[headers.l4..headers.end]).unwrap();
        assert!(segment.options().is_ok());
        assert_eq!(headers.payload_len(), 0);
        frames += 1;
    }
    assert_eq!(frames, 576);
}

#[test]
fn every_field_of_a_recorded_syn_is_read() {
    let line =
        include_str!("data/linux_syn_ack.txt").lines().find(|line| line.contains(LINUX_SYN_TUPLE)).unwrap();
    let frame = hex(line.split(' ').nth(1).unwrap());
    let headers = parse(&frame).unwrap();
    let flow = headers.flow_key().unwrap();
    assert_eq!(flow.protocol, Protocol::Tcp);
    assert_eq!((flow.source.addr, flow.source.port), (IpAddr::from([10, 98, 0, 2]), 0x4e21));
    assert_eq!((flow.destination.addr, flow.destination.port), (IpAddr::from([10, 98, 0, 1]), 8080));
    assert_eq!((headers.version, headers.tcp_flags), (IpVersion::V4, Flags::SYN));
    let packet = ipv4::Packet::new_checked(&frame[14..]).unwrap();
    assert_eq!((packet.ident(), packet.dont_fragment(), packet.more_fragments()), (0x4e21, true, false));
    assert!(packet.is_checksum_valid());
    let segment = Segment::new_checked(&frame[headers.l4..headers.end]).unwrap();
    assert_eq!((segment.seq(), segment.ack(), segment.window()), (0x1000_4e21, 0, 64_240));
    assert_eq!((segment.sequence_len(), segment.urgent()), (1, 0));
}

/// Ports of the first recorded SYN, as they stand in its TCP header.
const LINUX_SYN_TUPLE: &str = "4e211f9010004e21";

#[test]
fn vlan_tags_are_walked_and_a_third_is_not_ours() {
    let inner = v4(protocol::UDP, &udp_datagram(b"x"));
    for (tags, link_len) in [
        (&[][..], 14),
        (&[(0x8100, 5)][..], 18),
        (&[(0x88a8, 5), (0x8100, 6)][..], 22),
        (&[(0x8100, 5), (0x8100, 6)][..], 22),
    ] {
        let frame = [ethernet(0x0800, tags), inner.clone()].concat();
        let headers = parse(&frame).unwrap();
        assert_eq!((headers.link_len, headers.destination_port), (link_len, 5353));
    }
    let three = [ethernet(0x0800, &[(0x88a8, 1), (0x8100, 2), (0x8100, 3)]), inner].concat();
    assert_eq!(parse(&three), Err(DropReason::NotOurs));
    assert_eq!(parse(&three[..15]), Err(DropReason::Truncated));
}

#[test]
fn what_is_not_ip_or_no_known_transport_is_not_ours() {
    assert_eq!(parse(&[ethernet(0x0806, &[]), vec![0; 28]].concat()), Err(DropReason::NotOurs));
    assert_eq!(parse(&frame_v4(89, &[0; 24])), Err(DropReason::NotOurs));
    assert_eq!(parse(&frame_v6(59, &[])), Err(DropReason::NotOurs));
    assert_eq!(parse(&frame_v4(protocol::ICMPV6, &[0; 8])), Err(DropReason::NotOurs));
    assert_eq!(parse(&frame_v6(protocol::ICMP, &[0; 8])), Err(DropReason::NotOurs));
    assert_eq!(parse(&[0; 13]), Err(DropReason::Truncated));
    assert_eq!(parse_ip(&[0x50], 0), Err(DropReason::NotOurs));
    assert_eq!(parse_ip(&[], 0), Err(DropReason::Truncated));
}

#[test]
fn padding_is_not_payload() {
    let mut frame = frame_v4(protocol::TCP, &tcp_segment(Flags::ACK, &[], b""));
    frame.resize(60, 0xff);
    let headers = parse(&frame).unwrap();
    assert_eq!((headers.end, headers.payload_len(), headers.packet_len()), (54, 0, 40));
    assert!(complete_l4(&headers, &mut frame));
    assert_eq!(verify_l4(&headers, &frame), L4Checksum::Valid);
}

#[test]
fn ip_options_and_extension_headers_are_walked() {
    let segment = tcp_segment(Flags::SYN, &[], b"");
    let mut packet = v4(protocol::TCP, &[&[1; 8][..], &segment].concat());
    packet[0] = 0x47;
    ipv4::Packet::new_checked(&mut packet[..]).unwrap().fill_checksum();
    let headers = parse_ip(&packet, 0).unwrap();
    assert_eq!((headers.l4, headers.destination_port), (28, 443));

    // Hop-by-hop, destination options of 16 bytes, routing type 4, authentication, then TCP.
    let chain = [
        &[60, 0, 1, 4, 0, 0, 0, 0][..],
        &[43, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[51, 0, 4, 0, 0, 0, 0, 0],
        &[protocol::TCP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &segment,
    ]
    .concat();
    let headers = parse(&frame_v6(0, &chain)).unwrap();
    assert_eq!((headers.l4, headers.protocol, headers.destination_port), (14 + 40 + 44, protocol::TCP, 443));
    assert_eq!((headers.dscp_ecn, headers.hop_limit, headers.fragment), (2, 61, None));
}

#[test]
fn endless_and_forbidden_extension_chains_are_malformed() {
    let option = |next: u8| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let segment = tcp_segment(Flags::SYN, &[], b"");
    let chain = |count: usize| {
        let mut chain: Vec<u8> = (1..count).flat_map(|_| option(60)).collect();
        chain.extend(option(protocol::TCP));
        chain.extend(&segment);
        parse(&frame_v6(60, &chain)).map(|headers| headers.l4)
    };
    assert_eq!(chain(8), Ok(14 + 40 + 64));
    assert_eq!(chain(9), Err(DropReason::Malformed));
    let late_hop_by_hop = [option(0), option(protocol::TCP), segment.clone()].concat();
    assert_eq!(parse(&frame_v6(60, &late_hop_by_hop)), Err(DropReason::Malformed));
    let routing_type_0 = [vec![protocol::TCP, 0, 0, 1, 0, 0, 0, 0], segment].concat();
    assert_eq!(parse(&frame_v6(43, &routing_type_0)), Err(DropReason::Malformed));
    assert_eq!(parse(&frame_v6(60, &[6, 4, 0, 0])), Err(DropReason::Truncated));
}

fn v4_fragment(protocol: u8, offset: u16, more: bool, data: &[u8]) -> Vec<u8> {
    let mut frame = frame_v4(protocol, data);
    ipv4::Packet::new_checked(&mut frame[14..]).unwrap().set_fragment(offset, more, false);
    frame
}

#[test]
fn fragments_are_named_with_their_place() {
    let first = v4_fragment(protocol::UDP, 0, true, &udp_datagram(&[7; 16]));
    let headers = parse(&first).unwrap();
    let fragment = headers.fragment.unwrap();
    assert_eq!((fragment.id, fragment.offset, fragment.more, fragment.header), (0x1234, 0, true, 14));
    assert_eq!(headers.destination_port, 5353, "the first fragment has the ports");
    assert_eq!(verify_l4(&headers, &first), L4Checksum::Valid, "not to be judged before it is whole");
    let later = parse(&v4_fragment(protocol::UDP, 24, false, &[7; 5])).unwrap();
    assert_eq!(later.fragment.map(|fragment| (fragment.offset, fragment.more)), Some((24, false)));
    assert_eq!((later.destination_port, later.flow_key(), later.payload_len()), (0, None, 5));

    let header = [protocol::UDP, 0, 0, 17, 0, 1, 2, 3];
    let headers = parse(&frame_v6(44, &[&header[..], &[9; 8]].concat())).unwrap();
    let fragment = headers.fragment.unwrap();
    assert_eq!((fragment.id, fragment.offset, fragment.more, fragment.header), (0x10203, 16, true, 54));
    assert_eq!((headers.l4, headers.protocol), (62, protocol::UDP));
    let atomic = [&[protocol::UDP, 0, 0, 0, 0, 1, 2, 3][..], &udp_datagram(b"whole")].concat();
    let headers = parse(&frame_v6(44, &atomic)).unwrap();
    assert_eq!((headers.fragment, headers.destination_port), (None, 5353));
}

#[test]
fn fragments_that_no_stack_sends_are_refused() {
    let refused = |frame: Vec<u8>| parse(&frame).err();
    let tcp = tcp_segment(Flags::SYN, &[], &[0; 20]);
    // RFC 3128: the flags of a TCP segment must not be overwritten by a piece at offset 8.
    assert_eq!(refused(v4_fragment(protocol::TCP, 8, false, &[0; 12])), Some(DropReason::Fragment));
    assert_eq!(refused(v4_fragment(protocol::TCP, 0, true, &tcp[..8])), Some(DropReason::Truncated));
    assert_eq!(refused(v4_fragment(protocol::UDP, 8, true, &[0; 12])), Some(DropReason::Fragment));
    assert_eq!(refused(v4_fragment(protocol::UDP, 8, true, &[])), Some(DropReason::Fragment));
    assert_eq!(refused(v4_fragment(protocol::ICMP, 65_528, false, &[0; 8])), Some(DropReason::Fragment));
    let twice = [&[44, 0, 0, 1, 0, 0, 0, 1][..], &[17, 0, 0, 1, 0, 0, 0, 1], &[0; 8]].concat();
    assert_eq!(refused(frame_v6(44, &twice)), Some(DropReason::Malformed));
}

#[test]
fn wrong_lengths_and_checksums_have_their_reasons() {
    let good = frame_v4(protocol::TCP, &tcp_segment(Flags::ACK, &[], b"data"));
    let changed = |at: usize, value: u8| {
        let mut frame = good.clone();
        frame[at] = value;
        if (14..34).contains(&at)
            && at != 24
            && let Ok(mut packet) = ipv4::Packet::new_checked(&mut frame[14..])
        {
            packet.fill_checksum();
        }
        parse(&frame).err()
    };
    assert_eq!(changed(14, 0x55), Some(DropReason::Malformed), "version 5");
    assert_eq!(changed(14, 0x44), Some(DropReason::Malformed), "header of 16 bytes");
    assert_eq!(changed(17, 200), Some(DropReason::Truncated), "longer than the frame");
    assert_eq!(changed(17, 19), Some(DropReason::Truncated), "shorter than its header");
    assert_eq!(changed(24, good[24] ^ 1), Some(DropReason::IpChecksum));
    assert_eq!(changed(46, 0x40), Some(DropReason::Malformed), "data offset of 4 words");
    assert_eq!(changed(46, 0x70), Some(DropReason::Truncated), "data offset beyond the packet");
    let mut short_udp = udp_datagram(b"");
    short_udp[5] = 7;
    assert_eq!(parse(&frame_v4(protocol::UDP, &short_udp)), Err(DropReason::Malformed));
    short_udp[5] = 9;
    assert_eq!(parse(&frame_v4(protocol::UDP, &short_udp)), Err(DropReason::Truncated));
    for len in 0..good.len() {
        assert_eq!(parse(&good[..len]).err(), Some(DropReason::Truncated), "cut to {len} bytes");
    }
}

#[test]
fn only_plausible_flags_pass() {
    let plausible: Vec<u8> =
        (0..64).filter(|flags| Flags(*flags).is_plausible()).filter(|flags| flags & 0x08 == 0).collect();
    // SYN, RST, ACK, FIN+ACK, SYN+ACK, RST+ACK, SYN+URG, ACK+URG, FIN+ACK+URG.
    assert_eq!(plausible, [0x02, 0x04, 0x10, 0x11, 0x12, 0x14, 0x22, 0x30, 0x31]);
    for flags in 0..=255u8 {
        let masked = Flags(flags & 0x37);
        assert_eq!(Flags(flags).is_plausible(), masked.is_plausible(), "PSH, ECE and CWR do not matter");
        let frame = frame_v4(protocol::TCP, &tcp_segment(Flags(flags), &[], b""));
        let expected = if masked.is_plausible() { Ok(()) } else { Err(DropReason::TcpFlags) };
        assert_eq!(parse(&frame).unwrap().sanity(), expected);
    }
    assert_eq!(format!("{:?} {:?}", Flags::SYN_ACK, Flags::NONE), "SYN+ACK none");
}

#[test]
fn impossible_sources_and_land_attacks_are_refused() {
    for source in
        ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "::1", "ff02::1"]
    {
        assert!(is_martian_source(source.parse().unwrap()), "{source}");
    }
    for source in ["::ffff:192.0.2.1", "::192.0.2.1"] {
        assert!(is_martian_source(source.parse().unwrap()), "{source}");
    }
    for source in
        ["10.0.0.1", "192.0.2.1", "223.255.255.255", "fe80::1", "2001:db8::1", "fd00::1", "64:ff9b::1"]
    {
        assert!(!is_martian_source(source.parse().unwrap()), "{source}");
    }
    let mut frame = frame_v4(protocol::TCP, &tcp_segment(Flags::SYN, &[], b""));
    let mut packet = ipv4::Packet::new_checked(&mut frame[14..]).unwrap();
    packet.set_source(B4);
    assert_eq!(parse(&frame).unwrap().sanity(), Err(DropReason::Malformed));
}

#[test]
fn checksum_agrees_with_the_example_of_rfc_1071() {
    // RFC 1071 §3: 00 01 f2 03 f4 f5 f6 f7 sums to ddf2.
    assert_eq!(internet(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    assert_eq!(internet(&[]), 0xffff);
    // RFC 1624 §4: 0xdd2f with 0x5555 replaced by 0x3285 becomes 0x0000.
    let mut delta = Delta::NONE;
    delta.replace_u16(0x5555, 0x3285);
    assert_eq!(delta.apply(0xdd2f), 0x0000);
    assert_eq!((delta.apply_udp(0xdd2f), delta.apply_udp(0)), (0xffff, 0));
}

#[test]
fn partial_checksums_are_told_from_wrong_ones_and_completed() {
    let datagram = udp_datagram(b"over veth");
    let segment = tcp_segment(Flags::ACK, &[], b"over veth");
    for (payload, protocol) in [(datagram, protocol::UDP), (segment, protocol::TCP)] {
        for make in [frame_v4, frame_v6] {
            let mut frame = make(protocol, &payload);
            let headers = parse(&frame).unwrap();
            let field = headers.l4 + if protocol == protocol::TCP { 16 } else { 6 };
            let partial =
                pseudo(headers.source, headers.destination, protocol, headers.end - headers.l4).fold();
            frame[field..field + 2].copy_from_slice(&partial.to_be_bytes());
            assert_eq!(verify_l4(&headers, &frame), L4Checksum::Partial);
            assert!(complete_l4(&headers, &mut frame));
            assert_eq!(verify_l4(&headers, &frame), L4Checksum::Valid);
            frame[field] ^= 1;
            assert_eq!(verify_l4(&headers, &frame), L4Checksum::Invalid);
        }
    }
}

#[test]
fn udp_without_checksum_is_valid_over_ipv4_only() {
    let datagram = udp_datagram(b"none");
    let frame = frame_v4(protocol::UDP, &datagram);
    assert_eq!(verify_l4(&parse(&frame).unwrap(), &frame), L4Checksum::Valid);
    let frame = frame_v6(protocol::UDP, &datagram);
    assert_eq!(verify_l4(&parse(&frame).unwrap(), &frame), L4Checksum::Invalid);
    // RFC 9868 puts options behind the datagram; the checksum does not cover them.
    let mut frame = frame_v6(protocol::UDP, &[datagram, vec![0xff; 5]].concat());
    let headers = parse(&frame).unwrap();
    assert!(complete_l4(&headers, &mut frame));
    assert_eq!(verify_l4(&headers, &frame), L4Checksum::Valid);
}

#[test]
fn icmp_errors_name_the_flow_they_are_about() {
    let inner = v4(protocol::TCP, &tcp_segment(Flags::ACK, &[], b""));
    let message = [&[3, 4, 0, 0, 0, 0, 5, 0x78][..], &inner[..28]].concat();
    let frame = frame_v4(protocol::ICMP, &message);
    let error = Error::parse(&frame, &parse(&frame).unwrap()).unwrap().unwrap();
    assert_eq!(error.kind, ErrorKind::TooBig { mtu: 1400 });
    assert_eq!((error.inner.ip, error.inner.l4, error.inner.seq), (42, 62, 7));
    assert_eq!(error.inner.flow.source.addr, IpAddr::V4(A4));
    assert_eq!(error.inner.flow.destination.port, 443);

    let inner = v6(protocol::UDP, &udp_datagram(b"payload"));
    for (kind, code, rest, expected) in [
        (1, 4, 0, ErrorKind::Unreachable { code: 4 }),
        (2, 0, 1280, ErrorKind::TooBig { mtu: 1280 }),
        (3, 0, 0, ErrorKind::TimeExceeded),
        (4, 1, 0, ErrorKind::ParameterProblem),
    ] {
        let message = [&[kind, code, 0, 0][..], &u32::to_be_bytes(rest), &inner].concat();
        let frame = frame_v6(protocol::ICMPV6, &message);
        let error = Error::parse(&frame, &parse(&frame).unwrap()).unwrap().unwrap();
        assert_eq!(error.kind, expected);
        assert_eq!((error.inner.flow.protocol, error.inner.seq), (Protocol::Udp, 0));
    }
}

#[test]
fn other_icmp_is_for_the_kernel_and_cut_errors_are_broken() {
    let parse_icmp = |protocol: u8, message: &[u8]| {
        let frame = if protocol == protocol::ICMP { frame_v4 } else { frame_v6 }(protocol, message);
        Error::parse(&frame, &parse(&frame).unwrap()).map(|error| error.is_some())
    };
    assert_eq!(parse_icmp(protocol::ICMP, &[8, 0, 0, 0, 0, 1, 0, 1]), Ok(false), "echo request");
    assert_eq!(
        parse_icmp(protocol::ICMPV6, &[135, 0, 0, 0, 0, 0, 0, 0]),
        Ok(false),
        "neighbour solicitation"
    );
    let echo = v4(protocol::ICMP, &[8, 0, 0, 0, 0, 1, 0, 1]);
    let about = |inner: &[u8]| parse_icmp(protocol::ICMP, &[&[3, 1, 0, 0, 0, 0, 0, 0][..], inner].concat());
    assert_eq!(about(&echo), Ok(false), "an error about a ping");
    let segment = v4(protocol::TCP, &tcp_segment(Flags::ACK, &[], b""));
    assert_eq!(about(&segment[..28]), Ok(true));
    for len in 0..28 {
        assert_eq!(about(&segment[..len]), Err(DropReason::Truncated), "inner packet cut to {len}");
    }
    let mut later = segment.clone();
    later[7] = 3;
    assert_eq!(about(&later), Ok(false), "an error about a later fragment");
    later[0] = 0x65;
    assert_eq!(about(&later), Err(DropReason::Malformed));
}

/// Frames of every kind we forward, as a strategy.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = proptest::collection::vec(any::<u8>(), 0..200);
    (payload, any::<u8>(), 0usize..11, any::<bool>(), any::<bool>()).prop_map(
        |(payload, flags, words, is_v6, is_tcp)| {
            let l4 = if is_tcp {
                tcp_segment(Flags(flags), &vec![1; words * 4][..], &payload)
            } else {
                udp_datagram(&payload)
            };
            let make = if is_v6 { frame_v6 } else { frame_v4 };
            make(if is_tcp { protocol::TCP } else { protocol::UDP }, &l4)
        },
    )
}

fn completed(frame: &mut [u8]) -> Headers {
    let headers = parse(frame).unwrap();
    assert!(complete_l4(&headers, frame));
    headers
}

proptest! {
    #[test]
    fn headers_survive_a_round_trip(
        addrs: (u32, u32), ports: (u16, u16), numbers: (u32, u32), flags: u8, window: u16, words in 0usize..11,
        ttl: u8, ident: u16, dont_fragment: bool, addrs6: (u128, u128), label in 0u32..1 << 20, class: u8,
    ) {
        let tcp = Repr {
            source_port: ports.0,
            destination_port: ports.1,
            seq: numbers.0,
            ack: numbers.1,
            flags: Flags(flags),
            window,
        };
        let mut buffer = [0xee; 60];
        let len = tcp.emit(&mut buffer, &vec![1; words * 4][..]).unwrap();
        prop_assert_eq!(len, 20 + words * 4);
        prop_assert_eq!(Repr::parse(&buffer[..len]), Ok(tcp));
        let ip = ipv4::Repr {
            source: addrs.0.into(), destination: addrs.1.into(), protocol: 6, payload_len: 7, ttl, dscp_ecn: class,
            ident, dont_fragment,
        };
        let len = ip.emit(&mut buffer).unwrap();
        prop_assert!(ipv4::Packet::new_checked(&buffer[..len]).unwrap().is_checksum_valid());
        prop_assert_eq!(ipv4::Repr::parse(&buffer[..len]), Ok(ip));
        let ip = ipv6::Repr {
            source: addrs6.0.into(), destination: addrs6.1.into(), next_header: ttl, payload_len: ident,
            hop_limit: ttl, traffic_class: class, flow_label: label,
        };
        let len = ip.emit(&mut buffer).unwrap();
        prop_assert_eq!(ipv6::Repr::parse(&buffer[..len]), Ok(ip));
    }

    #[test]
    fn setters_keep_the_ipv4_checksum_right(addr: u32, other: u32, ttl: u8, len: u16, class: u8, offset in 0u16..8191) {
        let mut bytes = v4(6, b"");
        let mut packet = ipv4::Packet::new_checked(&mut bytes[..]).unwrap();
        packet.set_source(addr.into());
        packet.set_destination(other.into());
        packet.set_ttl(ttl);
        packet.set_total_len(len);
        packet.set_dscp_ecn(class);
        packet.set_ident(len);
        packet.set_fragment(offset * 8, ttl & 1 == 0, ttl & 2 == 0);
        prop_assert!(packet.is_checksum_valid());
        prop_assert_eq!((packet.ttl(), packet.dscp_ecn(), packet.total_len()), (ttl, class, len));
        prop_assert_eq!((packet.fragment_offset(), packet.source()), (offset * 8, addr.into()));
        let mut bytes = v6(6, b"");
        let mut packet = ipv6::Packet::new_checked(&mut bytes[..]).unwrap();
        packet.set_traffic_class(class);
        packet.set_hop_limit(ttl);
        packet.set_payload_len(len);
        packet.set_next_header(ttl);
        packet.set_source(B6);
        packet.set_destination(A6);
        prop_assert_eq!((packet.traffic_class(), packet.flow_label(), packet.payload_len()), (class, 0xabcde, len));
        prop_assert_eq!((packet.source(), packet.destination(), packet.hop_limit()), (B6, A6, ttl));
    }

    #[test]
    fn checksum_agrees_with_the_slow_way(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
        }
        while sum >> 16 != 0 {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        prop_assert_eq!(internet(&bytes), !(sum as u16));
    }

    #[test]
    fn incremental_update_equals_computing_anew(
        mut frame in any_frame(), port: u16, seq: u32, new: u32, odd in 0usize..4,
    ) {
        let headers = completed(&mut frame);
        let at = headers.l4;
        let before = frame.clone();
        let mut delta = Delta::NONE;
        // A port, an address, and four bytes at any alignment.
        delta.replace_u16(headers.source_port, port);
        frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
        let addr: IpAddr = match headers.version {
            IpVersion::V4 => Ipv4Addr::from(new).into(),
            IpVersion::V6 => Ipv6Addr::from(u128::from(new) << 70 | u128::from(seq)).into(),
        };
        delta.replace_addr(headers.source, addr);
        match addr {
            IpAddr::V4(addr) => ipv4::Packet::new_checked(&mut frame[14..]).unwrap().set_source(addr),
            IpAddr::V6(addr) => ipv6::Packet::new_checked(&mut frame[14..]).unwrap().set_source(addr),
        }
        let place = headers.payload + odd;
        if headers.end >= place + 4 {
            let old = u32::from_be_bytes(frame[place..place + 4].try_into().unwrap());
            delta.replace_u32_at(place - at, old, seq);
            frame[place..place + 4].copy_from_slice(&seq.to_be_bytes());
        }
        let field = at + if headers.protocol == protocol::TCP { 16 } else { 6 };
        let stored = u16::from_be_bytes(before[field..field + 2].try_into().unwrap());
        let updated = if headers.protocol == protocol::TCP { delta.apply(stored) } else { delta.apply_udp(stored) };
        frame[field..field + 2].copy_from_slice(&updated.to_be_bytes());
        let headers = parse(&frame).unwrap();
        prop_assert_eq!(verify_l4(&headers, &frame), L4Checksum::Valid);
    }

    #[test]
    fn any_changed_bit_of_a_segment_is_noticed(mut frame in any_frame(), place: prop::sample::Index, bit in 0u8..8) {
        let headers = completed(&mut frame);
        let at = headers.l4 + place.index(headers.end - headers.l4);
        frame[at] ^= 1 << bit;
        // A change of the header's structure is noticed by the parser instead, or makes another checksum apply.
        if let Ok(changed) = parse(&frame) && changed.end == headers.end {
            let is_udp_len_or_checksum = headers.protocol == protocol::UDP && (4..8).contains(&(at - headers.l4));
            if !is_udp_len_or_checksum {
                prop_assert_ne!(verify_l4(&changed, &frame), L4Checksum::Valid);
            }
        }
    }

    #[test]
    fn no_bytes_make_anything_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        secbeat_net::wire::fuzz::frame(&bytes);
        secbeat_net::wire::fuzz::segment(&bytes);
        secbeat_net::wire::fuzz::tcp_options(&bytes);
        secbeat_net::wire::fuzz::icmp(&bytes);
    }

    #[test]
    fn no_change_of_a_real_frame_makes_anything_panic(
        mut frame in any_frame(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        len: prop::sample::Index,
    ) {
        for (place, value) in changes {
            let at = place.index(frame.len());
            frame[at] = value;
        }
        if let Ok(mut packet) = ipv4::Packet::new_checked(&mut frame[14..]) {
            packet.fill_checksum();
        }
        secbeat_net::wire::fuzz::frame(&frame);
        let cut = len.index(frame.len() + 1);
        secbeat_net::wire::fuzz::frame(&frame[..cut]);
    }
}
