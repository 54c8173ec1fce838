use super::*;
use crate::policy::{Document, Resource};

const FILE: &str = r#"
[server]
mode = "syn"
[[listeners]]
name = "web"
bind_address = "0.0.0.0:443"
[[listeners]]
bind_address = "0.0.0.0:25"
[[backends]]
name = "own"
address = "192.0.2.1:443"
[limits]
source_rate = 7
source_burst = 8
[lists]
allow = ["10.1.0.0/16"]
[[filter.rules]]
name = "of-the-file"
action = "drop"
"#;

fn layers(text: &str) -> Layers {
    Layers { file: Some(("node.toml".into(), text.into())), ..Layers::default() }
}

fn set(text: &str) -> Set {
    let mut set = Set::new();
    for resource in Document::parse("policy.toml", text).unwrap().resources {
        set.insert(resource).unwrap();
    }
    set
}

fn composed(file: &str, policy: &str) -> Composed {
    compose(&layers(file), &set(policy)).unwrap()
}

fn fits(file: &str, policy: &str) -> NodeConfig {
    let composed = composed(file, policy);
    assert_eq!(composed.rejected, []);
    composed.config
}

fn listeners(config: &NodeConfig) -> Vec<String> {
    config.listeners.iter().map(|listener| format!("{} {}", listener.name, listener.bind_address)).collect()
}

#[test]
fn empty_policy_is_the_file_alone() {
    let (config, alone) = (fits(FILE, ""), NodeConfig::load(&layers(FILE)).unwrap());
    assert_eq!(format!("{config:?}"), format!("{alone:?}"));
}

#[test]
fn wrong_file_is_an_error_of_the_file() {
    let error =
        compose(&layers("[limits]\nsource_rate = -1\n"), &set("[limits]\nsource_rate = 1\n")).unwrap_err();
    assert!(error.to_string().starts_with("node.toml:2: [limits] source_rate"));
}

#[test]
fn listener_replaces_the_one_with_its_name_or_is_added() {
    let policy = "[[listeners]]\nname = 'web'\nbind_address = '0.0.0.0:444'\nsyn_cookies = 'always'\n\
                  [[listeners]]\nname = 'tcp-0.0.0.0-25'\nbind_address = '0.0.0.0:26'\n\
                  [[listeners]]\nname = 'more'\nbind_address = '0.0.0.0:80'\n";
    let config = fits(FILE, policy);
    assert_eq!(listeners(&config), ["web 0.0.0.0:444", "tcp-0.0.0.0-25 0.0.0.0:26", "more 0.0.0.0:80"]);
}

#[test]
fn short_form_stays_where_it_was_written_and_goes_where_it_was_not() {
    let policy = "[[backend_groups]]\nname = 'app'\nbackends = [{ name = 'a', address = '192.0.2.9:80' }]\n\
                  [[listeners]]\nname = 'web'\nbind_address = '0.0.0.0:80'\nbackends = ['app']\n";
    assert_eq!(listeners(&fits("", policy)), ["web 0.0.0.0:80"]);
    let file = "[server]\nbind_address = \"0.0.0.0:8080\"\nbackend_address = \"192.0.2.1:80\"\n";
    let config = fits(file, policy);
    assert_eq!(listeners(&config), ["default 0.0.0.0:8080", "web 0.0.0.0:80"]);
    assert_eq!(config.backends.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["default", "a"]);
    assert_eq!(config.listeners[1].backends, [1]);
}

