//! Bounds, and that transactions keep apart.
use std::sync::Arc;

use secbeat_waf::transaction::{Budget, Limit, Persistent, Transaction};

use crate::world::{Exchange, begin, body, get, head, post, world, world_with};

fn bounded(rules: &str, budget: Budget) -> crate::world::World {
    world_with(rules, budget, Arc::new(Persistent::default()))
}

#[test]
fn arguments_beyond_the_bound_are_told() {
    let mut world = world(
        r#"
SecArgumentsLimit 3
SecRule REQBODY_ERROR "@eq 1" "id:1,phase:2,pass,log"
SecRule &ARGS "@eq 3" "id:2,phase:2,pass,log"
SecRule ARGS:e "@rx ." "id:3,phase:2,pass,log"
"#,
    );
    assert_eq!(world.matches_of(&Exchange { target: "/?a=1&b=1", ..post("c=1") }), [2]);
    assert!(!world.tx.limits().contains(Limit::Arguments));
    assert_eq!(world.matches_of(&Exchange { target: "/?a=1&b=1", ..post("c=1&d=1&e=1") }), [1, 2]);
    assert!(world.tx.limits().contains(Limit::Arguments));
}

#[test]
fn matches_beyond_the_bound_only_count() {
    let rules: String = (1..=20).map(|id| format!("SecAction \"id:{id},phase:1,pass,log\"\n")).collect();
    let mut world = bounded(&rules, Budget { matches_max: 5, ..Budget::default() });
    assert_eq!(world.matches_of(&get("/")), [1, 2, 3, 4, 5]);
    assert_eq!(world.tx.matches_count(), 20);
    assert!(world.tx.limits().contains(Limit::Matches));
}

#[test]
fn work_beyond_the_budget_is_refused_or_passes() {
    let rules: String = (1..=50)
        .map(|id| {
            format!("SecRule ARGS \"!@rx ^[a-f]+{id}$\" \"id:{id},phase:2,pass,log,t:none,t:lowercase\"\n")
        })
        .collect();
    let long = format!("a={}", "abcdef".repeat(2_000));
    let budget = Budget { work_bytes_max: 100_000, ..Budget::default() };
    let mut refusing = bounded(&rules, budget);
    let found = refusing.run(&post(&long)).unwrap();
    assert_eq!((found.limit, found.status), (Some(Limit::Work), 403));
    assert!(refusing.tx.limits().contains(Limit::Work));
    let count = refusing.matched().len();
    assert!(count > 3 && count < 50, "{count}");
    assert!(refusing.tx.work_bytes() < 100_000 + 2 * long.len() as u64);
    let mut passing = bounded(&rules, Budget { refuses: false, ..budget });
    assert_eq!(passing.run(&post(&long)), None);
    assert!(passing.tx.limits().contains(Limit::Work));
    assert_eq!(refusing.run(&post("a=b")), None, "the next transaction has a budget of its own");
    assert_eq!(refusing.matched().len(), 50);
}

/// Rules that never match spend the budget too.
#[test]
fn work_of_rules_that_do_not_match_is_bounded() {
    let rules: String = (1..=50)
        .map(|id| format!("SecRule ARGS \"@rx ([a-f]+x?){{1,3}}{id}$\" \"id:{id},phase:2,pass,log\"\n"))
        .collect();
    let long = format!("a={}", "abcdef0123456789".repeat(2_000));
    let budget = Budget { work_bytes_max: 200_000, ..Budget::default() };
    let mut world = bounded(&rules, budget);
    let found = world.run(&post(&long));
    let work_bytes = world.tx.work_bytes();
    assert!(work_bytes < 200_000 + 2 * long.len() as u64, "{work_bytes}");
    assert_eq!(found.and_then(|found| found.limit), Some(Limit::Work));
}

#[test]
fn data_beyond_the_budget_is_refused_or_passes() {
    let rules = "SecRule ARGS \"@rx .\" \"id:1,phase:1,pass,nolog,setvar:'tx.a=%{tx.a}%{tx.a}%{MATCHED_VAR}'\"\nSecAction \"id:2,phase:1,pass,log\"";
    let query: String = (0..40).map(|index| format!("&a{index}=0123456789")).collect();
    let target = format!("/?{query}");
    let budget = Budget { data_bytes_max: 1 << 16, ..Budget::default() };
    let mut refusing = bounded(rules, budget);
    assert_eq!(refusing.run(&get(&target)).and_then(|found| found.limit), Some(Limit::Data));
    assert!(refusing.tx.capacity_bytes() < 1 << 20);
    let mut passing = bounded(rules, Budget { refuses: false, ..budget });
    assert_eq!(passing.run(&get(&target)), None);
    assert!(passing.tx.limits().contains(Limit::Data));
}

