//! The server over real sockets on loopback.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use secbeat_config::waf_rules::{Action, Examples, Rule, Severity};
use secbeat_waf::seclang::ast::EngineMode;
use serde_json::{Value, json};

use super::*;
use crate::api::events::{Class, Level, SecurityEvent};
use crate::api::{Phase, Reloaded, Status, WafFailure, WafRules, WorkerStatus};
use crate::lists::{Ban, BanRequest, Banned, Lists, Refusal};

/// A node that keeps real lists and nothing else.
struct Node {
    lists: Mutex<Lists>,
    phase: Phase,
    rules: Mutex<Vec<Rule>>,
}

impl Control for Node {
    fn status(&self) -> Status {
        Status {
            phase: self.phase,
            version: "0",
            mode: "syn",
            driver: "socket",
            driver_notes: Vec::new(),
            started: UNIX_EPOCH,
            uptime: Duration::from_millis(1_500),
            generation: 1,
            connections_active: 0,
            requests_active: 0,
            connections_max: 1_000,
            bans: 0,
            workers: vec![WorkerStatus { worker: 0, core: None, alive: true, generation: 1 }],
            interfaces: Vec::new(),
            listeners: Vec::new(),
            backends: Vec::new(),
            orchestrator: None,
        }
    }

    fn block(&self, request: BanRequest) -> Result<Banned, Refusal> {
        self.lists.lock().unwrap().ban(request, SystemTime::now())
    }

    fn unblock(&self, prefix: IpNet) -> Result<Ban, Refusal> {
        self.lists.lock().unwrap().unban(prefix)
    }

    fn bans(&self, after: Option<IpNet>, count_max: usize) -> (Vec<Ban>, usize) {
        let lists = self.lists.lock().unwrap();
        let all = lists.bans().filter(|ban| after.is_none_or(|after| ban.prefix > after));
        (all.take(count_max).cloned().collect(), lists.bans().count())
    }

    fn waf_rules(&self) -> Option<WafRules> {
        let rules =
            self.rules.lock().unwrap().iter().map(|rule| (rule.clone(), rule.id != "file-1")).collect();
        let hits = vec![("file-1".to_owned(), 3)];
        Some(WafRules { rules, count: 700, bytes: 1_000, hits, engine: EngineMode::On })
    }

    fn add_waf_rule(&self, rule: Rule) -> Result<(), WafFailure> {
        if rule.pattern == "(" {
            return Err(WafFailure::Wrong("unclosed group".into()));
        }
        self.rules.lock().unwrap().push(rule);
        Ok(())
    }

    fn remove_waf_rule(&self, id: &str) -> Result<(), WafFailure> {
        let mut rules = self.rules.lock().unwrap();
        match rules.iter().position(|rule| rule.id == id) {
            Some(_) if id == "file-1" => Err(WafFailure::Configured { id: id.into() }),
            Some(index) => {
                rules.remove(index);
                Ok(())
            }
            None => Err(WafFailure::NotThere { id: id.into() }),
        }
    }

    fn reload(&self) -> Result<Reloaded, String> {
        Err("node.toml:3: [server] mode: `x` must be one of \"tcp\", \"syn\", \"l7\"".into())
    }
}

fn settings() -> ApiSettings {
    ApiSettings {
        bind_address: (Ipv4Addr::LOCALHOST, 0).into(),
        api: true,
        token: None,
        metrics_without_token: false,
        connections_max: 4,
        threads: 2,
        timeout: Duration::from_millis(300),
    }
}

fn file_rule() -> Rule {
    Rule {
        id: "file-1".into(),
        name: "of the file".into(),
        pattern: "evil".into(),
        action: Action::Block,
        severity: Severity::High,
        targets: Vec::new(),
        examples: Examples::default(),
    }
}

