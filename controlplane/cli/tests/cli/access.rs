//! Audit log and tokens by the built program.

use secbeat_proto::v1::*;

use crate::server::Server;

#[test]
fn the_audit_log_is_read_back_from_the_newest() {
    let server = Server::start();
    server.on("list_audit", |request: ListAuditRequest| {
        assert_eq!((request.actor.as_str(), request.action.as_str()), ("alice", "ban.add"));
        let newest = if request.before_number == 0 { 130 } else { request.before_number - 1 };
        let count = u64::from(request.page_size.min(50)).min(newest);
        let entry = |n| AuditEntry {
            number: newest - n,
            action: "ban.add".into(),
            outcome: "ok".into(),
            after: "{\"prefix\":\"::1/128\"}".into(),
            ..AuditEntry::default()
        };
        let oldest = newest + 1 - count;
        let next_before_number = if oldest > 1 { oldest } else { 0 };
        Ok(ListAuditResponse { entries: (0..count).map(entry).collect(), next_before_number })
    });
    let args = ["audit", "log", "--actor", "alice", "--action", "ban.add"];
    let ran = server.run(&args).ends(0).says("ban.add").warns("--limit 0");
    assert_eq!(ran.out.lines().count(), 101);
    let all = [&args[..], &["--limit", "0", "-o", "json"]].concat();
    let value = server.run(&all).ends(0).json();
    assert_eq!(value.as_array().unwrap().len(), 130);
    assert_eq!(value[0]["after"]["prefix"], "::1/128");
}

#[test]
fn a_broken_chain_fails_validation() {
    let server = Server::start();
    let answer = |is_intact, broken_at| {
        move |_: VerifyAuditRequest| {
            Ok(VerifyAuditResponse { is_intact, entries: 9, broken_at, head_hash: vec![0xcd; 32] })
        }
    };
    server.on("verify_audit", answer(true, 0));
    server.run(&["audit", "verify"]).ends(0).says("intact: 9 entries").says("cdcd");
    server.on("verify_audit", answer(false, 4));
    server.run(&["audit", "verify"]).ends(8).warns("broken at entry 4 of 9");
    let ran = server.run(&["audit", "verify", "-o", "json"]).ends(8);
    assert_eq!(ran.json()["broken_at"], 4);
}

#[test]
fn a_new_token_is_alone_on_stdout() {
    let server = Server::start();
    server.on("create_token", |request: CreateTokenRequest| {
        let info = TokenInfo {
            token_id: "t1".into(),
            name: request.name,
            scopes: request.scopes,
            ..Default::default()
        };
        Ok(CreateTokenResponse { info: Some(info), token: "sb_new".into() })
    });
    let args =
        ["token", "create", "ci", "--scope", "read,policy:write", "--scope", "ban:write", "--for", "30d"];
    let ran = server.run(&args).ends(0).warns("shown only this once");
    assert_eq!(ran.out, "sb_new\n");
    let request: CreateTokenRequest = server.seen("create_token").remove(0);
    assert_eq!(request.scopes, ["read", "policy:write", "ban:write"]);
    assert_eq!(request.lifetime_ms, 30 * 86_400_000);
    server.run(&["token", "create", "ci", "--scope", "everything"]).ends(2).warns("policy:write");
    server.run(&["token", "create", "ci"]).ends(2);
}

#[test]
fn tokens_are_listed_and_revoked() {
    let server = Server::start();
    let info =
        || TokenInfo { token_id: "t1".into(), name: "ci".into(), is_revoked: true, ..Default::default() };
    server.on("list_tokens", move |_: ListTokensRequest| Ok(ListTokensResponse { tokens: vec![info()] }));
    server.on("revoke_token", move |request: RevokeTokenRequest| {
        assert_eq!(request.token_id, "t1");
        Ok(RevokeTokenResponse { info: Some(info()) })
    });
    server.run(&["token", "list"]).ends(0).says("revoked");
    server.run(&["token", "revoke", "t1"]).ends(0).says("t1 revoked");
}
