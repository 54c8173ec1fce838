//! The whole node on kernel sockets with an orchestrator that is played by hand: policy, bans, restarts without it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../src/agent/tests/fake.rs"]
#[allow(dead_code, reason = "shared with the agent's own tests, which use more of it")]
mod fake;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use secbeat_config::ban::{Origin, Replica};
use secbeat_config::policy::Set;
use secbeat_node::agent;

use fake::{Fake, Peer, delta, eventually, hash, list, set, states, v1};

const CLIENT: &str = "127.0.0.9:0";

/// A running node, killed when the test ends.
struct Node {
    child: Child,
    listener: SocketAddr,
    api: SocketAddr,
}

impl Node {
    async fn start(directory: &Path) -> Self {
        let text = std::fs::read_to_string(directory.join("node.toml")).unwrap();
        let address = |key: &str| -> SocketAddr {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap();
            line.split('"').nth(1).unwrap().parse().unwrap()
        };
        let log = std::fs::File::options().append(true).create(true).open(directory.join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_secbeat-node"));
        command.arg("--config").arg(directory.join("node.toml")).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let node = Self { child, listener: address("# listener"), api: address("# api") };
        eventually("the API answers", || TcpStream::connect(node.api).is_ok()).await;
        node
    }

    /// What the backend answers through the node to a client with an address of its own.
    fn ask(&self) -> Option<String> {
        let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(fd.as_raw_fd(), &CLIENT.parse::<SockaddrIn>().unwrap()).unwrap();
        connect(fd.as_raw_fd(), &self.listener.to_string().parse::<SockaddrIn>().unwrap()).ok()?;
        let mut stream = TcpStream::from(fd);
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(b"hello").ok()?;
        stream.shutdown(std::net::Shutdown::Write).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok().filter(|_| !answer.is_empty()).map(|_| answer)
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.api).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.api);
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers every connection with what it sent.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut text = Vec::new();
                let _ = stream.read_to_end(&mut text);
                let _ = stream.write_all(&text);
            });
        }
    });
    address
}

fn configure(directory: &Path, orchestrator: &str) {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (listener, api, backend) = (free(), free(), backend());
    let text = format!(
        "# listener \"{listener}\"\n# api \"{api}\"\n\
         [server]\nmode = \"tcp\"\nworker_threads = 2\nbind_address = \"{listener}\"\nbackend_address = \"{backend}\"\n\
         state_dir = \"{}\"\n[io]\ndriver = \"socket\"\n[metrics]\nbind_address = \"{api}\"\n\
         [orchestrator]\nenabled = true\nurl = \"{orchestrator}\"\nregister_interval = 1\nlabels = [\"site=test\"]\n",
        directory.join("state").display()
    );
    std::fs::create_dir_all(directory.join("state")).unwrap();
    std::fs::write(directory.join("node.toml"), text).unwrap();
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

async fn apply(peer: &mut Peer, from: &Set, to: &Set, nonce: u64) -> v1::PolicyAck {
    peer.policy(delta(from, to, nonce, nonce, 1)).await;
    peer.ack(nonce).await
}

#[tokio::test]
async fn policy_is_in_force_and_outlives_orchestrator_and_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut fake = Fake::start().await;
    configure(directory.path(), &fake.url());
    let node = Node::start(directory.path()).await;
    let (mut peer, hello) = fake.greet(1).await;
    assert_eq!((hello.driver.as_str(), hello.workers, hello.labels["site"].as_str()), ("socket", 2, "test"));
    eventually("the client is served", || node.ask().as_deref() == Some("hello")).await;
    let wanted = set(&[list("enemies", "127.0.0.9/32")]);
    let ack = apply(&mut peer, &Set::new(), &wanted, 1).await;
    assert_eq!(states(&ack), [("enemies".to_owned(), v1::ResourceState::Applied)], "{ack:?}");
    assert_eq!(hash(&ack.applied_hash), wanted.hash());
    assert_eq!(node.ask(), None, "in force when it is acknowledged");
    let status = node.get("/api/v1/status");
    assert!(status.contains("\"connected\":true") && status.contains(&wanted.hash().to_string()), "{status}");
    assert!(node.get("/metrics").contains("secbeat_agent_connected 1"));
    // Nobody answers any more, and the node is started again.
    drop(peer);
    fake.stop();
    drop(node);
    let node = Node::start(directory.path()).await;
    assert_eq!(node.ask(), None, "the last policy holds");
    assert!(node.get("/api/v1/events").contains("policy_restored"));
    drop(node);
    // The file is damaged: configuration alone, and everything is asked for.
    let path = directory.path().join("state/policy.json");
    std::fs::write(&path, "nonsense").unwrap();
    let mut fake = Fake::start().await;
    let text = std::fs::read_to_string(directory.path().join("node.toml")).unwrap();
    let line = text.lines().find(|line| line.starts_with("url")).unwrap().to_owned();
    let text = text.replace(&line, &format!("url = \"{}\"", fake.url()));
    std::fs::write(directory.path().join("node.toml"), text).unwrap();
    let node = Node::start(directory.path()).await;
    let (mut peer, again) = fake.greet(1).await;
    assert!(again.wants_resync && again.held.is_empty(), "{again:?}");
    assert_eq!(again.node_id, hello.node_id, "the same node");
    assert!(node.get("/api/v1/events").contains("policy_lost"));
    eventually("the client is served", || node.ask().as_deref() == Some("hello")).await;
    apply(&mut peer, &Set::new(), &wanted, 2).await;
    assert_eq!(node.ask(), None);
}

#[tokio::test]
async fn ban_of_the_fleet_is_enforced_counted_and_lifted() {
    let directory = tempfile::tempdir().unwrap();
    let mut fake = Fake::start().await;
    configure(directory.path(), &fake.url());
    let node = Node::start(directory.path()).await;
    let (mut peer, _) = fake.greet(1).await;
    eventually("the client is served", || node.ask().is_some()).await;
    let mut replica = Replica::keeper([9; 16], 1_000, 0);
    let prefix = "127.0.0.9/32".parse().unwrap();
    let entry = replica.ban(prefix, None, "scan", Origin::Operator, "alice", None, now_ms()).unwrap();
    peer.bans_are(&replica, vec![entry]).await;
    eventually("the client is refused", || node.ask().is_none()).await;
    assert!(node.get("/api/v1/blocked-ips").contains("127.0.0.9/32"));
    (0..3).for_each(|_| assert_eq!(node.ask(), None));
    let is_enforced = peer.hits("127.0.0.9/32", 3).await;
    assert!(is_enforced);
    // A restart without the orchestrator keeps it.
    drop(node);
    drop(peer);
    let node = Node::start(directory.path()).await;
    assert_eq!(node.ask(), None);
    let (peer, _) = fake.greet(1).await;
    let lift = replica.lift(prefix, "alice", "", now_ms()).unwrap();
    peer.bans_are(&replica, vec![lift]).await;
    eventually("the client is served again", || node.ask().is_some()).await;
}