fn serve(settings: ApiSettings) -> (Server, Arc<Telemetry>) {
    let (lists, _) = Lists::open(
        crate::lists::Settings {
            path: None,
            allow: vec![("10.0.0.0/16".parse().unwrap(), "allowlist".into())],
            block: Vec::new(),
            entries_max: 100,
            ban_time: Duration::from_secs(60),
            ban_time_max: Duration::from_secs(600),
            manual_ban_time: Duration::from_secs(3_600),
        },
        SystemTime::now(),
    );
    let telemetry = Arc::new(Telemetry::new(vec![Arc::default()]));
    let events = Arc::new(EventLog::new(10));
    events.push(SecurityEvent::new(Class::Attack, Level::Warn, "worker-0", "attack_started"));
    events.push(SecurityEvent::new(Class::Ban, Level::Info, "control", "ip_banned"));
    let node = Arc::new(Node {
        lists: Mutex::new(lists),
        phase: Phase::Active,
        rules: Mutex::new(vec![file_rule()]),
    });
    (Server::start(settings, node, telemetry.clone(), events).unwrap(), telemetry)
}

/// Sends bytes, reads until the server closes, returns everything.
fn exchange(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.local_addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn call(server: &Server, method: &str, target: &str, fields: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n"
    );
    let text = exchange(server, format!("{head}{body}").as_bytes());
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
}

#[test]
fn ban_is_set_listed_and_lifted() {
    let (server, _) = serve(settings());
    let (status, body) = call(
        &server,
        "POST",
        "/api/v1/block-ip",
        "",
        r#"{"ip":"203.0.113.9","duration":3600,"reason":"test"}"#,
    );
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["blocked"]["prefix"], "203.0.113.9/32");
    assert_eq!(body["blocked"]["origin"], "api");
    let (status, body) = call(&server, "POST", "/api/v1/emergency-block", "", r#"{"cidr":"10.0.0.0/8"}"#);
    assert_eq!((status, &body["exempt"]), (200, &json!(["10.0.0.0/16"])));
    let (_, body) = call(&server, "GET", "/api/v1/blocked-ips", "", "");
    assert_eq!(body["total"], 2);
    let (_, body) = call(&server, "GET", "/api/v1/blocked-ips?limit=1&after=10.0.0.0/8", "", "");
    assert_eq!(body["blocked"][0]["prefix"], "203.0.113.9/32");
    assert_eq!(call(&server, "DELETE", "/api/v1/block-ip/203.0.113.9", "", "").0, 200);
    assert_eq!(call(&server, "DELETE", "/api/v1/block-ip/10.0.0.0/8", "", "").0, 200, "slash as it is");
    let (status, body) = call(&server, "DELETE", "/api/v1/block-ip/10.0.0.0%2F8", "", "");
    assert_eq!((status, &body["error"]["code"]), (404, &"not_banned".into()));
}

#[test]
fn rules_are_listed_added_and_removed() {
    let (server, _) = serve(settings());
    let rule = r#"{"id":"own-1","name":"own","pattern":"bad","action":"log","severity":"low"}"#;
    let (status, body) = call(&server, "POST", "/api/v1/waf/rules", "", rule);
    assert_eq!((status, &body["added"]["id"]), (200, &"own-1".into()), "{body}");
    let (status, body) = call(&server, "GET", "/api/v1/waf/rules", "", "");
    assert_eq!(status, 200);
    assert_eq!((&body["rules"][0]["origin"], &body["rules"][0]["hits"]), (&"file".into(), &3.into()));
    assert_eq!((&body["rules"][1]["origin"], &body["rules"][1]["pattern"]), (&"api".into(), &"bad".into()));
    assert_eq!(body["set"], json!({"rules": 700, "bytes": 1_000, "engine": "on"}));
    let (status, body) = call(&server, "DELETE", "/api/v1/waf/rules/own-1", "", "");
    assert_eq!((status, &body["removed"]), (200, &"own-1".into()));
    assert_eq!(call(&server, "DELETE", "/api/v1/waf/rules/own-1", "", "").0, 404);
}

