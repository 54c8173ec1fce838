//! What becomes of a policy.

use secbeat_config::policy::Set;
use secbeat_proto::v1;
use secbeat_proto::v1::ResourceState::{Applied, NeedsRestart, NeedsWhole, Rejected, Superseded};

use super::fake::*;

fn name(text: &str) -> String {
    text.to_owned()
}

#[tokio::test]
async fn change_is_applied_acknowledged_with_what_is_in_force_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut fake, host) = (Fake::start().await, host());
    let agent = run(settings_in(&fake.url(), dir.path()), &host);
    let (mut peer, hello) = fake.greet(1).await;
    assert_eq!((hello.held.len(), hello.wants_resync, hello.hostname.as_str()), (0, false, "node-1"));
    let wanted = set(&[list("a", "192.0.2.0/24"), list("b", "198.51.100.0/24")]);
    peer.policy(delta(&Set::new(), &wanted, 3, 7, 1)).await;
    let ack = peer.ack(7).await;
    assert_eq!(states(&ack), [(name("a"), Applied), (name("b"), Applied)]);
    assert_eq!((hash(&ack.applied_hash), ack.dataplane_generation), (wanted.hash(), 2));
    assert_eq!(host.set(), wanted);
    let kept = crate::agent::load_policy(dir.path());
    assert_eq!((kept.held.set(), kept.revision, kept.epoch, kept.resync), (&wanted, 3, 1, None));
    // Without an orchestrator the node starts with what it has, and says so when there is one again.
    fake.stop();
    agent.abort();
    let mut fake = Fake::start().await;
    let again = run(settings_in(&fake.url(), dir.path()), &host);
    let hello = fake.accept().await.hello().await;
    let held: Vec<_> = hello.held.iter().map(|digest| digest.version).collect();
    assert_eq!(held, [3, 3]);
    again.abort();
}

#[tokio::test]
async fn refused_resource_is_refused_alone_and_the_earlier_one_stays() {
    let (mut fake, host) = (Fake::start().await, host());
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    let first = set(&[list("a", "192.0.2.0/24"), list("b", "198.51.100.0/24")]);
    peer.policy(delta(&Set::new(), &first, 1, 1, 1)).await;
    peer.ack(1).await;
    let second = set(&[list("a", "192.0.2.0/25"), list("b", "198.51.100.0/25"), list("c", "203.0.113.0/24")]);
    // Refused as it is new, not as it was.
    let bad = list("a", "192.0.2.0/25");
    host.reject_body(bad.body.to_string(), "it does not fit");
    peer.policy(delta(&first, &second, 2, 2, 1)).await;
    let ack = peer.ack(2).await;
    assert_eq!(states(&ack), [(name("a"), Rejected), (name("b"), Applied), (name("c"), Applied)]);
    assert!(ack.results[0].error.contains("does not fit"));
    assert_eq!(hash(&ack.results[0].hash), bad.hash, "as it was announced");
    let expected =
        set(&[list("a", "192.0.2.0/24"), list("b", "198.51.100.0/25"), list("c", "203.0.113.0/24")]);
    assert_eq!((host.set(), hash(&ack.applied_hash)), (expected.clone(), expected.hash()));
}

#[tokio::test]
async fn set_that_fails_as_a_whole_is_tried_one_by_one() {
    let (mut fake, host) = (Fake::start().await, host());
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    let bad = list("bad", "198.51.100.0/24");
    host.fail_with(bad.key.clone(), "address in use");
    let wanted = set(&[list("a", "192.0.2.0/24"), bad, list("c", "203.0.113.0/24")]);
    peer.policy(delta(&Set::new(), &wanted, 1, 1, 1)).await;
    let ack = peer.ack(1).await;
    assert_eq!(states(&ack), [(name("a"), Applied), (name("bad"), Rejected), (name("c"), Applied)]);
    assert!(ack.results[1].error.contains("address in use"));
    assert_eq!(host.set().len(), 2);
    assert_eq!(hash(&ack.applied_hash), host.set().hash());
}

#[tokio::test]
async fn node_that_can_apply_nothing_keeps_what_it_had() {
    let (mut fake, host) = (Fake::start().await, host());
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    let first = set(&[list("a", "192.0.2.0/24")]);
    peer.policy(delta(&Set::new(), &first, 1, 1, 1)).await;
    peer.ack(1).await;
    host.fail(Some("no memory"));
    let second = set(&[list("a", "192.0.2.0/25")]);
    peer.policy(delta(&first, &second, 2, 2, 1)).await;
    let ack = peer.ack(2).await;
    assert_eq!(states(&ack), [(name("a"), Rejected)]);
    assert_eq!((host.set(), hash(&ack.applied_hash)), (first.clone(), first.hash()));
    host.fail(None);
    peer.policy(delta(&first, &second, 3, 3, 1)).await;
    assert_eq!(states(&peer.ack(3).await), [(name("a"), Applied)]);
}

