//! Streams that no agent of ours would open: skew of versions, wrong order, repetition, impersonation.

use std::time::Duration;

use secbeat_proto::v1;
use secbeat_proto::v1::node_message::Kind;
use secbeat_proto::v1::node_service_client::NodeServiceClient;
use secbeat_proto::v1::orchestrator_message::Kind as Answer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use crate::bench::{Served, WAIT, apply, list, wait_for};

struct Raw {
    sender: mpsc::Sender<v1::NodeMessage>,
    answers: Streaming<v1::OrchestratorMessage>,
}

impl Raw {
    async fn open(served: &Served) -> Self {
        let (sender, receiver) = mpsc::channel(16);
        let mut client = NodeServiceClient::new(served.channel.clone());
        let answers = client.attach(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { sender, answers }
    }

    async fn send(&self, kind: Kind) {
        self.sender.send(v1::NodeMessage { kind: Some(kind) }).await.unwrap();
    }

    async fn next(&mut self) -> Result<Answer, Status> {
        let message = tokio::time::timeout(WAIT, self.answers.message()).await.unwrap()?;
        Ok(message.unwrap().kind.unwrap())
    }

    /// The next policy; other messages are passed over.
    async fn policy(&mut self) -> v1::PolicyDelta {
        loop {
            if let Answer::Policy(delta) = self.next().await.unwrap() {
                return delta;
            }
        }
    }

    async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}

fn hello(number: u128, protocol: u32) -> Kind {
    Kind::Hello(v1::Hello { node_id: Uuid::from_u128(number).to_string(), protocol, ..v1::Hello::default() })
}

fn ack(delta: &v1::PolicyDelta, state: v1::ResourceState) -> Kind {
    let result = |update: &v1::ResourceUpdate| v1::ResourceResult {
        key: update.key.clone(),
        version: update.version,
        hash: update.hash.clone(),
        state: state as i32,
        error: String::new(),
    };
    let results = delta.upserts.iter().map(result).collect();
    let applied_hash = delta.set_hash.clone();
    Kind::PolicyAck(v1::PolicyAck { nonce: delta.nonce, results, applied_hash, dataplane_generation: 1 })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_protocol_is_refused_and_a_newer_node_is_answered_in_ours() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    let mut old = Raw::open(&served).await;
    old.send(hello(1, 0)).await;
    let status = old.end().await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("upgrade secbeat-node"), "{}", status.message());
    let mut new = Raw::open(&served).await;
    new.send(hello(1, 99)).await;
    let Answer::Welcome(welcome) = new.next().await.unwrap() else { panic!("no welcome") };
    assert_eq!((welcome.protocol, welcome.epoch), (1, served.o.epoch));
    // A message of a kind that this orchestrator does not know is ignored.
    new.sender.send(v1::NodeMessage { kind: None }).await.unwrap();
    served.policy().apply(apply(vec![list("bad", &["192.0.2.0/24"])])).await.unwrap();
    assert_eq!(new.policy().await.upserts.len(), 1);
    drop((old, new));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_begins_with_a_greeting_of_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    let mut early = Raw::open(&served).await;
    early.send(Kind::Heartbeat(v1::Heartbeat::default())).await;
    assert_eq!(early.end().await.code(), Code::InvalidArgument);
    let mut nameless = Raw::open(&served).await;
    nameless.send(Kind::Hello(v1::Hello { node_id: "me".into(), protocol: 1, ..v1::Hello::default() })).await;
    assert_eq!(nameless.end().await.code(), Code::InvalidArgument);
    let mut two = Raw::open(&served).await;
    two.send(hello(1, 1)).await;
    two.send(hello(2, 1)).await;
    assert_eq!(two.end().await.code(), Code::InvalidArgument, "a stream belongs to one node");
    drop((early, nameless, two));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_stream_of_a_node_takes_the_place_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    let mut first = Raw::open(&served).await;
    first.send(hello(1, 1)).await;
    first.next().await.unwrap();
    let mut second = Raw::open(&served).await;
    second.send(hello(1, 1)).await;
    second.next().await.unwrap();
    assert_eq!(first.end().await.code(), Code::Aborted);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(served.o.registry.get(Uuid::from_u128(1)).unwrap().is_connected());
    drop((first, second));
    wait_for("nobody is connected", || served.o.sessions.is_empty()).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_and_stale_answers_change_nothing_and_a_patch_that_does_not_fit_is_followed_by_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    served.policy().apply(apply(vec![crate::bench::rules(100)])).await.unwrap();
    let mut node = Raw::open(&served).await;
    node.send(hello(1, 1)).await;
    let first = node.policy().await;
    node.send(ack(&first, v1::ResourceState::Applied)).await;
    node.send(ack(&first, v1::ResourceState::Rejected)).await;
    served.policy().apply(apply(vec![crate::bench::rules(101)])).await.unwrap();
    let patch = node.policy().await;
    assert!(matches!(patch.upserts[0].content, Some(v1::resource_update::Content::Patch(_))));
    // The answer to the first delta again, late.
    node.send(ack(&first, v1::ResourceState::Applied)).await;
    node.send(ack(&patch, v1::ResourceState::NeedsWhole)).await;
    let whole = node.policy().await;
    assert!(matches!(whole.upserts[0].content, Some(v1::resource_update::Content::Body(_))));
    assert!(whole.nonce > patch.nonce && whole.upserts[0].version == patch.upserts[0].version);
    node.send(ack(&whole, v1::ResourceState::Applied)).await;
    let id = Uuid::from_u128(1);
    let answered = || served.o.registry.get(id).unwrap().progress.answered_revision;
    wait_for("the answer is taken", || answered() == 2).await;
    drop(node);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_before_the_answer_means_the_delta_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    served.policy().apply(apply(vec![list("bad", &["192.0.2.0/24"])])).await.unwrap();
    let mut node = Raw::open(&served).await;
    node.send(hello(1, 1)).await;
    let before = node.policy().await;
    drop(node);
    wait_for("the stream ended", || served.o.sessions.is_empty()).await;
    let mut node = Raw::open(&served).await;
    node.send(hello(1, 1)).await;
    let again = node.policy().await;
    assert_eq!((again.upserts, again.set_hash), (before.upserts, before.set_hash));
    drop(node);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_an_hour_off_works_and_is_shown_so() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    for (number, skew_ms) in [(1, 3_600_000_i64), (2, -3_600_000)] {
        let now_ms = secbeat_orchestrator::orchestrator::now_ms().checked_add_signed(skew_ms).unwrap();
        let mut node = Raw::open(&served).await;
        let Kind::Hello(hello) = hello(number, 1) else { panic!("no greeting") };
        node.send(Kind::Hello(v1::Hello { now_ms, ..hello })).await;
        node.next().await.unwrap();
        let shown = served.o.registry.get(Uuid::from_u128(number)).unwrap();
        assert!((shown.clock_skew_ms - skew_ms).abs() < 60_000, "{}", shown.clock_skew_ms);
        assert!(
            served
                .o
                .registry
                .expire(served.o.leases, secbeat_orchestrator::orchestrator::now_ms())
                .is_empty()
        );
        drop(node);
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_policy_gets_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path(), "127.0.0.1:0").await;
    served.policy().apply(apply(vec![list("bad", &["192.0.2.0/24"])])).await.unwrap();
    let mut node = Raw::open(&served).await;
    node.send(hello(1, 1)).await;
    let delta = node.policy().await;
    node.send(ack(&delta, v1::ResourceState::Applied)).await;
    // On the same stream, as after the order to tell everything anew.
    let Kind::Hello(greeting) = hello(1, 1) else { panic!("no greeting") };
    let held = delta.upserts.iter().map(|update| v1::ResourceDigest {
        key: update.key.clone(),
        version: update.version,
        hash: update.hash.clone(),
    });
    let held = held.collect();
    node.send(Kind::Hello(v1::Hello { held, wants_resync: true, ..greeting })).await;
    assert_eq!(node.policy().await.upserts, delta.upserts);
    drop(node);
    served.stop().await;
}
