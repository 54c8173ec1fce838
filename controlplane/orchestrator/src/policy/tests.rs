use std::path::Path;

use secbeat_config::policy::Kind;

use super::rollout::{Plan, Rollout, State, Strategy};
use super::*;

fn key(name: &str) -> Key {
    Key::new(Kind::List, name).unwrap()
}

fn list(name: &str, prefix: &str) -> Resource {
    Resource::parse(key(name), &format!(r#"{{"action":"block","prefixes":["{prefix}"]}}"#)).unwrap()
}

fn open(dir: &Path) -> Policies {
    Policies::open(Store::open(dir).unwrap().0, 0).unwrap()
}

fn upsert(resources: &[Resource]) -> Request {
    Request { upserts: resources.to_vec(), ..Request::default() }
}

fn remove(name: &str) -> Request {
    Request { removals: vec![key(name)], ..Request::default() }
}

async fn commit(policies: &Policies, request: Request) -> Arc<Wanted> {
    let turn = policies.begin().await;
    let candidate = Candidate::of_request(policies.newest(), request).unwrap();
    let author = Author { actor: "anna".into(), reason: "test".into() };
    policies.commit(&turn, &candidate, &author, 0, Vec::new(), 5).unwrap()
}

#[tokio::test]
async fn versions_count_changes_of_each_resource_and_never_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let policies = open(dir.path());
    let both = commit(&policies, upsert(&[list("a", "192.0.2.0/24"), list("b", "192.0.2.0/24")])).await;
    assert_eq!((both.revision, both.version(&key("a")), both.version(&key("b"))), (1, 1, 1));
    let one = commit(&policies, upsert(&[list("a", "198.51.100.0/24"), list("b", "192.0.2.0/24")])).await;
    assert_eq!((one.revision, one.version(&key("a")), one.version(&key("b"))), (2, 2, 1));
    commit(&policies, remove("a")).await;
    let again = commit(&policies, upsert(&[list("a", "192.0.2.0/24")])).await;
    assert_eq!(
        (again.revision, again.version(&key("a"))),
        (4, 3),
        "a new resource under an old name goes on counting"
    );
    drop(policies);
    let policies = open(dir.path());
    assert_eq!(policies.newest().versions, again.versions);
    assert_eq!(policies.newest().hash(), again.hash());
    let back = policies.at(2).unwrap();
    assert_eq!((back.version(&key("a")), back.hash()), (2, one.hash()));
    assert!(policies.at(3).unwrap().set.get(&key("a")).is_none());
    assert!(policies.at(0).unwrap().set.is_empty());
    assert!(matches!(policies.at(9), Err(Failure::NotFound(_))));
}

#[tokio::test]
async fn history_says_who_and_what() {
    let dir = tempfile::tempdir().unwrap();
    let policies = open(dir.path());
    commit(&policies, upsert(&[list("a", "192.0.2.0/24"), list("b", "192.0.2.0/24")])).await;
    let request =
        Request { prune: true, ..upsert(&[list("a", "198.51.100.0/24"), list("c", "192.0.2.0/24")]) };
    commit(&policies, request).await;
    let history = policies.history(0, 10);
    assert_eq!(history.iter().map(|revision| revision.number).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(history[0].counts(), (1, 1, 1));
    assert_eq!((history[0].actor.as_str(), history[0].reason.as_str()), ("anna", "test"));
    assert_eq!(policies.history(2, 10).len(), 1);
}

#[tokio::test]
async fn old_revisions_go_with_the_bodies_that_nothing_needs_and_what_a_rollout_needs_stays() {
    let dir = tempfile::tempdir().unwrap();
    let policies = open(dir.path());
    for number in 0..3 {
        commit(&policies, upsert(&[list("a", &format!("10.0.{number}.0/24"))])).await;
    }
    let mut book = lock(&policies.book).clone();
    for number in 3..(REVISIONS_MAX as u64 + 10) {
        let resource = list("a", &format!("10.{}.{}.0/24", number / 256, number % 256));
        let mut set = Set::new();
        set.insert(resource).unwrap();
        let candidate =
            Candidate { before: policies.newest(), set, changes: Vec::new(), warnings: Vec::new() };
        book.revise(&candidate, &Author::default(), 0, 9);
    }
    assert!(book.clone().shorten(0).revisions.is_empty(), "a rollout may go back to the very first");
    let dropped = book.shorten(u64::MAX);
    assert_eq!(dropped.revisions, (1..=10).collect::<Vec<_>>());
    // The first kept revision still knows what stood there before it: one body less than revisions goes.
    assert_eq!(dropped.hashes.len(), 9);
    assert!(book.at(10).is_ok(), "the state before the oldest kept change");
    assert!(matches!(book.at(9), Err(Failure::NotFound(why)) if why.contains("no longer kept")));
}

#[tokio::test]
async fn what_is_wrong_is_refused_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let policies = open(dir.path());
    let before = commit(&policies, upsert(&[list("a", "192.0.2.0/24")])).await;
    let twice = upsert(&[list("b", "192.0.2.0/24"), list("b", "198.51.100.0/24")]);
    let refused = Candidate::of_request(Arc::clone(&before), twice).unwrap_err();
    assert!(matches!(refused, Failure::Invalid(why) if why.contains("list/b stands twice")));
    let both = Request { removals: vec![key("b")], ..upsert(&[list("b", "192.0.2.0/24")]) };
    assert!(Candidate::of_request(Arc::clone(&before), both).is_err());
    let nothing = Candidate::of_request(Arc::clone(&before), upsert(&[list("a", "192.0.2.0/24")])).unwrap();
    assert!(!nothing.is_change());
    let absent = Candidate::of_request(before, remove("none")).unwrap();
    assert!(!absent.is_change() && absent.warnings.len() == 1);
}

fn canary(policies: &Policies, reached: Uuid) -> Rollout {
    let plan = Plan {
        id: Uuid::from_u128(7),
        revision: policies.newest().revision + 1,
        previous_revision: policies.newest().revision,
        base_revision: policies.newest().revision,
        strategy: Strategy::Canary,
        step_hold_ms: 1,
        rollback_after_ms: 0,
        first: Some(reached),
        reached_before: [Uuid::from_u128(1), Uuid::from_u128(2)].into(),
        changed: BTreeSet::new(),
    };
    let mut rollout = Rollout::start(plan, &BTreeMap::new(), 0);
    rollout.counts = vec![1, 2];
    rollout
}

#[tokio::test]
async fn nodes_that_a_rollout_has_not_reached_keep_what_was_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let policies = open(dir.path());
    let before = commit(&policies, upsert(&[list("a", "192.0.2.0/24")])).await;
    let (first, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let turn = policies.begin().await;
    let candidate =
        Candidate::of_request(policies.newest(), upsert(&[list("a", "198.51.100.0/24")])).unwrap();
    let rollouts = vec![canary(&policies, first)];
    let after = policies.commit(&turn, &candidate, &Author::default(), 0, rollouts, 6).unwrap();
    drop(turn);
    let held = |policies: &Policies, node| policies.targets().borrow().of(node).revision;
    assert_eq!((held(&policies, first), held(&policies, other)), (after.revision, before.revision));
    drop(policies);
    let policies = open(dir.path());
    assert_eq!((held(&policies, first), held(&policies, other)), (after.revision, before.revision));
    let mut rollout = (*policies.rollouts().running().unwrap()).clone();
    assert!(rollout.is_resumed);
    rollout.advance(&BTreeMap::new(), 9);
    let turn = policies.begin().await;
    policies.move_rollout(&turn, rollout.clone()).unwrap();
    assert_eq!(held(&policies, other), after.revision);
    rollout.end(State::Done, None, 10);
    policies.move_rollout(&turn, rollout).unwrap();
    assert!(policies.rollouts().running().is_none());
    assert_eq!(policies.rollouts().find("").unwrap().state, State::Done);
}