#[test]
fn refusals_carry_a_code_and_what_is_allowed() {
    let (server, _) = serve(settings());
    for (method, target, body, status, code) in [
        ("POST", "/api/v1/block-ip", r#"{"ip":"10.0.1.1"}"#, 409, "allowlisted"),
        ("POST", "/api/v1/emergency-block", r#"{"cidr":"0.0.0.0/0"}"#, 400, "too_wide"),
        ("POST", "/api/v1/block-ip", r#"{"ip":"300.1.1.1"}"#, 400, "invalid_value"),
        ("POST", "/api/v1/block-ip", "ip=1", 400, "bad_json"),
        ("GET", "/api/v1/block-ip", "", 405, "method_not_allowed"),
        ("DELETE", "/api/v1/block-ip/x", "", 400, "invalid_value"),
        ("GET", "/api/v1/events?type=storm", "", 400, "invalid_value"),
        ("GET", "/api/v1/events?limit=0", "", 400, "invalid_value"),
        ("GET", "/api/v1/events?typ=attack", "", 400, "invalid_value"),
        ("POST", "/api/v1/reload", "", 409, "configuration_refused"),
        ("PUT", "/api/v1/waf/rules", "", 501, "unknown_method"),
        ("DELETE", "/api/v1/waf/rules", "", 405, "method_not_allowed"),
        ("DELETE", "/api/v1/waf/rules/7", "", 404, "no_rule"),
        ("DELETE", "/api/v1/waf/rules/file-1", "", 409, "configured"),
        ("POST", "/api/v1/waf/rules", "", 400, "bad_rule"),
        ("POST", "/api/v1/waf/rules", r#"{"id":"a"}"#, 400, "bad_rule"),
        (
            "POST",
            "/api/v1/waf/rules",
            r#"{"id":"a","name":"n","pattern":"p","action":"burn","severity":"low"}"#,
            400,
            "bad_rule",
        ),
        (
            "POST",
            "/api/v1/waf/rules",
            r#"{"id":"a","name":"n","pattern":"(","action":"block","severity":"low"}"#,
            400,
            "rule_refused",
        ),
        ("GET", "/api/v2/status", "", 404, "not_found"),
        ("PUT", "/api/v1/status", "", 501, "unknown_method"),
    ] {
        let (got, answer) = call(&server, method, target, "", body);
        assert_eq!((got, &answer["error"]["code"]), (status, &code.into()), "{method} {target}");
        assert!(answer["error"]["message"].as_str().is_some_and(|m| !m.is_empty()));
    }
}

#[test]
fn events_are_filtered_by_type() {
    let (server, _) = serve(settings());
    let (status, body) = call(&server, "GET", "/api/v1/events?type=attack", "", "");
    assert_eq!((status, body["events"].as_array().map(Vec::len)), (200, Some(1)));
    assert_eq!((&body["events"][0]["event"], &body["last_id"]), (&"attack_started".into(), &2.into()));
}

#[test]
fn health_metrics_and_status_answer() {
    let (server, _) = serve(settings());
    let (status, body) = call(&server, "GET", "/health", "", "");
    assert_eq!((status, &body["status"]), (200, &"ok".into()));
    let (status, body) = call(&server, "GET", "/metrics", "", "");
    assert!(status == 200 && body.as_str().is_some_and(|text| text.contains("\nsecbeat_uptime_seconds ")));
    let (_, body) = call(&server, "GET", "/api/v1/status", "", "");
    assert_eq!((&body["mode"], &body["uptime_seconds"]), (&"syn".into(), &1.5.into()));
    assert_eq!(body["started"], "1970-01-01T00:00:00.000Z");
    let (_, body) = call(&server, "GET", "/api/v1/metrics", "", "");
    assert_eq!(body["totals"]["cookies_sent"], 0);
    let head = exchange(&server, b"HEAD /health HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn nothing_is_told_without_the_token() {
    let token = "4cc1a2b09f3e57d8";
    let (server, _) = serve(ApiSettings { token: Some(Secret::new(token)), ..settings() });
    for target in ["/health", "/metrics", "/api/v1/status", "/nothing"] {
        assert_eq!(call(&server, "GET", target, "", "").0, 401, "{target}");
        assert_eq!(
            call(&server, "GET", target, "Authorization: Bearer 4cc1a2b09f3e57d9\r\n", "").0,
            401,
            "{target}"
        );
    }
    assert_eq!(
        call(&server, "GET", "/api/v1/status", &format!("Authorization: Bearer {token}\r\n"), "").0,
        200
    );
    let open = ApiSettings { token: Some(Secret::new(token)), metrics_without_token: true, ..settings() };
    let (server, _) = serve(open);
    assert_eq!(call(&server, "GET", "/metrics", "", "").0, 200);
    assert_eq!(call(&server, "GET", "/api/v1/status", "", "").0, 401);
}

#[test]
fn server_off_loopback_does_not_start_without_a_token() {
    let (lists, _) = Lists::open(
        crate::lists::Settings {
            path: None,
            allow: Vec::new(),
            block: Vec::new(),
            entries_max: 1,
            ban_time: Duration::ZERO,
            ban_time_max: Duration::ZERO,
            manual_ban_time: Duration::ZERO,
        },
        UNIX_EPOCH,
    );
    let node = Arc::new(Node {
        lists: Mutex::new(lists),
        phase: Phase::Active,
        rules: Mutex::new(vec![file_rule()]),
    });
    let open = ApiSettings { bind_address: (Ipv4Addr::UNSPECIFIED, 0).into(), ..settings() };
    let error = Server::start(open, node, Arc::new(Telemetry::new(Vec::new())), Arc::new(EventLog::new(1)))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn web_pages_and_foreign_host_names_are_turned_away_without_a_token() {
    let (server, _) = serve(settings());
    let (status, body) = call(&server, "POST", "/api/v1/reload", "Origin: http://evil.example\r\n", "");
    assert_eq!((status, &body["error"]["code"]), (403, &"from_a_page".into()));
    let text =
        exchange(&server, b"GET /api/v1/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 403 "), "{text}");
}

#[test]
fn several_requests_share_a_connection_even_pipelined() {
    let (server, telemetry) = serve(settings());
    let one = "GET /health HTTP/1.1\r\n\r\n";
    let last = "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n";
    let text = exchange(&server, format!("{one}{one}{last}").as_bytes());
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
    assert_eq!(telemetry.node.get(NodeCounter::ApiRequestsOk), 3);
}

#[test]
fn body_that_comes_in_pieces_and_waits_for_continue_is_taken() {
    let (server, _) = serve(settings());
    let mut stream = TcpStream::connect(server.local_addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let body = br#"{"ip":"203.0.113.9"}"#;
    let head = format!(
        "POST /api/v1/block-ip HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for piece in head.as_bytes().chunks(7) {
        stream.write_all(piece).unwrap();
    }
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
}

#[test]
fn slow_and_oversized_requests_are_refused_with_a_reason() {
    let (server, telemetry) = serve(settings());
    assert!(exchange(&server, b"GET /health HTT").starts_with("HTTP/1.1 408 "));
    let huge = vec![b'a'; 40_000];
    assert!(
        exchange(&server, &[b"GET /health HTTP/1.1\r\nX: ", huge.as_slice()].concat())
            .starts_with("HTTP/1.1 431 ")
    );
    assert!(
        exchange(&server, b"POST /x HTTP/1.1\r\nContent-Length: 99999\r\n\r\n").starts_with("HTTP/1.1 413 ")
    );
    assert!(
        exchange(&server, b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            .starts_with("HTTP/1.1 400 ")
    );
    assert_eq!(telemetry.node.get(NodeCounter::ApiRequestsRefused), 4);
}

#[test]
fn connections_above_the_limit_are_closed_and_counted_and_the_rest_still_served() {
    let (server, telemetry) = serve(ApiSettings { timeout: Duration::from_secs(2), ..settings() });
    let silent: Vec<_> = (0..4).map(|_| TcpStream::connect(server.local_addr()).unwrap()).collect();
    let mut fifth = TcpStream::connect(server.local_addr()).unwrap();
    fifth.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(fifth.read(&mut [0; 16]).unwrap_or(0), 0, "closed at once");
    assert_eq!(telemetry.node.get(NodeCounter::ApiConnectionsRefused), 1);
    drop(silent);
    // The threads notice one after the other that the silent ones are gone.
    let end = Instant::now() + Duration::from_secs(10);
    let served = || {
        let mut stream = TcpStream::connect(server.local_addr()).ok()?;
        stream.write_all(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.starts_with("HTTP/1.1 200 ").then_some(())
    };
    while served().is_none() {
        assert!(Instant::now() < end, "never served again");
    }
}

#[test]
fn idle_connection_gives_its_thread_to_whoever_waits() {
    let (server, _) = serve(ApiSettings { threads: 1, ..settings() });
    let mut idle = TcpStream::connect(server.local_addr()).unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\n\r\n").unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    let begin = Instant::now();
    assert_eq!(call(&server, "GET", "/health", "", "").0, 200);
    assert!(begin.elapsed() < IDLE, "the idle client kept the only thread");
}
