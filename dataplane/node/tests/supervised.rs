//! A node under a service manager, played by this test with a real notification socket: readiness, reload, end, and a
//! watchdog that starves as soon as one thread hangs.
//!
//! On kernel sockets and loopback only. A thread is hung from outside, by the debugger's interface: the node has no
//! switch for it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the service manager allows between two signs of life.
const WATCHDOG: Duration = Duration::from_secs(1);
/// Long enough to be sure that no sign of life comes: several times what is allowed.
const SILENCE: Duration = Duration::from_secs(4);

struct Node {
    process: Child,
    api: SocketAddr,
    manager: UnixDatagram,
    directory: tempfile::TempDir,
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

/// A node that has said that it is ready. Its free ports may be taken by others in between, so a few tries are allowed.
fn start() -> Node {
    for _ in 0..5 {
        let mut node = spawn();
        let end = Instant::now() + PATIENCE;
        while node.process.try_wait().unwrap().is_none() {
            if node.hear(Duration::from_millis(100)).is_some_and(|text| text.contains("READY=1\n")) {
                return node;
            }
            assert!(Instant::now() < end, "the node does not become ready");
        }
        let mut log = String::new();
        node.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(log.contains("in use"), "the node ended: {log}");
    }
    panic!("no free port in five tries");
}

fn spawn() -> Node {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let manager = UnixDatagram::bind(at("notify")).unwrap();
    let api = free_port();
    let text = format!(
        "[server]\nbind_address = \"{}\"\nstate_dir = \"{}\"\nworker_threads = 2\ndrain_timeout = 7\n\
         [metrics]\nbind_address = \"{api}\"\n[io]\ndriver = \"socket\"\n[health]\nenable = false\n",
        free_port(),
        at("state").display(),
    );
    fs::write(at("node.toml"), text).unwrap();
    let process = Command::new(env!("CARGO_BIN_EXE_secbeat-node"))
        .env_clear()
        .env("NOTIFY_SOCKET", at("notify"))
        .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
        .arg("--config")
        .arg(at("node.toml"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Node { process, api, manager, directory }
}

impl Node {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// The next message, if one comes in time.
    fn hear(&self, wait: Duration) -> Option<String> {
        let mut bytes = [0; 4_096];
        self.manager.set_read_timeout(Some(wait)).unwrap();
        let length = self.manager.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    /// Waits for a message with all of `parts` in it.
    fn await_message(&self, parts: &[&str]) -> String {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let text = self.hear(Duration::from_millis(100)).unwrap_or_default();
            if parts.iter().all(|part| text.contains(part)) {
                return text;
            }
        }
        panic!("no message with {parts:?}");
    }

    /// Signs of life from now on, for `time`.
    fn count_signs(&self, time: Duration) -> usize {
        let end = Instant::now() + time;
        let mut count = 0;
        while Instant::now() < end {
            let text = self.hear(Duration::from_millis(50)).unwrap_or_default();
            count += usize::from(text.contains("WATCHDOG=1"));
        }
        count
    }

    fn health(&self) -> String {
        let mut stream = TcpStream::connect(self.api).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// The threads whose names begin like this.
    fn threads(&self, name: &str) -> Vec<Pid> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let named = tasks.map(|task| task.unwrap()).filter(|task| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.starts_with(name))
        });
        let mut found: Vec<i32> =
            named.map(|task| task.file_name().to_str().unwrap().parse().unwrap()).collect();
        found.sort_unstable();
        found.into_iter().map(Pid::from_raw).collect()
    }
}

/// A thread that stands still while all others run. Goes on when this is dropped, also by a failed assertion: a
/// process could not be waited for while one of its threads is held.
struct Hung(Pid);

impl Hung {
    fn hold(thread: Pid) -> Self {
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Self(thread)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = ptrace::detach(self.0, None);
    }
}

#[test]
fn service_manager_hears_of_readiness_reloads_and_the_end() {
    let mut node = start();
    assert!(node.health().starts_with("HTTP/1.1 200"), "ready is not said before it is true");
    let status = node.await_message(&["STATUS="]);
    assert!(status.contains("STATUS=serving: mode tcp, driver socket, workers 2, policy"), "{status}");

    let config = node.directory.path().join("node.toml");
    let good = fs::read_to_string(&config).unwrap();
    for text in [&format!("{good}[limits]\nsource_rate = 9\n"), "nonsense"] {
        fs::write(&config, text).unwrap();
        kill(node.pid(), Signal::SIGHUP).unwrap();
        let reload = node.await_message(&["RELOADING=1\n"]);
        let time = reload.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!(time.parse::<u64>().unwrap() > 0, "{reload}");
        node.await_message(&["READY=1\n"]);
    }

    let signs = node.count_signs(WATCHDOG * 4);
    assert!(
        (3..=12).contains(&signs),
        "{signs} signs of life in four periods, twice per period is asked for"
    );

    kill(node.pid(), Signal::SIGTERM).unwrap();
    // `drain_timeout` and a grace on top.
    node.await_message(&["STOPPING=1\n", "EXTEND_TIMEOUT_USEC=22000000\n"]);
    assert_eq!(node.process.wait().unwrap().code(), Some(0));
}

#[test]
fn one_hanging_worker_starves_the_watchdog_and_shows_in_health() {
    let node = start();
    node.await_message(&["WATCHDOG=1"]);
    let workers = node.threads("socket-");
    assert_eq!(workers.len(), 2, "{workers:?}");
    let hung = Hung::hold(workers[1]);
    node.await_message(&["STATUS=workers [1] do not turn"]);
    assert_eq!(node.count_signs(SILENCE), 0, "a worker hangs and the watchdog is fed");
    let health = node.health();
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("\"workers_stalled\":[1]"), "{health}");
    drop(hung);
    node.await_message(&["WATCHDOG=1"]);
    assert!(node.health().starts_with("HTTP/1.1 200"), "it turns again");
}

#[test]
fn hanging_control_thread_starves_the_watchdog() {
    let node = start();
    node.await_message(&["WATCHDOG=1"]);
    let hung = Hung::hold(node.pid());
    // What was said before it hung.
    while node.hear(Duration::from_millis(10)).is_some() {}
    assert_eq!(node.count_signs(SILENCE), 0, "nobody looks after the workers and the watchdog is fed");
    drop(hung);
    node.await_message(&["WATCHDOG=1"]);
}
