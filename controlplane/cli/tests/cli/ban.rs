//! Bans by the built program.

use secbeat_proto::v1::import_bans_response::ImportRefusal;
use secbeat_proto::v1::*;
use tonic::Status;

use crate::server::Server;

fn ban(prefix: &str, enforcing: u32) -> Ban {
    let entry = BanEntry {
        prefix: prefix.into(),
        reason: "scan \x1b[31m".into(),
        origin: BanOrigin::Operator as i32,
        ..BanEntry::default()
    };
    Ban {
        entry: Some(entry),
        nodes_connected: 3,
        nodes_enforcing: enforcing,
        hits: 42,
        nodes: vec![NodeBanHits { node_id: "n-1".into(), is_enforced: false, packets: 0 }],
    }
}

#[test]
fn a_ban_is_asked_for_with_all_that_was_typed() {
    let server = Server::start();
    server.on("add_ban", |request: AddBanRequest| {
        let prefix = request.ban.unwrap().prefix;
        Ok(AddBanResponse { ban: Some(ban(&prefix, 3)), exempt: vec!["203.0.113.9/32".into()] })
    });
    let args =
        ["ban", "add", "203.0.113.0/24", "--for", "1h 30m", "--reason", "scan", "--wait", "--timeout", "7s"];
    server
        .run(&args)
        .ends(0)
        .says("203.0.113.0/24")
        .says("3/3")
        .warns("stays allowed inside it: 203.0.113.9/32");
    let request: AddBanRequest = server.seen("add_ban").remove(0);
    let (mutation, wanted) = (request.mutation.unwrap(), request.ban.unwrap());
    assert_eq!((wanted.duration_ms, wanted.is_permanent, request.wait_ms), (5_400_000, false, 7_000));
    assert_eq!((wanted.reason.as_str(), mutation.reason.as_str(), mutation.dry_run), ("scan", "scan", false));
    assert_eq!(mutation.request_id.len(), 36, "a UUID: {}", mutation.request_id);
}

#[test]
fn a_repetition_may_carry_the_first_request_id() {
    let server = Server::start();
    server.on("add_ban", |_: AddBanRequest| Ok(AddBanResponse::default()));
    for _ in 0..2 {
        server
            .run(&["ban", "add", "::1", "--permanent", "--request-id", "r-1", "--dry-run"])
            .ends(0)
            .warns("dry run");
    }
    let seen: Vec<AddBanRequest> = server.seen("add_ban");
    assert_eq!(seen[0], seen[1]);
    let mutation = seen[0].mutation.clone().unwrap();
    assert!(mutation.dry_run && mutation.request_id == "r-1" && seen[0].ban.as_ref().unwrap().is_permanent);
}

#[test]
fn a_ban_that_is_not_everywhere_yet_is_partial() {
    let server = Server::start();
    server.on("add_ban", |_: AddBanRequest| {
        Ok(AddBanResponse { ban: Some(ban("::1/128", 2)), exempt: Vec::new() })
    });
    server
        .run(&["ban", "add", "::1", "--wait"])
        .ends(7)
        .warns("2 of 3 connected nodes")
        .warns("n-1: not yet");
    server.run(&["ban", "add", "::1"]).ends(0);
}

#[test]
fn an_allowlisted_address_is_refused_by_validation() {
    let server = Server::start();
    server.on("add_ban", |_: AddBanRequest| {
        Err::<AddBanResponse, _>(Status::failed_precondition("list/partners allows 203.0.113.7"))
    });
    server.run(&["ban", "add", "203.0.113.7"]).ends(8).warns("list/partners allows");
}

#[test]
fn lists_are_read_page_by_page_to_the_end_or_the_limit() {
    let server = Server::start();
    server.on("list_bans", |request: ListBansRequest| {
        let page: usize = request.page_token.parse().unwrap_or(0);
        let count = request.page_size.min(2) as usize;
        let bans = (0..count).map(|n| ban(&format!("10.0.{page}.{n}/32"), 3)).collect();
        let next_page_token = if page < 2 { (page + 1).to_string() } else { String::new() };
        Ok(ListBansResponse { bans, next_page_token, total: 6 })
    });
    let ran = server.run(&["ban", "list", "-o", "name"]).ends(0);
    assert_eq!(ran.out.lines().count(), 6);
    let ran = server.run(&["ban", "list", "-o", "jsonl", "--limit", "3"]).ends(0);
    assert_eq!(ran.out.lines().count(), 3);
    let table = server.run(&["ban", "list"]).ends(0).says("PREFIX").says("never").says("42");
    assert!(!table.out.contains('\x1b'), "what a stranger wrote cannot drive the terminal");
    let value = server.run(&["ban", "list", "-o", "json"]).ends(0).json();
    assert_eq!(value[0]["reason"], "scan \x1b[31m");
    assert_eq!(value.as_array().unwrap().len(), 6);
}

