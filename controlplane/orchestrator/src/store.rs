//! The embedded database of the orchestrator: policy, nodes, bans, tokens, audit, events, answered requests.
//!
//! ```text
//!   write, write_async --> queue --> commit (thread): many transactions, one durable commit --> store.redb
//!   read --> a view of the last commit                                 ^ disk: folder, lock, opening
//!   backup, restore, check: the whole store to one file and back       ^ schema: migrations
//! ```
//!
//! Tables map bytes to bytes; what they mean belongs to the callers. A transaction is atomic over all tables,
//! and when `write` returns it is on the disk: a kill or a crash at any moment loses nothing that was
//! acknowledged. Values carry a checksum bound to table and key, pages those of the database.
//!
//! Calls block: from async code use `write_async`, and `spawn_blocking` for the rest. A commit costs two syncs of
//! the disk, shared by all that wait; a read some microseconds. Memory: 32 MiB of pages, and what waits. Disk: twice
//! what is stored at most, and 2 MiB of reserve.
//!
//! The database is redb (docs/decisions/0028-store-redb.md); nothing outside this module knows.

mod backup;
mod check;
mod commit;
mod disk;
mod error;
mod frame;
mod overlay;
mod reader;
mod schema;
mod stats;
mod table;
#[cfg(test)]
mod tests;
mod writer;

pub use backup::{BackupReport, backup_of, restore, verify_backup};
pub use check::{CheckReport, check};
pub use error::{Error, Result};
pub use reader::{Order, Range, Reader, Record, prefix_end};
pub use stats::Stats;
pub use table::Table;
pub use writer::{KEY_BYTES_MAX, TRANSACTION_BYTES_MAX, VALUE_BYTES_MAX, Writer};

use commit::{Handle, QUEUE_MAX, Reply, Run, Shared};
use disk::{Folder, Lock};
use redb::{Database, ReadableDatabase};
use schema::Facts;
use stats::Counters;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle, ThreadId};
use uuid::Uuid;

/// The schema that this release writes.
pub const SCHEMA: u32 = schema::SCHEMA;
/// Bytes that the disk counts as one block in the size of a file.
const BLOCK_BYTES: u64 = 512;

/// The store. A clone is another hold on the same one; the last one closes it, after what waits is written.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What opening the store found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The schema of the data now.
    pub schema: u32,
    /// The schema it had, if it was an older one.
    pub migrated_from: Option<u32>,
    /// Whether the last process ended without closing the store, so that the database had to be set right.
    pub repaired: bool,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    id: Uuid,
    /// Taken when the store closes.
    queue: Option<SyncSender<Run>>,
    writer: Option<JoinHandle<()>>,
    writer_id: ThreadId,
}

impl Store {
    /// Opens the store in the folder `dir`, which is made if need be (mode 0700), and verifies all of it.
    ///
    /// # Errors
    /// Another process has it, a newer release wrote it, it is damaged, or the system refuses.
    pub fn open(dir: &Path) -> Result<(Self, Opened)> {
        let folder = Folder::new(dir);
        folder.create()?;
        let lock = folder.lock()?;
        folder.create_database(Facts { schema: schema::SCHEMA, id: Uuid::new_v4() })?;
        let db = folder.open_database()?;
        let found = schema::facts(&db, dir)?;
        let migrated_from = schema::migrate(&db, found.schema, schema::STEPS, dir)?;
        let opened = Opened { schema: schema::SCHEMA, migrated_from, repaired: lock.was_left_open };
        Ok((Self::start(folder, lock, db, found.id)?, opened))
    }

    fn start(folder: Folder, lock: Lock, db: Database, id: Uuid) -> Result<Self> {
        let dir = folder.dir.clone();
        let handle = RwLock::new(Handle::Open(db));
        let counters = Counters::default();
        counters.is_tight.store(folder.make_reserve().is_err(), Ordering::Relaxed);
        let shared = Arc::new(Shared { folder, handle, counters });
        let (queue, waiting) = sync_channel::<Run>(QUEUE_MAX);
        let of_writer = Arc::clone(&shared);
        let writer = thread::Builder::new().name("store".to_owned()).spawn(move || {
            commit::run(&of_writer, &waiting);
            of_writer.close();
            drop(lock);
        });
        let writer = writer.map_err(|cause| Error::io("starting the writer of", &dir, &cause))?;
        let writer_id = writer.thread().id();
        let inner = Inner { shared, id, queue: Some(queue), writer: Some(writer), writer_id };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The store's identity, made once with it and kept by backups.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.inner.id
    }

