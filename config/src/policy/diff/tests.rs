use super::*;

fn set(resources: &[(&str, &str)]) -> Set {
    let mut set = Set::new();
    for (key, body) in resources {
        set.insert(Resource::parse(key.parse().unwrap(), body).unwrap()).unwrap();
    }
    set
}

fn shown(old: &Set, new: &Set) -> Vec<String> {
    let show = |change: Change| {
        let fields = change.fields.into_iter().map(|field| {
            let or = |text: Option<String>| text.unwrap_or_else(|| "-".into());
            format!("{} {} -> {}", field.path, or(field.before), or(field.after))
        });
        format!("{:?} {}: {}", change.action, change.key, fields.collect::<Vec<_>>().join("; "))
    };
    diff(old, new).into_iter().map(show).collect()
}

#[test]
fn same_sets_have_no_difference_however_they_are_written() {
    let old = set(&[("limits/default", r#"{"slots":4096,"syn_rate":5}"#)]);
    let new = set(&[("limits/default", r#"{ "syn_rate": 5, "slots": 4096 }"#)]);
    assert_eq!(shown(&old, &new), Vec::<String>::new());
}

#[test]
fn resources_that_come_go_and_change_are_told_with_their_fields() {
    let old =
        set(&[("limits/default", r#"{"slots":4096,"syn_rate":5}"#), ("list/gone", r#"{"action":"allow"}"#)]);
    let new =
        set(&[("limits/default", r#"{"slots":8192,"udp_rate":6}"#), ("list/new", r#"{"action":"block"}"#)]);
    assert_eq!(
        shown(&old, &new),
        [
            "Removed list/gone: action \"allow\" -> -",
            "Added list/new: action - -> \"block\"",
            "Changed limits/default: slots 4096 -> 8192; syn_rate 5 -> -; udp_rate - -> 6",
        ]
    );
}

#[test]
fn rules_are_matched_by_id_and_moves_are_told_as_positions() {
    let old = set(&[("filter-set/f", r#"{"rules":[{"id":"a"},{"id":"b","rate":5},{"id":"c"},{"id":"d"}]}"#)]);
    let new = set(&[(
        "filter-set/f",
        r#"{"priority":3,"rules":[{"id":"d"},{"id":"a"},{"id":"b","rate":6,"action":"limit"},{"id":"e"}]}"#,
    )]);
    assert_eq!(
        shown(&old, &new),
        [
            "Changed filter-set/f: priority - -> 3; rules[id=c] {\"id\":\"c\"} -> -; rules[id=d].position 4 -> 1; \
          rules[id=b].action - -> \"limit\"; rules[id=b].rate 5 -> 6; rules[id=e] - -> {\"id\":\"e\"}"
        ]
    );
}

#[test]
fn backends_are_matched_by_name() {
    let group = |weight: u32| {
        format!(
            r#"{{"backends":[{{"name":"a","address":"192.0.2.1:80","weight":{weight}}},{}]}}"#,
            r#"{"name":"b","address":"192.0.2.2:80"}"#
        )
    };
    let old = set(&[("backend-group/g", &group(1))]);
    let new = set(&[("backend-group/g", &group(2))]);
    assert_eq!(shown(&old, &new), ["Changed backend-group/g: backends[name=a].weight 1 -> 2"]);
}

#[test]
fn fields_beyond_the_limit_are_counted() {
    let rules: Vec<String> = (0..FIELDS_MAX + 7).map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
    let new = set(&[("filter-set/f", &format!(r#"{{"rules":[{}]}}"#, rules.join(",")))]);
    let changes = diff(&Set::new(), &new);
    assert_eq!((changes[0].fields.len(), changes[0].fields_omitted), (FIELDS_MAX, 7));
}
