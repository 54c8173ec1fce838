//! Plays the smuggling corpus through the program, as clients and as origins, by `tests/smuggling/run.py`.
//!
//! What parser and encoder make of the same corpus is tested in `secbeat-http`; here it is the whole node. Needs
//! python3, no privilege; takes about half a minute, nearly all of it waiting for nothing more to come.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, process::Command};

fn play(arguments: &[&str]) {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: no python3 here");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/smuggling/run.py");
    let mut command = Command::new("python3");
    command.arg(script).args(["--node", env!("CARGO_BIN_EXE_secbeat-node")]).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn an_origin_sees_exactly_the_requests_of_the_corpus() {
    play(&["--shards", "6"]);
}

#[test]
fn an_origin_sees_the_same_when_they_come_in_pieces() {
    play(&["--shards", "6", "--pieces", "7"]);
}
