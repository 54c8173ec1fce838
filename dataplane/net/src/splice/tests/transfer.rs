//! Segments of an open flow: numbers, windows, options, checksums, what may pass and what may not.

use super::harness::*;
use crate::link::{Link, PortId};
use crate::splice::Event;
use crate::verdict::DropReason;
use crate::wire::checksum::L4Checksum;
use crate::wire::icmp::{Error, ErrorKind};
use crate::wire::tcp::Flags;
use crate::wire::{self, headers};

const C1: u32 = C.wrapping_add(1);
/// Our first number towards the client.
const N1: u32 = N + 1;
const B1: u32 = B + 1;

fn up_data(payload: &[u8]) -> Tcp {
    seg(Flags::ACK | Flags::PSH, C1, N1).data(payload)
}

#[test]
fn every_pair_of_families_is_translated() {
    for (client_v6, backend_v6) in [(false, false), (true, true), (true, false), (false, true)] {
        for proxy_protocol in [false, true] {
            let setup = Setup { client_v6, backend_v6, proxy_protocol, ..Setup::default() };
            let mut world = World::established(setup);
            let passed = world.client_sends(up_data(b"ping")).backend_gets();
            assert_eq!((passed.source, passed.destination), (world.source, world.backend));
            assert_eq!((passed.seq, passed.ack), (world.up(0), B1));
            assert_eq!(passed.payload, b"ping");
            let reply = seg(Flags::ACK, B1, world.up(4)).data(b"pong!");
            let passed = world.backend_sends(reply).client_gets();
            assert_eq!((passed.source, passed.destination), (world.listener, world.client));
            assert_eq!((passed.seq, passed.ack), (N1, C1.wrapping_add(4)));
            assert_eq!((passed.payload.as_slice(), passed.mac), (b"pong!".as_slice(), 0xc1));
        }
    }
}

#[test]
fn windows_are_read_in_the_scale_that_each_side_was_told() {
    // The backend shifts by 9, the client was told 7; the client shifts by 8 and the backend knows.
    let mut world = World::established(Setup::default());
    for (sent, read) in [(0, 0), (1, 4), (100, 400), (0x3fff, 0xfffc), (0x4000, 0xffff), (0xffff, 0xffff)] {
        let ack = seg(Flags::ACK, B1, world.up(0)).window(sent);
        assert_eq!(world.backend_sends(ack).client_gets().window, read);
        let ack = seg(Flags::ACK, C1, N1).window(sent);
        assert_eq!(world.client_sends(ack).backend_gets().window, sent);
    }
}

#[test]
fn sack_blocks_name_the_receivers_own_numbers() {
    let mut world = World::established(Setup { proxy_protocol: true, ..Setup::default() });
    world.client_sends(up_data(&[7; 3_0])).backend_gets();
    let (left, right) = (world.up(10), world.up(20));
    let mut options = vec![1, 1, 5, 10];
    options.extend(left.to_be_bytes());
    options.extend(right.to_be_bytes());
    let ack = seg(Flags::ACK, B1, world.up(0)).options(&options);
    let passed = world.backend_sends(ack).client_gets();
    let sack = passed.read_options();
    assert_eq!(sack.sack.map(|sack| sack.count), Some(1));
    assert_eq!(passed.options[4..8], C1.wrapping_add(10).to_be_bytes());
    assert_eq!(passed.options[8..12], C1.wrapping_add(20).to_be_bytes());
    // And the other way, at an odd offset.
    world.backend_sends(seg(Flags::ACK, B1, world.up(0)).data(&[1; 30])).client_gets();
    let mut options = vec![1, 5, 10];
    options.extend((N1 + 5).to_be_bytes());
    options.extend((N1 + 9).to_be_bytes());
    options.push(1);
    let passed =
        world.client_sends(seg(Flags::ACK, C1.wrapping_add(30), N1).options(&options)).backend_gets();
    assert_eq!(passed.options[3..7], (B1 + 5).to_be_bytes());
    assert_eq!(passed.options[7..11], (B1 + 9).to_be_bytes());
}

