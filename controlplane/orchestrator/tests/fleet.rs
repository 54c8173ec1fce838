//! An orchestrator and real agents over gRPC on loopback: what a change does to a fleet.

#[path = "fleet/bench.rs"]
mod bench;

use bench::{Served, apply, list, nodes, restart, wait_for};
use secbeat_proto::v1;

fn in_sync(served: &Served) -> usize {
    let targets = served.o.policy.targets().borrow().clone();
    let wanted = targets.newest.hash();
    let nodes = (1..=64).filter_map(|number| served.o.registry.get(uuid::Uuid::from_u128(number)));
    nodes.filter(|node| node.is_connected() && node.progress.applied_hash == Some(wanted)).count()
}

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
    assert_eq!(served.o.epoch, epoch + 1);
    assert_eq!(served.o.policy.newest().revision, 1);
    wait_for("two nodes are back and in sync", || in_sync(&served) == 2).await;
    served.stop().await;
}
