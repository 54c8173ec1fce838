use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::policy::{Kind, wire};

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn edge(body: &str) -> Resource {
    Resource::parse(key("filter-set/edge"), body).unwrap()
}

fn set(resources: impl IntoIterator<Item = Resource>) -> Set {
    let mut set = Set::new();
    resources.into_iter().for_each(|resource| set.insert(resource).unwrap());
    set
}

fn held(set: &Set, version: u64) -> Held {
    Held::new(set.clone(), set.iter().map(|(key, _)| (key.clone(), version)).collect())
}

/// The delta from what is held, when every earlier body is known.
fn update(held: &Held, wanted: &Set, version: u64) -> Delta {
    let digests = held.digests().map(|(key, _, hash)| (key, hash)).collect();
    delta(&digests, wanted, |_| version, |key, _| held.set().get(key).cloned())
}

fn rules(ids: impl IntoIterator<Item = (u8, u8)>) -> String {
    let rules =
        ids.into_iter().map(|(id, rate)| format!(r#"{{"id":"r{id}","rate":{}}}"#, u32::from(rate) + 1));
    rules.collect::<Vec<_>>().join(",")
}

fn patch_of(delta: &Delta) -> &RulePatch {
    match &delta.updates[0].content {
        Content::Patch(patch) => patch,
        Content::Whole(_) => panic!("sent whole"),
    }
}

#[test]
fn change_of_one_rule_among_ten_thousand_is_below_a_kilobyte_on_the_wire() {
    let body = |changed: usize| {
        let rule = |index: usize| {
            let action = if index == changed { "pass" } else { "drop" };
            format!(
                r#"{{"action":"{action}","id":"rule-{index}","sources":["10.{}.{}.0/24"]}}"#,
                index / 256,
                index % 256
            )
        };
        format!(r#"{{"priority":7,"rules":[{}]}}"#, (0..10_000).map(rule).collect::<Vec<_>>().join(","))
    };
    let (old, new) = (set([edge(&body(1))]), set([edge(&body(2))]));
    let before = held(&old, 1);
    let delta = update(&before, &new, 2);
    let bytes = wire::delta_to_wire(&delta, 1, 2, 1).encode_to_vec().len();
    assert!(bytes < 1_024, "{bytes} bytes");
    assert_eq!(patch_of(&delta).upserts.len(), 2);
    let (after, refused) = before.stage(&delta);
    assert_eq!((after.set().hash(), refused), (new.hash(), vec![]));
}

#[test]
fn rule_that_moves_across_the_set_is_one_entry() {
    let order = |ids: &[u8]| rules(ids.iter().map(|id| (*id, 1)));
    let ids: Vec<u8> = (0..40).collect();
    let mut moved = ids.clone();
    let last = moved.pop().unwrap();
    moved.insert(0, last);
    let old = edge(&format!(r#"{{"rules":[{}]}}"#, order(&ids)));
    let new = edge(&format!(r#"{{"rules":[{}]}}"#, order(&moved)));
    let before = held(&set([old]), 1);
    let delta = update(&before, &set([new.clone()]), 2);
    assert_eq!(patch_of(&delta).upserts, [("r39".into(), r#"{"@after":"","id":"r39","rate":2}"#.into())]);
    assert_eq!(before.stage(&delta).0.set().get(&new.key).unwrap().hash, new.hash);
}

#[test]
fn large_change_and_unknown_base_are_sent_whole() {
    let old = edge(&format!(r#"{{"rules":[{}]}}"#, rules((0..9).map(|id| (id, 1)))));
    let new = edge(&format!(r#"{{"rules":[{}]}}"#, rules((0..9).map(|id| (id, 2)))));
    let digests = BTreeMap::from([(old.key.clone(), old.hash)]);
    let wanted = set([new]);
    let is_whole = |delta: &Delta| matches!(delta.updates[0].content, Content::Whole(_));
    assert!(is_whole(&delta(&digests, &wanted, |_| 2, |_, _| Some(Arc::new(old.clone())))));
    assert!(is_whole(&delta(&digests, &wanted, |_| 2, |_, _| None)));
}

#[test]
fn only_what_differs_is_sent_and_what_is_not_wanted_is_removed() {
    let limits = Resource::parse(key("limits/default"), r#"{"source_rate":5}"#).unwrap();
    let list =
        |name: &str| Resource::parse(key(name), r#"{"action":"block","prefixes":["10.0.0.1"]}"#).unwrap();
    let before = held(&set([limits.clone(), list("list/old")]), 1);
    let wanted = set([limits, list("list/new")]);
    let delta = update(&before, &wanted, 2);
    assert_eq!(delta.updates.iter().map(|update| update.key.to_string()).collect::<Vec<_>>(), ["list/new"]);
    assert_eq!(delta.removals, [key("list/old")]);
    let (after, refused) = before.stage(&delta);
    assert_eq!((after.set(), refused), (&wanted, vec![]));
    assert!(update(&after, &wanted, 3).is_empty());
}

#[test]
fn bad_resource_is_refused_alone_and_the_rest_is_taken() {
    let good = Resource::parse(key("limits/default"), "{}").unwrap();
    let whole = |body: &str, hash| Update {
        key: key("filter-set/edge"),
        version: 2,
        hash,
        content: Content::Whole(body.into()),
    };
    let wanted = edge(r#"{"rules":[{"id":"a"}]}"#);
    for (bad, why) in [
        (
            whole(r#"{"rules":[{"id":"a","rate":0}]}"#, wanted.hash),
            "rules[id=a]: [[rules]] rate: 0 is out of range",
        ),
        (whole(r#"{"rules":[{"id":"b"}]}"#, wanted.hash), "not to the announced"),
        (whole("{", wanted.hash), "not a JSON object"),
    ] {
        let earlier = edge(r#"{"rules":[]}"#);
        let before = held(&set([earlier.clone()]), 1);
        let good_update = Update {
            key: good.key.clone(),
            version: 1,
            hash: good.hash,
            content: Content::Whole(Arc::clone(&good.body)),
        };
        let delta = Delta { updates: vec![bad, good_update], removals: vec![], set_hash: Hash([0; 32]) };
        let (after, refused) = before.stage(&delta);
        assert_eq!(refused.len(), 1);
        assert_eq!(
            (refused[0].state, refused[0].version, refused[0].hash),
            (State::Rejected, 2, wanted.hash)
        );
        assert!(refused[0].error.contains(why), "{}", refused[0].error);
        assert_eq!(after.set(), &set([earlier, good.clone()]));
    }
}

#[test]
fn patch_that_does_not_fit_is_asked_for_whole() {
    let base = edge(r#"{"priority":3,"rules":[{"id":"a"},{"id":"b"}]}"#);
    let wanted = edge(r#"{"priority":3,"rules":[{"id":"a"},{"id":"c"},{"id":"b"}]}"#);
    let good = patch::between(&base, &wanted).unwrap();
    let before = held(&set([base.clone()]), 1);
    let stage = |held: &Held, patch: RulePatch| {
        let update =
            Update { key: base.key.clone(), version: 2, hash: wanted.hash, content: Content::Patch(patch) };
        held.stage(&Delta { updates: vec![update], removals: vec![], set_hash: Hash([0; 32]) })
    };
    assert_eq!(stage(&before, good.clone()).1, []);
    let upserts = |upserts: &[(&str, &str)]| RulePatch {
        upserts: upserts.iter().map(|(id, text)| ((*id).into(), (*text).into())).collect(),
        ..good.clone()
    };
    let bad = [
        RulePatch { base: wanted.hash, ..good.clone() },
        RulePatch { removals: vec!["a".into()], ..good.clone() },
        upserts(&[]),
        upserts(&[("c", r#"{"@after":"z","id":"c"}"#)]),
        upserts(&[("c", r#"{"id":"c"}"#)]),
        upserts(&[("c", r#"{"@after":"a","id":"d"}"#)]),
        upserts(&[("c", "no json")]),
        upserts(&[("", "}{")]),
        upserts(&[("c", r#"{"@after":"c","id":"c"}"#)]),
        upserts(&[("c", r#"{"@after":"a"#)]),
    ];
    for patch in bad {
        let (after, refused) = stage(&before, patch.clone());
        assert_eq!(refused.iter().map(|o| o.state).collect::<Vec<_>>(), [State::NeedsWhole], "{patch:?}");
        assert_eq!(after, before);
    }
    let nothing = Held::default();
    assert_eq!(stage(&nothing, good.clone()).1[0].state, State::NeedsWhole);
}

#[test]
fn patch_whose_hash_is_right_and_whose_rule_is_wrong_is_refused() {
    let base = edge(r#"{"rules":[{"id":"a"}]}"#);
    let before = held(&set([base.clone()]), 1);
    let stage = |upserts: &[(&str, &str)], body: &str| {
        let patch = RulePatch {
            base: base.hash,
            upserts: upserts.iter().map(|(id, text)| ((*id).into(), (*text).into())).collect(),
            removals: vec![],
        };
        let hash = Resource::hash_of(&base.key, body);
        let update = Update { key: base.key.clone(), version: 2, hash, content: Content::Patch(patch) };
        let (after, refused) =
            before.stage(&Delta { updates: vec![update], removals: vec![], set_hash: hash });
        assert_eq!(after, before);
        assert_eq!(refused[0].state, State::Rejected, "{refused:?}");
        refused[0].error.clone()
    };
    let bad = r#"{"id":"a","rate":0}"#;
    assert!(stage(&[("a", bad)], &format!(r#"{{"rules":[{bad}]}}"#)).contains("rate: 0 is out of range"));
    let other = r#"{"@after":"a","id":"x"}"#;
    assert!(
        stage(
            &[("", r#"{"priority":-1}"#), ("x", other)],
            r#"{"priority":-1,"rules":[{"id":"a"},{"id":"x"}]}"#
        )
        .contains("priority: -1 is out of range")
    );
}

#[test]
fn older_version_is_superseded_and_the_same_again_changes_nothing() {
    let (old, new) = (edge(r#"{"priority":1,"rules":[]}"#), edge(r#"{"priority":2,"rules":[]}"#));
    let wanted = set([new.clone()]);
    let start = Held::default();
    let first = update(&start, &set([old]), 1);
    let second = update(&start, &wanted, 2);
    let (held, _) = start.stage(&second);
    let (again, refused) = held.stage(&second);
    assert_eq!((&again, refused.len()), (&held, 0));
    let (late, refused) = held.stage(&first);
    assert_eq!((&late, refused[0].state, refused.len()), (&held, State::Superseded, 1));
    assert_eq!(held.version(&new.key), 2);
}

#[test]
fn node_keeps_the_earlier_body_of_what_it_could_not_apply() {
    let (old, new) = (edge(r#"{"priority":1,"rules":[]}"#), edge(r#"{"priority":2,"rules":[]}"#));
    let list = Resource::parse(key("list/a"), r#"{"action":"allow"}"#).unwrap();
    let before = held(&set([old.clone()]), 1);
    let (after, _) = before.stage(&update(&before, &set([new, list.clone()]), 5));
    let kept = after.with_earlier(&before, [&old.key, &list.key]);
    assert_eq!(kept, before);
}

/// The priority, and rules by id and rate.
type Body = (u16, Vec<(u8, u8)>);

fn any_body() -> impl Strategy<Value = Body> {
    (0..4_u16, prop::collection::vec((0..24_u8, 0..3_u8), 0..24)).prop_map(|(priority, mut rules)| {
        let mut seen = std::collections::HashSet::new();
        rules.retain(|(id, _)| seen.insert(*id));
        (priority, rules)
    })
}

fn resource((priority, list): &Body) -> Resource {
    let head = if *priority > 0 { format!(r#""priority":{priority},"#) } else { String::new() };
    edge(&format!(r#"{{{head}"rules":[{}]}}"#, rules(list.iter().copied())))
}

/// A policy in one step of its history: the filter set, and which of three lists there are.
type Step = (Body, [u8; 3]);

fn any_history() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((any_body(), [0..3_u8, 0..3, 0..3]), 1..6)
}

fn policy((body, lists): &Step) -> Set {
    let lists = lists.iter().enumerate().filter(|(_, action)| **action > 0).map(|(index, action)| {
        let action = if *action == 1 { "allow" } else { "block" };
        Resource::parse(key(&format!("list/l{index}")), &format!(r#"{{"action":"{action}"}}"#)).unwrap()
    });
    set(lists.chain([resource(body)]))
}

proptest! {
    #[test]
    fn any_edit_arrives_as_a_patch_with_the_same_hash(old in any_body(), new in any_body()) {
        let (old, new) = (resource(&old), resource(&new));
        let change = patch::between(&old, &new).unwrap();
        let update = Update { key: new.key.clone(), version: 2, hash: new.hash, content: Content::Patch(change) };
        let wanted = set([new]);
        let delta = Delta { updates: vec![update], removals: vec![], set_hash: wanted.hash() };
        let encoded = wire::delta_to_wire(&delta, 1, 1, 1).encode_to_vec();
        let decoded = secbeat_proto::v1::PolicyDelta::decode(encoded.as_slice()).unwrap();
        let (delta, unknown) = wire::delta_from_wire(&decoded).unwrap();
        prop_assert!(unknown.is_empty());
        let (after, refused) = held(&set([old]), 1).stage(&delta);
        prop_assert_eq!(refused, vec![]);
        prop_assert_eq!(after.set(), &wanted);
    }

    /// Deltas of a history arrive twice, late and out of order; what is held is always some body that was announced,
    /// and one delta made of what the node then says brings it to the newest policy.
    #[test]
    fn any_order_of_deltas_does_no_harm_and_the_newest_converges(
        history in any_history(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let sets: Vec<Set> = history.iter().map(policy).collect();
        let version_of = |step: usize| step as u64 + 1;
        let mut at = Held::default();
        let mut deltas = Vec::new();
        for (step, wanted) in sets.iter().enumerate() {
            deltas.push(update(&at, wanted, version_of(step)));
            at = held(wanted, version_of(step));
        }
        let mut node = Held::default();
        for index in &order {
            let delta = index.get(&deltas);
            let (after, refused) = node.stage(delta);
            prop_assert!(refused.iter().all(|o| matches!(o.state, State::Superseded | State::NeedsWhole)));
            for (key, version, hash) in after.digests() {
                let was_sent = deltas.iter().flat_map(|d| &d.updates).any(|u| (&u.key, u.hash) == (&key, hash));
                prop_assert!(was_sent && version >= node.version(&key));
            }
            prop_assert_eq!(after.stage(delta).0, after.clone(), "again changes nothing");
            node = after;
        }
        let newest = sets.last().unwrap();
        let (after, refused) = node.stage(&update(&node, newest, version_of(sets.len() - 1)));
        prop_assert_eq!(refused, vec![]);
        prop_assert_eq!(after.set().hash(), newest.hash());
    }
}

#[test]
fn order_of_kinds_brings_what_others_refer_to_first() {
    let listener = Resource::parse(key("listener/web"), r#"{"bind_address":"0.0.0.0:443"}"#).unwrap();
    let group =
        Resource::parse(key("backend-group/app"), r#"{"backends":[{"address":"192.0.2.1:80"}]}"#).unwrap();
    let delta = update(&Held::default(), &set([listener, group]), 1);
    assert_eq!(
        delta.updates.iter().map(|update| update.key.kind).collect::<Vec<_>>(),
        [Kind::BackendGroup, Kind::Listener]
    );
}
