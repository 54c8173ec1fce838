//! Phases, skipping, `allow`, defaults, verdicts.
use secbeat_waf::transaction::InterruptionKind;

use crate::world::{Exchange, get, post, world};

#[test]
fn every_phase_sees_what_is_there_by_then() {
    let mut world = world(
        r#"
SecRule ARGS:a "@streq 1" "id:1,phase:1,pass,log"
SecRule ARGS:b "@streq 2" "id:2,phase:1,pass,log"
SecRule ARGS:b "@streq 2" "id:3,phase:2,pass,log"
SecRule RESPONSE_STATUS "@streq 200" "id:4,phase:2,pass,log"
SecRule RESPONSE_STATUS "@streq 200" "id:5,phase:3,pass,log"
SecRule RESPONSE_BODY "@contains ordinary" "id:6,phase:3,pass,log"
SecRule RESPONSE_BODY "@contains ordinary" "id:7,phase:4,pass,log"
SecRule DURATION "@eq 3000" "id:8,phase:5,pass,log"
SecAction "id:9,phase:1,pass,log"
"#,
    );
    let exchange = Exchange { target: "/?a=1", ..post("b=2") };
    assert_eq!(world.run(&exchange), None);
    assert_eq!(world.matched(), [1, 9, 3, 5, 7, 8]);
}

#[test]
fn the_last_phase_runs_after_an_interruption_and_cannot_block() {
    let mut world = world(
        r#"
SecRule ARGS "@contains x" "id:1,phase:1,deny,status:418"
SecAction "id:2,phase:2,pass,log"
SecAction "id:4,phase:5,pass,log"
"#,
    );
    let found = world.run(&get("/?q=x")).unwrap();
    assert_eq!((found.id, found.status, found.kind), (1, 418, InterruptionKind::Deny));
    assert_eq!(world.matched(), [1, 4]);
    assert_eq!(world.run(&get("/?q=y")), None);
    assert_eq!(world.matched(), [2, 4]);
    assert_eq!(world.tx.interruption(), None);
}

#[test]
fn skip_passes_rules_of_the_same_phase_over_a_chain_counting_one() {
    let mut world = world(
        r#"
SecRule ARGS:skip "@streq 1" "id:1,phase:1,pass,nolog,skip:2"
SecAction "id:2,phase:2,pass,log"
SecRule ARGS "@rx ." "id:3,phase:1,pass,log,chain"
  SecRule ARGS "@rx ." ""
SecAction "id:4,phase:1,pass,log"
SecAction "id:5,phase:1,pass,log"
"#,
    );
    assert_eq!(world.matches_of(&get("/?skip=1")), [5, 2]);
    assert_eq!(world.matches_of(&get("/?skip=0")), [3, 4, 5, 2]);
}

#[test]
fn skip_after_lands_behind_a_marker_or_a_rule() {
    let mut world = world(
        r#"
SecRule ARGS:to "@streq marker" "id:1,phase:1,pass,nolog,skipAfter:END-A"
SecRule ARGS:to "@streq rule" "id:2,phase:1,pass,nolog,skipAfter:4"
SecAction "id:4,phase:1,pass,log"
SecAction "id:5,phase:1,pass,log"
SecMarker END-A
SecAction "id:6,phase:1,pass,log"
SecAction "id:7,phase:2,pass,log"
"#,
    );
    assert_eq!(world.matches_of(&get("/?to=marker")), [6, 7]);
    assert_eq!(world.matches_of(&get("/?to=rule")), [5, 6, 7]);
    assert_eq!(world.matches_of(&get("/?to=none")), [4, 5, 6, 7]);
}

#[test]
fn allow_lets_pass_as_far_as_it_says() {
    let rules = |scope: &str| {
        format!(
            r#"
SecAction "id:1,phase:1,{scope},nolog,noauditlog"
SecAction "id:2,phase:1,pass,log"
SecAction "id:3,phase:2,pass,log"
SecAction "id:4,phase:3,pass,log"
SecAction "id:5,phase:4,pass,log"
SecAction "id:6,phase:5,pass,log"
"#
        )
    };
    for (scope, expected) in [
        ("allow", &[6][..]),
        ("allow:phase", &[3, 4, 5, 6]),
        ("allow:request", &[4, 5, 6]),
        ("pass", &[2, 3, 4, 5, 6]),
    ] {
        let mut world = world(&rules(scope));
        let seen: Vec<u64> = world.matches_of(&get("/")).into_iter().filter(|id| *id != 1).collect();
        assert_eq!(seen, expected, "{scope}");
    }
}

