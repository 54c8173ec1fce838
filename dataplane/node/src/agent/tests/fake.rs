//! An orchestrator played by hand, and a wire that can be cut or spoilt.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::Path;
use std::sync::{Arc, Mutex};

use secbeat_config::ban::{Entry, Replica};
use secbeat_config::policy::{Delta, Hash, Held, Resource, Set, wire};
pub(super) use secbeat_proto::v1;
use secbeat_proto::v1::node_message::Kind as Up;
use secbeat_proto::v1::node_service_server::{NodeService, NodeServiceServer};
use secbeat_proto::v1::orchestrator_message::Kind as Down;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use crate::agent::simulated::SimulatedHost;
use crate::agent::{Agent, POLICY_FILE_NAME, Settings, load_policy};

/// Longest wait for anything: a machine that does eight other things must still make it.
const PATIENCE: Duration = Duration::from_secs(30);

type Answer = Result<v1::OrchestratorMessage, Status>;
type Issue = dyn Fn(&str, &str, &[u8]) -> Result<v1::EnrollResponse, Status> + Send + Sync;

/// The orchestrator.
pub(super) struct Fake {
    pub(super) address: SocketAddr,
    streams: mpsc::Receiver<Peer>,
    server: tokio::task::JoinHandle<()>,
}

/// One stream, at the orchestrator's end.
pub(super) struct Peer {
    incoming: Streaming<v1::NodeMessage>,
    out: mpsc::Sender<Answer>,
}

struct Service {
    streams: mpsc::Sender<Peer>,
    issue: Option<Arc<Issue>>,
}

#[tonic::async_trait]
impl NodeService for Service {
    type AttachStream = ReceiverStream<Answer>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::NodeMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (out, answers) = mpsc::channel(256);
        let peer = Peer { incoming: request.into_inner(), out };
        self.streams.send(peer).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn enroll(
        &self,
        request: Request<v1::EnrollRequest>,
    ) -> Result<Response<v1::EnrollResponse>, Status> {
        let token = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let token = token.unwrap_or_default().to_owned();
        let message = request.into_inner();
        let issue = self.issue.as_ref().ok_or_else(|| Status::unimplemented(""))?;
        issue(&message.node_id, &token, &message.certificate_request).map(Response::new)
    }

    async fn renew(
        &self,
        request: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::EnrollResponse>, Status> {
        let has_certificate = request.peer_certs().is_some_and(|certificates| !certificates.is_empty());
        let issue = self.issue.as_ref().ok_or_else(|| Status::unimplemented(""))?;
        let token = if has_certificate { "renew" } else { "" };
        issue("", token, &request.into_inner().certificate_request).map(Response::new)
    }
}

impl Fake {
    pub(super) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), None, None).await
    }

    pub(super) async fn start_at(
        address: SocketAddr,
        tls: Option<ServerTlsConfig>,
        issue: Option<Arc<Issue>>,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, streams) = mpsc::channel(16);
        let mut server = Server::builder();
        if let Some(tls) = tls {
            server = server.tls_config(tls).unwrap();
        }
        let service = NodeServiceServer::new(Service { streams: sender, issue });
        let served = server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { drop(served.await) });
        Self { address, streams, server }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next stream that a node opens.
    pub(super) async fn accept(&mut self) -> Peer {
        within(self.streams.recv()).await.unwrap()
    }

    /// The next stream, greeted.
    pub(super) async fn greet(&mut self, epoch: u64) -> (Peer, v1::Hello) {
        let mut peer = self.accept().await;
        let hello = peer.hello().await;
        peer.welcome(epoch).await;
        (peer, hello)
    }

    pub(super) fn stop(self) -> SocketAddr {
        self.server.abort();
        self.address
    }
}

impl Peer {
    pub(super) async fn hello(&mut self) -> v1::Hello {
        self.until(|kind| match kind {
            Up::Hello(hello) => Some(hello),
            _ => None,
        })
        .await
    }

    pub(super) async fn welcome(&self, epoch: u64) {
        self.send(Down::Welcome(v1::Welcome {
            protocol: 1,
            orchestrator_id: "store-1".into(),
            heartbeat_interval_ms: 200,
            telemetry_interval_ms: 200,
            events_per_second_max: 0,
            now_ms: 0,
            epoch,
        }))
        .await;
    }

    pub(super) async fn send(&self, kind: Down) {
        self.send_raw(v1::OrchestratorMessage { kind: Some(kind) }).await;
    }

    pub(super) async fn send_raw(&self, message: v1::OrchestratorMessage) {
        self.out.send(Ok(message)).await.unwrap();
    }

    /// Reads until a message is what is looked for.
    pub(super) async fn until<T>(&mut self, mut wanted: impl FnMut(Up) -> Option<T>) -> T {
        within(async {
            loop {
                let message = self.incoming.message().await.unwrap().expect("the node ended the stream");
                if let Some(found) = message.kind.and_then(&mut wanted) {
                    return found;
                }
            }
        })
        .await
    }

    /// Reads until the stream ends.
    pub(super) async fn ended(&mut self) {
        within(async { while let Ok(Some(_)) = self.incoming.message().await {} }).await;
    }

    pub(super) async fn ack(&mut self, nonce: u64) -> v1::PolicyAck {
        self.until(|kind| match kind {
            Up::PolicyAck(ack) if ack.nonce == nonce => Some(ack),
            _ => None,
        })
        .await
    }

    pub(super) async fn events(&mut self) -> v1::EventBatch {
        self.until(|kind| match kind {
            Up::Events(batch) => Some(batch),
            _ => None,
        })
        .await
    }

    pub(super) async fn bans(&mut self) -> v1::BanDelta {
        self.until(|kind| match kind {
            Up::Bans(delta) => Some(delta),
            _ => None,
        })
        .await
    }

