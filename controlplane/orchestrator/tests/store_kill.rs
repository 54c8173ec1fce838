//! The store under kill -9: nothing acknowledged is lost, no transaction is there in part, it always opens.
//!
//! The test runs itself as a child that writes from several threads and says on a pipe what was acknowledged,
//! kills it at a random moment, opens the store and looks. The store goes on from round to round, so that later
//! rounds kill a store that was killed before. `STORE_KILL_ROUNDS` (25 if not set) says how many.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use secbeat_orchestrator::store::{Error, Order, Store, Table, Writer};
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// Set for the child: the folder of the store.
const CHILD_FOLDER: &str = "STORE_KILL_FOLDER";
const THREADS: u64 = 4;
/// Keys that each thread writes in turn, so that records are also replaced and pages used again.
const KEYS: u64 = 64;
/// A child says `ready` within this time, or the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What thread `t` writes as its transaction `n`: three tables, one removal, a counter.
fn transaction(w: &mut Writer<'_>, t: u64, n: u64) -> Result<(), Error> {
    w.put(Table::Policy, &counter_key(t), &n.to_be_bytes())?;
    w.put(Table::Nodes, &key(t, n % KEYS), &value(t, n))?;
    w.put(Table::Events, &key(t, n), &value(t, n))?;
    w.remove(Table::Events, &key(t, n.wrapping_sub(KEYS)))
}

fn counter_key(t: u64) -> [u8; 8] {
    t.to_be_bytes()
}

fn key(t: u64, n: u64) -> Vec<u8> {
    [t.to_be_bytes(), n.to_be_bytes()].concat()
}

/// Up to 4 kB, so that some values are larger than a page.
fn value(t: u64, n: u64) -> Vec<u8> {
    key(t, n).repeat(1 + (n * 7 % 256) as usize)
}

/// The last transaction of a thread that is in the store.
fn last(store: &Store, t: u64) -> Option<u64> {
    let bytes = store.read(|r| r.get(Table::Policy, &counter_key(t))).unwrap();
    bytes.map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

/// The child: writes until it is killed. Not a test by itself.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(folder) = env::var_os(CHILD_FOLDER) else { return };
    let (store, _) = Store::open(Path::new(&folder)).unwrap();
    say("ready");
    thread::scope(|scope| {
        for t in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                let mut n = last(store, t).map_or(0, |last| last + 1);
                loop {
                    store.write(move |w| transaction(w, t, n)).unwrap();
                    say(&format!("{t} {n}"));
                    n += 1;
                }
            });
        }
    });
}

/// One line on a line of its own, in one call: the kill must not leave half of one.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn child(folder: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(CHILD_FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs a child, kills it after `delay`, and gives what each thread had acknowledged last.
fn run_and_kill(folder: &Path, delay: Duration, acknowledged: &mut [Option<u64>]) {
    let mut child = child(folder);
    let out = child.stdout.take().unwrap();
    let (ready, is_ready) = channel();
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if line == "ready" {
                ready.send(()).unwrap();
            } else if let Some((t, n)) = line.split_once(' ')
                && let (Ok(t), Ok(n)) = (t.parse::<usize>(), n.parse::<u64>())
            {
                said.push((t, n));
            }
        }
        said
    });
    let is_opened = is_ready.recv_timeout(PATIENCE);
    if is_opened.is_ok() {
        thread::sleep(delay);
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(is_opened.is_ok(), "the child did not open the store: {status}");
    for (t, n) in reader.join().unwrap() {
        let last = &mut acknowledged[t];
        assert!(last.is_none_or(|last| n > last), "thread {t} acknowledged {n} after {last:?}");
        *last = Some(n);
    }
}

/// Every thread's transactions are there up to one that is at least the last acknowledged, and whole.
fn look(store: &Store, acknowledged: &mut [Option<u64>]) {
    let mut events = 0;
    for t in 0..THREADS {
        let found = last(store, t);
        let known = acknowledged[t as usize];
        // One transaction may be on the disk without an answer: each thread waits for each.
        let is_one_more = found == known.map_or(Some(0), |n| Some(n + 1));
        assert!(found == known || is_one_more, "thread {t}: {known:?} acknowledged, {found:?} found");
        acknowledged[t as usize] = found;
        let Some(found) = found else { continue };
        let first = (found + 1).saturating_sub(KEYS);
        events += found + 1 - first;
        for n in first..=found {
            for (table, key) in [(Table::Nodes, key(t, n % KEYS)), (Table::Events, key(t, n))] {
                let read = store.read(|r| r.get(table, &key)).unwrap();
                assert!(read == Some(value(t, n)), "thread {t}, transaction {n} of {found}, {table:?}");
            }
        }
    }
    // Nothing of a transaction that is not there, and nothing that was removed.
    let all: Result<Vec<_>, Error> =
        store.read(|r| r.range(Table::Events, .., usize::MAX, Order::Up)?.collect());
    assert_eq!(all.unwrap().len() as u64, events);
    assert_eq!(store.read(|r| r.len(Table::Events)).unwrap(), events);
}

#[test]
fn kills_at_random_moments_lose_nothing_acknowledged_and_the_store_always_opens() {
    let rounds: u64 = env::var("STORE_KILL_ROUNDS").map_or(25, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    let mut acknowledged = vec![None; THREADS as usize];
    let (mut numbers, started) = (0x0BAD_CAFEu64, Instant::now());
    let (mut slowest, mut left_open) = (Duration::ZERO, 0);
    for round in 0..rounds {
        numbers ^= numbers << 13;
        numbers ^= numbers >> 7;
        numbers ^= numbers << 17;
        // Also at once, when the child has just opened it.
        run_and_kill(&dir, Duration::from_micros(numbers % 120_000), &mut acknowledged);
        let opening = Instant::now();
        let (store, opened) = Store::open(&dir).unwrap_or_else(|error| panic!("round {round}: {error}"));
        slowest = slowest.max(opening.elapsed());
        left_open += u64::from(opened.repaired);
        look(&store, &mut acknowledged);
    }
    let transactions: u64 = acknowledged.iter().map(|last| last.map_or(0, |n| n + 1)).sum();
    println!(
        "{rounds} kills in {:?}: {transactions} transactions, none lost or torn; slowest opening {slowest:?}; \
         {left_open} stores left open",
        started.elapsed()
    );
    assert_eq!(left_open, rounds, "each was killed while it was open");
    assert!(transactions > rounds, "{transactions} transactions in {rounds} rounds");
}
