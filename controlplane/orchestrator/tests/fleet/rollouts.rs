//! Rollouts over real streams: steps, automatic rollback, confirmation.

use secbeat_orchestrator::policy::rollout::State;
use secbeat_proto::v1;

use crate::bench::{Served, apply, in_sync, key, list, nodes, restart, wait_for};

fn canary(upserts: Vec<v1::Resource>, hold_ms: u64) -> v1::ApplyRequest {
    let rollout = v1::Rollout {
        strategy: v1::rollout::Strategy::Canary as i32,
        step_hold_ms: hold_ms,
        canary_node_id: String::new(),
    };
    v1::ApplyRequest { rollout: Some(rollout), ..apply(upserts) }
}

async fn start(dir: &std::path::Path, count: u128) -> (Served, Vec<crate::bench::Node>) {
    let served = Served::start(dir, "127.0.0.1:0").await;
    let fleet = nodes(count, served.address);
    served.policy().apply(apply(vec![list("bad", &["192.0.2.0/24"])])).await.unwrap();
    wait_for("all hold the first policy", || in_sync(&served) == fleet.len()).await;
    wait_for("its rollout ended", || served.o.policy.rollouts().running().is_none()).await;
    (served, fleet)
}

fn latest(served: &Served) -> State {
    served.o.policy.rollouts().find("").unwrap().state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_reaches_all_step_by_step_and_can_be_watched() {
    let dir = tempfile::tempdir().unwrap();
    let (served, _fleet) = start(dir.path(), 4).await;
    let answer =
        served.policy().apply(canary(vec![list("bad", &["192.0.2.0/25"])], 300)).await.unwrap().into_inner();
    let request = v1::GetRolloutRequest { rollout_id: answer.rollout_id };
    let mut watch = served.policy().watch_rollout(request).await.unwrap().into_inner();
    let mut steps = Vec::new();
    while let Some(status) = watch.message().await.unwrap() {
        assert_eq!((status.steps, status.nodes_rejected), (3, 0), "one, two (10 % and 50 %), four");
        steps.push(status.step);
        if status.state() == v1::rollout_status::State::Done {
            assert_eq!(status.nodes_applied, 4);
        }
    }
    steps.dedup();
    assert_eq!(steps, [0, 1, 2]);
    assert_eq!((in_sync(&served), latest(&served)), (4, State::Done));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_is_refused_is_taken_back_and_the_others_never_see_it() {
    let dir = tempfile::tempdir().unwrap();
    let (served, fleet) = start(dir.path(), 4).await;
    fleet[0].host.reject(key("bad"), Some("too large"));
    let applies: Vec<u64> = fleet.iter().map(|node| node.host.applies()).collect();
    served.policy().apply(canary(vec![list("bad", &["192.0.2.0/25"])], 60_000)).await.unwrap();
    wait_for("it is taken back", || latest(&served) == State::RolledBack).await;
    let rollout = served.o.policy.rollouts().find("").unwrap();
    assert!(rollout.explanation.contains("refused list/bad: too large"), "{}", rollout.explanation);
    let newest = served.o.policy.newest();
    assert_eq!(newest.revision, 3, "back is forward: a new revision");
    assert_eq!(newest.hash(), served.o.policy.at(1).unwrap().hash());
    assert_eq!(served.o.policy.history(0, 1)[0].rolled_back_to, 1);
    for (node, before) in fleet.iter().zip(applies).skip(1) {
        assert_eq!(node.host.applies(), before, "a node that was not reached saw nothing");
    }
    // The simulated node keeps nothing of what it refuses: it gets the next version.
    wait_for("the others hold what was", || in_sync(&served) == 3).await;
    fleet[0].host.reject(key("bad"), None);
    served.policy().apply(apply(vec![list("bad", &["192.0.2.0/26"])])).await.unwrap();
    wait_for("all hold the next", || in_sync(&served) == 4).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_nobody_confirms_is_taken_back_and_a_confirmed_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (served, _fleet) = start(dir.path(), 2).await;
    let timed = |prefix: &str, rollback_after_ms| v1::ApplyRequest {
        rollback_after_ms,
        ..apply(vec![list("bad", &[prefix])])
    };
    served.policy().apply(timed("192.0.2.0/25", 1_500)).await.unwrap();
    wait_for("it is taken back", || latest(&served) == State::RolledBack).await;
    wait_for("all hold what was", || in_sync(&served) == 2).await;
    assert_eq!(served.o.policy.newest().hash(), served.o.policy.at(1).unwrap().hash());
    let answer = served.policy().apply(timed("192.0.2.0/26", 600_000)).await.unwrap().into_inner();
    wait_for("it waits", || latest(&served) == State::AwaitingConfirmation).await;
    let request =
        v1::ConfirmRequest { rollout_id: answer.rollout_id.clone(), ..v1::ConfirmRequest::default() };
    let status = served.policy().confirm(request.clone()).await.unwrap().into_inner();
    assert_eq!(status.state(), v1::rollout_status::State::Done);
    let again = served.policy().confirm(request).await.unwrap_err();
    assert_eq!(again.code(), tonic::Code::FailedPrecondition);
    assert_eq!(served.o.policy.newest().revision, answer.revision);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_goes_on_after_a_restart_of_the_orchestrator_and_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let (served, fleet) = start(dir.path(), 3).await;
    let address = served.address;
    served.policy().apply(canary(vec![list("bad", &["192.0.2.0/25"])], 600_000)).await.unwrap();
    wait_for("the first node holds it", || in_sync(&served) == 1).await;
    served.stop().await;
    let served = restart(dir.path(), address).await;
    wait_for("all are back", || served.o.sessions.len() == 3).await;
    assert_eq!(latest(&served), State::Running);
    let holds = |node: &crate::bench::Node| node.host.set().hash() == served.o.policy.newest().hash();
    assert_eq!(fleet.iter().filter(|node| holds(node)).count(), 1, "the others still hold what was");
    let status = served.policy().cancel(v1::CancelRequest::default()).await.unwrap().into_inner();
    assert_eq!(status.state(), v1::rollout_status::State::RolledBack);
    wait_for("all hold what was", || in_sync(&served) == 3).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_change_takes_the_place_of_a_running_one() {
    let dir = tempfile::tempdir().unwrap();
    let (served, _fleet) = start(dir.path(), 3).await;
    let first = served.policy().apply(canary(vec![list("bad", &["192.0.2.0/25"])], 600_000)).await.unwrap();
    served.policy().apply(apply(vec![list("bad", &["192.0.2.0/26"])])).await.unwrap();
    let first = served.o.policy.rollouts().find(&first.into_inner().rollout_id).unwrap();
    assert_eq!(first.state, State::Superseded);
    wait_for("all hold the newer one", || in_sync(&served) == 3).await;
    wait_for("it is done", || latest(&served) == State::Done).await;
    served.stop().await;
}
