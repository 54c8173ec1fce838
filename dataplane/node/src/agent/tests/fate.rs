//! What happens to the connection: cuts, spoilt messages, leaders that are none, files that are damaged.

use core::time::Duration;
use std::fs;

use secbeat_config::policy::{Resource, Set};
use secbeat_proto::v1;
use secbeat_proto::v1::ResourceState::{Applied, Rejected};
use secbeat_proto::v1::command::Kind as Order;
use secbeat_proto::v1::node_message::Kind as Up;
use secbeat_proto::v1::orchestrator_message::Kind as Down;

use super::fake::*;
use crate::agent::link::Numbers;
use crate::agent::{Host, POLICY_FILE_NAME};

#[tokio::test]
async fn change_cut_in_the_middle_changes_nothing_and_comes_whole_the_next_time() {
    let (mut fake, host) = (Fake::start().await, host());
    let proxy = Proxy::start(fake.address).await;
    // Enough for the greeting, far less than the change.
    proxy.set(Wire::CutAfter(2_000));
    run(settings(&proxy.url), &host);
    let prefixes: Vec<_> = (0..=255).map(|n| format!("\"192.0.{n}.0/24\"")).collect();
    let body = format!(r#"{{"action":"block","prefixes":[{}]}}"#, prefixes.join(","));
    let large = Resource::parse("list/large".parse().unwrap(), &body).unwrap();
    let wanted = set(&[large]);
    let (mut peer, _) = fake.greet(1).await;
    proxy.set(Wire::Good);
    peer.policy(delta(&Set::new(), &wanted, 1, 1, 1)).await;
    let (mut again, hello) = fake.greet(1).await;
    peer.ended().await;
    assert_eq!((host.set().len(), hello.held.len()), (0, 0));
    again.policy(delta(&Set::new(), &wanted, 1, 1, 1)).await;
    assert_eq!(again.ack(1).await.results[0].state(), Applied);
    assert_eq!(host.set(), wanted);
}

#[tokio::test]
async fn message_that_is_none_ends_the_stream_and_the_node_comes_back() {
    let (mut fake, host) = (Fake::start().await, host());
    let proxy = Proxy::start(fake.address).await;
    proxy.set(Wire::Spoil(b"SPOILTNAME"));
    run(settings(&proxy.url), &host);
    let (mut peer, _) = fake.greet(1).await;
    proxy.set(Wire::Good);
    // Text that is no UTF-8 once it has arrived: the message cannot be decoded.
    let wanted = set(&[list("SPOILTNAME", "192.0.2.0/24")]);
    peer.policy(delta(&Set::new(), &wanted, 1, 1, 1)).await;
    peer.ended().await;
    let (mut again, _) = fake.greet(1).await;
    again.policy(delta(&Set::new(), &wanted, 1, 1, 1)).await;
    assert_eq!(again.ack(1).await.results[0].state(), Applied);
    let lost = host.recorded().into_iter().find(|event| event.event == "orchestrator_lost").unwrap();
    assert!(lost.details["error"].as_str().unwrap().contains("decode"), "{lost:?}");
}

#[tokio::test]
async fn message_of_an_unknown_kind_is_counted_and_ignored() {
    let (mut fake, host) = (Fake::start().await, host());
    run(settings(&fake.url()), &host);
    let (mut peer, _) = fake.greet(1).await;
    peer.send_raw(v1::OrchestratorMessage { kind: None }).await;
    peer.send(Down::Command(v1::Command { id: 5, epoch: 1, kind: None })).await;
    let result = peer.until(result).await;
    assert_eq!((result.id, result.is_ok), (5, false));
    assert_eq!(Numbers::get(&host.link().numbers.messages_unknown), 2);
}

#[tokio::test]
async fn leader_that_is_none_any_more_has_nothing_to_say() {
    let dir = tempfile::tempdir().unwrap();
    let (mut fake, host) = (Fake::start().await, host());
    let agent = run(settings_in(&fake.url(), dir.path()), &host);
    let (mut peer, _) = fake.greet(5).await;
    let wanted = set(&[list("a", "192.0.2.0/24")]);
    peer.policy(delta(&Set::new(), &wanted, 1, 1, 4)).await;
    let ack = peer.ack(1).await;
    assert_eq!(ack.results[0].state(), Rejected);
    assert!(ack.results[0].error.contains("leadership 4 is over"), "{ack:?}");
    let order = Order::Reload(v1::command::Reload {});
    peer.send(Down::Command(v1::Command { id: 1, epoch: 4, kind: Some(order) })).await;
    assert!(!peer.until(result).await.is_ok);
    assert!(host.orders().is_empty() && host.set().is_empty());
    // After a restart the node still knows.
    agent.abort();
    drop(peer);
    let host = super::fake::host();
    run(settings_in(&fake.url(), dir.path()), &host);
    let mut old = fake.accept().await;
    old.hello().await;
    old.welcome(4).await;
    old.ended().await;
    let status = host.link().status();
    assert!(!status.connected);
    eventually("the node says why", || {
        host.link().status().last_error.is_some_and(|error| error.contains("epoch 4"))
    })
    .await;
    let (_peer, _) = greet_past(&mut fake, 6).await;
}

/// Attempts under way may still meet the old leader.
async fn greet_past(fake: &mut Fake, epoch: u64) -> (Peer, v1::Hello) {
    fake.greet(epoch).await
}

#[tokio::test]
async fn damaged_policy_file_is_set_aside_said_and_everything_asked_for_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (mut fake, host) = (Fake::start().await, host());
    let agent = run(settings_in(&fake.url(), dir.path()), &host);
    let (mut peer, _) = fake.greet(1).await;
    let wanted = set(&[list("a", "192.0.2.0/24")]);
    peer.policy(delta(&Set::new(), &wanted, 1, 1, 1)).await;
    peer.ack(1).await;
    agent.abort();
    let path = dir.path().join(POLICY_FILE_NAME);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("192.0.2.0", "192.0.3.0")).unwrap();
    let host = super::fake::host();
    let agent = run(settings_in(&fake.url(), dir.path()), &host);
    let (mut peer, hello) = fake.greet(1).await;
    assert!(hello.wants_resync && hello.held.is_empty());
    assert!(hello.resync_reason.contains("checksum"), "{}", hello.resync_reason);
    assert!(dir.path().join("policy.json.damaged").exists());
    peer.policy(delta(&Set::new(), &wanted, 1, 1, 1)).await;
    assert_eq!(peer.ack(1).await.results[0].state(), Applied);
    agent.abort();
    run(settings_in(&fake.url(), dir.path()), &host);
    let hello = fake.accept().await.hello().await;
    assert_eq!((hello.wants_resync, hello.held.len()), (false, 1));
}

