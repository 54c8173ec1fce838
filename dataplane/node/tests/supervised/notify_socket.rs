//! The service manager's part in the tests of both programs: a real notification socket, and threads that hang.
//!
//! Owns: starting a program under the socket, what it says, holding a thread from outside by the debugger's interface.
//! Shared by path with the orchestrator's test, since the planes do not import each other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// How long anything may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// What the service manager allows between two signs of life.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(1);
/// Long enough to be sure that no sign of life comes: several times what is allowed.
pub(crate) const SILENCE: Duration = Duration::from_secs(4);

pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A program that has said that it is ready; it ends with this value.
pub(crate) struct Supervised {
    pub(crate) process: Child,
    manager: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Supervised {
    /// Starts `program` on a configuration for a state folder and says what came with it. Free ports may be taken by
    /// others in between, so a few tries are allowed.
    pub(crate) fn start<T>(program: &str, configuration: impl Fn(&Path) -> (String, T)) -> (Self, T) {
        for _ in 0..5 {
            let (mut this, with) = Self::spawn(program, &configuration);
            let end = Instant::now() + PATIENCE;
            while this.process.try_wait().unwrap().is_none() {
                if this.hear(Duration::from_millis(100)).is_some_and(|text| text.contains("READY=1\n")) {
                    return (this, with);
                }
                assert!(Instant::now() < end, "{program} does not become ready");
            }
            let mut log = String::new();
            this.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            assert!(log.contains("in use"), "{program} ended: {log}");
        }
        panic!("no free port in five tries");
    }

    fn spawn<T>(program: &str, configuration: impl Fn(&Path) -> (String, T)) -> (Self, T) {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let manager = UnixDatagram::bind(at("notify")).unwrap();
        let (text, with) = configuration(&at("state"));
        fs::write(at("config.toml"), text).unwrap();
        let process = Command::new(program)
            .env_clear()
            .env("NOTIFY_SOCKET", at("notify"))
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .arg("--config")
            .arg(at("config.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        (Self { process, manager, directory }, with)
    }

    /// The file it was started on.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("config.toml")
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().cast_signed())
    }

    /// The next message, if one comes in time.
    pub(crate) fn hear(&self, wait: Duration) -> Option<String> {
        let mut bytes = [0; 4_096];
        self.manager.set_read_timeout(Some(wait)).unwrap();
        let length = self.manager.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    /// Waits for a message with all of `parts` in it.
    pub(crate) fn await_message(&self, parts: &[&str]) -> String {
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
    pub(crate) fn count_signs(&self, time: Duration) -> usize {
        let end = Instant::now() + time;
        let mut count = 0;
        while Instant::now() < end {
            let text = self.hear(Duration::from_millis(50)).unwrap_or_default();
            count += usize::from(text.contains("WATCHDOG=1"));
        }
        count
    }

    /// The threads whose names begin like this, the oldest first.
    pub(crate) fn threads(&self, name: &str) -> Vec<Pid> {
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
pub(crate) struct Hung(Pid);

impl Hung {
    pub(crate) fn hold(thread: Pid) -> Self {
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
