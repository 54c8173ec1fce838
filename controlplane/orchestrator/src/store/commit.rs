//! The writer thread: transactions of all callers, many to one durable commit.
//!
//! While one commit waits for the disk, transactions queue; the next commit takes all that wait, up to
//! `BATCH_MAX` or `BATCH_BYTES_MAX`. A caller hears of its transaction when the commit that holds it is on the
//! disk. After a failure of the disk the database is opened anew, for reading only if it cannot be more, and
//! transactions are refused for `PAUSE` before writing is tried again.

use super::disk::Folder;
use super::error::Error;
use super::schema;
use super::stats::Counters;
use super::writer::{Tables, Writer};
use redb::Database;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

/// Transactions that may wait. Above it `write` waits for room, and `write_async` is refused and counted.
pub(super) const QUEUE_MAX: usize = 1024;
/// Transactions of one commit, so that the first of them does not wait for ever.
const BATCH_MAX: usize = 256;
/// Bytes of one commit, for the same reason and because they are in memory.
const BATCH_BYTES_MAX: usize = 32 << 20;
/// Between two attempts to write after a failure: an attempt may read the whole file.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells the caller how its transaction ended: none is well.
pub(super) type Reply = Box<dyn FnOnce(Option<Error>) + Send>;
/// A transaction's code, or why it cannot run. Gives how to reply, and whether the changes are to be kept.
pub(super) type Run = Box<dyn FnOnce(Result<&mut Writer<'_>, Error>) -> (Reply, bool) + Send>;

/// The database as far as it can be used.
#[derive(Debug)]
pub(super) enum Handle {
    /// For everything.
    Open(Database),
    /// For reading, with the reason.
    ReadOnly(Database, Error),
    /// Not at all, with the reason.
    Closed(Error),
}

/// What the writer and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) folder: Folder,
    pub(super) handle: RwLock<Handle>,
    pub(super) counters: Counters,
}

impl Shared {
    pub(super) fn handle(&self) -> RwLockReadGuard<'_, Handle> {
        self.handle.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the database, for the end of the store.
    pub(super) fn close(&self) {
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        *handle = Handle::Closed(Error::Stopped { why: "the store is closed" });
    }

    /// Opens the database anew after `why`. Waits for readers under way.
    fn reopen(&self, why: &Error) {
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        // The old one must be closed before the file is opened again.
        *handle = Handle::Closed(why.clone());
        *handle = match self.folder.open_database() {
            Ok(db) => Handle::Open(db),
            Err(_) => match self.folder.open_to_read() {
                Ok(db) => Handle::ReadOnly(db, why.clone()),
                Err(error) => Handle::Closed(error),
            },
        };
        Counters::add(&self.counters.reopened, 1);
    }
}

/// Runs until every sender is gone.
pub(super) fn run(shared: &Shared, queue: &Receiver<Run>) {
    let mut suspended: Option<(Instant, Error)> = None;
    while let Ok(first) = queue.recv() {
        shared.counters.queued.fetch_sub(1, Ordering::Relaxed);
        if let Some((until, why)) = &suspended {
            if Instant::now() < *until {
                refuse(shared, first, why);
                continue;
            }
            if !matches!(&*shared.handle(), Handle::Open(_)) {
                shared.reopen(why);
            }
        }
        suspended = turn(shared, first, queue).map(|why| (Instant::now() + PAUSE, why));
    }
}

fn refuse(shared: &Shared, run: Run, why: &Error) {
    Counters::add(&shared.counters.failed, 1);
    let (reply, _) = run(Err(why.clone()));
    reply(Some(why.clone()));
}

/// One commit. Gives why writing has to pause, if so.
fn turn(shared: &Shared, first: Run, queue: &Receiver<Run>) -> Option<Error> {
    let mut replies = Vec::new();
    let result = match &*shared.handle() {
        Handle::Open(db) => {
            let next = || {
                let run = queue.try_recv().ok()?;
                shared.counters.queued.fetch_sub(1, Ordering::Relaxed);
                Some(run)
            };
            commit(db, shared, first, next, &mut replies)
                .map_err(|cause| Error::database("writing to", &shared.folder.dir, cause))
        }
        Handle::ReadOnly(_, why) | Handle::Closed(why) => {
            let why = why.clone();
            refuse(shared, first, &why);
            return Some(why);
        }
    };
    let counters = &shared.counters;
    let failure = match result {
        Ok(kept) => {
            Counters::add(&counters.transactions, kept);
            Counters::add(&counters.batches, u64::from(kept > 0));
            None
        }
        Err(error) => {
            Counters::add(&counters.failed, replies.len() as u64);
            if error.spoils_handle() {
                shared.reopen(&error);
            }
            Some(error)
        }
    };
    replies.into_iter().for_each(|reply| reply(failure.clone()));
    failure
}

/// Runs transactions and commits what they changed; says how many of them are kept.
pub(super) fn commit(
    db: &Database,
    shared: &Shared,
    first: Run,
    mut next: impl FnMut() -> Option<Run>,
    replies: &mut Vec<Reply>,
) -> Result<u64, redb::Error> {
    let mut waiting = Some(first);
    let result = attempt(db, shared, &mut waiting, &mut next, replies);
    if let (Some(run), Err(cause)) = (waiting, &result) {
        // It was not reached. The caller hears the cause with the others.
        let why = Error::Io { what: "beginning a transaction".to_owned(), cause: cause.to_string() };
        replies.push(run(Err(why)).0);
    }
    result
}

fn attempt(
    db: &Database,
    shared: &Shared,
    waiting: &mut Option<Run>,
    next: &mut impl FnMut() -> Option<Run>,
    replies: &mut Vec<Reply>,
) -> Result<u64, redb::Error> {
    let transaction = schema::begin(db)?;
    let mut kept = 0;
    let is_changed = {
        let mut tables = Tables::open(&transaction)?;
        let (mut count, mut bytes) = (0, 0);
        while let Some(run) = waiting.take() {
            let mut writer = Writer::new(&tables, &shared.counters, &shared.folder.dir);
            // Code that panics is told by its lost reply; its changes are dropped like those of a failed one.
            let outcome = catch_unwind(AssertUnwindSafe(|| run(Ok(&mut writer))));
            let (changes, changed_bytes) = writer.into_changes();
            if let Ok((reply, is_kept)) = outcome {
                replies.push(reply);
                if is_kept {
                    tables.apply(changes)?;
                    kept += 1;
                    bytes += changed_bytes;
                }
            }
            count += 1;
            if count < BATCH_MAX && bytes < BATCH_BYTES_MAX {
                *waiting = next();
            }
        }
        tables.is_changed
    };
    if is_changed {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(kept)
}
