//! Events, numbers and orders.

use std::sync::Arc;

use secbeat_proto::v1;
use secbeat_proto::v1::command::Kind as Ordered;
use secbeat_proto::v1::node_message::Kind as Up;
use secbeat_proto::v1::orchestrator_message::Kind as Down;

use super::fake::*;
use crate::agent::link::{Link, Numbers};
use crate::agent::simulated::SimulatedHost;
use crate::agent::{Host, Order};
use crate::api::SecurityEvent;
use crate::api::events::{Class, Level};

fn event(number: usize) -> SecurityEvent {
    SecurityEvent::new(Class::Attack, Level::Warn, "worker-0", "attack_started").with("number", number)
}

fn numbers(batch: &v1::EventBatch) -> impl Iterator<Item = usize> + '_ {
    batch.events.iter().map(|event| event.details["number"].parse().unwrap())
}

#[tokio::test]
async fn events_that_were_not_acknowledged_come_again_after_a_cut() {
    let (mut fake, host) = (Fake::start().await, host());
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    (0..500).for_each(|number| host.link().push_event(event(number)));
    let first = peer.events().await;
    assert_eq!((first.sequence, first.events.len()), (1, 200));
    let second = peer.events().await;
    peer.send(Down::EventAck(v1::EventAck { sequence: 1 })).await;
    eventually("the acknowledgement arrives", || Numbers::get(&host.link().numbers.events_sent) == 200).await;
    drop((peer, second));
    let (mut again, _) = fake.greet(1).await;
    let mut seen = Vec::new();
    while seen.len() < 300 {
        let batch = again.events().await;
        seen.extend(numbers(&batch));
        again.send(Down::EventAck(v1::EventAck { sequence: batch.sequence })).await;
    }
    assert_eq!(seen, (200..500).collect::<Vec<_>>());
    eventually("all are acknowledged", || Numbers::get(&host.link().numbers.events_sent) == 500).await;
    assert_eq!(Numbers::get(&host.link().numbers.events_lost), 0);
}

#[tokio::test]
async fn events_lost_while_there_was_no_orchestrator_are_told() {
    let mut fake = Fake::start().await;
    let host = SimulatedHost::new("node-1", uuid::Uuid::from_u128(1)).with_link(Link::new(100));
    let host = Arc::new(host);
    (0..150).for_each(|number| host.link().push_event(event(number)));
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    let batch = peer.events().await;
    assert_eq!(batch.lost["agent"], 50);
    assert_eq!(numbers(&batch).next(), Some(50), "the oldest are those that go");
    let shown = &batch.events[0];
    assert_eq!((shown.class.as_str(), shown.name.as_str()), ("attack", "attack_started"));
    assert_eq!(shown.severity(), v1::Severity::Warn);
}

#[tokio::test]
async fn numbers_come_whole_once_and_then_as_changes() {
    let (mut fake, host) = (Fake::start().await, host());
    let samples = |value| vec![(Arc::from("secbeat_a_total"), value), (Arc::from("secbeat_b"), 1.0)];
    host.set_samples(samples(1.0));
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    let first = peer.until(telemetry).await;
    assert!(first.is_whole && first.samples.len() == 2 && first.load.is_some());
    host.set_samples(samples(5.0));
    let changed = peer
        .until(|kind| telemetry(kind).filter(|report| !report.is_whole && !report.indexed.is_empty()))
        .await;
    assert_eq!(changed.indexed, [v1::IndexedSample { index: 0, value: 5.0 }]);
    // A heartbeat, too, without anybody's asking.
    let beat = peer.until(|kind| if let Up::Heartbeat(beat) = kind { Some(beat) } else { None }).await;
    assert_eq!((beat.phase.as_str(), hash(&beat.applied_hash)), ("active", host.set().hash()));
}

#[tokio::test]
async fn orders_are_followed_and_answered() {
    let (mut fake, host) = (Fake::start().await, host());
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    let order = |id, kind| Down::Command(v1::Command { id, epoch: 1, kind: Some(kind) });
    peer.send(order(1, Ordered::Reload(v1::command::Reload {}))).await;
    let answer = peer.until(result).await;
    assert_eq!((answer.id, answer.is_ok, answer.message.as_str()), (1, true, "reloaded"));
    peer.send(order(2, Ordered::Drain(v1::command::Drain { stop: false }))).await;
    assert_eq!(peer.until(result).await.id, 2);
    assert_eq!(host.orders(), [Order::Reload, Order::Drain { stop: false }]);
    peer.send(order(3, Ordered::Resync(v1::command::Resync {}))).await;
    assert!(peer.until(result).await.is_ok);
    let hello = peer.hello().await;
    assert!(!hello.wants_resync, "nothing was lost");
}

fn telemetry(kind: Up) -> Option<v1::Telemetry> {
    if let Up::Telemetry(report) = kind { Some(report) } else { None }
}

fn result(kind: Up) -> Option<v1::CommandResult> {
    if let Up::CommandResult(result) = kind { Some(result) } else { None }
}
