//! Body of the fuzz target `net_udp`, also called by the corpus replay: bytes drive opens, datagrams of both sides
//! and time; nothing panics and the parts of the forwarder agree.

use core::time::Duration;

use arrayvec::ArrayVec;

use super::{UdpForwarder, UdpLimits, UdpOpenRequest, UdpProxyHeader};
use crate::flow::{Endpoint, FlowKey, HashKey, Protocol};
use crate::link::{Link, PortId};
use crate::packet::PacketBuf;
use crate::splice::{
    BackendId, BackendTarget, Backends, Context, Ingress, PortRange, Source, SpliceKeys, Verdict,
};
use crate::time::Instant;
use crate::wire::checksum::{L4Checksum, verify_l4};
use crate::wire::{self, ipv4, protocol, udp};

/// Any bytes.
pub fn forwarder(bytes: &[u8]) {
    let Some(link) = Link::new(PortId(1), 1_500, &[1; 14]) else { return };
    let limits = UdpLimits {
        flows_max: 3,
        backends_max: 2,
        ports: PortRange { first: 50_000, last: 50_001 },
        proxy_header: if bytes.first() == Some(&1) {
            UdpProxyHeader::Every
        } else {
            UdpProxyHeader::default()
        },
        ..UdpLimits::default()
    };
    let mut backends = Backends::default();
    for id in 0..2 {
        let target = BackendTarget {
            endpoint: Endpoint { addr: [10, 0, 2, id as u8].into(), port: 53 },
            link: Some(link),
            source: Source::Snat(ArrayVec::from_iter([[10, 0, 1, 1].into()])),
            proxy_protocol: id == 1,
        };
        backends.set(BackendId(id), Some(target));
    }
    let keys = SpliceKeys { table: HashKey([1, 2]), isn: HashKey([3, 4]) };
    let mut forwarder = UdpForwarder::new(limits, keys);
    let mut now = Instant::from_millis(1_000);
    for step in bytes.chunks_exact(4).take(500) {
        let client = Endpoint { addr: [10, 0, 0, 1].into(), port: u16::from(step[1] % 8) };
        let listener = Endpoint { addr: [10, 0, 0, 2].into(), port: 53 };
        let key = FlowKey { protocol: Protocol::Udp, source: client, destination: listener };
        match step[0] % 4 {
            0 => {
                let backend = BackendId(u16::from(step[2] % 3));
                let request = UdpOpenRequest { key, client_link: link, backend, tag: 0 };
                let _ = forwarder.open(&request, &backends, now);
            }
            1 => datagram(&mut forwarder, &backends, &key, step, now),
            2 => {
                let ours = Endpoint { addr: [10, 0, 1, 1].into(), port: 50_000 + u16::from(step[1] % 2) };
                let backend = Endpoint { addr: [10, 0, 2, step[2] % 2].into(), port: 53 };
                let key = FlowKey { protocol: Protocol::Udp, source: backend, destination: ours };
                datagram(&mut forwarder, &backends, &key, step, now);
            }
            _ => {
                now = now + Duration::from_millis(u64::from(step[1]) * 100);
                forwarder.handle_timeout(now, usize::from(step[2] % 4));
            }
        }
        forwarder.check();
    }
    for _ in 0..8 {
        now = now + Duration::from_secs(200);
        forwarder.handle_timeout(now, 100);
    }
    let counts = forwarder.counts();
    assert_eq!(counts.one_way + counts.two_way, 0, "everything ends");
    let ended = core::iter::from_fn(|| forwarder.poll_event()).count() as u64;
    assert_eq!(ended, forwarder.counters().opened);
}

fn datagram(forwarder: &mut UdpForwarder, backends: &Backends, key: &FlowKey, step: &[u8], now: Instant) {
    let payload_len = u16::from(step[3]) * 5;
    let (core::net::IpAddr::V4(source), core::net::IpAddr::V4(destination)) =
        (key.source.addr, key.destination.addr)
    else {
        return;
    };
    let mut memory = [0; 2_048];
    let frame = &mut memory[128..];
    frame[12] = 8;
    let ip = ipv4::Repr {
        source,
        destination,
        protocol: protocol::UDP,
        payload_len: payload_len + 8,
        ttl: 9,
        dscp_ecn: 0,
        ident: 0,
        dont_fragment: step[3].is_multiple_of(2),
    };
    let _ = ip.emit(&mut frame[14..]);
    let _ = udp::emit(&mut frame[34..], key.source.port, key.destination.port, payload_len);
    let mut packet = PacketBuf::new(&mut memory, 128, 42 + usize::from(payload_len));
    let Ok(headers) = wire::parse(packet.bytes()) else { return };
    let checksum = if step[3].is_multiple_of(3) { L4Checksum::Valid } else { L4Checksum::Partial };
    let ingress = Ingress { port: PortId(0), mtu: 1_500, checksum };
    let verdict = forwarder.handle(&mut packet, &headers, &Context { backends, ingress }, now);
    if let Verdict::Transmit(_) = verdict {
        let headers = wire::parse(packet.bytes()).expect("we send what we can read");
        assert_eq!(verify_l4(&headers, packet.bytes()), L4Checksum::Valid);
    }
}
