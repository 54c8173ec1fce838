//! The binary as a user meets it: what it prints, how it ends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn node(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secbeat-node"));
    command.args(arguments).env_clear().envs(environment.iter().copied());
    command.output().unwrap()
}

fn repository(path: &str) -> String {
    format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn valid_configuration_ends_with_0_and_says_what_it_is() {
    let path = repository("config/syn.toml");
    let output = node(&["--validate-config", "--config", &path], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), format!("{path}: ok (mode syn, 1 listeners, 1 backends)\n"));
    let output = node(&["--validate-config"], &[("MITIGATION_CONFIG", &path), ("MITIGATION_MODE", "tcp")]);
    assert!(text(&output.stdout).contains("mode tcp"), "the environment names the file and overrides it");
    let output = node(
        &["--validate-config", "--mode", "syn"],
        &[("MITIGATION_CONFIG", &path), ("MITIGATION_MODE", "tcp")],
    );
    assert!(text(&output.stdout).contains("mode syn"), "the command line wins");
}

#[test]
fn wrong_configuration_ends_with_2_and_names_every_mistake() {
    let environment = [("WORKER_THREADS", "none"), ("MITIGATION_MODE", "layer7")];
    let output = node(&["--validate-config"], &environment);
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(message.contains("environment variable WORKER_THREADS: [server] worker_threads"), "{message}");
    assert!(
        message.contains("environment variable MITIGATION_MODE: [server] mode: `layer7` must be one of"),
        "{message}"
    );
    for arguments in
        [&["--no-such-option"][..], &["--set", "x"], &["--config", "/nonexistent.toml", "doctor"]]
    {
        assert_eq!(node(arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn shipped_l7_configuration_is_valid_and_one_without_its_certificate_is_not_started() {
    let path = repository("config/l7.toml");
    assert_eq!(node(&["--config", &path, "--validate-config"], &[]).status.code(), Some(0));
    let scratch = tempfile::tempdir().unwrap();
    let state = format!("server.state_dir={}", scratch.path().display());
    let mut arguments = vec!["--config", &path];
    for key in ["tls.cert_path=/nonexistent/cert.pem", "tls.key_path=/nonexistent/key.pem", &state] {
        arguments.extend(["--set", key]);
    }
    let output = node(&arguments, &[]);
    assert_ne!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("/nonexistent/cert.pem"), "{}", text(&output.stderr));
}

#[test]
fn version_help_and_generated_pages_are_printed() {
    let version = text(&node(&["version"], &[]).stdout);
    assert!(version.starts_with(concat!("secbeat-node ", env!("CARGO_PKG_VERSION"))), "{version}");
    assert!(text(&node(&["--help"], &[]).stdout).contains("Exit codes: 0 ok"));
    assert!(text(&node(&["docs", "metrics"], &[]).stdout).contains("secbeat_syn_cookies_sent_total"));
    assert!(text(&node(&["docs", "config"], &[]).stdout).contains("## `[syn_proxy]`"));
}

#[test]
fn doctor_answers_0_or_3_in_both_formats() {
    let plain = node(&["doctor", "--driver", "socket"], &[]);
    let message = text(&plain.stdout);
    assert!(matches!(plain.status.code(), Some(0 | 3)), "{message}{}", text(&plain.stderr));
    assert!(message.trim_end().ends_with("not working"), "{message}");
    let json = node(&["doctor", "--json", "--set", "io.interfaces=no-such-if", "--mode", "syn"], &[]);
    assert_eq!(json.status.code(), Some(3), "an interface that does not exist");
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["fails"], true);
}
