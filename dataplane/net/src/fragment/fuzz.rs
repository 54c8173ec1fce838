//! Body of the fuzz target `net_fragment`, also called by the corpus replay: bytes are pieces of a few datagrams, of
//! both families, in any order; nothing panics, and what is put together is what the pieces say.

use core::time::Duration;

use super::{FragmentLimits, Reassembler, Split};
use crate::flow::HashKey;
use crate::packet::PacketBuf;
use crate::time::Instant;
use crate::wire::{self, ipv4, ipv6, protocol};

/// Any bytes: five per piece.
pub fn fragment(bytes: &[u8]) {
    let limits = FragmentLimits {
        datagrams_max: 3,
        per_source_max: 2,
        bytes_max: 5 * 2_048,
        timeout: Duration::from_secs(1),
    };
    let mut reassembler = Reassembler::new(limits, HashKey([1, 2]));
    let mut now = Instant::ZERO;
    let mut memory = vec![0; 70_000];
    for step in bytes.chunks_exact(5).take(300) {
        if step[0] >= 250 {
            now = now + Duration::from_millis(u64::from(step[1]) * 10);
            reassembler.handle_timeout(now, usize::from(step[2] % 4));
            reassembler.check();
            continue;
        }
        let Some(frame) = piece(step) else { continue };
        let Ok(headers) = wire::parse(&frame) else { continue };
        if headers.fragment.is_none() {
            continue;
        }
        let mut out = PacketBuf::new(&mut memory, 0, 0);
        if reassembler.handle(&frame, &headers, &mut out, now) == Ok(true) {
            // The parser may still refuse the whole, but must not take it for a piece.
            if let Ok(whole) = wire::parse(out.bytes()) {
                assert!(whole.fragment.is_none_or(|fragment| fragment.offset == 0 && !fragment.more));
                assert_eq!((whole.source, whole.destination), (headers.source, headers.destination));
            }
            cut(out.bytes(), u16::from(step[4]) * 8);
        }
        reassembler.check();
    }
    now = now + Duration::from_secs(2);
    reassembler.handle_timeout(now, 10);
    reassembler.check();
    assert!(reassembler.is_empty());
}

fn cut(frame: &[u8], mtu: u16) {
    let Some(mut split) = Split::new(frame, mtu, 77) else { return };
    let mut memory = vec![0; 4_096];
    loop {
        let mut out = PacketBuf::new(&mut memory, 0, 0);
        if split.poll_piece(&mut out).is_none() {
            break;
        }
        let len = out.len();
        assert!(len <= usize::from(mtu) + frame.len().min(22));
    }
}

/// One piece: family and datagram, offset, length, whether more follow, a byte to fill it with.
fn piece(step: &[u8]) -> Option<Vec<u8>> {
    let (id, more) = (step[0] % 3, step[0] & 8 != 0);
    let offset = u16::from(step[1] % 64) * if step[0] & 64 == 0 { 8 } else { 1_016 };
    let len = u16::from(step[2]) * if step[0] & 32 == 0 { 8 } else { 16 };
    let data = vec![step[3]; usize::from(len)];
    let mut frame = vec![0; 14];
    if step[0] & 4 == 0 {
        frame[12..].copy_from_slice(&[8, 0]);
        frame.resize(34, 0);
        let repr = ipv4::Repr {
            source: [10, 0, 0, id].into(),
            destination: [10, 0, 1, 1].into(),
            protocol: if step[0] & 16 == 0 { protocol::UDP } else { protocol::TCP },
            payload_len: len,
            ttl: 9,
            dscp_ecn: step[3] & 3,
            ident: 5,
            dont_fragment: false,
        };
        repr.emit(&mut frame[14..])?;
        let mut packet = ipv4::Packet::new_checked(&mut frame[14..]).ok()?;
        packet.set_fragment(offset, more, false);
        packet.fill_checksum();
    } else {
        frame[12..].copy_from_slice(&[0x86, 0xdd]);
        frame.resize(62, 0);
        let repr = ipv6::Repr {
            source: [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(id)].into(),
            destination: [0xfd00, 0, 0, 0, 0, 0, 1, 1].into(),
            next_header: ipv6::NEXT_HEADER_FRAGMENT,
            payload_len: len + 8,
            hop_limit: 9,
            traffic_class: 0,
            flow_label: 0,
        };
        repr.emit(&mut frame[14..])?;
        frame[54] = protocol::UDP;
        frame[56..58].copy_from_slice(&(offset | u16::from(more)).to_be_bytes());
    }
    frame.extend(data);
    Some(frame)
}
