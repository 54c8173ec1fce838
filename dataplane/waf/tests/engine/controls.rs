//! `ctl` of every kind.
use crate::world::{Exchange, FORM, get, post, world};

#[test]
fn the_engine_is_turned_off_and_down_for_one_transaction() {
    let mut world = world(
        r#"
SecRule ARGS:m "@streq off" "id:1,phase:1,pass,nolog,ctl:ruleEngine=Off"
SecRule ARGS:m "@streq look" "id:2,phase:1,pass,nolog,ctl:ruleEngine=DetectionOnly"
SecRule ARGS:a "@streq x" "id:3,phase:1,deny"
SecAction "id:4,phase:5,pass,log"
"#,
    );
    assert_eq!(world.run(&get("/?m=off&a=x")), None);
    assert_eq!(world.matched(), [0_u64; 0]);
    assert_eq!(world.run(&get("/?m=look&a=x")), None);
    assert_eq!(world.matched(), [3, 4]);
    assert_eq!(world.run(&get("/?a=x")).map(|found| found.id), Some(3), "only for that transaction");
}

#[test]
fn a_node_that_only_looks_stays_so() {
    let mut world = world(
        "SecRuleEngine DetectionOnly\nSecAction \"id:1,phase:1,pass,nolog,ctl:ruleEngine=On\"\nSecAction \"id:2,phase:1,deny,log\"",
    );
    assert_eq!(world.run(&get("/")), None);
    assert_eq!(world.matched(), [2]);
}

#[test]
fn rules_are_removed_by_number_tag_and_message() {
    let mut world = world(
        r#"
SecRule ARGS:by "@streq id" "id:1,phase:1,pass,nolog,ctl:ruleRemoveById=11"
SecRule ARGS:by "@streq range" "id:2,phase:1,pass,nolog,ctl:ruleRemoveById=12-13"
SecRule ARGS:by "@streq tag" "id:3,phase:1,pass,nolog,ctl:ruleRemoveByTag=group/one"
SecRule ARGS:by "@streq msg" "id:4,phase:1,pass,nolog,ctl:ruleRemoveByMsg=third"
SecAction "id:11,phase:1,pass,log,msg:first,tag:group/one"
SecAction "id:12,phase:1,pass,log,msg:second,tag:group/one,tag:other"
SecAction "id:13,phase:2,pass,log,msg:third"
"#,
    );
    for (by, left) in
        [("id", &[12, 13][..]), ("range", &[11]), ("tag", &[13]), ("msg", &[11, 12]), ("none", &[11, 12, 13])]
    {
        assert_eq!(world.matches_of(&get(&format!("/?by={by}"))), left, "{by}");
    }
}

#[test]
fn targets_are_taken_from_rules_for_one_transaction() {
    let mut world = world(
        r#"
SecRule REQUEST_FILENAME "@streq /id" "id:1,phase:1,pass,nolog,ctl:ruleRemoveTargetById=11;ARGS:a"
SecRule REQUEST_FILENAME "@streq /tag" "id:2,phase:1,pass,nolog,ctl:ruleRemoveTargetByTag=t;ARGS:/^b/"
SecRule REQUEST_FILENAME "@streq /msg" "id:3,phase:1,pass,nolog,ctl:ruleRemoveTargetByMsg=m;ARGS"
SecRule REQUEST_FILENAME "@streq /names" "id:4,phase:1,pass,nolog,ctl:ruleRemoveTargetById=11;ARGS_NAMES"
SecRule ARGS "@contains x" "id:11,phase:1,pass,log,msg:m,tag:t,setvar:tx.n=+1"
SecRule ARGS "@contains x" "id:12,phase:1,pass,log"
"#,
    );
    let query = "?a=x&b1=x&b2=x";
    for (path, count) in [("/", 3), ("/id", 2), ("/tag", 1), ("/names", 3)] {
        assert_eq!(world.matches_of(&get(&format!("{path}{query}"))), [11, 12], "{path}");
        assert_eq!(world.tx.tx_number(&world.set, "n"), Some(count), "{path}");
    }
    assert_eq!(world.matches_of(&get(&format!("/msg{query}"))), [12]);
}

