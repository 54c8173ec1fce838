//! What can go wrong in the store, as the caller and the operator need to know it.
//!
//! Owns the error type and the reading of the database's own errors. An error is made once for a whole batch
//! and handed to every transaction in it, so it can be cloned: causes are kept as text.

use std::io;
use std::path::{Path, PathBuf};

/// A failure of the store.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to read or write. After a failed write the transaction may or may not be there:
    /// read before repeating what must not happen twice.
    #[error("store: {what}: {cause}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The system's words.
        cause: String,
    },
    /// What was read is not what was written: a table and key, a file, or the file's inner structure.
    #[error(
        "store: damaged: {what}; restore a backup with `secbeat-orchestrator restore FILE`, or remove the \
         named record"
    )]
    Corrupt {
        /// Where, and what is wrong with it.
        what: String,
    },
    /// The data was written by a newer release.
    #[error(
        "store: written with schema {found}, this release knows up to {known}; install the newer release"
    )]
    Schema {
        /// The schema of the data.
        found: u32,
        /// The newest one that this release reads.
        known: u32,
    },
    /// There is no room on the disk. Nothing of the transaction is kept, what was there stays readable, removing
    /// stays possible, and writing works again once there is room.
    #[error(
        "store: no room to write in {dir}: {cause}; free space there, or shorten the retention of events"
    )]
    Full {
        /// The folder of the store.
        dir: String,
        /// The system's words.
        cause: String,
    },
    /// Another process has the store.
    #[error("store: {dir} is in use by {}; stop it first, or give this one a folder of its own", owner(*pid))]
    Locked {
        /// The folder of the store.
        dir: String,
        /// Who holds it, when it could be read.
        pid: Option<u32>,
    },
    /// The queue of transactions is full (`write_async` only: `write` waits for room).
    #[error("store: {queued} transactions wait already (at most {queued_max}); try again later")]
    Busy {
        /// How many wait.
        queued: usize,
        /// The bound.
        queued_max: usize,
    },
    /// A key, a value or a transaction above its bound. Nothing of the transaction is kept.
    #[error("store: {what} has {bytes} bytes, allowed are {bytes_max}")]
    TooLarge {
        /// Which of them, with its table.
        what: String,
        /// Its size.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// A file that would be replaced.
    #[error("store: {} is there already; {advice}", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// What to do.
        advice: &'static str,
    },
    /// The store is closing, or the transaction's own code panicked.
    #[error("store: the transaction was not run: {why}")]
    Stopped {
        /// Which of both.
        why: &'static str,
    },
}

/// Results of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl Error {
    /// A failed system call on `path`, as `Full` when that is the reason.
    pub(super) fn io(doing: &str, path: &Path, cause: &io::Error) -> Self {
        if is_full(cause) {
            let dir = path.parent().unwrap_or(path).display().to_string();
            return Self::Full { dir, cause: cause.to_string() };
        }
        Self::Io { what: format!("{doing} {}", path.display()), cause: cause.to_string() }
    }

    /// An error of the database in the folder `dir`.
    pub(super) fn database(doing: &str, dir: &Path, cause: impl Into<redb::Error>) -> Self {
        match cause.into() {
            redb::Error::Io(cause) if is_full(&cause) => {
                Self::Full { dir: dir.display().to_string(), cause: cause.to_string() }
            }
            redb::Error::Io(cause) if is_damage(&cause) => {
                Self::Corrupt { what: format!("{doing} {}: {cause}", dir.display()) }
            }
            redb::Error::Corrupted(cause) => {
                Self::Corrupt { what: format!("{doing} {}: {cause}", dir.display()) }
            }
            redb::Error::DatabaseAlreadyOpen => Self::Locked { dir: dir.display().to_string(), pid: None },
            cause @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableDoesNotExist(_)
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::RepairAborted
            | redb::Error::UpgradeRequired(_)) => {
                Self::Corrupt { what: format!("{doing} {}: {cause}", dir.display()) }
            }
            cause => Self::Io { what: format!("{doing} {}", dir.display()), cause: cause.to_string() },
        }
    }

    /// Whether the database has to be opened anew before it can be written again.
    pub(super) const fn spoils_handle(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Full { .. } | Self::Corrupt { .. })
    }
}

/// No room: the disk, the quota, or the largest file.
fn is_full(cause: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(cause.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// A file that ends too early or is no database.
fn is_damage(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}