#[test]
fn a_request_too_large_to_keep_is_refused_whatever_the_rules_say() {
    let rules = "SecRule ARGS \"@contains never\" \"id:1,phase:2,deny\"";
    let mut world = bounded(rules, Budget { data_bytes_max: 4_096, ..Budget::default() });
    let long = format!("a={}&b=never", "x".repeat(10_000));
    assert_eq!(world.run(&post(&long)).and_then(|found| found.limit), Some(Limit::Data));
}

#[test]
fn two_open_transactions_keep_apart() {
    let mut world = world(
        r#"
SecRule ARGS:who "@rx (.+)" "id:1,phase:1,pass,nolog,capture,t:lowercase,setvar:tx.who=%{tx.1},setenv:who=%{tx.1}"
SecRule ARGS:who "@streq B" "id:2,phase:1,pass,nolog,ctl:ruleRemoveById=5,setvar:tx.own_%{args.who}=1"
SecRule ARGS|TX:who|ENV:who "@contains a" "id:3,phase:2,pass,log,t:lowercase,msg:'%{MATCHED_VAR_NAME}'"
SecRule ARGS|TX:who|ENV:who "@contains b" "id:4,phase:2,pass,log,t:lowercase,msg:'%{MATCHED_VAR_NAME}'"
SecAction "id:5,phase:2,pass,log,msg:'%{tx.who} %{tx.1} %{args.form}'"
SecRule TX:/^own_/ "@rx ." "id:6,phase:2,pass,log"
"#,
    );
    let (mut one, mut two) = (Transaction::new(), Transaction::new());
    let evaluator = &mut world.evaluator;
    for _ in 0..3 {
        begin(evaluator, &mut one, None, 1);
        begin(evaluator, &mut two, None, 1);
        assert_eq!(head(evaluator, &mut one, &post("")), None);
        assert_eq!(head(evaluator, &mut two, &Exchange { target: "/?who=B", ..post("") }), None);
        begin(evaluator, &mut one, None, 1);
        assert_eq!(head(evaluator, &mut one, &Exchange { target: "/?who=A", ..post("") }), None);
        assert_eq!(body(evaluator, &mut two, b"form=2"), None);
        assert_eq!(body(evaluator, &mut one, b"form=1"), None);
        evaluator.finish(&mut two, 9_000);
        evaluator.finish(&mut one, 9_000);
        let told = |tx: &Transaction| -> Vec<(u64, String)> {
            tx.matches(&world.set).map(|m| (m.id, String::from_utf8_lossy(m.message).into_owned())).collect()
        };
        assert_eq!(told(&one), [(3, "ENV:who".to_owned()), (5, "a a 1".to_owned())]);
        assert_eq!(told(&two), [(4, "ENV:who".to_owned()), (6, String::new())]);
    }
}

#[test]
fn the_same_request_ends_the_same_each_time() {
    let rules = r#"
SecRule ARGS "@rx (\d+)" "id:1,phase:1,pass,log,capture,setvar:'tx.sum=+%{tx.1}',setvar:'tx.n_%{MATCHED_VAR_NAME}=1',msg:'%{tx.sum}'"
SecRule ARGS|!ARGS:b "@pm alpha omega" "id:2,phase:1,pass,log,t:lowercase,t:urlDecodeUni,capture,msg:'%{tx.0}'"
SecRule TX:sum "@ge 3" "id:3,phase:2,pass,log,ctl:ruleRemoveById=4,ctl:ruleRemoveTargetById=5;ARGS:a"
SecAction "id:4,phase:2,pass,log"
SecRule ARGS "@rx ^3$" "id:5,phase:2,deny,log"
"#;
    let mut world = world(rules);
    let of = ["/?a=3&b=Omega", "/?a=1&c=ALPHA", "/?b=3", "/?a=%2533"];
    let first: Vec<_> = of.iter().map(|target| (world.run(&get(target)), world.told())).collect();
    for round in 0..1_000 {
        let index = round % of.len();
        let again = (world.run(&get(of[index])), world.told());
        assert_eq!(again, first[index], "round {round}");
    }
    assert_eq!(first[0].0, None);
    assert_eq!(first[2].0.map(|found| found.id), Some(5));
}
