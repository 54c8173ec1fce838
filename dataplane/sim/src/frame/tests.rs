//! What is written can be read, and what is broken is noticed.

use super::write::write;
use super::*;
use crate::random::Random;

fn packet(is_v6: bool, vlans: Vec<u16>, payload: Payload) -> Packet {
    let (source, destination) = if is_v6 { ("fd00::1", "fd00::2") } else { ("10.0.0.1", "10.0.0.2") };
    let address = |text: &str| text.parse().expect("an address");
    let link = LinkHeader { destination: [2; 6], source: [4; 6], vlans };
    Packet { link, source: address(source), destination: address(destination), hop_limit: 64, payload }
}

fn segment() -> Payload {
    Payload::Tcp(Segment {
        source_port: 1_000,
        destination_port: 80,
        seq: 0xffff_fff0,
        ack: 7,
        flags: flag::ACK | flag::PSH,
        window: 500,
        options: Options { timestamps: Some((1, 2)), sack: vec![(1, 2), (5, 9)], ..Options::default() },
        data: b"odd".to_vec(),
    })
}

#[test]
fn every_shape_of_packet_reads_back_as_written() {
    let syn = Options { mss: Some(1460), window_scale: Some(7), sack_permitted: true, ..Options::default() };
    let payloads = [
        segment(),
        Payload::Tcp(Segment { flags: flag::SYN, options: syn, ..Segment::default() }),
        Payload::Udp(Datagram { source_port: 53, destination_port: 99, data: vec![1, 2, 3] }),
        Payload::Icmp { kind: 3, code: 4, rest: vec![0; 12] },
        Payload::Fragment { protocol: 17, id: 99, offset: 1_480, more: true, bytes: vec![7; 16] },
    ];
    for payload in payloads {
        for is_v6 in [false, true] {
            for vlans in [vec![], vec![7], vec![7, 4_000]] {
                let packet = packet(is_v6, vlans, payload.clone());
                assert_eq!(read(&write(&packet)), Ok(packet));
            }
        }
    }
}

#[test]
fn one_flipped_bit_of_a_segment_is_noticed() {
    let packet = packet(false, vec![], segment());
    let frame = write(&packet);
    for bit in 14 * 8..frame.len() * 8 {
        let mut broken = frame.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&broken).is_err(), "bit {bit}");
    }
}

#[test]
fn noise_is_refused_without_a_panic() {
    let mut random = Random::new(3, "noise");
    for _ in 0..20_000 {
        let mut frame = write(&packet(random.chance(500), vec![], segment()));
        for _ in 0..random.between(1, 8) {
            let at = random.below(frame.len() as u64) as usize;
            frame[at] = random.bits() as u8;
        }
        frame.truncate(random.between(0, frame.len() as u64) as usize);
        let _ = read(&frame);
    }
}
