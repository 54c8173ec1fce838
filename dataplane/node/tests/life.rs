//! One node from start to end, as a process: API, bans over a `kill -9`, another user, SIGTERM.
//!
//! On kernel sockets and loopback only, ports chosen by the kernel.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::Value;

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    process: Child,
    api: SocketAddr,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Starts a node and waits until it says that it is well.
///
/// Between choosing a free port and the node's bind somebody else may take it, so a few tries are allowed.
fn start(state: &Path, further: &[&str]) -> Node {
    let mut log = String::new();
    for _ in 0..5 {
        match try_start(state, further) {
            Ok(node) => return node,
            Err(text) if text.contains("in use") => log = text,
            Err(text) => panic!("the node ended: {text}"),
        }
    }
    panic!("no free port in five tries: {log}");
}

/// The node, or what it wrote before it ended.
fn try_start(state: &Path, further: &[&str]) -> Result<Node, String> {
    let (front, api) = (free_port(), free_port());
    let set = |key: &str, value: &str| format!("--set={key}={value}");
    let process = Command::new(env!("CARGO_BIN_EXE_secbeat-node"))
        .env_clear()
        .arg("--driver=socket")
        .arg(set("server.bind_address", &front.to_string()))
        .arg(set("metrics.bind_address", &api.to_string()))
        .arg(set("server.state_dir", &state.display().to_string()))
        .arg(set("server.worker_threads", "1"))
        .arg(set("health.enable", "false"))
        .args(further)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut node = Node { process, api };
    let end = Instant::now() + PATIENCE;
    while node.try_call("GET", "/health", "").is_none_or(|(status, _)| status != 200) {
        if let Some(status) = node.process.try_wait().unwrap() {
            let mut log = String::new();
            node.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            return Err(format!("{status}: {log}"));
        }
        assert!(Instant::now() < end, "the node does not become healthy");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(node)
}

impl Node {
    fn try_call(&self, method: &str, target: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.api).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let length = body.len();
        let head =
            format!("{method} {target} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all((head + body).as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn call(&self, method: &str, target: &str, body: &str) -> (u16, Value) {
        let (status, body) = self.try_call(method, target, body).expect("an answer");
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }
}

#[test]
fn ban_survives_kill_9_and_sigterm_ends_with_0() {
    let state = tempfile::tempdir().unwrap();
    let node = start(state.path(), &[]);
    let (status, body) = node.call("POST", "/api/v1/block-ip", r#"{"ip":"203.0.113.77","duration":600}"#);
    assert_eq!(status, 200, "{body}");
    kill(node.pid(), Signal::SIGKILL).unwrap();
    drop(node);
    let mut node = start(state.path(), &[]);
    let (_, body) = node.call("GET", "/api/v1/blocked-ips", "");
    assert_eq!(body["blocked"][0]["prefix"], "203.0.113.77/32", "{body}");
    let (_, events) = node.call("GET", "/api/v1/events?type=node", "");
    assert_eq!(events["events"][0]["event"], "started");
    let (status, metrics) = node.call("GET", "/metrics", "");
    assert!(status == 200 && metrics.as_str().unwrap().contains("\nsecbeat_bans_active 1\n"), "{metrics}");
    kill(node.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(node.process.wait().unwrap().code(), Some(0));
}

#[test]
fn reload_of_a_wrong_file_is_refused_and_the_node_goes_on() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("node.toml");
    fs::write(&path, "[limits]\nsource_rate = 5\n").unwrap();
    let option = format!("--config={}", path.display());
    let node = start(state.path(), &[&option]);
    assert_eq!(node.call("POST", "/api/v1/reload", "").0, 200);
    fs::write(&path, "[limits]\nsource_rate = \"lots\"\n").unwrap();
    let (status, body) = node.call("POST", "/api/v1/reload", "");
    assert_eq!(status, 409);
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("node.toml:2: [limits] source_rate: \"lots\" is not a whole number"),
        "{message}"
    );
    assert_eq!(node.call("GET", "/health", "").0, 200);
}

#[test]
fn node_started_as_root_becomes_another_user_without_any_capability() {
    if !Uid::effective().is_root() {
        println!("skipped: needs root");
        return;
    }
    let state = tempfile::tempdir().unwrap();
    // The user must be able to reach its directory.
    fs::set_permissions(state.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let node = start(&state.path().join("kept"), &["--set=server.user=nobody"]);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    for task in fs::read_dir(format!("/proc/{}/task", node.pid())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        let uids: Vec<u32> = field("Uid:").split_whitespace().map(|uid| uid.parse().unwrap()).collect();
        assert_eq!(uids, [nobody.uid.as_raw(); 4], "{status}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            let is_log = field("Name:") == "log" && set == "CapBnd:";
            assert!(is_log || u64::from_str_radix(&field(set), 16).unwrap() == 0, "{set} {status}");
        }
        assert!(field("NoNewPrivs:") == "1" || field("Name:") == "log", "{status}");
    }
    let (status, body) = node.call("POST", "/api/v1/block-ip", r#"{"ip":"203.0.113.78"}"#);
    assert_eq!(status, 200, "{body}");
    assert!(state.path().join("kept/bans.json").exists(), "the new user writes its state");
}
