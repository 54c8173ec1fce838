//! Body of the fuzz target `net_syn`, also called by the corpus replay. Not part of the API.

use super::{KeySchedule, Offer, answer_syn, check};
use crate::flow::HashKey;
use crate::packet::PacketBuf;
use crate::time::Instant;
use crate::wire::checksum::{L4Checksum, verify_l4};
use crate::wire::fuzz::repaired;
use crate::wire::{parse, tcp};

/// Any bytes as a frame: if it is a SYN, answer it, and take the ACK of the answer.
pub fn syn(bytes: &[u8]) {
    let bytes = &repaired(bytes)[..];
    let Ok(headers) = parse(bytes) else { return };
    let keys = KeySchedule::new(HashKey([1, 2])).keys(3);
    let mut memory = bytes.to_vec();
    memory.resize(bytes.len() + 64, 0xee);
    let mut packet = PacketBuf::new(&mut memory, 0, bytes.len());
    if answer_syn(&mut packet, &headers, &keys, &Offer::default(), Instant::from_millis(9)).is_err() {
        assert_eq!(packet.bytes(), bytes, "a SYN that is not answered is left as it was");
        return;
    }
    let reply = parse(packet.bytes()).expect("our answer parses");
    assert_eq!(verify_l4(&reply, packet.bytes()), L4Checksum::Valid);
    assert_eq!(reply.end, packet.len());
    let flow = headers.flow_key().expect("a SYN has ports");
    assert_eq!(reply.flow_key(), Some(flow.reversed()));
    let segment = packet.bytes().get(reply.l4..reply.end).map(tcp::Segment::new_checked);
    let segment = segment.expect("inside the frame").expect("our answer has a TCP header");
    let options = segment.options().expect("our options parse");
    let echo = options.timestamps.map(|timestamps| timestamps.value);
    let kept = check(&keys, &flow, segment.ack().wrapping_sub(1), segment.seq(), echo);
    assert!(kept.is_some(), "the ACK of our answer passes");
}
