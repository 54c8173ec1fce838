//! Ban lists of both sides.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use secbeat_config::ban::{Entry, Origin, Replica};
use secbeat_proto::v1;
use secbeat_proto::v1::node_message::Kind as Up;
use secbeat_proto::v1::orchestrator_message::Kind as Down;

use super::fake::*;
use crate::agent::Host;
use crate::agent::exchange::PART_ENTRIES_MAX;

const HOUR: Duration = Duration::from_secs(3_600);

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn replica() -> Replica {
    Replica::keeper([9; 16], 100_000, 0)
}

fn ban(replica: &mut Replica, prefix: &str) -> Entry {
    replica.ban(net(prefix), None, "by hand", Origin::Operator, "alice", None, now_ms()).unwrap()
}

fn message(replica: &Replica, entries: Vec<Entry>, is_whole: bool, has_more: bool) -> Down {
    Down::Bans(v1::BanDelta {
        entries: entries.into_iter().map(v1::BanEntry::from).collect(),
        is_whole,
        digest: replica.digest().to_vec(),
        has_more,
    })
}

fn take(replica: &mut Replica, delta: v1::BanDelta) {
    assert!(delta.entries.len() <= PART_ENTRIES_MAX);
    let entries = delta.entries.into_iter().map(|entry| Entry::try_from(entry).unwrap());
    replica.merge(entries, now_ms());
}

#[tokio::test]
async fn bans_travel_both_ways_and_lifts_too() {
    let (mut fake, host, mut replica) = (Fake::start().await, host(), replica());
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    let entry = ban(&mut replica, "192.0.2.7/32");
    peer.send(message(&replica, vec![entry], false, false)).await;
    eventually("the ban arrives", || host.is_banned(&net("192.0.2.7/32"))).await;
    host.ban(net("198.51.100.0/24"), HOUR, "connection_rate");
    let delta = peer.bans().await;
    assert!(!delta.is_whole);
    take(&mut replica, delta.clone());
    assert_eq!(delta.digest, replica.digest(), "both have the same now");
    let lift = replica.lift(net("198.51.100.0/24"), "alice", "", now_ms()).unwrap();
    peer.send(message(&replica, vec![lift], false, false)).await;
    eventually("the lift arrives", || !host.is_banned(&net("198.51.100.0/24"))).await;
    host.lift(net("192.0.2.7/32"), "mistake");
    take(&mut replica, peer.bans().await);
    assert_eq!(replica.active(now_ms()).count(), 0);
    assert_eq!(host.bans_digest().0, replica.digest());
}

#[tokio::test]
async fn lists_that_parted_are_brought_together_in_parts() {
    let (mut fake, host, mut replica) = (Fake::start().await, host(), replica());
    for n in 0..5_000u32 {
        host.ban(net(&format!("10.{}.{}.0/24", n / 256, n % 256)), HOUR, "scan");
    }
    let _ = host.link().take_bans(usize::MAX);
    for n in 0..3_000u32 {
        ban(&mut replica, &format!("172.{}.{}.0/24", n / 256, n % 256));
    }
    run(settings(&fake.url()), &host);
    let (mut peer, hello) = fake.greet(1).await;
    assert_ne!(hello.bans_digest, replica.digest());
    let all: Vec<Entry> = replica.entries().collect();
    let (first, second) = all.split_at(PART_ENTRIES_MAX);
    peer.send(message(&replica, first.to_vec(), true, true)).await;
    peer.send(message(&replica, second.to_vec(), true, false)).await;
    let mut digest = Vec::new();
    while digest != replica.digest() {
        let delta = peer.bans().await;
        digest.clone_from(&delta.digest);
        take(&mut replica, delta);
    }
    assert_eq!((host.bans_active(), replica.len()), (8_000, 8_000));
    assert_eq!(host.bans_digest().0, replica.digest());
}

#[tokio::test]
async fn bans_set_during_a_partition_are_told_afterwards() {
    let (mut fake, host, mut replica) = (Fake::start().await, host(), replica());
    run(settings(&fake.url()), &host);
    let (peer, _) = fake.greet(1).await;
    drop(peer);
    let mut peer = fake.accept().await;
    peer.hello().await;
    host.ban(net("198.51.100.7/32"), HOUR, "request_rate");
    peer.welcome(1).await;
    take(&mut replica, peer.bans().await);
    assert_eq!(replica.active(now_ms()).next().unwrap().prefix, net("198.51.100.7/32"));
}

#[tokio::test]
async fn more_changes_than_wait_become_an_exchange_of_everything() {
    let (mut fake, host, mut replica) = (Fake::start().await, host(), replica());
    for n in 0..20_000u32 {
        host.ban(net(&format!("10.{}.{}.{}/32", n / 65_536, n / 256 % 256, n % 256)), HOUR, "scan");
    }
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    let mut was_whole = false;
    while replica.len() < 20_000 {
        let delta = peer.bans().await;
        was_whole |= delta.is_whole;
        take(&mut replica, delta);
    }
    assert!(was_whole);
}

#[tokio::test]
async fn entry_that_is_none_does_not_spoil_the_others() {
    let (mut fake, host, mut replica) = (Fake::start().await, host(), replica());
    run(settings(&fake.url()), &host);
    let (peer, _) = fake.greet(1).await;
    let good = v1::BanEntry::from(ban(&mut replica, "192.0.2.7/32"));
    let bad = v1::BanEntry { prefix: "everybody".into(), ..good.clone() };
    let delta = v1::BanDelta { entries: vec![bad, good], ..Default::default() };
    peer.send(Down::Bans(delta)).await;
    eventually("the good one arrives", || host.is_banned(&net("192.0.2.7/32"))).await;
}

#[tokio::test]
async fn hits_of_bans_are_told() {
    let (mut fake, host) = (Fake::start().await, host());
    host.ban(net("198.51.100.7/32"), HOUR, "request_rate");
    host.set_ban_hits(net("198.51.100.7/32"), 42);
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    let hits = peer
        .until(|kind| if let Up::Telemetry(report) = kind { report.ban_hits.first().cloned() } else { None })
        .await;
    assert_eq!((hits.prefix.as_str(), hits.packets, hits.is_enforced), ("198.51.100.7/32", 42, true));
}
