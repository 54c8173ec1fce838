//! Bodies of the fuzz targets, called by `fuzz/fuzz_targets/net_*.rs` and by the corpus replay in
//! `tests/corpus.rs`, so that both run the same code. Not part of the API.

use super::{checksum, icmp, ipv4, ipv6, parse, protocol, tcp, udp};

/// The same frame with a right IPv4 header checksum, which a fuzzer hardly ever hits.
pub fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut frame = bytes.to_vec();
    for link_len in [14, 18, 22] {
        if frame.get(link_len - 2..link_len) == Some(&[8, 0])
            && let Some(Ok(mut packet)) = frame.get_mut(link_len..).map(ipv4::Packet::new_checked)
        {
            packet.fill_checksum();
            break;
        }
    }
    frame
}

/// Any bytes as a frame: parse, look at every view, verify and complete the checksum.
pub fn frame(bytes: &[u8]) {
    any_frame(bytes);
    any_frame(&repaired(bytes));
}

fn any_frame(bytes: &[u8]) {
    let Ok(headers) = parse(bytes) else { return };
    assert!(headers.link_len < headers.l4 && headers.l4 <= headers.payload);
    assert!(headers.payload <= headers.end && headers.end <= bytes.len());
    let _ = headers.sanity();
    let _ = headers.flow_key();
    let _ = checksum::verify_l4(&headers, bytes);
    let mut copy = bytes.to_vec();
    if checksum::complete_l4(&headers, &mut copy) {
        assert_eq!(checksum::verify_l4(&headers, &copy), checksum::L4Checksum::Valid);
    }
    let l4 = &bytes[headers.l4..headers.end];
    if headers.fragment.is_none() {
        match headers.protocol {
            protocol::TCP => segment(l4),
            protocol::UDP => {
                let datagram = udp::Datagram::new_checked(l4);
                assert!(datagram.is_ok_and(|datagram| datagram.payload().len() <= l4.len()));
            }
            _ => drop(icmp::Error::parse(bytes, &headers)),
        }
    }
    let _ = ipv4::Repr::parse(&bytes[headers.link_len..]);
    let _ = ipv6::Repr::parse(&bytes[headers.link_len..]);
}

/// Any bytes as a TCP segment: every getter, and a rewrite of what the options name.
pub fn segment(bytes: &[u8]) {
    let Ok(segment) = tcp::Segment::new_checked(bytes) else { return };
    let _ = (segment.seq(), segment.ack(), segment.sequence_len(), segment.payload());
    let Ok(options) = segment.options() else { return };
    let mut copy = bytes.to_vec();
    let mut view = tcp::Segment::new_checked(&mut copy[..]).expect("the same bytes were accepted");
    if let Some(at) = options.timestamps_offset {
        assert!(view.set_option_u32(at, 1) && view.set_option_u32(at + 4, 2));
    }
    for at in options.sack.into_iter().flat_map(tcp::SackBlocks::edge_offsets) {
        assert!(view.set_option_u32(at, 7));
    }
    let rewritten = view.options().expect("a rewrite keeps the structure");
    assert_eq!(rewritten.mss, options.mss);
    assert_eq!(rewritten.sack, options.sack);
}

/// Any bytes as TCP options.
pub fn tcp_options(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(tcp::OPTIONS_BYTES_MAX)];
    let Ok(options) = tcp::Options::parse(bytes) else { return };
    assert_eq!(options.timestamps.is_some(), options.timestamps_offset.is_some());
    let mut buffer = [0; tcp::OPTIONS_BYTES_MAX];
    let written = tcp::SynOptions {
        mss: options.mss,
        window_scale: options.window_scale,
        sack_permitted: options.sack_permitted,
        timestamps: options.timestamps,
    };
    let len = written.emit(&mut buffer);
    let read = tcp::Options::parse(&buffer[..len]).expect("what we emit we can parse");
    assert_eq!((read.mss, read.window_scale), (options.mss, options.window_scale));
    assert_eq!((read.sack_permitted, read.timestamps), (options.sack_permitted, options.timestamps));
}

/// Any bytes as an ICMP message inside an otherwise correct IPv4 or IPv6 frame (chosen by the first byte).
pub fn icmp(bytes: &[u8]) {
    let Some((choice, message)) = bytes.split_first() else { return };
    let message = &message[..message.len().min(1400)];
    let mut frame = vec![0u8; 14];
    if choice & 1 == 0 {
        frame[12..].copy_from_slice(&[0x08, 0x00]);
        let repr = ipv4::Repr {
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            protocol: protocol::ICMP,
            payload_len: message.len() as u16,
            ttl: 64,
            dscp_ecn: 0,
            ident: 0,
            dont_fragment: true,
        };
        frame.resize(34, 0);
        repr.emit(&mut frame[14..]).expect("room for the header");
    } else {
        frame[12..].copy_from_slice(&[0x86, 0xdd]);
        let repr = ipv6::Repr {
            source: [0xfd00, 0, 0, 0, 0, 0, 0, 1].into(),
            destination: [0xfd00, 0, 0, 0, 0, 0, 0, 2].into(),
            next_header: protocol::ICMPV6,
            payload_len: message.len() as u16,
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
        };
        frame.resize(54, 0);
        repr.emit(&mut frame[14..]).expect("room for the header");
    }
    frame.extend_from_slice(message);
    let Ok(headers) = parse(&frame) else { return };
    if let Ok(Some(error)) = icmp::Error::parse(&frame, &headers) {
        assert!(headers.l4 + icmp::ERROR_HEADER_BYTES == error.inner.ip);
        assert!(error.inner.ip < error.inner.l4 && error.inner.l4 + 8 <= headers.end);
    }
}
