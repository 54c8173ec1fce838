//! What every request passes, and the document.

use super::*;

#[test]
fn the_committed_document_is_the_served_one() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let served = document();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(served == committed, "docs/openapi.json is not what is served; UPDATE_OPENAPI=1 writes it");
}

#[test]
fn the_document_names_every_path_that_was_promised() {
    let known: BTreeSet<String> =
        operations().into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    for promised in [
        "GET /nodes",
        "GET /nodes/{id}",
        "GET /nodes/{id}/metrics",
        "GET /nodes/stats",
        "GET /fleet/stats",
        "GET /events",
        "GET /events/stats",
        "GET /threats",
        "GET /policies",
        "GET /policies/{id}",
        "GET /bans",
        "GET /audit",
        "GET /rollouts/{id}",
        "POST /policies",
        "POST /nodes/{id}/scale",
        "POST /nodes/{id}/restart",
        "POST /nodes/{id}/drain",
        "POST /nodes/scale",
        "POST /scale",
        "POST /config/deploy",
        "POST /events/acknowledge",
        "POST /cleanup",
        "POST /bans",
        "PUT /policies/{id}",
        "DELETE /policies/{id}",
        "DELETE /bans/{prefix}",
        "GET /openapi.json",
    ] {
        let promised = promised.replacen(" /", " /api/v1/", 1);
        assert!(known.contains(&promised), "{promised} is not there");
    }
    assert!(known.contains("GET /health"));
}

#[test]
fn every_operation_has_an_id_a_tag_security_and_errors() {
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations() {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} stands twice");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{method} {path}");
        assert!(operation["responses"]["401"].is_object() && operation["responses"]["200"].is_object());
        let is_open = path == "/health" || path.ends_with("openapi.json");
        assert_eq!(operation["security"].is_array(), !is_open, "{method} {path}");
    }
    let document: Value = serde_json::from_str(&document()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["components"]["securitySchemes"]["bearerAuth"]["scheme"], "bearer");
}

