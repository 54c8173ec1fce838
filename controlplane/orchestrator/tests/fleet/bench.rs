//! A fleet in one process: an orchestrator that serves gRPC on loopback, agents without a data plane, a client.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secbeat_config::orchestrator::OrchestratorConfig;
use secbeat_config::policy::{Key, Kind};
use secbeat_node::agent::simulated::SimulatedHost;
use secbeat_node::agent::{Agent, Settings};
use secbeat_orchestrator::api::grpc;
use secbeat_orchestrator::api::tls::Face;
use secbeat_orchestrator::api::tls::accept::Listener;
use secbeat_orchestrator::failure::Failure;
use secbeat_orchestrator::store::Store;
use secbeat_orchestrator::{Orchestrator, task};
use secbeat_proto::v1;
use secbeat_proto::v1::fleet_service_client::FleetServiceClient;
use secbeat_proto::v1::policy_service_client::PolicyServiceClient;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use uuid::Uuid;

/// Longest wait for anything: the machine may be busy.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// A running orchestrator.
pub(crate) struct Served {
    pub(crate) o: Orchestrator,
    pub(crate) address: SocketAddr,
    pub(crate) channel: Channel,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl Served {
    /// Starts one over a folder, at an address (port 0: any).
    pub(crate) async fn start(dir: &Path, address: &str) -> Self {
        let text = format!(
            "[server]\ngrpc_address = \"{address}\"\nstate_dir = \"{}\"\n[access]\nloopback_open = true\n\
             [fleet]\nheartbeat_interval = 1\nheartbeat_timeout = 1\nmax_missed = 20\n",
            dir.display()
        );
        let config = OrchestratorConfig::parse("test", &text, &Default::default()).unwrap();
        let (store, _) = Store::open(dir).unwrap();
        let o = Orchestrator::open(config, store).unwrap();
        let listener = Listener::bind(&o, Face::Grpc, None).await.unwrap();
        let address = listener.address().unwrap();
        let tasks = task::start(&o);
        let (stop, stopping) = oneshot::channel::<()>();
        let served = o.clone();
        let serving = tokio::spawn(async move {
            let until = async {
                let _ = stopping.await;
            };
            grpc::serve(served, listener, until).await.unwrap();
        });
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { o, address, channel, stop: Some(stop), serving, tasks }
    }

    pub(crate) fn policy(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn fleet(&self) -> FleetServiceClient<Channel> {
        FleetServiceClient::new(self.channel.clone())
    }

    /// Stops as after SIGTERM; the folder can be opened again after it.
    pub(crate) async fn stop(mut self) {
        self.o.sessions.close_all(&Failure::Unavailable("the orchestrator stops".into()));
        drop(self.stop.take());
        self.tasks.iter().for_each(JoinHandle::abort);
        drop(self.channel);
        tokio::time::timeout(WAIT, self.serving).await.unwrap().unwrap();
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
        drop(self.o);
    }
}

/// Opens the folder again once the last hold on its store is gone.
pub(crate) async fn restart(dir: &Path, address: SocketAddr) -> Served {
    wait_for("the store is free", || Store::open(dir).is_ok()).await;
    Served::start(dir, &address.to_string()).await
}

/// A node without a data plane.
pub(crate) struct Node {
    pub(crate) id: Uuid,
    pub(crate) host: Arc<SimulatedHost>,
    agent: JoinHandle<()>,
}

impl Node {
    /// One of this number, that connects there.
    pub(crate) fn start(number: u128, address: SocketAddr) -> Self {
        let id = Uuid::from_u128(number);
        let host = Arc::new(SimulatedHost::new(format!("node-{number}"), id));
        let agent = Self::agent(id, &host, address);
        Self { id, host, agent }
    }

    fn agent(id: Uuid, host: &Arc<SimulatedHost>, address: SocketAddr) -> JoinHandle<()> {
        let settings = Settings {
            allow_plaintext: true,
            retry: (Duration::from_millis(50), Duration::from_millis(500)),
            ..Settings::new(format!("http://{address}"), id)
        };
        tokio::spawn(Agent::run(settings, host.clone()))
    }

    /// As after a kill: with what it held.
    pub(crate) fn start_again(&mut self, address: SocketAddr) {
        self.agent = Self::agent(self.id, &self.host, address);
    }

    /// As when its machine loses power.
    pub(crate) fn kill(&self) {
        self.agent.abort();
    }
}

/// Several of them.
pub(crate) fn nodes(count: u128, address: SocketAddr) -> Vec<Node> {
    (1..=count).map(|number| Node::start(number, address)).collect()
}

/// How many connected nodes hold the newest policy.
pub(crate) fn in_sync(served: &Served) -> usize {
    let wanted = served.o.policy.newest().hash();
    let nodes = (1..=64).filter_map(|number| served.o.registry.get(Uuid::from_u128(number)));
    nodes.filter(|node| node.is_connected() && node.progress.applied_hash == Some(wanted)).count()
}

/// Of a list.
pub(crate) fn key(name: &str) -> Key {
    Key::new(Kind::List, name).unwrap()
}

/// Waits until something holds.
pub(crate) async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < WAIT, "not in {WAIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A block list with these prefixes.
pub(crate) fn list(name: &str, prefixes: &[&str]) -> v1::Resource {
    let body = serde_json::json!({ "action": "block", "prefixes": prefixes });
    resource(v1::ResourceKind::List, name, &body)
}

/// A resource of this body.
pub(crate) fn resource(kind: v1::ResourceKind, name: &str, body: &serde_json::Value) -> v1::Resource {
    v1::Resource {
        key: Some(v1::ResourceKey { kind: kind as i32, name: name.into() }),
        body: body.to_string().into_bytes(),
        ..v1::Resource::default()
    }
}

/// A filter set with this many rules.
pub(crate) fn rules(count: u32) -> v1::Resource {
    let rule = |number: u32| {
        serde_json::json!({
            "id": format!("rule-{number}"),
            "action": "drop",
            "sources": [format!("10.{}.{}.0/24", number / 256 % 256, number % 256)],
        })
    };
    let rules: Vec<serde_json::Value> = (0..count).map(rule).collect();
    resource(v1::ResourceKind::FilterSet, "edge", &serde_json::json!({ "priority": 10, "rules": rules }))
}

/// A request to write these.
pub(crate) fn apply(upserts: Vec<v1::Resource>) -> v1::ApplyRequest {
    v1::ApplyRequest { upserts, ..v1::ApplyRequest::default() }
}
