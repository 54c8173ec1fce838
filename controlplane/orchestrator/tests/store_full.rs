//! The store on a full disk: writing fails with a clear error, what was there stays and can be read, and
//! writing goes on once there is room.
//!
//! The disk is a small tmpfs in a mount namespace, for which the test runs itself again under `unshare -m`; that
//! needs root, and without it the test says that it was not run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use secbeat_orchestrator::store::{Error, Store, Table, check};
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Set for the run inside the namespace: the folder where the small disk is mounted.
const INSIDE: &str = "STORE_FULL_FOLDER";
const PATIENCE: Duration = Duration::from_secs(30);
const VALUE_BYTES: usize = 4000;
/// What a kind of disk does: mounts it and runs the rest of the command line.
const SCRIPT: &str = "mount --make-rprivate / && mount -t tmpfs -o size=16m none \"$0\" && exec \"$@\"";

#[test]
fn a_full_disk_is_an_error_and_not_the_end_of_the_store() {
    if let Some(folder) = env::var_os(INSIDE) {
        let folder = Path::new(&folder);
        // The disk is full at different moments of the store's growth.
        [5 << 20, 8 << 20, 10 << 20].into_iter().for_each(|bytes| fill_and_make_room(folder, bytes));
        fill_and_remove_records(folder);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let inside = |command: &Path, args: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["-m", "sh", "-c", SCRIPT]).arg(folder.path()).arg(command).args(args);
        unshare.env(INSIDE, folder.path());
        unshare
    };
    if !inside(Path::new("true"), &[]).output().is_ok_and(|output| output.status.success()) {
        println!("not run: mounting a small disk in a namespace needs root and unshare");
        return;
    }
    let name = "a_full_disk_is_an_error_and_not_the_end_of_the_store";
    let status = inside(&env::current_exe().unwrap(), &["--exact", name, "--nocapture"]).status().unwrap();
    assert!(status.success(), "inside the namespace: {status}");
}

fn write(store: &Store, n: u32) -> Result<(), Error> {
    store.write(move |w| {
        w.put(Table::Events, &n.to_be_bytes(), &vec![n as u8; VALUE_BYTES])?;
        w.put(Table::Settings, b"last", &n.to_be_bytes())
    })
}

/// Every acknowledged record is there, and none more.
fn look(store: &Store, count: u32) {
    let read = store.read(|r| {
        for n in 0..count {
            assert_eq!(
                r.get(Table::Events, &n.to_be_bytes())?,
                Some(vec![n as u8; VALUE_BYTES]),
                "record {n}"
            );
        }
        assert_eq!(r.get(Table::Settings, b"last")?, count.checked_sub(1).map(|n| n.to_be_bytes().to_vec()));
        assert_eq!(r.len(Table::Events)?, u64::from(count));
        Ok::<_, Error>(())
    });
    read.unwrap();
}

/// Writes until the disk is full; gives the number of records.
fn fill(store: &Store) -> u32 {
    for n in 0.. {
        if let Err(error) = write(store, n) {
            assert!(matches!(error, Error::Full { .. }), "{error:?}");
            assert!(error.to_string().contains("free space"), "{error}");
            return n;
        }
    }
    unreachable!("the disk is small")
}

/// Something else takes room on the disk, and gives it back.
fn fill_and_make_room(folder: &Path, ballast_bytes: usize) {
    let (dir, ballast, rest) = (folder.join("store"), folder.join("ballast"), folder.join("rest"));
    let (store, _) = Store::open(&dir).unwrap();
    fs::write(&ballast, vec![1; ballast_bytes]).unwrap();
    let mut count = fill(&store);
    // What is left of the disk goes too: not even a block can be had.
    let _ = fs::write(&rest, vec![1; 8 << 20]);
    for _ in 0..3 {
        let error = write(&store, count).unwrap_err();
        assert!(matches!(error, Error::Full { .. }), "{error:?}");
        look(&store, count);
        // Longer than the pause in which the store does not try.
        thread::sleep(Duration::from_millis(1100));
    }
    let when_full = store.stats();
    fs::remove_file(&rest).unwrap();
    fs::remove_file(&ballast).unwrap();
    eventually(|| write(&store, count));
    count += 1;
    look(&store, count);
    let stats = store.stats();
    assert!(!stats.is_read_only && stats.failed >= 4 && stats.reopened > 0, "{stats:?}");
    drop(store);
    let (store, opened) = Store::open(&dir).unwrap();
    assert!(!opened.repaired, "it was closed");
    look(&store, count);
    println!("{ballast_bytes} bytes of ballast: {count} records; when full: {when_full:?}");
    drop(store);
    fs::remove_dir_all(&dir).unwrap();
}

/// The store fills the disk itself and makes room by removing records; nobody else gives any.
fn fill_and_remove_records(folder: &Path) {
    let dir = folder.join("store");
    let (store, _) = Store::open(&dir).unwrap();
    let count = fill(&store);
    drop(store);
    assert!(check(&dir).unwrap().is_sound());
    let (store, _) = Store::open(&dir).unwrap();
    look(&store, count);
    let mut left = count;
    while left > 64 {
        left -= eventually(|| store.write(|w| w.range_remove(Table::Events, .., 64))) as u32;
        if write(&store, count).is_ok() {
            break;
        }
    }
    assert!(!store.stats().is_tight, "{:?}", store.stats());
    assert_eq!(store.read(|r| r.len(Table::Events)).unwrap(), u64::from(left) + 1);
    println!("{count} records, {} removed until writing went on", count - left);
    // And so again and again.
    for _ in 0..3 {
        let end = (count + 1..).find(|n| write(&store, *n).is_err()).unwrap();
        let left = store.read(|r| r.len(Table::Events)).unwrap();
        let is_writable = |_: &u32| {
            eventually(|| store.write(|w| w.range_remove(Table::Events, .., 64)));
            write(&store, end).is_ok()
        };
        let rounds = (0..left as u32 / 64).find(is_writable);
        println!("full with {left} records, {rounds:?} times 64 removed");
        assert!(rounds.is_some());
    }
}

/// Repeats what a full disk may refuse.
fn eventually<T>(f: impl Fn() -> Result<T, Error>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match f() {
            Ok(result) => return result,
            Err(Error::Full { .. }) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
            Err(error) => panic!("{error:?}"),
        }
    }
}