    /// Sends changes of a ban list.
    #[allow(dead_code, reason = "for tests of whole nodes")]
    pub(super) async fn bans_are(&self, replica: &Replica, entries: Vec<Entry>) {
        let digest = replica.digest().to_vec();
        let entries = entries.into_iter().map(v1::BanEntry::from).collect();
        self.send(Down::Bans(v1::BanDelta { entries, digest, ..Default::default() })).await;
    }

    /// Reads until a ban has dropped so many packets; says whether it is enforced.
    #[allow(dead_code, reason = "for tests of whole nodes")]
    pub(super) async fn hits(&mut self, prefix: &str, packets_min: u64) -> bool {
        self.until(|kind| match kind {
            Up::Telemetry(report) => {
                let hits = report.ban_hits.into_iter().find(|hits| hits.prefix == prefix);
                hits.filter(|hits| hits.packets >= packets_min).map(|hits| hits.is_enforced)
            }
            _ => None,
        })
        .await
    }

    pub(super) async fn policy(&self, delta: v1::PolicyDelta) {
        self.send(Down::Policy(delta)).await;
    }
}

/// Waits for something, for no longer than anybody's patience.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it did not happen in time")
}

/// Waits until something is the case.
pub(super) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < until, "never so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A node in memory.
pub(super) fn host() -> Arc<SimulatedHost> {
    Arc::new(SimulatedHost::new("node-1", Uuid::from_u128(1)))
}

/// An agent for it, quick to try again.
pub(super) fn settings(url: &str) -> Settings {
    Settings {
        retry: (Duration::from_millis(10), Duration::from_millis(100)),
        ..Settings::new(url, Uuid::from_u128(1))
    }
}

/// The same, with a directory for its files.
pub(super) fn settings_in(url: &str, dir: &Path) -> Settings {
    Settings { policy_path: Some(dir.join(POLICY_FILE_NAME)), restored: load_policy(dir), ..settings(url) }
}

pub(super) fn run(settings: Settings, host: &Arc<SimulatedHost>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(Agent::run(settings, Arc::<SimulatedHost>::clone(host)))
}

pub(super) fn list(name: &str, prefix: &str) -> Resource {
    let body = format!(r#"{{"action":"block","prefixes":["{prefix}"]}}"#);
    Resource::parse(format!("list/{name}").parse().unwrap(), &body).unwrap()
}

pub(super) fn set(resources: &[Resource]) -> Set {
    let mut set = Set::new();
    resources.iter().for_each(|resource| set.insert(resource.clone()).unwrap());
    set
}

/// What brings a node that holds `held` to `wanted`.
pub(super) fn delta(held: &Set, wanted: &Set, version: u64, nonce: u64, epoch: u64) -> v1::PolicyDelta {
    let held = Held::new(held.clone(), Default::default());
    let digests = held.digests().map(|(key, _, hash)| (key, hash)).collect();
    let delta: Delta = secbeat_config::policy::delta(&digests, wanted, |_| version, |_, _| None);
    wire::delta_to_wire(&delta, nonce, version, epoch)
}

pub(super) fn hash(bytes: &[u8]) -> Hash {
    wire::hash_from_wire(bytes, "hash").unwrap()
}

pub(super) fn states(ack: &v1::PolicyAck) -> Vec<(String, v1::ResourceState)> {
    let name = |result: &v1::ResourceResult| result.key.as_ref().unwrap().name.clone();
    ack.results.iter().map(|result| (name(result), result.state())).collect()
}

/// What a wire does with what comes from the orchestrator.
#[derive(Clone, Copy)]
pub(super) enum Wire {
    /// Nothing.
    Good,
    /// Cuts after so many bytes.
    CutAfter(usize),
    /// Overwrites this text.
    Spoil(&'static [u8]),
}

/// A wire between node and orchestrator; what it does can be changed and holds for connections made after.
pub(super) struct Proxy {
    pub(super) url: String,
    wire: Arc<Mutex<Wire>>,
}

impl Proxy {
    pub(super) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let wire = Arc::new(Mutex::new(Wire::Good));
        let shared = Arc::clone(&wire);
        tokio::spawn(async move {
            while let Ok((node, _)) = listener.accept().await {
                let wire = *shared.lock().unwrap();
                tokio::spawn(carry(node, to, wire));
            }
        });
        Self { url, wire }
    }

    pub(super) fn set(&self, wire: Wire) {
        *self.wire.lock().unwrap() = wire;
    }
}

async fn carry(node: TcpStream, to: SocketAddr, wire: Wire) {
    let Ok(orchestrator) = TcpStream::connect(to).await else { return };
    let (mut from_node, mut to_node) = node.into_split();
    let (mut from_orchestrator, mut to_orchestrator) = orchestrator.into_split();
    let up = tokio::spawn(async move { drop(tokio::io::copy(&mut from_node, &mut to_orchestrator).await) });
    let mut carried = 0;
    let mut buffer = vec![0; 65_536];
    while let Ok(count) = from_orchestrator.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        let bytes = &mut buffer[..count];
        match wire {
            Wire::CutAfter(max) if carried + count > max => {
                drop(to_node.write_all(&bytes[..max.saturating_sub(carried)]).await);
                break;
            }
            Wire::Spoil(text) => {
                while let Some(at) = bytes.windows(text.len()).position(|window| window == text) {
                    bytes[at..at + text.len()].fill(0xff);
                }
            }
            Wire::Good | Wire::CutAfter(_) => {}
        }
        carried += count;
        if to_node.write_all(bytes).await.is_err() {
            break;
        }
    }
    // Both ways end at once, as with a cable.
    up.abort();
}
