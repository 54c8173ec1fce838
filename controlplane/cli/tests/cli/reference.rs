//! The reference, help and completions are made of the command line itself.

use std::fs;
use std::path::Path;

use secbeat_proto::v1::{ListNodesRequest, ListNodesResponse};

use crate::server::{Server, run};

#[test]
fn the_committed_reference_is_what_the_program_says() {
    let server = Server::start();
    let text = run(server.command(&["docs"]), "").ends(0).out;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "docs/cli.md differs: UPDATE_DOCS=1 cargo test -p secbeat-cli reference");
    for command in ["secbeat policy apply", "secbeat ban import", "secbeat top", "secbeat token create"] {
        assert!(text.contains(&format!(" {command}\n")), "{command}");
    }
}

#[test]
fn completions_are_made_for_every_shell() {
    let server = Server::start();
    for (shell, sign) in
        [("bash", "complete -F"), ("zsh", "#compdef secbeat"), ("fish", "complete -c secbeat")]
    {
        run(server.command(&["completion", shell]), "").ends(0).says(sign).says("rollback");
    }
}

#[test]
fn help_lists_nouns_and_exit_codes_and_is_no_error() {
    let server = Server::start();
    let ran = run(server.command(&["--help"]), "").ends(0).says("policy").says("130  interrupted");
    assert_eq!(ran.err, "");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let server = Server::start();
    server.on("list_nodes", |_: ListNodesRequest| Ok(ListNodesResponse::default()));
    for args in [
        &["polcy"][..],
        &["policy", "apply"],
        &["ban", "add", "203.0.113.7/24"],
        &["ban", "add", "203.0.113.7", "--for", "soon"],
        &["policy", "get", "edge"],
        &["rules", "list", "list/a"],
        &["--server", "ftp://h", "node", "list"],
        &["--server", "https://h:1", "node", "list"],
        &["event", "ack"],
        &["top"],
        &["node", "list", "-o", "toml"],
    ] {
        let mut command = server.command(args);
        if args[0] != "--server" {
            command.args(["--server", &server.url]);
        }
        let ran = run(command, "").ends(2);
        assert_eq!(ran.out, "", "{args:?}");
        assert!(ran.err.contains("error:"), "{args:?}: {}", ran.err);
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let server = Server::start();
    run(server.command(&["version", "-o", "name"]), "").ends(0).says(env!("CARGO_PKG_VERSION"));
    let value = run(server.command(&["version", "-o", "json"]), "").ends(0).json();
    assert_eq!(value["server"], serde_json::Value::Null);
}