    /// Runs `f` on one unchanging view of all tables. Keep it short, and do not read inside it again: after a
    /// failure of the disk the writer waits for readers, and later readers for it.
    ///
    /// # Errors
    /// What `f` returns, or that the database cannot be read.
    pub fn read<T, E: From<Error>>(&self, f: impl FnOnce(&Reader<'_>) -> Result<T, E>) -> Result<T, E> {
        let shared = &*self.inner.shared;
        let handle = shared.handle();
        let dir = &shared.folder.dir;
        let db = match &*handle {
            Handle::Open(db) | Handle::ReadOnly(db, _) => db,
            Handle::Closed(why) => return Err(why.clone().into()),
        };
        let transaction = db.begin_read().map_err(|cause| Error::database("reading", dir, cause))?;
        f(&Reader::new(transaction, &shared.counters, dir))
    }

    /// Runs `f` as one transaction, on the writer's thread, and waits until it is on the disk. When `f` fails,
    /// nothing of it is kept. `f` must not wait for anything: all other transactions wait for it.
    ///
    /// # Errors
    /// What `f` returns, or why the transaction could not be written (see `Error`).
    pub fn write<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut Writer<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        if thread::current().id() == self.inner.writer_id {
            return Err(Error::Stopped { why: "it was asked for inside another transaction" }.into());
        }
        let (done, result) = sync_channel(1);
        // A caller that does not wait any more needs no answer.
        let run = transaction(f, move |result| drop(done.send(result)));
        let counters = &self.inner.shared.counters;
        counters.queued.fetch_add(1, Ordering::Relaxed);
        if self.inner.queue.as_ref().is_none_or(|queue| queue.send(run).is_err()) {
            counters.queued.fetch_sub(1, Ordering::Relaxed);
            return Err(closed().into());
        }
        result.recv().unwrap_or_else(|_| Err(panicked().into()))
    }

    /// As `write`, for async code. The transaction is queued by the call itself, and runs also if the future is
    /// dropped.
    ///
    /// # Errors
    /// As `write`; and `Busy` at once when the queue is full.
    pub fn write_async<T, E, F>(&self, f: F) -> impl Future<Output = Result<T, E>> + Send + use<T, E, F>
    where
        F: FnOnce(&mut Writer<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (done, result) = tokio::sync::oneshot::channel();
        let run = transaction(f, move |result| drop(done.send(result)));
        let refused = self.enqueue(run).err();
        async move {
            if let Some(error) = refused {
                return Err(error.into());
            }
            result.await.unwrap_or_else(|_| Err(panicked().into()))
        }
    }

    /// Queues without waiting for room.
    fn enqueue(&self, run: Run) -> Result<()> {
        let counters = &self.inner.shared.counters;
        let queue = self.inner.queue.as_ref().ok_or_else(closed)?;
        counters.queued.fetch_add(1, Ordering::Relaxed);
        let refused = match queue.try_send(run) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(_)) => {
                Counters::add(&counters.refused, 1);
                Error::Busy { queued: QUEUE_MAX, queued_max: QUEUE_MAX }
            }
            Err(TrySendError::Disconnected(_)) => closed(),
        };
        counters.queued.fetch_sub(1, Ordering::Relaxed);
        Err(refused)
    }

    /// Writes a consistent copy of the whole store to the file `path`, while it is in use.
    ///
    /// # Errors
    /// The file exists already, or cannot be written, or the store cannot be read.
    pub fn backup(&self, path: &Path) -> Result<BackupReport> {
        self.read(|reader| backup::write(reader, self.id(), path))
    }

    /// Bytes that the store takes on the disk.
    ///
    /// # Errors
    /// The system refuses.
    pub fn size_bytes(&self) -> Result<u64> {
        let path = self.inner.shared.folder.file();
        let metadata = fs::metadata(&path).map_err(|cause| Error::io("measuring", &path, &cause))?;
        Ok(metadata.blocks() * BLOCK_BYTES)
    }

    /// Counters for metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.inner.shared;
        let is_read_only = !matches!(&*shared.handle(), Handle::Open(_));
        shared.counters.read(QUEUE_MAX, is_read_only)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue = None;
        // The last hold may be one in a transaction: then the writer ends by itself.
        if let Some(writer) = self.writer.take()
            && thread::current().id() != self.writer_id
        {
            // A writer that panicked has told its callers.
            let _ = writer.join();
        }
    }
}

/// Makes a transaction of `f` that gives its result to `reply` once it is known to be on the disk.
fn transaction<T, E, F>(f: F, reply: impl FnOnce(Result<T, E>) + Send + 'static) -> Run
where
    F: FnOnce(&mut Writer<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    Box::new(move |writer| {
        let result = writer.map_err(E::from).and_then(f);
        let is_kept = result.is_ok();
        let answer: Reply = Box::new(move |failure| match failure {
            // Also when `f` failed: what it saw of the batch may be gone.
            Some(error) => reply(Err(error.into())),
            None => reply(result),
        });
        (answer, is_kept)
    })
}

const fn closed() -> Error {
    Error::Stopped { why: "the store is closed" }
}

const fn panicked() -> Error {
    Error::Stopped { why: "its code panicked" }
}
