//! Two workers: frames that land on the wrong one.

use secbeat_net::fragment::Split;
use secbeat_net::packet::PacketBuf;
use secbeat_net::verdict::DropReason;
use secbeat_node::telemetry::counters::Counter;

use super::packet::Datagram;
use super::world::{CONFIG, VIP, World, at};

#[test]
fn answer_of_a_backend_finds_its_worker_by_the_port() {
    let mut world = World::with_workers(CONFIG, 2);
    let mut talk = world.establish(at("10.1.0.9", 1)).expect("established");
    world.say(&mut talk, b"question");
    let heard = world.answer_at(1, &mut talk, b"answer");
    assert!(heard.iter().any(|segment| segment.payload == b"answer"), "{heard:?}");
    assert_eq!(world.workers[1].counters().get(Counter::FramesHandedOver), 1);
    assert_eq!(world.workers[0].counters().get(Counter::FramesTakenOver), 1);
}

#[test]
fn segment_of_a_client_finds_its_worker_by_the_hint() {
    let mut world = World::with_workers(CONFIG, 2);
    let mut talk = world.establish(at("10.1.0.9", 1)).expect("established");
    world.say(&mut talk, b"on the right worker");
    let segment = super::packet::Segment::new(
        talk.client,
        talk.vip,
        secbeat_net::wire::tcp::Flags::ACK | secbeat_net::wire::tcp::Flags::PSH,
        talk.client_seq,
        talk.client_ack,
    );
    let segment = segment.with_timestamps(8, talk.echo).with_payload(b"on the wrong one");
    world.inject(1, 0, &segment.frame([2; 6], [2, 0, 0, 0, 0, 1]));
    assert!(world.to_backends().iter().any(|heard| heard.payload == b"on the wrong one"));
    assert_eq!(world.workers[1].counters().get(Counter::FramesHandedOver), 1);
}

#[test]
fn long_answer_that_lands_on_the_wrong_worker_in_fragments_reaches_the_client() {
    let mut world = World::with_workers(CONFIG, 2);
    let ask = Datagram::new(at("10.1.0.9", 4_000), at(VIP, 5_300), b"question");
    let sent = world.datagram(0, &ask);
    let [(1, asked)] = &sent[..] else { panic!("one datagram to the backend: {sent:?}") };
    let long: Vec<u8> = (0..4_000u32).map(|n| n as u8).collect();
    let answer = Datagram::new(asked.destination, asked.source, &long).frame([2; 6], [2, 0, 0, 0, 0, 1]);
    let mut split = Split::new(&answer, 1_500, 77).expect("a packet");
    let mut buffer = [0; 2_048];
    loop {
        let mut piece = PacketBuf::new(&mut buffer, 0, 0);
        if split.poll_piece(&mut piece).is_none() {
            break;
        }
        world.inject(1, 1, piece.bytes());
    }
    assert_eq!(world.workers[1].counters().get(Counter::FramesHandedOver), 1);
    assert_eq!(world.workers[0].counters().get(Counter::Reassembled), 1);
    let pieces = world.raw(0);
    assert_eq!(pieces.len(), 3);
    let bytes: usize = pieces.iter().map(|piece| piece.len() - 14 - 20).sum();
    assert_eq!(bytes, 8 + long.len());
}

#[test]
fn frame_for_a_port_that_nobody_owns_is_dropped_where_it_landed() {
    let mut world = World::with_workers(CONFIG, 2);
    let mut talk = world.establish(at("10.1.0.9", 1)).expect("established");
    talk.snat.set_port(30_000);
    assert!(world.answer_at(1, &mut talk, b"x").is_empty());
    assert_eq!(world.workers[1].counters().drops(DropReason::NoListener), 1);
    assert_eq!(world.workers[1].counters().get(Counter::FramesHandedOver), 0);
}

#[test]
fn each_worker_speaks_from_its_own_ports() {
    let world = World::with_workers(CONFIG, 4);
    let ports = &world.shared.policy().snat_ports;
    let mut seen = std::collections::HashSet::new();
    for worker in 0..4 {
        let slice = ports.slice(worker);
        assert_eq!(slice.count(), 1_000);
        for port in slice.first..=slice.last {
            assert!(seen.insert(port), "port {port} twice");
            assert_eq!(ports.owner(port), Some(worker));
        }
    }
    assert_eq!((ports.owner(19_999), ports.owner(24_000)), (None, None));
}
