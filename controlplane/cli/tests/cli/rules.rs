//! Single rules by the built program.

use secbeat_proto::v1::*;
use serde_json::{Value, json};

use crate::server::Server;

fn key() -> ResourceKey {
    ResourceKey { kind: ResourceKind::FilterSet as i32, name: "edge".into() }
}

#[test]
fn rules_are_pushed_from_json_and_toml() {
    let server = Server::start();
    server.on("change_rules", |_: ChangeRulesRequest| Ok(ApplyResponse::default()));
    let json_file = server.file("rules.json", r#"[{"id":"deny-ssh","action":"drop","dst_port":22}]"#);
    let toml_file =
        server.file("rules.toml", "[[rules]]\nid = \"deny-ssh\"\naction = \"drop\"\ndst_port = 22\n");
    server
        .run(&["rules", "push", "-f", &json_file, "--set", "filter-set/edge"])
        .ends(0)
        .warns("nothing changed");
    server.run(&["rules", "push", "-f", &toml_file, "--set", "filter-set/edge", "--replace"]).ends(0);
    let seen: Vec<ChangeRulesRequest> = server.seen("change_rules");
    assert_eq!((seen[0].replace, seen[1].replace), (false, true));
    for request in seen {
        assert_eq!(request.set, Some(key()));
        let rule: Value = serde_json::from_slice(&request.upserts[0]).unwrap();
        assert_eq!(rule, json!({ "id": "deny-ssh", "action": "drop", "dst_port": 22 }));
    }
}

#[test]
fn rules_without_ids_are_not_sent() {
    let server = Server::start();
    let file = server.file("rules.json", r#"[{"action":"drop"}]"#);
    server
        .run(&["rules", "push", "-f", &file, "--set", "filter-set/edge"])
        .ends(8)
        .warns("rule 1: it has no `id`");
    server.run(&["rules", "push", "-f", &file, "--set", "list/edge"]).ends(2).warns("waf-set/NAME");
    let empty = server.file("empty.json", "[]");
    server.run(&["rules", "push", "-f", &empty, "--set", "filter-set/edge"]).ends(8).warns("--replace");
}

#[test]
fn rules_are_listed_and_removed() {
    let server = Server::start();
    server.on("get", |request: GetPolicyRequest| {
        let body = br#"{"priority":1,"rules":[{"action":"drop","id":"deny-ssh","proto":"tcp"}]}"#.to_vec();
        let resource = Resource { key: Some(key()), body, ..Resource::default() };
        let resources = if request.keys == [key()] { vec![resource] } else { Vec::new() };
        Ok(GetPolicyResponse { resources, ..Default::default() })
    });
    server.on("change_rules", |request: ChangeRulesRequest| {
        assert_eq!(request.removals, ["deny-ssh", "deny-telnet"]);
        Ok(ApplyResponse { revision: 3, ..Default::default() })
    });
    server.run(&["rules", "list", "filter-set/edge"]).ends(0).says("deny-ssh").says("proto=tcp");
    assert_eq!(server.run(&["rules", "list", "filter-set/edge", "-o", "name"]).ends(0).out, "deny-ssh\n");
    server.run(&["rules", "list", "filter-set/none"]).ends(3);
    server.run(&["rules", "remove", "filter-set/edge", "deny-ssh", "deny-telnet"]).ends(0);
}
