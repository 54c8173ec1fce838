use super::*;

fn store(folder: &tempfile::TempDir) -> Store {
    Store::open(&folder.path().join("store")).unwrap().0
}

fn entry(action: &str, at_ms: u64) -> v1::AuditEntry {
    v1::AuditEntry { action: action.into(), actor: "operator".into(), at_ms, ..Default::default() }
}

#[tokio::test]
async fn entries_form_a_chain_that_is_intact_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let audit = Audit::open(store(&folder)).unwrap();
        for number in 0..10 {
            audit.append(entry("ban.add", number)).await.unwrap();
        }
    }
    let audit = Audit::open(store(&folder)).unwrap();
    assert_eq!(audit.append(entry("ban.remove", 10)).await.unwrap(), 11);
    let verified = audit.verify().unwrap();
    assert_eq!((verified.entries, verified.broken_at), (11, None));
    let (page, next) = audit.page(0, 3, |entry| entry.action == "ban.add").unwrap();
    assert_eq!(page.iter().map(|entry| entry.number).collect::<Vec<_>>(), [10, 9, 8]);
    let (page, end) = audit.page(next, 100, |_| true).unwrap();
    assert_eq!((page.len(), end), (7, 0));
}

#[tokio::test]
async fn changed_or_missing_entry_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let audit = Audit::open(store.clone()).unwrap();
    for number in 0..5 {
        audit.append(entry("policy.apply", number)).await.unwrap();
    }
    let bytes = store.read(|reader| reader.get(TABLE, &entry_key(3))).unwrap().unwrap();
    let mut forged = decode(&bytes).unwrap();
    forged.actor = "somebody else".into();
    let value = forged.encode_to_vec();
    store.write(move |transaction| transaction.put(TABLE, &entry_key(3), &value)).unwrap();
    assert_eq!(audit.verify().unwrap().broken_at, Some(3));
    store.write(|transaction| transaction.remove(TABLE, &entry_key(3))).unwrap();
    assert_eq!(audit.verify().unwrap().broken_at, Some(3));
}

#[tokio::test]
async fn old_entries_go_and_the_rest_still_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let audit = Audit::open(store(&folder)).unwrap();
    for number in 0..200 {
        audit.append(entry("ban.add", number)).await.unwrap();
    }
    assert_eq!(audit.remove_old(150).unwrap(), 150);
    let verified = audit.verify().unwrap();
    assert_eq!((verified.entries, verified.broken_at), (50, None));
    drop(audit);
    let audit = Audit::open(store(&folder)).unwrap();
    assert_eq!(audit.remove_old(u64::MAX).unwrap(), 50);
    assert_eq!(audit.append(entry("ban.add", 1)).await.unwrap(), 201, "numbers are never used again");
    assert_eq!(audit.verify().unwrap().broken_at, None);
}

#[tokio::test]
async fn long_states_are_cut_and_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let audit = Audit::open(store(&folder)).unwrap();
    let long = v1::AuditEntry { before: "ä".repeat(10_000), ..Default::default() };
    audit.append(long).await.unwrap();
    let (page, _) = audit.page(0, 1, |_| true).unwrap();
    assert!(page[0].before.len() <= STATE_BYTES_MAX && page[0].before.ends_with("(cut)"));
}
