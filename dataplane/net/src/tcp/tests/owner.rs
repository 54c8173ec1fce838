//! The owner's side: back-pressure both ways, events, ids that died.

use super::harness::*;
use crate::tcp::{ConnectionId, Event, State};
use crate::verdict::DropReason;

#[test]
fn what_the_owner_leaves_is_stored_and_later_data_queues_behind_it() {
    let mut world = World::plain();
    world.takes = 2;
    assert_eq!(world.send(data(1, 1, b"abcd")), Out::Data(b"abcd".to_vec()));
    assert_eq!(world.send(data(5, 1, b"efgh")), Out::Consumed, "not lent: `cd` comes first");
    assert_eq!(world.events(), [], "the owner knows that it left something");
    assert_eq!(world.stack.peek(world.id), b"cdefgh");
    world.stack.consume(world.id, 3, world.now);
    assert_eq!(world.read_all(), b"fgh");
    world.takes = 9;
    assert_eq!(world.send(data(9, 1, b"i")), Out::Data(b"i".to_vec()));
    world.pass_ms(40);
    assert_eq!(world.drain().last().unwrap().ack, 10);
}

#[test]
fn data_that_was_lent_and_never_answered_for_comes_again() {
    let mut world = World::plain();
    world.takes = 0;
    world.send(data(1, 1, b"abc"));
    world.read_all();
    // As a caller that forgot `received`: the next frame of anybody ends the loan.
    let id = world.id;
    world.stack.received(id, b"not lent", world.now);
    assert_eq!(world.stack.peek(id), b"");
}

#[test]
fn full_send_queue_takes_less_and_says_when_there_is_room() {
    let mut setup = Setup::default();
    setup.limits.send.queue_bytes_max = 20_000;
    let mut world = World::new(setup);
    let taken = world.stack.send(world.id, &[1; 50_000], world.now);
    assert!((1..=20_000 + 2_048).contains(&taken), "{taken}");
    assert_eq!(world.stack.send_room(world.id), 0);
    assert_eq!(world.stack.send(world.id, b"x", world.now), 0);
    let mut acked = 1;
    for segment in world.drain() {
        acked = acked.max(segment.seq + segment.data.len() as u32);
    }
    world.send(ack(1, acked));
    assert_eq!(world.events(), [Event::Writable { connection: world.id, user: 0 }]);
    assert!(world.stack.send_room(world.id) > 0);
}

#[test]
fn owner_is_told_to_try_again_when_chunks_were_short() {
    let mut setup = Setup::default();
    setup.limits.chunk_bytes_max = 8 * 2_048;
    let mut world = World::new(setup);
    let hog = world.id;
    world.stack.send(hog, &[1; 100_000], world.now);
    world.port = 41_000;
    world.id = world.open(41_000).unwrap();
    world.stack.set_user(world.id, 77);
    let taken = world.stack.send(world.id, &[1; 100_000], world.now);
    world.stack.abort(hog, world.now);
    world.drain();
    world.events();
    if taken == 0 {
        world.pass_ms(25);
        assert_eq!(world.events(), [Event::Writable { connection: world.id, user: 77 }]);
    }
    assert!(world.stack.send_room(world.id) > 0);
}

#[test]
fn user_number_comes_back_in_events() {
    let mut world = World::plain();
    world.stack.set_user(world.id, 0xdead_beef);
    assert_eq!(world.stack.user(world.id), 0xdead_beef);
    world.send(data(5, 1, b"b"));
    world.send(data(1, 1, b"aaaa"));
    assert_eq!(world.events(), [Event::Readable { connection: world.id, user: 0xdead_beef }]);
}

#[test]
fn dead_id_names_nothing() {
    let mut world = World::plain();
    let old = world.id;
    world.stack.abort(old, world.now);
    world.drain();
    world.closed();
    let new = world.open(40_000).unwrap();
    assert_eq!(old.index(), new.index(), "the slot is used again");
    assert_ne!(old, new);
    for id in [old, ConnectionId::from_bits(u64::MAX), ConnectionId::from_bits(99)] {
        assert_eq!(world.stack.send(id, b"x", world.now), 0);
        assert_eq!(world.stack.peek(id), b"");
        world.stack.finish(id, world.now);
        world.stack.close(id, world.now);
        world.stack.abort(id, world.now);
        world.stack.consume(id, 1, world.now);
        world.stack.received(id, b"x", world.now);
        assert_eq!((world.stack.state(id), world.stack.send_room(id)), (State::Closed, 0));
    }
    assert_eq!(world.stack.state(new), State::Established);
    assert_eq!(ConnectionId::from_bits(new.to_bits()), new);
}

#[test]
fn opening_again_finds_the_same_connection() {
    let mut world = World::plain();
    assert_eq!(world.open(40_000), Ok(world.id));
    assert_eq!(world.stack.counters().opened, 1);
}

#[test]
fn full_table_and_draining_refuse() {
    let mut world = World::plain();
    for port in 41_000..41_063 {
        world.open(port).unwrap();
    }
    assert_eq!(world.open(42_000), Err(DropReason::FlowTableFull));
    assert_eq!(world.stack.counters().table_full, 1);
    world.stack.abort(world.id, world.now);
    world.drain();
    world.events();
    world.stack.set_draining(true);
    assert_eq!(world.open(42_000), Err(DropReason::Draining));
    world.stack.set_draining(false);
    assert!(world.open(42_000).is_ok());
}

#[test]
fn connections_take_turns_in_sending() {
    let mut world = World::plain();
    let mut expected = Vec::new();
    for port in 41_000..41_004 {
        world.port = port;
        let id = world.open(port).unwrap();
        world.stack.send(id, &[port as u8; 14_600], world.now);
        expected.push(port as u8);
    }
    let order: Vec<u8> = world.drain().iter().map(|segment| segment.data[0]).collect();
    assert_eq!(order.len(), 40);
    let mut seen = order.clone();
    seen.dedup();
    assert_eq!(seen, expected, "each sends its window in one go");
}
