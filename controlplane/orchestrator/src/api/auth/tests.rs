use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::access::identity::Identity;
use crate::access::revoked::What;
use crate::access::token::NewToken;
use crate::api::tests::Place;
use crate::api::tls::Face;

fn peer(identity: Option<Identity>) -> Peer {
    let address = "127.0.0.1:5000".parse().unwrap();
    Peer { face: Face::Rest, address, identity: identity.map(Arc::new), is_open_loopback: false }
}

fn certificate(holder: Holder, not_after_ms: u64) -> Identity {
    Identity { holder, serial: "4a".into(), not_after_ms }
}

#[tokio::test]
async fn a_token_says_who_asks() {
    let place = Place::new("");
    let token = place.token("ci", &["ban:write"]).await;
    for header in [format!("Bearer {token}"), format!("bearer  {token} ")] {
        let caller = caller_of(&place.orchestrator, &peer(None), Some(&header)).unwrap();
        assert_eq!((caller.name.as_str(), caller.source.as_str()), ("ci", "rest 127.0.0.1:5000"));
        assert_eq!(caller.scopes, [Scope::BanWrite]);
    }
    for header in [token.clone(), format!("Basic {token}"), "Bearer x".into(), String::new()] {
        let got = caller_of(&place.orchestrator, &peer(None), Some(&header));
        assert!(matches!(got, Err(Failure::Unauthenticated(_))), "{header}: {got:?}");
    }
    assert!(caller_of(&place.orchestrator, &peer(None), None).is_err());
}

#[tokio::test]
async fn wrong_ended_and_revoked_tokens_are_told_apart_by_nobody() {
    let place = Place::new("");
    let tokens = &place.orchestrator.access.tokens;
    let new = |name: &str, lifetime_ms| NewToken {
        name: name.into(),
        scopes: vec!["read".into()],
        lifetime_ms,
        created_by: "test".into(),
    };
    let (_, ended) = tokens.create(new("ended", 1), false, now_ms() - 10).await.unwrap();
    let (record, revoked) = tokens.create(new("revoked", 0), false, now_ms()).await.unwrap();
    tokens.revoke(&record.id, false, now_ms()).await.unwrap();
    let unknown = format!("sbt_{}_{}", "1".repeat(16), "2".repeat(64));
    let answers: Vec<Failure> = [ended, revoked, unknown, "nonsense".into()]
        .iter()
        .map(|token| {
            caller_of(&place.orchestrator, &peer(None), Some(&format!("Bearer {token}"))).unwrap_err()
        })
        .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn whoever_fails_too_often_is_limited_and_a_valid_token_is_not() {
    let place = Place::new("");
    let token = place.token("ci", &["read"]).await;
    let ask = |token: &str| caller_of(&place.orchestrator, &peer(None), Some(&format!("Bearer {token}")));
    for _ in 0..FAILURES_PER_MINUTE {
        assert!(matches!(ask("x"), Err(Failure::Unauthenticated(_))));
    }
    // One may have been given back meanwhile.
    let is_limited = (0..3).any(|_| matches!(ask("x"), Err(Failure::Exhausted(_))));
    assert!(is_limited);
    assert!(ask(&token).is_ok());
    assert!(place.orchestrator.access.counters.get(Counter::LoginsLimited) > 0);
}

#[tokio::test]
async fn a_certificate_is_good_until_it_ends_or_is_revoked() {
    let place = Place::new("");
    let id = Uuid::new_v4();
    let node = certificate(Holder::Node(id), u64::MAX);
    let caller = caller_of(&place.orchestrator, &peer(Some(node.clone())), None).unwrap();
    assert_eq!(node_of(&caller), Some(id.to_string().as_str()));
    assert!(caller.require(Scope::Read).is_err(), "a node reads nothing of the API");
    let ended = certificate(Holder::Node(id), now_ms());
    assert!(caller_of(&place.orchestrator, &peer(Some(ended)), None).is_err());
    place.orchestrator.access.revoked.add(&What::Node(id), "stolen", 1).await.unwrap();
    assert!(caller_of(&place.orchestrator, &peer(Some(node)), None).is_err());
}

#[tokio::test]
async fn a_token_counts_before_a_certificate() {
    let place = Place::new("");
    let token = place.token("reader", &["read"]).await;
    let alice = Holder::Operator { name: "alice".into(), scopes: vec![Scope::Admin] };
    let alice = peer(Some(certificate(alice, u64::MAX)));
    assert_eq!(caller_of(&place.orchestrator, &alice, None).unwrap().name, "alice");
    let caller = caller_of(&place.orchestrator, &alice, Some(&format!("Bearer {token}"))).unwrap();
    assert_eq!((caller.name.as_str(), caller.has(Scope::Admin)), ("reader", false));
    assert_eq!(node_of(&caller), None);
}

#[tokio::test]
async fn this_machine_is_let_in_only_where_it_is_open() {
    let place = Place::new("");
    let mut here = peer(None);
    assert!(caller_of(&place.orchestrator, &here, None).is_err());
    here.is_open_loopback = true;
    assert_eq!(caller_of(&place.orchestrator, &here, None).unwrap().name, "loopback");
    assert!(caller_of(&place.orchestrator, &here, Some("Bearer wrong")).is_err());
    here.address = "192.0.2.1:5".parse().unwrap();
    assert!(caller_of(&place.orchestrator, &here, None).is_err());
}