#[test]
fn duplicate_sack_about_the_proxy_header_stays_between_us() {
    let mut world = World::established(Setup { proxy_protocol: true, ..Setup::default() });
    world.client_sends(up_data(b"12345678")).backend_gets();
    let mut options = vec![1, 1, 5, 10];
    options.extend(world.s.wrapping_add(1).to_be_bytes());
    options.extend(world.s.wrapping_add(29).to_be_bytes());
    let ack = seg(Flags::ACK, B1, world.up(8)).options(&options);
    assert_eq!(world.backend_sends(ack).client_gets().options, [1; 12]);
}

#[test]
fn partial_checksum_of_a_local_sender_is_completed() {
    let mut world = World::established(Setup::default());
    let mut tcp = up_data(b"from a veth");
    (tcp.source, tcp.destination) = (world.client, world.listener);
    let mut bytes = tcp.bytes();
    let pseudo = wire::checksum::pseudo(tcp.source.ip(), tcp.destination.ip(), 6, bytes.len() - 34);
    bytes[34 + 16..34 + 18].copy_from_slice(&pseudo.fold().to_be_bytes());
    // `Tcp::read` verifies the checksum of what leaves.
    let passed = world.handle(CLIENT_PORT, &bytes, L4Checksum::Partial).backend_gets();
    assert_eq!(passed.payload, b"from a veth");
    assert_eq!(world.handle(CLIENT_PORT, &bytes, L4Checksum::Invalid), Out::Drop(DropReason::L4Checksum));
}

#[test]
fn damage_before_us_stays_visible_behind_us() {
    let mut world = World::established(Setup::default());
    let mut tcp = up_data(b"payload");
    (tcp.source, tcp.destination) = (world.client, world.listener);
    let mut bytes = tcp.bytes();
    *bytes.last_mut().unwrap() ^= 0x40;
    let mut memory = vec![0; 512];
    memory[256..256 + bytes.len()].copy_from_slice(&bytes);
    let mut packet = crate::packet::PacketBuf::new(&mut memory, 256, bytes.len());
    let headers = headers::parse(packet.bytes()).unwrap();
    let backends = world.backends.clone();
    let ingress = crate::splice::Ingress { port: CLIENT_PORT, mtu: 1_500, checksum: L4Checksum::Valid };
    let context = crate::splice::Context { backends: &backends, ingress };
    let verdict = world.splice.handle(&mut packet, &headers, &context, world.now);
    assert_eq!(verdict, crate::splice::Verdict::Transmit(BACKEND_PORT));
    let headers = headers::parse(packet.bytes()).unwrap();
    assert_eq!(wire::checksum::verify_l4(&headers, packet.bytes()), L4Checksum::Invalid);
}

#[test]
fn keep_alive_window_probe_and_urgent_data_pass() {
    let mut world = World::established(Setup::default());
    world.client_sends(up_data(b"12345")).backend_gets();
    world.backend_sends(seg(Flags::ACK, B1, world.up(5)).window(0)).client_gets();
    let after = C1.wrapping_add(5);
    let keep_alive = world.client_sends(seg(Flags::ACK, after.wrapping_sub(1), N1)).backend_gets();
    assert_eq!(keep_alive.seq, world.up(4));
    let probe = world.client_sends(seg(Flags::ACK, after, N1).data(b"6")).backend_gets();
    assert_eq!(probe.payload, b"6");
    let mut urgent = seg(Flags::ACK | Flags::URG, after, N1).data(b"67");
    urgent.urgent = 1;
    let passed = world.client_sends(urgent).backend_gets();
    assert_eq!((passed.urgent, passed.flags), (1, Flags::ACK | Flags::URG));
}

#[test]
fn segments_outside_the_window_go_nowhere() {
    let mut world = World::established(Setup::default());
    let before = world.splice.counts();
    // Far before, far beyond, and an acknowledgement of what nobody sent.
    for tcp in [
        seg(Flags::ACK, C1.wrapping_sub(100_000), N1).data(b"old"),
        seg(Flags::ACK, C1.wrapping_add(1 << 30), N1).data(b"far"),
        seg(Flags::ACK, C1, N1 + 1).data(b"ack"),
        seg(Flags::ACK, C1, N1.wrapping_sub(1 << 28)).data(b"old ack"),
    ] {
        assert_eq!(world.client_sends(tcp), Out::Drop(DropReason::OutOfWindow));
    }
    assert_eq!(world.client_sends(seg(Flags::NONE, C1, 0)), Out::Drop(DropReason::TcpFlags));
    let unsent = seg(Flags::ACK, B1, world.up(1)).data(b"x");
    assert_eq!(world.backend_sends(unsent), Out::Drop(DropReason::OutOfWindow));
    assert_eq!(world.splice.counts(), before);
}

