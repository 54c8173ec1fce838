//! Every limit at its edge: slots, half-open flows, ports, events.

use core::time::Duration;

use super::harness::*;
use crate::splice::{CloseReason, EVENTS_MAX, Event, PortRange, SpliceLimits};
use crate::verdict::DropReason;
use crate::wire::tcp::Flags;

const C1: u32 = C.wrapping_add(1);
const N1: u32 = N + 1;
const B1: u32 = B + 1;

fn setup(flows_max: u32, half_open_max: u32, ports: u16) -> Setup {
    let limits = SpliceLimits {
        flows_max,
        half_open_max,
        ports: PortRange { first: 40_000, last: 40_000 + ports - 1 },
        ..Setup::default().limits
    };
    Setup { limits, ..Setup::default() }
}

/// Opens and establishes a flow from another client port.
fn establish(world: &mut World, client_port: u16) {
    world.client.set_port(client_port);
    world.open().unwrap();
    let syn = world.client_sends(world.handshake_ack()).backend_gets();
    world.note_syn(&syn);
    world.backend_sends(world.syn_ack(&syn)).backend_gets();
}

fn finish(world: &mut World) {
    world.client_sends(seg(Flags::FIN_ACK, C1, N1)).backend_gets();
    world.backend_sends(seg(Flags::FIN_ACK, B1, world.up(1))).client_gets();
    world.client_sends(seg(Flags::ACK, C1.wrapping_add(1), N1 + 1)).backend_gets();
}

#[test]
fn full_table_gives_up_time_wait_then_half_open_and_never_an_established_flow() {
    let mut world = World::new(setup(3, 3, 8));
    establish(&mut world, 1);
    finish(&mut world);
    world.client.set_port(2);
    let half_open = world.open().unwrap();
    establish(&mut world, 3);
    world.events();
    assert_eq!(world.splice.counts().flows, 3);

    establish(&mut world, 4);
    assert_eq!((world.splice.counts().time_wait, world.splice.counters().evicted_time_wait), (0, 1));
    world.events();
    establish(&mut world, 5);
    let evicted = world.events().into_iter().find_map(|event| match event {
        Event::Closed { flow, reason, .. } => Some((flow, reason)),
        _ => None,
    });
    assert_eq!(evicted, Some((half_open, CloseReason::Evicted)));
    assert!(!world.splice.abort(half_open, world.now), "its id is dead");

    world.client.set_port(6);
    assert_eq!(world.open(), Err(DropReason::FlowTableFull));
    assert_eq!(world.splice.counts().established, 3);
    world.splice.check();
}

#[test]
fn half_open_flows_have_their_own_limit() {
    let mut world = World::new(setup(8, 2, 8));
    establish(&mut world, 1);
    for port in 2..6 {
        world.client.set_port(port);
        world.open().unwrap();
    }
    assert_eq!(world.splice.counts().half_open, 2);
    assert_eq!(world.splice.counters().evicted_half_open, 2);
    assert_eq!(world.splice.counts().established, 1);
}

#[test]
fn ports_run_out_and_time_wait_gives_its_port_back() {
    let mut world = World::new(setup(8, 8, 2));
    establish(&mut world, 1);
    establish(&mut world, 2);
    world.client.set_port(3);
    assert_eq!(world.open(), Err(DropReason::NoPort));
    world.client.set_port(2);
    finish(&mut world);
    establish(&mut world, 3);
    assert_eq!(world.source.port(), 40_001);
    assert_eq!(world.splice.counters().evicted_time_wait, 1);
    world.splice.check();
}

#[test]
fn refused_open_leaks_no_port() {
    let mut world = World::new(setup(1, 1, 8));
    establish(&mut world, 1);
    for port in 2..50 {
        world.client.set_port(port);
        assert_eq!(world.open(), Err(DropReason::FlowTableFull));
        world.splice.check();
    }
}

#[test]
fn draining_opens_nothing_and_lets_the_rest_go_on() {
    let mut world = World::established(Setup::default());
    world.splice.set_draining(true);
    world.client_sends(seg(Flags::ACK, C1, N1).data(b"x")).backend_gets();
    world.client.set_port(9);
    assert_eq!(world.open(), Err(DropReason::Draining));
    world.splice.set_draining(false);
    world.open().unwrap();
}

#[test]
fn unknown_backend_and_unknown_neighbor_are_told_apart() {
    let mut world = World::new(Setup::default());
    let target = world.backends.target(BACKEND).unwrap().clone();
    world.backends.set(BACKEND, Some(crate::splice::BackendTarget { link: None, ..target }));
    assert_eq!(world.open(), Err(DropReason::NoNeighbor));
    world.backends.set(BACKEND, None);
    assert_eq!(world.open(), Err(DropReason::NoBackend));
    let mut world = World::new(Setup { client_v6: true, is_transparent: true, ..Setup::default() });
    assert_eq!(world.open(), Err(DropReason::NoBackend), "a kept source needs one family");
}

#[test]
fn transparent_flows_of_one_client_port_do_not_mix() {
    let mut world = World::new(Setup { is_transparent: true, ..Setup::default() });
    world.open().unwrap();
    world.listener.set_port(444);
    assert_eq!(world.open(), Err(DropReason::NoPort));
}

#[test]
fn events_that_nobody_takes_are_counted_not_kept() {
    let mut world = World::new(setup(2, 1, 8));
    for _ in 0..EVENTS_MAX {
        world.client.set_port(world.client.port() % 50_000 + 1);
        world.open().unwrap();
    }
    let lost = world.splice.counters().events_lost;
    assert!(lost > 0);
    assert_eq!(world.events().len(), EVENTS_MAX);
}

#[test]
fn flow_without_events_or_traffic_is_gone_in_the_end() {
    let mut world = World::new(Setup::default());
    world.open().unwrap();
    for _ in 0..20 {
        world.pass_time(Duration::from_secs(1));
        world.sent();
    }
    assert_eq!(world.splice.counts().flows, 0);
    assert_eq!(world.splice.poll_timeout(), None);
}
