//! Rules changed by other directives, and by a site.
use crate::world::{get, world};

const RULES: &str = r#"
SecRule ARGS "@contains x" "id:11,phase:1,pass,log,msg:one,tag:t1"
SecRule ARGS "@contains x" "id:12,phase:1,pass,log,msg:two,tag:t1,tag:t2"
SecRule ARGS "@contains x" "id:13,phase:1,pass,log,msg:three,tag:t3,chain"
  SecRule ARGS:b "@contains x" ""
"#;

#[test]
fn rules_are_removed_and_retargeted_for_good() {
    for (change, target, expected) in [
        ("", "/?a=x&b=x", &[11, 12, 13][..]),
        ("SecRuleRemoveById 11", "/?a=x&b=x", &[12, 13]),
        ("SecRuleRemoveById 11-12", "/?a=x&b=x", &[13]),
        ("SecRuleRemoveById 11 13", "/?a=x&b=x", &[12]),
        ("SecRuleRemoveByTag t1", "/?a=x&b=x", &[13]),
        ("SecRuleRemoveByTag t2", "/?a=x&b=x", &[11, 13]),
        ("SecRuleRemoveByMsg three", "/?a=x&b=x", &[11, 12]),
        ("SecRuleUpdateTargetById 11 !ARGS:a", "/?a=x", &[12]),
        ("SecRuleUpdateTargetById 13 !ARGS:b", "/?a=x&b=x", &[11, 12]),
        ("SecRuleUpdateTargetByTag t1 !ARGS:/^a/", "/?a=x&b=y", &[]),
        ("SecRuleUpdateTargetByMsg two !ARGS:a", "/?a=x", &[11]),
        ("SecRuleUpdateTargetById 11 REQUEST_FILENAME", "/x", &[11]),
    ] {
        let mut world = world(&format!("{RULES}{change}"));
        assert_eq!(world.matches_of(&get(target)), expected, "{change}");
    }
}

#[test]
fn actions_are_replaced() {
    let mut world =
        world(&format!("{RULES}SecRuleUpdateActionById 12 \"deny,status:409,msg:'now %{{MATCHED_VAR}}'\""));
    let found = world.run(&get("/?a=x")).unwrap();
    assert_eq!((found.id, found.status), (12, 409));
    assert!(world.told().iter().any(|told| told.starts_with("now x|")));
}

#[test]
fn a_site_does_without_rules_and_targets_of_the_set_it_shares() {
    let mut plain = world(RULES);
    assert_eq!(plain.matches_of(&get("/?a=x&b=x")), [11, 12, 13]);
    let site = "SecRuleRemoveById 11\nSecRuleUpdateTargetById 12 !ARGS:a\nSecRuleRemoveByTag t3";
    let mut with_site = world(RULES).with_site(site);
    assert_eq!(with_site.matches_of(&get("/?a=x")), [0_u64; 0]);
    assert_eq!(with_site.matches_of(&get("/?a=x&b=x")), [12]);
    with_site.site = None;
    assert_eq!(with_site.matches_of(&get("/?a=x&b=x")), [11, 12, 13], "the set itself is as it was");
}

#[test]
fn a_site_sets_variables_and_the_mode() {
    let rules = r#"
SecRule TX:level "@ge 2" "id:1,phase:1,deny,log"
SecRule TX:name "@streq shop" "id:2,phase:1,pass,log"
SecRule TX:/^free/ "@streq y" "id:3,phase:1,pass,log"
"#;
    let variables =
        "SecAction \"id:9,phase:1,pass,nolog,setvar:tx.level=2,setvar:tx.Name=shop,setvar:tx.free_x=y\"";
    let mut looking = world(rules).with_site(&format!("SecRuleEngine DetectionOnly\n{variables}"));
    assert_eq!(looking.run(&get("/")), None);
    assert_eq!(looking.matched(), [1, 2, 3]);
    let mut blocking = world(rules).with_site(variables);
    assert_eq!(blocking.run(&get("/")).map(|found| found.id), Some(1));
    let mut off = world(rules).with_site("SecRuleEngine Off");
    assert_eq!(off.matches_of(&get("/")), [0_u64; 0]);
}
