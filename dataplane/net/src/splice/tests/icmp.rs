//! ICMP errors about what we sent.

use super::harness::*;
use crate::flow::{FlowKey, Protocol};
use crate::icmp::{Quote, emit};
use crate::packet::PacketBuf;
use crate::splice::{Event, FailReason, Verdict};
use crate::verdict::DropReason;
use crate::wire::icmp::{Error, ErrorKind};
use crate::wire::tcp::Flags;
use crate::wire::{self, checksum};

const C1: u32 = C.wrapping_add(1);
const N1: u32 = N + 1;

/// An error from a router about a packet of ours from `source` to `destination`.
fn error(
    kind: ErrorKind,
    source: core::net::SocketAddr,
    destination: core::net::SocketAddr,
    seq: u32,
) -> Vec<u8> {
    let key =
        FlowKey { protocol: Protocol::Tcp, source: endpoint(source), destination: endpoint(destination) };
    let mut memory = [0; 256];
    let mut packet = PacketBuf::new(&mut memory, 0, 0);
    let quote = Quote { key, second: seq, payload_len: 1_400 };
    emit(&mut packet, &link(BACKEND_PORT, 0xa0, 1_500), kind, &quote).unwrap();
    packet.bytes().to_vec()
}

fn read(bytes: &[u8]) -> (wire::Headers, Error) {
    let headers = wire::parse(bytes).unwrap();
    assert_eq!(checksum::verify_l4(&headers, bytes), checksum::L4Checksum::Valid);
    (headers, Error::parse(bytes, &headers).unwrap().unwrap())
}

#[test]
fn too_big_from_the_backends_side_reaches_the_client_in_its_own_numbers() {
    for (client_v6, backend_v6, told) in
        [(false, false, 1_400), (true, true, 1_400), (true, false, 1_420), (false, true, 1_380)]
    {
        let setup = Setup { client_v6, backend_v6, proxy_protocol: true, ..Setup::default() };
        let mut world = World::established(setup);
        world.client_sends(seg(Flags::ACK, C1, N1).data(&[1; 1_300])).backend_gets();
        let bytes = error(ErrorKind::TooBig { mtu: 1_400 }, world.source, world.backend, world.up(0));
        let (verdict, bytes) = world.handle_icmp(BACKEND_PORT, &bytes);
        assert_eq!(verdict, Verdict::Transmit(CLIENT_PORT));
        let (headers, error) = read(&bytes);
        assert_eq!((headers.source, headers.destination), (world.listener.ip(), world.client.ip()));
        assert_eq!(error.kind, ErrorKind::TooBig { mtu: told });
        assert_eq!(error.inner.seq, C1);
        assert_eq!(error.inner.flow.source, endpoint(world.client));
        assert_eq!(error.inner.flow.destination, endpoint(world.listener));
    }
}

#[test]
fn too_big_from_the_clients_side_reaches_the_backend() {
    let mut world = World::established(Setup::default());
    world.backend_sends(seg(Flags::ACK, B + 1, world.up(0)).data(&[1; 1_300])).client_gets();
    let bytes = error(ErrorKind::TooBig { mtu: 1_000 }, world.listener, world.client, N1);
    let (verdict, bytes) = world.handle_icmp(CLIENT_PORT, &bytes);
    assert_eq!(verdict, Verdict::Transmit(BACKEND_PORT));
    let (headers, error) = read(&bytes);
    assert_eq!((headers.source, headers.destination), (world.backend.ip(), world.source.ip()).swap());
    assert_eq!((error.kind, error.inner.seq), (ErrorKind::TooBig { mtu: 1_000 }, B + 1));
}

trait Swap {
    fn swap(self) -> Self;
}

impl<T> Swap for (T, T) {
    fn swap(self) -> Self {
        (self.1, self.0)
    }
}

#[test]
fn forged_error_does_not_pass() {
    let mut world = World::established(Setup::default());
    world.client_sends(seg(Flags::ACK, C1, N1).data(b"1234")).backend_gets();
    let kind = ErrorKind::TooBig { mtu: 600 };
    for seq in [world.up(5), world.up(0).wrapping_sub(1)] {
        let bytes = error(kind, world.source, world.backend, seq);
        let (verdict, _) = world.handle_icmp(BACKEND_PORT, &bytes);
        assert_eq!(verdict, Verdict::Drop(DropReason::IcmpUnmatched), "RFC 5927: not in flight");
    }
    let mut other = world.source;
    other.set_port(39_999);
    let bytes = error(kind, other, world.backend, world.up(0));
    assert_eq!(world.handle_icmp(BACKEND_PORT, &bytes).0, Verdict::Miss);
}

#[test]
fn absurd_path_mtu_is_bounded_or_refused() {
    let mut world = World::established(Setup::default());
    world.client_sends(seg(Flags::ACK, C1, N1).data(b"1234")).backend_gets();
    let bytes = error(ErrorKind::TooBig { mtu: 68 }, world.source, world.backend, world.up(0));
    let (_, bytes) = world.handle_icmp(BACKEND_PORT, &bytes);
    assert_eq!(read(&bytes).1.kind, ErrorKind::TooBig { mtu: 552 });
    let mut world = World::established(Setup { client_v6: true, backend_v6: true, ..Setup::default() });
    world.client_sends(seg(Flags::ACK, C1, N1).data(b"1234")).backend_gets();
    let bytes = error(ErrorKind::TooBig { mtu: 1_000 }, world.source, world.backend, world.up(0));
    let (verdict, _) = world.handle_icmp(BACKEND_PORT, &bytes);
    assert_eq!(verdict, Verdict::Drop(DropReason::IcmpUnmatched));
}

#[test]
fn unreachable_backend_fails_while_opening_and_is_only_reported_later() {
    let mut world = World::new(Setup::default());
    let flow = world.open().unwrap();
    let syn = world.client_sends(world.handshake_ack()).backend_gets();
    world.note_syn(&syn);
    world.events();
    let kind = ErrorKind::Unreachable { code: 1 };
    let forged = error(kind, world.source, world.backend, syn.seq.wrapping_add(7));
    assert_eq!(world.handle_icmp(BACKEND_PORT, &forged).0, Verdict::Drop(DropReason::IcmpUnmatched));
    let bytes = error(kind, world.source, world.backend, syn.seq);
    assert_eq!(world.handle_icmp(BACKEND_PORT, &bytes).0, Verdict::Consumed);
    let reason = FailReason::Unreachable;
    assert_eq!(world.events(), [Event::BackendFailed { flow, tag: 77, backend: BACKEND, reason }]);

    let mut world = World::established(Setup { client_v6: true, ..Setup::default() });
    world.client_sends(seg(Flags::ACK, C1, N1).data(b"1234")).backend_gets();
    let bytes = error(ErrorKind::Unreachable { code: 3 }, world.source, world.backend, world.up(0));
    let (verdict, bytes) = world.handle_icmp(BACKEND_PORT, &bytes);
    assert_eq!(verdict, Verdict::Transmit(CLIENT_PORT));
    assert_eq!(read(&bytes).1.kind, ErrorKind::Unreachable { code: 4 }, "port unreachable, as IPv6 says it");
    assert_eq!(world.splice.counts().established, 1, "a soft error (RFC 5927 §5.2)");
}

#[test]
fn echo_is_for_the_kernel() {
    let mut world = World::established(Setup::default());
    let mut bytes = error(ErrorKind::TimeExceeded, world.source, world.backend, 0);
    bytes[34] = 8;
    assert_eq!(world.handle_icmp(BACKEND_PORT, &bytes).0, Verdict::Miss);
}
