//! Fragments as hosts and routers make them, and as receiving hosts put them together.

use crate::frame::{self, LinkHeader, Packet, Payload, write};
use core::net::IpAddr;
use std::collections::BTreeMap;

/// Cuts a packet into fragments whose payload is at most `bytes_max` (rounded down to a multiple of 8).
pub fn cut(packet: &Packet, id: u32, bytes_max: usize) -> Vec<Packet> {
    let (protocol, body) = write::body(packet);
    let step = (bytes_max & !7).max(8);
    let starts = (0..body.len()).step_by(step);
    starts
        .map(|start| {
            let end = (start + step).min(body.len());
            let payload = Payload::Fragment {
                protocol,
                id,
                offset: start as u16,
                more: end < body.len(),
                bytes: body[start..end].to_vec(),
            };
            Packet { payload, ..packet.clone() }
        })
        .collect()
}

/// Who sent which datagram.
type Key = (IpAddr, IpAddr, u32, u8);

/// Fragments that wait for the rest.
#[derive(Debug, Default)]
pub struct Reassembly {
    parts: BTreeMap<Key, Parts>,
}

#[derive(Debug, Default)]
struct Parts {
    bytes: BTreeMap<u16, Vec<u8>>,
    len: Option<usize>,
}

impl Reassembly {
    /// Takes a packet; returns it whole when it is, or becomes so with this fragment.
    pub fn handle(&mut self, packet: Packet) -> Option<Packet> {
        let Payload::Fragment { protocol, id, offset, more, bytes } = packet.payload else {
            return Some(packet);
        };
        let key = (packet.source, packet.destination, id, protocol);
        let parts = self.parts.entry(key).or_default();
        if !more {
            parts.len = Some(usize::from(offset) + bytes.len());
        }
        parts.bytes.insert(offset, bytes);
        let whole = parts.whole()?;
        self.parts.remove(&key);
        let payload = frame::read::read_body(packet.source, packet.destination, protocol, &whole).ok()?;
        let link = LinkHeader { ..packet.link };
        Some(Packet { link, payload, ..packet })
    }
}

impl Parts {
    fn whole(&self) -> Option<Vec<u8>> {
        let mut whole = Vec::new();
        for (&offset, bytes) in &self.bytes {
            if usize::from(offset) > whole.len() {
                return None;
            }
            whole.truncate(usize::from(offset));
            whole.extend(bytes);
        }
        (self.len == Some(whole.len())).then_some(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Datagram;
    use crate::random::pattern;

    #[test]
    fn fragments_in_any_order_make_the_datagram_again() {
        let data: Vec<u8> = (0..3_000).map(|offset| pattern(1, offset)).collect();
        let address = |text: &str| text.parse().expect("an address");
        let packet = Packet {
            link: LinkHeader { destination: [2; 6], source: [4; 6], vlans: vec![] },
            source: address("fd00::1"),
            destination: address("fd00::2"),
            hop_limit: 64,
            payload: Payload::Udp(Datagram { source_port: 5, destination_port: 6, data }),
        };
        let mut fragments = cut(&packet, 77, 1_000);
        assert_eq!(fragments.len(), 4);
        fragments.reverse();
        let mut reassembly = Reassembly::default();
        let mut whole = None;
        for fragment in fragments {
            let fragment = frame::read(&write::write(&fragment)).expect("a fragment reads back");
            assert!(whole.is_none());
            whole = reassembly.handle(fragment);
        }
        assert_eq!(whole, Some(packet));
    }
}