#[test]
fn backends_of_a_group_are_named_one_by_one_or_as_group() {
    let policy = |backend: &str| {
        format!(
            "[[backend_groups]]\nname = 'app'\nbackends = [{{ name = 'a', address = '192.0.2.8:80' }}, \
             {{ address = '192.0.2.9:80' }}]\n[[listeners]]\nname = 'x'\nbind_address = '0.0.0.0:80'\nbackends = \
             ['{backend}']\n"
        )
    };
    assert_eq!(fits(FILE, &policy("app")).listeners[2].backends, [1, 2]);
    assert_eq!(fits(FILE, &policy("a")).listeners[2].backends, [1]);
    assert_eq!(fits(FILE, &policy("own")).listeners[2].backends, [0]);
    let composed = composed(FILE, &policy("b"));
    assert_eq!(composed.rejected.len(), 1);
    assert_eq!(composed.rejected[0].0.to_string(), "listener/x");
    assert!(
        composed.rejected[0].1.contains("no backend or group is called `b`"),
        "{}",
        composed.rejected[0].1
    );
    assert_eq!((composed.config.backends.len(), composed.config.listeners.len()), (3, 2));
}

#[test]
fn limits_and_waf_sets_override_key_by_key() {
    let config = fits(FILE, "[limits]\nsource_rate = 100\n[[waf_sets]]\nname = 'w'\nparanoia_level = 3\n");
    assert_eq!(
        (config.limits.source_rate, config.limits.source_burst),
        (Some(100), 8),
        "a default overrides too"
    );
    assert_eq!((config.waf.paranoia_level, config.waf.rate_limit_rps), (Some(3), Some(100)));
}

#[test]
fn command_line_and_variables_win_over_the_policy_and_nothing_of_a_policy_is_expanded() {
    let mut layers = layers(FILE);
    layers.environment.insert("A".into(), "x".into());
    let over = crate::layers::Override {
        option: "--source-rate".into(),
        key: "limits.source_rate".into(),
        value: "55".into(),
    };
    layers.command_line.push(over);
    let policy = "[limits]\nsource_rate = 3\nsource_burst = 4\n\
                  [[backend_groups]]\nname = 'g'\nbackends = [{ name = '${A}$', address = '192.0.2.9:80' }]\n";
    let composed = compose(&layers, &set(policy)).unwrap();
    assert_eq!(composed.rejected, []);
    assert_eq!((composed.config.limits.source_rate, composed.config.limits.source_burst), (Some(55), 4));
    assert_eq!(composed.config.backends[1].name, "${A}$");
}

#[test]
fn rules_of_waf_sets_are_added_and_are_rules_enough() {
    let rule = |id: &str| {
        format!(
            "[[waf_sets.rules]]\nid = '{id}'\nname = 'n'\npattern = '^\\$x$'\naction = 'block'\nseverity = 'low'\n"
        )
    };
    let policy = format!(
        "[[waf_sets]]\nname = 'a'\nenable = true\n{}[[waf_sets]]\nname = 'b'\n{}\
         [[listeners]]\nname = 'web'\nbind_address = '0.0.0.0:443'\nmode = 'l7'\n",
        rule("one"),
        rule("two")
    );
    let config = fits(FILE, &policy);
    assert_eq!(config.waf.rules.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(config.waf.rules[0].pattern, "^\\$x$", "nothing is expanded");
    let twice = format!("[[waf_sets]]\nname = 'a'\n{}[[waf_sets]]\nname = 'b'\n{}", rule("one"), rule("one"));
    let composed = composed(FILE, &twice);
    assert_eq!(composed.rejected[0].0.to_string(), "waf-set/b");
    assert!(composed.rejected[0].1.contains("rules[id=one]"), "{}", composed.rejected[0].1);
}

#[test]
fn filter_sets_come_by_priority_then_name_and_before_the_file() {
    let filter = |name: &str, priority: u16| {
        format!(
            "[[filter_sets]]\nname = '{name}'\npriority = {priority}\nrules = [{{ id = '1' }}, {{ id = '2', name = \
             'named-{name}' }}]\n"
        )
    };
    let config = fits(FILE, &format!("{}{}{}", filter("a", 9), filter("b", 3), filter("c", 3)));
    let names: Vec<&str> = config.filter.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["b/1", "named-b", "c/1", "named-c", "a/1", "named-a", "of-the-file"]);
}

