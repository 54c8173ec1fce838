//! A node under a service manager, played by this test with a real notification socket: readiness, reload, end, and a
//! watchdog that starves as soon as one thread hangs.
//!
//! On kernel sockets and loopback only. A thread is hung from outside, by the debugger's interface: the node has no
//! switch for it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "supervised/notify_socket.rs"]
mod notify_socket;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use notify_socket::{Hung, PATIENCE, SILENCE, Supervised, WATCHDOG, free_port};

/// A node, and where its API is.
fn start() -> (Supervised, SocketAddr) {
    Supervised::start(env!("CARGO_BIN_EXE_secbeat-node"), |state| {
        let api = free_port();
        let text = format!(
            "[server]\nbind_address = \"{}\"\nstate_dir = \"{}\"\nworker_threads = 2\ndrain_timeout = 7\n\
             [metrics]\nbind_address = \"{api}\"\n[io]\ndriver = \"socket\"\n[health]\nenable = false\n",
            free_port(),
            state.display(),
        );
        (text, api)
    })
}

fn health(api: SocketAddr) -> String {
    let mut stream = TcpStream::connect(api).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn service_manager_hears_of_readiness_reloads_and_the_end() {
    let (mut node, api) = start();
    assert!(health(api).starts_with("HTTP/1.1 200"), "ready is not said before it is true");
    let status = node.await_message(&["STATUS="]);
    assert!(status.contains("STATUS=serving: mode tcp, driver socket, workers 2, policy"), "{status}");

    let config = node.config();
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
    let (node, api) = start();
    node.await_message(&["WATCHDOG=1"]);
    let workers = node.threads("socket-");
    assert_eq!(workers.len(), 2, "{workers:?}");
    let hung = Hung::hold(workers[1]);
    node.await_message(&["STATUS=workers [1] do not turn"]);
    assert_eq!(node.count_signs(SILENCE), 0, "a worker hangs and the watchdog is fed");
    let unwell = health(api);
    assert!(unwell.starts_with("HTTP/1.1 503") && unwell.contains("\"workers_stalled\":[1]"), "{unwell}");
    drop(hung);
    node.await_message(&["WATCHDOG=1"]);
    assert!(health(api).starts_with("HTTP/1.1 200"), "it turns again");
}

#[test]
fn hanging_control_thread_starves_the_watchdog() {
    let (node, _) = start();
    node.await_message(&["WATCHDOG=1"]);
    let hung = Hung::hold(node.pid());
    // What was said before it hung.
    while node.hear(Duration::from_millis(10)).is_some() {}
    assert_eq!(node.count_signs(SILENCE), 0, "nobody looks after the workers and the watchdog is fed");
    drop(hung);
    node.await_message(&["WATCHDOG=1"]);
}
