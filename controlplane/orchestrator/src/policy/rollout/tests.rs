use super::*;

const HOLD_MS: u64 = 1_000;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn fleet(count: u128) -> BTreeMap<Uuid, Sight> {
    let sight = |number| {
        let shares = Some(Shares { dropped: 0.01, failed: 0.01 });
        (id(number), Sight { is_connected: true, is_active: true, shares, shares_ms: 1, ..Sight::default() })
    };
    (1..=count).map(sight).collect()
}

fn plan(strategy: Strategy) -> Plan {
    Plan {
        id: id(99),
        revision: 2,
        previous_revision: 1,
        base_revision: 1,
        strategy,
        step_hold_ms: HOLD_MS,
        rollback_after_ms: 0,
        first: None,
        reached_before: BTreeSet::new(),
        changed: BTreeSet::from(["list/bad".to_owned()]),
    }
}

/// Every node that was reached takes the change and says how its traffic is.
fn answer(rollout: &Rollout, nodes: &mut BTreeMap<Uuid, Sight>, now_ms: u64) {
    let reached = rollout.reached();
    for (id, sight) in nodes.iter_mut() {
        sight.shares_ms = now_ms;
        if rollout.has_reached_all() || reached.contains(id) {
            sight.sent_revision = rollout.revision;
            sight.answered_revision = rollout.revision;
        }
    }
}

/// Lets time pass until a move.
fn next_move(rollout: &mut Rollout, nodes: &mut BTreeMap<Uuid, Sight>, now_ms: &mut u64) -> Move {
    for _ in 0..100 {
        *now_ms += 100;
        answer(rollout, nodes, *now_ms);
        if let Some(next) = rollout.look(nodes, *now_ms) {
            return next;
        }
    }
    panic!("no move in 100 looks: {rollout:?}");
}

fn why(next: Option<Move>) -> String {
    match next {
        Some(Move::RollBack(why)) => why,
        other => panic!("not taken back: {other:?}"),
    }
}

#[test]
fn a_canary_goes_from_one_node_to_a_tenth_a_half_and_all() {
    let mut nodes = fleet(40);
    let mut now = 1_000;
    let mut rollout = Rollout::start(plan(Strategy::Canary), &nodes, now);
    assert_eq!(rollout.counts, [1, 4, 20, 40]);
    for reached in [1, 4, 20] {
        assert_eq!(rollout.reached().len(), reached);
        assert!(!rollout.has_reached_all());
        assert_eq!(next_move(&mut rollout, &mut nodes, &mut now), Move::Advance);
        assert!(now >= rollout.step_started_ms + HOLD_MS, "the step was held");
        rollout.advance(&nodes, now);
    }
    assert!(rollout.has_reached_all());
    assert_eq!(next_move(&mut rollout, &mut nodes, &mut now), Move::Finish);
    rollout.end(State::Done, None, now);
    assert_eq!(rollout.look(&nodes, now + 1), None, "what has ended does not move");
}

#[test]
fn steps_of_a_small_fleet_are_not_repeated() {
    for (nodes, counts) in
        [(0, vec![0]), (1, vec![1]), (2, vec![1, 2]), (3, vec![1, 2, 3]), (10, vec![1, 5, 10])]
    {
        let rollout = Rollout::start(plan(Strategy::Canary), &fleet(nodes), 0);
        assert_eq!(rollout.counts, counts, "{nodes} nodes");
    }
}

#[test]
fn the_first_node_can_be_chosen_and_nodes_that_are_away_or_draining_are_left_for_the_end() {
    let mut nodes = fleet(4);
    nodes.get_mut(&id(1)).unwrap().is_connected = false;
    nodes.get_mut(&id(2)).unwrap().is_active = false;
    let rollout = Rollout::start(Plan { first: Some(id(4)), ..plan(Strategy::Canary) }, &nodes, 0);
    assert_eq!(rollout.order, [id(4), id(3)]);
}

#[test]
fn a_refusal_of_what_changed_takes_it_back_and_an_old_refusal_does_not() {
    let mut nodes = fleet(3);
    let mut now = 0;
    let refused = |key: &str| Answer::Refused(vec![(key.to_owned(), "too large".to_owned())]);
    nodes.get_mut(&id(1)).unwrap().answer = refused("list/old");
    let mut rollout = Rollout::start(plan(Strategy::Canary), &nodes, now);
    assert_eq!(next_move(&mut rollout, &mut nodes, &mut now), Move::Advance);
    rollout.advance(&nodes, now);
    nodes.get_mut(&id(2)).unwrap().answer = refused("list/bad");
    answer(&rollout, &mut nodes, now);
    assert!(why(rollout.look(&nodes, now)).contains("refused list/bad: too large"));
    assert_eq!(rollout.refusals.len(), 1);
}

#[test]
fn a_node_that_goes_away_after_the_change_takes_it_back_after_its_time_to_reconnect() {
    let mut nodes = fleet(3);
    let mut rollout = Rollout::start(plan(Strategy::Canary), &nodes, 0);
    answer(&rollout, &mut nodes, 10);
    let gone = nodes.get_mut(&id(1)).unwrap();
    (gone.is_connected, gone.disconnected_ms) = (false, 20);
    assert_eq!(rollout.look(&nodes, 20 + LOST_MS_MAX), None);
    assert!(why(rollout.look(&nodes, 21 + LOST_MS_MAX)).contains("was lost"));
    // A node that was not reached may go.
    let mut nodes = fleet(3);
    let mut rollout = Rollout::start(plan(Strategy::Canary), &nodes, 0);
    nodes.get_mut(&id(3)).unwrap().is_connected = false;
    let mut now = 30_000;
    assert_eq!(next_move(&mut rollout, &mut nodes, &mut now), Move::Advance);
}

