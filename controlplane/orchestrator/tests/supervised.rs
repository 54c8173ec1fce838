//! An orchestrator under a service manager, played by this test with a real notification socket: readiness, reload,
//! end, and a watchdog that starves when the runtime hangs.
//!
//! Loopback only. Threads are hung from outside, by the debugger's interface: the orchestrator has no switch for it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../dataplane/node/tests/supervised/notify_socket.rs"]
mod notify_socket;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use notify_socket::{Hung, SILENCE, Supervised, WATCHDOG, free_port};

/// An orchestrator, and where gRPC, REST and metrics are.
fn start() -> (Supervised, [SocketAddr; 3]) {
    Supervised::start(env!("CARGO_BIN_EXE_secbeat-orchestrator"), |state| {
        let faces = [free_port(), free_port(), free_port()];
        let [grpc, rest, metrics] = faces;
        let text = format!(
            "[server]\ngrpc_address = \"{grpc}\"\nbind_address = \"{rest}\"\nstate_dir = \"{}\"\n\
             [metrics]\nbind_address = \"{metrics}\"\n[access]\nloopback_open = true\n",
            state.display(),
        );
        (text, faces)
    })
}

#[test]
fn service_manager_hears_of_readiness_reloads_and_the_end() {
    let (mut orchestrator, faces) = start();
    for face in faces {
        TcpStream::connect(face).expect("ready is not said before every listener is there");
    }
    let status = orchestrator.await_message(&["STATUS="]);
    assert!(status.contains("STATUS=serving: 0 nodes connected, policy 0"), "{status}");

    let config = orchestrator.config();
    let good = fs::read_to_string(&config).unwrap();
    for text in [&format!("{good}[logging]\nlevel = \"warn\"\n"), "nonsense"] {
        fs::write(&config, text).unwrap();
        kill(orchestrator.pid(), Signal::SIGHUP).unwrap();
        let reload = orchestrator.await_message(&["RELOADING=1\n"]);
        let time = reload.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!(time.parse::<u64>().unwrap() > 0, "{reload}");
        orchestrator.await_message(&["READY=1\n"]);
    }

    let signs = orchestrator.count_signs(WATCHDOG * 4);
    assert!((4..=16).contains(&signs), "{signs} signs of life in four periods, three per period are meant");

    kill(orchestrator.pid(), Signal::SIGTERM).unwrap();
    orchestrator.await_message(&["STOPPING=1\n"]);
    assert_eq!(orchestrator.process.wait().unwrap().code(), Some(0));
}

#[test]
fn hanging_executor_starves_the_watchdog() {
    let (orchestrator, _) = start();
    orchestrator.await_message(&["WATCHDOG=1"]);
    let executors = orchestrator.threads("tokio-r");
    assert!(!executors.is_empty());
    let hung: Vec<Hung> = executors.into_iter().map(Hung::hold).collect();
    // What was said before they hung.
    while orchestrator.hear(Duration::from_millis(10)).is_some() {}
    assert_eq!(orchestrator.count_signs(SILENCE), 0, "nothing runs and the watchdog is fed");
    drop(hung);
    orchestrator.await_message(&["WATCHDOG=1"]);
}
