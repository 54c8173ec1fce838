//! Policy by the built program: files, differences, rollouts.

use secbeat_proto::v1::rollout_status::State;
use secbeat_proto::v1::*;
use serde_json::Value;
use tonic::Status;

use crate::server::Server;

const LISTS: &str = "[[lists]]\nname = \"partners\"\naction = \"allow\"\nprefixes = [\"192.0.2.0/24\"]\n";

fn key(kind: ResourceKind, name: &str) -> Option<ResourceKey> {
    Some(ResourceKey { kind: kind as i32, name: name.into() })
}

fn change(action: resource_change::Action, name: &str) -> ResourceChange {
    ResourceChange {
        action: action as i32,
        key: key(ResourceKind::List, name),
        version: 2,
        fields: vec![FieldChange { path: "prefixes".into(), before: "[]".into(), after: "[1]".into() }],
        fields_omitted: 0,
    }
}

fn applied(rollout_id: &str) -> ApplyResponse {
    ApplyResponse {
        revision: 8,
        changes: vec![change(resource_change::Action::Changed, "partners")],
        rollout_id: rollout_id.into(),
        warnings: vec!["it is wide".into()],
    }
}

fn status(state: State, applied: u32) -> RolloutStatus {
    RolloutStatus {
        rollout_id: "r-1".into(),
        revision: 8,
        previous_revision: 7,
        state: state as i32,
        step: 1,
        steps: 4,
        nodes_total: 3,
        nodes_applied: applied,
        ..RolloutStatus::default()
    }
}

#[test]
fn apply_sends_what_the_files_say_and_shows_what_changed() {
    let server = Server::start();
    server.on("apply", |_: ApplyRequest| Ok(applied("r-1")));
    let file = server.file("policy.toml", LISTS);
    let args = [
        "policy",
        "apply",
        "-f",
        &file,
        "--prune",
        "--strategy",
        "canary",
        "--rollback-after",
        "10m",
        "--reason",
        "partners",
        "--expected-revision",
        "7",
        "--step-hold",
        "30s",
    ];
    let ran = server
        .run(&args)
        .ends(0)
        .says("~ list/partners")
        .says("prefixes: [] -> [1]")
        .says("revision 8, rollout r-1");
    ran.warns("warning: it is wide");
    let request: ApplyRequest = server.seen("apply").remove(0);
    let mutation = request.mutation.clone().unwrap();
    assert_eq!((mutation.expected_revision, mutation.reason.as_str()), (7, "partners"));
    assert_eq!((request.prune, request.rollback_after_ms), (true, 600_000));
    let rollout = request.rollout.unwrap();
    assert_eq!((rollout.strategy(), rollout.step_hold_ms), (rollout::Strategy::Canary, 30_000));
    assert_eq!(request.upserts.len(), 1);
    assert_eq!(request.upserts[0].key, key(ResourceKind::List, "partners"));
    let body: Value = serde_json::from_slice(&request.upserts[0].body).unwrap();
    assert_eq!(body["action"], "allow");
}

#[test]
fn a_conflict_and_a_validation_failure_are_told_apart() {
    let server = Server::start();
    let file = server.file("policy.toml", LISTS);
    server.on("apply", |_: ApplyRequest| Err::<ApplyResponse, _>(Status::aborted("the revision is 9")));
    server.run(&["policy", "apply", "-f", &file]).ends(4).warns("the revision is 9");
    server.on("apply", |_: ApplyRequest| {
        Err::<ApplyResponse, _>(Status::invalid_argument("1 mistake\nlist/partners: prefixes: overlaps"))
    });
    server.run(&["policy", "apply", "-f", &file]).ends(8).warns("  list/partners: prefixes: overlaps");
}

#[test]
fn files_with_mistakes_are_not_sent() {
    let server = Server::start();
    server.on("apply", |_: ApplyRequest| Ok(applied("")));
    let wrong = server.file("wrong.toml", "[[lists]]\nname = \"a\"\nacton = \"allow\"\n");
    let good = server.file("good.toml", LISTS);
    server.run(&["policy", "apply", "-f", &wrong]).ends(8).warns("acton");
    server.run(&["policy", "validate", "-f", &wrong]).ends(8).warns("did you mean `action`");
    server
        .run(&["policy", "apply", "-f", &good, "-f", &good])
        .ends(8)
        .warns("list/partners: two files have it");
    server.run(&["policy", "apply", "-f", "/nowhere"]).ends(2).warns("/nowhere");
    let empty = server.file("empty.toml", "");
    server.run(&["policy", "apply", "-f", &empty]).ends(8).warns("say nothing");
    server.run(&["policy", "apply", "-f", &empty, "--prune"]).ends(8).warns("whole policy");
    assert!(server.seen::<ApplyRequest>("apply").is_empty());
}

