//! An orchestrator and real agents over gRPC on loopback: what a change does to a fleet.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fleet/bench.rs"]
mod bench;
#[path = "fleet/raw.rs"]
mod raw;
#[path = "fleet/rollouts.rs"]
mod rollouts;

use bench::{Served, apply, in_sync, key, list, nodes, restart, rules, wait_for};
use secbeat_proto::v1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_every_node_and_comes_back_as_applied() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    let fleet = nodes(3, served.address);
    wait_for("three nodes are connected", || served.o.sessions.len() == 3).await;
    let answer =
        served.policy().apply(apply(vec![list("bad", &["192.0.2.0/24"])])).await.unwrap().into_inner();
    assert_eq!((answer.revision, answer.changes.len()), (1, 1));
    wait_for("three nodes hold it", || in_sync(&served) == 3).await;
    assert!(fleet.iter().all(|node| node.host.set().len() == 1));
    let listed = served.fleet().list_nodes(v1::ListNodesRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.total, 3);
    assert!(
        listed.nodes.iter().all(|node| node.is_in_sync && node.applied_revision == 1 && node.rejected == 0)
    );
    wait_for("the rollout ended", || served.o.policy.rollouts().running().is_none()).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_and_nodes_survive_a_restart_of_the_orchestrator() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    let address = served.address;
    let _fleet = nodes(2, address);
    served.policy().apply(apply(vec![list("bad", &["192.0.2.0/24"])])).await.unwrap();
    wait_for("two nodes hold it", || in_sync(&served) == 2).await;
    let epoch = served.o.epoch;
    served.stop().await;
    let served = restart(dir.path(), address).await;
    assert!(served.o.epoch > epoch);
    assert_eq!(served.o.policy.newest().revision, 1);
    wait_for("two nodes are back and in sync", || in_sync(&served) == 2).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_resource_is_refused_alone_and_its_next_version_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    let fleet = nodes(2, served.address);
    wait_for("two nodes are connected", || served.o.sessions.len() == 2).await;
    fleet[0].host.reject(key("bad"), Some("no room"));
    let both = vec![list("bad", &["192.0.2.0/24"]), list("good", &["198.51.100.0/24"])];
    served.policy().apply(apply(both)).await.unwrap();
    wait_for("the rollout ended", || served.o.policy.rollouts().running().is_none()).await;
    assert_eq!(fleet[0].host.set().len(), 1);
    assert_eq!(fleet[1].host.set().len(), 2);
    let request = v1::GetNodeRequest { node_id: fleet[0].id.to_string() };
    let detail = served.fleet().get_node(request).await.unwrap().into_inner();
    let refused: Vec<_> =
        detail.resources.iter().filter(|result| result.state() == v1::ResourceState::Rejected).collect();
    assert_eq!((refused.len(), refused[0].error.as_str()), (1, "no room"));
    assert!(!detail.info.unwrap().is_in_sync);
    let deltas =
        |served: &Served| served.o.sessions.counters().deltas.load(std::sync::atomic::Ordering::Relaxed);
    let sent = deltas(&served);
    // Another change goes out; what was refused does not come along.
    served.policy().apply(apply(vec![list("more", &["203.0.113.0/24"])])).await.unwrap();
    wait_for("the next change is held", || fleet[0].host.set().len() == 2).await;
    wait_for("the rollout ended", || served.o.policy.rollouts().running().is_none()).await;
    assert_eq!(deltas(&served), sent + 2, "one delta for each node and nothing repeated");
    fleet[0].host.reject(key("bad"), None);
    served.policy().apply(apply(vec![list("bad", &["192.0.2.0/25"])])).await.unwrap();
    wait_for("both hold all", || in_sync(&served) == 2).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_rule_more_is_sent_as_a_patch() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    let _fleet = nodes(2, served.address);
    served.policy().apply(apply(vec![rules(1_000)])).await.unwrap();
    wait_for("two nodes hold 1,000 rules", || in_sync(&served) == 2).await;
    let bytes = || served.o.sessions.counters().delta_bytes.load(std::sync::atomic::Ordering::Relaxed);
    let before = bytes();
    let request = v1::ChangeRulesRequest {
        set: Some(v1::ResourceKey { kind: v1::ResourceKind::FilterSet as i32, name: "edge".into() }),
        upserts: vec![br#"{"id":"one-more","action":"drop","sources":["192.0.2.1/32"]}"#.to_vec()],
        ..v1::ChangeRulesRequest::default()
    };
    let answer = served.policy().change_rules(request).await.unwrap().into_inner();
    assert_eq!((answer.changes.len(), answer.changes[0].fields.len()), (1, 1));
    wait_for("two nodes hold one more", || in_sync(&served) == 2).await;
    let moved = (bytes() - before) / 2;
    assert!(moved < 2_048, "{moved} bytes for each node");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_gets_what_it_lacks_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    let mut fleet = nodes(2, served.address);
    served.policy().apply(apply(vec![list("bad", &["192.0.2.0/24"])])).await.unwrap();
    wait_for("two nodes hold it", || in_sync(&served) == 2).await;
    fleet[0].kill();
    wait_for("one is away", || served.o.sessions.len() == 1).await;
    served.policy().apply(apply(vec![list("bad", &["192.0.2.0/24", "198.51.100.0/24"])])).await.unwrap();
    wait_for("the other holds the change", || in_sync(&served) == 1).await;
    fleet[0].start_again(served.address);
    wait_for("both hold it", || in_sync(&served) == 2).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_reach_nodes_and_their_answers_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    let fleet = nodes(1, served.address);
    wait_for("a node is connected", || served.o.sessions.len() == 1).await;
    let command = v1::Command {
        kind: Some(v1::command::Kind::Restart(v1::command::Restart { now: false })),
        ..v1::Command::default()
    };
    let request = v1::OrderNodesRequest {
        node_ids: vec!["node-1".into()],
        command: Some(command),
        wait_ms: 30_000,
        ..v1::OrderNodesRequest::default()
    };
    let answer = served.fleet().order_nodes(request.clone()).await.unwrap().into_inner();
    assert!(answer.results[0].is_ok, "{:?}", answer.results);
    assert_eq!(fleet[0].host.orders().len(), 1);
    let unknown = v1::OrderNodesRequest { node_ids: vec!["node-9".into()], ..request };
    assert_eq!(served.fleet().order_nodes(unknown).await.unwrap_err().code(), tonic::Code::NotFound);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_changes_nothing_and_an_older_revision_is_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    let wrong = bench::resource(v1::ResourceKind::List, "bad", &serde_json::json!({ "acton": "block" }));
    let refused =
        served.policy().apply(apply(vec![list("good", &["192.0.2.0/24"]), wrong])).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("acton"), "{}", refused.message());
    assert_eq!(served.o.policy.newest().revision, 0);
    served.policy().apply(apply(vec![list("good", &["192.0.2.0/24"])])).await.unwrap();
    let mutation = v1::Mutation { expected_revision: 7, ..v1::Mutation::default() };
    let stale = v1::ApplyRequest { mutation: Some(mutation), ..apply(vec![list("good", &["192.0.2.0/25"])]) };
    assert_eq!(served.policy().apply(stale).await.unwrap_err().code(), tonic::Code::Aborted);
    let mutation = v1::Mutation { dry_run: true, ..v1::Mutation::default() };
    let dry = v1::ApplyRequest { mutation: Some(mutation), ..apply(vec![list("good", &["192.0.2.0/25"])]) };
    let answer = served.policy().apply(dry).await.unwrap().into_inner();
    assert_eq!((answer.revision, answer.changes.len(), answer.rollout_id.as_str()), (1, 1, ""));
    assert_eq!(served.o.policy.newest().revision, 1);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_are_told_by_reflection() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    let ask = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let mut client = ServerReflectionClient::new(served.channel());
    let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
    let answer: ServerReflectionResponse = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list: {answer:?}");
    };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    for noun in ["Access", "Ban", "Event", "Fleet", "Node", "Policy"] {
        assert!(
            names.contains(&format!("secbeat.v1.{noun}Service").as_str()),
            "{noun} is not among {names:?}"
        );
    }
}
