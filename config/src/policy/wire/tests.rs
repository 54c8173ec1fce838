use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::policy::{Set, diff};

fn resource(key: &str, body: &str) -> Resource {
    Resource::parse(key.parse().unwrap(), body).unwrap()
}

fn any_key() -> impl Strategy<Value = Key> {
    (0..Kind::ALL.len(), "[a-zA-Z0-9._-]{1,63}")
        .prop_map(|(kind, name)| Key::new(Kind::ALL[kind], &name).unwrap())
}

fn any_update() -> impl Strategy<Value = Update> {
    let content = prop_oneof![
        "[ -~]{0,40}".prop_map(|text| Content::Whole(text.into())),
        (
            any::<[u8; 32]>(),
            prop::collection::vec(("[ -~]{0,9}", "[ -~]{0,9}"), 0..4),
            prop::collection::vec("[a-z]{0,9}", 0..4)
        )
            .prop_map(|(base, upserts, removals)| Content::Patch(RulePatch {
                base: Hash(base),
                upserts: upserts.into_iter().map(|(id, text)| (id, text.into())).collect(),
                removals,
            })),
    ];
    (any_key(), any::<u64>(), any::<[u8; 32]>(), content).prop_map(|(key, version, hash, content)| Update {
        key,
        version,
        hash: Hash(hash),
        content,
    })
}

proptest! {
    #[test]
    fn any_delta_is_the_same_after_the_wire(
        updates in prop::collection::vec(any_update(), 0..4),
        removals in prop::collection::vec(any_key(), 0..4),
        set_hash in any::<[u8; 32]>(),
    ) {
        let delta = Delta { updates, removals, set_hash: Hash(set_hash) };
        let bytes = delta_to_wire(&delta, 9, 8, 7).encode_to_vec();
        let message = v1::PolicyDelta::decode(bytes.as_slice()).unwrap();
        prop_assert_eq!((message.nonce, message.revision, message.epoch), (9, 8, 7));
        let (again, refused) = delta_from_wire(&message).unwrap();
        prop_assert_eq!((again, refused.len()), (delta, 0));
    }

    #[test]
    fn any_outcome_and_digest_is_the_same_after_the_wire(
        key in any_key(),
        version in any::<u64>(),
        hash in any::<[u8; 32]>(),
        state in 1..=5_i32,
        error in "[ -~]{0,40}",
    ) {
        let outcome = Outcome { key: key.clone(), version, hash: Hash(hash), state: state_from_wire(state), error };
        prop_assert_eq!(state_to_wire(outcome.state) as i32, state);
        prop_assert_eq!(outcome_from_wire(&outcome_to_wire(&outcome)), Ok(outcome));
        let digest = digest_from_wire(&digest_to_wire(&key, version, &Hash(hash)));
        prop_assert_eq!(digest, Ok((key, version, Hash(hash))));
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = v1::PolicyDelta::decode(bytes.as_slice()) {
            let _ = delta_from_wire(&message);
        }
        if let Ok(message) = v1::Resource::decode(bytes.as_slice()) {
            let _ = resource_from_wire(&message);
        }
    }
}

#[test]
fn every_kind_has_a_number_and_unknown_numbers_are_refused() {
    for kind in Kind::ALL {
        assert_eq!(kind_from_wire(kind_to_wire(kind) as i32), Ok(kind));
    }
    for unknown in [0, 7, -1, i32::MAX] {
        assert_eq!(kind_from_wire(unknown), Err(WireError::Kind(unknown)));
    }
}

#[test]
fn what_is_no_name_hash_or_text_is_refused_with_the_field() {
    let good = resource_to_wire(&resource("list/a", r#"{"action":"allow"}"#), 3);
    assert_eq!(resource_from_wire(&good).unwrap(), resource("list/a", r#"{"action":"allow"}"#));
    let error = |change: &dyn Fn(&mut v1::Resource)| {
        let mut bad = good.clone();
        change(&mut bad);
        resource_from_wire(&bad).unwrap_err().to_string()
    };
    assert_eq!(error(&|bad| bad.key = None), "the field `key` is missing");
    assert!(
        error(&|bad| bad.key = Some(v1::ResourceKey { kind: 6, name: "a b".into() }))
            .contains("is not a name")
    );
    assert_eq!(error(&|bad| bad.body = vec![0xff]), "`body` is not UTF-8");
    assert!(error(&|bad| bad.body = b"{}".to_vec()).contains("list/a: body: action: is required"));
    let large = vec![b' '; BODY_BYTES_MAX + 1];
    assert_eq!(error(&|bad| bad.body.clone_from(&large)), "`body`: 4194305 are more than 4194304");
    assert_eq!(
        hash_from_wire(&[0; 31], "hash").unwrap_err().to_string(),
        "`hash` has 31 bytes; a hash has 32"
    );
}

#[test]
fn large_body_travels_packed_and_a_packed_one_that_is_none_is_refused() {
    let list = resource("list/a", r#"{"action":"allow"}"#);
    let body: Arc<str> = "a rule like another, ".repeat(PACKED_FROM_BYTES / 20).into();
    let content = Content::Whole(Arc::clone(&body));
    let update = Update { key: list.key.clone(), version: 1, hash: list.hash, content };
    let mut message = update_to_wire(&update);
    assert!(message.encoded_len() * 8 < body.len());
    assert_eq!(update_from_wire(&message).unwrap(), update);
    let Some(resource_update::Content::Packed(packed)) = message.content.take() else { panic!("not packed") };
    let mut read = |bytes: Vec<u8>| {
        message.content = Some(resource_update::Content::Packed(bytes));
        update_from_wire(&message)
    };
    for end in 0..packed.len() {
        assert!(read(packed[..end].to_vec()).is_err(), "{end}");
    }
    let mut bomb = packed;
    bomb[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(read(bomb), Err(WireError::TooMany { field: "packed", .. })));
}

#[test]
fn update_of_a_newer_peer_is_refused_alone() {
    let list = resource("list/a", r#"{"action":"allow"}"#);
    let good =
        Update { key: list.key.clone(), version: 1, hash: list.hash, content: Content::Whole(list.body) };
    let delta = Delta { updates: vec![good.clone(), good], removals: vec![], set_hash: list.hash };
    let mut message = delta_to_wire(&delta, 1, 1, 1);
    message.upserts[0].key.as_mut().unwrap().kind = 99;
    message.removals.push(v1::ResourceKey { kind: 99, name: "x".into() });
    let (delta, refused) = delta_from_wire(&message).unwrap();
    assert_eq!((delta.updates.len(), delta.removals.len(), refused.len()), (1, 0, 1));
    assert_eq!(refused[0].state, v1::ResourceState::Rejected as i32);
    assert_eq!(refused[0].error, "kind 99 of a resource is not known: the sender may be newer");
    message.set_hash.clear();
    assert!(delta_from_wire(&message).is_err());
}

#[test]
fn unknown_state_counts_as_refusal() {
    assert_eq!([state_from_wire(0), state_from_wire(77)], [State::Rejected; 2]);
}

#[test]
fn changes_are_the_same_after_the_wire() {
    let (mut old, mut new) = (Set::new(), Set::new());
    old.insert(resource("list/a", r#"{"action":"allow"}"#)).unwrap();
    new.insert(resource("list/a", r#"{"action":"block","prefixes":["10.0.0.0/8"]}"#)).unwrap();
    new.insert(resource("limits/default", r#"{"slots":4096}"#)).unwrap();
    for change in diff(&old, &new).into_iter().chain(diff(&new, &old)) {
        assert_eq!(change_from_wire(&change_to_wire(&change, 5)), Ok((change, 5)));
    }
}