#[test]
fn an_empty_list_is_an_empty_list() {
    let server = Server::start();
    server.on("list_bans", |_: ListBansRequest| Ok(ListBansResponse::default()));
    assert_eq!(server.run(&["ban", "list", "-o", "json"]).ends(0).out, "[]\n");
    assert_eq!(server.run(&["ban", "list", "-o", "yaml"]).ends(0).out, "[]\n");
    assert_eq!(server.run(&["ban", "list", "-o", "jsonl"]).ends(0).out, "");
    let ran = server.run(&["ban", "list"]).ends(0).warns("no bans");
    assert_eq!(ran.out, "");
}

#[test]
fn removing_a_ban_that_is_not_there_is_not_found() {
    let server = Server::start();
    server.on("remove_ban", |request: RemoveBanRequest| match request.prefix.as_str() {
        "203.0.113.7/32" => Ok(RemoveBanResponse { ban: Some(ban("203.0.113.7/32", 0)) }),
        _ => Err(Status::not_found("there is no ban of it")),
    });
    server.run(&["ban", "remove", "203.0.113.7", "--wait"]).ends(0);
    server.run(&["ban", "remove", "203.0.113.8"]).ends(3);
}

fn import(server: &Server, refused: &'static [&'static str]) {
    server.on("import_bans", move |request: ImportBansRequest| {
        let is_refused = |ban: &&NewBan| refused.contains(&ban.prefix.as_str());
        let refusals: Vec<_> = request
            .bans
            .iter()
            .filter(is_refused)
            .map(|ban| ImportRefusal { prefix: ban.prefix.clone(), error: "allowed".into() })
            .collect();
        let added = (request.bans.len() - refusals.len()) as u64;
        Ok(ImportBansResponse { added, unchanged: 0, refusals })
    });
}

#[test]
fn files_of_bans_are_read_in_three_formats() {
    let server = Server::start();
    import(&server, &[]);
    let texts = [
        "# head\n192.0.2.1 # loud\n192.0.2.2\n",
        "prefix,duration,reason\n192.0.2.1,,loud\n192.0.2.2,2h,\n",
        r#"[{"prefix":"192.0.2.1","reason":"loud"},{"prefix":"192.0.2.2","for":"2h"}]"#,
        "{\"prefix\":\"192.0.2.1\",\"reason\":\"loud\"}\n{\"prefix\":\"192.0.2.2\"}\n",
    ];
    for text in texts {
        let args = ["ban", "import", "-f", "-", "--for", "1h", "--reason", "list"];
        server.run_with(&args, text).ends(0).says("2 added");
        let request: ImportBansRequest = server.seen("import_bans").pop().unwrap();
        let [first, second] = request.bans.as_slice() else { panic!("{request:?}") };
        assert_eq!((first.prefix.as_str(), first.reason.as_str()), ("192.0.2.1/32", "loud"));
        assert_eq!((first.duration_ms, second.reason.as_str()), (3_600_000, "list"));
        let is_two_hours = text.contains("2h");
        assert_eq!(second.duration_ms, if is_two_hours { 7_200_000 } else { 3_600_000 });
    }
}

#[test]
fn refused_entries_are_listed_and_the_rest_is_set() {
    let server = Server::start();
    import(&server, &["192.0.2.1/32"]);
    let file = server.file("list.txt", "192.0.2.1\n192.0.2.2\n");
    server.run(&["ban", "import", "-f", &file]).ends(7).says("1 added").warns("192.0.2.1/32: allowed");
    let file = server.file("list.txt", "192.0.2.1\n");
    let value = server.run(&["ban", "import", "-f", &file, "-o", "json"]).ends(8).json();
    assert_eq!(value["refusals"][0]["prefix"], "192.0.2.1/32");
}

#[test]
fn a_file_with_mistakes_is_not_sent_at_all() {
    let server = Server::start();
    import(&server, &[]);
    let file = server.file("list.txt", "192.0.2.1\nnonsense\n10.0.0.1/8\n");
    server.run(&["ban", "import", "-f", &file]).ends(8).warns("list.txt:2: `nonsense`").warns("list.txt:3:");
    server.run(&["ban", "import", "-f", "/nowhere"]).ends(2).warns("/nowhere");
    assert!(server.seen::<ImportBansRequest>("import_bans").is_empty());
}

#[test]
fn long_files_go_in_parts_with_ids_of_their_own() {
    let server = Server::start();
    import(&server, &[]);
    let text: String = (0..4_500).map(|n| format!("10.0.{}.{}\n", n / 256, n % 256)).collect();
    let args = ["ban", "import", "-f", "-", "--request-id", "r"];
    server.run_with(&args, &text).ends(0).says("4500 added");
    let seen: Vec<ImportBansRequest> = server.seen("import_bans");
    let ids: Vec<_> = seen.iter().map(|request| request.mutation.clone().unwrap().request_id).collect();
    assert_eq!(ids, ["r/b0", "r/b1", "r/b2"]);
}
