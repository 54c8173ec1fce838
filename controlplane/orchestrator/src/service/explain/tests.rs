use super::*;
use crate::service::ban::add_ban;
use crate::service::ban::tests::{Place, ada, request};

async fn explained(place: &Place, target: &str) -> v1::ExplainResponse {
    let request = v1::ExplainRequest { target: target.into(), events_max: 0 };
    explain(&place.o, &ada(), request).await.unwrap()
}

#[tokio::test]
async fn everything_that_touches_an_address_is_named_and_the_summary_says_what_decides() {
    let place = Place::new();
    assert_eq!(explained(&place, "192.0.2.7").await.summary, "nothing touches it");
    let block = serde_json::json!({"action": "block", "prefixes": ["192.0.2.0/24"]});
    place.apply(v1::ResourceKind::List, "feed", &block).await;
    let rules = serde_json::json!({"rules": [
        {"id": "no-dns", "action": "drop", "protocol": "udp", "destination_ports": [53]},
        {"id": "other", "action": "drop", "sources": ["198.51.100.0/24"]},
    ]});
    place.apply(v1::ResourceKind::FilterSet, "edge", &rules).await;
    let found = explained(&place, "192.0.2.7").await;
    assert_eq!(found.summary, "blocked by list/feed: entry 192.0.2.0/24");
    let names: Vec<&str> = found.findings.iter().map(|finding| finding.name.as_str()).collect();
    assert_eq!(names, ["list/feed", "filter-set/edge no-dns"]);
    add_ban(&place.o, &ada(), request("192.0.2.0/25")).await.unwrap();
    let found = explained(&place, "192.0.2.7").await;
    assert!(
        found.summary.starts_with("banned as 192.0.2.0/25: flood; set by ada (operator), ends in"),
        "{}",
        found.summary
    );
    assert_eq!((found.findings[0].what.as_str(), found.findings[0].effect.as_str()), ("ban", "drop"));
    assert!(found.findings[0].until_ms > now_ms());
    place.allow("partners", &["192.0.2.7"]).await;
    let found = explained(&place, "192.0.2.7").await;
    assert_eq!(found.summary, "allowlisted by list/partners: entry 192.0.2.7/32");
    let found = explained(&place, "198.51.100.0/28").await;
    assert!(found.summary.starts_with("drop by filter rule filter-set/edge other"), "{}", found.summary);
    let found = explained(&place, "192.0.2.128/25").await;
    assert!(found.summary.starts_with("blocked by list/feed"), "{}", found.summary);
    assert_eq!(explained(&place, "192.0.0.0/16").await.summary, "parts of it are banned or listed");
}

#[tokio::test]
async fn recent_events_of_the_address_and_the_rules_they_name_are_shown() {
    let place = Place::new();
    let event = |client: &str, rule: &str| v1::Event {
        at_ms: now_ms(),
        client_ip: client.into(),
        rule_id: rule.into(),
        is_blocked: true,
        ..Default::default()
    };
    let events = vec![event("192.0.2.7", "942100"), event("192.0.2.7", "942100"), event("192.0.2.8", "1")];
    let batch = v1::EventBatch { sequence: 1, events, ..Default::default() };
    let receipt = place.o.events.ingest("node", batch).await;
    place.o.events.write_waiting().await.unwrap();
    receipt.await.unwrap().unwrap();
    let found = explained(&place, "192.0.2.7").await;
    assert_eq!(found.events.len(), 2);
    let rule = &found.findings[0];
    assert_eq!((rule.what.as_str(), rule.name.as_str(), rule.hits), ("waf_rule", "942100", 2));
}

#[tokio::test]
async fn what_is_no_address_is_refused() {
    let place = Place::new();
    let request = v1::ExplainRequest { target: "example.org".into(), events_max: 0 };
    assert!(matches!(explain(&place.o, &ada(), request).await, Err(Failure::Invalid(_))));
}
