use super::*;

#[tokio::test]
async fn a_node_is_revoked_with_every_certificate_and_a_certificate_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    let revoked = Revoked::open(store.clone()).unwrap();
    let id = Uuid::new_v4();
    let identity = |holder, serial: &str| Identity { holder, serial: serial.into(), not_after_ms: 0 };
    let node = identity(Holder::Node(id), "4a");
    let alice = identity(Holder::Operator { name: "alice".into(), scopes: Vec::new() }, "4b");
    assert!(!revoked.has(&node) && !revoked.has(&alice));
    let first = revoked.add(&What::parse(&id.to_string()).unwrap(), "stolen", 5).await.unwrap();
    assert_eq!(revoked.add(&What::Node(id), "again", 6).await.unwrap(), first);
    revoked.add(&What::parse("4B").unwrap(), "left", 7).await.unwrap();
    assert!(revoked.has(&node) && revoked.has(&alice));
    assert!(revoked.has(&identity(Holder::Node(id), "77")));
    let reopened = Revoked::open(store).unwrap();
    assert!(reopened.has(&node) && reopened.has(&alice), "the list is kept");
    revoked.remove(&What::Node(id)).await.unwrap();
    assert!(!revoked.has(&node) && revoked.has(&alice));
    assert!(matches!(revoked.remove(&What::Node(id)).await, Err(Failure::NotFound(_))));
}

#[test]
fn what_is_revoked_is_a_node_or_a_number() {
    for bad in ["", "zz", &"a".repeat(41), "4a 4b"] {
        assert!(matches!(What::parse(bad), Err(Failure::Invalid(_))), "{bad}");
    }
}
