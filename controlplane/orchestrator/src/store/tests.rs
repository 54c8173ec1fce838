//! What the store promises to its callers. Files: `backup` (to one file and back), `damage` (of the file and
//! of values), `power` (power cuts). Kills are in `tests/store_kill.rs`, full disks in `tests/store_full.rs`.

mod backup;
mod damage;
mod model;
mod power;

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::channel;
use std::time::Duration;
use tempfile::TempDir;

/// A generous bound for things that happen at once on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Numbers that look random and are the same in every run.
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn put(store: &Store, table: Table, key: &[u8], value: &[u8]) {
    let (key, value) = (key.to_vec(), value.to_vec());
    store.write(move |w| w.put(table, &key, &value)).unwrap();
}

fn get(store: &Store, table: Table, key: &[u8]) -> Option<Vec<u8>> {
    store.read(|r| r.get(table, key)).unwrap()
}

/// Keeps the writer busy until the sender is dropped or used; returns when it is.
fn hold_writer(store: &Store) -> (std::sync::mpsc::Sender<()>, JoinHandle<Result<()>>) {
    let (release, wait) = channel::<()>();
    let (started, is_started) = channel();
    let store = store.clone();
    let holder = thread::spawn(move || {
        store.write(move |_| {
            started.send(()).unwrap();
            // Either end of the waiting is the wanted one.
            let _ = wait.recv();
            Ok(())
        })
    });
    is_started.recv_timeout(PATIENCE).unwrap();
    (release, holder)
}

#[test]
fn what_was_written_is_there_after_opening_again_under_the_same_identity() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("a/b");
    let (store, opened) = Store::open(&dir).unwrap();
    assert_eq!(opened, Opened { schema: schema::SCHEMA, migrated_from: None, repaired: false });
    let id = store.id();
    let written = store.write(|w| {
        for table in Table::ALL {
            w.put(*table, b"key", table.name().as_bytes())?;
        }
        Ok::<_, Error>("result")
    });
    assert_eq!(written.unwrap(), "result");
    drop(store);
    let (store, opened) = Store::open(&dir).unwrap();
    assert!(!opened.repaired, "it was closed");
    assert_eq!(store.id(), id);
    for table in Table::ALL {
        assert_eq!(get(&store, *table, b"key").unwrap(), table.name().as_bytes());
        assert_eq!(store.read(|r| r.len(*table)).unwrap(), 1);
    }
    assert_eq!(get(&store, Table::Bans, b"other"), None);
    assert!(store.size_bytes().unwrap() > 0);
}

#[test]
fn folder_and_files_are_their_owners_only() {
    let (folder, store) = store();
    let dir = folder.path().join("store");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("store.redb")), 0o600);
    assert_eq!(mode(&dir.join("lock")), 0o600);
    store.backup(&folder.path().join("backup")).unwrap();
    assert_eq!(mode(&folder.path().join("backup")), 0o600);
}

#[test]
fn a_store_in_use_is_refused_with_the_number_of_its_process() {
    let (folder, store) = store();
    let dir = folder.path().join("store");
    let pid = std::process::id();
    for refused in [Store::open(&dir).map(drop), check(&dir).map(drop)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::Locked { pid: Some(owner), .. } if owner == pid), "{error}");
        assert!(error.to_string().contains(&format!("in use by process {pid}")), "{error}");
    }
    drop(store);
    Store::open(&dir).unwrap();
}

#[test]
fn data_of_a_newer_release_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let newer = Folder::new(folder.path());
    newer.create_database(Facts { schema: schema::SCHEMA + 1, id: Uuid::new_v4() }).unwrap();
    for refused in [Store::open(folder.path()).map(drop), check(folder.path()).map(drop)] {
        let error = refused.unwrap_err();
        let Error::Schema { found, known } = error else { panic!("{error}") };
        assert_eq!((found, known), (schema::SCHEMA + 1, schema::SCHEMA));
    }
    assert_eq!(
        schema::facts(&newer.open_database().unwrap(), folder.path()).unwrap().schema,
        schema::SCHEMA + 1
    );
}

#[test]
fn a_store_that_was_only_half_made_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("store.redb.new"), b"half").unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    put(&store, Table::Nodes, b"a", b"1");
    assert!(!folder.path().join("store.redb.new").exists());
}