#[tokio::test]
async fn node_tries_until_there_is_an_orchestrator_and_says_each_reason_once() {
    let address = Fake::start().await.stop();
    let host = host();
    run(settings(&format!("http://{address}")), &host);
    let numbers = &host.link().numbers;
    eventually("several attempts", || Numbers::get(&numbers.disconnections) >= 5).await;
    assert!(!host.link().status().connected);
    let said = host.recorded().iter().filter(|event| event.event == "orchestrator_lost").count();
    assert_eq!(said, 1);
    let mut fake = within(async {
        loop {
            // The port may be somebody else's for a moment.
            if tokio::net::TcpListener::bind(address).await.is_ok() {
                return Fake::start_at(address, None, None).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (_peer, _) = fake.greet(1).await;
    eventually("it is connected", || host.link().status().connected).await;
}

#[tokio::test]
async fn other_machines_are_not_spoken_to_without_tls_unless_allowed() {
    let host = host();
    run(settings("http://192.0.2.1:9090"), &host);
    let error = || host.link().status().last_error.unwrap_or_default();
    eventually("the reason is said", || error().contains("allow_plaintext")).await;
}

#[tokio::test]
async fn agent_in_a_thread_of_its_own_ends_when_told() {
    let (mut fake, host) = (Fake::start().await, host());
    let handle = crate::agent::Agent::spawn(settings(&fake.url()), host.clone()).unwrap();
    let (mut peer, _) = fake.greet(1).await;
    tokio::task::spawn_blocking(|| handle.stop()).await.unwrap();
    peer.ended().await;
}

fn result(kind: Up) -> Option<v1::CommandResult> {
    match kind {
        Up::CommandResult(result) => Some(result),
        _ => None,
    }
}