#[test]
fn bodies_are_read_and_taken_apart_as_rules_say() {
    let mut world = world(
        r#"
SecRule REQUEST_FILENAME "@streq /json" "id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_FILENAME "@streq /xml" "id:2,phase:1,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_FILENAME "@streq /force" "id:3,phase:1,pass,nolog,ctl:forceRequestBodyVariable=On"
SecRule REQUEST_FILENAME "@streq /closed" "id:4,phase:1,pass,nolog,ctl:requestBodyAccess=Off"
SecRule REQUEST_FILENAME "@streq /short" "id:5,phase:1,pass,nolog,ctl:requestBodyLimit=4"
SecRule REQUEST_FILENAME "@streq /form" "id:6,phase:1,pass,nolog,ctl:requestBodyProcessor=URLENCODED"
SecRule ARGS_POST "@unconditionalMatch" "id:11,phase:2,pass,log,msg:'%{MATCHED_VAR_NAME}=%{MATCHED_VAR}'"
SecRule XML:/* "@unconditionalMatch" "id:12,phase:2,pass,log,msg:'xml %{MATCHED_VAR}'"
SecRule XML://@* "@unconditionalMatch" "id:13,phase:2,pass,log,msg:'attribute %{MATCHED_VAR}'"
SecRule REQUEST_BODY "@rx ." "id:14,phase:2,pass,log,msg:'body %{MATCHED_VAR}'"
SecRule REQBODY_ERROR "@eq 1" "id:15,phase:2,pass,log,msg:error"
SecRule INBOUND_DATA_ERROR "@eq 1" "id:16,phase:2,pass,log,msg:long"
SecRule REQBODY_PROCESSOR "@rx ." "id:17,phase:2,pass,log,msg:'by %{MATCHED_VAR}'"
"#,
    );
    let plain = &[("Host", "a"), ("Content-Type", "text/plain")][..];
    let of = |target, body: &'static str, fields| Exchange { target, fields, ..post(body) };
    assert_eq!(
        world.messages_of(&of("/json", r#"{"a":[1,"b"]}"#, plain)),
        ["ARGS_POST:json.a.array_1=b", "by JSON"]
    );
    let told = world.messages_of(&of("/xml", r#"<a k="v">t<b>u</b></a>"#, plain));
    assert_eq!(told, ["xml tu", "attribute v", "by XML"]);
    assert_eq!(world.messages_of(&of("/force", "raw", plain)), ["body raw"]);
    assert_eq!(world.messages_of(&of("/none", "raw", plain)), Vec::<String>::new());
    assert_eq!(world.messages_of(&of("/none", "a=1", FORM)), ["ARGS_POST:a=1", "body a=1", "by URLENCODED"]);
    assert_eq!(world.messages_of(&of("/closed", "a=1", FORM)), ["by URLENCODED"]);
    assert_eq!(
        world.messages_of(&of("/short", "a=1&b=2", FORM)),
        ["ARGS_POST:a=1", "body a=1&", "long", "by URLENCODED"]
    );
    assert_eq!(world.messages_of(&of("/form", "a=1", plain)), ["ARGS_POST:a=1", "body a=1", "by URLENCODED"]);
    assert_eq!(world.messages_of(&of("/json", "{", plain)), ["error", "by JSON"]);
}

#[test]
fn response_bodies_are_looked_at_as_rules_say() {
    let mut world = world(
        r#"
SecRule REQUEST_FILENAME "@streq /closed" "id:1,phase:1,pass,nolog,ctl:responseBodyAccess=Off"
SecRule REQUEST_FILENAME "@streq /short" "id:2,phase:1,pass,nolog,ctl:responseBodyLimit=3"
SecRule RESPONSE_BODY "@rx ." "id:11,phase:4,pass,log,msg:'%{MATCHED_VAR}'"
"#,
    );
    assert_eq!(world.messages_of(&get("/")), ["<p>ordinary</p>"]);
    assert_eq!(world.messages_of(&get("/closed")), Vec::<String>::new());
    assert_eq!(world.messages_of(&get("/short")), ["<p>"]);
}

#[test]
fn the_audit_log_is_wanted_as_rules_say() {
    let mut world = world(
        r#"
SecAuditEngine RelevantOnly
SecRule ARGS:a "@streq on" "id:1,phase:1,pass,nolog,noauditlog,ctl:auditEngine=On"
SecRule ARGS:a "@streq off" "id:2,phase:1,pass,log,auditlog,ctl:auditEngine=Off"
SecRule ARGS:a "@streq seen" "id:3,phase:1,pass,log,auditlog"
SecRule ARGS:a "@streq unseen" "id:4,phase:1,pass,log,noauditlog"
"#,
    );
    for (value, is_wanted) in
        [("on", true), ("off", false), ("seen", true), ("unseen", false), ("none", false)]
    {
        world.run(&get(&format!("/?a={value}")));
        assert_eq!(world.tx.wants_audit(false), is_wanted, "{value}");
    }
    world.run(&get("/"));
    assert!(world.tx.wants_audit(true));
}

#[test]
fn numbers_of_tx_are_taken_from_rules_like_other_targets() {
    let rules = r#"
SecAction "id:1,phase:1,pass,nolog,setvar:tx.score=5,setvar:tx.other=5"
SecRule ARGS:without "@streq 1" "id:2,phase:1,pass,nolog,ctl:ruleRemoveTargetById=11;TX:score"
SecRule TX:score "@ge 5" "id:11,phase:1,pass,log"
SecRule &TX:score "@eq 1" "id:12,phase:1,pass,log"
SecRule TX:other "@ge 5" "id:13,phase:1,pass,log"
"#;
    let mut plain = world(rules);
    assert_eq!(plain.matches_of(&get("/")), [11, 12, 13]);
    assert_eq!(plain.matches_of(&get("/?without=1")), [12, 13]);
    let mut with_site = world(rules).with_site("SecRuleUpdateTargetById 13 !TX:other");
    assert_eq!(with_site.matches_of(&get("/")), [11, 12]);
}

#[test]
fn rules_that_only_steer_lose_their_targets_too() {
    let rules = r#"
SecAction "id:1,phase:1,pass,nolog,setvar:tx.score=5"
SecRule ARGS:without "@streq 1" "id:2,phase:1,pass,nolog,ctl:ruleRemoveTargetById=11;TX:score"
SecRule TX:score "@ge 5" "id:11,phase:1,pass,nolog,skipAfter:END"
SecAction "id:12,phase:1,pass,log"
SecMarker END
"#;
    let mut plain = world(rules);
    assert_eq!(plain.matches_of(&get("/")), [0; 0]);
    assert_eq!(plain.matches_of(&get("/?without=1")), [12]);
}