#[test]
fn validate_needs_no_server() {
    let server = Server::start();
    let file = server.file("good.toml", LISTS);
    let offline = |args: &[&str]| crate::server::run(server.command(args), "");
    offline(&["policy", "validate", "-f", &file]).ends(0).says("valid: 1 resources, 0 bans");
    assert_eq!(offline(&["policy", "validate", "-f", &file, "-o", "name"]).ends(0).out, "list/partners\n");
    let value = offline(&["policy", "validate", "-f", &file, "-o", "json"]).ends(0).json();
    assert_eq!(value["resources"][0]["hash"].as_str().unwrap().len(), 64);
    let part = "[[listeners]]\nname = \"web\"\nbind_address = \"192.0.2.1:443\"\nbackends = [\"app\"]\n";
    let part = server.file("part.toml", part);
    offline(&["policy", "validate", "-f", &part]).ends(0);
    offline(&["policy", "validate", "-f", &part, "--whole"]).ends(8).warns("app");
}

#[test]
fn bans_of_a_policy_file_are_set_with_it() {
    let server = Server::start();
    server.on("apply", |_: ApplyRequest| Ok(applied("")));
    server.on("import_bans", |request: ImportBansRequest| {
        Ok(ImportBansResponse { added: request.bans.len() as u64, ..Default::default() })
    });
    let text = format!("{LISTS}\n[[bans]]\nprefix = \"203.0.113.7\"\nfor = \"1h\"\nreason = \"scan\"\n");
    let file = server.file("policy.toml", &text);
    server.run(&["policy", "apply", "-f", &file]).ends(0).says("bans: 1 added");
    let request: ImportBansRequest = server.seen("import_bans").remove(0);
    assert_eq!((request.bans[0].prefix.as_str(), request.bans[0].duration_ms), ("203.0.113.7/32", 3_600_000));
    let value = server.run(&["policy", "apply", "-f", &file, "-o", "json"]).ends(0).json();
    assert_eq!((&value["revision"], &value["bans"]["added"]), (&8.into(), &1.into()));
}

#[test]
fn waiting_shows_progress_and_ends_when_every_node_holds_it() {
    let server = Server::start();
    let file = server.file("policy.toml", LISTS);
    server.on("apply", |_: ApplyRequest| Ok(applied("r-1")));
    server.on_stream("watch_rollout", false, |request: GetRolloutRequest| {
        assert_eq!(request.rollout_id, "r-1");
        Ok(vec![status(State::Running, 1), status(State::Running, 2), status(State::Done, 3)])
    });
    for wait in ["--wait", "--wait=applied"] {
        let ran = server.run(&["policy", "apply", "-f", &file, wait]).ends(0);
        ran.warns("running, step 2 of 4, 1 of 3 hold it").warns("3 of 3 hold it");
    }
    let value = server.run(&["policy", "apply", "-f", &file, "--wait", "-o", "json"]).ends(0).json();
    assert_eq!(value["rollout"]["state"], "done");
    assert!(server.run(&["policy", "apply", "-f", &file]).ends(0).err.lines().count() <= 1);
}

#[test]
fn rejections_are_listed_and_partial() {
    let server = Server::start();
    let file = server.file("policy.toml", LISTS);
    server.on("apply", |_: ApplyRequest| Ok(applied("r-1")));
    server.on_stream("watch_rollout", false, |_: GetRolloutRequest| {
        let rejection = NodeRejection {
            node_id: "n-3".into(),
            key: key(ResourceKind::List, "partners"),
            error: "no room".into(),
        };
        Ok(vec![RolloutStatus { nodes_rejected: 1, rejections: vec![rejection], ..status(State::Done, 2) }])
    });
    server
        .run(&["policy", "apply", "-f", &file, "--wait"])
        .ends(7)
        .warns("2 of 3 hold it, 1 refused")
        .warns("n-3: list/partners: no room");
}

#[test]
fn every_end_of_a_rollout_has_its_exit_code() {
    let server = Server::start();
    server.on("rollback", |_: RollbackRequest| Ok(applied("r-1")));
    let cases = [
        (status(State::Done, 3), 0, "3 of 3"),
        (RolloutStatus { nodes_unreachable: 1, ..status(State::Done, 2) }, 7, "1 unreachable"),
        (status(State::Superseded, 1), 4, "a newer change"),
        (
            RolloutStatus { explanation: "5xx rose".into(), ..status(State::RolledBack, 1) },
            9,
            "revision 7: 5xx rose",
        ),
        (RolloutStatus { nodes_rejected: 1, ..status(State::RolledBack, 1) }, 7, "taken back"),
        (status(State::AwaitingConfirmation, 3), 0, "secbeat policy confirm r-1"),
    ];
    for (status, exit, said) in cases {
        let answer = status.clone();
        server.on_stream("watch_rollout", false, move |_: GetRolloutRequest| Ok(vec![answer.clone()]));
        server.run(&["policy", "rollback", "7", "--wait"]).ends(exit).warns(said);
    }
    let request: RollbackRequest = server.seen("rollback").remove(0);
    assert_eq!(request.to_revision, 7);
}

