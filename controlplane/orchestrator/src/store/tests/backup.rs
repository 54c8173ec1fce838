//! Backups: consistent while the store is written, refused when they are not whole, never over a store.

use super::*;
use std::sync::atomic::AtomicBool;

fn small(folder: &TempDir) -> (Store, std::path::PathBuf) {
    let (store, _) = Store::open(&folder.path().join("store")).unwrap();
    for n in 0..50u8 {
        put(&store, Table::ALL[usize::from(n) % Table::ALL.len()], &[n], &[n; 20]);
    }
    let path = folder.path().join("backup");
    (store, path)
}

#[test]
fn a_backup_brings_back_every_record_and_the_identity() {
    let folder = tempfile::tempdir().unwrap();
    let (store, path) = small(&folder);
    let report = store.backup(&path).unwrap();
    assert_eq!((report.records, report.damaged, report.id), (50, 0, store.id()));
    assert_eq!(report.bytes, fs::metadata(&path).unwrap().len());
    assert_eq!(verify_backup(&path).unwrap(), report);
    let dir = folder.path().join("restored");
    assert_eq!(restore(&path, &dir, false).unwrap(), report);
    let checked = check(&dir).unwrap();
    assert!(checked.is_sound());
    assert_eq!(checked.records.iter().map(|(_, count)| count).sum::<u64>(), 50);
    let (restored, opened) = Store::open(&dir).unwrap();
    assert_eq!((restored.id(), opened.repaired), (store.id(), false));
    for n in 0..50u8 {
        let table = Table::ALL[usize::from(n) % Table::ALL.len()];
        assert_eq!(get(&restored, table, &[n]).unwrap(), [n; 20]);
    }
}

#[test]
fn a_backup_of_a_store_being_written_holds_whole_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&folder.path().join("store")).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let (writing, writer_is_over) = (store.clone(), Arc::clone(&is_over));
    let writer = thread::spawn(move || {
        let mut n = 0u64;
        while !writer_is_over.load(Ordering::Relaxed) {
            n += 1;
            let both = move |w: &mut Writer<'_>| {
                w.put(Table::Policy, b"one", &n.to_be_bytes())?;
                w.put(Table::Settings, b"two", &n.to_be_bytes())
            };
            writing.write(both).unwrap();
        }
    });
    let deadline = std::time::Instant::now() + PATIENCE;
    while store.stats().commits < 3 && std::time::Instant::now() < deadline {
        thread::yield_now();
    }
    for n in 0..10 {
        let (path, dir) = (folder.path().join(format!("b{n}")), folder.path().join(format!("r{n}")));
        store.backup(&path).unwrap();
        restore(&path, &dir, false).unwrap();
        let (restored, _) = Store::open(&dir).unwrap();
        let one = get(&restored, Table::Policy, b"one").unwrap();
        assert_eq!(Some(one), get(&restored, Table::Settings, b"two"));
    }
    is_over.store(true, Ordering::Relaxed);
    writer.join().unwrap();
}

#[test]
fn a_backup_with_any_byte_changed_or_cut_anywhere_is_refused_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (store, path) = small(&folder);
    store.backup(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let (bad, dir) = (folder.path().join("bad"), folder.path().join("restored"));
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&bad, &changed).unwrap();
        let error = restore(&bad, &dir, true).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. } | Error::Schema { .. }), "byte {at}: {error}");
    }
    for length in 0..whole.len() {
        fs::write(&bad, &whole[..length]).unwrap();
        let error = restore(&bad, &dir, true).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "cut to {length}: {error}");
    }
    fs::write(&bad, [&whole[..], b"x"].concat()).unwrap();
    restore(&bad, &dir, true).unwrap_err();
    assert!(!dir.exists());
}

#[test]
fn a_backup_of_a_newer_release_is_refused_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (store, path) = small(&folder);
    store.backup(&path).unwrap();
    let mut newer = fs::read(&path).unwrap();
    newer[8..12].copy_from_slice(&(schema::SCHEMA + 1).to_le_bytes());
    fs::write(&path, newer).unwrap();
    let error = restore(&path, &folder.path().join("restored"), false).unwrap_err();
    assert!(error.to_string().contains(&format!("schema {}", schema::SCHEMA + 1)), "{error}");
}

#[test]
fn a_store_is_replaced_only_by_force_and_then_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (store, path) = small(&folder);
    store.backup(&path).unwrap();
    let dir = folder.path().join("store");
    let error = restore(&path, &dir, true).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "it is in use: {error}");
    put(&store, Table::Bans, b"later", b"");
    drop(store);
    let error = restore(&path, &dir, false).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    for _ in 0..2 {
        restore(&path, &dir, true).unwrap();
        let (store, _) = Store::open(&dir).unwrap();
        assert_eq!(get(&store, Table::Bans, b"later"), None);
    }
    fs::remove_file(dir.join("store.redb")).unwrap();
    restore(&path, &dir, false).unwrap();
    assert!(dir.join("store.redb.replaced").exists());
}

#[test]
fn a_backup_does_not_replace_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (store, path) = small(&folder);
    fs::write(&path, b"mine").unwrap();
    let error = store.backup(&path).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    let nowhere = folder.path().join("no/such/folder");
    assert!(matches!(store.backup(&nowhere), Err(Error::Io { .. })));
}