#[test]
fn transactions_that_wait_share_one_commit_and_a_failing_one_takes_back_only_itself() {
    let (_folder, store) = store();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (release, holder) = hold_writer(&store);
    let waiting: Vec<_> = (0..100u8)
        .map(|n| {
            store.write_async(move |w| {
                assert_eq!(
                    w.get(Table::Bans, b"counter")?.unwrap_or_default().len(),
                    usize::from(n.div_ceil(2))
                );
                w.put(Table::Bans, &[n], b"x")?;
                w.put(Table::Bans, b"counter", &vec![0; usize::from(n.div_ceil(2)) + 1])?;
                if n % 2 == 0 { Ok(n) } else { Err(Error::Stopped { why: "for the test" }) }
            })
        })
        .collect();
    assert_eq!(store.stats().queue_depth, 100);
    release.send(()).unwrap();
    for (n, result) in waiting.into_iter().enumerate() {
        match runtime.block_on(result) {
            Ok(number) => assert_eq!((usize::from(number), n % 2), (n, 0)),
            Err(error) => assert!(n % 2 == 1 && error.to_string().contains("for the test"), "{n}: {error}"),
        }
    }
    holder.join().unwrap().unwrap();
    for n in 0..100 {
        assert_eq!(get(&store, Table::Bans, &[n]).is_some(), n % 2 == 0, "{n}");
    }
    assert_eq!(get(&store, Table::Bans, b"counter").unwrap().len(), 50);
    let stats = store.stats();
    assert_eq!((stats.commits, stats.batches, stats.queue_depth), (51, 1, 0));
}

#[test]
fn a_full_queue_refuses_those_that_cannot_wait_and_counts_them() {
    let (_folder, store) = store();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (release, holder) = hold_writer(&store);
    let key = |n: usize| n.to_be_bytes();
    let results: Vec<_> =
        (0..QUEUE_MAX + 10).map(|n| store.write_async(move |w| w.put(Table::Events, &key(n), b""))).collect();
    drop(release);
    let mut busy = 0;
    for (n, result) in results.into_iter().enumerate() {
        match runtime.block_on(result) {
            Ok(()) => assert!(get(&store, Table::Events, &key(n)).is_some()),
            Err(Error::Busy { .. }) => busy += 1,
            Err(error) => panic!("{error}"),
        }
    }
    holder.join().unwrap().unwrap();
    assert_eq!((busy, store.stats().refused), (10, 10));
    assert_eq!(store.read(|r| r.len(Table::Events)).unwrap(), QUEUE_MAX as u64);
}

#[test]
fn a_transaction_that_panics_is_told_and_the_store_goes_on() {
    let (_folder, store) = store();
    let lost = store.write(|w| {
        w.put(Table::Nodes, b"lost", b"1")?;
        if w.get(Table::Nodes, b"lost")?.is_some() {
            panic!("for the test");
        }
        Ok::<(), Error>(())
    });
    assert!(matches!(lost, Err(Error::Stopped { .. })));
    put(&store, Table::Nodes, b"next", b"1");
    assert_eq!(get(&store, Table::Nodes, b"lost"), None);
}

#[test]
fn a_transaction_inside_a_transaction_is_refused_instead_of_waiting_for_ever() {
    let (_folder, store) = store();
    let inner = store.clone();
    let result = store.write(move |_| Ok::<_, Error>(inner.write(|w| w.put(Table::Bans, b"a", b""))));
    assert!(matches!(result.unwrap(), Err(Error::Stopped { .. })));
}