#[test]
fn waiting_outlives_a_broken_watch_and_ends_with_its_timeout() {
    let server = Server::start();
    let attempts = std::sync::atomic::AtomicU32::new(0);
    server.on_stream("watch_rollout", false, move |_: GetRolloutRequest| {
        match attempts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Err(Status::unavailable("restarting")),
            1 => Ok(vec![status(State::Running, 1)]),
            _ => Ok(vec![status(State::Done, 3)]),
        }
    });
    server.run(&["policy", "status", "--wait"]).ends(0).says("done");
    server.on_stream("watch_rollout", true, |_: GetRolloutRequest| Ok(vec![status(State::Running, 1)]));
    server.run(&["policy", "status", "--wait", "--timeout", "300ms"]).ends(6).warns("the rollout goes on");
}

#[test]
fn a_difference_is_exit_code_one() {
    let server = Server::start();
    let file = server.file("policy.toml", LISTS);
    server.on("diff", |request: DiffRequest| {
        let removed = change(resource_change::Action::Removed, "old");
        let changes = if request.prune { vec![removed] } else { Vec::new() };
        Ok(DiffResponse { revision: 8, changes })
    });
    let same = server.run(&["policy", "diff", "-f", &file]).ends(0);
    assert_eq!(same.out, "");
    server.run(&["policy", "diff", "-f", &file, "--prune"]).ends(1).says("- list/old");
    let value = server.run(&["policy", "diff", "-f", &file, "--prune", "-o", "json"]).ends(1).json();
    assert_eq!(value["changes"][0]["action"], "removed");
    let value = server.run(&["policy", "diff", "-f", &file, "-o", "json"]).ends(0).json();
    assert_eq!(value["changes"], serde_json::json!([]));
}

#[test]
fn what_is_got_as_a_file_can_be_applied_again() {
    let server = Server::start();
    let file = server.file("policy.toml", LISTS);
    server.on("apply", |_: ApplyRequest| Ok(applied("")));
    server.run(&["policy", "apply", "-f", &file]).ends(0);
    let sent: ApplyRequest = server.seen("apply").remove(0);
    let held = sent.upserts.clone();
    server.on("get", move |request: GetPolicyRequest| {
        let wanted = |resource: &&Resource| {
            request.keys.is_empty() || request.keys.contains(resource.key.as_ref().unwrap())
        };
        let resources = held.iter().filter(wanted).cloned().collect();
        Ok(GetPolicyResponse { revision: 8, set_hash: vec![1; 32], resources })
    });
    let text = server.run(&["policy", "get", "-o", "toml"]).ends(0).out;
    let again = server.file("again.toml", &text);
    server.run(&["policy", "apply", "-f", &again]).ends(0);
    let seen: Vec<ApplyRequest> = server.seen("apply");
    assert_eq!(seen[0].upserts, seen[1].upserts);
    server.run(&["policy", "get"]).ends(0).says("list/partners").warns("revision 8");
    let value =
        server.run(&["policy", "get", "list/partners", "--revision", "8", "-o", "json"]).ends(0).json();
    assert_eq!(value["resources"][0]["body"]["action"], "allow");
    server.run(&["policy", "get", "list/partners", "list/none"]).ends(3).warns("list/none");
}

#[test]
fn history_is_paged_to_its_limit() {
    let server = Server::start();
    server.on("history", |request: HistoryRequest| {
        let newest = if request.before_revision == 0 { 90 } else { request.before_revision - 1 };
        let count = u64::from(request.page_size.min(20)).min(newest);
        let revision =
            |n| RevisionInfo { revision: newest - n, actor: "alice".into(), added: 1, ..Default::default() };
        Ok(HistoryResponse { revisions: (0..count).map(revision).collect() })
    });
    let ran = server.run(&["policy", "history"]).ends(0).says("+1 ~0 -0");
    assert_eq!(ran.out.lines().count(), 51);
    let all = server.run(&["policy", "history", "--limit", "0", "-o", "name"]).ends(0);
    assert_eq!((all.out.lines().count(), all.out.lines().last()), (90, Some("1")));
}

#[test]
fn a_rollout_is_confirmed_cancelled_and_looked_at() {
    let server = Server::start();
    server.on("confirm", |request: ConfirmRequest| {
        if request.rollout_id == "none" {
            Err(Status::not_found("no such rollout"))
        } else {
            Ok(status(State::Done, 3))
        }
    });
    server.on("cancel", |_: CancelRequest| Ok(status(State::RolledBack, 0)));
    server.on("get_rollout", |request: GetRolloutRequest| {
        assert_eq!(request.rollout_id, "");
        Ok(status(State::Running, 2))
    });
    server.run(&["policy", "confirm", "r-1"]).ends(0).says("done");
    server.run(&["policy", "confirm", "none"]).ends(3);
    server.run(&["policy", "cancel"]).ends(0).says("rolled-back");
    server.run(&["policy", "status"]).ends(0).says("running").says("2 of 3 hold it");
    assert_eq!(server.run(&["policy", "status", "-o", "json"]).ends(0).json()["nodes_applied"], 2);
}

#[test]
fn a_dry_run_says_so_and_waits_for_nothing() {
    let server = Server::start();
    let file = server.file("policy.toml", LISTS);
    server.on("apply", |request: ApplyRequest| {
        assert!(request.mutation.unwrap().dry_run);
        Ok(applied(""))
    });
    server.run(&["policy", "apply", "-f", &file, "--dry-run", "--wait"]).ends(0).warns("nothing was changed");
}
