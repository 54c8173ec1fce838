use std::collections::BTreeMap;
use std::sync::Arc;

use secbeat_config::policy::{Hash, Key, Kind, Outcome, Resource, Set, State};

use super::view::{SentUpdate, View};
use crate::policy::Wanted;

fn key(name: &str) -> Key {
    Key::new(Kind::List, name).unwrap()
}

fn wanted(revision: u64, lists: &[(&str, u64, &str)]) -> Arc<Wanted> {
    let mut set = Set::new();
    let mut versions = BTreeMap::new();
    for (name, version, prefix) in lists {
        let body = format!(r#"{{"action":"block","prefixes":["{prefix}"]}}"#);
        set.insert(Resource::parse(key(name), &body).unwrap()).unwrap();
        versions.insert(key(name), *version);
    }
    Arc::new(Wanted::new(revision, set, versions))
}

fn send(view: &mut View, nonce: u64, target: &Arc<Wanted>, is_whole: bool) -> Vec<SentUpdate> {
    let base = view.base(target);
    let updates: Vec<SentUpdate> = target
        .set
        .iter()
        .filter(|(key, resource)| base.get(key) != Some(&resource.hash))
        .map(|(key, resource)| SentUpdate {
            key: key.clone(),
            version: target.version(key),
            hash: resource.hash,
            is_whole,
        })
        .collect();
    let removals: Vec<Key> = base.keys().filter(|key| target.set.get(key).is_none()).cloned().collect();
    view.sent(nonce, Arc::clone(target), &updates, &removals, 7);
    updates
}

fn outcomes(sent: &[SentUpdate], state: State) -> Vec<Outcome> {
    let outcome = |update: &SentUpdate| Outcome {
        key: update.key.clone(),
        version: update.version,
        hash: update.hash,
        state,
        error: String::new(),
    };
    sent.iter().map(outcome).collect()
}

fn lacks(view: &View, target: &Wanted) -> usize {
    let base = view.base(target);
    target.set.iter().filter(|(key, resource)| base.get(key) != Some(&resource.hash)).count()
}

#[test]
fn the_view_advances_only_on_what_was_applied() {
    let mut view = View::new([]);
    let target = wanted(1, &[("a", 1, "192.0.2.0/24"), ("b", 1, "198.51.100.0/24")]);
    let sent = send(&mut view, 1, &target, true);
    assert_eq!((lacks(&view, &target), view.waits_since_ms()), (2, Some(7)));
    assert!(view.answered(9, &outcomes(&sent, State::Applied)).is_none(), "an answer to something else");
    assert_eq!(lacks(&view, &target), 2);
    let answered = view.answered(1, &outcomes(&sent, State::Applied)).unwrap();
    assert!(answered.is_complete && !answered.wants_more);
    assert_eq!((lacks(&view, &target), view.waits_since_ms()), (0, None));
    assert_eq!(view.hash(), target.hash());
    assert!(view.answered(1, &outcomes(&sent, State::Applied)).is_none(), "the same answer twice");
}

#[test]
fn a_refused_version_is_not_sent_again_and_the_next_one_is() {
    let mut view = View::new([]);
    let target = wanted(1, &[("a", 1, "192.0.2.0/24"), ("b", 1, "198.51.100.0/24")]);
    let sent = send(&mut view, 1, &target, true);
    let mut said = outcomes(&sent, State::Applied);
    said[0].state = State::Rejected;
    let answered = view.answered(1, &said).unwrap();
    assert!(!answered.is_complete && !answered.wants_more);
    assert_eq!(lacks(&view, &target), 0, "the valid one holds, the refused one is not repeated");
    assert_eq!(
        lacks(&view, &wanted(2, &[("a", 2, "192.0.2.0/24")])),
        1,
        "another version of the same body is sent"
    );
    assert_eq!(lacks(&view, &wanted(2, &[("a", 2, "203.0.113.0/24")])), 1);
}

#[test]
fn a_resource_that_the_answer_leaves_out_is_not_sent_in_a_circle() {
    let mut view = View::new([]);
    let target = wanted(1, &[("a", 1, "192.0.2.0/24")]);
    send(&mut view, 1, &target, true);
    assert!(!view.answered(1, &[]).unwrap().is_complete);
    assert_eq!(lacks(&view, &target), 0);
}

#[test]
fn a_patch_that_does_not_fit_is_followed_by_the_whole_once() {
    let mut view = View::new([(key("a"), 1, Hash([1; 32]))]);
    let target = wanted(2, &[("a", 2, "192.0.2.0/24")]);
    let sent = send(&mut view, 1, &target, false);
    assert!(view.answered(1, &outcomes(&sent, State::NeedsWhole)).unwrap().wants_more);
    assert!(!view.base(&target).contains_key(&key("a")), "nothing to patch: it goes whole");
    let sent = send(&mut view, 2, &target, true);
    let answered = view.answered(2, &outcomes(&sent, State::NeedsWhole)).unwrap();
    assert!(!answered.wants_more);
    assert_eq!(lacks(&view, &target), 0, "a node that asks for the whole of a whole is not asked again");
}

#[test]
fn removals_are_sent_once() {
    let mut view = View::new([(key("a"), 1, Hash([1; 32]))]);
    let target = wanted(2, &[]);
    assert_eq!(view.base(&target).len(), 1);
    send(&mut view, 1, &target, true);
    assert!(view.answered(1, &[]).unwrap().is_complete);
    assert!(view.base(&target).is_empty());
}

#[test]
fn a_node_with_a_newer_version_than_ours_gets_one_above_it() {
    let view = View::new([
        (key("a"), 9, Hash([1; 32])),
        (key("b"), 9, wanted(1, &[("b", 1, "192.0.2.0/24")]).hash()),
    ]);
    let target = wanted(3, &[("a", 2, "192.0.2.0/24")]);
    assert_eq!(view.ahead(&target), BTreeMap::from([(key("a"), 10)]));
}

#[test]
fn what_a_node_refused_it_refuses_still_after_it_told_everything_anew() {
    let mut view = View::new([]);
    let target = wanted(1, &[("a", 1, "192.0.2.0/24")]);
    let sent = send(&mut view, 1, &target, true);
    assert!(view.answered(1, &outcomes(&sent, State::Rejected)).unwrap().is_comparable);
    view.renew([]);
    assert_eq!(lacks(&view, &target), 0);
    let restart = send(&mut view, 2, &wanted(2, &[("a", 2, "192.0.2.0/25")]), true);
    assert!(!view.answered(2, &outcomes(&restart, State::NeedsRestart)).unwrap().is_comparable);
}
