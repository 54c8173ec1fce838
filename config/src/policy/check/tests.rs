use super::*;
use crate::policy::{Document, Resource};

fn set(text: &str) -> Set {
    let mut set = Set::new();
    for resource in Document::parse("policy.toml", text).unwrap().resources {
        set.insert(resource).unwrap();
    }
    set
}

fn error(text: &str) -> String {
    check(&set(text)).unwrap_err().to_string()
}

const GROUP: &str =
    "[[backend_groups]]\nname = 'app'\nbackends = [{ name = 'app-1', address = '192.0.2.1:80' }]\n";

#[test]
fn listener_may_name_backends_and_groups_of_the_policy_and_nothing_else() {
    let listener = |backend: &str| {
        format!("{GROUP}[[listeners]]\nname = 'web'\nbind_address = '0.0.0.0:80'\nbackends = ['{backend}']\n")
    };
    check(&set(&listener("app"))).unwrap();
    check(&set(&listener("app-1"))).unwrap();
    assert_eq!(
        error(&listener("app-2")),
        "listener/web: backends: no backend or group of the policy is called `app-2`; did you mean `app-1`?"
    );
}

#[test]
fn names_addresses_and_keys_that_are_given_twice_are_named() {
    let again = GROUP.replace("'app'", "'other'");
    assert!(error(&format!("{GROUP}{again}")).contains("`app-1` is given by `backend-group/app` as well"));
    let same = GROUP.replace("'app-1'", "'other'").replace("'app'", "'one'");
    assert!(
        error(&format!(
            "{same}[[backend_groups]]\nname = 'other'\nbackends = [{{ address = '192.0.2.3:80' }}]\n"
        ))
        .contains("`other` is the name of a backend and of another group")
    );
    let listener = |name: &str| format!("[[listeners]]\nname = '{name}'\nbind_address = '0.0.0.0:80'\n");
    assert_eq!(
        error(&format!("{}{}", listener("a"), listener("b"))),
        "listener/b: bind_address: `listener/a` accepts on 0.0.0.0:80 as well"
    );
    let waf = |name: &str| format!("[[waf_sets]]\nname = '{name}'\nparanoia_level = 2\n");
    assert!(
        error(&format!("{}{}", waf("a"), waf("b")))
            .contains("`paranoia_level` is given by `waf-set/a` as well")
    );
}

#[test]
fn totals_beyond_what_a_node_takes_are_refused() {
    let rules = |name: &str, count: usize| {
        let rules: Vec<String> = (0..count).map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
        let key: Key = format!("filter-set/{name}").parse().unwrap();
        Resource::parse(key, &format!(r#"{{"rules":[{}]}}"#, rules.join(","))).unwrap()
    };
    let mut set = Set::new();
    set.insert(rules("a", FILTER_RULES_MAX)).unwrap();
    check(&set).unwrap();
    set.insert(rules("b", 1)).unwrap();
    let error = check(&set).unwrap_err().to_string();
    assert!(error.starts_with("filter-set/b: rules: ") && error.contains("must be at most"), "{error}");
}