#[tokio::test]
async fn without_a_token_only_health_and_the_document_answer() {
    let place = Place::new("[api]\nrate_limit_rps = 1000\n");
    let nobody = Client::of(&place, None);
    for (method, path, _) in operations() {
        let answer = nobody.send(&method, &path.replace(['{', '}'], ""), &[JSON], b"{}".to_vec()).await;
        if path == "/health" || path.ends_with("openapi.json") {
            assert_eq!(answer.status, StatusCode::OK, "{path}");
        } else {
            answer.problem(401, "unauthenticated");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
    }
    nobody.get("/nothing/here").await.problem(401, "unauthenticated");
    let wrong = Client::of(&place, Some("sbt_x".into()));
    let known = wrong.get("/api/v1/tokens/0").await.problem(401, "unauthenticated").to_owned();
    assert_eq!(
        known,
        wrong.get("/nothing").await.problem(401, "unauthenticated"),
        "nothing is told of what exists"
    );
}

#[tokio::test]
async fn a_token_does_what_its_scopes_say() {
    let place = Place::new("[api]\nrate_limit_rps = 1000\n");
    let reader = with_scopes(&place, &["read"]).await;
    reader.get("/api/v1/nodes").await.ok();
    for (method, path, body) in [
        ("PUT", "/api/v1/policies/list:x", json!({ "body": { "action": "allow", "prefixes": [] } })),
        ("POST", "/api/v1/bans", json!({ "prefix": "203.0.113.7" })),
        ("POST", "/api/v1/cleanup", json!({})),
        ("POST", "/api/v1/scale", json!({ "delta": 1 })),
        ("POST", "/api/v1/events/acknowledge", json!({ "ids": [1] })),
        ("GET", "/api/v1/audit", json!({})),
        ("GET", "/api/v1/tokens", json!({})),
    ] {
        let answer = reader.send(method, path, &[JSON], body.to_string().into_bytes()).await;
        assert!(answer.problem(403, "denied").contains("scope"), "{path}");
    }
    let join = with_scopes(&place, &["join"]).await;
    join.get("/api/v1/nodes").await.problem(403, "denied");
}

#[tokio::test]
async fn errors_are_problems_whoever_makes_them() {
    let place = Place::new("[api]\nrate_limit_rps = 1000\n");
    let admin = with_scopes(&place, &["admin"]).await;
    admin.get("/api/v1/nothing").await.problem(404, "not_found");
    let answer = admin.delete("/api/v1/nodes").await;
    answer.problem(405, "method_not_allowed");
    assert!(answer.header("allow").contains("GET"), "{answer:?}");
    admin.get("/api/v1/nodes?stat=active").await.problem(400, "unreadable");
    admin.get("/api/v1/nodes?state=alive").await.problem(400, "unreadable");
    admin.get("/api/v1/nodes?page_size=-1").await.problem(400, "unreadable");
    admin.get("/api/v1/events?since=yesterday").await.problem(400, "unreadable");
    admin.get("/api/v1/policies/list%ff").await.problem(400, "unreadable");
    admin.send("POST", "/api/v1/cleanup", &[JSON], b"{".to_vec()).await.problem(400, "unreadable");
    admin.send("POST", "/api/v1/cleanup", &[], b"{}".to_vec()).await.problem(415, "unreadable");
    let detail = admin.post("/api/v1/cleanup", json!({ "x": 1 })).await.problem(422, "invalid").to_owned();
    assert!(detail.contains("dead_for_ms"), "{detail}");
    let reason = "x".repeat(501);
    admin.post("/api/v1/cleanup", json!({ "reason": reason })).await.problem(422, "invalid");
    let bad = [JSON, ("if-match", "today")];
    admin.send("POST", "/api/v1/cleanup", &bad, b"{}".to_vec()).await.problem(400, "unreadable");
    let answer = admin.post("/api/v1/cleanup?dry_run=perhaps", json!({})).await;
    answer.problem(400, "unreadable");
}

#[tokio::test]
async fn bodies_are_as_long_as_allowed() {
    let place = Place::new("[api]\nbody_bytes_max = 100000\n");
    let admin = with_scopes(&place, &["admin"]).await;
    let long = vec![b' '; BODY_BYTES_SMALL + 1];
    admin.send("POST", "/api/v1/cleanup", &[JSON], long.clone()).await.problem(413, "too_large");
    admin.send("POST", "/api/v1/config/deploy", &[JSON], long).await.problem(400, "unreadable");
    let longer = vec![b' '; 100_001];
    admin.send("POST", "/api/v1/config/deploy", &[JSON], longer).await.problem(413, "too_large");
}

#[tokio::test]
async fn whoever_asks_too_often_is_told_when_to_come_back() {
    let place = Place::new("[api]\nrate_limit_rps = 1\n");
    let client = with_scopes(&place, &["read"]).await;
    let mut limited = None;
    for _ in 0..10 {
        let answer = client.get("/api/v1/info").await;
        if answer.status != StatusCode::OK {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.unwrap();
    limited.problem(429, "exhausted");
    assert!(limited.header("retry-after").parse::<u64>().unwrap() >= 1);
    let other = Client { token: Some(place.token("other", &["read"]).await), ..client };
    other.get("/api/v1/info").await.ok();
}

#[tokio::test]
async fn pages_of_other_origins_are_not_served() {
    let place = Place::new("[access]\nloopback_open = true\n");
    let mut client = Client::of(&place, None);
    client.peer.is_open_loopback = true;
    client.get("/api/v1/info").await.ok();
    let send = async |headers: &[(&str, &str)]| client.send("GET", "/api/v1/info", headers, Vec::new()).await;
    send(&[("origin", "https://evil.example")]).await.problem(403, "denied");
    send(&[("origin", "null")]).await.problem(403, "denied");
    send(&[("origin", "http://localhost:9090")]).await.ok();
    for (host, is_served) in [("evil.example:9090", false), ("127.0.0.1:9090", true), ("[::1]:9090", true)] {
        let mut request =
            Request::builder().uri("/api/v1/info").header("host", host).body(HttpBody::empty()).unwrap();
        request.extensions_mut().insert(client.peer.clone());
        let response = client.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status() == StatusCode::OK, is_served, "{host}");
    }
}

#[tokio::test]
async fn every_answer_forbids_what_browsers_could_do_with_it() {
    let place = Place::new("");
    let nobody = Client::of(&place, None);
    for path in ["/health", "/api/v1/nodes", "/nothing"] {
        let answer = nobody.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"));
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn http_is_spoken_on_a_connection_until_the_server_ends() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let place = Place::new("[access]\nloopback_open = true\n");
    let listener =
        crate::api::tls::accept::Listener::bind(&place.orchestrator, Face::Rest, None).await.unwrap();
    let address = listener.address().unwrap();
    let (end, ending) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(serve(router(&place.orchestrator), listener, async {
        let _ = ending.await;
    }));
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        client.write_all(b"GET /api/v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert_ne!(
                client.read_buf(&mut answer).await.unwrap(),
                0,
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
        let text = String::from_utf8(answer).unwrap();
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("\"principal\":\"loopback\""), "{text}");
    }
    end.send(()).unwrap();
    tokio::time::timeout(core::time::Duration::from_secs(30), served).await.unwrap().unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap_or(0), 0);
}
