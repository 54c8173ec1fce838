//! Power cuts: a disk that may have lost whatever was not synced, in any part and any order.
//!
//! A kill leaves what was written to the system's cache; a power cut does not. Here the database writes to
//! memory, the cut comes at a random call, and of the writes since the last sync each sector is kept or not.

use super::*;
use crate::store::commit::commit;
use redb::StorageBackend;
use std::io;
use std::sync::{Mutex, PoisonError};

const SECTOR_BYTES: usize = 512;
const ROUNDS: u64 = 150;

#[derive(Debug, Default)]
struct Platter {
    synced: Vec<u8>,
    now: Vec<u8>,
    /// What happened since the last sync: an offset with bytes, or a length without.
    since: Vec<(usize, Option<Vec<u8>>)>,
    /// Calls until the power goes.
    calls_left: u64,
}

#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    fn powered<T>(&self, f: impl FnOnce(&mut Platter) -> T) -> io::Result<T> {
        let mut platter = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        platter.calls_left = platter.calls_left.saturating_sub(1);
        if platter.calls_left == 0 {
            return Err(io::Error::other("no power"));
        }
        Ok(f(&mut platter))
    }

    /// What is left after the cut, as a new disk that has power for `calls`.
    fn after_cut(&self, numbers: &mut Numbers, calls: u64) -> Self {
        let mut platter = self.0.lock().unwrap();
        let mut left = std::mem::take(&mut platter.synced);
        for (at, data) in std::mem::take(&mut platter.since) {
            match data {
                None if numbers.below(2) == 0 => left.resize(at, 0),
                None => {}
                Some(data) => {
                    for (n, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                        let at = at + n * SECTOR_BYTES;
                        if numbers.below(2) == 0 && at + sector.len() <= left.len() {
                            left[at..at + sector.len()].copy_from_slice(sector);
                        }
                    }
                }
            }
        }
        Self(Arc::new(Mutex::new(Platter {
            synced: left.clone(),
            now: left,
            since: vec![],
            calls_left: calls,
        })))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.powered(|platter| platter.now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.powered(|platter| out.copy_from_slice(&platter.now[offset as usize..][..out.len()]))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.powered(|platter| {
            platter.now.resize(len as usize, 0);
            platter.since.push((len as usize, None));
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.powered(|platter| {
            platter.synced = platter.now.clone();
            platter.since.clear();
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.powered(|platter| {
            platter.now[offset as usize..][..data.len()].copy_from_slice(data);
            platter.since.push((offset as usize, Some(data.to_vec())));
        })
    }
}

fn open(disk: &Disk) -> Result<Database, redb::Error> {
    Ok(disk::builder().set_check_integrity_on_open(true).create_with_backend(disk.clone())?)
}

/// Writes transactions of two records until the power goes; gives the number that was acknowledged.
fn write_until_cut(db: &Database, shared: &Shared, start: u64) -> u64 {
    let mut acknowledged = start;
    loop {
        let n = acknowledged;
        let both = move |w: &mut Writer<'_>| {
            w.put(Table::Events, &n.to_be_bytes(), &[n as u8; 300])?;
            w.put(Table::Settings, b"last", &n.to_be_bytes())?;
            // Space comes back too, so that pages are used again.
            w.range_remove(Table::Events, ..&n.saturating_sub(40).to_be_bytes()[..], 10).map(drop)
        };
        let mut replies = Vec::new();
        let run = transaction(both, |_: Result<()>| {});
        if commit(db, shared, run, || None, &mut replies).is_err() {
            return acknowledged;
        }
        acknowledged += 1;
    }
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged_and_leaves_no_half_of_a_transaction() {
    let folder = Folder::new(Path::new("memory"));
    let handle = RwLock::new(Handle::Closed(closed()));
    let shared = Shared { folder, handle, counters: Counters::default() };
    let mut numbers = Numbers(0xB1AC_0017);
    let mut disk = Disk::default();
    disk.0.lock().unwrap().calls_left = u64::MAX;
    let db = open(&disk).unwrap();
    schema::create(&db, Facts { schema: 1, id: Uuid::from_u128(1) }).unwrap();
    drop(db);
    let (mut acknowledged, mut cuts_while_opening) = (0, 0);
    for round in 0..ROUNDS {
        disk.0.lock().unwrap().calls_left = 20 + numbers.below(1500);
        match open(&disk) {
            Ok(db) => acknowledged = write_until_cut(&db, &shared, acknowledged),
            Err(_) => cuts_while_opening += 1,
        }
        disk = disk.after_cut(&mut numbers, u64::MAX);
        let db = open(&disk).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let reader = Reader::new(db.begin_read().unwrap(), &shared.counters, Path::new("memory"));
        let last = reader.get(Table::Settings, b"last").unwrap();
        let count = last.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()) + 1);
        assert!(count == acknowledged || count == acknowledged + 1, "round {round}: {count}, {acknowledged}");
        for n in count.saturating_sub(40)..count {
            let value = reader.get(Table::Events, &n.to_be_bytes()).unwrap();
            assert_eq!(value.as_deref(), Some(&[n as u8; 300][..]), "round {round}, record {n}");
        }
        assert_eq!(reader.get(Table::Events, &count.to_be_bytes()).unwrap(), None, "round {round}");
        acknowledged = count;
    }
    println!("{ROUNDS} cuts, {cuts_while_opening} while opening, {acknowledged} transactions");
    assert!(acknowledged > ROUNDS, "{acknowledged} transactions in {ROUNDS} rounds");
}