#[test]
fn lists_are_appended() {
    let policy = "[[lists]]\nname = 'a'\naction = 'allow'\nprefixes = ['10.2.0.0/16']\n\
                  [[lists]]\nname = 'b'\naction = 'block'\nprefixes = ['10.3.0.0/16', '2001:db8::/32']\n";
    let config = fits(FILE, policy);
    assert_eq!((config.lists.allow.len(), config.lists.block.len()), (2, 2));
    let small = format!("{FILE}[metrics]\n").replace("[lists]", "[lists]\nmax_entries = 16");
    let many: Vec<String> = (0..16).map(|n| format!("'10.3.{n}.0/24'")).collect();
    let policy = format!("[[lists]]\nname = 'b'\naction = 'block'\nprefixes = [{}]\n", many.join(","));
    let composed = composed(&small, &policy);
    assert!(composed.rejected[0].1.contains("must be at most 16, as [lists] max_entries says"));
    assert_eq!(composed.config.lists.block.len(), 0);
}

#[test]
fn bad_resources_are_left_out_alone_and_named_and_the_rest_applies() {
    let policy = "[[listeners]]\nname = 'clash'\nbind_address = '0.0.0.0:25'\n\
                  [[listeners]]\nname = 'fine'\nbind_address = '0.0.0.0:81'\n\
                  [[listeners]]\nname = 'six'\nbind_address = '[::]:82'\n\
                  [[backend_groups]]\nname = 'own'\nbackends = [{ name = 'x', address = '192.0.2.5:80' }]\n\
                  [[backend_groups]]\nname = 'good'\nbackends = [{ name = 'y', address = '192.0.2.6:80' }]\n\
                  [[waf_sets]]\nname = 'w'\nenable = true\n\
                  [limits]\nsource_rate = 3\n";
    let composed = composed(FILE, policy);
    let names: Vec<String> = composed.rejected.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(names, ["backend-group/own", "waf-set/w", "listener/clash", "listener/six"]);
    assert!(composed.rejected[2].1.contains("both accept on 0.0.0.0:25"), "{}", composed.rejected[2].1);
    assert!(composed.rejected[3].1.contains("is IPv6 but no backend is"), "{}", composed.rejected[3].1);
    assert_eq!(composed.config.limits.source_rate, Some(3));
    assert_eq!(listeners(&composed.config).len(), 3);
    assert_eq!(composed.config.backends.len(), 2);
}

#[test]
fn waf_set_that_needs_a_listener_of_the_policy_fits_although_another_resource_does_not() {
    let policy = "[[waf_sets]]\nname = 'w'\nenable = true\ncsrf_check = 'block'\n\
                  [[listeners]]\nname = 'clash'\nbind_address = '0.0.0.0:25'\n\
                  [[listeners]]\nname = 'web'\nbind_address = '0.0.0.0:443'\nmode = 'l7'\n";
    let composed = composed(FILE, policy);
    let names: Vec<String> = composed.rejected.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(names, ["listener/clash"]);
    assert!(composed.config.waf.enable);
}

#[test]
fn many_culprits_are_found_with_bounded_work_and_good_ones_stay() {
    let mut set = Set::new();
    for index in 0..300 {
        let key: Key = format!("backend-group/g{index}").parse().unwrap();
        let name = if index % 2 == 0 { "own".to_owned() } else { format!("b{index}") };
        let body = format!(r#"{{"backends":[{{"name":"{name}","address":"192.0.2.9:{}"}}]}}"#, index + 1);
        set.insert(Resource::parse(key, &body).unwrap()).unwrap();
    }
    let composed = compose(&layers(FILE), &set).unwrap();
    assert!(composed.rejected.len() >= 150 && composed.rejected.len() < 300, "{}", composed.rejected.len());
    assert_eq!(composed.config.backends.len(), 1 + 300 - composed.rejected.len());
}
