//! The folder of the store: `store.redb`, the lock, and how the database is opened.
//!
//! A store is made under another name and renamed when it is whole, so that there is never half of one. Every
//! opening reads the whole file and verifies the checksum of every page: what the disk changed is an error here
//! and not a wrong answer later. The lock is held as long as the value
//! lives; it ends with the process, however that ends.

use super::error::{Error, Result};
use super::overlay::Overlay;
use super::schema::{self, Facts};
use redb::{Builder, Database};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Memory for pages of the file. Enough for the inner pages of some GB; events are read in order and rarely.
const CACHE_BYTES: usize = 32 << 20;
/// Bytes that are kept free for removing records from a full disk: pages on the way to them are copied.
const RESERVE_BYTES: usize = 2 << 20;
/// Bytes of the lock file that are read for its owner.
const LOCK_BYTES_MAX: u64 = 32;

/// The files in a store's folder.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) dir: PathBuf,
}

/// The right to open the store, exclusive between processes. Drop it after the database.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    /// Whether the last owner ended without closing the store.
    pub(super) was_left_open: bool,
    is_looking_only: bool,
}

impl Lock {
    /// For one who only looks: whether the store was left open stays noted for the next who opens it.
    pub(super) fn left_as_found(mut self) -> Self {
        self.is_looking_only = true;
        self
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_looking_only && self.was_left_open {
            return;
        }
        // A number that stays only makes the next opening say that the store was left open.
        let _ = self.file.set_len(0);
    }
}

impl Folder {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The database.
    pub(super) fn file(&self) -> PathBuf {
        self.dir.join("store.redb")
    }

    /// A database that is being made.
    pub(super) fn new_file(&self) -> PathBuf {
        self.dir.join("store.redb.new")
    }

    /// What a restored backup replaced.
    pub(super) fn replaced_file(&self) -> PathBuf {
        self.dir.join("store.redb.replaced")
    }

    /// Room that is given up when the disk is full.
    fn reserve_file(&self) -> PathBuf {
        self.dir.join("reserve")
    }

    /// Takes room for the reserve, if it is not there. There must be room for it twice: else it would only take
    /// back what it gave, before a record could be removed.
    pub(super) fn make_reserve(&self) -> io::Result<()> {
        let path = self.reserve_file();
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == RESERVE_BYTES as u64) {
            return Ok(());
        }
        // Not zeros, which some file systems store as nothing.
        let mut number = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            number.to_le_bytes()
        };
        let bytes: Vec<u8> = (0..2 * RESERVE_BYTES / 8).flat_map(|_| next()).collect();
        let mut options = OpenOptions::new();
        let made = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = made.and_then(|mut file| {
            file.write_all(&bytes)?;
            file.set_len(RESERVE_BYTES as u64)
        });
        if written.is_err() {
            self.release_reserve();
        }
        written
    }

    /// Gives the room back to the disk.
    pub(super) fn release_reserve(&self) {
        // Without a reserve there is nothing to give; the next commit tells what is wrong with the disk.
        let _ = fs::remove_file(self.reserve_file());
    }

    /// Makes the folder, for its owner only.
    pub(super) fn create(&self) -> Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
            .map_err(|cause| Error::io("making the folder", &self.dir, &cause))
    }

    /// Takes the lock, or says who has it.
    pub(super) fn lock(&self) -> Result<Lock> {
        let path = self.dir.join("lock");
        let fail = |cause: io::Error| Error::io("locking", &path, &cause);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let (dir, pid) = (self.dir.display().to_string(), read_pid(&mut file));
                return Err(Error::Locked { dir, pid });
            }
            Err(TryLockError::Error(cause)) => return Err(fail(cause)),
        }
        let was_left_open = read_pid(&mut file).is_some();
        // The number is for the message of another process; on a full disk the lock holds without it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
        Ok(Lock { file, was_left_open, is_looking_only: false })
    }

    /// Makes an empty store if there is none.
    pub(super) fn create_database(&self, facts: Facts) -> Result<()> {
        if self.file().try_exists().map_err(|cause| Error::io("looking for", &self.file(), &cause))? {
            return Ok(());
        }
        drop(self.begin_new(facts)?);
        self.put_in_place()
    }

    /// An empty database under the name of one that is being made.
    pub(super) fn begin_new(&self, facts: Facts) -> Result<Database> {
        let path = self.new_file();
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("removing", &path, &cause));
            }
            _ => {}
        }
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        made.map_err(|cause| Error::io("making", &path, &cause))?;
        let fail = |cause: redb::Error| Error::database("making", &self.dir, cause);
        let db = builder().create(&path).map_err(|cause| fail(cause.into()))?;
        schema::create(&db, facts).map_err(fail)?;
        Ok(db)
    }

    /// Gives the new database, which must be closed, its name.
    pub(super) fn put_in_place(&self) -> Result<()> {
        let (from, to) = (self.new_file(), self.file());
        let renamed =
            File::open(&from).and_then(|file| file.sync_all()).and_then(|()| fs::rename(&from, &to));
        renamed.map_err(|cause| Error::io("renaming to", &to, &cause))?;
        self.sync()
    }

    /// Makes names in the folder durable.
    pub(super) fn sync(&self) -> Result<()> {
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.map_err(|cause| Error::io("syncing", &self.dir, &cause))
    }

    /// Opens the database and verifies all of it.
    pub(super) fn open_database(&self) -> Result<Database> {
        let file = OpenOptions::new().read(true).write(true).open(self.file());
        let file = file.map_err(|cause| Error::io("opening", &self.file(), &cause))?;
        // An empty file would be taken for a new database.
        if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            return Err(Error::Corrupt { what: format!("{} is empty", self.file().display()) });
        }
        drop(file);
        let db = builder().set_check_integrity_on_open(true).open(self.file());
        db.map_err(|cause| Error::database("opening", &self.dir, cause))
    }

    /// Opens the database without changing the file, and verifies all of it.
    pub(super) fn open_to_read(&self) -> Result<Database> {
        let path = self.file();
        let overlay = Overlay::open(&path).map_err(|cause| Error::io("opening", &path, &cause))?;
        if overlay.is_empty() {
            return Err(Error::Corrupt { what: format!("{} is empty", path.display()) });
        }
        builder()
            .set_check_integrity_on_open(true)
            .create_with_backend(overlay)
            .map_err(|cause| Error::database("reading", &self.dir, cause))
    }
}

/// The owner that a lock file names. What cannot be read is only missing from a message.
fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(LOCK_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// How every database of the store is opened.
pub(super) fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}
