//! Collections that outlive their transaction, and `ENV`.
use std::sync::Arc;

use secbeat_waf::transaction::{Budget, Persistent};

use crate::world::{Exchange, get, world, world_with};

const COUNTER: &str = r#"
SecAction "id:1,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR},initcol:global=all"
SecAction "id:2,phase:1,pass,nolog,setvar:ip.count=+1,expirevar:ip.count=60,setvar:global.count=+2"
SecRule IP:count "@ge 3" "id:3,phase:1,pass,log,msg:'%{ip.count} of %{global.count}'"
SecRule ARGS:clear "@streq 1" "id:4,phase:1,pass,nolog,setvar:!ip.count"
SecRule &IP:count "@eq 0" "id:5,phase:2,pass,log,msg:none"
"#;

#[test]
fn counters_go_on_in_the_next_transaction_and_expire() {
    let mut world = world(COUNTER);
    let at = |time_unix_s| Exchange { time_unix_s, ..get("/") };
    assert_eq!(world.messages_of(&at(1_000)), Vec::<String>::new());
    assert_eq!(world.messages_of(&at(1_001)), Vec::<String>::new());
    assert_eq!(world.messages_of(&at(1_002)), ["3 of 6"]);
    // 60 s after the last: the count begins anew, what does not expire goes on.
    assert_eq!(world.messages_of(&at(1_062)), Vec::<String>::new());
    world.run(&at(1_063));
    assert_eq!(world.messages_of(&at(1_064)), ["3 of 12"]);
    assert_eq!(world.messages_of(&Exchange { time_unix_s: 1_065, ..get("/?clear=1") }), ["4 of 14", "none"]);
    assert_eq!(world.messages_of(&at(1_066)), Vec::<String>::new());
}

#[test]
fn two_workers_share_their_counters() {
    let persistent = Arc::new(Persistent::default());
    let mut one = world_with(COUNTER, Budget::default(), persistent.clone());
    let mut two = world_with(COUNTER, Budget::default(), persistent.clone());
    one.run(&get("/"));
    two.run(&get("/"));
    assert_eq!(one.messages_of(&get("/")), ["3 of 6"]);
    assert_eq!(two.messages_of(&get("/")), ["4 of 8"]);
    assert_eq!(persistent.len(), 2);
}

#[test]
fn sessions_users_and_resources_have_keys_of_their_own() {
    let mut world = world(
        r#"
SecRule REQUEST_COOKIES:sid "@rx ." "id:1,phase:1,pass,nolog,setsid:%{MATCHED_VAR}"
SecRule ARGS:user "@rx ." "id:2,phase:1,pass,nolog,setuid:%{MATCHED_VAR}"
SecAction "id:3,phase:1,pass,nolog,setrsc:%{REQUEST_FILENAME}"
SecAction "id:4,phase:1,pass,nolog,setvar:session.n=+1,setvar:user.n=+1,setvar:resource.n=+1"
SecAction "id:5,phase:1,pass,log,msg:'%{SESSIONID} %{USERID} %{session.n}/%{user.n}/%{resource.n}'"
"#,
    );
    let of = |target, cookie| Exchange { fields: cookie, ..get(target) };
    assert_eq!(world.messages_of(&of("/a?user=u", &[("Cookie", "sid=s")])), ["s u 1/1/1"]);
    assert_eq!(world.messages_of(&of("/a?user=v", &[("Cookie", "sid=s")])), ["s v 2/1/2"]);
    assert_eq!(
        world.messages_of(&of("/b?user=v", &[])),
        ["  v /2/1".trim_start_matches(' ').replacen("v", " v", 1)]
    );
}

#[test]
fn a_collection_that_was_not_opened_keeps_nothing() {
    let mut world = world(
        r#"
SecAction "id:1,phase:1,pass,nolog,setvar:ip.n=+1"
SecRule IP:n "@rx ." "id:2,phase:1,pass,log"
SecRule &IP "@eq 0" "id:3,phase:1,pass,log"
"#,
    );
    assert_eq!(world.matches_of(&get("/")), [3]);
}

#[test]
fn the_environment_is_the_transactions_own() {
    let mut world = world(
        r#"
SecRule ARGS:a "@rx ." "id:1,phase:1,pass,nolog,setenv:mark=%{MATCHED_VAR}"
SecRule ENV:mark "@streq x" "id:2,phase:1,pass,log"
SecRule ENV:PATH "@rx ." "id:3,phase:1,pass,log"
"#,
    );
    assert_eq!(world.matches_of(&get("/?a=x")), [2]);
    assert_eq!(world.matches_of(&get("/")), [0_u64; 0]);
}
