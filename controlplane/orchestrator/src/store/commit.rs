//! The writer thread: transactions of all callers, many to one durable commit.
//!
//! While one commit waits for the disk, transactions queue; the next commit takes all that wait, up to
//! `BATCH_MAX` or `BATCH_BYTES_MAX`. A caller hears of its transaction when the commit that holds it is on the
//! disk. After a failure of the disk the database is opened anew, for reading only if it cannot be more, and
//! transactions are refused for `PAUSE` before writing is tried again.
//!
//! Removing needs room too, for pages are copied. So a reserve lies beside the database and is given up when
//! the disk is full: from then on (`is_tight`) only transactions that remove are kept, until there is room for
//! the reserve again.

use super::disk::Folder;
use super::error::Error;
use super::schema;
use super::stats::Counters;
use super::writer::{Changes, Tables, Writer};
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

/// What a transaction that removes may write besides while the disk is full: a note of what it did.
const TIGHT_BYTES_MAX: usize = 4096;

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

    /// On a full disk: why these changes cannot be kept, unless they remove and write next to nothing.
    fn refusal(&self, changes: &[Changes]) -> Option<Error> {
        if !self.counters.is_tight.load(Ordering::Relaxed) {
            return None;
        }
        let (mut removed, mut bytes) = (0, 0);
        for (key, value) in changes.iter().flatten() {
            match value {
                Some(value) => bytes += key.len() + value.len(),
                None => removed += 1,
            }
        }
        if bytes == 0 || removed > 0 && bytes <= TIGHT_BYTES_MAX {
            return None;
        }
        Counters::add(&self.counters.failed, 1);
        let cause = "only removing is possible until there is room for the reserve again".to_owned();
        Some(Error::Full { dir: self.folder.dir.display().to_string(), cause })
    }

    /// Opens the database anew after `why`. Waits for readers under way.
    pub(super) fn reopen(&self, why: &Error) {
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

/// The writer thread's own state.
struct Committer<'a> {
    shared: &'a Shared,
    /// Until when transactions are refused after a failure, and why.
    suspended: Option<(Instant, Error)>,
    /// When a full disk was last asked for room.
    asked: Instant,
}

/// Runs until every sender is gone.
pub(super) fn run(shared: &Shared, queue: &Receiver<Run>) {
    let mut committer = Committer { shared, suspended: None, asked: Instant::now() };
    while let Ok(first) = queue.recv() {
        shared.counters.queued.fetch_sub(1, Ordering::Relaxed);
        committer.turn(first, queue);
    }
}

impl Committer<'_> {
    /// One commit, or a refusal.
    fn turn(&mut self, first: Run, queue: &Receiver<Run>) {
        if let Some((until, why)) = &self.suspended {
            if Instant::now() < *until {
                return self.refuse(first, &why.clone());
            }
            if !matches!(&*self.shared.handle(), Handle::Open(_)) {
                self.shared.reopen(why);
            }
        }
        self.ask_for_room(false);
        let mut replies = Vec::new();
        let result = match &*self.shared.handle() {
            Handle::Open(db) => {
                let next = || {
                    let run = queue.try_recv().ok()?;
                    self.shared.counters.queued.fetch_sub(1, Ordering::Relaxed);
                    Some(run)
                };
                commit(db, self.shared, first, next, &mut replies)
                    .map_err(|cause| Error::database("writing to", &self.shared.folder.dir, cause))
            }
            Handle::ReadOnly(_, why) | Handle::Closed(why) => {
                self.suspended = Some((Instant::now() + PAUSE, why.clone()));
                return self.refuse(first, &why.clone());
            }
        };
        let counters = &self.shared.counters;
        let failure = match result {
            Ok(kept) => {
                Counters::add(&counters.transactions, kept);
                Counters::add(&counters.batches, u64::from(kept > 0));
                if kept > 0 {
                    self.ask_for_room(true);
                }
                None
            }
            Err(error) => {
                Counters::add(&counters.failed, replies.len() as u64);
                self.set_right(&error);
                Some(error)
            }
        };
        self.suspended = failure.clone().map(|why| (Instant::now() + PAUSE, why));
        for (reply, refused) in replies {
            reply(failure.clone().or(refused));
        }
    }

    fn refuse(&self, run: Run, why: &Error) {
        Counters::add(&self.shared.counters.failed, 1);
        let (reply, _) = run(Err(why.clone()));
        reply(Some(why.clone()));
    }

    /// After a failed commit: gives up the reserve if the disk is full, and opens the database anew.
    fn set_right(&mut self, error: &Error) {
        if matches!(error, Error::Full { .. }) {
            self.shared.folder.release_reserve();
            self.shared.counters.is_tight.store(true, Ordering::Relaxed);
            self.asked = Instant::now();
        }
        if error.spoils_handle() {
            self.shared.reopen(error);
        }
    }

    /// On a full disk: looks whether there is room for the reserve again, at most once a `PAUSE`. After
    /// something was removed, the file is made smaller first.
    fn ask_for_room(&mut self, has_removed: bool) {
        let is_tight = &self.shared.counters.is_tight;
        if !is_tight.load(Ordering::Relaxed) || (!has_removed && self.asked.elapsed() < PAUSE) {
            return;
        }
        self.asked = Instant::now();
        let mut has_room = self.shared.folder.make_reserve().is_ok();
        if !has_room && has_removed {
            let mut handle = self.shared.handle.write().unwrap_or_else(PoisonError::into_inner);
            if let Handle::Open(db) = &mut *handle {
                // What fails here fails again at the next commit, where it is told.
                let _ = db.compact();
            }
            drop(handle);
            has_room = self.shared.folder.make_reserve().is_ok();
        }
        is_tight.store(!has_room, Ordering::Relaxed);
    }
}

/// Runs transactions and commits what they changed; says how many of them are kept.
pub(super) fn commit(
    db: &Database,
    shared: &Shared,
    first: Run,
    mut next: impl FnMut() -> Option<Run>,
    replies: &mut Vec<(Reply, Option<Error>)>,
) -> Result<u64, redb::Error> {
    let mut waiting = Some(first);
    let result = attempt(db, shared, &mut waiting, &mut next, replies);
    if let (Some(run), Err(cause)) = (waiting, &result) {
        // It was not reached. The caller hears the cause with the others.
        let why = Error::Io { what: "beginning a transaction".to_owned(), cause: cause.to_string() };
        replies.push((run(Err(why)).0, None));
    }
    result
}

fn attempt(
    db: &Database,
    shared: &Shared,
    waiting: &mut Option<Run>,
    next: &mut impl FnMut() -> Option<Run>,
    replies: &mut Vec<(Reply, Option<Error>)>,
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
                let refused = if is_kept { shared.refusal(&changes) } else { None };
                let is_kept = is_kept && refused.is_none();
                replies.push((reply, refused));
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
