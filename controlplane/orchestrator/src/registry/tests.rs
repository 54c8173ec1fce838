use super::*;

fn facts(number: u128, hostname: &str) -> Facts {
    let hello = v1::Hello { hostname: hostname.into(), version: "1".into(), ..v1::Hello::default() };
    Facts::of_hello(Uuid::from_u128(number), &hello, "192.0.2.1:5000", 10)
}

fn open(dir: &std::path::Path, nodes_max: usize) -> Registry {
    Registry::open(Store::open(dir).unwrap().0, nodes_max).unwrap()
}

fn sample(name: &str, value: f64) -> v1::Sample {
    v1::Sample { name: name.into(), value }
}

#[tokio::test]
async fn nodes_are_found_by_uuid_its_unique_beginning_and_host_name() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path(), 10);
    let ids = [0x1111_u128 << 112, 0x1122_u128 << 112, 0x2222_u128 << 112];
    for (at, id) in ids.iter().enumerate() {
        registry.connect(facts(*id, &format!("edge-{at}")), 1, 10, 10).await.unwrap();
    }
    let found = |name: &str| registry.find(name);
    assert_eq!(found(&Uuid::from_u128(ids[0]).to_string()).unwrap(), Uuid::from_u128(ids[0]));
    assert_eq!(found("1122").unwrap(), Uuid::from_u128(ids[1]));
    assert_eq!(found("EDGE-2").unwrap(), Uuid::from_u128(ids[2]));
    assert!(matches!(found("11"), Err(Failure::Invalid(why)) if why.contains("2 nodes")));
    assert!(matches!(found("nope"), Err(Failure::NotFound(_))));
    assert!(matches!(found(""), Err(Failure::Invalid(_))));
}

#[tokio::test]
async fn a_full_fleet_takes_no_new_node_and_lets_known_ones_back_in() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path(), 1);
    registry.connect(facts(1, "a"), 1, 10, 10).await.unwrap();
    let refused = registry.connect(facts(2, "b"), 2, 10, 10).await.unwrap_err();
    assert!(matches!(refused, Failure::Exhausted(why) if why.contains("max_nodes")));
    registry.connect(facts(1, "a"), 3, 20, 20).await.unwrap();
}

#[tokio::test]
async fn facts_survive_a_restart_and_silence_makes_a_node_dead_only_while_it_could_be_heard() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path(), 10);
    registry.connect(facts(1, "a"), 1, 1_000, 1_000).await.unwrap();
    registry.connect(facts(1, "renamed"), 2, 2_000, 2_500).await.unwrap();
    drop(registry);
    let registry = open(dir.path(), 10);
    let node = registry.get(Uuid::from_u128(1)).unwrap();
    assert_eq!(
        (node.facts.hostname.as_str(), node.facts.registered_ms, node.is_connected()),
        ("renamed", 10, false)
    );
    let leases = Leases { silence_ms_max: 100, listening_since_ms: 50_000 };
    assert!(registry.expire(leases, 50_100).is_empty(), "silence before the start says nothing");
    assert_eq!(registry.expire(leases, 50_101), [Uuid::from_u128(1)]);
    assert_eq!(registry.dead_before(2_000), [Uuid::from_u128(1)]);
    registry.connect(facts(1, "a"), 1, 50_200, 50_200).await.unwrap();
    assert_eq!(registry.get(Uuid::from_u128(1)).unwrap().phase, Phase::Starting);
    assert_eq!(registry.forget(&[Uuid::from_u128(1)]).unwrap(), 0, "a connected node is not forgotten");
    assert!(registry.disconnect(Uuid::from_u128(1), 1, 50_300));
    assert_eq!(registry.forget(&[Uuid::from_u128(1)]).unwrap(), 1);
}

#[tokio::test]
async fn the_end_of_an_older_stream_does_not_disconnect_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let registry = open(dir.path(), 10);
    registry.connect(facts(1, "a"), 1, 10, 10).await.unwrap();
    registry.connect(facts(1, "a"), 2, 20, 20).await.unwrap();
    assert!(!registry.disconnect(Uuid::from_u128(1), 1, 30));
    assert!(registry.get(Uuid::from_u128(1)).unwrap().is_connected());
}

#[test]
fn clocks_that_are_off_are_shown_and_break_nothing() {
    assert_eq!(skew(1_000, 3_601_000), 3_600_000);
    assert_eq!(skew(3_601_000, 1_000), -3_600_000);
    assert_eq!(skew(0, u64::MAX), i64::MAX);
    assert_eq!(skew(1_000, 0), 0, "a node that does not say has no skew");
}

#[test]
fn telemetry_brings_names_once_and_then_numbers() {
    let mut shelf = NamesShelf::default();
    let mut samples = Samples::default();
    let whole = v1::Telemetry {
        is_whole: true,
        samples: vec![sample("a", 1.0), sample("b", 2.0)],
        ..Default::default()
    };
    samples.take(&whole, &mut shelf);
    let indexed =
        vec![v1::IndexedSample { index: 1, value: 5.0 }, v1::IndexedSample { index: 9, value: 1.0 }];
    samples.take(&v1::Telemetry { indexed, ..Default::default() }, &mut shelf);
    assert_eq!(samples.wire(), [sample("a", 1.0), sample("b", 5.0)]);
    assert_eq!(samples.dropped, 1, "a number without a name is counted");
    let named = vec![sample("a", 7.0), sample("c", 3.0)];
    samples.take(&v1::Telemetry { samples: named, ..Default::default() }, &mut shelf);
    let indexed = vec![v1::IndexedSample { index: 2, value: 4.0 }];
    samples.take(&v1::Telemetry { indexed, ..Default::default() }, &mut shelf);
    assert_eq!(samples.wire(), [sample("a", 7.0), sample("b", 5.0), sample("c", 4.0)]);
}

#[test]
fn samples_and_their_names_are_bounded_without_shifting_the_numbers_of_others() {
    let mut shelf = NamesShelf::default();
    let mut samples = Samples::default();
    let long = "x".repeat(samples::NAME_BYTES_MAX + 1);
    let mut all = vec![sample(&long, 1.0), sample("b", 2.0)];
    all.extend((0..samples::SAMPLES_MAX).map(|number| sample(&format!("n{number}"), 0.0)));
    samples.take(&v1::Telemetry { is_whole: true, samples: all, ..Default::default() }, &mut shelf);
    assert_eq!(samples.dropped, 3);
    let indexed = vec![v1::IndexedSample { index: 1, value: 9.0 }];
    samples.take(&v1::Telemetry { indexed, ..Default::default() }, &mut shelf);
    assert_eq!(samples.wire()[0], sample("b", 9.0));
    assert_eq!(samples.wire().len(), samples::SAMPLES_MAX - 1);
}