#[test]
fn packet_of_no_flow_is_a_miss() {
    let mut world = World::established(Setup::default());
    world.client.set_port(9);
    assert_eq!(world.client_sends(up_data(b"x")), Out::Miss);
}

#[test]
fn client_is_followed_to_another_link_only_by_segments_that_fit() {
    let mut world = World::established(Setup::default());
    let moved = |mut tcp: Tcp| {
        tcp.mac = 0xc9;
        tcp
    };
    let forged = moved(seg(Flags::ACK, C1.wrapping_add(1 << 30), N1).data(b"x"));
    assert_eq!(world.client_sends(forged), Out::Drop(DropReason::OutOfWindow));
    let reply = seg(Flags::ACK, B1, world.up(0));
    assert_eq!(world.backend_sends(reply.clone()).client_gets().mac, 0xc1);
    world.client_sends(moved(up_data(b"x"))).backend_gets();
    assert_eq!(world.backend_sends(reply).client_gets().mac, 0xc9);
    assert_eq!(world.splice.counters().client_moves, 1);
    // A VLAN and another port count as well.
    let mut tcp = up_data(b"x");
    (tcp.source, tcp.destination) = (world.client, world.listener);
    let mut bytes = tcp.bytes();
    bytes.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
    world.handle(PortId(0), &bytes, L4Checksum::Valid).backend_gets();
    assert_eq!(world.splice.counters().client_moves, 2);
}

#[test]
fn segment_too_big_for_the_other_link_tells_its_sender() {
    for (client_v6, backend_v6, told) in [(false, false, 1_300), (true, false, 1_320), (true, true, 1_300)] {
        let mut world = World::established(Setup { client_v6, backend_v6, ..Setup::default() });
        let mut target = world.backends.target(BACKEND).unwrap().clone();
        target.link = Some(link(BACKEND_PORT, 0xb0, 1_300));
        world.backends.set(BACKEND, Some(target));
        let mut tcp = up_data(&[0; 1_350]);
        (tcp.source, tcp.destination) = (world.client, world.listener);
        let mut memory = vec![0; 2_304];
        let bytes = tcp.bytes();
        memory[256..256 + bytes.len()].copy_from_slice(&bytes);
        let mut packet = crate::packet::PacketBuf::new(&mut memory, 256, bytes.len());
        let headers = wire::parse(packet.bytes()).unwrap();
        let backends = world.backends.clone();
        let ingress = crate::splice::Ingress { port: CLIENT_PORT, mtu: 1_500, checksum: L4Checksum::Valid };
        let context = crate::splice::Context { backends: &backends, ingress };
        let verdict = world.splice.handle(&mut packet, &headers, &context, world.now);
        assert_eq!(verdict, crate::splice::Verdict::Transmit(CLIENT_PORT));
        let headers = wire::parse(packet.bytes()).unwrap();
        let error = Error::parse(packet.bytes(), &headers).unwrap().unwrap();
        assert_eq!(error.kind, ErrorKind::TooBig { mtu: told });
        assert_eq!(error.inner.seq, C1);
        assert_eq!(headers.destination, world.client.ip());
        // What did not leave is not in flight: an acknowledgement of it is a lie.
        let lie = seg(Flags::ACK, B1, world.up(1_350));
        assert_eq!(world.backend_sends(lie), Out::Drop(DropReason::OutOfWindow));
        assert!(world.splice.counters().too_big_sent == 1);
    }
}

#[test]
fn segment_that_may_be_fragmented_is_let_through_for_cutting() {
    let mut world = World::established(Setup::default());
    let mut target = world.backends.target(BACKEND).unwrap().clone();
    target.link = Some(link(BACKEND_PORT, 0xb0, 1_300));
    world.backends.set(BACKEND, Some(target));
    let mut tcp = up_data(&[0; 1_350]);
    tcp.dont_fragment = false;
    assert_eq!(world.client_sends(tcp).backend_gets().payload.len(), 1_350);
}

