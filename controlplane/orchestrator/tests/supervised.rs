//! An orchestrator under a service manager, played by this test with a real notification socket: readiness, reload,
//! end, and a watchdog that starves when the runtime hangs.
//!
//! Loopback only. Threads are hung from outside, by the debugger's interface: the orchestrator has no switch for it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read;
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

struct Orchestrator {
    process: Child,
    /// gRPC, REST, metrics.
    faces: [SocketAddr; 3],
    manager: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Drop for Orchestrator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One that has said that it is ready. Its free ports may be taken by others in between, so a few tries are allowed.
fn start() -> Orchestrator {
    for _ in 0..5 {
        let mut orchestrator = spawn();
        let end = Instant::now() + PATIENCE;
        while orchestrator.process.try_wait().unwrap().is_none() {
            let heard = orchestrator.hear(Duration::from_millis(100));
            if heard.is_some_and(|text| text.contains("READY=1\n")) {
                return orchestrator;
            }
            assert!(Instant::now() < end, "the orchestrator does not become ready");
        }
        let mut log = String::new();
        orchestrator.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(log.contains("in use"), "the orchestrator ended: {log}");
    }
    panic!("no free port in five tries");
}

fn spawn() -> Orchestrator {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let manager = UnixDatagram::bind(at("notify")).unwrap();
    let faces = [free_port(), free_port(), free_port()];
    let [grpc, rest, metrics] = faces;
    let text = format!(
        "[server]\ngrpc_address = \"{grpc}\"\nbind_address = \"{rest}\"\nstate_dir = \"{}\"\n\
         [metrics]\nbind_address = \"{metrics}\"\n[access]\nloopback_open = true\n",
        at("state").display(),
    );
    fs::write(at("orchestrator.toml"), text).unwrap();
    let process = Command::new(env!("CARGO_BIN_EXE_secbeat-orchestrator"))
        .env_clear()
        .env("NOTIFY_SOCKET", at("notify"))
        .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
        .arg("--config")
        .arg(at("orchestrator.toml"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Orchestrator { process, faces, manager, directory }
}

impl Orchestrator {
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

    /// Waits for a message with `part` in it.
    fn await_message(&self, part: &str) -> String {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let text = self.hear(Duration::from_millis(100)).unwrap_or_default();
            if text.contains(part) {
                return text;
            }
        }
        panic!("no message with {part}");
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

    /// The runtime's threads.
    fn executors(&self) -> Vec<Pid> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let named = tasks.map(|task| task.unwrap()).filter(|task| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.starts_with("tokio-r"))
        });
        named.map(|task| Pid::from_raw(task.file_name().to_str().unwrap().parse().unwrap())).collect()
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
    let mut orchestrator = start();
    for face in orchestrator.faces {
        TcpStream::connect(face).expect("ready is not said before every listener is there");
    }
    let status = orchestrator.await_message("STATUS=");
    assert!(status.contains("STATUS=serving: 0 nodes connected, policy 0"), "{status}");

    let config = orchestrator.directory.path().join("orchestrator.toml");
    let good = fs::read_to_string(&config).unwrap();
    for text in [&format!("{good}[logging]\nlevel = \"warn\"\n"), "nonsense"] {
        fs::write(&config, text).unwrap();
        kill(orchestrator.pid(), Signal::SIGHUP).unwrap();
        let reload = orchestrator.await_message("RELOADING=1\n");
        let time = reload.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!(time.parse::<u64>().unwrap() > 0, "{reload}");
        orchestrator.await_message("READY=1\n");
    }

    let signs = orchestrator.count_signs(WATCHDOG * 4);
    assert!((4..=16).contains(&signs), "{signs} signs of life in four periods, three per period are meant");

    kill(orchestrator.pid(), Signal::SIGTERM).unwrap();
    orchestrator.await_message("STOPPING=1\n");
    assert_eq!(orchestrator.process.wait().unwrap().code(), Some(0));
}

#[test]
fn hanging_executor_starves_the_watchdog() {
    let orchestrator = start();
    orchestrator.await_message("WATCHDOG=1");
    let executors = orchestrator.executors();
    assert!(!executors.is_empty());
    let hung: Vec<Hung> = executors.into_iter().map(Hung::hold).collect();
    // What was said before they hung.
    while orchestrator.hear(Duration::from_millis(10)).is_some() {}
    assert_eq!(orchestrator.count_signs(SILENCE), 0, "nothing runs and the watchdog is fed");
    drop(hung);
    orchestrator.await_message("WATCHDOG=1");
}