#[test]
fn the_last_hold_may_end_in_a_transaction_and_what_waits_is_written() {
    let (folder, store) = store();
    let (release, holder) = hold_writer(&store);
    let inner = store.clone();
    let waiting = store.write_async(move |w| {
        drop(inner);
        w.put(Table::Nodes, b"last", b"1")
    });
    drop(waiting);
    let dropped = thread::spawn(move || drop(store));
    release.send(()).unwrap();
    holder.join().unwrap().unwrap();
    dropped.join().unwrap();
    let dir = folder.path().join("store");
    let deadline = std::time::Instant::now() + PATIENCE;
    let store = loop {
        match Store::open(&dir) {
            Ok((store, _)) => break store,
            Err(Error::Locked { .. }) if std::time::Instant::now() < deadline => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    assert!(get(&store, Table::Nodes, b"last").is_some());
}

#[test]
fn a_view_does_not_change_while_others_write() {
    let (_folder, store) = store();
    put(&store, Table::Policy, b"a", b"old");
    let other = store.clone();
    store
        .read(|r| {
            put(&other, Table::Policy, b"a", b"new");
            assert_eq!(r.get(Table::Policy, b"a")?.unwrap(), b"old");
            Ok::<_, Error>(())
        })
        .unwrap();
    assert_eq!(get(&store, Table::Policy, b"a").unwrap(), b"new");
}

#[test]
fn what_is_too_large_is_refused_and_nothing_of_it_is_kept() {
    let (_folder, store) = store();
    let large = |w: &mut Writer<'_>, which: u8| match which {
        0 => w.put(Table::Bans, &[0; KEY_BYTES_MAX + 1], b""),
        1 => w.put(Table::Bans, b"key", &vec![0; VALUE_BYTES_MAX + 1]),
        _ => (0..5u8).try_for_each(|n| w.put(Table::Bans, &[n], &vec![0; VALUE_BYTES_MAX])),
    };
    for which in 0..3 {
        let result = store.write(move |w| {
            w.put(Table::Bans, b"before", b"")?;
            large(w, which)
        });
        assert!(matches!(result, Err(Error::TooLarge { .. })), "{which}: {result:?}");
    }
    assert!(store.read(|r| r.is_empty(Table::Bans)).unwrap());
    put(&store, Table::Bans, &[7; KEY_BYTES_MAX], &vec![7; VALUE_BYTES_MAX]);
}

#[test]
fn ranges_begin_at_either_end_and_prefixes_end_where_they_should() {
    let (_folder, store) = store();
    for key in [&b"a"[..], b"b/1", b"b/2", b"b/3", b"c", &[255, 255], &[255, 255, 1]] {
        put(&store, Table::Settings, key, key);
    }
    let keys = |range: Result<Range<'_>>| -> Result<Vec<Vec<u8>>> {
        range?.map(|record| record.map(|(key, _)| key)).collect()
    };
    store
        .read(|r| {
            let t = Table::Settings;
            assert_eq!(keys(r.prefix(t, b"b/", 9, Order::Up))?, [b"b/1", b"b/2", b"b/3"]);
            assert_eq!(keys(r.prefix(t, b"b/", 2, Order::Down))?, [b"b/3", b"b/2"]);
            assert_eq!(keys(r.prefix(t, &[255, 255], 9, Order::Up))?.len(), 2);
            assert_eq!(keys(r.range(t, .., 1, Order::Up))?, [b"a"]);
            assert_eq!(keys(r.range(t, &b"c"[..].., 1, Order::Down))?, [[255, 255, 1]]);
            assert_eq!(keys(r.range(t, &b"a"[..]..&b"b/2"[..], 9, Order::Up))?, [&b"a"[..], b"b/1"]);
            assert!(keys(r.range(t, &b"c"[..]..&b"a"[..], 9, Order::Up))?.is_empty(), "inverted");
            Ok::<_, Error>(())
        })
        .unwrap();
}

#[test]
fn space_of_removed_records_is_used_again() {
    let (_folder, store) = store();
    let mut sizes = Vec::new();
    for round in 0..20u64 {
        for part in 0..10u64 {
            let fill = move |w: &mut Writer<'_>| {
                (0..200u64).try_for_each(|n| {
                    let key = [round.to_be_bytes(), part.to_be_bytes(), n.to_be_bytes()].concat();
                    w.put(Table::Events, &key, &[round as u8; 1000])
                })
            };
            store.write(fill).unwrap();
        }
        while store.write(|w| w.range_remove(Table::Events, .., 500)).unwrap() > 0 {}
        sizes.push(store.size_bytes().unwrap());
    }
    assert!(store.read(|r| r.is_empty(Table::Events)).unwrap());
    let (early, late) = (sizes[..5].iter().max().unwrap(), sizes[15..].iter().max().unwrap());
    assert!(late <= early, "2 MB written and removed per round: {sizes:?}");
}