#[test]
fn backend_without_a_link_gets_nothing_until_it_has_one() {
    let mut world = World::established(Setup::default());
    let target = world.backends.target(BACKEND).unwrap().clone();
    let unknown = crate::splice::BackendTarget { link: None, ..target.clone() };
    world.backends.set(BACKEND, Some(unknown));
    assert_eq!(world.client_sends(up_data(b"x")), Out::Drop(DropReason::NoNeighbor));
    world.backends.set(BACKEND, Some(target));
    world.client_sends(up_data(b"x")).backend_gets();
}

#[test]
fn ecn_and_dscp_pass_and_the_hop_limit_is_ours() {
    let mut world = World::established(Setup { ecn: true, ..Setup::default() });
    let mut tcp = up_data(b"x");
    (tcp.dscp_ecn, tcp.ttl) = (46 << 2 | 0b11, 1);
    let passed = world.client_sends(tcp).backend_gets();
    assert_eq!((passed.dscp_ecn, passed.ttl), (46 << 2 | 0b11, 64));
    assert!(passed.dont_fragment);
}

#[test]
fn forged_syn_in_an_open_flow_is_challenged_at_most_twice_a_second() {
    let mut world = World::established(Setup { timestamps: true, ..Setup::default() });
    world.backend_sends(seg(Flags::ACK, B1, world.up(0)).data(b"abc").timestamps(900_001, 0)).client_gets();
    let challenge = world.client_sends(seg(Flags::SYN, 12_345, 0)).client_gets();
    assert_eq!((challenge.flags, challenge.seq, challenge.ack), (Flags::ACK, N1 + 3, C1));
    assert_eq!(challenge.read_timestamps().value, 7_001);
    assert_eq!(world.client_sends(seg(Flags::SYN, 12_345, 0)), Out::Drop(DropReason::OutOfWindow));
    world.pass_time(core::time::Duration::from_millis(500));
    world.client_sends(seg(Flags::SYN, 12_345, 0)).client_gets();
    assert_eq!(world.splice.counters().challenge_acks, 2);
    assert_eq!(world.splice.counts().established, 1);
}

#[test]
fn traffic_is_counted_per_direction() {
    let mut world = World::established(Setup::default());
    world.client_sends(up_data(b"12345")).backend_gets();
    world.client_sends(up_data(b"12345")).backend_gets();
    world.backend_sends(seg(Flags::ACK, B1, world.up(5)).data(b"123")).client_gets();
    let flow = world.flow;
    world.splice.abort(flow, world.now);
    let events = world.events();
    let [Event::Closed { to_backend, to_client, .. }] = events[..] else { panic!("{events:?}") };
    assert_eq!((to_backend.bytes, to_backend.packets), (10, 2));
    assert_eq!((to_client.bytes, to_client.packets), (3, 1));
}

#[test]
fn long_transfer_passes_the_wrap_of_both_numberings() {
    let mut world = World::established(Setup { proxy_protocol: true, ..Setup::default() });
    // 6 GiB in steps that stay in the window: every comparison sees both halves of the space.
    let step = 60_000;
    let (mut up, mut down) = (0u32, 0u32);
    for _ in 0..110_000 {
        let tcp = seg(Flags::ACK, C1.wrapping_add(up), N1.wrapping_add(down)).window(0xffff).data(b"x");
        let passed = world.client_sends(tcp).backend_gets();
        assert_eq!((passed.seq, passed.ack), (world.up(up), B1.wrapping_add(down)));
        // The gap up to the step is skipped: the flow only follows what it sees.
        let tcp =
            seg(Flags::ACK, C1.wrapping_add(up).wrapping_add(step - 1), N1.wrapping_add(down)).data(b"x");
        up = up.wrapping_add(step);
        world.client_sends(tcp.window(0xffff)).backend_gets();
        let tcp = seg(Flags::ACK, B1.wrapping_add(down), world.up(up)).window(0xffff).data(b"y");
        let passed = world.backend_sends(tcp).client_gets();
        assert_eq!((passed.seq, passed.ack), (N1.wrapping_add(down), C1.wrapping_add(up)));
        down = down.wrapping_add(1);
    }
}

#[test]
fn link_of_the_harness_is_what_a_reply_needs() {
    let header = [[0xa0; 6].as_slice(), &[0xc1; 6], &[0x08, 0x00]].concat();
    assert_eq!(Link::reply_to(CLIENT_PORT, 1_500, &header), Some(link(CLIENT_PORT, 0xc1, 1_500)));
}
