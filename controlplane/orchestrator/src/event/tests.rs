use super::*;
use crate::store::Store;

fn open(folder: &tempfile::TempDir, events_max: u64) -> Events {
    let (store, _) = Store::open(&folder.path().join("store")).unwrap();
    Events::open(store, events_max).unwrap()
}

fn batch(count: u64, first: u64) -> v1::EventBatch {
    let event = |number: u64| v1::Event {
        at_ms: 1_000 + number,
        class: "request".into(),
        name: "request_refused".into(),
        attack_type: if number.is_multiple_of(2) { "scanner" } else { "sql_injection" }.into(),
        client_ip: format!("192.0.2.{}", number % 5),
        severity: v1::Severity::Warn.into(),
        is_blocked: true,
        ..Default::default()
    };
    v1::EventBatch { sequence: 1, events: (first..first + count).map(event).collect(), ..Default::default() }
}

fn any() -> Filter {
    Filter::compile(None).unwrap()
}

async fn store(events: &Events, node: &str, batch: v1::EventBatch) {
    let receipt = events.ingest(node, batch).await;
    events.write_waiting().await.unwrap();
    receipt.await.unwrap().unwrap();
}

#[tokio::test]
async fn stored_events_come_newest_first_in_pages_without_gap_or_repetition() {
    let folder = tempfile::tempdir().unwrap();
    let events = open(&folder, 1_000_000);
    for first in [0, 3_000, 6_000] {
        store(&events, "node-a", batch(3_000, first)).await;
    }
    let mut seen = Vec::new();
    let mut before = 0;
    loop {
        let page = events.page(&any(), before, 700).unwrap();
        seen.extend(page.events.iter().map(|event| event.id));
        before = page.next_before_id;
        if before == 0 {
            break;
        }
    }
    assert_eq!(seen, (1..=9_000).rev().collect::<Vec<u64>>());
}

#[tokio::test]
async fn after_a_restart_everything_is_there_and_ids_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let events = open(&folder, 1_000_000);
    store(&events, "node-a", batch(10, 0)).await;
    events.acknowledge(&[3, 4], &any(), "operator").unwrap();
    drop(events);
    let events = open(&folder, 1_000_000);
    store(&events, "node-a", batch(1, 10)).await;
    let page = events.page(&any(), 0, 100).unwrap();
    assert_eq!(page.events.len(), 11);
    assert_eq!(page.events[0].id, 11);
    assert_eq!(page.events[7].acknowledged_by, "operator", "event 4");
    assert_eq!(events.stats(0, 0).unwrap().unacknowledged, 9);
    assert_eq!(events.threats(0, 1)[0].events, 3);
}

#[tokio::test]
async fn statistics_of_a_window_count_what_lies_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let events = open(&folder, 1_000_000);
    store(&events, "node-a", batch(3_000, 0)).await;
    store(&events, "node-b", batch(100, 3_000)).await;
    let all = events.stats(0, 0).unwrap();
    assert_eq!((all.total, all.by_node["node-a"], all.by_node["node-b"]), (3_100, 3_000, 100));
    let some = events.stats(1_010, 1_019).unwrap();
    assert_eq!((some.total, some.by_attack_type["scanner"], some.oldest_ms), (10, 5, 1_010));
}

#[tokio::test]
async fn acknowledged_events_are_no_longer_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let events = open(&folder, 1_000_000);
    store(&events, "node-a", batch(2_500, 0)).await;
    let scanners = v1::EventFilter {
        attack_types: vec!["scanner".into()],
        only_unacknowledged: true,
        ..Default::default()
    };
    let scanners = Filter::compile(Some(scanners)).unwrap();
    assert_eq!(events.acknowledge(&[], &scanners, "operator").unwrap(), 1_250);
    assert_eq!(events.acknowledge(&[], &scanners, "operator").unwrap(), 0, "a second time changes nothing");
    assert!(events.page(&scanners, 0, 10).unwrap().events.is_empty());
    let too_many = vec![1; ledger::IDS_MAX + 1];
    assert!(matches!(events.acknowledge(&too_many, &any(), "x"), Err(Failure::Invalid(_))));
}

#[tokio::test]
async fn oldest_blocks_go_when_there_are_too_many_events() {
    let folder = tempfile::tempdir().unwrap();
    let events = open(&folder, 4_000);
    for first in 0..5 {
        store(&events, "node-a", batch(2_000, first * 2_000)).await;
    }
    assert_eq!(events.remove_old(0).unwrap(), 6_000);
    assert_eq!(events.numbers().stored, 4_000);
    let oldest = events.page(&any(), 6_002, 10).unwrap();
    assert_eq!(oldest.events.iter().map(|event| event.id).collect::<Vec<_>>(), [6_001]);
    assert_eq!(events.remove_old(u64::MAX).unwrap(), 4_000, "and by age");
}

#[tokio::test]
async fn losses_of_nodes_add_up_and_a_restarted_node_counts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let events = open(&folder, 1_000);
    for total in [3, 10, 4] {
        let lost = BTreeMap::from([("queue".to_owned(), total)]);
        store(&events, "node-a", v1::EventBatch { lost, ..batch(1, 0) }).await;
    }
    assert_eq!(events.lost()["queue"], 14);
}

#[tokio::test]
async fn what_a_node_claims_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let events = open(&folder, 1_000);
    let huge = "x".repeat(100_000);
    let details = (0..1_000).map(|number| (format!("k{number}"), huge.clone())).collect();
    let event = v1::Event {
        id: 77,
        node_id: "another".into(),
        user_agent: huge.clone(),
        acknowledged_by: "nobody".into(),
        acknowledged_at_ms: 5,
        details,
        ..Default::default()
    };
    store(&events, "node-a", v1::EventBatch { events: vec![event], ..Default::default() }).await;
    let stored = events.page(&any(), 0, 1).unwrap().events.remove(0);
    assert_eq!((stored.id, stored.node_id.as_str(), stored.acknowledged_at_ms), (1, "node-a", 0));
    assert!(stored.encoded_len() <= block::EVENT_BYTES_MAX);
}

#[tokio::test]
async fn watcher_gets_new_events_and_a_slow_one_learns_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let events = open(&folder, 1_000_000);
    let mut quick = events.watch();
    let mut slow = events.watch();
    store(&events, "node-a", batch(1, 0)).await;
    assert_eq!(quick.recv().await.unwrap()[0].id, 1);
    for number in 0..WATCH_BLOCKS_MAX as u64 + 5 {
        store(&events, "node-a", batch(1, number)).await;
    }
    assert!(matches!(slow.recv().await, Err(broadcast::error::RecvError::Lagged(_))));
}

#[tokio::test]
async fn writer_task_stores_what_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let events = open(&folder, 1_000_000);
    let writer = tokio::spawn(events.clone().write_blocks());
    let mut receipts = Vec::new();
    for number in 0..20 {
        receipts.push(events.ingest("node-a", batch(500, number * 500)).await);
    }
    for receipt in receipts {
        receipt.await.unwrap().unwrap();
    }
    assert_eq!(events.numbers().stored, 10_000);
    writer.abort();
}
