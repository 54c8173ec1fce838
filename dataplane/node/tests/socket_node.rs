//! The whole node on kernel sockets, as an ordinary user: serve, ban, reload, drain.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use nix::unistd::{Pid, geteuid};

const PATIENCE: Duration = Duration::from_secs(30);
const NOBODY: &str = "65534";
const CLIENT: &str = "127.0.0.9:0";

/// A running node, killed when the test ends.
struct Node {
    child: Child,
    directory: tempfile::TempDir,
    listener: SocketAddr,
    api: SocketAddr,
    backend: SocketAddr,
}

impl Node {
    /// A node in front of `backend`; `None` when nobody cannot run the binary.
    fn start(backend: SocketAddr) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let (listener, api) = (free_address(), free_address());
        write_config(&directory.path().join("node.toml"), listener, api, backend);
        let mut command = if geteuid().is_root() {
            open_to_everybody(directory.path());
            let mut command = Command::new("setpriv");
            command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--bounding-set=-all"]);
            command.arg(env!("CARGO_BIN_EXE_secbeat-node"));
            command
        } else {
            Command::new(env!("CARGO_BIN_EXE_secbeat-node"))
        };
        let config = directory.path().join("node.toml");
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let spawned =
            command.arg("--config").arg(config).stdin(Stdio::null()).stderr(log.try_clone().unwrap());
        let mut node = Self { child: spawned.stdout(log).spawn().ok()?, directory, listener, api, backend };
        let start = Instant::now();
        while TcpStream::connect(node.api).is_err() {
            if let Some(status) = node.child.try_wait().unwrap() {
                // setpriv says 126 or 127 when nobody may not read the binary.
                assert!(
                    matches!(status.code(), Some(126 | 127)),
                    "the node ended ({status}): {}",
                    node.log()
                );
                return None;
            }
            assert!(start.elapsed() < PATIENCE, "the API does not answer: {}", node.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(node)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// A connection of the client, which has an address of its own: the backend's and the API's cannot be banned.
    fn connect(&self) -> Option<TcpStream> {
        let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(fd.as_raw_fd(), &CLIENT.parse::<SockaddrIn>().unwrap()).unwrap();
        connect(fd.as_raw_fd(), &self.listener.to_string().parse::<SockaddrIn>().unwrap()).ok()?;
        let stream = TcpStream::from(fd);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Some(stream)
    }

    /// What the backend answers through the node; `None` when the connection is reset or refused.
    fn ask(&self) -> Option<String> {
        let mut stream = self.connect()?;
        stream.write_all(b"hello").ok()?;
        stream.shutdown(std::net::Shutdown::Write).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok().filter(|_| !answer.is_empty()).map(|_| answer)
    }

    /// A call of the management API; the whole answer.
    fn call(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.api).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let len = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.api);
        let entity = match len {
            0 => String::new(),
            _ => format!("Content-Type: application/json\r\nContent-Length: {len}\r\n"),
        };
        stream.write_all(format!("{head}{entity}\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn eventually(&self, what: &str, mut done: impl FnMut() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < PATIENCE, "{what} did not happen: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn write_config(path: &PathBuf, listener: SocketAddr, api: SocketAddr, backend: SocketAddr) {
    let state = path.parent().unwrap().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let text = format!(
        "[server]\nmode = \"tcp\"\nworker_threads = 2\nbind_address = \"{listener}\"\nbackend_address = \"{backend}\"\n\
         state_dir = \"{}\"\n[io]\ndriver = \"socket\"\n[metrics]\nbind_address = \"{api}\"\n",
        state.display()
    );
    std::fs::write(path, text).unwrap();
}

fn open_to_everybody(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    for path in [directory.to_path_buf(), directory.join("state")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
}

/// A server that answers with what it read, in capitals.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut text = String::new();
                let _ = stream.read_to_string(&mut text);
                let _ = stream.write_all(text.to_uppercase().as_bytes());
            });
        }
    });
    addr
}

#[test]
fn node_on_sockets_serves_bans_reloads_and_drains_without_root() {
    let Some(mut node) = Node::start(origin()) else {
        println!("skipped: nobody may not run the node's binary");
        return;
    };
    assert_eq!(node.ask().as_deref(), Some("HELLO"), "{}", node.log());
    let status = node.call("GET", "/api/v1/status", "");
    assert!(status.contains("\"driver\":\"socket\""), "{status}");

    // A ban cuts an open connection and refuses new ones; when it is lifted the node serves again.
    let mut open = node.connect().unwrap();
    open.write_all(b"unfinished").unwrap();
    let banned = node.call("POST", "/api/v1/block-ip", r#"{"ip":"127.0.0.9","duration":600}"#);
    assert!(banned.starts_with("HTTP/1.1 20"), "{banned}");
    assert!(open.read(&mut [0]).is_err(), "the open connection is reset");
    node.eventually("refusal", || node.ask().is_none());
    let lifted = node.call("DELETE", "/api/v1/block-ip/127.0.0.9", "");
    assert!(lifted.starts_with("HTTP/1.1 20"), "{lifted}");
    node.eventually("service after the ban", || node.ask().is_some());

    // SIGHUP moves the listener.
    let moved = free_address();
    write_config(&node.directory.path().join("node.toml"), moved, node.api, node.backend);
    node.signal(Signal::SIGHUP);
    let old = core::mem::replace(&mut node.listener, moved);
    node.eventually("service at the new address", || node.ask().is_some());
    node.eventually("end of the old listener", || TcpStream::connect(old).is_err());

    // SIGTERM lets what is open finish, and takes nothing new.
    let mut open = node.connect().unwrap();
    open.write_all(b"last ").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    node.signal(Signal::SIGTERM);
    node.eventually("closed listener", || TcpStream::connect(node.listener).is_err());
    open.write_all(b"words").unwrap();
    open.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "LAST WORDS");
    let mut status = None;
    node.eventually("the end", || TcpStream::connect(moved).is_err());
    let start = Instant::now();
    while status.is_none() && start.elapsed() < PATIENCE {
        status = node.child.try_wait().unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(status.is_some_and(|status| status.success()), "{status:?}: {}", node.log());
}
