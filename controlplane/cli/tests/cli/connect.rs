//! Reaching an orchestrator: URLs, TLS, tokens, contexts, and how every status ends.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use secbeat_proto::v1::*;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tonic::{Code, Status};

use crate::server::{Server, run};

fn with_nodes(server: &Server) {
    server.on("list_nodes", |_: ListNodesRequest| Ok(ListNodesResponse::default()));
}

#[test]
fn every_status_ends_with_its_code_and_a_hint() {
    let server = Server::start();
    let cases = [
        (Code::NotFound, 3),
        (Code::Aborted, 4),
        (Code::AlreadyExists, 4),
        (Code::Unauthenticated, 5),
        (Code::PermissionDenied, 5),
        (Code::Unavailable, 6),
        (Code::DeadlineExceeded, 6),
        (Code::Cancelled, 6),
        (Code::InvalidArgument, 8),
        (Code::FailedPrecondition, 8),
        (Code::Internal, 9),
        (Code::Unimplemented, 9),
    ];
    for (code, exit) in cases {
        server.on("get_node", move |_: GetNodeRequest| {
            Err::<NodeDetail, _>(Status::new(code, "first line\nsecond line"))
        });
        let ran = server.run(&["node", "show", "n"]).ends(exit).warns("error: ");
        assert_eq!(ran.out, "", "{code:?}");
        if matches!(code, Code::InvalidArgument | Code::NotFound) {
            ran.warns("first line").warns("  second line").warns("hint: ");
        }
    }
}

#[test]
fn nobody_at_the_other_end_is_told_with_what_to_do() {
    let server = Server::start();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    run(server.command(&["--server", &url, "node", "list"]), "")
        .ends(6)
        .warns(&format!("cannot reach {url}: connection refused"))
        .warns("is the orchestrator running? try `secbeat --server URL");
}

#[test]
fn an_answer_that_does_not_come_ends_after_the_timeout() {
    let server = Server::start();
    server.on("get_fleet_stats", |_: GetFleetStatsRequest| {
        std::thread::sleep(Duration::from_secs(3));
        Ok(FleetStats::default())
    });
    server.run(&["fleet", "stats", "--timeout", "200ms"]).ends(6).warns("--timeout");
}

#[test]
fn a_lost_answer_to_a_change_says_how_to_repeat_it() {
    let server = Server::start();
    server.on("add_ban", |_: AddBanRequest| Err::<AddBanResponse, _>(Status::unavailable("gone")));
    server
        .run(&["ban", "add", "203.0.113.7", "--reason", "x", "--request-id", "mine"])
        .ends(6)
        .warns("--request-id mine");
}

#[test]
fn the_token_goes_with_every_call_and_never_to_stdout_or_stderr() {
    let server = Server::start();
    with_nodes(&server);
    let mut command = server.command(&["node", "list", "-o", "json"]);
    command.env("SECBEAT_SERVER", &server.url).env("SECBEAT_TOKEN", "sb_secret");
    let ran = run(command, "").ends(0);
    assert_eq!(ran.out.trim(), "[]");
    assert!(!ran.err.contains("sb_secret"));
    assert_eq!(server.tokens(), [Some("Bearer sb_secret".to_owned())]);
    let help = server.run(&["node", "list", "--help"]).out;
    assert!(!help.contains("sb_secret"));
}

#[test]
fn login_stores_what_later_commands_use() {
    let server = Server::start();
    with_nodes(&server);
    server.on("get_server_info", |_: GetServerInfoRequest| {
        Ok(ServerInfo { principal: "alice".into(), ..ServerInfo::default() })
    });
    server.run_with(&["login", "--context", "prod", "--token-stdin"], "sb_secret\n").ends(0).warns("alice");
    let file = server.home().join(".config/secbeat/contexts.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    run(server.command(&["--context", "prod", "node", "list"]), "").ends(0);
    assert_eq!(server.tokens().last().unwrap().as_deref(), Some("Bearer sb_secret"));
    let ran = run(server.command(&["login", "--list"]), "").ends(0).says("prod").says(&server.url);
    assert!(!ran.out.contains("sb_secret"));
    run(server.command(&["--context", "test", "node", "list"]), "").ends(2).warns("known: prod");
    run(server.command(&["login", "--remove", "--context", "prod"]), "").ends(0);
    run(server.command(&["login", "--remove", "--context", "prod"]), "").ends(3);
}

#[test]
fn a_login_that_the_server_refuses_is_not_stored() {
    let server = Server::start();
    server.on("get_server_info", |_: GetServerInfoRequest| {
        Err::<ServerInfo, _>(Status::unauthenticated("the token has ended"))
    });
    server.run(&["login", "--token", "old"]).ends(5).warns("the token has ended");
    assert!(!server.home().join(".config").exists());
}

#[test]
fn a_stored_token_does_not_go_to_another_server() {
    let (first, second) = (Server::start(), Server::start());
    with_nodes(&second);
    first.run(&["login", "--no-verify", "--token", "sb_secret"]).ends(0);
    run(first.command(&["--server", &second.url, "node", "list"]), "").ends(0);
    assert_eq!(second.tokens(), [None]);
}

/// An authority, a certificate of a server and one of a client.
struct Fleet {
    authority: String,
    server: Identity,
    client: (String, String),
}

fn fleet() -> Fleet {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    let (cert, key) = issue("localhost");
    Fleet { authority: issuer.pem(), server: Identity::from_pem(cert, key), client: issue("client") }
}

#[test]
fn a_fleet_with_certificates_lets_in_who_has_one_of_its_own() {
    let (fleet, other) = (fleet(), fleet());
    let authority = Certificate::from_pem(&fleet.authority);
    let tls = ServerTlsConfig::new().identity(fleet.server.clone()).client_ca_root(authority);
    let server = Server::start_tls(tls);
    with_nodes(&server);
    let ca = server.file("ca.pem", &fleet.authority);
    let cert = server.file("cert.pem", &fleet.client.0);
    let key = server.file("key.pem", &fleet.client.1);
    server.run(&["node", "list", "--ca", &ca, "--cert", &cert, "--key", &key]).ends(0);
    server.run(&["node", "list", "--ca", &ca]).ends(5).warns("--cert FILE --key FILE");
    server.run(&["node", "list", "--ca", &ca, "--cert", &cert]).ends(2).warns("--cert and --key");
    let wrong = server.file("other.pem", &other.authority);
    server.run(&["node", "list", "--ca", &wrong]).ends(6).warns("is --ca the fleet's authority");
    let none = server.file("none.pem", "nothing");
    server.run(&["node", "list", "--ca", &none]).ends(2).warns("PEM");
}

#[test]
fn the_version_of_the_server_says_who_one_is() {
    let server = Server::start();
    server.on("get_server_info", |_: GetServerInfoRequest| {
        Ok(ServerInfo {
            principal: "alice".into(),
            scopes: vec!["read".into(), "ban:write".into()],
            ..ServerInfo::default()
        })
    });
    server.run(&["version", "--remote"]).ends(0).says("alice").says("read, ban:write");
}