#[test]
fn block_and_rules_without_a_verdict_do_what_the_default_says() {
    let mut with_default = world(
        r#"
SecDefaultAction "phase:1,log,auditlog,deny,status:451"
SecDefaultAction "phase:2,log,auditlog,pass"
SecRule ARGS:a "@streq 1" "id:1,phase:1,block"
SecRule ARGS:a "@streq 2" "id:2,phase:1"
SecRule ARGS:a "@streq 3" "id:3,phase:2,block"
SecRule ARGS:a "@streq 4" "id:4,phase:1,pass"
SecRule ARGS:a "@streq 5" "id:5,phase:1,block,status:409"
"#,
    );
    for (value, status) in [("1", Some(451)), ("2", Some(451)), ("3", None), ("4", None), ("5", Some(409))] {
        let target = format!("/?a={value}");
        assert_eq!(with_default.run(&get(&target)).map(|found| found.status), status, "{value}");
        assert_eq!(with_default.matched().len(), 1, "{value}");
    }
    let mut without = world(r#"SecRule ARGS:a "@streq 1" "id:1,phase:1,block""#);
    assert_eq!(without.run(&get("/?a=1")), None);
}

#[test]
fn detection_only_tells_and_does_not_block() {
    let mut world = world(
        r#"
SecRuleEngine DetectionOnly
SecRule ARGS "@contains x" "id:1,phase:1,deny,status:403,log"
SecRule ARGS "@contains x" "id:2,phase:2,drop,log"
SecRule ARGS "@contains x" "id:3,phase:2,allow,log"
SecAction "id:4,phase:2,pass,log"
"#,
    );
    assert_eq!(world.run(&get("/?a=x")), None);
    assert_eq!(world.matched(), [1, 2, 3, 4]);
    assert_eq!(world.tx.detected().map(|found| found.id), Some(1));
}

#[test]
fn verdicts_are_of_their_kind() {
    let mut world = world(
        r#"
SecRule ARGS:a "@streq drop" "id:1,phase:1,drop"
SecRule ARGS:a "@streq redirect" "id:2,phase:1,redirect:'https://%{SERVER_NAME}/stop?from=%{REQUEST_FILENAME}',status:307"
SecRule ARGS:a "@streq challenge" "id:3,phase:1,challenge"
SecRule ARGS:a "@streq late" "id:4,phase:1,deny,tarpit:7"
SecRule ARGS:a "@streq proxy" "id:5,phase:1,proxy:http://other.example/"
SecRule ARGS:a "@streq plain" "id:6,phase:1,redirect:https://other.example/"
"#,
    );
    assert_eq!(world.run(&get("/?a=drop")).unwrap().kind, InterruptionKind::Drop);
    let found = world.run(&get("/a%20b?a=redirect")).unwrap();
    assert_eq!((found.kind, found.status), (InterruptionKind::Redirect, 307));
    assert_eq!(world.tx.location(&found), b"https://shop.example/stop?from=/a b");
    assert_eq!(world.run(&get("/?a=challenge")).unwrap().kind, InterruptionKind::Challenge);
    assert_eq!(world.run(&get("/?a=late")).unwrap().tarpit_s, 7);
    assert_eq!(world.run(&get("/?a=proxy")).unwrap().kind, InterruptionKind::Deny);
    let found = world.run(&get("/?a=plain")).unwrap();
    assert!((300..400).contains(&found.status), "a redirection is answered with {}", found.status);
}

#[test]
fn response_bodies_are_judged_by_their_type() {
    let mut world = world(
        r#"
SecResponseBodyMimeType text/plain application/json
SecResponseBodyLimit 8
SecRule RESPONSE_BODY "@contains secret" "id:1,phase:4,deny"
SecRule RESPONSE_BODY "@contains late" "id:2,phase:4,deny"
SecRule OUTBOUND_DATA_ERROR "@eq 1" "id:3,phase:4,pass,log"
SecRule RESPONSE_CONTENT_TYPE "@streq text/plain" "id:4,phase:3,pass,log"
"#,
    );
    let plain = Exchange {
        response_fields: &[("Content-Type", "Text/Plain; charset=x")],
        response_body: b"a secret",
        ..get("/")
    };
    assert_eq!(world.run(&plain).map(|found| found.id), Some(1));
    let html = Exchange { response_fields: &[("Content-Type", "text/html")], ..plain };
    assert_eq!(world.run(&html), None);
    let none = Exchange { response_fields: &[], ..plain };
    assert_eq!(world.run(&none), None);
    let long = Exchange {
        response_fields: &[("content-type", "text/plain")],
        response_body: b"12345678late",
        ..plain
    };
    assert_eq!(world.run(&long), None);
    assert_eq!(world.matched(), [4, 3]);
}
