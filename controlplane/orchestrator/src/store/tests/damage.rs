//! A damaged file or value is an error that says so: never a panic, never a wrong answer.

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Records of the store that is damaged, in transactions of 20.
const RECORDS: u32 = 2000;

fn value_of(n: u32) -> Vec<u8> {
    n.to_be_bytes().repeat(30)
}

/// Puts a record past the checksum.
fn put_raw(store: &Store, table: Table, key: &[u8], framed: &[u8]) {
    let handle = store.inner.shared.handle();
    let Handle::Open(db) = &*handle else { panic!("not open") };
    let transaction = schema::begin(db).unwrap();
    transaction.open_table(table.definition()).unwrap().insert(key, framed).unwrap();
    transaction.commit().unwrap();
}

#[test]
fn a_damaged_value_is_named_and_counted_and_its_neighbours_stay_readable() {
    let (folder, store) = store();
    for key in [b"a", b"b", b"c"] {
        put(&store, Table::Bans, key, b"value");
    }
    let mut framed = frame::seal(Table::Bans, b"b", b"value");
    framed[12] ^= 1;
    put_raw(&store, Table::Bans, b"b", &framed);
    let error = store.read(|r| r.get(Table::Bans, b"b")).unwrap_err();
    assert!(error.to_string().contains("table bans, key `b`"), "{error}");
    let (good, bad): (Vec<_>, Vec<_>) = store
        .read(|r| Ok::<_, Error>(r.range(Table::Bans, .., 9, Order::Up)?.collect::<Vec<_>>()))
        .unwrap()
        .into_iter()
        .partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (2, 1));
    assert!(store.write(|w| w.get(Table::Bans, b"b")).is_err());
    assert_eq!(store.stats().corrupt_values, 3);

    let path = folder.path().join("backup");
    let report = store.backup(&path).unwrap();
    assert_eq!((report.records, report.damaged), (2, 1));
    assert!(report.damaged_named[0].contains("key `b`"));
    drop(store);
    let dir = folder.path().join("store");
    let report = check(&dir).unwrap();
    assert!(!report.is_sound());
    assert_eq!(report.damaged, 1);
    let (store, _) = Store::open(&dir).unwrap();
    put(&store, Table::Bans, b"b", b"again");
    assert_eq!(get(&store, Table::Bans, b"b").unwrap(), b"again");
}

#[test]
fn looking_at_a_store_does_not_change_it() {
    let (folder, store) = store();
    put(&store, Table::Bans, b"a", b"value");
    let dir = folder.path().join("store");
    // A copy of a store that is open is one that was never closed.
    let left_open = folder.path().join("left_open");
    fs::create_dir(&left_open).unwrap();
    fs::copy(dir.join("store.redb"), left_open.join("store.redb")).unwrap();
    fs::write(left_open.join("lock"), b"4000000").unwrap();
    let before = fs::read(left_open.join("store.redb")).unwrap();
    assert!(check(&left_open).unwrap().is_sound());
    assert!(fs::read(left_open.join("store.redb")).unwrap() == before);
    let (store, opened) = Store::open(&left_open).unwrap();
    assert!(opened.repaired, "looking does not close it either");
    assert!(get(&store, Table::Bans, b"a").is_some());
}

#[test]
fn a_store_that_cannot_be_opened_for_writing_again_is_read_until_it_can() {
    let (folder, store) = store();
    put(&store, Table::Bans, b"a", b"value");
    let shared = &store.inner.shared;
    let why = Error::Io { what: "writing".to_owned(), cause: "made up".to_owned() };
    // The database is closed, and something keeps it from being opened.
    *shared.handle.write().unwrap() = Handle::Closed(why.clone());
    assert!(store.read(|r| r.get(Table::Bans, b"a")).is_err());
    let keeper = disk::builder().open(folder.path().join("store/store.redb")).unwrap();
    shared.reopen(&why);
    assert!(store.stats().is_read_only);
    assert_eq!(get(&store, Table::Bans, b"a").unwrap(), b"value");
    let refused = store.write(|w| w.put(Table::Bans, b"b", b"")).unwrap_err();
    assert!(refused.to_string().contains("made up"), "{refused}");
    drop(keeper);
    let deadline = std::time::Instant::now() + PATIENCE;
    while store.write(|w| w.put(Table::Bans, b"b", b"")).is_err() {
        assert!(std::time::Instant::now() < deadline, "{:?}", store.stats());
        thread::sleep(Duration::from_millis(20));
    }
    assert!(!store.stats().is_read_only);
    assert_eq!(store.read(|r| r.len(Table::Bans)).unwrap(), 2);
}

/// Opens the damaged store and reads all of it. Wrong: another value, or a record that is not there.
fn outcome(dir: &Path) -> &'static str {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let (store, _) = match Store::open(dir) {
            Ok(opened) => opened,
            Err(Error::Corrupt { .. } | Error::Io { .. }) => return "refused",
            Err(error) => panic!("{error}"),
        };
        for n in 0..RECORDS {
            match store.read(|r| r.get(Table::Events, &n.to_be_bytes())) {
                Ok(value) if value == Some(value_of(n)) => {}
                Ok(_) => return "wrong",
                Err(_) => return "named",
            }
        }
        "all right"
    }));
    opened.unwrap_or("panic")
}

#[test]
fn a_store_with_bytes_changed_or_cut_anywhere_is_refused_or_right() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    let (store, _) = Store::open(&dir).unwrap();
    for part in 0..RECORDS / 20 {
        let fill = move |w: &mut Writer<'_>| {
            (part * 20..part * 20 + 20).try_for_each(|n| w.put(Table::Events, &n.to_be_bytes(), &value_of(n)))
        };
        store.write(fill).unwrap();
    }
    // Both what a kill leaves and what a clean end leaves.
    let killed = fs::read(dir.join("store.redb")).unwrap();
    drop(store);
    let closed = fs::read(dir.join("store.redb")).unwrap();
    let mut numbers = Numbers(0x5EC_BEA7);
    let mut counts = std::collections::BTreeMap::new();
    for round in 0..240 {
        let mut bytes = if round % 2 == 0 { killed.clone() } else { closed.clone() };
        let at = numbers.below(bytes.len() as u64) as usize;
        // Some rounds in the head of the file, where a single bit decides.
        let at = if round % 6 < 2 { at % 320 } else { at };
        match round % 5 {
            0 => bytes.truncate(at),
            1 => bytes[at..].iter_mut().take(4096).for_each(|byte| *byte = 0),
            2 => bytes[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0xA5),
            _ => bytes[at] ^= 1 << (round % 8),
        }
        fs::write(dir.join("store.redb"), &bytes).unwrap();
        let outcome = outcome(&dir);
        *counts.entry(outcome).or_insert(0) += 1;
        assert!(!matches!(outcome, "wrong" | "panic"), "round {round}, byte {at}: {outcome} {counts:?}");
    }
    println!("{counts:?}");
    assert!(counts["refused"] > 50, "{counts:?}");
}