#[tokio::test]
async fn repeated_and_reordered_changes_end_in_the_newest() {
    let (mut fake, host) = (Fake::start().await, host());
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    let (old, new) = (set(&[list("a", "192.0.2.0/24")]), set(&[list("a", "192.0.2.0/25")]));
    let (first, second) = (delta(&Set::new(), &old, 1, 1, 1), delta(&old, &new, 2, 2, 1));
    peer.policy(second.clone()).await;
    assert_eq!(states(&peer.ack(2).await), [(name("a"), Applied)]);
    peer.policy(first).await;
    assert_eq!(states(&peer.ack(1).await), [(name("a"), Superseded)]);
    peer.policy(v1::PolicyDelta { nonce: 3, ..second }).await;
    assert_eq!(states(&peer.ack(3).await), [(name("a"), Applied)]);
    assert_eq!(host.set(), new);
}

#[tokio::test]
async fn changes_that_wait_are_applied_together_and_each_is_answered() {
    let (mut fake, host) = (Fake::start().await, host());
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    host.set_apply_delay(core::time::Duration::from_millis(300));
    let sets: Vec<_> = (0..10).map(|n| set(&[list("a", &format!("192.0.2.{n}/32"))])).collect();
    let mut held = Set::new();
    for (n, wanted) in sets.iter().enumerate() {
        let n = n as u64 + 1;
        peer.policy(delta(&held, wanted, n, n, 1)).await;
        held = wanted.clone();
    }
    let mut answered = Vec::new();
    for nonce in 1..=10 {
        answered.push(peer.ack(nonce).await.results[0].state());
    }
    assert_eq!(answered[9], Applied);
    assert!(answered.iter().filter(|state| **state == Superseded).count() >= 1, "{answered:?}");
    assert!(host.applies() < 10, "{} times", host.applies());
    assert_eq!(host.set(), sets[9]);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_alone_and_a_patch_without_base_is_asked_for_whole() {
    let (mut fake, host) = (Fake::start().await, host());
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    let wanted = set(&[list("a", "192.0.2.0/24")]);
    let mut message = delta(&Set::new(), &wanted, 1, 1, 1);
    let good = message.upserts[0].clone();
    let key = |name: &str, kind: i32| Some(v1::ResourceKey { kind, name: name.into() });
    message.upserts.push(v1::ResourceUpdate { key: key("of-the-future", 99), ..good.clone() });
    message.upserts.push(v1::ResourceUpdate { key: key("short", 6), hash: vec![1, 2], ..good.clone() });
    let patch = v1::RulePatch { base_hash: vec![7; 32], upserts: Vec::new(), removals: Vec::new() };
    message.upserts.push(v1::ResourceUpdate {
        key: key("patched", 3),
        content: Some(v1::resource_update::Content::Patch(patch)),
        ..good
    });
    peer.policy(message).await;
    let mut states = states(&peer.ack(1).await);
    states.sort_by(|a, b| a.0.cmp(&b.0));
    let expected =
        [("a", Applied), ("of-the-future", Rejected), ("patched", NeedsWhole), ("short", Rejected)];
    assert_eq!(states, expected.map(|(text, state)| (name(text), state)));
    // A change without a hash is none; the stream goes on.
    let broken = v1::PolicyDelta { nonce: 2, set_hash: Vec::new(), ..delta(&Set::new(), &wanted, 2, 2, 1) };
    peer.policy(broken).await;
    assert_eq!(peer.ack(2).await.results[0].state(), Rejected);
    assert_eq!(host.set(), wanted);
}

#[tokio::test]
async fn resource_that_needs_a_restart_is_kept_but_not_claimed_to_be_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let (mut fake, host) = (Fake::start().await, host());
    run(settings_in(&fake.url(), dir.path()), &host);
    let (mut peer, _) = fake.greet(1).await;
    let late = list("late", "192.0.2.0/24");
    host.need_restart(late.key.clone());
    let wanted = set(&[late, list("now", "198.51.100.0/24")]);
    peer.policy(delta(&Set::new(), &wanted, 1, 1, 1)).await;
    let ack = peer.ack(1).await;
    assert_eq!(states(&ack), [(name("late"), NeedsRestart), (name("now"), Applied)]);
    assert_eq!(hash(&ack.applied_hash), set(&[list("now", "198.51.100.0/24")]).hash());
    assert_eq!(crate::agent::load_policy(dir.path()).held.set(), &wanted);
}
