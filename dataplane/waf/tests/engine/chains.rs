//! Chains, captures, matched values, macros, `multiMatch`.
use crate::world::{Exchange, get, post, world};

#[test]
fn a_chain_matches_when_all_links_do_and_effects_of_links_come_at_once() {
    let mut world = world(
        r#"
SecRule ARGS:a "@rx ^(.)(.)" "id:1,phase:1,pass,log,capture,msg:'%{tx.1}-%{tx.2}',setvar:tx.head=%{tx.1},chain"
  SecRule ARGS:b "@streq %{tx.2}" "setvar:tx.link=+2"
SecRule TX:head "@rx ." "id:2,phase:2,pass,log,msg:'%{MATCHED_VAR}'"
SecRule TX:link "@eq 2" "id:3,phase:2,pass,log"
"#,
    );
    assert_eq!(world.messages_of(&get("/?a=xy&b=y")), ["x-y", "x", ""]);
    assert_eq!(world.tx.tx_number(&world.set, "link"), Some(2));
    // The head matched and did what it does; the chain did not.
    assert_eq!(world.messages_of(&get("/?a=xy&b=z")), ["x"]);
    assert_eq!(world.tx.tx_number(&world.set, "link"), None);
}

#[test]
fn effects_come_once_per_value_that_matches() {
    let mut world = world(
        r#"
SecRule ARGS "@contains x" "id:1,phase:1,pass,nolog,setvar:tx.count=+1,setvar:'tx.seen=%{tx.seen}%{MATCHED_VAR_NAME};'"
SecAction "id:2,phase:1,pass,log,msg:'%{tx.count} %{tx.seen}'"
"#,
    );
    assert_eq!(world.messages_of(&get("/?a=x&b=y&c=xx")), ["2 ARGS:a;ARGS:c;"]);
}

#[test]
fn matched_values_are_those_of_the_rule() {
    let mut world = world(
        r#"
SecRule ARGS "@contains x" "id:1,phase:1,pass,log,msg:'%{MATCHED_VAR_NAME}=%{MATCHED_VAR}',chain"
  SecRule MATCHED_VARS "@contains 2" "t:none,chain"
    SecRule MATCHED_VARS_NAMES "@streq ARGS:b" "t:none"
SecRule MATCHED_VARS "@unconditionalMatch" "id:2,phase:1,pass,log,msg:'left over'"
"#,
    );
    world.run(&get("/?a=x1&b=x2"));
    assert_eq!(world.matched().first(), Some(&1));
    assert!(!world.matches_of(&get("/?a=x1&b=x3")).contains(&1));
    assert!(world.matches_of(&get("/?a=x2&b=x3")).contains(&1), "both are of the chain's head");
    assert!(!world.matches_of(&get("/?a=x2&c=x3")).contains(&1));
}

#[test]
fn captures_are_kept_until_the_next_and_only_with_capture() {
    let mut world = world(
        r#"
SecRule ARGS:a "@rx ^(\w)(\w)?" "id:1,phase:1,pass,nolog,capture"
SecRule ARGS:b "@rx ^(\w)" "id:2,phase:1,pass,nolog"
SecAction "id:3,phase:1,pass,log,msg:'[%{tx.0}][%{tx.1}][%{tx.2}]'"
SecRule TX:1 "@streq p" "id:4,phase:1,pass,log,msg:one"
SecRule &TX:2 "@eq 0" "id:5,phase:1,pass,log,msg:two"
"#,
    );
    assert_eq!(world.messages_of(&get("/?a=pq&b=z")), ["[pq][p][q]", "one"]);
    assert_eq!(world.messages_of(&get("/?a=p&b=z")), ["[p][p][]", "one", "two"]);
    assert_eq!(world.messages_of(&get("/?b=z")), ["[][][]", "two"]);
}

#[test]
fn global_expressions_capture_every_place() {
    let mut world = world(
        r#"SecRule ARGS:a "@rxGlobal \d+" "id:1,phase:1,pass,log,capture,msg:'%{tx.0}/%{tx.1}/%{tx.2}'""#,
    );
    assert_eq!(world.messages_of(&get("/?a=7,88;999")), ["7/88/999"]);
    assert_eq!(world.messages_of(&get("/?a=none")), Vec::<String>::new());
}

#[test]
fn phrases_and_injections_capture_what_they_found() {
    let mut world = world(
        r#"
SecRule ARGS:a "@pm alpha beta" "id:1,phase:1,pass,log,capture,t:lowercase,msg:'%{tx.0}'"
SecRule ARGS:b "@detectSQLi" "id:2,phase:1,pass,log,capture,msg:'%{tx.0}'"
"#,
    );
    assert_eq!(world.messages_of(&get("/?a=xBETAx&b=1%27%20or%20%271%27=%271")), ["beta", "s&sos"]);
}

#[test]
fn multi_match_asks_after_every_step() {
    let mut world = world(
        r#"
SecRule ARGS "@contains AB" "id:1,phase:1,pass,log,multiMatch,t:none,t:lowercase,t:urlDecode,setvar:tx.n=+1"
SecRule ARGS "@contains %41b" "id:2,phase:1,pass,log,multiMatch,t:none,t:urlDecode,setvar:tx.n=+1"
SecRule ARGS "@contains AB" "id:3,phase:1,pass,log,t:none,t:lowercase"
SecRule ARGS "@rx (?i)ab" "id:4,phase:1,pass,log,multiMatch,t:none,t:lowercase,setvar:tx.m=+1"
"#,
    );
    assert_eq!(world.matches_of(&get("/?a=AB")), [1, 4]);
    assert_eq!(world.tx.tx_number(&world.set, "m"), Some(2), "before and after a step that changes the text");
    assert_eq!(world.matches_of(&get("/?a=%2541b")), [2]);
    assert_eq!(world.tx.tx_number(&world.set, "n"), Some(1));
    assert_eq!(world.matches_of(&get("/?a=ab")), [4]);
    assert_eq!(world.tx.tx_number(&world.set, "m"), Some(1));
}

