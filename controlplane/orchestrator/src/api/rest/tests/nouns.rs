//! What paths do.

use super::*;

fn office(prefix: &str) -> Value {
    json!({ "body": { "action": "allow", "prefixes": [prefix] }, "reason": "new office" })
}

#[tokio::test]
async fn a_resource_is_put_read_changed_and_deleted() {
    let place = Place::new("");
    let client = with_scopes(&place, &["policy:write"]).await;
    client.get("/api/v1/policies/list:office").await.problem(404, "not_found");
    let dry = client.put("/api/v1/policies/list:office?dry_run=true", office("198.51.100.0/24")).await.ok();
    assert_eq!(dry["changes"][0]["action"], "added");
    client.get("/api/v1/policies/list:office").await.problem(404, "not_found");

    let put = client.put("/api/v1/policies/list:office", office("198.51.100.0/24")).await;
    let revision = put.header("etag").to_owned();
    assert_eq!(put.ok()["changes"][0]["id"], "list:office");
    let got = client.get("/api/v1/policies/list:office").await;
    assert_eq!(got.header("etag"), revision);
    let got = got.ok();
    assert_eq!((&got["kind"], &got["version"]), (&json!("list"), &json!(1)));
    assert_eq!(got["body"]["prefixes"], json!(["198.51.100.0/24"]));
    assert_eq!(got["hash"].as_str().map(str::len), Some(64));

    client.put("/api/v1/policies/list:office", office("192.0.2.0/24")).await.ok();
    let stale = [JSON, ("if-match", revision.as_str())];
    let body = office("203.0.113.0/24").to_string().into_bytes();
    client.send("PUT", "/api/v1/policies/list:office", &stale, body).await.problem(409, "conflict");
    let old = client.get(&format!("/api/v1/policies?revision={}", revision.trim_matches('"'))).await.ok();
    assert_eq!(old["resources"][0]["body"]["prefixes"], json!(["198.51.100.0/24"]));

    let removed = client.delete("/api/v1/policies/list:office").await.ok();
    assert_eq!(removed["changes"][0]["action"], "removed");
    client.get("/api/v1/policies/list:office").await.problem(404, "not_found");
    let history = client.get("/api/v1/revisions").await.ok();
    assert_eq!(history["revisions"].as_array().map(Vec::len), Some(3));
    let back = client.post("/api/v1/rollback", json!({ "to_revision": 1 })).await.ok();
    assert_eq!(back["changes"][0]["action"], "added");
    client.get("/api/v1/rollouts/none").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_repeated_key_changes_nothing_and_answers_alike() {
    let place = Place::new("");
    let client = with_scopes(&place, &["policy:write"]).await;
    let headers = [JSON, ("idempotency-key", "a-1")];
    let send = async |prefix: &str| {
        client
            .send("PUT", "/api/v1/policies/list:office", &headers, office(prefix).to_string().into_bytes())
            .await
    };
    let first = send("198.51.100.0/24").await.ok();
    client.put("/api/v1/policies/list:office", office("192.0.2.0/24")).await.ok();
    assert_eq!(send("198.51.100.0/24").await.ok(), first);
    send("203.0.113.0/24").await.problem(409, "conflict");
    let now = client.get("/api/v1/policies/list:office").await.ok();
    assert_eq!(now["body"]["prefixes"], json!(["192.0.2.0/24"]));
}

#[tokio::test]
async fn a_whole_policy_is_deployed_as_toml_or_json_and_mistakes_are_named() {
    let place = Place::new("");
    let client = with_scopes(&place, &["policy:write"]).await;
    client.put("/api/v1/policies/list:old", office("192.0.2.0/24")).await.ok();
    let toml = "[[lists]]\nname = \"office\"\naction = \"allow\"\nprefixes = [\"198.51.100.0/24\"]\n";
    let rollout = json!({ "strategy": "all" });
    let deployed =
        client.post("/api/v1/config/deploy", json!({ "toml": toml, "rollout": rollout })).await.ok();
    let actions: BTreeSet<_> =
        deployed["changes"].as_array().unwrap().iter().map(|c| c["action"].as_str().unwrap()).collect();
    assert_eq!(actions, BTreeSet::from(["added", "removed"]));
    let body = json!({ "resources": [{ "id": "list:office", "body": office("198.51.100.0/24")["body"] }] });
    let same = client.post("/api/v1/config/deploy", body).await.ok();
    assert_eq!(same["changes"], json!([]));

    let answer = client
        .post("/api/v1/config/deploy", json!({ "toml": "[[lists]]\nname = \"x\"\nprefix = 1\n" }))
        .await;
    assert!(answer.problem(422, "invalid").contains("policy:3"), "{answer:?}");
    let body =
        json!({ "upserts": [{ "id": "list:a", "body": { "x": 1 } }, { "id": "thing:b", "body": {} }] });
    let answer = client.post("/api/v1/policies", body).await;
    answer.problem(422, "invalid");
    let errors = answer.body["errors"].as_array().unwrap();
    assert!(errors.len() >= 2, "{errors:?}");
    client.post("/api/v1/config/deploy", json!({})).await.problem(422, "invalid");
    client.get("/api/v1/policies/office").await.problem(422, "invalid");
}

#[tokio::test]
async fn bans_are_set_listed_lifted_and_imported() {
    let place = Place::new("");
    let client = with_scopes(&place, &["ban:write"]).await;
    let new = json!({ "prefix": "203.0.113.0/24", "duration_ms": 3_600_000, "reason": "scanner" });
    let added = client.post("/api/v1/bans", new).await.ok();
    let ban = &added["ban"];
    assert_eq!((&ban["prefix"], &ban["origin"]), (&json!("203.0.113.0/24"), &json!("operator")));
    assert!(ban["until"].as_str().unwrap().ends_with('Z'));
    let listed = client.get("/api/v1/bans?touching=203.0.113.9&origin=operator").await.ok();
    assert_eq!((&listed["total"], &listed["bans"][0]["reason"]), (&json!(1), &json!("scanner")));
    client.post("/api/v1/bans", json!({ "prefix": "300.1.1.1" })).await.problem(422, "invalid");
    client
        .post("/api/v1/bans", json!({ "prefix": "192.0.2.1", "wait_ms": 60_001 }))
        .await
        .problem(422, "invalid");
    let bans = json!({ "bans": [{ "prefix": "192.0.2.1" }, { "prefix": "nowhere" }] });
    let imported = client.post("/api/v1/bans/import", bans).await.ok();
    assert_eq!((&imported["added"], &imported["refusals"][0]["prefix"]), (&json!(1), &json!("nowhere")));
    client.delete("/api/v1/bans/203.0.113.0%2F24").await.ok();
    client.delete("/api/v1/bans/203.0.113.0%2F24").await.problem(404, "not_found");
}

#[tokio::test]
async fn tokens_are_made_shown_once_and_ended() {
    let place = Place::new("");
    let admin = with_scopes(&place, &["admin"]).await;
    let new = json!({ "name": "ci", "scopes": ["read"], "lifetime_ms": 60_000 });
    let headers = [JSON, ("idempotency-key", "t-1")];
    let made = admin.send("POST", "/api/v1/tokens", &headers, new.to_string().into_bytes()).await.ok();
    let token = made["token"].as_str().unwrap();
    let again = admin.send("POST", "/api/v1/tokens", &headers, new.to_string().into_bytes()).await.ok();
    assert_eq!((&again["info"], &again["token"]), (&made["info"], &Value::Null), "it is shown once");
    let ci = Client::of(&place, Some(token.to_owned()));
    ci.get("/api/v1/nodes").await.ok();
    let audit = admin.get("/api/v1/audit?action=token.create").await.ok();
    assert_eq!(audit["entries"][0]["target"], "token/ci");
    let secret = token.rsplit('_').next().unwrap();
    assert!(
        !audit.to_string().contains(secret)
            && !admin.get("/api/v1/tokens").await.ok().to_string().contains(secret)
    );
    let id = made["info"]["id"].as_str().unwrap();
    assert_eq!(admin.delete(&format!("/api/v1/tokens/{id}")).await.ok()["is_revoked"], true);
    ci.get("/api/v1/nodes").await.problem(401, "unauthenticated");
    assert_eq!(admin.get("/api/v1/audit/verify").await.ok()["is_intact"], true);
}

#[tokio::test]
async fn an_empty_fleet_has_numbers_too() {
    let place = Place::new("");
    let client = with_scopes(&place, &["fleet:write", "event:write"]).await;
    assert_eq!(client.get("/api/v1/nodes").await.ok()["nodes"], json!([]));
    assert_eq!(client.get("/api/v1/nodes/stats").await.ok()["total"], 0);
    assert_eq!(client.get("/api/v1/fleet/stats").await.ok()["nodes"]["connected"], 0);
    assert_eq!(client.get("/api/v1/events/stats").await.ok()["total"], 0);
    assert_eq!(client.get("/api/v1/events?severity_min=warn").await.ok()["events"], json!([]));
    assert_eq!(client.get("/api/v1/threats").await.ok()["threats"], json!([]));
    client.post("/api/v1/events/acknowledge", json!({ "classes": ["attack"] })).await.ok();
    client.post("/api/v1/cleanup", json!({})).await.ok();
    for path in ["/api/v1/nodes/web-1", "/api/v1/nodes/web-1/metrics"] {
        client.get(path).await.problem(404, "not_found");
    }
    for path in ["/api/v1/nodes/web-1/restart", "/api/v1/nodes/web-1/drain"] {
        client.post(path, json!({})).await.problem(404, "not_found");
    }
    client.post("/api/v1/scale", json!({})).await.problem(422, "invalid");
    client.post("/api/v1/nodes/scale", json!({ "delta": 1 })).await.problem(409, "refused");
}

#[tokio::test]
async fn nodes_are_revoked_and_reinstated() {
    let place = Place::new("");
    let admin = with_scopes(&place, &["admin"]).await;
    let id = uuid::Uuid::new_v4().to_string();
    let body = json!({ "target": id, "reason": "stolen" });
    admin.post("/api/v1/revocations?dry_run=true", body.clone()).await.ok();
    assert_eq!(admin.get("/api/v1/revocations").await.ok()["revocations"], json!([]));
    let revoked = admin.post("/api/v1/revocations", body).await.ok();
    assert_eq!(revoked["target"], format!("node:{id}"));
    assert_eq!(admin.get("/api/v1/revocations").await.ok()["revocations"][0]["reason"], "stolen");
    admin.delete(&format!("/api/v1/revocations/{id}")).await.ok();
    admin.delete(&format!("/api/v1/revocations/{id}")).await.problem(404, "not_found");
    admin.post("/api/v1/revocations", json!({ "target": "web 1" })).await.problem(422, "invalid");
    let reader = with_scopes(&place, &["read"]).await;
    reader.get("/api/v1/revocations").await.problem(403, "denied");
}

#[tokio::test]
async fn an_address_is_explained() {
    let place = Place::new("");
    let client = with_scopes(&place, &["ban:write"]).await;
    client.post("/api/v1/bans", json!({ "prefix": "203.0.113.0/24", "reason": "scanner" })).await.ok();
    let explained = client.get("/api/v1/explain?target=203.0.113.9").await.ok();
    assert_eq!(explained["findings"][0]["what"], "ban", "{explained}");
    client.get("/api/v1/explain").await.problem(400, "unreadable");
    client.get("/api/v1/explain?target=nowhere").await.problem(422, "invalid");
}