#[test]
fn after_a_restart_nodes_have_time_to_come_back_and_then_count_as_lost() {
    let nodes = fleet(2);
    let stored = Rollout::start(plan(Strategy::Canary), &nodes, 0);
    let text = serde_json::to_string(&stored).unwrap();
    let mut rollout: Rollout = serde_json::from_str(&text).unwrap();
    rollout.resume(500_000);
    let mut away = fleet(2);
    away.values_mut().for_each(|sight| sight.is_connected = false);
    assert_eq!(rollout.look(&away, 500_000 + LOST_AFTER_RESTART_MS_MAX), None);
    assert!(why(rollout.look(&away, 500_001 + LOST_AFTER_RESTART_MS_MAX)).contains("was lost"));
}

#[test]
fn a_silent_node_takes_it_back() {
    let nodes = fleet(2);
    let mut rollout = Rollout::start(plan(Strategy::Canary), &nodes, 0);
    assert_eq!(rollout.look(&nodes, ANSWER_MS_MAX), None);
    assert!(why(rollout.look(&nodes, ANSWER_MS_MAX + 1)).contains("did not answer"));
}

#[test]
fn a_rise_on_updated_nodes_alone_takes_it_back_and_one_on_all_does_not() {
    type Raise = fn(&mut Shares);
    let raises: [(Raise, &str); 2] = [
        (|shares| shares.dropped = 0.2, "drops of validated traffic rose from 1.0 % to 20.0 %"),
        (|shares| shares.failed = 0.2, "responses 5xx rose from 1.0 % to 20.0 %"),
    ];
    for (raise, text) in raises {
        for is_everywhere in [false, true] {
            let mut nodes = fleet(4);
            let mut rollout = Rollout::start(plan(Strategy::Canary), &nodes, 0);
            answer(&rollout, &mut nodes, 100);
            assert_eq!(rollout.look(&nodes, 100), None);
            answer(&rollout, &mut nodes, 200);
            let hit = nodes.values_mut().take(if is_everywhere { 4 } else { 1 });
            hit.for_each(|sight| raise(sight.shares.as_mut().unwrap()));
            let next = rollout.look(&nodes, 200);
            if is_everywhere {
                assert_eq!(next, None, "an attack is not the change's fault");
            } else {
                let why = why(next);
                assert!(why.contains(text) && why.contains("on 1 updated nodes"), "{why}");
            }
        }
    }
}

#[test]
fn telemetry_of_before_the_change_neither_condemns_nor_clears_it() {
    let mut nodes = fleet(2);
    let mut rollout = Rollout::start(plan(Strategy::Canary), &nodes, 1_000);
    answer(&rollout, &mut nodes, 1_100);
    let canary = nodes.get_mut(&id(1)).unwrap();
    (canary.shares_ms, canary.shares) = (900, Some(Shares { dropped: 0.9, failed: 0.0 }));
    assert_eq!(rollout.look(&nodes, 1_100), None);
    assert_eq!(rollout.look(&nodes, 50_000), None, "no step without fresh telemetry");
    nodes.get_mut(&id(1)).unwrap().shares_ms = 50_001;
    assert!(why(rollout.look(&nodes, 50_002)).contains("drops"));
}

#[test]
fn a_change_that_is_not_confirmed_in_time_is_taken_back_also_when_it_is_everywhere() {
    let plan = Plan { rollback_after_ms: 60_000, ..plan(Strategy::All) };
    let mut nodes = fleet(2);
    let mut rollout = Rollout::start(plan.clone(), &nodes, 0);
    answer(&rollout, &mut nodes, 10);
    assert_eq!(rollout.look(&nodes, 10), Some(Move::Await));
    rollout.wait();
    assert_eq!(rollout.look(&nodes, 59_999), None);
    assert!(why(rollout.look(&nodes, 60_000)).contains("not confirmed"));
    rollout.is_confirmed = true;
    assert_eq!(rollout.look(&nodes, 60_000), Some(Move::Finish));
    // Confirmed before it was everywhere: it does not wait.
    let mut rollout = Rollout::start(plan, &nodes, 0);
    rollout.is_confirmed = true;
    answer(&rollout, &mut nodes, 10);
    assert_eq!(rollout.look(&nodes, 70_000), Some(Move::Finish));
}

#[test]
fn all_at_once_ends_with_refusals_named_and_without_those_who_are_away() {
    let mut nodes = fleet(3);
    nodes.get_mut(&id(3)).unwrap().is_connected = false;
    let mut rollout = Rollout::start(plan(Strategy::All), &nodes, 0);
    assert!(rollout.has_reached_all());
    assert_eq!(rollout.look(&nodes, 1), None);
    answer(&rollout, &mut nodes, 2);
    nodes.get_mut(&id(2)).unwrap().answer = Answer::Refused(vec![("list/bad".into(), "no".into())]);
    assert_eq!(rollout.look(&nodes, 2), Some(Move::Finish));
    assert_eq!(rollout.refusals[0].node, id(2));
    assert!(rollout.explanation.contains("1 resources were refused"));
}

#[test]
fn nodes_of_an_unfinished_change_come_along_with_the_next() {
    let reached_before = BTreeSet::from([id(5), id(7)]);
    let rollout = Rollout::start(Plan { reached_before, ..plan(Strategy::Canary) }, &fleet(20), 0);
    assert_eq!(rollout.order[..2], [id(5), id(7)]);
    assert_eq!(rollout.counts, [2, 10, 20]);
}