#[test]
fn negated_operators_match_what_the_operator_does_not() {
    let mut world = world(
        r#"
SecRule ARGS "!@rx ^\d+$" "id:1,phase:1,pass,log,msg:'%{MATCHED_VAR_NAME}'"
SecRule ARGS:none "!@rx ^\d+$" "id:2,phase:1,pass,log,msg:'a member that is not there'"
SecRule REQUEST_BODY "!@rx x" "id:3,phase:1,pass,log,msg:'a value that is empty'"
"#,
    );
    assert_eq!(world.messages_of(&get("/?a=1&b=x&c=2")), ["ARGS:b", "a value that is empty"]);
}

#[test]
fn macros_take_members_and_rule_data() {
    let mut world = world(
        r#"
SecRule ARGS:q "@streq %{REQUEST_HEADERS.host}" "id:41,phase:1,pass,log,rev:'7',severity:CRITICAL,msg:'%{rule.id}/%{rule.rev}/%{rule.severity}/%{args.q}',logdata:'%{MATCHED_VAR} in %{MATCHED_VAR_NAME} by %{REMOTE_ADDR}'"
SecRule ARGS:p "@rx ^%{args.q}$" "id:42,phase:1,pass,log"
SecRule HIGHEST_SEVERITY "@le 2" "id:43,phase:5,pass,log"
SecAction "id:44,phase:5,pass,log,msg:'%{REQUEST_METHOD} %{UNIQUE_ID} %{TIME_EPOCH} %{TIME} %{tx.none}.'"
"#,
    );
    world.run(&get("/?q=shop.example&p=shop.example"));
    assert_eq!(
        world.told(),
        [
            "41/7/2/shop.example|shop.example in ARGS:q by 192.0.2.7|ARGS:q|shop.example",
            "||ARGS:p|shop.example",
            "||HIGHEST_SEVERITY|2",
            "GET id-1 1700000000 22:13:20 .|||",
        ]
    );
}

#[test]
fn tx_names_made_at_run_time_are_found_again() {
    let mut world = world(
        r#"
SecRule ARGS "@rx ." "id:1,phase:1,pass,nolog,setvar:'tx.arg_%{MATCHED_VAR_NAME}=%{MATCHED_VAR}'"
SecRule TX:/^arg_args:/ "@streq 2" "id:2,phase:1,pass,log,msg:'%{MATCHED_VAR_NAME}'"
SecRule TX:arg_ARGS:c "@streq 3" "id:3,phase:1,pass,log,msg:'%{MATCHED_VAR}'"
SecAction "id:4,phase:1,pass,nolog,setvar:!tx.arg_args:c"
SecRule &TX:/^arg_args:/ "@eq 2" "id:5,phase:1,pass,log,msg:gone"
SecRule TX:arg_args:c "@rx ." "id:6,phase:1,pass,log,msg:'still there'"
"#,
    );
    assert_eq!(world.messages_of(&get("/?a=1&b=2&c=3")), ["TX:arg_args:b", "3", "gone"]);
    // Nothing is left for the next.
    assert_eq!(world.messages_of(&get("/")), Vec::<String>::new());
}

#[test]
fn numbers_are_added_and_subtracted_whatever_was_there() {
    let mut world = world(
        r#"
SecAction "id:1,phase:1,pass,nolog,setvar:tx.a=5,setvar:tx.a=+3,setvar:tx.a=-10,setvar:tx.b=x,setvar:tx.b=+2,setvar:tx.c=-4,setvar:tx.d,setvar:tx.e=%{tx.a},setvar:tx.f=007,setvar:tx.g=+%{args.by}"
SecAction "id:2,phase:1,pass,log,msg:'%{tx.a} %{tx.b} %{tx.c} %{tx.d} %{tx.e} %{tx.f} %{tx.g}'"
"#,
    );
    assert_eq!(world.messages_of(&get("/?by=12x")), ["-2 2 -4 1 -2 007 12"]);
}

#[test]
fn a_link_may_carry_the_words_of_its_chain() {
    let mut world = world(
        r#"
SecRule ARGS:a "@rx ." "id:1,phase:2,deny,log,chain"
  SecRule ARGS:b "@rx ." "msg:'b is %{MATCHED_VAR}',logdata:'%{MATCHED_VAR_NAME}'"
"#,
    );
    let found = world.run(&Exchange { target: "/?a=1", ..post("b=2") }).unwrap();
    assert_eq!((found.id, found.status), (1, 403));
    assert_eq!(world.told(), ["b is 2|ARGS:b|ARGS:b|2"]);
}

#[test]
fn what_does_not_match_captures_nothing() {
    let mut world = world(
        r#"
SecRule ARGS:a "@rx ^(..)" "id:1,phase:1,pass,nolog,capture"
SecRule ARGS:b "@rx (..)$" "id:2,phase:1,pass,nolog"
SecRule ARGS:c "!@rx ^(\d+)$" "id:3,phase:1,pass,log,capture,msg:'%{tx.1}'"
SecRule ARGS:c "!@pm alpha" "id:4,phase:1,pass,log,capture,msg:'%{tx.1}'"
"#,
    );
    assert_eq!(world.messages_of(&get("/?a=wxyz&b=mnop&c=stuv")), ["wx", "wx"]);
}
